//! Managed certificates: requested by a user or for a domain, obtained and renewed by the house.
//!
//! A request is a certificate in state `pending` whose next attempt is due at once; the scheduler
//! does the rest. Its key is made with each version and never leaves the house.

use pki::Identifier;
use store::{
    AccountId, Certificate, CertificateId, CertificateRef, Exportable, NewCertificate, NewRecord,
    Origin, Scope, State,
};

use super::managed_request::ManagedRequest;
use super::upload::{NAME_DRAWS, account_gone};
use super::{Certificates, naming};
use crate::issuers::{Issuer, Wait};
use crate::{Error, Noun, Principal, events};

/// Who asks for managed certificates for whom, and what is to obtain them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requester<'a> {
    pub(super) account_id: AccountId,
    pub(super) actor: &'a str,
    pub(super) issuer: &'a str,
}

impl Certificates {
    /// Asks for a certificate that the house obtains and renews by itself. It is `pending` until
    /// the first version is there.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLong`] for the names;
    /// [`Error::NotFound`] for the issuer; [`Error::NoCertificate`] for a wildcard that the issuer
    /// cannot obtain; [`Error::Policy`] for a name that the account may not have;
    /// [`Error::Unsupported`] for one that it would have to prove control over;
    /// [`Error::NameTaken`], [`Error::Forbidden`].
    pub async fn request_managed(
        &self,
        principal: &Principal,
        request: ManagedRequest,
    ) -> Result<Certificate, Error> {
        principal.require_write()?;
        let names = request.checked_names()?;
        let account_id = principal.account_id();
        let issuer = match request.issuer {
            Some(issuer) => self.issuers.usable(account_id, &issuer).await?,
            None => self.issuers.default_of(account_id).await?,
        };
        self.check_obtainable(account_id, &issuer, &names).await?;
        let requester = Requester {
            account_id,
            actor: principal.account_name(),
            issuer: &issuer,
        };
        let stem = names.first().map(ToString::to_string).unwrap_or_default();
        let mut taken = String::new();
        for _ in 0..NAME_DRAWS {
            let drawn = match &request.name {
                Some(name) => name.clone(),
                None => naming::name_after(&stem, &self.surroundings),
            };
            match self.add_request(requester, &names, &drawn).await {
                Ok(certificate) => return Ok(certificate),
                Err(store::Error::DuplicateName) => taken = drawn,
                Err(store::Error::UnknownAccount) => return Err(account_gone(principal)),
                Err(error) => return Err(error.into()),
            }
            if request.name.is_some() {
                break;
            }
        }
        Err(Error::NameTaken {
            noun: Noun::Certificate,
            name: taken,
        })
    }

    /// Has the next version of a managed certificate obtained now, whatever its age. The one in
    /// service stays there until then. What was given up or revoked is begun anew.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotManaged`] for one that was uploaded; [`Error::Unfit`] for one
    /// whose key is its owner's; [`Error::Forbidden`].
    pub async fn renew(
        &self,
        principal: &Principal,
        reference: &CertificateRef,
    ) -> Result<Certificate, Error> {
        principal.require_write()?;
        let certificate = self.find(principal, reference).await?;
        if certificate.origin != Origin::Issued {
            return Err(Error::NotManaged {
                name: certificate.name,
            });
        }
        let actor = principal.account_name();
        match certificate.state {
            State::Error { .. } | State::Revoked if self.may_restart(&certificate).await? => {
                let restarted = self.restarted(certificate, actor).await?;
                restarted.ok_or_else(|| super::not_found(reference))
            }
            State::Pending { .. } | State::Valid if certificate.next_action_at.is_some() => {
                self.hasten(&certificate, actor).await?;
                self.find(principal, &CertificateRef::Id(certificate.id))
                    .await
            }
            _ => Err(Error::Unfit {
                reason: format!(
                    "certificate '{}' was issued on order for a key that is not the server's; order \
                     another one",
                    certificate.name
                ),
            }),
        }
    }

    /// Which limit would keep [`Self::renew`] from being followed by an order at once, and when the
    /// next place is free; `None` if none does.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`] for whoever may not renew it.
    pub async fn wait_before_renewal(
        &self,
        principal: &Principal,
        reference: &CertificateRef,
    ) -> Result<Option<Wait>, Error> {
        principal.require_write()?;
        let certificate = self.find(principal, reference).await?;
        self.issuers.wait_of(&certificate).await
    }

    /// Begins the attempts for a managed certificate anew after they were given up, or after its
    /// version was revoked.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotManaged`] for one that was uploaded; [`Error::Managed`]
    /// when nothing was given up; [`Error::Forbidden`].
    pub async fn restart(
        &self,
        principal: &Principal,
        reference: &CertificateRef,
    ) -> Result<Certificate, Error> {
        principal.require_write()?;
        let certificate = self.find(principal, reference).await?;
        if certificate.origin != Origin::Issued {
            return Err(Error::NotManaged {
                name: certificate.name,
            });
        }
        if !self.may_restart(&certificate).await? {
            return Err(Error::Managed {
                name: certificate.name,
            });
        }
        let restarted = self.restarted(certificate, principal.account_name()).await;
        restarted?.ok_or_else(|| super::not_found(reference))
    }

    /// Refuses what the issuer could not obtain, and what the account's policy, or names that it has not
    /// proven, would not let it issue.
    pub(super) async fn check_obtainable(
        &self,
        account_id: AccountId,
        issuer: &str,
        names: &[Identifier],
    ) -> Result<(), Error> {
        self.check_wildcards(account_id, issuer, names).await?;
        self.check_policy(account_id, issuer, names).await
    }

    /// Refuses what the account's policy would not let the issuer issue.
    pub(super) async fn check_policy(
        &self,
        account_id: AccountId,
        issuer: &str,
        names: &[Identifier],
    ) -> Result<(), Error> {
        match self.issuers.resolve(account_id, issuer).await {
            Ok(Issuer::Authority) => {
                let policy = self.policies.of(account_id).await?;
                policy.check_names(names, &[])?;
                self.requirement.require_none(account_id, names).await
            }
            // There may be one of that name tomorrow, and what it issues is held to all this then.
            Ok(Issuer::Directory(_)) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Refuses a wildcard for whose zone the issuer can prove nothing.
    pub(super) async fn check_wildcards(
        &self,
        account_id: AccountId,
        issuer: &str,
        names: &[Identifier],
    ) -> Result<(), Error> {
        for name in names {
            if let Identifier::Dns(name) = name
                && name.is_wildcard()
                && let Some(reason) = self
                    .issuers
                    .obstacle_of_zone(account_id, issuer, name)
                    .await?
            {
                return Err(Error::NoCertificate {
                    name: name.to_string(),
                    reason,
                });
            }
        }
        Ok(())
    }

    pub(super) async fn add_request(
        &self,
        requester: Requester<'_>,
        names: &[Identifier],
        name: &str,
    ) -> Result<Certificate, store::Error> {
        let (requested, record) = self.request_record(requester, names, name);
        self.store.add_certificate(record).await?;
        self.due.send_replace(());
        Ok(requested)
    }

    /// A certificate that is requested, and what is to be stored of it.
    pub(super) fn request_record(
        &self,
        requester: Requester<'_>,
        names: &[Identifier],
        name: &str,
    ) -> (Certificate, NewRecord) {
        let now = self.surroundings.now();
        let identifiers: Vec<String> = names.iter().map(ToString::to_string).collect();
        let common_name = identifiers.first().cloned().unwrap_or_default();
        let requested = Certificate {
            id: CertificateId::from_random(self.surroundings.random()),
            account_id: requester.account_id,
            name: name.to_owned(),
            common_name,
            identifiers,
            origin: Origin::Issued,
            state: State::Pending {
                attempt: 0,
                next_attempt_at: now,
            },
            issuer: Some(requester.issuer.to_owned()),
            attempt: 0,
            failure: None,
            next_action_at: Some(now),
            renew_at: None,
            created_at: now,
            current: None,
        };
        let record = NewRecord {
            certificate: NewCertificate {
                id: requested.id,
                account_id: requested.account_id,
                name: requested.name.clone(),
                common_name: requested.common_name.clone(),
                identifiers: requested.identifiers.clone(),
                origin: requested.origin,
                state: requested.state.clone(),
                issuer: requested.issuer.clone(),
                created_at: now,
            },
            version: None,
            key: None,
            event: self.event(
                &requested,
                requester.actor,
                events::CERTIFICATE_REQUESTED,
                &requested.common_name,
            ),
        };
        (requested, record)
    }

    /// Whether attempts for a certificate have ended and may begin anew. What was issued on order,
    /// with a key of the owner's, is none of the house's to obtain again.
    pub(super) async fn may_restart(&self, certificate: &Certificate) -> Result<bool, Error> {
        match (&certificate.state, &certificate.current) {
            (State::Error { .. }, _) => Ok(true),
            (State::Revoked, Some(version)) => {
                let Some(key_id) = version.private_key_id else {
                    return Ok(false);
                };
                let scope = Scope::Account(certificate.account_id);
                let key = self.store.private_key(scope, key_id).await?;
                Ok(key.is_some_and(|key| key.exportable == Exportable::Never))
            }
            _ => Ok(false),
        }
    }

    /// Makes the next version of a certificate due now.
    async fn hasten(&self, certificate: &Certificate, actor: &str) -> Result<(), Error> {
        let now = self.surroundings.now();
        let (scope, id) = (Scope::Account(certificate.account_id), certificate.id);
        let kind = events::CERTIFICATE_REQUESTED;
        let event = self.event(certificate, actor, kind, &certificate.common_name);
        match self.store.renew_now(scope, id, now, event).await {
            Err(store::Error::NotFound) => {
                return Err(super::not_found(&CertificateRef::Id(id)));
            }
            hastened => hastened?,
        }
        self.due.send_replace(());
        Ok(())
    }

    pub(super) async fn restarted(
        &self,
        certificate: Certificate,
        actor: &str,
    ) -> Result<Option<Certificate>, Error> {
        let now = self.surroundings.now();
        let kind = events::CERTIFICATE_REQUESTED;
        let event = self.event(&certificate, actor, kind, &certificate.common_name);
        let (scope, id) = (Scope::Account(certificate.account_id), certificate.id);
        let state = State::Pending {
            attempt: 0,
            next_attempt_at: now,
        };
        let changed = self
            .store
            .set_certificate_state(scope, id, state.clone(), None, event);
        match changed.await {
            Err(store::Error::NotFound) => return Ok(None),
            changed => changed?,
        }
        self.due.send_replace(());
        Ok(Some(Certificate {
            state,
            attempt: 0,
            failure: None,
            next_action_at: Some(now),
            renew_at: None,
            ..certificate
        }))
    }
}
