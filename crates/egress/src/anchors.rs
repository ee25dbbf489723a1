//! Whom TLS connections are believed to go to: by the trust anchors of the system, or by those that
//! come with a request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    WantsVerifier,
};

use crate::Trust;

/// Sets of anchors that are kept beside the system's.
const MOST_SETS: usize = 32;

/// TLS configurations by trust anchors.
#[derive(Default)]
pub(crate) struct Anchors(Mutex<Sets>);

#[derive(Default)]
struct Sets {
    system: Option<Arc<ClientConfig>>,
    anyone: Option<Arc<ClientConfig>>,
    given: Vec<(Arc<str>, Arc<ClientConfig>)>,
}

impl Anchors {
    /// The configuration for this trust.
    ///
    /// # Errors
    /// What is wrong with the anchors.
    pub(crate) fn configuration(&self, trust: &Trust) -> Result<Arc<ClientConfig>, String> {
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let roots = match trust {
            Trust::System => return kept(&mut sets.system, || configuration(system()?)),
            Trust::Anyone => return kept(&mut sets.anyone, configuration_for_anyone),
            Trust::Anchors(roots) => roots,
        };
        if let Some((_, found)) = sets.given.iter().find(|(text, _)| text == roots) {
            return Ok(found.clone());
        }
        let made = configuration(read(roots)?)?;
        if sets.given.len() >= MOST_SETS {
            sets.given.remove(0);
        }
        sets.given.push((roots.clone(), made.clone()));
        Ok(made)
    }
}

impl fmt::Debug for Anchors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Anchors").finish_non_exhaustive()
    }
}

fn system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if !store.is_empty() {
        return Ok(store);
    }
    let mut reason = "this system has no trust anchors; install the package ca-certificates, or \
                      name a file with them in SSL_CERT_FILE"
        .to_owned();
    if let Some(error) = found.errors.first() {
        reason = format!("{reason} ({error})");
    }
    Err(reason)
}

fn read(roots: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        let certificate =
            certificate.map_err(|error| format!("the trust anchors are not PEM: {error}"))?;
        store
            .add(certificate)
            .map_err(|error| format!("a trust anchor is no certificate: {error}"))?;
    }
    if store.is_empty() {
        return Err("there is no certificate among the trust anchors".to_owned());
    }
    Ok(store)
}

/// What is there, or else what is made now.
fn kept(
    place: &mut Option<Arc<ClientConfig>>,
    make: impl FnOnce() -> Result<Arc<ClientConfig>, String>,
) -> Result<Arc<ClientConfig>, String> {
    if let Some(kept) = place {
        return Ok(kept.clone());
    }
    let made = make()?;
    *place = Some(made.clone());
    Ok(made)
}

fn configuration(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    Ok(speaking_http(
        builder()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    ))
}

fn configuration_for_anyone() -> Result<Arc<ClientConfig>, String> {
    let unverified = builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    Ok(speaking_http(unverified.with_no_client_auth()))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

fn speaking_http(mut configuration: ClientConfig) -> Arc<ClientConfig> {
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(configuration)
}

/// Takes every certificate, and every signature with it: a server that is believed whatever it
/// says has nothing to prove with its key.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
