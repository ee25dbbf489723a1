//! Published ports: which handlers each must have, and what is filled in where nothing was said.
//!
//! Port 80 speaks HTTP in the clear, port 443 HTTPS, and every other port TLS over which anything
//! goes. Only port 80 can redirect, and only to 443.

use store::{Handlers, Protocol, PublishedPort};

use crate::Error;

/// Most ports of one service.
pub const MAX_PORTS: usize = 100;

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// A port to publish, as the caller gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRequest {
    /// Where clients connect: 1–65535.
    pub port: i64,
    /// Where instances listen: 1–65535; the published port if `None`, 443 for one that redirects.
    pub destination_port: Option<i64>,
    /// What is done with connections; what the port demands if `None` or nothing.
    pub handlers: Option<Handlers>,
    /// The transport.
    pub protocol: Protocol,
}

impl PortRequest {
    /// HTTPS for instances that listen at `port`, and HTTP that sends everybody there.
    #[must_use]
    pub fn web(port: u16) -> Vec<Self> {
        let published = |number: u16, destination_port: u16, handlers| Self {
            port: number.into(),
            destination_port: Some(destination_port.into()),
            handlers: Some(handlers),
            protocol: Protocol::Tcp,
        };
        let https = Handlers {
            tls: true,
            http: true,
            redirect: false,
        };
        let redirect = Handlers {
            tls: false,
            http: true,
            redirect: true,
        };
        vec![
            published(HTTPS, port, https),
            published(HTTP, HTTPS, redirect),
        ]
    }
}

/// The ports that `requests` publish, each with its handlers.
///
/// # Errors
/// [`Error::Invalid`], which names the port at fault.
pub(super) fn publish(requests: &[PortRequest]) -> Result<Vec<PublishedPort>, Error> {
    if requests.len() > MAX_PORTS {
        return Err(too_many());
    }
    let mut ports: Vec<PublishedPort> = Vec::with_capacity(requests.len());
    for request in requests {
        let port = one(request).map_err(|reason| {
            Error::invalid("services", format!("port {}: {reason}", request.port))
        })?;
        if ports.iter().any(|other| is_same(other, &port)) {
            return Err(Error::invalid(
                "services",
                format!("port {} is published twice", port.port),
            ));
        }
        ports.push(port);
    }
    Ok(ports)
}

/// The port numbers that `numbers` are.
///
/// # Errors
/// [`Error::Invalid`] for what is no port, or for more than there can be.
pub(super) fn numbers(numbers: &[i64]) -> Result<Vec<u16>, Error> {
    if numbers.len() > MAX_PORTS {
        return Err(too_many());
    }
    let read = |port: &i64| number(*port).map_err(|reason| Error::invalid("services", reason));
    numbers.iter().map(read).collect()
}

/// Whether two entries publish the same port.
pub(super) fn is_same(one: &PublishedPort, other: &PublishedPort) -> bool {
    (one.port, one.protocol) == (other.port, other.protocol)
}

fn too_many() -> Error {
    Error::invalid(
        "services",
        format!("a service publishes at most {MAX_PORTS} ports"),
    )
}

fn one(request: &PortRequest) -> Result<PublishedPort, String> {
    let port = number(request.port)?;
    let handlers = handlers(port, request)?;
    let destination_port = match request.destination_port {
        Some(destination) => number(destination)?,
        None if handlers.redirect => HTTPS,
        None => port,
    };
    if handlers.redirect && destination_port != HTTPS {
        return Err("a port that redirects has the destination port 443".to_owned());
    }
    Ok(PublishedPort {
        port,
        destination_port,
        handlers,
        protocol: request.protocol,
    })
}

fn number(number: i64) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{number} is not a port; ports are 1 to 65535")),
    }
}

fn handlers(port: u16, request: &PortRequest) -> Result<Handlers, &'static str> {
    let asked = request.handlers.unwrap_or_default();
    if request.protocol == Protocol::Udp {
        return Ok(asked);
    }
    let (tls, http, rule) = match port {
        HTTP => (false, true, "port 80 needs the handler http, and not tls"),
        HTTPS => (true, true, "port 443 needs the handlers http and tls"),
        _ => (true, false, "this port needs the handler tls, and not http"),
    };
    if asked == Handlers::default() {
        let redirect = false;
        return Ok(Handlers {
            tls,
            http,
            redirect,
        });
    }
    if (asked.tls, asked.http) != (tls, http) {
        return Err(rule);
    }
    if asked.redirect && port != HTTP {
        return Err("only port 80 can have the handler redirect");
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> Handlers {
        Handlers {
            tls: text.contains("tls"),
            http: text.contains("http"),
            redirect: text.contains("redirect"),
        }
    }

    fn request(port: i64, handlers: &str) -> PortRequest {
        PortRequest {
            port,
            destination_port: None,
            handlers: Some(set(handlers)),
            protocol: Protocol::Tcp,
        }
    }

    fn published(request: PortRequest) -> Option<PublishedPort> {
        publish(&[request]).ok()?.pop()
    }

    #[test]
    fn missing_handlers_are_those_that_the_port_demands() {
        for (port, demanded) in [(80, "http"), (443, "tls+http"), (8080, "tls"), (1, "tls")] {
            for handlers in [None, Some(Handlers::default())] {
                let filled = PortRequest {
                    handlers,
                    ..request(port, "")
                };
                assert_eq!(published(filled).unwrap().handlers, set(demanded), "{port}");
            }
        }
    }

    #[test]
    fn each_port_accepts_its_own_handlers_and_no_others() {
        let all = [
            "http",
            "tls",
            "redirect",
            "tls+http",
            "http+redirect",
            "tls+redirect",
            "tls+http+redirect",
        ];
        for (port, good) in [
            (80, &["http", "http+redirect"][..]),
            (443, &["tls+http"]),
            (79, &["tls"]),
            (8443, &["tls"]),
            (65535, &["tls"]),
        ] {
            for handlers in all {
                let accepted = published(request(port, handlers)).is_some();
                assert_eq!(accepted, good.contains(&handlers), "{port} {handlers}");
            }
        }
    }

    #[test]
    fn udp_has_the_handlers_that_were_asked_for() {
        for handlers in ["", "tls", "http"] {
            let udp = PortRequest {
                protocol: Protocol::Udp,
                ..request(443, handlers)
            };
            assert_eq!(published(udp).unwrap().handlers, set(handlers));
        }
    }

    #[test]
    fn the_destination_is_the_port_itself_or_443_after_a_redirect() {
        let destination = |port, handlers, destination_port| {
            let request = PortRequest {
                destination_port,
                ..request(port, handlers)
            };
            published(request).map(|port| port.destination_port)
        };
        assert_eq!(destination(443, "", None), Some(443));
        assert_eq!(destination(443, "", Some(8080)), Some(8080));
        assert_eq!(destination(80, "http", None), Some(80));
        assert_eq!(destination(80, "http+redirect", None), Some(443));
        assert_eq!(destination(80, "http+redirect", Some(443)), Some(443));
        assert_eq!(destination(80, "http+redirect", Some(8080)), None);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for bad in [0, -1, 65_536, i64::MAX, i64::MIN] {
            assert!(published(request(bad, "")).is_none(), "{bad}");
            let destination = PortRequest {
                destination_port: Some(bad),
                ..request(443, "")
            };
            assert!(published(destination).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_port_is_published_once_per_transport_and_a_hundred_at_most() {
        let tcp = request(53, "");
        let udp = PortRequest {
            protocol: Protocol::Udp,
            ..tcp
        };
        assert!(publish(&[tcp, udp]).is_ok());
        assert!(publish(&[tcp, udp, tcp]).is_err());
        let many = |count: i64| (1_000..1_000 + count).map(|port| request(port, ""));
        assert!(publish(&many(100).collect::<Vec<_>>()).is_ok());
        assert!(publish(&many(101).collect::<Vec<_>>()).is_err());
        assert!(publish(&[]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn what_was_published_can_be_published_again_unchanged(
            port in 1_i64..70_000,
            destination_port in proptest::option::of(0_i64..70_000),
            bits in 0_u8..8,
        ) {
            let request = PortRequest {
                port,
                destination_port,
                handlers: Some(Handlers {
                    tls: bits & 1 > 0,
                    http: bits & 2 > 0,
                    redirect: bits & 4 > 0,
                }),
                protocol: Protocol::Tcp,
            };
            if let Some(first) = published(request) {
                let again = PortRequest {
                    port: i64::from(first.port),
                    destination_port: Some(i64::from(first.destination_port)),
                    handlers: Some(first.handlers),
                    protocol: first.protocol,
                };
                prop_assert_eq!(published(again), Some(first));
            }
        }
    }
}
