//! Certificates as this dialect shows them. Chain and key are never shown.

use lifecycle::{Attempts, Certificate, Certificates, ServiceId, Version};
use serde::Serialize;

use crate::kraftcloud::item::Identity;
use crate::notation::{hexadecimal, timestamp};

/// What is shown of a certificate beyond its identity.
#[derive(Debug, Serialize)]
pub(in crate::kraftcloud) struct Shown {
    created_at: String,
    common_name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Validation>,
    #[serde(flatten)]
    issued: Option<IssuedMembers>,
    service_groups: Vec<Identity>,
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

impl Shown {
    /// A certificate that these services use; `certificates` tells whether it is in force.
    pub(super) fn of(
        certificate: Certificate,
        services: &[(ServiceId, String)],
        certificates: &Certificates,
    ) -> Self {
        Self {
            created_at: timestamp(certificate.created_at),
            state: state(&certificate, certificates),
            validation: certificates.attempts(&certificate).map(validation),
            common_name: certificate.common_name,
            issued: certificate.current.map(IssuedMembers::from),
            service_groups: services
                .iter()
                .map(|(id, name)| Identity::of(id.as_uuid(), name))
                .collect(),
        }
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
pub(in crate::kraftcloud) fn state(
    certificate: &Certificate,
    certificates: &Certificates,
) -> &'static str {
    if certificates.attempts(certificate).is_some() {
        "pending"
    } else if certificates.is_in_force(certificate) {
        "valid"
    } else {
        "error"
    }
}

fn validation(attempts: Attempts) -> Validation {
    Validation {
        attempt: attempts.failed,
        next: timestamp(attempts.next),
    }
}
