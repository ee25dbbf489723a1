//! Foreign text on its way into messages, logs and the store.

/// The longest foreign text in a message, in characters.
const MAX_LENGTH: usize = 2_000;

/// A text that somebody else wrote, cut to a bearable length and without characters that would do
/// something to a terminal.
pub(crate) fn shown(text: &str) -> String {
    let mut characters = text.chars().filter(|character| !character.is_control());
    let mut shown: String = characters.by_ref().take(MAX_LENGTH).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_short_and_harmless() {
        assert_eq!(shown("no such name: äöü"), "no such name: äöü");
        assert_eq!(shown("\u{1b}[31mred\r\n\0"), "[31mred");
        let long = shown(&"ä".repeat(1_000_000));
        assert_eq!(long.chars().count(), MAX_LENGTH + 1);
    }
}
