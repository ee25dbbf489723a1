//! The versions of managed certificates that private authorities make. Their keys are made with them
//! and never leave the house.

use pki::{DistinguishedName, Identifier, KeyAlgorithm, LeafProfile, SubjectFields};
use store::{
    AccountId, Certificate, Exportable, NewPrivateKey, NewVersion, NewVersionRecord, PrivateKeyId,
    VersionId,
};

use super::Certificates;
use super::issue::{generate_key, sign_leaf};
use crate::accounts::HOUSE_ACCOUNT;
use crate::ceremony::{days, validity};
use crate::publication::urls_of_shard;
use crate::schedule::renew_at;
use crate::{Error, events};

/// Lifetime of a managed certificate of a private authority, in days.
const LIFETIME_DAYS: u32 = 30;
/// Longest common name that a subject has room for (X.520), in characters.
const MAX_SUBJECT: usize = 64;

impl Certificates {
    /// Makes the next version of a managed certificate. It is not in service, and nobody has it,
    /// before it is stored.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the issuer; [`Error::Invalid`] when the issuer refuses the names;
    /// [`Error::Policy`] when the account's policy does not allow it;
    /// [`Error::Unsupported`] for names that the account would have to prove control over;
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
        let identifiers = identifiers(certificate)?;
        let policy = self.policies.of(certificate.account_id).await?;
        policy.check_names(&identifiers, &[])?;
        self.require_proven(certificate.account_id, &identifiers)
            .await?;
        policy.check_key(key.algorithm())?;
        let shard = self.authorities.place(&authority).await?;
        let profile = LeafProfile {
            subject: subject(&certificate.common_name)?,
            identifiers,
            public_key: key.public_key().clone(),
            validity: validity(now, days(policy.days(None, LIFETIME_DAYS)?))?,
            usages: policy.usages.unwrap_or_default(),
            urls: urls_of_shard(&authority.leaf_urls, shard),
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
            crl_shard: shard,
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
        let draw = u64::from_be_bytes(self.surroundings.random());
        let renew_at = Some(renew_at(now, version.not_after, draw));
        Ok(NewVersionRecord {
            renew_at,
            next_action_at: renew_at,
            becomes: None,
            version,
            key: Some(key),
            identifiers: certificate.identifiers.clone(),
            event: self.event(certificate, HOUSE_ACCOUNT, kind, &leaf.serial().to_hex()),
        })
    }

    /// Refuses names over which the account would have to prove control, each time anew: a version is
    /// a certificate like any other, and what an account is vouched for changes. The names that the
    /// house has for itself are its own.
    async fn require_proven(
        &self,
        account: AccountId,
        identifiers: &[Identifier],
    ) -> Result<(), Error> {
        let proven = self.requirement.require_none(account, identifiers).await;
        if let Err(Error::Unsupported { .. }) = &proven {
            let house = self.store.account_by_name(HOUSE_ACCOUNT).await?;
            if house.is_some_and(|house| house.id == account) {
                return Ok(());
            }
        }
        proven
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
    fn a_name_too_long_for_a_subject_is_left_to_the_extension() {
        let long = format!("{}.test", "a".repeat(60));
        assert_eq!(subject(&long).unwrap().to_string(), "");
        assert_eq!(
            subject(&long[1..]).unwrap().common_name().unwrap(),
            long[1..]
        );
    }
}
