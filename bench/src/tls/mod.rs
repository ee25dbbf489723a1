//! What clients offer in a handshake. They accept every certificate and do not check signatures: the
//! server is measured, not the client.

mod shares;

use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suites, kx_group as groups};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, ProtocolVersion, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};

/// Sessions that a client keeps to resume them.
const SESSIONS: usize = 256;
/// In the order of browsers on machines with AES in hardware, which servers follow. rustls has
/// another one of its own.
const SUITES: [SupportedCipherSuite; 9] = [
    suites::TLS13_AES_128_GCM_SHA256,
    suites::TLS13_AES_256_GCM_SHA384,
    suites::TLS13_CHACHA20_POLY1305_SHA256,
    suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Key exchanges that are offered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Groups {
    /// X25519MLKEM768, and X25519 for servers that do not know it, as browsers do
    #[default]
    #[value(name = "x25519mlkem768")]
    Hybrid,
    /// X25519, and P-256 after it, as browsers did before
    #[value(name = "x25519")]
    Classic,
}

/// The one version of TLS that is offered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Version {
    /// TLS 1.2
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3
    #[default]
    #[value(name = "1.3")]
    Tls13,
}

/// What a client offers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offer {
    pub(crate) groups: Groups,
    pub(crate) version: Version,
    /// Whether sessions are kept and resumed.
    pub(crate) resumption: bool,
    /// Whether the certificate must hold the name that was asked for.
    pub(crate) checks_name: bool,
}

impl Offer {
    /// A new configuration: with sessions of its own, if there are any.
    ///
    /// # Errors
    /// When the library finds the offer inconsistent.
    pub(crate) fn config(self) -> anyhow::Result<Arc<ClientConfig>> {
        // In TLS 1.2 the curve of the certificate has to be among them (RFC 8422 section 5.1).
        let mut kx_groups: Vec<&'static dyn SupportedKxGroup> =
            vec![&shares::CLASSIC, groups::SECP256R1];
        if self.groups == Groups::Hybrid {
            kx_groups.insert(0, &shares::HYBRID);
        }
        let provider = Arc::new(CryptoProvider {
            cipher_suites: SUITES.to_vec(),
            kx_groups,
            ..aws_lc_rs::default_provider()
        });
        let versions: &[&SupportedProtocolVersion] = match self.version {
            Version::Tls12 => &[&rustls::version::TLS12],
            Version::Tls13 => &[&rustls::version::TLS13],
        };
        let verifier = Lenient {
            checks_name: self.checks_name,
            schemes: provider
                .signature_verification_algorithms
                .supported_schemes(),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = if self.resumption {
            Resumption::in_memory_sessions(SESSIONS)
        } else {
            Resumption::disabled()
        };
        Ok(Arc::new(config))
    }
}

/// What was agreed upon, in words.
pub(crate) fn negotiated(connection: &rustls::CommonState) -> String {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
        other => format!("{other:?}"),
    };
    let suite = connection
        .negotiated_cipher_suite()
        .map(|suite| format!("{:?}", suite.suite()));
    let group = connection
        .negotiated_key_exchange_group()
        .map(|group| format!("{:?}", group.name()));
    format!(
        "{version}, {}, {}",
        group.as_deref().unwrap_or("no key exchange"),
        suite.as_deref().unwrap_or("no cipher"),
    )
}

/// Finds every certificate and every signature good, but for a name that is not in it.
#[derive(Debug)]
struct Lenient {
    checks_name: bool,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // A DNS name is written in a certificate as it is here (RFC 5280 section 4.2.1.6).
        let name = server_name.to_str();
        let is_in = |name: &[u8]| end_entity.windows(name.len()).any(|part| part == name);
        if self.checks_name && !is_in(name.as_bytes()) {
            return Err(rustls::Error::General(
                "the certificate is of another name".to_owned(),
            ));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// The alert with which a server ended a handshake, if that is how it failed.
pub(crate) fn alert(error: &std::io::Error) -> Option<rustls::AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// The certificates and the private key of a PEM file, for a server.
///
/// # Errors
/// When they are not there or do not belong together.
pub(crate) fn certified_key(pem: &[u8]) -> anyhow::Result<rustls::sign::CertifiedKey> {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(pem).context("no private key")?;
    Ok(rustls::sign::CertifiedKey::from_der(
        chain,
        key,
        &aws_lc_rs::default_provider(),
    )?)
}
