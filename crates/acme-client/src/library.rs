//! The steps that instant-acme makes: placing an order, looking at it, finalizing it, fetching its
//! certificate, revoking, and giving an account up.
//!
//! It signs and sends through [`Seam`], which has three tasks. Everything that leaves obeys the rules
//! of [`Session`]. What need not be asked (the directory object, a nonce that is at hand, an order
//! whose URLs are known) is answered from memory. And the answer to the step is kept, because of what
//! instant-acme passes over in it: `Retry-After`, `expires`, links, and with what status it came.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acme::client::{Failure, Login, NewOrder};
use acme::{ErrorKind, UnusableKey};
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, BodyWrapper, BytesResponse, CertificateIdentifier, Error, HttpClient, Identifier,
    RevocationReason, RevocationRequest,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error as ValueError};
use serde_json::{Value, json};

use crate::documents::{Doors, garbled};
use crate::exchange::Reply;
use crate::session::{Session, TRIES, is_bad_nonce, json, refused, unusable};

/// How many nonces instant-acme itself tries.
const TRIES_EACH: usize = 3;
/// The type of problem upon which it does so.
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// A step. It has one answer, after which nothing more is sent.
pub(crate) enum Step<'a> {
    /// Place an order.
    Place(&'a NewOrder),
    /// Look at the order.
    Look(&'a str),
    /// Send a request, DER, for an order.
    Finalize(&'a str, Arc<Doors>, &'a [u8]),
    /// Fetch the certificate of an order.
    Download(&'a str, Arc<Doors>),
    /// Revoke a certificate, DER.
    Revoke(&'a [u8], RevocationReason),
    /// Give the account up.
    Deactivate,
}

/// Makes a step, again and again while nonces are refused, and returns what the directory answered.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn take(
    session: &Arc<Session>,
    login: &Login,
    step: &Step<'_>,
) -> Result<Reply, Failure> {
    let mut tries = 0;
    loop {
        let shared = Arc::new(Shared {
            session: Arc::clone(session),
            known: Mutex::new(step.known()),
            reply: Mutex::default(),
        });
        let outcome = step.run(login, Seam(Arc::clone(&shared))).await;
        // Once the directory has granted the step, it is made, whatever instant-acme thinks of the
        // answer: that is read again.
        if let Some(reply) = locked(&shared.reply).take() {
            return Ok(reply);
        }
        match outcome {
            Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(BAD_NONCE) => {
                tries += TRIES_EACH;
                if tries >= TRIES {
                    let detail = "it has refused every nonce that it gave out";
                    return Err(refused(ErrorKind::BadNonce, detail));
                }
            }
            Err(error) => return Err(failure(error)),
            Ok(()) => return Err(garbled("answer", "there is none")),
        }
    }
}

impl Step<'_> {
    /// The order as instant-acme has to know it before it goes on with it.
    fn known(&self) -> Option<Value> {
        let (status, doors) = match self {
            Self::Finalize(_, doors, _) => ("ready", doors),
            Self::Download(_, doors) => ("valid", doors),
            Self::Place(_) | Self::Look(_) | Self::Revoke(..) | Self::Deactivate => return None,
        };
        Some(json!({
            "status": status,
            "authorizations": [],
            "finalize": doors.finalize,
            "certificate": doors.certificate,
        }))
    }

    async fn run(&self, login: &Login, seam: Seam) -> Result<(), Error> {
        let account = Account::builder_with_http(Box::new(seam)).from_parts(
            login.account_url.clone(),
            PrivatePkcs8KeyDer::from(login.key.as_pkcs8()),
            login.endpoint.url.clone(),
        );
        let account = account.await?;
        match self {
            Self::Place(order) => {
                let names = order.identifiers.iter().map(identifier);
                let names = names.collect::<Result<Vec<_>, _>>()?;
                let mut request = instant_acme::NewOrder::new(&names);
                if let Some(profile) = &order.profile {
                    request = request.profile(profile);
                }
                if let Some(replaced) = &order.replaces {
                    request = request.replaces(certificate_identifier(replaced)?);
                }
                account.new_order(&request).await?;
            }
            Self::Look(url) => {
                account.order((*url).to_owned()).await?;
            }
            Self::Finalize(url, _, request) => {
                let mut order = account.order((*url).to_owned()).await?;
                order.finalize_csr(request).await?;
            }
            Self::Download(url, _) => {
                let mut order = account.order((*url).to_owned()).await?;
                order.certificate().await?;
            }
            Self::Revoke(certificate, reason) => {
                let request = RevocationRequest {
                    certificate: &CertificateDer::from(*certificate),
                    reason: Some(reason.clone()),
                };
                account.revoke(&request).await?;
            }
            Self::Deactivate => account.deactivate().await?,
        }
        Ok(())
    }
}

/// What instant-acme sends through.
struct Seam(Arc<Shared>);

struct Shared {
    session: Arc<Session>,
    /// The answer to the first signed request, if that is not to be sent.
    known: Mutex<Option<Value>>,
    /// What the directory answered.
    reply: Mutex<Option<Reply>>,
}

impl HttpClient for Seam {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.answer(request).await.map_err(carried) })
    }
}

impl Shared {
    async fn answer(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Failure> {
        let mut response = Response::new(Full::<Bytes>::default());
        if request.method() == Method::GET {
            *response.body_mut() = self.directory().await?.into();
        } else if request.method() == Method::HEAD {
            let nonce = self.nonce().await?;
            let nonce = nonce
                .try_into()
                .map_err(|_| garbled("nonce", "it is none"))?;
            response.headers_mut().insert(REPLAY_NONCE, nonce);
        } else if let Some(order) = locked(&self.known).take() {
            *response.body_mut() = json(&order)?.into();
        } else {
            let url = request.uri().to_string();
            let Ok(body) = request.into_body().collect().await;
            match self.session.send(&url, body.to_bytes()).await {
                Ok(reply) => {
                    let location = reply.location.clone().map(TryInto::try_into);
                    if let Some(Ok(location)) = location {
                        response.headers_mut().insert(header::LOCATION, location);
                    }
                    *response.body_mut() = reply.body.clone().into();
                    *locked(&self.reply) = Some(reply);
                }
                Err(failure) if is_bad_nonce(&failure) => {
                    *response.status_mut() = StatusCode::BAD_REQUEST;
                    *response.body_mut() = json(&json!({ "type": BAD_NONCE }))?.into();
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(response.into())
    }

    async fn directory(&self) -> Result<Bytes, Failure> {
        let directory = self.session.directory().await?;
        json(&json!({
            "newNonce": directory.new_nonce,
            "newAccount": directory.new_account,
            "newOrder": directory.new_order,
            "revokeCert": directory.revoke_cert,
            "renewalInfo": directory.renewal_info,
        }))
    }

    /// A nonce; for a request that is not sent, any will do.
    async fn nonce(&self) -> Result<String, Failure> {
        let is_known = locked(&self.known).is_some();
        if is_known {
            Ok("none".to_owned())
        } else {
            self.session.nonce().await
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A failure on its way through instant-acme.
fn carried(failure: Failure) -> Error {
    Error::Other(Box::new(failure))
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Other(carried) => match carried.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(other) => garbled("answer", &other.to_string()),
        },
        Error::KeyRejected | Error::Crypto => unusable(UnusableKey),
        Error::Http(_) | Error::InvalidUri(_) => Failure::Forbidden {
            reason: "what should be a URL is none".to_owned(),
        },
        other => garbled("answer", &other.to_string()),
    }
}

fn identifier(identifier: &acme::Identifier) -> Result<Identifier, Error> {
    let value = identifier.value.as_str();
    let known = match identifier.kind.as_str() {
        "dns" => Some(Identifier::Dns(value.to_owned())),
        "ip" => value.parse().ok().map(Identifier::Ip),
        _ => None,
    };
    known.ok_or_else(|| {
        let detail = format!("{value} is neither a DNS name nor an IP address");
        carried(refused(ErrorKind::UnsupportedIdentifier, &detail))
    })
}

fn certificate_identifier(text: &str) -> Result<CertificateIdentifier<'_>, Error> {
    let text = BorrowedStrDeserializer::<ValueError>::new(text);
    CertificateIdentifier::deserialize(text).map_err(|_| {
        let detail = "the certificate to be replaced is not named as RFC 9773 says";
        carried(refused(ErrorKind::Malformed, detail))
    })
}
