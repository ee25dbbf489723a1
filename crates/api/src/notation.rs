//! How times and serial numbers are written in answers.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 in whole seconds: clients read times with parsers that know no fractions.
pub(crate) fn timestamp(moment: OffsetDateTime) -> String {
    let seconds = moment.replace_nanosecond(0).unwrap_or(moment);
    // Only years beyond 9999 cannot be written, and no certificate can hold those either.
    seconds.format(&Rfc3339).unwrap_or_default()
}

/// An even number of upper-case digits, at least two.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "00".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_whole_seconds_in_utc() {
        let moment = datetime!(2026-03-01 12:00:00.999_999 UTC);
        assert_eq!(timestamp(moment), "2026-03-01T12:00:00Z");
        assert_eq!(
            timestamp(datetime!(9999-12-31 23:59:59 UTC)),
            "9999-12-31T23:59:59Z"
        );
    }

    #[test]
    fn serial_numbers_have_an_even_number_of_upper_case_digits() {
        assert_eq!(hexadecimal(&[0x0a, 0xbc]), "0ABC");
        assert_eq!(hexadecimal(&[0]), "00");
        assert_eq!(hexadecimal(&[]), "00");
    }
}
