//! A TLS client (rustls) that shows what happened in the handshake, for tests that need many
//! connections or odd ones.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::http::{self, Response};

/// How long the other side may keep silent.
const SILENCE: Duration = Duration::from_secs(60);

/// How to open connections. Sessions are not resumed: every handshake is a full one.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

/// An open connection.
pub struct TlsStream(StreamOwned<ClientConnection, TcpStream>);

impl TlsClient {
    /// A client that trusts the certificates of these PEM files.
    ///
    /// # Panics
    ///
    /// When a file cannot be read or holds no certificate that can be trusted.
    #[must_use]
    #[track_caller]
    pub fn trusting(roots: &[&Path]) -> Self {
        let mut store = RootCertStore::empty();
        for path in roots {
            let certificates = CertificateDer::pem_file_iter(path)
                .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            for certificate in certificates {
                let certificate = certificate.expect("a root is PEM");
                store.add(certificate).expect("a root can be trusted");
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(store)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Self {
            config: Arc::new(config),
        }
    }

    /// Offers these protocols (ALPN), such as `h2`.
    #[must_use]
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.collect();
        self
    }

    /// Names no server in the handshake.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        Arc::make_mut(&mut self.config).enable_sni = false;
        self
    }

    /// Connects to `address`, asks for `name` and verifies the certificate for it.
    ///
    /// # Errors
    ///
    /// What went wrong, an alert by its name in rustls.
    pub fn connect(&self, address: SocketAddr, name: &str) -> Result<TlsStream, String> {
        let mut socket = TcpStream::connect(address)
            .map_err(|error| format!("cannot connect to {address}: {error}"))?;
        socket
            .set_read_timeout(Some(SILENCE))
            .expect("a timeout can be set");
        socket
            .set_write_timeout(Some(SILENCE))
            .expect("a timeout can be set");
        socket.set_nodelay(true).expect("an option can be set");
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|error| format!("{name:?} is no server name: {error}"))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), server_name)
            .map_err(|error| error.to_string())?;
        while connection.is_handshaking() {
            connection
                .complete_io(&mut socket)
                .map_err(|error| format!("handshake for {name}: {error}"))?;
        }
        Ok(TlsStream(StreamOwned::new(connection, socket)))
    }
}

impl TlsStream {
    /// The server's own certificate, DER.
    ///
    /// # Panics
    ///
    /// Never for a connection whose handshake is done.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        let chain = self.0.conn.peer_certificates();
        let leaf = chain.and_then(|chain| chain.first());
        leaf.expect("a server has a certificate").to_vec()
    }

    /// The protocol agreed on (ALPN).
    #[must_use]
    pub fn protocol(&self) -> Option<String> {
        let protocol = self.0.conn.alpn_protocol()?;
        Some(String::from_utf8_lossy(protocol).into_owned())
    }

    /// Sends one HTTP/1.1 request and reads its answer, as [`http::send`] does; `Host` has to be
    /// among the headers.
    ///
    /// # Errors
    ///
    /// What went wrong, when the server breaks off, keeps silent for a minute or answers no HTTP.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, String> {
        http::exchange(self, method, path, headers, body)
    }

    /// Says that nothing more will be written, as the end of a TLS stream is said.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn finish(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()
    }
}

impl Read for TlsStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
