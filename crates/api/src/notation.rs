//! How times, serial numbers and ports are written in answers.

use lifecycle::{Handlers, Protocol};
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

/// The names of what is done to the traffic of a port.
pub(crate) fn handler_names(handlers: Handlers) -> Vec<&'static str> {
    let Handlers {
        tls,
        http,
        redirect,
    } = handlers;
    let names = [("tls", tls), ("http", http), ("redirect", redirect)];
    let names = names.into_iter();
    names
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect()
}

/// The name of what carries the traffic of a port.
pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
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
