//! The certificate of the API's own TLS listeners: taken from the house, and looked after while the
//! process runs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use lifecycle::{House, ServerIdentity};
use pki::{DnsName, Identifier};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::configuration::host_of;

/// How often the certificate's age is looked at.
const CHECK: Duration = Duration::from_secs(60 * 60);

/// Serves one certificate to every client, and lets it be exchanged.
#[derive(Debug)]
pub(crate) struct ListenerCertificate {
    house: House,
    identifiers: Vec<Identifier>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl ListenerCertificate {
    /// The certificate for listeners at `addresses` that are reached as `public_url`.
    pub(crate) async fn new(
        house: House,
        addresses: &[SocketAddr],
        public_url: &str,
    ) -> anyhow::Result<Arc<Self>> {
        let identifiers = identifiers_of(addresses, public_url);
        let identity = house
            .listener_identity(&identifiers)
            .await
            .context("cannot get a certificate for the https listener")?;
        Ok(Arc::new(Self {
            house,
            identifiers,
            current: RwLock::new(Arc::new(certified(&identity)?)),
        }))
    }

    /// The TLS configuration that serves this certificate.
    pub(crate) fn configuration(self: &Arc<Self>) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut configuration = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        configuration.ignore_client_order = true;
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(configuration))
    }

    /// Exchanges the certificate before it ends, for ever.
    pub(crate) async fn look_after(&self) {
        loop {
            tokio::time::sleep(CHECK).await;
            let renewed = self.house.listener_identity(&self.identifiers).await;
            let certified = renewed
                .map_err(anyhow::Error::from)
                .and_then(|identity| certified(&identity));
            match certified {
                Ok(certified) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                        Arc::new(certified);
                }
                Err(error) => {
                    tracing::warn!(error = %format!("{error:#}"), "could not renew the listener's certificate");
                }
            }
        }
    }
}

impl ResolvesServerCert for ListenerCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.current
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

fn certified(identity: &ServerIdentity) -> anyhow::Result<CertifiedKey> {
    let key = identity.key.to_pkcs8_der();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice()));
    let key = aws_lc_rs::sign::any_supported_type(&key)?;
    let chain = identity
        .chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()));
    Ok(CertifiedKey::new(chain.collect(), key))
}

/// Names by which clients reach the listeners: their addresses, the public name, and `localhost`.
fn identifiers_of(addresses: &[SocketAddr], public_url: &str) -> Vec<Identifier> {
    let mut identifiers = BTreeSet::new();
    if let Ok(localhost) = DnsName::parse("localhost") {
        identifiers.insert(Identifier::Dns(localhost));
    }
    for address in addresses {
        if !address.ip().is_unspecified() {
            identifiers.insert(Identifier::Ip(address.ip()));
        }
    }
    if let Some(host) = host_of(public_url) {
        if let Ok(address) = host.parse() {
            identifiers.insert(Identifier::Ip(address));
        } else if let Ok(name) = DnsName::parse(&host) {
            identifiers.insert(Identifier::Dns(name));
        }
    }
    identifiers.into_iter().collect()
}
