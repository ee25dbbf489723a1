//! Reading DER: definite minimal lengths, no trailing bytes, no indefinite forms.

use der::{Decode as _, Header, Reader as _, SliceReader};

use super::tag;

/// What could not be read; the text names the part, never its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// One element: identifier octet, content octets, and the whole encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    /// The first identifier octet. Tag numbers above 30 never equal a constant of [`tag`].
    pub(crate) tag: u8,
    /// The content octets.
    pub(crate) contents: &'a [u8],
    /// Identifier, length and content octets.
    pub(crate) encoded: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// Reads the only element of `bytes`, which must have the identifier octet `tag`.
pub(crate) fn single<'a>(
    bytes: &'a [u8],
    tag: u8,
    what: &'static str,
) -> Result<Element<'a>, Malformed> {
    let mut reader = Reader::new(bytes);
    let element = reader.expect(tag, what)?;
    reader.finish(what)?;
    Ok(element)
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn element(&mut self, what: &'static str) -> Result<Element<'a>, Malformed> {
        self.split().ok_or(Malformed(what))
    }

    /// The next element, which must have the identifier octet `tag`.
    pub(crate) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Element<'a>, Malformed> {
        let element = self.element(what)?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(Malformed(what))
        }
    }

    /// The next element if it has the identifier octet `tag`; otherwise nothing is consumed.
    pub(crate) fn optional(
        &mut self,
        tag: u8,
        what: &'static str,
    ) -> Result<Option<Element<'a>>, Malformed> {
        if self.rest.first() == Some(&tag) {
            self.element(what).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The inside of the next element, which must be a SEQUENCE.
    pub(crate) fn sequence(&mut self, what: &'static str) -> Result<Reader<'a>, Malformed> {
        Ok(self.expect(tag::SEQUENCE, what)?.reader())
    }

    /// Refuses bytes after the last element.
    pub(crate) fn finish(self, what: &'static str) -> Result<(), Malformed> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Malformed(what))
        }
    }

    fn split(&mut self) -> Option<Element<'a>> {
        let mut reader = SliceReader::new(self.rest).ok()?;
        let header = Header::decode(&mut reader).ok()?;
        let start = usize::try_from(reader.position()).ok()?;
        let end = start.checked_add(usize::try_from(header.length()).ok()?)?;
        let (encoded, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(Element {
            tag: *encoded.first()?,
            contents: encoded.get(start..)?,
            encoded,
        })
    }
}

impl<'a> Element<'a> {
    /// Reads the elements inside.
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader::new(self.contents)
    }

    /// The content octets of an INTEGER or ENUMERATED, checked to be minimal (X.690 8.3.2).
    pub(crate) fn integer(&self, what: &'static str) -> Result<&'a [u8], Malformed> {
        match self.contents {
            [] => Err(Malformed(what)),
            [0x00, next, ..] if next & 0x80 == 0 => Err(Malformed(what)),
            [0xff, next, ..] if next & 0x80 != 0 => Err(Malformed(what)),
            contents => Ok(contents),
        }
    }

    /// A non-negative INTEGER or ENUMERATED below 256.
    pub(crate) fn small_integer(&self, what: &'static str) -> Result<u8, Malformed> {
        match self.integer(what)? {
            [value] if value & 0x80 == 0 => Ok(*value),
            [0, value] => Ok(*value),
            _ => Err(Malformed(what)),
        }
    }

    /// A BOOLEAN in its DER form (X.690 11.1).
    pub(crate) fn boolean(&self, what: &'static str) -> Result<bool, Malformed> {
        match self.contents {
            [0x00] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(Malformed(what)),
        }
    }

    /// The octets of a BIT STRING whose length is a whole number of octets.
    pub(crate) fn bit_string(&self, what: &'static str) -> Result<&'a [u8], Malformed> {
        match self.contents {
            [0, octets @ ..] => Ok(octets),
            _ => Err(Malformed(what)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_not_der() {
        for bytes in [
            &b""[..],
            &[0x30],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x81, 0x01, 0x00],
            &[0x30, 0x01],
            &[0x30, 0x00, 0x00],
        ] {
            assert!(
                single(bytes, tag::SEQUENCE, "test").is_err(),
                "{bytes:02x?}"
            );
        }
        assert!(single(&[0x30, 0x00], tag::SEQUENCE, "test").is_ok());
    }

    #[test]
    fn refuses_integers_with_needless_octets() {
        let integer = |bytes: &[u8]| {
            single(bytes, tag::INTEGER, "test")
                .and_then(|found| found.integer("test").map(<[u8]>::to_vec))
        };
        assert_eq!(integer(&[2, 1, 0]), Ok(vec![0]));
        assert_eq!(integer(&[2, 2, 0, 0x80]), Ok(vec![0, 0x80]));
        assert!(integer(&[2, 0]).is_err());
        assert!(integer(&[2, 2, 0, 0x7f]).is_err());
        assert!(integer(&[2, 2, 0xff, 0x80]).is_err());
    }

    proptest! {
        #[test]
        fn never_panics_and_elements_cover_the_input(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let mut seen = 0;
            while !reader.is_empty() {
                match reader.element("test") {
                    Ok(element) => {
                        prop_assert!(element.encoded.ends_with(element.contents));
                        seen += element.encoded.len();
                    }
                    Err(_) => return Ok(()),
                }
            }
            prop_assert_eq!(seen, bytes.len());
        }
    }
}
