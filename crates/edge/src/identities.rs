//! What a TLS handshake needs of a certificate: its chain, its parsed key and a configuration.

use std::sync::{Arc, OnceLock};

use lifecycle::{Credentials, ServedKey, ServerIdentity, Staple, off_the_reactor};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig, SignatureAlgorithm};
use time::OffsetDateTime;

use crate::responder::Question;

/// The protocol of ACME directories that look for a proof (RFC 8737 section 6.2).
pub(crate) const VALIDATION: &[u8] = b"acme-tls/1";

const TLS_1_3: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];
const ECDSA: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];
const RSA: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The configurations that all identities have in common.
#[derive(Debug)]
pub(crate) struct Templates {
    http: ServerConfig,
    raw: ServerConfig,
    validation: ServerConfig,
}

/// A certificate that can be served.
#[derive(Debug)]
pub(crate) struct Identity {
    key: Arc<CertifiedKey>,
    http: Arc<ServerConfig>,
    raw: OnceLock<Arc<ServerConfig>>,
    /// When the certificate ends.
    pub(crate) not_after: OffsetDateTime,
    /// When a new OCSP response should be had; `None` when nobody can be asked for one.
    pub(crate) staple_due: Option<OffsetDateTime>,
    /// When the one that is stapled must no longer be.
    pub(crate) staple_end: Option<OffsetDateTime>,
    /// Whether it is not the house that answers OCSP questions about it.
    pub(crate) is_foreign: bool,
}

impl Templates {
    /// Templates for sessions that go on with these tickets, and with nothing else.
    ///
    /// # Errors
    /// When the crypto library has no protocol version to offer.
    pub(crate) fn new(tickets: Arc<dyn ProducesTickets>) -> Result<Self, rustls::Error> {
        let base = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Nobody));
        let mut validation = base.clone();
        validation.alpn_protocols = vec![VALIDATION.to_vec()];
        // Nobody comes back to such a session.
        validation.session_storage = Arc::new(NoServerSessionStorage {});
        validation.send_tls13_tickets = 0;
        let mut raw = base;
        // Nothing in the order is weak; a client that prefers something else is better served by the
        // order than by its own wish.
        raw.ignore_client_order = true;
        raw.session_storage = Arc::new(NoServerSessionStorage {});
        raw.ticketer = tickets;
        let mut http = raw.clone();
        http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            http,
            raw,
            validation,
        })
    }

    /// The configuration for a handshake with the protocol [`VALIDATION`] alone, which proves
    /// control over a name and is good for nothing else.
    ///
    /// # Errors
    /// When the key is of a kind that TLS cannot use.
    pub(crate) fn validation(
        &self,
        identity: ServerIdentity,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let pkcs8 = identity.key.to_pkcs8_der();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
        let chain = identity.chain.into_iter().map(CertificateDer::from);
        let key = CertifiedKey::new(chain.collect(), any_supported_type(&key)?);
        Ok(configured(&self.validation, Arc::new(key)))
    }
}

/// The library's cryptography, AES-128 first: browsers ask for it first, too, and SHA-384, which
/// comes with AES-256, costs a tenth of a handshake where processors have no instructions for it.
fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

impl Identity {
    /// Parses what the house gave.
    ///
    /// # Errors
    /// When the key is of a kind that TLS cannot use.
    pub(crate) async fn new(
        templates: &Templates,
        credentials: Credentials,
        now: OffsetDateTime,
    ) -> Result<Self, rustls::Error> {
        let ServedKey { pkcs8, is_rsa } = credentials.key;
        let parse = move || {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
            any_supported_type(&key)
        };
        // Checking the numbers of an RSA key takes a good part of a millisecond.
        let key = if is_rsa {
            let parsed = off_the_reactor(parse).await;
            parsed.map_err(|error| rustls::Error::General(error.to_string()))?
        } else {
            parse()
        }?;
        let chain = credentials.chain.into_iter().map(CertificateDer::from);
        let key = CertifiedKey::new(chain.collect(), key);
        let mut identity = Self::of(templates, key, credentials.not_after);
        if let Some(staple) = credentials.staple {
            return Ok(identity.stapled(templates, staple, now));
        }
        identity.is_foreign = identity.question().is_some();
        identity.staple_due = identity.is_foreign.then_some(now);
        Ok(identity)
    }

    /// The same certificate with this OCSP response, which is renewed when half of the time is over
    /// that is left of it.
    pub(crate) fn stapled(
        &self,
        templates: &Templates,
        staple: Staple,
        now: OffsetDateTime,
    ) -> Self {
        let mut key = CertifiedKey::clone(&self.key);
        key.ocsp = Some(staple.response);
        Self {
            staple_due: Some(now + (staple.next_update - now) / 2),
            staple_end: Some(staple.next_update),
            is_foreign: self.is_foreign,
            ..Self::of(templates, key, self.not_after)
        }
    }

    /// The same certificate with the response that it has, as long as that is in force, for which
    /// nobody is asked before `due`.
    pub(crate) fn postponed(
        &self,
        templates: &Templates,
        due: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Self {
        let mut key = CertifiedKey::clone(&self.key);
        let staple_end = self.staple_end.filter(|end| *end > now);
        if staple_end.is_none() {
            key.ocsp = None;
        }
        Self {
            staple_due: staple_end.map_or(Some(due), |end| Some(end.min(due))),
            staple_end,
            is_foreign: self.is_foreign,
            ..Self::of(templates, key, self.not_after)
        }
    }

    /// What to ask a foreign responder, if the certificate names one.
    pub(crate) fn question(&self) -> Option<Question> {
        Question::about(&self.key.cert)
    }

    /// Whether the key is one for RSA.
    pub(crate) fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }

    /// Whether a client can take a signature of this key. Before TLS 1.3 its cipher suites speak of
    /// that, too (RFC 8422 section 2).
    pub(crate) fn suits(&self, hello: &ClientHello<'_>) -> bool {
        let offers = |suites: &[CipherSuite]| {
            let mut offered = hello.cipher_suites().iter();
            offered.any(|suite| suites.contains(suite))
        };
        let suites = if self.is_rsa() { &RSA } else { &ECDSA };
        let schemes = hello.signature_schemes();
        (offers(&TLS_1_3) || offers(suites)) && self.key.key.choose_scheme(schemes).is_some()
    }

    /// The configuration of a handshake: with the protocols of HTTP to choose from, or with none.
    pub(crate) fn configuration(&self, templates: &Templates, is_http: bool) -> Arc<ServerConfig> {
        if is_http {
            return self.http.clone();
        }
        self.raw
            .get_or_init(|| configured(&templates.raw, self.key.clone()))
            .clone()
    }

    fn of(templates: &Templates, key: CertifiedKey, not_after: OffsetDateTime) -> Self {
        let key = Arc::new(key);
        Self {
            http: configured(&templates.http, key.clone()),
            raw: OnceLock::new(),
            key,
            not_after,
            staple_due: None,
            staple_end: None,
            is_foreign: false,
        }
    }
}

fn configured(template: &ServerConfig, key: Arc<CertifiedKey>) -> Arc<ServerConfig> {
    let mut configuration = template.clone();
    configuration.cert_resolver = Arc::new(One(key));
    Arc::new(configuration)
}

/// Serves one certificate; which one was settled before.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Serves none: a template is not a configuration.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pki::{KeyAlgorithm, PrivateKey};

    use super::*;
    use crate::tickets::Tickets;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn now() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + 20_000 * DAY
    }

    fn templates() -> Templates {
        Templates::new(Arc::new(Tickets::new())).unwrap()
    }

    async fn identity(templates: &Templates, staple: Option<Staple>) -> Identity {
        let credentials = Credentials {
            version: format!("{:032x}", 1).parse().unwrap(),
            chain: vec![b"not looked at".to_vec()],
            key: ServedKey {
                pkcs8: PrivateKey::generate(KeyAlgorithm::P256)
                    .unwrap()
                    .to_pkcs8_der(),
                is_rsa: false,
            },
            not_after: now() + 30 * DAY,
            staple,
        };
        Identity::new(templates, credentials, now()).await.unwrap()
    }

    fn staple() -> Staple {
        Staple {
            response: b"good".to_vec(),
            produced_at: now() - 4 * DAY,
            next_update: now() + 2 * DAY,
        }
    }

    #[tokio::test]
    async fn a_response_is_renewed_when_half_of_what_is_left_of_it_is_over() {
        let identity = identity(&templates(), Some(staple())).await;
        assert_eq!(identity.key.ocsp.as_deref(), Some(&b"good"[..]));
        assert_eq!(identity.staple_due, Some(now() + DAY));
    }

    #[tokio::test]
    async fn a_response_that_cannot_be_renewed_is_kept_to_its_end_and_no_longer() {
        let templates = templates();
        let identity = identity(&templates, Some(staple())).await;
        let late = now() + 2 * DAY - Duration::from_secs(10);
        let kept = identity.postponed(&templates, late + DAY, late);
        assert_eq!(kept.key.ocsp.as_deref(), Some(&b"good"[..]));
        assert_eq!(kept.staple_due, Some(now() + 2 * DAY));
        let end = now() + 2 * DAY;
        let dropped = kept.postponed(&templates, end + DAY, end);
        assert_eq!(dropped.key.ocsp, None);
        assert_eq!(dropped.staple_due, Some(end + DAY));
    }

    #[tokio::test]
    async fn without_a_responder_nobody_is_asked() {
        let identity = identity(&templates(), None).await;
        assert_eq!(identity.staple_due, None);
        assert!(!identity.is_foreign);
    }

    #[tokio::test]
    async fn only_http_has_protocols_to_choose_from() {
        let templates = templates();
        let identity = identity(&templates, None).await;
        let http = identity.configuration(&templates, true);
        assert_eq!(http.alpn_protocols.len(), 2);
        let raw = identity.configuration(&templates, false);
        assert!(raw.alpn_protocols.is_empty());
        assert_eq!(raw.max_early_data_size, 0);
        assert_eq!(http.max_early_data_size, 0);
    }
}
