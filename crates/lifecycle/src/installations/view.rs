//! Installations as they are shown.

use std::sync::Arc;

use store::{Certificate, CertificateId, DnsProviderId, Installation, State};
use time::{Duration, OffsetDateTime};

use super::InstallationKind;
use crate::OnTargets;

/// How long before its end people are warned of a certificate that nobody renews.
const WARNED_BEFORE: Duration = Duration::days(30);

/// How far an installation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallationStatus {
    /// The material is there and wherever it has to be.
    Done,
    /// Obtaining the certificate was given up, or somebody refused it.
    Failed,
    /// The certificate is being obtained, renewed or brought to where it has to be.
    InProgress,
    /// It is being taken away.
    Removing,
}

/// A certificate on a service, with all that is said of it.
#[derive(Debug, Clone)]
pub struct InstallationView {
    /// The certificate.
    pub id: CertificateId,
    /// Its name in the inventory.
    pub name: String,
    /// How the certificate comes to be.
    pub kind: InstallationKind,
    /// The names that it is for, as they were written.
    pub server_names: Vec<String>,
    /// Whether the names below each name are covered, too.
    pub wildcard: bool,
    /// What writes the records that prove control over the names.
    pub dns_provider: Option<DnsProviderId>,
    /// Whether TLS ends before the workloads.
    pub ssl_termination: bool,
    /// How far it has come.
    pub status: InstallationStatus,
    /// SHA-256 of the leaf, once there is one.
    pub fingerprint: Option<[u8; 32]>,
    /// Whether something stands between leaf and trust anchor.
    pub has_intermediates: bool,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When somebody changed it last.
    pub updated_at: OffsetDateTime,
    /// When what is there ends.
    pub not_after: Option<OffsetDateTime>,
    /// Whether it has ended.
    pub is_expired: bool,
    /// What people should know of it.
    pub warning: Option<String>,
}

/// A certificate on a service, and what is remembered of it, or taken for granted.
#[derive(Debug, Clone)]
pub(super) struct Installed {
    pub(super) certificate: Arc<Certificate>,
    pub(super) row: Installation,
    /// Whether somebody has written it down.
    pub(super) is_written: bool,
}

impl Installed {
    pub(super) fn kind(&self) -> InstallationKind {
        self.certificate.origin.into()
    }

    /// What is taken for granted of a certificate that was attached to a service by other ways.
    pub(super) fn by_other_ways(
        certificate: Arc<Certificate>,
        service_id: store::ServiceId,
    ) -> Self {
        let is_dns = |name: &&String| pki::DnsName::parse(name).is_ok();
        let mut server_names: Vec<String> = certificate
            .identifiers
            .iter()
            .filter(is_dns)
            .cloned()
            .collect();
        if server_names.is_empty() {
            server_names.push(certificate.common_name.clone());
        }
        let has_wildcard = server_names.iter().any(|name| name.starts_with("*."));
        let changed_at = certificate
            .current
            .as_ref()
            .map(|version| version.created_at);
        let row = Installation {
            service_id,
            certificate_id: certificate.id,
            account_id: certificate.account_id,
            domains: Vec::new(),
            wildcard: has_wildcard
                && InstallationKind::from(certificate.origin) == InstallationKind::Issued,
            dns_provider_id: None,
            ssl_termination: true,
            created_at: certificate.created_at,
            updated_at: changed_at.unwrap_or(certificate.created_at),
            server_names,
        };
        Self {
            certificate,
            row,
            is_written: false,
        }
    }

    pub(super) fn view(self, now: OffsetDateTime, chain: &[pki::Certificate]) -> InstallationView {
        let kind = self.kind();
        let Self {
            certificate, row, ..
        } = self;
        let not_after = certificate
            .current
            .as_ref()
            .map(|version| version.not_after);
        InstallationView {
            kind,
            status: status(&certificate, now),
            warning: warning(&certificate, now),
            fingerprint: chain.first().map(pki::Certificate::fingerprint),
            has_intermediates: chain.len() > 1,
            is_expired: not_after.is_some_and(|end| end <= now),
            not_after,
            id: certificate.id,
            name: certificate.name.clone(),
            server_names: row.server_names,
            wildcard: row.wildcard,
            dns_provider: row.dns_provider_id,
            ssl_termination: row.ssl_termination,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl InstallationView {
    /// The same one, with what targets say of it.
    pub(super) fn on_targets(mut self, on_targets: Option<&OnTargets>) -> Self {
        if self.status != InstallationStatus::Done {
            return self;
        }
        match on_targets {
            None | Some(OnTargets::Everywhere) => {}
            Some(OnTargets::Outstanding) => self.status = InstallationStatus::InProgress,
            Some(OnTargets::Refused { target, reason }) => {
                self.status = InstallationStatus::Failed;
                self.warning = Some(format!(
                    "target '{target}' refused the certificate: {reason}"
                ));
            }
        }
        self
    }
}

/// How far a certificate has come, wherever it has to be brought.
fn status(certificate: &Certificate, now: OffsetDateTime) -> InstallationStatus {
    let is_due = certificate.renew_at.is_some_and(|at| at <= now);
    match certificate.state {
        State::Pending { .. } => InstallationStatus::InProgress,
        State::Error { .. } | State::Revoked => InstallationStatus::Failed,
        // A renewal that has failed is tried again, but nothing is missing meanwhile.
        State::Valid if is_due && certificate.attempt == 0 => InstallationStatus::InProgress,
        State::Valid => InstallationStatus::Done,
    }
}

/// What people should know of a certificate. That one which is renewed ends some day is nothing to
/// know, unless its renewal fails.
fn warning(certificate: &Certificate, now: OffsetDateTime) -> Option<String> {
    let why = certificate
        .failure
        .as_deref()
        .unwrap_or("see the server's log");
    match &certificate.state {
        State::Error { reason } => return Some(format!("the certificate was given up: {reason}")),
        State::Revoked => return Some("the certificate is revoked".to_owned()),
        State::Pending { .. } if certificate.attempt == 0 => {}
        State::Pending { .. } | State::Valid if certificate.attempt > 0 => {
            let attempts = certificate.attempt;
            let what = match certificate.current {
                Some(_) => "renewing the certificate",
                None => "obtaining the certificate",
            };
            return Some(format!("{what} has failed {attempts} times: {why}"));
        }
        State::Pending { .. } | State::Valid => {}
    }
    let end = certificate.current.as_ref()?.not_after;
    let is_renewed = certificate.next_action_at.is_some();
    if end <= now {
        Some(format!("the certificate expired on {}", end.date()))
    } else if !is_renewed && end - now <= WARNED_BEFORE {
        Some(format!("the certificate expires on {}", end.date()))
    } else {
        None
    }
}
