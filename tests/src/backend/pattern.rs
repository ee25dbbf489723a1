//! Bytes that need not be kept to be known again: bodies larger than memory should hold.

use std::fmt::Write as _;
use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256};

/// A length at which nothing that buffers cuts: a repetition cannot hide a lost or doubled piece.
const PERIOD: usize = 1_048_573;

/// An endless sequence of bytes that looks like noise, up to a given number.
pub struct Pattern {
    block: Vec<u8>,
    position: usize,
    left: u64,
}

impl Pattern {
    /// The first `count` bytes.
    #[must_use]
    pub fn new(count: u64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = Vec::with_capacity(PERIOD + 8);
        while block.len() < PERIOD {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        block.truncate(PERIOD);
        Self {
            block,
            position: 0,
            left: count,
        }
    }
}

impl Read for Pattern {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = &self.block[self.position..];
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = into.len().min(rest.len()).min(left);
        into[..count].copy_from_slice(&rest[..count]);
        self.position = (self.position + count) % PERIOD;
        self.left -= count as u64;
        Ok(count)
    }
}

/// The number of bytes of a stream and their digest (SHA-256).
pub struct Tally {
    context: Context,
    count: u64,
}

impl Tally {
    /// Of no bytes yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "there is one way to make it")]
    pub fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            count: 0,
        }
    }

    /// Counts more bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.count += bytes.len() as u64;
    }

    /// The bytes so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// `NUMBER HEXADECIMAL` and a line feed.
    #[must_use]
    pub fn finish(self) -> String {
        let mut text = format!("{} ", self.count);
        for byte in self.context.finish().as_ref() {
            write!(text, "{byte:02x}").expect("a string takes all text");
        }
        text.push('\n');
        text
    }

    /// [`Tally::finish`] of everything that `source` has.
    ///
    /// # Panics
    ///
    /// When reading fails.
    #[must_use]
    #[track_caller]
    pub fn of(mut source: impl Read) -> String {
        let (mut tally, mut buffer) = (Self::new(), vec![0; 65_536]);
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return tally.finish(),
                Ok(count) => tally.add(&buffer[..count]),
                Err(error) => panic!("the stream breaks after {} bytes: {error}", tally.count),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_has_the_asked_length_and_no_short_period() {
        let mut bytes = Vec::new();
        Pattern::new(PERIOD as u64 + 5)
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes.len(), PERIOD + 5);
        assert_eq!(bytes[PERIOD..], bytes[..5]);
        assert_ne!(bytes[..65_536], bytes[65_536..131_072]);
    }

    #[test]
    fn a_lost_byte_changes_the_tally() {
        assert_ne!(Tally::of(Pattern::new(10)), Tally::of(Pattern::new(9)));
        assert!(Tally::of(Pattern::new(0)).starts_with("0 e3b0c44298fc1c14"));
    }
}
