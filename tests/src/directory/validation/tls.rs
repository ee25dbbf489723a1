//! tls-alpn-01 (RFC 8737).

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use pki::{Certificate, Identifier};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::Value;

use crate::directory::answer::problem;
use crate::directory::jws::sha256;

const PROTOCOL: &[u8] = b"acme-tls/1";
/// How long the other side may keep silent.
const SILENCE: Duration = Duration::from_secs(10);
/// The extension `acmeIdentifier`, critical, up to the digest (section 3).
const EXTENSION: [u8; 17] = [
    0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04,
    0x20,
];

pub(super) fn check(
    identifier: &Identifier,
    place: SocketAddr,
    authorization: &str,
) -> Result<(), Value> {
    let der = certificate(identifier, place)
        .map_err(|error| problem("tls", &format!("{place}: {error}")))?;
    let wrong = |detail: &str| Err(problem("incorrectResponse", &format!("{place}: {detail}")));
    let Ok(certificate) = Certificate::from_der(&der) else {
        return wrong("the certificate cannot be read");
    };
    if certificate.identifiers() != [identifier.clone()] {
        return wrong("the certificate is for other names");
    }
    let expected = [&EXTENSION[..], &sha256(authorization)].concat();
    if !der.windows(expected.len()).any(|window| window == expected) {
        return wrong("the certificate has not the right digest");
    }
    Ok(())
}

/// The certificate that is shown to validators.
fn certificate(identifier: &Identifier, place: SocketAddr) -> Result<Vec<u8>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let name = match identifier {
        Identifier::Ip(address) => reverse_name(*address),
        other => other.to_string(),
    };
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let mut connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let mut socket =
        TcpStream::connect_timeout(&place, SILENCE).map_err(|error| error.to_string())?;
    socket
        .set_read_timeout(Some(SILENCE))
        .map_err(|error| error.to_string())?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut socket)
            .map_err(|error| error.to_string())?;
    }
    if connection.alpn_protocol() != Some(PROTOCOL) {
        return Err("it does not speak acme-tls/1".to_owned());
    }
    let chain = connection.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or("it shows no certificate")?;
    Ok(leaf.to_vec())
}

/// The name that stands for an address in the handshake (RFC 8738 section 6).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [first, second, third, fourth] = address.octets();
            format!("{fourth}.{third}.{second}.{first}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let digits = octets.iter().rev();
            let digits = digits.map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            format!("{}ip6.arpa", digits.collect::<String>())
        }
    }
}

/// Takes any certificate: that it signs itself is the point.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 was not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // By the key alone: rustls would refuse the certificate for its critical extension.
        let certificate = Certificate::from_der(certificate)
            .map_err(|error| Error::General(error.to_string()))?;
        let key = SubjectPublicKeyInfoDer::from(certificate.spki_der());
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_named_backwards() {
        let name = |address: &str| reverse_name(address.parse().unwrap());
        assert_eq!(name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::567:89ab"),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
