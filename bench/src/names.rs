//! The names that clients ask for, and the dice that choose among them. The same seed gives the
//! same names in the same order, so that all servers get the same load.

use std::path::Path;

use anyhow::Context as _;
use rustls::pki_types::ServerName;

/// SplitMix64: enough to choose names with, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of several; nothing when there is none.
    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        // The remainder is below the length, which fits.
        from.get((self.roll() % from.len().max(1) as u64) as usize)
    }
}

/// A name that no server knows.
///
/// # Errors
/// Never: the name is made of digits and a fixed domain.
pub(crate) fn unknown(dice: &mut Dice) -> anyhow::Result<ServerName<'static>> {
    parse(&format!("{:016x}.unknown.example", dice.roll()))
}

/// Reads names as they are given on the command line: a file with a name on each line, or names
/// with commas between.
///
/// # Errors
/// When the file cannot be read, when there is no name, and when one is none.
pub(crate) fn read(given: &str) -> anyhow::Result<Vec<ServerName<'static>>> {
    let file = Path::new(given);
    let text = if file.is_file() {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {given}"))?
    } else {
        given.to_owned()
    };
    let names = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(parse).collect::<anyhow::Result<_>>()?;
    anyhow::ensure!(!names.is_empty(), "no names in '{given}'");
    Ok(names)
}

/// Reads one name.
///
/// # Errors
/// When it is neither a DNS name nor an IP address.
pub(crate) fn parse(name: &str) -> anyhow::Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).with_context(|| format!("'{name}' is no server name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_numbers_and_reaches_everything() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        let rolled: Vec<u64> = (0..100).map(|_| one.roll()).collect();
        assert!(rolled.iter().all(|number| *number == other.roll()));
        assert_ne!(rolled.first(), Some(&Dice::new(8).roll()));
        let all = [0, 1, 2, 3, 4];
        let chosen: std::collections::BTreeSet<_> =
            (0..200).filter_map(|_| one.choose(&all)).collect();
        assert_eq!(chosen.len(), all.len());
        assert_eq!(one.choose::<u8>(&[]), None);
    }

    #[test]
    fn names_come_from_a_list_or_from_a_file() {
        let listed = read("a.example, b.example").unwrap();
        assert_eq!(listed.len(), 2);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"a.example\n\nb.example\n").unwrap();
        assert_eq!(read(file.path().to_str().unwrap()).unwrap(), listed);
        for bad in ["", " , ", "a..example", "not a name"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_names_are_names() {
        let mut dice = Dice::new(1);
        assert_ne!(unknown(&mut dice).unwrap(), unknown(&mut dice).unwrap());
    }
}
