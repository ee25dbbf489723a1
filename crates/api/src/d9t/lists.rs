//! Lists: bare arrays in the order of numbers, sent page by page.

use lifecycle::{House, LabelledCertificate, LabelledKey, PAGE_LIMIT, Principal};
use serde::Serialize;

use super::Call;
use super::certificates::{names_of, validity_of};
use super::faults::Fault;
use super::links::{Link, Links};
use crate::exchange::Response;
use crate::pages::{self, BrokenOff, NextPage, Part};

/// `GET /privatekeys`.
pub(super) async fn private_keys(call: Call<'_>) -> Result<Response, Fault> {
    respond(call, Listed::PrivateKeys).await
}

/// `GET /certificates`, or `GET /privatekeys/{id}/certificates`.
pub(super) async fn certificates(call: Call<'_>, key: Option<u64>) -> Result<Response, Fault> {
    let key = match key {
        None => None,
        Some(number) => {
            let keys = &call.context.house.private_keys;
            Some(keys.find(call.principal, number).await?)
        }
    };
    respond(call, Listed::Certificates(key)).await
}

async fn respond(call: Call<'_>, listed: Listed) -> Result<Response, Fault> {
    let walk = Walk {
        house: call.context.house.clone(),
        principal: call.principal.clone(),
        links: call.links.clone(),
        listed,
        after: 0,
    };
    // The first page is read before the status is sent, so that most failures are clean answers.
    match walk.page(b"[".to_vec()).await {
        Ok(first) => Ok(pages::answer(first)),
        Err(BrokenOff::Reading(error)) => Err(error.into()),
        Err(error @ BrokenOff::Encoding(_)) => Err(lifecycle::Error::Signing {
            reason: error.to_string(),
        }
        .into()),
    }
}

/// What is listed.
enum Listed {
    /// The certificates under this key, or under all.
    Certificates(Option<LabelledKey>),
    PrivateKeys,
}

/// Where a list stands.
struct Walk {
    house: House,
    principal: Principal,
    links: Links,
    listed: Listed,
    /// The number of the last item so far.
    after: u64,
}

impl Walk {
    /// Appends the next page to `bytes`, and the end of the answer after the last one.
    async fn page(mut self, mut bytes: Vec<u8>) -> Result<Part, BrokenOff> {
        let keys = &self.house.private_keys;
        let (principal, after) = (&self.principal, self.after);
        let count = match &self.listed {
            Listed::PrivateKeys => {
                let found = keys.list(principal, after).await;
                let found = found.map_err(BrokenOff::Reading)?;
                for key in &found {
                    let item = KeyItem::of(&self.links, key);
                    append(&mut bytes, &mut self.after, key.number, &item)?;
                }
                found.len()
            }
            Listed::Certificates(key) => {
                let found = keys.certificates(principal, key.as_ref(), after).await;
                let found = found.map_err(BrokenOff::Reading)?;
                for certificate in &found {
                    let item = CertificateItem::of(&self.links, certificate);
                    append(&mut bytes, &mut self.after, certificate.number, &item)?;
                }
                found.len()
            }
        };
        if count >= PAGE_LIMIT {
            return Ok(Part {
                bytes: bytes.into(),
                rest: Some(next_page(self)),
            });
        }
        bytes.push(b']');
        Ok(Part {
            bytes: bytes.into(),
            rest: None,
        })
    }
}

fn next_page(walk: Walk) -> NextPage {
    Box::pin(async move { walk.page(Vec::new()).await })
}

fn append(
    bytes: &mut Vec<u8>,
    after: &mut u64,
    number: u64,
    item: &impl Serialize,
) -> Result<(), BrokenOff> {
    if *after > 0 {
        bytes.push(b',');
    }
    *after = number;
    serde_json::to_writer(bytes, item).map_err(BrokenOff::Encoding)
}

/// A private key in a list: without the key.
#[derive(Serialize)]
struct KeyItem<'a> {
    id: u64,
    name: &'a str,
    #[serde(rename = "_links")]
    links: [Link; 1],
}

impl<'a> KeyItem<'a> {
    fn of(links: &Links, key: &'a LabelledKey) -> Self {
        Self {
            id: key.number,
            name: &key.name,
            links: [links.private_key(key.number, "self")],
        }
    }
}

/// A certificate in a list.
#[derive(Serialize)]
struct CertificateItem<'a> {
    /// A string, as everywhere; that of a key is a number.
    id: String,
    name: &'a str,
    common_name: &'a str,
    valid_from: String,
    valid_thru: String,
    #[serde(rename = "_links")]
    links: [Link; 1],
}

impl<'a> CertificateItem<'a> {
    fn of(links: &Links, known: &'a LabelledCertificate) -> Self {
        let (name, common_name) = names_of(known);
        let (valid_from, valid_thru) = validity_of(known);
        Self {
            id: known.number.to_string(),
            name,
            common_name,
            valid_from,
            valid_thru,
            links: [links.certificate(known.key_number, known.number, "self")],
        }
    }
}
