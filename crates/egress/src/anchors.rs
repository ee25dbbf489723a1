//! Whom TLS connections are believed to go to: by the trust anchors of the system, or by those that
//! come with a request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Sets of anchors that are kept beside the system's.
const MOST_SETS: usize = 32;

/// TLS configurations by trust anchors.
#[derive(Default)]
pub(crate) struct Anchors(Mutex<Sets>);

#[derive(Default)]
struct Sets {
    system: Option<Arc<ClientConfig>>,
    given: Vec<(Arc<str>, Arc<ClientConfig>)>,
}

impl Anchors {
    /// The configuration for these anchors, PEM, or for the system's.
    ///
    /// # Errors
    /// What is wrong with the anchors.
    pub(crate) fn configuration(
        &self,
        roots: Option<&Arc<str>>,
    ) -> Result<Arc<ClientConfig>, String> {
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(roots) = roots else {
            if let Some(system) = &sets.system {
                return Ok(system.clone());
            }
            let system = configuration(system()?)?;
            sets.system = Some(system.clone());
            return Ok(system);
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

fn configuration(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut configuration = configuration
        .with_root_certificates(roots)
        .with_no_client_auth();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(configuration))
}
