//! How times, serial numbers and ports are written in answers.

use lifecycle::{Handlers, Protocol, PublishedPort};
use serde::Serialize;
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

/// A published port as answers show it.
#[derive(Debug, Serialize)]
pub(crate) struct PortView {
    port: u16,
    destination_port: u16,
    protocol: &'static str,
    handlers: Vec<&'static str>,
}

impl PortView {
    /// How this port is shown.
    pub(crate) fn of(published: &PublishedPort) -> Self {
        let Handlers {
            tls,
            http,
            redirect,
        } = published.handlers;
        let handlers = [("tls", tls), ("http", http), ("redirect", redirect)];
        Self {
            port: published.port,
            destination_port: published.destination_port,
            protocol: match published.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            },
            handlers: handlers
                .into_iter()
                .filter_map(|(name, is_set)| is_set.then_some(name))
                .collect(),
        }
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
