//! Certificates: the lasting, named things of the inventory. This module finds, lists and deletes
//! them; its children add to them.

mod drafts;
mod for_domains;
mod issue;
mod issued;
mod managed_request;
mod naming;
mod obtaining;
mod reading;
mod requesting;
mod revoke;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use store::{Certificate, CertificateRef, Page, Scope, State, StateKind, Store, Version};

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::authorities::Authorities;
use crate::settings::Settings;
use crate::validation::Requirement;
use crate::{Error, Issuers, Noun, Policies, Principal, Surroundings, events};

pub(crate) use issue::generate_key;
pub use issue::{IssueRequest, Issued, KeySource};
pub(crate) use issue::{Plan, PlannedKey};
pub use issued::SerialReference;
pub use managed_request::ManagedRequest;
pub(crate) use naming::{check_name, name_after};
pub(crate) use obtaining::identifiers;
pub use reading::parse_identifiers;
pub use revoke::RevocationTarget;
pub(crate) use upload::{NAME_DRAWS, account_gone};
pub use upload::{Replacement, Upload, parse_common_name};

/// Most references or new certificates that one call may name.
pub const MAX_REFERENCES: usize = 10_000;

/// Which certificates of the caller a list shows.
#[derive(Debug, Clone, Default)]
pub struct CertificateFilter {
    /// Only those with this common name, as it is stored.
    pub common_name: Option<String>,
    /// Only those in this state.
    pub state: Option<StateKind>,
    /// Only those whose current version expires within this time, or has expired.
    pub expiring_within: Option<Duration>,
}

/// How far obtaining a certificate has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// How many have failed.
    pub failed: u8,
    /// When the next one is made.
    pub next: OffsetDateTime,
}

/// Operations on certificates.
#[derive(Debug, Clone)]
pub struct Certificates {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
    authorities: Authorities,
    issuers: Issuers,
    policies: Policies,
    requirement: Requirement,
    /// Wakes the scheduler when a certificate has become due.
    pub(crate) due: Arc<watch::Sender<()>>,
}

impl Certificates {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        authorities: Authorities,
        issuers: Issuers,
        policies: Policies,
        requirement: Requirement,
    ) -> Self {
        Self {
            store,
            surroundings,
            settings,
            authorities,
            issuers,
            policies,
            requirement,
            due: Arc::new(watch::Sender::new(())),
        }
    }

    /// One certificate of the caller.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn find(
        &self,
        principal: &Principal,
        reference: &CertificateRef,
    ) -> Result<Certificate, Error> {
        self.find_in(principal.scope(), reference).await
    }

    /// For each reference the certificate of the caller that it names, in the same order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`MAX_REFERENCES`].
    pub async fn find_each(
        &self,
        principal: &Principal,
        references: &[CertificateRef],
    ) -> Result<Vec<Option<Arc<Certificate>>>, Error> {
        if references.len() > MAX_REFERENCES {
            return Err(Error::invalid(
                "references",
                format!("at most {MAX_REFERENCES} certificates can be named in one request"),
            ));
        }
        Ok(self
            .store
            .certificates_by_refs(principal.scope(), references)
            .await?)
    }

    /// A page of the caller's certificates, ordered by creation.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        &self,
        principal: &Principal,
        filter: &CertificateFilter,
        page: &Page,
    ) -> Result<Vec<Certificate>, Error> {
        let filter = store::CertificateFilter {
            common_name: filter.common_name.clone(),
            state: filter.state,
            not_after_before: filter
                .expiring_within
                .map(|time| self.surroundings.now() + time),
        };
        Ok(self
            .store
            .list_certificates(principal.scope(), &filter, page)
            .await?)
    }

    /// What a server sends for a certificate: its current leaf, and the CA certificates between it
    /// and the trust anchor. Empty while there is no version yet.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Signing`] when what is stored cannot be read.
    pub async fn chain(&self, certificate: &Certificate) -> Result<Vec<pki::Certificate>, Error> {
        let Some(version) = &certificate.current else {
            return Ok(Vec::new());
        };
        let scope = Scope::Account(certificate.account_id);
        let stored = self.store.chain(scope, version.id).await?;
        let stored = stored.ok_or_else(|| not_found(&CertificateRef::Id(certificate.id)))?;
        let stored = std::iter::once(&stored.leaf).chain(&stored.intermediates);
        let stored = stored.map(|der| pki::Certificate::from_der(der).map_err(Error::signing));
        let mut chain = stored.collect::<Result<Vec<_>, _>>()?;
        if let (Some(_), Some(issuer)) = (version.authority_id, &certificate.issuer) {
            let authority = self.authorities.named(issuer).await?;
            let above = chain.first().map(|leaf| authority.intermediates_of(leaf));
            chain.extend(above.unwrap_or_default());
        }
        Ok(chain)
    }

    /// Whether a certificate can be served now: it has a version that was neither revoked nor has
    /// expired, and obtaining a next one was not given up.
    #[must_use]
    pub fn is_in_force(&self, certificate: &Certificate) -> bool {
        let now = self.surroundings.now();
        let is_current =
            |version: &Version| version.revocation.is_none() && now < version.not_after;
        let is_given_up = matches!(certificate.state, State::Error { .. } | State::Revoked);
        !is_given_up && certificate.current.as_ref().is_some_and(is_current)
    }

    /// The attempts at a version that a certificate waits for: at its first one, or at the next one
    /// after a renewal has failed. The version before stays in service meanwhile; once that has
    /// ended, nothing is waited for any more that could be called a renewal.
    #[must_use]
    pub fn attempts(&self, certificate: &Certificate) -> Option<Attempts> {
        let next = match certificate.state {
            State::Pending {
                next_attempt_at, ..
            } => next_attempt_at,
            State::Valid if certificate.attempt > 0 && self.is_in_force(certificate) => {
                certificate.next_action_at?
            }
            _ => return None,
        };
        Some(Attempts {
            failed: certificate.attempt,
            next,
        })
    }

    /// All versions of a certificate, the newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn versions(
        &self,
        principal: &Principal,
        reference: &CertificateRef,
    ) -> Result<Vec<Version>, Error> {
        let certificate = self.find(principal, reference).await?;
        Ok(self
            .store
            .versions(principal.scope(), certificate.id)
            .await?)
    }

    /// Deletes a certificate with its private keys. Versions that an authority of ours issued stay
    /// known to its OCSP responder and revocation list.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Attached`] while a domain is served with it.
    pub async fn delete(
        &self,
        principal: &Principal,
        reference: &CertificateRef,
    ) -> Result<Certificate, Error> {
        principal.require_write()?;
        let certificate = self.find(principal, reference).await?;
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(certificate.account_id),
            events::CERTIFICATE_DELETED,
            Some(certificate.id.as_uuid()),
            &certificate.name,
        );
        let deleted = self
            .store
            .delete_certificate(principal.scope(), certificate.id, event)
            .await;
        match deleted {
            Ok(true) => Ok(certificate),
            Ok(false) => Err(not_found(reference)),
            Err(store::Error::Attached) => Err(Error::Attached {
                name: certificate.name,
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn find_in(
        &self,
        scope: Scope,
        reference: &CertificateRef,
    ) -> Result<Certificate, Error> {
        let found = self.store.certificate(scope, reference).await?;
        found.ok_or_else(|| not_found(reference))
    }
}

pub(crate) fn not_found(reference: &CertificateRef) -> Error {
    match reference {
        CertificateRef::Id(id) => Error::not_found(Noun::Certificate, id),
        CertificateRef::Name(name) => Error::not_found(Noun::Certificate, name),
    }
}
