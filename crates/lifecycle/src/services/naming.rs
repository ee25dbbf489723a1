//! How services and their subdomains of the metro domain are named when nobody says how.

use crate::Surroundings;

/// Length of the random end of a chosen name.
const SUFFIX: usize = 8;

/// Longest label of a DNS name (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

const FIRST_WORDS: [&str; 64] = [
    "amber", "ample", "autumn", "azure", "bold", "brave", "bright", "brisk", "calm", "cedar",
    "clear", "clever", "cobalt", "cool", "coral", "crisp", "dapper", "dawn", "deep", "eager",
    "early", "ember", "even", "fair", "fleet", "fond", "fresh", "gentle", "gilded", "glad",
    "golden", "grand", "green", "happy", "hardy", "hazel", "humble", "ivory", "jolly", "keen",
    "kind", "lively", "lucid", "lunar", "mellow", "merry", "misty", "noble", "olive", "pearl",
    "plain", "polar", "proud", "quick", "quiet", "rapid", "royal", "silent", "silver", "solar",
    "steady", "swift", "vivid", "warm",
];

const SECOND_WORDS: [&str; 64] = [
    "anchor", "arch", "badger", "bay", "beacon", "birch", "bridge", "brook", "canyon", "castle",
    "cliff", "cloud", "comet", "cove", "crane", "creek", "dale", "delta", "dune", "eagle",
    "falcon", "fern", "field", "finch", "fjord", "forest", "garden", "glade", "grove", "harbor",
    "hawk", "heron", "hill", "island", "lagoon", "lake", "lantern", "lark", "maple", "marsh",
    "meadow", "mesa", "mill", "moon", "oak", "orchard", "otter", "peak", "pine", "planet", "pond",
    "raven", "reef", "ridge", "river", "robin", "sparrow", "spring", "summit", "tide", "tower",
    "valley", "willow", "wren",
];

/// `<word>-<word>-<8 random letters or digits>`.
pub(super) fn random_name(surroundings: &Surroundings) -> String {
    let [first, second] = surroundings.random::<2>();
    let word =
        |words: &[&'static str; 64], byte: u8| words.get(usize::from(byte) % words.len()).copied();
    let first = word(&FIRST_WORDS, first).unwrap_or_default();
    let second = word(&SECOND_WORDS, second).unwrap_or_default();
    format!("{first}-{second}-{}", surroundings.random_suffix(SUFFIX))
}

/// A label for the service called `name`: what of the name fits into a label, and a random end.
pub(super) fn random_label(name: Option<&str>, surroundings: &Surroundings) -> String {
    let stem = name.map(label_of).unwrap_or_default();
    if stem.is_empty() {
        return random_name(surroundings);
    }
    format!("{stem}-{}", surroundings.random_suffix(SUFFIX))
}

fn label_of(name: &str) -> String {
    let mut label = String::new();
    for character in name.chars() {
        let fit = character.to_ascii_lowercase();
        if fit.is_ascii_lowercase() || fit.is_ascii_digit() {
            label.push(fit);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
        if label.len() == MAX_LABEL - SUFFIX - 1 {
            break;
        }
    }
    label.truncate(label.trim_end_matches('-').len());
    label
}

#[cfg(test)]
mod tests {
    use pki::DnsName;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_random_name_is_two_words_and_eight_letters_or_digits() {
        let name = random_name(&Surroundings::default());
        let parts: Vec<&str> = name.split('-').collect();
        let [first, second, end] = parts[..] else {
            panic!("{name}");
        };
        assert!(FIRST_WORDS.contains(&first) && SECOND_WORDS.contains(&second));
        assert_eq!(end.len(), 8);
        assert_ne!(name, random_name(&Surroundings::default()));
    }

    #[test]
    fn a_label_begins_with_what_fits_of_the_service_name() {
        for (name, stem) in [
            ("shop", "shop"),
            ("My Shop", "my-shop"),
            ("über uns!", "ber-uns"),
            ("--a__b--", "a-b"),
            ("a.b", "a-b"),
        ] {
            let label = random_label(Some(name), &Surroundings::default());
            assert_eq!(label.rsplit_once('-').unwrap().0, stem, "{name}");
        }
        for name in [None, Some("…")] {
            let label = random_label(name, &Surroundings::default());
            assert_eq!(label.split('-').count(), 3, "{label}");
        }
    }

    proptest! {
        #[test]
        fn a_label_is_a_label(name in ".{0,300}") {
            let label = random_label(Some(&name), &Surroundings::default());
            prop_assert!(label.len() <= MAX_LABEL);
            prop_assert!(DnsName::parse(&format!("{label}.test")).is_ok(), "{}", label);
        }
    }
}
