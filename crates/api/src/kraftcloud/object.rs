//! Certificates as this dialect shows them. Chain and key are never shown.

use lifecycle::{Certificate, Certificates, State, Version};
use serde::Serialize;

use super::envelope::Status;
use super::faults::{Code, ItemFault};
use crate::notation::{hexadecimal, timestamp};

/// How much of a certificate is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Only how to name it.
    Brief,
    /// Everything.
    Full,
}

/// One entry of `data.certificates`: a certificate, or why there is none.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    status: Status,
    #[serde(flatten)]
    fault: Option<FaultMembers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    certificate: Option<Members>,
}

/// How a failed item was named by the client, exactly as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uuid: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Debug, Serialize)]
struct FaultMembers {
    message: String,
    error: Code,
}

#[derive(Debug, Serialize)]
struct Members {
    created_at: String,
    common_name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Validation>,
    #[serde(flatten)]
    issued: Option<IssuedMembers>,
    /// Nothing attaches certificates to service groups yet.
    service_groups: [(); 0],
}

#[derive(Debug, Serialize)]
struct Validation {
    attempt: u8,
    next: String,
}

#[derive(Debug, Serialize)]
struct IssuedMembers {
    subject: String,
    issuer: String,
    serial_number: String,
    not_before: String,
    not_after: String,
}

impl Item {
    /// A certificate; `certificates` tells whether it is in force.
    pub(super) fn of(
        certificate: Certificate,
        certificates: &Certificates,
        detail: Detail,
    ) -> Self {
        let members = match detail {
            Detail::Brief => None,
            Detail::Full => Some(Members {
                created_at: timestamp(certificate.created_at),
                state: state(&certificate, certificates),
                validation: validation(&certificate.state),
                common_name: certificate.common_name,
                issued: certificate.current.map(IssuedMembers::from),
                service_groups: [],
            }),
        };
        Self {
            status: Status::Success,
            fault: None,
            uuid: Some(certificate.id.to_string()),
            name: Some(certificate.name),
            certificate: members,
        }
    }

    /// What could not be done to the object that the client named so.
    pub(super) fn failed(identity: Identity, fault: ItemFault) -> Self {
        Self {
            status: Status::Error,
            fault: Some(FaultMembers {
                message: fault.message,
                error: fault.code,
            }),
            uuid: identity.uuid,
            name: identity.name,
            certificate: None,
        }
    }

    /// Code and message, if this item failed.
    pub(super) fn fault(&self) -> Option<(Code, &str)> {
        let fault = self.fault.as_ref()?;
        Some((fault.error, &fault.message))
    }
}

impl From<Version> for IssuedMembers {
    fn from(version: Version) -> Self {
        Self {
            serial_number: hexadecimal(&version.serial),
            not_before: timestamp(version.not_before),
            not_after: timestamp(version.not_after),
            subject: version.subject,
            issuer: version.issuer,
        }
    }
}

/// Clients know three states; what is neither usable nor on its way is in `error`.
fn state(certificate: &Certificate, certificates: &Certificates) -> &'static str {
    match certificate.state {
        State::Pending { .. } => "pending",
        _ if certificates.is_in_force(certificate) => "valid",
        _ => "error",
    }
}

fn validation(state: &State) -> Option<Validation> {
    match state {
        State::Pending {
            attempt,
            next_attempt_at,
        } => Some(Validation {
            attempt: *attempt,
            next: timestamp(*next_attempt_at),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_item_echoes_how_it_was_named_and_nothing_else() {
        let identity = Identity {
            name: Some("Nope".to_owned()),
            uuid: None,
        };
        let fault = ItemFault {
            code: Code::NotFound,
            message: "gone".to_owned(),
        };
        assert_eq!(
            serde_json::to_string(&Item::failed(identity, fault)).unwrap(),
            r#"{"status":"error","message":"gone","error":8,"name":"Nope"}"#
        );
    }
}
