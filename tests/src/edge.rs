//! The edge of a running server, as its clients see it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{Chancery, Curl, TlsClient, eventually, serial, try_openssl};

/// How long the edge may take to serve a domain once somebody was told that it is there.
const SOON: Duration = Duration::from_secs(60);

impl Chancery {
    /// The URL of a path of a site at the edge's TLS listener.
    #[must_use]
    #[track_caller]
    pub fn edge_url(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.edge_https().port())
    }

    /// The same at the edge's plain listener.
    #[must_use]
    #[track_caller]
    pub fn plain_edge_url(&self, name: &str, path: &str) -> String {
        format!("http://{name}:{}{path}", self.edge_http().port())
    }

    /// curl that trusts the built-in authority and finds these names at the edge.
    #[must_use]
    #[track_caller]
    pub fn edge_curl(&self, names: &[&str]) -> Curl {
        names
            .iter()
            .fold(Curl::trusting(&[&self.root_certificate()]), |curl, name| {
                curl.at(name, self.edge_https()).at(name, self.edge_http())
            })
    }

    /// A TLS client that trusts the built-in authority.
    #[must_use]
    #[track_caller]
    pub fn edge_client(&self) -> TlsClient {
        TlsClient::trusting(&[&self.root_certificate()])
    }

    /// Waits until the edge serves these names with certificates of the built-in authority.
    ///
    /// # Panics
    ///
    /// When it does not within a minute.
    #[track_caller]
    pub fn wait_for_edge(&self, names: &[&str]) {
        let client = self.edge_client();
        for name in names {
            eventually(SOON, &format!("{name} is served"), || {
                client.connect(self.edge_https(), name).ok()
            });
        }
    }
}

/// The serial number of the certificate that the server at `address` shows to openssl when it is
/// asked for `name`; `None` when it shows none. `arguments` are more ones for `openssl s_client`.
#[must_use]
#[track_caller]
pub fn served_serial(address: SocketAddr, name: &str, arguments: &[&str]) -> Option<String> {
    let address = address.to_string();
    let connect = ["s_client", "-connect", &address, "-servername", name];
    let output = try_openssl(&[&connect[..], arguments].concat(), b"");
    let text = output.text();
    text.contains("-----BEGIN CERTIFICATE-----")
        .then(|| serial(text.as_bytes()))
}
