//! Punycode (RFC 3492), decoded only to tell whether a label is one.

const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 0x80;

/// Whether `encoded`, the part behind `xn--`, decodes to text with a character beyond ASCII.
pub(super) fn is_plausible(encoded: &str) -> bool {
    count_decoded(encoded).is_some()
}

/// The decoding procedure of RFC 3492 6.2 without building the text: the positions at which
/// characters are inserted do not matter for validity.
fn count_decoded(encoded: &str) -> Option<u32> {
    let (basic, extended) = encoded.rsplit_once('-').unwrap_or(("", encoded));
    if extended.is_empty() {
        return None;
    }
    let mut length = u32::try_from(basic.len()).ok()?;
    let mut n = INITIAL_N;
    let mut i: u32 = 0;
    let mut bias = INITIAL_BIAS;
    let mut digits = extended.bytes();
    let mut first = true;
    while digits.len() > 0 {
        let old_i = i;
        let mut weight: u32 = 1;
        let mut k = BASE;
        loop {
            let digit = digit(digits.next()?)?;
            i = i.checked_add(digit.checked_mul(weight)?)?;
            let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(BASE - threshold)?;
            k += BASE;
        }
        length += 1;
        bias = adapt(i - old_i, length, first);
        first = false;
        n = n.checked_add(i / length)?;
        char::from_u32(n)?;
        i = i % length + 1;
    }
    Some(length)
}

fn adapt(delta: u32, length: u32, first: bool) -> u32 {
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta += delta / length;
    let mut k = 0;
    while delta > (BASE - T_MIN) * T_MAX / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

fn digit(byte: u8) -> Option<u32> {
    match byte {
        b'a'..=b'z' => Some(u32::from(byte - b'a')),
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 26),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn real_labels_are_plausible() {
        // bücher, 例え, пример, münchen, and the Japanese sample of RFC 3492 7.1 (B).
        for encoded in [
            "bcher-kva",
            "r8jz45g",
            "e1afmkfd",
            "mnchen-3ya",
            "ihqwcrb4cv8a8dqg056pqjye",
        ] {
            assert!(is_plausible(encoded), "{encoded}");
        }
    }

    #[test]
    fn nonsense_is_not() {
        for encoded in ["", "a-", "99999999", "bcher-k!", "a-99999", "-"] {
            assert!(!is_plausible(encoded), "{encoded}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(encoded in "[-a-zA-Z0-9]{0,59}") {
            let _ = is_plausible(&encoded);
        }
    }
}
