//! What directories answer, read into the types of [`acme::client`]. Members that are not known are
//! passed over; what is needed has to be there and of the right type.

use std::collections::BTreeMap;

use acme::client::{
    Authorization, AuthorizationStatus, Challenge, ChallengeKind, ChallengeStatus, DirectoryInfo,
    Failure, Order, OrderStatus, RenewalInfo,
};
use acme::{Identifier, Token};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::exchange::Reply;
use crate::problem;
use crate::text::shown;

/// The most authorizations of an order and the most challenges of an authorization.
const MAX_LIST: usize = 256;
/// The longest URL that is kept, in octets.
const MAX_URL: usize = 2_048;

/// The directory object (RFC 8555 section 7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Directory {
    pub(crate) new_nonce: String,
    pub(crate) new_account: String,
    pub(crate) new_order: String,
    pub(crate) revoke_cert: Option<String>,
    pub(crate) key_change: Option<String>,
    pub(crate) renewal_info: Option<String>,
    #[serde(default)]
    meta: Option<Meta>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    terms_of_service: Option<String>,
    caa_identities: Vec<String>,
    issuer_domain_names: Vec<String>,
    account_hash_prefix: Option<String>,
    external_account_required: bool,
    profiles: BTreeMap<String, String>,
}

impl Directory {
    pub(crate) fn read(reply: &Reply) -> Result<Self, Failure> {
        read("directory", reply)
    }

    pub(crate) fn info(&self) -> DirectoryInfo {
        let nothing = Meta::default();
        let meta = self.meta.as_ref().unwrap_or(&nothing);
        let profiles = meta.profiles.iter();
        DirectoryInfo {
            terms_of_service: meta.terms_of_service.as_deref().map(shown),
            profiles: profiles
                .map(|(name, text)| (shown(name), shown(text)))
                .collect(),
            caa_identities: meta.caa_identities.iter().map(|name| shown(name)).collect(),
            persistent_issuers: meta
                .issuer_domain_names
                .iter()
                .take(MAX_LIST)
                .map(|name| shown(name))
                .collect(),
            account_hash_prefix: meta.account_hash_prefix.as_deref().map(shown),
            requires_external_account: meta.external_account_required,
            has_renewal_info: self.renewal_info.is_some(),
        }
    }
}

/// Where an order goes on: URLs that never change.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    pub(crate) finalize: String,
    pub(crate) certificate: Option<String>,
}

/// An order (RFC 8555 section 7.1.3).
pub(crate) fn order(url: &str, reply: &Reply) -> Result<(Order, Doors), Failure> {
    const WHAT: &str = "order";
    let document: OrderDocument = read(WHAT, reply)?;
    if document.authorizations.len() > MAX_LIST {
        return Err(garbled(WHAT, "it has too many authorizations"));
    }
    let mut urls = document.authorizations.iter();
    let certificate = document.certificate.iter();
    if url.len() > MAX_URL
        || urls.any(|url| url.len() > MAX_URL)
        || certificate
            .chain([&document.finalize])
            .any(|url| url.len() > MAX_URL)
    {
        return Err(garbled(WHAT, "it has a URL that is too long"));
    }
    let order = Order {
        url: url.to_owned(),
        status: match document.status {
            Status::Pending => OrderStatus::Pending,
            Status::Ready => OrderStatus::Ready,
            Status::Processing => OrderStatus::Processing,
            Status::Valid => OrderStatus::Valid,
            Status::Invalid => OrderStatus::Invalid,
            _ => return Err(garbled(WHAT, "it has a status that orders cannot have")),
        },
        authorizations: document.authorizations,
        error: error(document.error),
        retry_after: reply.retry_after,
        expires_at: moment(document.expires.as_deref()),
    };
    let doors = Doors {
        finalize: document.finalize,
        certificate: document.certificate,
    };
    Ok((order, doors))
}

/// An authorization (RFC 8555 section 7.1.4).
pub(crate) fn authorization(url: &str, reply: &Reply) -> Result<Authorization, Failure> {
    const WHAT: &str = "authorization";
    let document: AuthorizationDocument = read(WHAT, reply)?;
    if document.challenges.len() > MAX_LIST {
        return Err(garbled(WHAT, "it has too many challenges"));
    }
    let challenges = document.challenges.into_iter().map(challenge);
    Ok(Authorization {
        url: url.to_owned(),
        identifier: document.identifier,
        is_wildcard: document.wildcard,
        status: match document.status {
            Status::Pending => AuthorizationStatus::Pending,
            Status::Valid => AuthorizationStatus::Valid,
            Status::Invalid => AuthorizationStatus::Invalid,
            Status::Deactivated => AuthorizationStatus::Deactivated,
            Status::Expired => AuthorizationStatus::Expired,
            Status::Revoked => AuthorizationStatus::Revoked,
            _ => {
                return Err(garbled(
                    WHAT,
                    "it has a status that authorizations cannot have",
                ));
            }
        },
        challenges: challenges.collect::<Result<_, _>>()?,
        expires_at: moment(document.expires.as_deref()),
    })
}

/// When to renew (RFC 9773 section 4.2).
pub(crate) fn renewal_info(reply: &Reply) -> Result<RenewalInfo, Failure> {
    const WHAT: &str = "renewal information";
    let document: RenewalDocument = read(WHAT, reply)?;
    let window = &document.suggested_window;
    match (moment(Some(&window.start)), moment(Some(&window.end))) {
        (Some(start), Some(end)) if start < end => Ok(RenewalInfo {
            start,
            end,
            explanation: document.explanation_url.as_deref().map(shown),
            retry_after: reply.retry_after,
        }),
        (Some(_), Some(_)) => Err(garbled(WHAT, "the window ends before it begins")),
        _ => Err(garbled(WHAT, "the window is not between two moments")),
    }
}

/// A certificate with its chain, PEM (RFC 8555 section 9.1).
pub(crate) fn chain(reply: &Reply) -> Result<Vec<Vec<u8>>, Failure> {
    const WHAT: &str = "certificate";
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&reply.body) {
        if chain.len() == pki::MAX_CHAIN {
            return Err(garbled(WHAT, "the chain is too long"));
        }
        let certificate = certificate.map_err(|_| garbled(WHAT, "it is no PEM"))?;
        chain.push(certificate.as_ref().to_vec());
    }
    if chain.is_empty() {
        return Err(garbled(WHAT, "there is no PEM block of that kind"));
    }
    Ok(chain)
}

/// A failure about an answer that is not what it should be.
pub(crate) fn garbled(what: &str, reason: &str) -> Failure {
    Failure::Garbled {
        reason: format!("{what}: {}", shown(reason)),
    }
}

#[derive(Deserialize)]
struct OrderDocument {
    status: Status,
    authorizations: Vec<String>,
    finalize: String,
    certificate: Option<String>,
    error: Option<Box<RawValue>>,
    expires: Option<String>,
}

#[derive(Deserialize)]
struct AuthorizationDocument {
    identifier: Identifier,
    status: Status,
    challenges: Vec<ChallengeDocument>,
    #[serde(default)]
    wildcard: bool,
    expires: Option<String>,
}

#[derive(Deserialize)]
struct ChallengeDocument {
    #[serde(rename = "type")]
    kind: String,
    url: String,
    status: Status,
    token: Option<String>,
    error: Option<Box<RawValue>>,
    #[serde(rename = "issuerDomainNames", default)]
    issuer_domain_names: Vec<String>,
    /// The same in the drafts before draft-ietf-acme-dns-persist-02.
    #[serde(rename = "issuer-domain-names", default)]
    earlier_issuer_domain_names: Vec<String>,
}

#[derive(Deserialize)]
struct RenewalDocument {
    #[serde(rename = "suggestedWindow")]
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation_url: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    start: String,
    end: String,
}

/// Every status that something can have (RFC 8555 section 7.1.6).
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Deactivated,
    Expired,
    Revoked,
}

fn challenge(document: ChallengeDocument) -> Result<Challenge, Failure> {
    const WHAT: &str = "challenge";
    if document.url.len() > MAX_URL {
        return Err(garbled(WHAT, "it has a URL that is too long"));
    }
    let names = if document.issuer_domain_names.is_empty() {
        &document.earlier_issuer_domain_names
    } else {
        &document.issuer_domain_names
    };
    let names = names.iter().take(MAX_LIST);
    Ok(Challenge {
        kind: ChallengeKind::from(shown(&document.kind).as_str()),
        url: document.url,
        status: match document.status {
            Status::Pending => ChallengeStatus::Pending,
            Status::Processing => ChallengeStatus::Processing,
            Status::Valid => ChallengeStatus::Valid,
            Status::Invalid => ChallengeStatus::Invalid,
            _ => return Err(garbled(WHAT, "it has a status that challenges cannot have")),
        },
        // One that could do harm in a path makes a challenge that cannot be met, like one of an
        // unknown kind.
        token: document.token.and_then(|token| token.parse::<Token>().ok()),
        error: error(document.error),
        issuer_domain_names: names.map(|name| shown(name)).collect(),
    })
}

fn error(document: Option<Box<RawValue>>) -> Option<acme::Problem> {
    let document = document.filter(|document| document.get() != "null")?;
    Some(problem::of_document(document.get().as_bytes()))
}

fn moment(text: Option<&str>) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text?, &Rfc3339).ok()
}

fn read<T: DeserializeOwned>(what: &str, reply: &Reply) -> Result<T, Failure> {
    serde_json::from_slice(&reply.body).map_err(|error| garbled(what, &error.to_string()))
}
