//! What people see: tables, and a spinner on anything that takes over a second.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::ProgressBar;

/// Patience before a spinner appears.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `work`; if it takes over a second and stdout is a terminal, a spinner says `doing`.
pub(crate) async fn with_spinner<T>(doing: &'static str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    if !std::io::stdout().is_terminal() {
        return work.await;
    }
    let spinner = ProgressBar::new_spinner().with_message(doing);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let done = work.await;
    spinner.finish_and_clear();
    done
}

/// A line on the terminal that says what is being waited for, if stdout is one.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn start(doing: String) -> Self {
        let spinner = std::io::stdout().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner().with_message(doing);
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Self(spinner)
    }

    pub(crate) fn say(&self, doing: String) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(doing);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}

/// Prints rows in columns as wide as their longest cell. The last column is not padded.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let heading_row = headings.iter().map(ToString::to_string).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heading_row).chain(rows).collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = all.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in all {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A time in seconds in the largest unit that makes it a whole number.
pub(crate) fn span(seconds: u64) -> String {
    let units = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60)];
    let unit = units
        .into_iter()
        .find(|(_, length)| seconds > 0 && seconds.is_multiple_of(*length));
    let (unit, length) = unit.unwrap_or(('s', 1));
    format!("{}{unit}", seconds / length)
}

/// Text from the server on its way to a terminal: control characters could rewrite the screen.
pub(crate) fn safe(text: &str) -> String {
    let replace = |character: char| {
        if character.is_control() {
            '\u{fffd}'
        } else {
            character
        }
    };
    text.chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [
            vec!["a".to_owned(), "x".to_owned()],
            vec!["längst".to_owned(), "y".to_owned()],
        ];
        assert_eq!(
            table(&["NAME", "STATE"], &rows),
            "NAME    STATE\na       x\nlängst  y\n"
        );
    }

    #[test]
    fn times_are_in_their_largest_unit() {
        for (seconds, shown) in [(0, "0s"), (90, "90s"), (10_800, "3h"), (604_800, "7d")] {
            assert_eq!(span(seconds), shown);
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(safe("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
