//! The section `[d9t]`.

use pki::KeyAlgorithm;

use super::file::Section;

/// The algorithms of keys that can be generated; the first is the default.
const ALGORITHMS: [KeyAlgorithm; 4] = [
    KeyAlgorithm::Rsa2048,
    KeyAlgorithm::Rsa4096,
    KeyAlgorithm::P256,
    KeyAlgorithm::Ed25519,
];

/// Settings of the D9T dialect.
#[derive(Debug)]
pub(crate) struct D9t {
    pub(crate) key_algorithm: KeyAlgorithm,
    pub(crate) challenge_401: bool,
}

impl D9t {
    pub(super) fn read(section: &mut Section) -> Self {
        Self {
            key_algorithm: key_algorithm(section),
            challenge_401: section.boolean("challenge_401").unwrap_or(false),
        }
    }
}

fn key_algorithm(section: &mut Section) -> KeyAlgorithm {
    let [default, ..] = ALGORITHMS;
    let Some(text) = section.text("key_type") else {
        return default;
    };
    let known = ALGORITHMS
        .into_iter()
        .find(|algorithm| algorithm.to_string() == text);
    known.unwrap_or_else(|| {
        let known = ALGORITHMS.map(|algorithm| algorithm.to_string()).join(", ");
        section.fault("key_type", format!("'{text}' is not one of {known}"));
        default
    })
}
