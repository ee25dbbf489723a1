//! What brings certificates in: orders for new ones, and updates with a newer pair.

use lifecycle::{Certificate, Error, ManagedRequest, Noun, Principal, Replacement, Upload};

use super::members::CertificateMembers;
use super::{Certificates, certificate};
use crate::exchange::Response;
use crate::kraftcloud::body::{Members as _, missing_reference};
use crate::kraftcloud::envelope::Reach;
use crate::kraftcloud::faults::{Code, Fault, ItemFault, Refusal};
use crate::kraftcloud::item::Detail;
use crate::kraftcloud::kind;
use crate::kraftcloud::outcomes::Outcomes;
use crate::kraftcloud::query;
use crate::kraftcloud::references::Reference;

type Call<'a> = kind::Call<'a, Certificates>;

/// A well-formed request for one certificate.
pub(in crate::kraftcloud) enum Order {
    /// The server is to obtain it.
    Managed(ManagedRequest),
    /// The form is right, but chain and key do not fit each other.
    Misfit(ItemFault),
    /// Chain and key are here.
    Upload(Box<Upload>),
}

/// A well-formed change of one certificate.
struct Update {
    reference: Reference,
    kind: UpdateKind,
}

enum UpdateKind {
    /// The form is right, but chain and key do not fit each other.
    Misfit(ItemFault),
    /// A new pair.
    Replace(Box<Replacement>),
    /// The server is to try again to obtain it.
    Restart,
}

/// PUT and PATCH /v1/certificates.
pub(super) async fn update(mut call: Call<'_>) -> Result<Response, Refusal> {
    let objects = call.take_objects();
    if objects.is_empty() {
        return Err(missing_reference());
    }
    let updates = call.read_each(objects, |_, mut members: CertificateMembers| {
        let reference = members.take_reference()?;
        Update::read(reference, members)
    });
    carry_out(&call, updates.await?, Reach::Global).await
}

/// PUT and PATCH /v1/certificates/<uuid>.
pub(super) async fn update_one(mut call: Call<'_>, own: Reference) -> Result<Response, Refusal> {
    let mut others = query::references(call.query)?;
    let mut objects = call.take_objects();
    let (Some(mut members), None) = (objects.pop(), objects.pop()) else {
        let message = "send chain and pkey of one certificate as a JSON object";
        return Err(Refusal::form(Code::Malformed, message));
    };
    others.extend(members.take_references()?);
    call.require_same(&own, &others).await?;
    let updates = call.read_each(vec![members], move |_, members| {
        Update::read(own.clone(), members)
    });
    carry_out(&call, updates.await?, Reach::Local).await
}

async fn carry_out(
    call: &Call<'_>,
    updates: Vec<Update>,
    reach: Reach,
) -> Result<Response, Refusal> {
    let certificates = &call.house.certificates;
    let mut outcomes = Outcomes::<Certificates>::new();
    for Update { reference, kind } in updates {
        let target = certificate(reference.target());
        let updated = match kind {
            UpdateKind::Misfit(fault) => Err(Fault::Item(fault)),
            UpdateKind::Replace(replacement) => certificates
                .replace(&call.principal, &target, *replacement)
                .await
                .map_err(|error| reference.fault(Noun::Certificate, error)),
            UpdateKind::Restart => match certificates.restart(&call.principal, &target).await {
                // What was uploaded has nothing to restart: the request is the other one.
                Err(Error::NotManaged { .. }) => Err(Fault::Request(missing_pair())),
                restarted => restarted.map_err(|error| reference.fault(Noun::Certificate, error)),
            },
        };
        outcomes.push(reference.identity(), updated)?;
    }
    outcomes
        .answer(call.house, Detail::Full, reach, call.started)
        .await
}

impl Order {
    /// Makes the certificate.
    pub(super) async fn carry_out(
        self,
        certificates: &lifecycle::Certificates,
        principal: &Principal,
    ) -> Result<Certificate, Fault> {
        let made = match self {
            Self::Managed(request) => certificates.request_managed(principal, request).await,
            Self::Misfit(fault) => return Err(Fault::Item(fault)),
            Self::Upload(upload) => certificates.upload(principal, *upload).await,
        };
        made.map_err(Fault::from)
    }

    /// Reads what an object asks for.
    pub(super) fn read(mut members: CertificateMembers) -> Result<Self, Refusal> {
        for (member, is_given) in [
            ("metro", members.has("metro")),
            ("uuid", members.uuid.is_some()),
        ] {
            if is_given {
                let message = format!("member '{member}' has no meaning for a new certificate");
                return Err(Refusal::form(Code::Malformed, message));
            }
        }
        members.check_lengths()?;
        let common_name = members.take_common_name()?;
        let name = members.name.take();
        Ok(
            match (members.chain.take(), members.pkey.take(), common_name) {
                (Some(chain), Some(pkey), common_name) => {
                    let upload = Upload::parse(name, common_name.as_deref(), &chain, &pkey);
                    match upload.map_err(Fault::from) {
                        Ok(upload) => Self::Upload(Box::new(upload)),
                        Err(Fault::Item(fault)) => Self::Misfit(fault),
                        Err(Fault::Request(refusal)) => return Err(refusal),
                    }
                }
                (None, None, Some(common_name)) => {
                    Self::Managed(ManagedRequest::of_name(name, &common_name)?)
                }
                (None, None, None) => {
                    let message = "send chain and pkey, or the cn of a certificate to be obtained";
                    return Err(Refusal::form(Code::Malformed, message));
                }
                (chain, _, _) => return Err(half_a_pair(chain.is_some())),
            },
        )
    }
}

impl Update {
    fn read(reference: Reference, mut members: CertificateMembers) -> Result<Self, Refusal> {
        members.check_lengths()?;
        let common_name = members.take_common_name()?;
        let kind = match (members.chain.take(), members.pkey.take()) {
            (Some(chain), Some(pkey)) => {
                let replacement = Replacement::parse(common_name.as_deref(), &chain, &pkey);
                match replacement.map_err(Fault::from) {
                    Ok(replacement) => UpdateKind::Replace(Box::new(replacement)),
                    Err(Fault::Item(fault)) => UpdateKind::Misfit(fault),
                    Err(Fault::Request(refusal)) => return Err(refusal),
                }
            }
            (None, None) if common_name.is_none() => UpdateKind::Restart,
            (None, None) => return Err(missing_pair()),
            (chain, _) => return Err(half_a_pair(chain.is_some())),
        };
        Ok(Self { reference, kind })
    }
}

fn missing_pair() -> Refusal {
    Refusal::form(Code::Invalid, "send the new chain and pkey")
}

fn half_a_pair(has_chain: bool) -> Refusal {
    let message = if has_chain {
        "pkey is missing: a chain comes with its key"
    } else {
        "chain is missing: a key comes with its chain"
    };
    Refusal::form(Code::Invalid, message)
}
