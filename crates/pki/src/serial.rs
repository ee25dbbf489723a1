//! Serial numbers of certificates.

use std::fmt;

use crate::asn1::{Element, Malformed, Writer, tag};

/// The most octets a serial number may have to be read at all. RFC 5280 allows 20.
const MAX_OCTETS: usize = 64;
const MAX_CONFORMING_OCTETS: usize = 20;
const MAX_DECIMAL_DIGITS: usize = 49;

/// A serial number: sign and magnitude of the INTEGER in the certificate.
///
/// The ones made here are positive and have at most 127 bits. Certificates from outside may have
/// odder ones (zero, negative, long); they can be read and shown, and
/// [`is_conforming`](Self::is_conforming) tells them apart.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Serial {
    negative: bool,
    /// Big-endian, without leading zero octets; zero is one zero octet.
    magnitude: Box<[u8]>,
}

impl Serial {
    /// Makes a serial number of 127 random bits. `None` if its low 64 bits are all zero: draw
    /// again.
    pub fn from_random(random: [u8; 16]) -> Option<Self> {
        let value = u128::from_be_bytes(random) & (u128::MAX >> 1);
        let low = value & u128::from(u64::MAX);
        (low != 0).then(|| Self::from_magnitude(&value.to_be_bytes()))
    }

    /// A non-negative serial number from its big-endian octets, as they are stored and compared.
    /// `None` if there are no octets or more than 64.
    pub fn from_be_bytes(octets: &[u8]) -> Option<Self> {
        (1..=MAX_OCTETS)
            .contains(&octets.len())
            .then(|| Self::from_magnitude(octets))
    }

    /// Reads up to 49 decimal digits.
    pub fn from_decimal(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_DECIMAL_DIGITS {
            return None;
        }
        // 49 digits take 163 bits.
        let mut octets = [0_u8; 21];
        for digit in text.bytes() {
            if !digit.is_ascii_digit() {
                return None;
            }
            let mut carry = u32::from(digit - b'0');
            for octet in octets.iter_mut().rev() {
                let [.., high, low] = (u32::from(*octet) * 10 + carry).to_be_bytes();
                *octet = low;
                carry = u32::from(high);
            }
        }
        Some(Self::from_magnitude(&octets))
    }

    /// Whether RFC 5280 4.1.2.2 allows it: positive and at most 20 octets as an INTEGER.
    pub fn is_conforming(&self) -> bool {
        let first = self.magnitude.first().copied().unwrap_or(0);
        let sign_octet = usize::from(first & 0x80 != 0);
        !self.negative
            && *self.magnitude != [0]
            && self.magnitude.len() + sign_octet <= MAX_CONFORMING_OCTETS
    }

    /// Whether the INTEGER is below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The magnitude, big-endian, without leading zero octets; zero is one zero octet.
    pub fn as_be_bytes(&self) -> &[u8] {
        &self.magnitude
    }

    /// The low 64 bits of the magnitude.
    pub fn low64(&self) -> u64 {
        self.magnitude
            .iter()
            .fold(0, |value, octet| value << 8 | u64::from(*octet))
    }

    /// Upper-case hexadecimal with an even number of digits.
    pub fn to_hex(&self) -> String {
        use fmt::Write as _;
        let mut text = String::with_capacity(self.magnitude.len() * 2 + 1);
        if self.negative {
            text.push('-');
        }
        for octet in &*self.magnitude {
            let _ = write!(text, "{octet:02X}");
        }
        text
    }

    pub(crate) fn from_integer(
        element: &Element<'_>,
        what: &'static str,
    ) -> Result<Self, Malformed> {
        if element.tag != tag::INTEGER {
            return Err(Malformed(what));
        }
        let contents = element.integer(what)?;
        if contents.len() > MAX_OCTETS {
            return Err(Malformed(what));
        }
        if contents.first().is_none_or(|first| first & 0x80 == 0) {
            return Ok(Self::from_magnitude(contents));
        }
        // Two's complement: the magnitude is the inverted octets plus one.
        let mut octets: Vec<u8> = contents.iter().map(|octet| !octet).collect();
        for octet in octets.iter_mut().rev() {
            let (sum, overflow) = octet.overflowing_add(1);
            *octet = sum;
            if !overflow {
                break;
            }
        }
        Ok(Self {
            negative: true,
            ..Self::from_magnitude(&octets)
        })
    }

    /// Writes the INTEGER. Only non-negative serial numbers are ever written.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.unsigned(&self.magnitude);
    }

    fn from_magnitude(octets: &[u8]) -> Self {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let significant = octets.get(zeros..).filter(|rest| !rest.is_empty());
        Self {
            negative: false,
            magnitude: significant.unwrap_or(&[0]).into(),
        }
    }
}

/// Decimal.
impl fmt::Display for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = self.magnitude.to_vec();
        let mut digits = Vec::new();
        while number.iter().any(|octet| *octet != 0) {
            let mut remainder = 0_u32;
            for octet in &mut number {
                let value = remainder << 8 | u32::from(*octet);
                *octet = u8::try_from(value / 10).unwrap_or(0);
                remainder = value % 10;
            }
            digits.push(char::from_digit(remainder, 10).unwrap_or('0'));
        }
        let text: String = digits.iter().rev().collect();
        formatter.pad_integral(
            !self.negative,
            "",
            if text.is_empty() { "0" } else { &text },
        )
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Serial({})", self.to_hex())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;
    use crate::asn1::single;

    fn from_contents(contents: &[u8]) -> Result<Serial, Malformed> {
        let mut writer = Writer::new();
        writer.element(tag::INTEGER, contents);
        let bytes = writer.finish();
        Serial::from_integer(&single(&bytes, tag::INTEGER, "serial").unwrap(), "serial")
    }

    #[test]
    fn random_serials_are_positive_and_have_low_bits() {
        assert_eq!(Serial::from_random([0; 16]), None);
        let mut high_only = [0; 16];
        high_only[0] = 0xff;
        assert_eq!(Serial::from_random(high_only), None);
        let full = Serial::from_random([0xff; 16]).unwrap();
        assert!(full.is_conforming());
        assert_eq!(full.to_hex(), "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
        assert_eq!(full.low64(), u64::MAX);
        assert_eq!(full.to_string(), (u128::MAX >> 1).to_string());
    }

    #[test]
    fn odd_serials_from_outside_are_kept_and_told_apart() {
        let zero = from_contents(&[0]).unwrap();
        assert_eq!(
            (zero.to_string().as_str(), zero.to_hex().as_str()),
            ("0", "00")
        );
        let negative = from_contents(&[0x80]).unwrap();
        assert_eq!(
            (negative.to_string().as_str(), negative.to_hex().as_str()),
            ("-128", "-80")
        );
        assert_ne!(negative, from_contents(&[0, 0x80]).unwrap());
        assert_eq!(from_contents(&[0xff]).unwrap().to_string(), "-1");
        let long = from_contents(&[0x7f; 21]).unwrap();
        for serial in [
            &zero,
            &negative,
            &long,
            &from_contents(&[&[0], &[0x80; 20][..]].concat()).unwrap(),
        ] {
            assert!(!serial.is_conforming(), "{serial:?}");
        }
        assert!(from_contents(&[0x7f; 20]).unwrap().is_conforming());
        assert!(from_contents(&[0x7f; 65]).is_err());
    }

    #[test]
    fn decimal_texts_have_limits() {
        assert_eq!(Serial::from_decimal("00255").unwrap().as_be_bytes(), [255]);
        assert_eq!(Serial::from_decimal("0").unwrap().as_be_bytes(), [0]);
        assert!(Serial::from_decimal(&"9".repeat(49)).is_some());
        for text in ["", "-1", "+1", "1.0", "1e3", "0x1", " 1", &"9".repeat(50)] {
            assert_eq!(Serial::from_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn even_digits_in_hexadecimal() {
        assert_eq!(
            Serial::from_be_bytes(&[0, 0x0a, 0xbc]).unwrap().to_hex(),
            "0ABC"
        );
    }

    proptest! {
        #[test]
        fn every_form_reads_back(random: [u8; 16]) {
            if let Some(serial) = Serial::from_random(random) {
                prop_assert_eq!(Serial::from_be_bytes(serial.as_be_bytes()), Some(serial.clone()));
                prop_assert_eq!(Serial::from_decimal(&serial.to_string()), Some(serial.clone()));
                let mut writer = Writer::new();
                serial.write(&mut writer);
                let bytes = writer.finish();
                let element = single(&bytes, tag::INTEGER, "serial").unwrap();
                prop_assert_eq!(Serial::from_integer(&element, "serial"), Ok(serial.clone()));
                let value = u128::from_be_bytes(random) & (u128::MAX >> 1);
                prop_assert_eq!(serial.to_string(), value.to_string());
            }
        }

        #[test]
        fn reading_never_panics(contents in proptest::collection::vec(any::<u8>(), 0..70)) {
            if let Ok(serial) = from_contents(&contents) {
                let _ = (serial.to_string(), serial.to_hex(), serial.low64(), serial.is_conforming());
            }
        }
    }
}
