//! Asking the OCSP responders of other authorities, over plain HTTP (RFC 6960 appendix A.1). What
//! comes back is believed for its signature alone.

use std::time::Duration;

use bytes::Bytes;
use egress::{EgressPolicy, Fetch, FetchError, Ports, Request, Trust};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use lifecycle::Staple;
use pki::{
    CertId, Certificate, HashAlgorithm, IssuerHashes, OcspRequest, VerifiedAnswer,
    VerifiedAnswerError,
};
use time::OffsetDateTime;

/// Longest time for one answer, from looking up the responder's name to the last octet.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest answer that is read, in octets.
const MAX_ANSWER: usize = 64 * 1024;
/// How long an answer is handed on that does not say when there will be a newer one.
const WITHOUT_END: Duration = Duration::from_secs(60 * 60);

/// A question to a responder about one certificate.
#[derive(Debug)]
pub(crate) struct Question {
    url: Uri,
    id: CertId,
    issuer: Certificate,
}

/// Why a responder has nothing to hand on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResponderError {
    #[error("the responder does not answer")]
    Fetch(#[from] FetchError),
    #[error("the responder answers with HTTP status {0}")]
    Status(StatusCode),
    #[error("the answer is of no use")]
    Answer(#[from] VerifiedAnswerError),
    #[error("the responder does not call the certificate good")]
    NotGood,
}

impl Question {
    /// The question about the first certificate of a chain to the responder that it names; `None`
    /// when it names none that is reached by plain HTTP, or comes without its issuer.
    pub(crate) fn about(chain: &[impl AsRef<[u8]>]) -> Option<Self> {
        let [leaf, issuer, ..] = chain else {
            return None;
        };
        let leaf = Certificate::from_der(leaf.as_ref()).ok()?;
        let url: Uri = leaf.ocsp_url()?.parse().ok()?;
        if url.scheme_str() != Some("http") || url.host().is_none() {
            return None;
        }
        let issuer = Certificate::from_der(issuer.as_ref()).ok()?;
        let hashes = IssuerHashes::of(&issuer);
        // The only hash that all responders know (RFC 5019 section 2.1.1).
        let id = CertId::new(HashAlgorithm::Sha1, &hashes, leaf.serial());
        Some(Self { url, id, issuer })
    }

    /// Whom it is for, whatever it is about.
    pub(crate) fn responder(&self) -> String {
        let host = self.url.host().unwrap_or_default();
        let port = self.url.port_u16();
        port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Asks, and gives what can be stapled: an answer in force that says "good".
    ///
    /// # Errors
    /// [`ResponderError`].
    pub(crate) async fn ask(
        &self,
        fetch: &dyn Fetch,
        policy: EgressPolicy,
        now: OffsetDateTime,
    ) -> Result<Staple, ResponderError> {
        let response = fetch.fetch(self.request(policy)).await?;
        if response.status != StatusCode::OK {
            return Err(ResponderError::Status(response.status));
        }
        let answer = VerifiedAnswer::read(&response.body, &self.id, &self.issuer, now)?;
        if !answer.is_good {
            return Err(ResponderError::NotGood);
        }
        Ok(Staple {
            response: response.body.into(),
            produced_at: answer.this_update,
            next_update: answer.next_update.unwrap_or(now + WITHOUT_END),
        })
    }

    fn request(&self, policy: EgressPolicy) -> Request {
        let question = OcspRequest {
            cert_ids: vec![self.id.clone()],
            nonce: None,
        };
        let kind = HeaderValue::from_static("application/ocsp-request");
        Request {
            method: Method::POST,
            url: self.url.to_string(),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, kind)]),
            body: Bytes::from(question.to_der()),
            policy,
            ports: Ports::Any,
            trust: Trust::System,
            deadline: PATIENCE,
            body_limit: MAX_ANSWER,
            redirects: 0,
        }
    }
}
