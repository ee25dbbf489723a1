//! Asking the OCSP responders of other authorities, over plain HTTP (RFC 6960 appendix A.1). What
//! comes back is believed for its signature alone.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lifecycle::{EgressPolicy, Staple};
use pki::{
    CertId, Certificate, HashAlgorithm, IssuerHashes, OcspRequest, VerifiedAnswer,
    VerifiedAnswerError,
};
use time::OffsetDateTime;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

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
    #[error("the responder is at no address that may be connected to")]
    Address,
    #[error("the responder cannot be reached")]
    Connect(#[source] io::Error),
    #[error("the responder does not speak HTTP")]
    Http(#[source] hyper::Error),
    #[error("the answer is too long, or breaks off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the responder takes too long")]
    Timeout,
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
        policy: EgressPolicy,
        now: OffsetDateTime,
    ) -> Result<Staple, ResponderError> {
        let fetched = timeout(PATIENCE, self.fetch(policy)).await;
        let response = fetched.unwrap_or(Err(ResponderError::Timeout))?;
        let answer = VerifiedAnswer::read(&response, &self.id, &self.issuer, now)?;
        if !answer.is_good {
            return Err(ResponderError::NotGood);
        }
        Ok(Staple {
            response: response.into(),
            produced_at: answer.this_update,
            next_update: answer.next_update.unwrap_or(now + WITHOUT_END),
        })
    }

    async fn fetch(&self, policy: EgressPolicy) -> Result<Bytes, ResponderError> {
        let stream = self.connect(policy).await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(ResponderError::Http)?;
        let talking = async {
            let response = sender.send_request(self.request()).await;
            let response = response.map_err(ResponderError::Http)?;
            if response.status() != StatusCode::OK {
                return Err(ResponderError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            Ok(body.map_err(ResponderError::Body)?.to_bytes())
        };
        tokio::pin!(talking);
        tokio::select! {
            talked = &mut talking => talked,
            // The connection ends when the last octet of the answer is there.
            _ = connection => talking.await,
        }
    }

    async fn connect(&self, policy: EgressPolicy) -> Result<TcpStream, ResponderError> {
        let host = self.url.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.url.port_u16().unwrap_or(80);
        let addresses = lookup_host((host, port)).await;
        let addresses = addresses.map_err(ResponderError::Connect)?;
        let allowed = |address: &SocketAddr| policy.check(address.ip()).is_ok();
        let mut outcome = Err(ResponderError::Address);
        for address in addresses.filter(allowed) {
            outcome = TcpStream::connect(address)
                .await
                .map_err(ResponderError::Connect);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let question = OcspRequest {
            cert_ids: vec![self.id.clone()],
            nonce: None,
        };
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::new(Full::from(question.to_der()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Ok(host) = self.responder().parse() {
            headers.insert(HOST, host);
        }
        let kind = http::HeaderValue::from_static("application/ocsp-request");
        headers.insert(CONTENT_TYPE, kind);
        request
    }
}
