//! Where and how the edge listens: the keys `edge_http`, `edge_https`, `edge_listen` and the section
//! `[edge]`.

use std::net::SocketAddr;
use std::time::Duration;

use pki::DnsName;

use super::file::Section;

/// What turns a listener off.
const NONE: &str = "none";
/// Ports that have listeners of their own.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Flags about the edge's listeners, as given.
pub(super) struct Given {
    pub(super) http: Option<String>,
    pub(super) https: Option<String>,
    pub(super) listen: Vec<String>,
}

/// Settings of the edge.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Stands for port 80 of every service.
    pub(crate) http: Option<SocketAddr>,
    /// Stands for port 443 of every service.
    pub(crate) https: Option<SocketAddr>,
    /// Stand for other ports of services.
    pub(crate) ports: Vec<(u16, SocketAddr)>,
    /// The port that clients know `https` by, if it is not 443.
    pub(crate) public_https_port: Option<u16>,
    /// Whom a client reaches that names nobody.
    pub(crate) default_domain: Option<DnsName>,
    /// How long an instance may take until its answer begins.
    pub(crate) answer_timeout: Option<Duration>,
    /// How many certificates are kept ready with their keys.
    pub(crate) cached_certificates: Option<usize>,
    /// Connections open at a time on one listener.
    pub(crate) connections: Option<usize>,
    /// The same from one address.
    pub(crate) connections_per_peer: Option<usize>,
}

impl Edge {
    pub(super) fn read(given: Given, file: &mut Section) -> Self {
        let http = file.text_unless(given.http, "edge_http");
        let http = http.unwrap_or_else(|| "127.0.0.1:8081".to_owned());
        let http = listener("edge_http", &http, file);
        let https = file.text_unless(given.https, "edge_https");
        let https = https.unwrap_or_else(|| "127.0.0.1:8444".to_owned());
        let https = listener("edge_https", &https, file);
        let listen = file.texts_unless(given.listen, "edge_listen");
        let ports = ports(&listen.unwrap_or_default(), file);

        let mut section = file.section("edge");
        let default_domain = section.text("default_domain").and_then(|text| {
            let parsed = DnsName::parse(&text);
            parsed
                .map_err(|error| section.fault("default_domain", error.to_string()))
                .ok()
        });
        let public_https_port = positive("public_https_port", &mut section);
        let public_https_port = public_https_port.and_then(|port| {
            let checked = u16::try_from(port);
            if checked.is_err() {
                section.fault("public_https_port", format!("{port} is not a port"));
            }
            checked.ok()
        });
        let answer_timeout = positive("answer_timeout_seconds", &mut section);
        let cached_certificates = positive("cached_certificates", &mut section);
        let connections = positive("connections", &mut section);
        let connections_per_peer = positive("connections_per_peer", &mut section);
        file.absorb(section);
        Self {
            http,
            https,
            ports,
            public_https_port,
            default_domain,
            answer_timeout: answer_timeout.map(|seconds| Duration::from_secs(seconds.into())),
            cached_certificates: cached_certificates.map(|number| number as usize),
            connections: connections.map(|number| number as usize),
            connections_per_peer: connections_per_peer.map(|number| number as usize),
        }
    }
}

fn positive(key: &str, section: &mut Section) -> Option<u32> {
    let number = section.number(key)?;
    if number == 0 {
        section.fault(key, "must be at least 1");
    }
    Some(number)
}

fn listener(key: &str, text: &str, file: &mut Section) -> Option<SocketAddr> {
    if text == NONE {
        return None;
    }
    match address(text) {
        Some(address) => Some(address),
        None => {
            file.fault(key, format!("'{text}' is not ADDRESS:PORT or {NONE}"));
            None
        }
    }
}

/// `ADDRESS:PORT` stands for the service port `PORT`, `SERVICE_PORT=ADDRESS:PORT` for another.
fn ports(texts: &[String], file: &mut Section) -> Vec<(u16, SocketAddr)> {
    let mut ports: Vec<(u16, SocketAddr)> = Vec::new();
    for text in texts {
        let (port, address) = match text.split_once('=') {
            Some((port, rest)) => (port.parse().ok(), address(rest)),
            None => {
                let address = address(text);
                (address.map(|address| address.port()), address)
            }
        };
        let (Some(port), Some(address)) = (port.filter(|port| *port != 0), address) else {
            let reason = format!("'{text}' is not [SERVICE_PORT=]ADDRESS:PORT");
            file.fault("edge_listen", reason);
            continue;
        };
        if port == HTTP || port == HTTPS {
            let reason = format!("port {port} of services is served by edge_http or edge_https");
            file.fault("edge_listen", reason);
        } else if ports.iter().any(|(other, _)| *other == port) {
            file.fault("edge_listen", format!("port {port} is named twice"));
        } else {
            ports.push((port, address));
        }
    }
    ports
}

fn address(text: &str) -> Option<SocketAddr> {
    let with_numbers = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    with_numbers.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Edge, Vec<String>) {
        let given = Given {
            http: None,
            https: None,
            listen: Vec::new(),
        };
        let mut file = Section::new(text.parse().unwrap());
        let edge = Edge::read(given, &mut file);
        let faults = file.finish();
        (edge, faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_anything_both_listeners_are_on_loopback() {
        let (edge, faults) = read("");
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(edge.http.unwrap().to_string(), "127.0.0.1:8081");
        assert_eq!(edge.https.unwrap().to_string(), "127.0.0.1:8444");
        assert!(edge.ports.is_empty());
    }

    #[test]
    fn listeners_can_be_turned_off_and_stand_for_other_ports() {
        let (edge, faults) = read(
            r#"
            edge_http = "none"
            edge_https = "[::]:443"
            edge_listen = ["0.0.0.0:5432", "8883=127.0.0.1:0"]
            [edge]
            default_domain = "Www.Example.com"
            answer_timeout_seconds = 5
            "#,
        );
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(edge.http, None);
        assert_eq!(edge.https.unwrap().to_string(), "[::]:443");
        let ports: Vec<u16> = edge.ports.iter().map(|(port, _)| *port).collect();
        assert_eq!(ports, [5432, 8883]);
        assert_eq!(edge.default_domain.unwrap().as_str(), "www.example.com");
        assert_eq!(edge.answer_timeout, Some(Duration::from_secs(5)));
    }

    #[test]
    fn every_fault_names_its_key() {
        let (_, faults) = read(
            r#"
            edge_http = "8081"
            edge_https = "https://127.0.0.1:1"
            edge_listen = ["443=127.0.0.1:1", "127.0.0.1:0", "5=127.0.0.1:5", "127.0.0.1:5", "x"]
            [edge]
            default_domain = "not a name"
            answer_timeout_seconds = 0
            public_https_port = 65536
            cached_certificates = 0
            speed = "high"
            "#,
        );
        for (key, count) in [
            ("edge_http:", 1),
            ("edge_https:", 1),
            ("edge_listen:", 4),
            ("edge.default_domain:", 1),
            ("edge.answer_timeout_seconds:", 1),
            ("edge.public_https_port:", 1),
            ("edge.cached_certificates:", 1),
            ("edge.speed:", 1),
        ] {
            let found = faults.iter().filter(|fault| fault.starts_with(key)).count();
            assert_eq!(found, count, "{key} in {faults:?}");
        }
    }
}
