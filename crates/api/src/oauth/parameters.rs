//! Parameters of queries and forms: each once, or it is not known which one was meant.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use zeroize::Zeroizing;

/// The most parameters that are looked at.
const MOST: usize = 64;

/// The parameters of a request, decoded. Values may be credentials.
pub(super) struct Parameters(Vec<(String, Zeroizing<String>)>);

/// Why parameters are refused; says what, and no value.
pub(super) type Fault = Cow<'static, str>;

impl Parameters {
    /// Reads `application/x-www-form-urlencoded`.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Fault> {
        let mut read = Vec::new();
        for pair in text.split(|octet| *octet == b'&') {
            if pair.is_empty() {
                continue;
            }
            if read.len() == MOST {
                return Err("there are too many parameters".into());
            }
            let mut halves = pair.splitn(2, |octet| *octet == b'=');
            let name = decoded(halves.next().unwrap_or_default())?;
            let value = decoded(halves.next().unwrap_or_default())?;
            read.push((name.as_str().to_owned(), value));
        }
        Ok(Self(read))
    }

    /// The value of a parameter, if it is there; one without a value is not (RFC 6749 section 3.1).
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        if values.next().is_some() {
            return Err(format!("{name} is there more than once").into());
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// As [`Self::one`], for a parameter that some call otherwise.
    pub(super) fn either(
        &self,
        name: &'static str,
        other: &'static str,
    ) -> Result<Option<&str>, Fault> {
        match (self.one(name)?, self.one(other)?) {
            (Some(value), Some(twin)) if value != twin => {
                Err(format!("{name} and {other} differ").into())
            }
            (value, twin) => Ok(value.or(twin)),
        }
    }

    /// As [`Self::one`], for a parameter that has to be there.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, Fault> {
        let value = self.one(name)?;
        value.ok_or_else(|| format!("{name} is missing").into())
    }
}

/// Text of a form: `+` is a blank.
fn decoded(text: &[u8]) -> Result<Zeroizing<String>, Fault> {
    let blank = |octet: &u8| if *octet == b'+' { b' ' } else { *octet };
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.iter().map(blank).collect());
    let octets = Zeroizing::new(percent_decode(&text).collect::<Vec<u8>>());
    let text = std::str::from_utf8(&octets).map_err(|_| "a parameter is no UTF-8")?;
    if text.contains('\0') {
        return Err("a parameter holds NUL".into());
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_as_browsers_encode_them() {
        let read = Parameters::parse(b"scope=public+admin&state=%C3%A4%2B&&empty=&flag").unwrap();
        assert_eq!(read.one("scope"), Ok(Some("public admin")));
        assert_eq!(read.one("state"), Ok(Some("\u{e4}+")));
        for absent in ["empty", "flag", "other"] {
            assert_eq!(read.one(absent), Ok(None), "{absent}");
        }
        assert!(read.required("empty").is_err());
    }

    #[test]
    fn what_comes_twice_is_refused() {
        let read = Parameters::parse(b"a=1&a=1&redirect_uri=x&redirect_url=y").unwrap();
        assert!(read.one("a").is_err());
        assert!(read.either("redirect_uri", "redirect_url").is_err());
        let read = Parameters::parse(b"redirect_url=y").unwrap();
        let found = read.either("redirect_uri", "redirect_url");
        assert_eq!(found, Ok(Some("y")));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let many = b"a=b&".repeat(MOST + 1);
        for bad in [b"a=%FF".as_slice(), b"%00=a", &many] {
            assert!(Parameters::parse(bad).is_err());
        }
    }
}
