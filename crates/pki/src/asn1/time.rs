//! UTCTime and GeneralizedTime in the forms RFC 5280 4.1.2.5 allows: whole seconds, `Z`.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use super::{Element, Malformed, tag};

/// Reads a time of a certificate, CRL or OCSP message.
pub(crate) fn parse_time(
    element: &Element<'_>,
    what: &'static str,
) -> Result<OffsetDateTime, Malformed> {
    let (year, rest) = match (element.tag, element.contents) {
        (tag::UTC_TIME, [a, b, rest @ ..]) => {
            let short = i32::from(two_digits(*a, *b).ok_or(Malformed(what))?);
            // RFC 5280 4.1.2.5.1: the two digits mean 1950 to 2049.
            (if short >= 50 { 1900 } else { 2000 } + short, rest)
        }
        (tag::GENERALIZED_TIME, [a, b, c, d, rest @ ..]) => {
            let high = i32::from(two_digits(*a, *b).ok_or(Malformed(what))?);
            let low = i32::from(two_digits(*c, *d).ok_or(Malformed(what))?);
            (high * 100 + low, rest)
        }
        _ => return Err(Malformed(what)),
    };
    parse_rest(year, rest).ok_or(Malformed(what))
}

fn parse_rest(year: i32, rest: &[u8]) -> Option<OffsetDateTime> {
    let [m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'Z'] = rest else {
        return None;
    };
    let month = Month::try_from(two_digits(*m1, *m2)?).ok()?;
    let date = Date::from_calendar_date(year, month, two_digits(*d1, *d2)?).ok()?;
    let time = Time::from_hms(
        two_digits(*h1, *h2)?,
        two_digits(*n1, *n2)?,
        two_digits(*s1, *s2)?,
    )
    .ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc())
}

fn two_digits(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
    Some(digit(high)? * 10 + digit(low)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;
    use time::macros::datetime;

    use super::super::{Writer, single};
    use super::*;

    fn read(tag: u8, text: &str) -> Result<OffsetDateTime, Malformed> {
        let mut writer = Writer::new();
        writer.element(tag, text.as_bytes());
        let bytes = writer.finish();
        parse_time(&single(&bytes, tag, "time").unwrap(), "time")
    }

    #[test]
    fn two_digit_years_turn_at_fifty() {
        assert_eq!(
            read(tag::UTC_TIME, "491231235959Z"),
            Ok(datetime!(2049-12-31 23:59:59 UTC))
        );
        assert_eq!(
            read(tag::UTC_TIME, "500101000000Z"),
            Ok(datetime!(1950-01-01 0:00 UTC))
        );
        assert_eq!(
            read(tag::GENERALIZED_TIME, "99991231235959Z"),
            Ok(datetime!(9999-12-31 23:59:59 UTC))
        );
    }

    #[test]
    fn refuses_other_forms() {
        for text in [
            "4912312359Z",
            "491231235959",
            "490231235959Z",
            "491231235960Z",
            "4912312359 9Z",
            "491231235959+0000",
        ] {
            assert!(read(tag::UTC_TIME, text).is_err(), "{text}");
        }
        assert!(read(tag::GENERALIZED_TIME, "20491231235959.5Z").is_err());
    }

    proptest! {
        #[test]
        fn a_written_time_reads_back(seconds in -62_135_596_800_i64..253_402_300_799) {
            let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let mut writer = Writer::new();
            writer.time(moment);
            let bytes = writer.finish();
            let mut reader = super::super::Reader::new(&bytes);
            prop_assert_eq!(parse_time(&reader.element("time").unwrap(), "time"), Ok(moment));
        }
    }
}
