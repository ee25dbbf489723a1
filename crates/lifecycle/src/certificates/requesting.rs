//! Managed certificates: requested by a user or for a domain, obtained and renewed by the house.
//!
//! A request is a certificate in state `pending` whose next attempt is due at once; the scheduler
//! does the rest. Its key is made with each version and never leaves the house.

use std::collections::HashSet;

use pki::{DnsName, Identifier};
use store::{
    AccountId, Certificate, CertificateId, CertificateRef, Exportable, NewCertificate, NewRecord,
    Origin, Scope, State,
};
use tokio::task::JoinSet;

use super::upload::{NAME_DRAWS, account_gone, fully_qualified};
use super::{Certificates, naming};
use crate::accounts::HOUSE_ACCOUNT;
use crate::issuers::{Issuer, Wait};
use crate::settings::DEFAULT_AUTHORITY;
use crate::{Error, Noun, Principal, events};

/// Most names of a managed certificate; directories take no more.
const MAX_NAMES: usize = 100;
/// Names that are tried in turn for a request on behalf of a domain.
const PLACES: u32 = 16;

/// A certificate that the house is to obtain and to renew.
#[derive(Debug, Clone)]
pub struct ManagedRequest {
    /// Its name in the inventory; chosen if `None`.
    pub name: Option<String>,
    /// What it has to cover: fully-qualified DNS names and IP addresses, at most 100. The first one
    /// becomes its common name.
    pub names: Vec<Identifier>,
    /// What obtains it; the account's default issuer if `None`.
    pub issuer: Option<String>,
}

impl ManagedRequest {
    /// A request of the default issuer for one name, as dialects have it that know no others.
    ///
    /// # Errors
    /// Faults of form: [`Error::NotFullyQualified`], [`Error::TooLong`], and [`Error::Invalid`], also
    /// for a wildcard.
    pub fn of_name(name: Option<String>, common_name: &str) -> Result<Self, Error> {
        if let Some(name) = &name {
            naming::check_name(name)?;
        }
        let common_name = fully_qualified(common_name)?;
        if common_name.is_wildcard() {
            return Err(Error::invalid(
                "cn",
                "a wildcard certificate cannot be requested this way; upload one, or add the \
                 wildcard domain to a service",
            ));
        }
        Ok(Self {
            name,
            names: vec![Identifier::Dns(common_name)],
            issuer: None,
        })
    }

    /// The names without repetitions, if all of them can be asked for.
    fn checked_names(&self) -> Result<Vec<Identifier>, Error> {
        if let Some(name) = &self.name {
            naming::check_name(name)?;
        }
        if self.names.is_empty() {
            return Err(Error::invalid(
                "names",
                "name at least one domain or IP address",
            ));
        }
        if self.names.len() > MAX_NAMES {
            return Err(Error::invalid(
                "names",
                format!("a managed certificate covers at most {MAX_NAMES} names; request several"),
            ));
        }
        let mut seen = HashSet::new();
        let mut names = Vec::with_capacity(self.names.len());
        for name in &self.names {
            match name {
                Identifier::Dns(name) if !name.is_fully_qualified() => {
                    return Err(Error::invalid(
                        "names",
                        format!(
                            "'{name}' is no fully-qualified domain name, and no public authority \
                             issues for it; ask a private authority (--issuer {DEFAULT_AUTHORITY}), or \
                             use a name below a domain of yours"
                        ),
                    ));
                }
                Identifier::Email(_) => {
                    return Err(Error::invalid(
                        "names",
                        "a managed certificate covers domains and IP addresses only",
                    ));
                }
                Identifier::Dns(_) | Identifier::Ip(_) => {}
            }
            if seen.insert(name) {
                names.push(name.clone());
            }
        }
        Ok(names)
    }
}

/// Who asks for managed certificates for whom, and what is to obtain them.
#[derive(Debug, Clone, Copy)]
struct Requester<'a> {
    account_id: AccountId,
    actor: &'a str,
    issuer: &'a str,
}

impl Certificates {
    /// Asks for a certificate that the house obtains and renews by itself. It is `pending` until
    /// the first version is there.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLong`] for the names;
    /// [`Error::NotFound`] for the issuer; [`Error::NoCertificate`] for a wildcard that the issuer
    /// cannot obtain; [`Error::Policy`] for a name that the account may not have;
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

    /// Has a certificate, however it came to be, obtained for these names from now on. The version in
    /// service stays there until there is a new one.
    ///
    /// # Errors
    /// As [`Self::request_managed`]; [`Error::NotFound`].
    pub(crate) async fn request_anew(
        &self,
        principal: &Principal,
        certificate: &Certificate,
        names: &[Identifier],
        issuer: Option<String>,
    ) -> Result<Certificate, Error> {
        principal.require_write()?;
        let account_id = certificate.account_id;
        let issuer = match issuer {
            Some(issuer) => self.issuers.usable(account_id, &issuer).await?,
            None => self.issuers.default_of(account_id).await?,
        };
        self.check_obtainable(account_id, &issuer, names).await?;
        let identifiers: Vec<String> = names.iter().map(ToString::to_string).collect();
        let common_name = identifiers.first().cloned().unwrap_or_default();
        let kind = events::CERTIFICATE_REQUESTED;
        let event = self.event(certificate, principal.account_name(), kind, &common_name);
        let renewed = store::Renewed {
            common_name,
            identifiers,
            issuer,
            next_attempt_at: self.surroundings.now(),
        };
        let reference = CertificateRef::Id(certificate.id);
        let (scope, id) = (principal.scope(), certificate.id);
        match self.store.request_anew(scope, id, renewed, event).await {
            Err(store::Error::NotFound) => return Err(super::not_found(&reference)),
            requested => requested?,
        }
        self.due.send_replace(());
        self.find(principal, &reference).await
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

    /// For each name a managed certificate that is being obtained or valid, requested unless there
    /// is one already. Repeating a call, or making it on two nodes at a time, requests nothing
    /// twice: the names of these certificates follow from what they are for.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] for a wildcard that nothing can obtain, [`Error::Policy`] for a name that
    /// the account may not have. Requests for other names
    /// may have been made then.
    pub(crate) async fn request_for_domains(
        &self,
        account_id: AccountId,
        actor: &str,
        names: &[DnsName],
    ) -> Result<Vec<CertificateId>, Error> {
        let issuer = self.issuers.default_of(account_id).await?;
        let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
        self.check_obtainable(account_id, &issuer, &identifiers)
            .await?;
        self.request_each(account_id, actor, &issuer, names).await
    }

    /// The second half of [`Self::request_for_domains`].
    async fn request_each(
        &self,
        account_id: AccountId,
        actor: &str,
        issuer: &str,
        names: &[DnsName],
    ) -> Result<Vec<CertificateId>, Error> {
        // At the same time, because those that wait together are written together.
        let mut requests = JoinSet::new();
        for (place, name) in names.iter().cloned().enumerate() {
            let (certificates, actor) = (self.clone(), actor.to_owned());
            let issuer = issuer.to_owned();
            requests.spawn(async move {
                let requester = Requester {
                    account_id,
                    actor: &actor,
                    issuer: &issuer,
                };
                let id = certificates.request_once(requester, &name).await?;
                Ok::<_, Error>((place, id))
            });
        }
        let mut requested = Vec::with_capacity(names.len());
        while let Some(request) = requests.join_next().await {
            requested.push(request.map_err(Error::signing)??);
        }
        requested.sort_unstable_by_key(|(place, _)| *place);
        Ok(requested.into_iter().map(|(_, id)| id).collect())
    }

    /// Requests the house's own wildcard certificate for the subdomains of the metro domain, unless
    /// it is there. One that was given up is begun anew, with the pauses of any other, and one whose
    /// issuer is not the default any more is renewed by that.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn look_after_metro(&self) -> Result<(), Error> {
        let account = self.store.account_by_name(HOUSE_ACCOUNT).await?;
        let account = account.ok_or_else(|| Error::not_found(Noun::Account, HOUSE_ACCOUNT))?;
        let wildcard = DnsName::parse(&format!("*.{}", self.settings.metro_domain))
            .map_err(|error| Error::invalid("metro_domain", error.to_string()))?;
        let issuer = self.issuers.default_of(account.id).await?;
        let names = [Identifier::Dns(wildcard.clone())];
        let (issuer, is_default) = match self.check_wildcards(account.id, &issuer, &names).await {
            Ok(()) => (issuer, true),
            Err(Error::NoCertificate { .. }) => (DEFAULT_AUTHORITY.to_owned(), false),
            Err(error) => return Err(error),
        };
        let Some(found) = self.requested_before(account.id, &wildcard).await? else {
            return self
                .request_each(account.id, HOUSE_ACCOUNT, &issuer, &[wildcard])
                .await
                .map(drop);
        };
        // That the zone cannot be proven now is no reason to leave the issuer that there is.
        if is_default && found.issuer.as_ref() != Some(&issuer) {
            let kind = events::ISSUER_CHOSEN;
            let event = self.event(&found, HOUSE_ACCOUNT, kind, &issuer);
            let scope = Scope::Account(account.id);
            self.store
                .name_issuer(scope, found.id, &issuer, event)
                .await?;
        }
        if matches!(found.state, State::Error { .. }) {
            self.restarted(found, HOUSE_ACCOUNT).await?;
        }
        Ok(())
    }

    /// What was requested for a name before on behalf of a domain: what is coming or in force, else
    /// the first that was given up.
    async fn requested_before(
        &self,
        account_id: AccountId,
        common_name: &DnsName,
    ) -> Result<Option<Certificate>, Error> {
        let scope = Scope::Account(account_id);
        let mut given_up = None;
        for place in 0..PLACES {
            let name = naming::name_in_row(common_name.as_str(), account_id, place);
            let reference = CertificateRef::Name(name);
            let Some(found) = self.store.certificate(scope, &reference).await? else {
                break;
            };
            if found.common_name != common_name.as_str() || found.origin != Origin::Issued {
                continue;
            }
            if self.is_coming_or_in_force(&found) {
                return Ok(Some(found));
            }
            if matches!(found.state, State::Error { .. }) {
                given_up = given_up.or(Some(found));
            }
        }
        Ok(given_up)
    }

    /// Refuses what the issuer could not obtain, or the account's policy would not let it issue.
    async fn check_obtainable(
        &self,
        account_id: AccountId,
        issuer: &str,
        names: &[Identifier],
    ) -> Result<(), Error> {
        self.check_wildcards(account_id, issuer, names).await?;
        match self.issuers.resolve(account_id, issuer).await {
            Ok(Issuer::Authority) => {
                let policy = self.policies.of(account_id).await?;
                policy.check_names(names, &[])
            }
            // There may be one of that name tomorrow, and what it issues is held to the policy then.
            Ok(Issuer::Directory(_)) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Refuses a wildcard for whose zone the issuer can prove nothing.
    async fn check_wildcards(
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

    async fn request_once(
        &self,
        requester: Requester<'_>,
        common_name: &DnsName,
    ) -> Result<CertificateId, Error> {
        let Requester { account_id, .. } = requester;
        let identifiers = [Identifier::Dns(common_name.clone())];
        for place in 0..PLACES {
            let name = naming::name_in_row(common_name.as_str(), account_id, place);
            match self.add_request(requester, &identifiers, &name).await {
                Ok(certificate) => return Ok(certificate.id),
                Err(store::Error::DuplicateName) => {}
                Err(error) => return Err(error.into()),
            }
            let reference = CertificateRef::Name(name);
            let scope = Scope::Account(account_id);
            // One that is gone by now was taken away on purpose; the next place is as good.
            if let Some(found) = self.store.certificate(scope, &reference).await?
                && found.common_name == common_name.as_str()
                && self.is_coming_or_in_force(&found)
            {
                return Ok(found.id);
            }
        }
        let name = naming::name_after(common_name.as_str(), &self.surroundings);
        let requested = self.add_request(requester, &identifiers, &name).await?;
        Ok(requested.id)
    }

    fn is_coming_or_in_force(&self, certificate: &Certificate) -> bool {
        matches!(certificate.state, State::Pending { .. }) || self.is_in_force(certificate)
    }

    async fn add_request(
        &self,
        requester: Requester<'_>,
        names: &[Identifier],
        name: &str,
    ) -> Result<Certificate, store::Error> {
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
        self.store.add_certificate(record).await?;
        self.due.send_replace(());
        Ok(requested)
    }

    /// Whether attempts for a certificate have ended and may begin anew. What was issued on order,
    /// with a key of the owner's, is none of the house's to obtain again.
    async fn may_restart(&self, certificate: &Certificate) -> Result<bool, Error> {
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

    async fn restarted(
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
