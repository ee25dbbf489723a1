//! Writing DER into one growing buffer. Lengths are filled in when an element is closed.

use time::OffsetDateTime;

use super::{ObjectIdentifier, tag};

/// Appends elements to a buffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_capacity(octets: usize) -> Self {
        Self(Vec::with_capacity(octets))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Appends what is already DER.
    pub(crate) fn raw(&mut self, encoded: &[u8]) {
        self.0.extend_from_slice(encoded);
    }

    pub(crate) fn element(&mut self, tag: u8, contents: &[u8]) {
        self.nested(tag, |writer| writer.raw(contents));
    }

    /// An element whose contents `write` appends.
    pub(crate) fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Self)) {
        self.0.push(tag);
        // One length octet is right for most elements; longer ones are moved up afterwards.
        self.0.push(0);
        let start = self.0.len();
        write(self);
        let length = self.0.len().saturating_sub(start);
        let octets = length.to_be_bytes();
        let skip = octets.iter().take_while(|octet| **octet == 0).count();
        let significant = octets.get(skip..).unwrap_or_default();
        let first = match u8::try_from(length) {
            Ok(short @ 0..=0x7f) => short,
            _ => {
                self.0.splice(start..start, significant.iter().copied());
                // At most eight octets, so the sum stays an octet.
                0x80 | u8::try_from(significant.len()).unwrap_or(0x7f)
            }
        };
        if let Some(place) = self.0.get_mut(start - 1) {
            *place = first;
        }
    }

    pub(crate) fn sequence(&mut self, write: impl FnOnce(&mut Self)) {
        self.nested(tag::SEQUENCE, write);
    }

    pub(crate) fn oid(&mut self, oid: &ObjectIdentifier) {
        self.element(tag::OBJECT_IDENTIFIER, oid.as_bytes());
    }

    pub(crate) fn null(&mut self) {
        self.raw(&[tag::NULL, 0]);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.element(tag::BOOLEAN, &[if value { 0xff } else { 0 }]);
    }

    /// A non-negative INTEGER from its big-endian octets.
    pub(crate) fn unsigned(&mut self, octets: &[u8]) {
        let skip = octets.iter().take_while(|octet| **octet == 0).count();
        let significant = octets.get(skip..).unwrap_or_default();
        self.nested(tag::INTEGER, |writer| {
            if significant.first().is_none_or(|first| first & 0x80 != 0) {
                writer.raw(&[0]);
            }
            writer.raw(significant);
        });
    }

    pub(crate) fn bit_string(&mut self, octets: &[u8]) {
        self.nested(tag::BIT_STRING, |writer| {
            writer.raw(&[0]);
            writer.raw(octets);
        });
    }

    /// A Time as RFC 5280 4.1.2.5 chooses it: UTCTime through 2049, GeneralizedTime from 2050.
    pub(crate) fn time(&mut self, moment: OffsetDateTime) {
        let moment = moment.to_offset(time::UtcOffset::UTC);
        if (1950..2050).contains(&moment.year()) {
            let digits = digits(moment);
            self.element(tag::UTC_TIME, digits.get(2..).unwrap_or_default());
        } else {
            self.generalized_time(moment);
        }
    }

    pub(crate) fn generalized_time(&mut self, moment: OffsetDateTime) {
        let moment = moment.to_offset(time::UtcOffset::UTC);
        self.element(tag::GENERALIZED_TIME, &digits(moment));
    }
}

/// `YYYYMMDDHHMMSSZ`; fractions of a second are cut off.
fn digits(moment: OffsetDateTime) -> [u8; 15] {
    let year = moment.year().unsigned_abs();
    let pair = |value: u32| {
        let digit = |value: u32| b'0' + u8::try_from(value % 10).unwrap_or(0);
        [digit(value / 10), digit(value)]
    };
    let [y1, y2] = pair(year / 100);
    let [y3, y4] = pair(year);
    let [m1, m2] = pair(u32::from(u8::from(moment.month())));
    let [d1, d2] = pair(u32::from(moment.day()));
    let [h1, h2] = pair(u32::from(moment.hour()));
    let [n1, n2] = pair(u32::from(moment.minute()));
    let [s1, s2] = pair(u32::from(moment.second()));
    [y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'Z']
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::single;
    use super::*;

    #[test]
    fn lengths_are_minimal_at_every_boundary() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let contents = vec![7; length];
            let mut writer = Writer::new();
            writer.sequence(|inner| inner.element(tag::OCTET_STRING, &contents));
            let bytes = writer.finish();
            let outer = single(&bytes, tag::SEQUENCE, "outer").unwrap();
            let inner = single(outer.contents, tag::OCTET_STRING, "inner").unwrap();
            assert_eq!(inner.contents, contents);
        }
    }

    #[test]
    fn unsigned_integers_are_minimal_and_positive() {
        let encoded = |octets: &[u8]| {
            let mut writer = Writer::new();
            writer.unsigned(octets);
            writer.finish()
        };
        assert_eq!(encoded(&[]), [2, 1, 0]);
        assert_eq!(encoded(&[0, 0]), [2, 1, 0]);
        assert_eq!(encoded(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(encoded(&[0x80]), [2, 2, 0, 0x80]);
    }
}
