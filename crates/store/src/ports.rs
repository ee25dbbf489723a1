//! Published ports of services, and how they are written down: one a line, for example
//! `443 8080 tls+http tcp`.

use crate::error::Error;

/// A port of a service, and where its traffic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublishedPort {
    /// The port that clients connect to.
    pub port: u16,
    /// The port of the instances.
    pub destination_port: u16,
    /// What is done to the traffic on its way.
    pub handlers: Handlers,
    /// What the traffic is carried by.
    pub protocol: Protocol,
}

/// What is done to the traffic of a port; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Handlers {
    /// TLS ends here, with the certificates of the domains.
    pub tls: bool,
    /// HTTP is understood, and requests are spread over the instances.
    pub http: bool,
    /// Requests are sent away to the port with TLS.
    pub redirect: bool,
}

/// What carries the traffic of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The ports as they are kept.
pub(crate) fn written(ports: &[PublishedPort]) -> String {
    let lines = ports.iter().map(|published| {
        let PublishedPort {
            port,
            destination_port,
            handlers,
            protocol,
        } = published;
        let mut names: Vec<&str> = HANDLERS
            .iter()
            .filter(|(_, flag)| *flag(&mut handlers.clone()))
            .map(|(name, _)| *name)
            .collect();
        if names.is_empty() {
            names.push(NONE);
        }
        let protocol = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        format!("{port} {destination_port} {} {protocol}", names.join("+"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Reads what [`written`] wrote.
pub(crate) fn read(text: &str) -> Result<Vec<PublishedPort>, Error> {
    text.lines()
        .map(|line| parse(line).ok_or(Error::Corrupt("a published port is unreadable")))
        .collect()
}

const NONE: &str = "-";

type Flag = fn(&mut Handlers) -> &mut bool;

const HANDLERS: [(&str, Flag); 3] = [
    ("tls", |handlers| &mut handlers.tls),
    ("http", |handlers| &mut handlers.http),
    ("redirect", |handlers| &mut handlers.redirect),
];

fn parse(line: &str) -> Option<PublishedPort> {
    let mut words = line.split(' ');
    let port = words.next()?.parse().ok()?;
    let destination_port = words.next()?.parse().ok()?;
    let mut handlers = Handlers::default();
    for name in words.next()?.split('+').filter(|name| *name != NONE) {
        let (_, flag) = HANDLERS.iter().find(|(known, _)| *known == name)?;
        *flag(&mut handlers) = true;
    }
    let protocol = match words.next()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some(PublishedPort {
        port,
        destination_port,
        handlers,
        protocol,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn any_port() -> impl Strategy<Value = PublishedPort> {
        let handlers = (any::<bool>(), any::<bool>(), any::<bool>());
        (any::<u16>(), any::<u16>(), handlers, any::<bool>()).prop_map(
            |(port, destination_port, (tls, http, redirect), is_tcp)| PublishedPort {
                port,
                destination_port,
                handlers: Handlers {
                    tls,
                    http,
                    redirect,
                },
                protocol: if is_tcp { Protocol::Tcp } else { Protocol::Udp },
            },
        )
    }

    #[test]
    fn a_port_is_written_so_that_people_can_read_it() {
        let port = PublishedPort {
            port: 443,
            destination_port: 8080,
            handlers: Handlers {
                tls: true,
                http: true,
                redirect: false,
            },
            protocol: Protocol::Tcp,
        };
        assert_eq!(written(&[port]), "443 8080 tls+http tcp");
        let plain = PublishedPort {
            handlers: Handlers::default(),
            protocol: Protocol::Udp,
            ..port
        };
        assert_eq!(written(&[plain]), "443 8080 - udp");
    }

    #[test]
    fn damaged_ports_are_reported() {
        for text in [
            "443",
            "443 80 tls",
            "443 80 ssl tcp",
            "65536 80 - tcp",
            "443 80 - sctp",
        ] {
            assert!(matches!(read(text), Err(Error::Corrupt(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn ports_are_read_as_they_were_written(
            ports in proptest::collection::vec(any_port(), 0..5)
        ) {
            prop_assert_eq!(read(&written(&ports)).unwrap(), ports);
        }
    }
}
