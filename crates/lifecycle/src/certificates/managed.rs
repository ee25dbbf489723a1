//! Managed certificates: requested by a user or for a domain, obtained and renewed by the house.
//!
//! A request is a certificate in state `pending` whose next attempt is due at once; the scheduler
//! does the rest. Its key is made with each version and never leaves the house.

use pki::{DistinguishedName, DnsName, Identifier, KeyAlgorithm, LeafProfile, SubjectFields};
use store::{
    AccountId, Certificate, CertificateId, CertificateRef, Exportable, NewCertificate,
    NewPrivateKey, NewRecord, NewVersion, NewVersionRecord, Origin, PrivateKeyId, Scope, State,
    VersionId,
};
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;

use super::issue::{generate_key, sign_leaf};
use super::upload::{NAME_DRAWS, account_gone, fully_qualified};
use super::{Certificates, naming};
use crate::accounts::HOUSE_ACCOUNT;
use crate::ceremony::{days, validity};
use crate::{Error, Noun, Principal, events};

/// Lifetime of a managed certificate of a private authority, in days.
const LIFETIME_DAYS: u32 = 30;
/// A certificate is renewed when a third of its life is left, but not earlier than this.
const EARLIEST_RENEWAL: Duration = Duration::days(30);
/// Longest common name that a subject has room for (X.520), in characters.
const MAX_SUBJECT: usize = 64;
/// Names that are tried in turn for a request on behalf of a domain.
const PLACES: u32 = 16;

/// How it goes on with a certificate.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Another attempt is made.
    Attempt {
        /// How many were made before it.
        after: u8,
        /// When.
        at: OffsetDateTime,
    },
    /// No more attempts are made.
    GiveUp {
        /// What went wrong with the last one.
        reason: String,
    },
}

/// Who asks for a managed certificate for whom.
#[derive(Debug, Clone, Copy)]
struct Requester<'a> {
    account_id: AccountId,
    actor: &'a str,
}

impl Certificates {
    /// Asks for a certificate that the house obtains and renews by itself. It is `pending` until
    /// the first version is there.
    ///
    /// # Errors
    /// [`Error::NotFullyQualified`], [`Error::Invalid`] or [`Error::TooLong`] for the names, also
    /// for a wildcard; [`Error::NameTaken`], [`Error::Forbidden`].
    pub async fn request_managed(
        &self,
        principal: &Principal,
        name: Option<&str>,
        common_name: &str,
    ) -> Result<Certificate, Error> {
        principal.require_write()?;
        Self::check_managed_request(name, common_name)?;
        let common_name = fully_qualified(common_name)?;
        let requester = Requester {
            account_id: principal.account_id(),
            actor: principal.account_name(),
        };
        let mut taken = String::new();
        for _ in 0..NAME_DRAWS {
            let drawn = match name {
                Some(name) => name.to_owned(),
                None => naming::name_after(common_name.as_str(), &self.surroundings),
            };
            match self.add_request(requester, &common_name, &drawn).await {
                Ok(certificate) => return Ok(certificate),
                Err(store::Error::DuplicateName) => taken = drawn,
                Err(store::Error::UnknownAccount) => return Err(account_gone(principal)),
                Err(error) => return Err(error.into()),
            }
            if name.is_some() {
                break;
            }
        }
        Err(Error::NameTaken {
            noun: Noun::Certificate,
            name: taken,
        })
    }

    /// The form of a request for a managed certificate.
    ///
    /// # Errors
    /// [`Error::NotFullyQualified`], [`Error::Invalid`] or [`Error::TooLong`].
    pub fn check_managed_request(name: Option<&str>, common_name: &str) -> Result<(), Error> {
        if let Some(name) = name {
            naming::check_name(name)?;
        }
        if fully_qualified(common_name)?.is_wildcard() {
            return Err(Error::invalid(
                "cn",
                "a wildcard certificate cannot be requested this way; upload one, or add the \
                 wildcard domain to a service",
            ));
        }
        Ok(())
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
        if certificate.origin == Origin::Uploaded {
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
    /// [`Error::NoCertificate`] for a wildcard that nothing can obtain. Requests for other names
    /// may have been made then.
    pub(crate) async fn request_for_domains(
        &self,
        account_id: AccountId,
        actor: &str,
        names: &[DnsName],
    ) -> Result<Vec<CertificateId>, Error> {
        if let Some(wildcard) = names.iter().find(|name| name.is_wildcard())
            && !self.can_obtain_wildcards().await?
        {
            return Err(Error::NoCertificate {
                name: wildcard.to_string(),
            });
        }
        // At the same time, because those that wait together are written together.
        let mut requests = JoinSet::new();
        for (place, name) in names.iter().cloned().enumerate() {
            let (certificates, actor) = (self.clone(), actor.to_owned());
            requests.spawn(async move {
                let requester = Requester {
                    account_id,
                    actor: &actor,
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
    /// it is there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn look_after_metro(&self) -> Result<(), Error> {
        let account = self.store.account_by_name(HOUSE_ACCOUNT).await?;
        let account = account.ok_or_else(|| Error::not_found(Noun::Account, HOUSE_ACCOUNT))?;
        let wildcard = DnsName::parse(&format!("*.{}", self.settings.metro_domain))
            .map_err(|error| Error::invalid("metro_domain", error.to_string()))?;
        let requested = self
            .request_for_domains(account.id, HOUSE_ACCOUNT, &[wildcard])
            .await;
        match requested {
            Err(Error::NoCertificate { name }) => {
                tracing::warn!(
                    name,
                    "no issuer can obtain the certificate of the metro domain"
                );
                Ok(())
            }
            requested => requested.map(drop),
        }
    }

    /// Makes the next version of a managed certificate. It is not in service, and nobody has it,
    /// before it is stored.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the issuer; [`Error::Invalid`] when the issuer refuses the names;
    /// [`Error::Signing`], [`Error::Store`].
    pub(crate) async fn next_version(
        &self,
        certificate: &Certificate,
    ) -> Result<NewVersionRecord, Error> {
        let issuer = certificate.issuer.as_deref();
        let issuer = issuer.unwrap_or(&self.settings.default_issuer);
        let authority = self.authorities.named(issuer).await?;
        let now = self.surroundings.now();
        let key = generate_key(KeyAlgorithm::P256).await?;
        let profile = LeafProfile {
            subject: subject(&certificate.common_name)?,
            identifiers: identifiers(certificate)?,
            public_key: key.public_key().clone(),
            validity: validity(now, days(LIFETIME_DAYS))?,
            urls: authority.leaf_urls.clone(),
        };
        let leaf = sign_leaf(authority.clone(), profile, self.authorities.serial()).await?;
        let key = NewPrivateKey {
            id: PrivateKeyId::from_time_and_random(now, self.surroundings.random()),
            key,
            exportable: Exportable::Never,
        };
        let version = NewVersion {
            id: VersionId::from_time_and_random(now, self.surroundings.random()),
            authority_id: Some(authority.id),
            serial: leaf.serial().as_be_bytes().to_vec(),
            subject: leaf.subject().to_string(),
            issuer: leaf.issuer().to_string(),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            leaf: leaf.der().to_vec(),
            intermediates: Vec::new(),
            private_key_id: Some(key.id),
            created_at: now,
        };
        let kind = match certificate.current {
            None => events::CERTIFICATE_ISSUED,
            Some(_) => events::CERTIFICATE_RENEWED,
        };
        Ok(NewVersionRecord {
            next_action_at: Some(renewal_time(version.not_before, version.not_after)),
            version,
            key: Some(key),
            identifiers: certificate.identifiers.clone(),
            event: self.event(certificate, HOUSE_ACCOUNT, kind, &leaf.serial().to_hex()),
        })
    }

    /// Writes down how it goes on with a certificate after an attempt that failed, or from a new
    /// beginning. Whether it was there.
    pub(crate) async fn plan(
        &self,
        certificate: &Certificate,
        plan: Plan,
        event: store::NewEvent,
    ) -> Result<bool, Error> {
        let (scope, id) = (Scope::Account(certificate.account_id), certificate.id);
        let is_renewal = certificate.state == State::Valid;
        let state = match plan {
            Plan::Attempt { after, at } if is_renewal => {
                let planned = self.store.postpone(scope, id, after, at, event).await;
                return was_there(planned);
            }
            Plan::Attempt { after, at } => State::Pending {
                attempt: after,
                next_attempt_at: at,
            },
            Plan::GiveUp { reason } => State::Error { reason },
        };
        was_there(
            self.store
                .set_certificate_state(scope, id, state, event)
                .await,
        )
    }

    /// The record that `actor` did `kind` to `certificate` now.
    pub(crate) fn event(
        &self,
        certificate: &Certificate,
        actor: &str,
        kind: &'static str,
        detail: &str,
    ) -> store::NewEvent {
        events::of(
            &self.surroundings,
            actor,
            Some(certificate.account_id),
            kind,
            Some(certificate.id.as_uuid()),
            detail,
        )
    }

    /// Whether the issuer of managed certificates can prove control over a whole zone. A private
    /// authority has nothing to prove.
    async fn can_obtain_wildcards(&self) -> Result<bool, Error> {
        match self.authorities.named(&self.settings.default_issuer).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn request_once(
        &self,
        requester: Requester<'_>,
        common_name: &DnsName,
    ) -> Result<CertificateId, Error> {
        let Requester { account_id, .. } = requester;
        for place in 0..PLACES {
            let name = naming::name_in_row(common_name.as_str(), account_id, place);
            match self.add_request(requester, common_name, &name).await {
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
        let requested = self.add_request(requester, common_name, &name).await?;
        Ok(requested.id)
    }

    fn is_coming_or_in_force(&self, certificate: &Certificate) -> bool {
        matches!(certificate.state, State::Pending { .. }) || self.is_in_force(certificate)
    }

    async fn add_request(
        &self,
        requester: Requester<'_>,
        common_name: &DnsName,
        name: &str,
    ) -> Result<Certificate, store::Error> {
        let now = self.surroundings.now();
        let requested = Certificate {
            id: CertificateId::from_random(self.surroundings.random()),
            account_id: requester.account_id,
            name: name.to_owned(),
            common_name: common_name.to_string(),
            identifiers: vec![common_name.to_string()],
            origin: Origin::Issued,
            state: State::Pending {
                attempt: 0,
                next_attempt_at: now,
            },
            issuer: Some(self.settings.default_issuer.clone()),
            attempt: 0,
            next_action_at: Some(now),
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
                common_name.as_str(),
            ),
        };
        self.store.add_certificate(record).await?;
        self.due.notify_one();
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

    async fn restarted(
        &self,
        certificate: Certificate,
        actor: &str,
    ) -> Result<Option<Certificate>, Error> {
        let now = self.surroundings.now();
        let kind = events::CERTIFICATE_REQUESTED;
        let event = self.event(&certificate, actor, kind, &certificate.common_name);
        let plan = Plan::Attempt { after: 0, at: now };
        if !self.plan(&certificate, plan, event).await? {
            return Ok(None);
        }
        self.due.notify_one();
        Ok(Some(Certificate {
            state: State::Pending {
                attempt: 0,
                next_attempt_at: now,
            },
            attempt: 0,
            next_action_at: Some(now),
            ..certificate
        }))
    }
}

fn was_there(changed: Result<(), store::Error>) -> Result<bool, Error> {
    match changed {
        Ok(()) => Ok(true),
        Err(store::Error::NotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// When a version is renewed: when a third of its life is left, but not earlier than 30 days
/// before its end.
fn renewal_time(not_before: OffsetDateTime, not_after: OffsetDateTime) -> OffsetDateTime {
    let third: Duration = (not_after - not_before) / 3;
    not_after - third.min(EARLIEST_RENEWAL)
}

/// A subject for relying parties that still look at it, if it has room for the name.
fn subject(common_name: &str) -> Result<DistinguishedName, Error> {
    let fits = common_name.len() <= MAX_SUBJECT;
    let fields = SubjectFields {
        common_name: fits.then(|| common_name.to_owned()),
        ..SubjectFields::default()
    };
    DistinguishedName::from_fields(&fields).map_err(|error| Error::invalid("cn", error.to_string()))
}

fn identifiers(certificate: &Certificate) -> Result<Vec<Identifier>, Error> {
    let names = certificate.identifiers.iter();
    names
        .map(|name| {
            DnsName::parse(name)
                .map(Identifier::Dns)
                .map_err(|error| Error::invalid("cn", error.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_begins_at_a_third_of_the_lifetime_left_and_at_most_30_days_before_the_end() {
        let start = OffsetDateTime::UNIX_EPOCH;
        for (lifetime, left) in [(3, 1), (30, 10), (90, 30), (398, 30)] {
            let end = start + Duration::days(lifetime);
            assert_eq!(
                end - renewal_time(start, end),
                Duration::days(left),
                "{lifetime} days"
            );
        }
    }

    #[test]
    fn a_name_too_long_for_a_subject_is_left_to_the_extension() {
        let long = format!("{}.test", "a".repeat(60));
        assert_eq!(subject(&long).unwrap().to_string(), "");
        assert_eq!(
            subject(&long[1..]).unwrap().common_name().unwrap(),
            long[1..]
        );
    }
}
