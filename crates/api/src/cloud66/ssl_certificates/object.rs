//! How a certificate is shown: in the form that clients read, or in that of the Cloud 66 document.

use lifecycle::{InstallationKind, InstallationStatus, InstallationView};
use serde::Serialize;

use crate::cloud66::call::Call;
use crate::cloud66::envelope::Representation;
use crate::notation::timestamp;

/// A certificate. The order of the members is the documents'.
#[derive(Debug, Serialize)]
pub(super) struct Certificate<'a> {
    uuid: String,
    name: &'a str,
    server_group_id: Option<i64>,
    server_names: String,
    /// Never `null` where clients read it.
    sha256_fingerprint: Option<String>,
    ca_name: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    wildcard: bool,
    dns_provider_uuid: Option<String>,
    ssl_termination: Termination,
    has_intermediate_cert: bool,
    status: Status,
    created_at: String,
    updated_at: String,
    expires_at: Option<String>,
    certificate: Option<()>,
    key: Option<()>,
    intermediate_certificate: Option<()>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Termination {
    Flag(bool),
    Word(&'static str),
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Status {
    Number(i8),
    Word(&'static str),
}

impl<'a> Certificate<'a> {
    /// How `call` wants to see it.
    pub(super) fn of(call: &'a Call<'_>, view: &'a InstallationView) -> Self {
        let kind = match view.kind {
            InstallationKind::Issued => "lets_encrypt",
            InstallationKind::Uploaded => "manual",
        };
        let ca_name = call.context.settings.cloud66.ca_name.as_str();
        let is_issued = view.kind == InstallationKind::Issued;
        let id = view.id.as_uuid();
        let shown = Self {
            uuid: format!("ssl-{}", id.simple()),
            name: &view.name,
            server_group_id: None,
            server_names: view.server_names.join(","),
            sha256_fingerprint: Some(view.fingerprint.map_or_else(String::new, |digest| {
                digest.iter().map(|byte| format!("{byte:02x}")).collect()
            })),
            ca_name: is_issued.then_some(ca_name),
            kind,
            wildcard: view.wildcard,
            dns_provider_uuid: view
                .dns_provider
                .map(|id| format!("dp-{}", id.as_uuid().simple())),
            ssl_termination: Termination::Flag(view.ssl_termination),
            has_intermediate_cert: view.has_intermediates,
            status: Status::Number(match view.status {
                InstallationStatus::InProgress => 1,
                InstallationStatus::Failed => 2,
                InstallationStatus::Done => 3,
                InstallationStatus::Removing => 4,
            }),
            created_at: timestamp(view.created_at),
            updated_at: timestamp(view.updated_at),
            expires_at: view.not_after.map(timestamp),
            certificate: None,
            key: None,
            intermediate_certificate: None,
        };
        match call.representation {
            Representation::Default => shown,
            Representation::Model => Self {
                uuid: id.hyphenated().to_string(),
                name: view
                    .server_names
                    .first()
                    .map_or(view.name.as_str(), String::as_str),
                sha256_fingerprint: view.fingerprint.map(colons),
                ssl_termination: Termination::Word(match view.ssl_termination {
                    true => "haproxy",
                    false => "nginx",
                }),
                status: Status::Word(match view.status {
                    InstallationStatus::InProgress => "pending",
                    InstallationStatus::Failed => "failed",
                    InstallationStatus::Done if view.is_expired => "expired",
                    InstallationStatus::Done => "active",
                    InstallationStatus::Removing => "removing",
                }),
                ..shown
            },
        }
    }
}

/// Upper-case digits, colons between octets.
fn colons(digest: [u8; 32]) -> String {
    let octets: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    octets.join(":")
}
