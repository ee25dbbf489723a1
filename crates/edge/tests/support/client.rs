//! TLS clients, one connection at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind,
    NamedGroup, ProtocolVersion, RootCertStore, SignatureScheme, StreamOwned, SupportedCipherSuite,
};

use super::LONG;

/// A client; its sessions go on from one connection to the next.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) ClientConfig, Arc<WebPkiServerVerifier>);

/// A connection after its handshake.
pub(crate) struct Session(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// A client that trusts this root alone.
    pub(crate) fn trusting(root: &[u8]) -> Self {
        Self::of(aws_lc_rs::default_provider(), root)
    }

    /// The same client, but of these cipher suites alone.
    pub(crate) fn with_suites(self, suites: &[SupportedCipherSuite], root: &[u8]) -> Self {
        let provider = CryptoProvider {
            cipher_suites: suites.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        Self::of(provider, root)
    }

    /// The same client, offering these protocols of applications.
    pub(crate) fn with_protocols(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        self.0.alpn_protocols = protocols.collect();
        self
    }

    /// The same client, which never goes on with a session.
    pub(crate) fn without_sessions(mut self) -> Self {
        self.0.resumption = Resumption::disabled();
        self
    }

    /// The same client, which names nobody.
    pub(crate) fn without_name(mut self) -> Self {
        self.0.enable_sni = false;
        self
    }

    /// The same client, which trusts whatever is shown to it.
    pub(crate) fn trusting_all(mut self) -> Self {
        let mut dangerous = self.0.dangerous();
        dangerous.set_certificate_verifier(Arc::new(Believer(self.1.clone())));
        self
    }

    /// Shakes hands.
    pub(crate) fn connect(&self, address: SocketAddr, name: &str) -> io::Result<Session> {
        let tcp = TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(LONG))?;
        tcp.set_write_timeout(Some(LONG))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(self.0.clone()), name);
        let mut stream = StreamOwned::new(connection.unwrap(), tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Session(stream))
    }

    /// Shakes hands in full, and keeps the OCSP response that comes with it.
    pub(crate) fn connect_for_staple(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> (Session, Option<Vec<u8>>) {
        let staple = Arc::new(Mutex::new(None));
        let mut client = self.clone().without_sessions();
        let verifier = Keeper {
            inner: self.1.clone(),
            staple: staple.clone(),
        };
        let mut dangerous = client.0.dangerous();
        dangerous.set_certificate_verifier(Arc::new(verifier));
        let session = client.connect(address, name).unwrap();
        let staple = staple.lock().unwrap().take();
        (session, staple)
    }

    /// The alert that ends a handshake, if it ends with one.
    pub(crate) fn alert(&self, address: SocketAddr, name: &str) -> Option<AlertDescription> {
        let error = self.connect(address, name).err()?;
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        }
    }

    /// The alert that ends a handshake.
    #[track_caller]
    pub(crate) fn refusal(&self, address: SocketAddr, name: &str) -> AlertDescription {
        let alert = self.alert(address, name);
        alert.unwrap_or_else(|| panic!("the handshake for {name} does not end with an alert"))
    }

    fn of(provider: CryptoProvider, root: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(root.to_vec().into()).unwrap();
        let provider = Arc::new(provider);
        let roots = Arc::new(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
        let verifier = verifier.build().unwrap();
        let configuration = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_webpki_verifier(verifier.clone())
            .with_no_client_auth();
        Self(configuration, verifier)
    }
}

impl Session {
    /// The leaf that the server sent; none when the session went on from another.
    pub(crate) fn leaf(&self) -> pki::Certificate {
        let chain = self.0.conn.peer_certificates().unwrap();
        pki::Certificate::from_der(&chain[0]).unwrap()
    }

    /// The leaf's serial number.
    pub(crate) fn serial(&self) -> String {
        self.leaf().serial().to_hex()
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.0.conn.protocol_version().unwrap()
    }

    pub(crate) fn group(&self) -> NamedGroup {
        let group = self.0.conn.negotiated_key_exchange_group();
        group.unwrap().name()
    }

    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.0.conn.alpn_protocol()
    }

    /// Ends the connection as TLS wants it, once the tickets have come.
    pub(crate) fn end(mut self) {
        self.0.conn.send_close_notify();
        let _ = self.0.flush();
        let _ = self.0.read_to_end(&mut Vec::new());
    }
}

/// Believes everything.
#[derive(Debug)]
struct Believer(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Verifies as usual, and keeps the OCSP response.
#[derive(Debug)]
struct Keeper {
    inner: Arc<WebPkiServerVerifier>,
    staple: Arc<Mutex<Option<Vec<u8>>>>,
}

impl ServerCertVerifier for Keeper {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.staple.lock().unwrap() = (!staple.is_empty()).then(|| staple.to_vec());
        self.inner
            .verify_server_cert(leaf, intermediates, name, staple, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
