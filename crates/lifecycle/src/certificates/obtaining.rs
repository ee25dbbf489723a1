//! Obtaining the versions of managed certificates: what a private authority makes of a request, and
//! how it goes on when that fails.
//!
//! The key is made with each version and never leaves the house.

use pki::{DistinguishedName, Identifier, KeyAlgorithm, LeafProfile, SubjectFields};
use store::{
    Certificate, Exportable, NewPrivateKey, NewVersion, NewVersionRecord, PrivateKeyId, Scope,
    State, VersionId,
};
use time::{Duration, OffsetDateTime};

use super::Certificates;
use super::issue::{generate_key, sign_leaf};
use crate::accounts::HOUSE_ACCOUNT;
use crate::ceremony::{days, validity};
use crate::{Error, events};

/// Lifetime of a managed certificate of a private authority, in days.
const LIFETIME_DAYS: u32 = 30;
/// A certificate is renewed when a third of its life is left, but not earlier than this.
const EARLIEST_RENEWAL: Duration = Duration::days(30);
/// Longest common name that a subject has room for (X.520), in characters.
const MAX_SUBJECT: usize = 64;

/// How it goes on with a certificate.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Another attempt is made.
    Attempt {
        /// How many were made before it.
        after: u8,
        /// When.
        at: OffsetDateTime,
        /// What went wrong with the last one, if one was made.
        failure: Option<String>,
    },
    /// No more attempts are made.
    GiveUp {
        /// What went wrong with the last one.
        reason: String,
    },
}

impl Certificates {
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
            directory_id: None,
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
        let renew_at = Some(renewal_time(version.not_before, version.not_after));
        Ok(NewVersionRecord {
            renew_at,
            next_action_at: renew_at,
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
        let (state, failure) = match plan {
            Plan::Attempt { after, at, failure } if is_renewal => {
                let planned = self
                    .store
                    .postpone(scope, id, after, at, failure, event)
                    .await;
                return was_there(planned);
            }
            Plan::Attempt { after, at, failure } => {
                let state = State::Pending {
                    attempt: after,
                    next_attempt_at: at,
                };
                (state, failure)
            }
            Plan::GiveUp { reason } => (State::Error { reason }, None),
        };
        was_there(
            self.store
                .set_certificate_state(scope, id, state, failure, event)
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
    let is_address = common_name.parse::<std::net::IpAddr>().is_ok();
    let fits = common_name.len() <= MAX_SUBJECT && !is_address;
    let fields = SubjectFields {
        common_name: fits.then(|| common_name.to_owned()),
        ..SubjectFields::default()
    };
    DistinguishedName::from_fields(&fields).map_err(|error| Error::invalid("cn", error.to_string()))
}

/// What a managed certificate is to name.
pub(crate) fn identifiers(certificate: &Certificate) -> Result<Vec<Identifier>, Error> {
    let names = certificate.identifiers.iter();
    names
        .map(|name| {
            Identifier::parse_host(name).map_err(|error| Error::invalid("cn", error.to_string()))
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
