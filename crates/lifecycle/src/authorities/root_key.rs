//! Taking the key of a root out of the house, and bringing it back.
//!
//! The root of two tiers signs next to nothing: the next issuing CA, a revocation list, and OCSP
//! answers about issuing CAs. Its key is safest where no network is. Before it goes, a list and a
//! responder are signed that last for the time without it.

use std::time::Duration;

use pki::{DistinguishedName, KeyAlgorithm, PrivateKey, Profile, ResponderProfile, SubjectFields};
use store::{CaRole, Exportable, KeyPlace, NewCaCertificate, NewPrivateKey};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::changing::unfit;
use super::{Authorities, Authority, AuthorityView, Tier, TierKey};
use crate::ceremony::{self, BACKDATING, days, new_ca_certificate, validity};
use crate::{Error, Principal, events, off_the_reactor};

/// For how long revocation list and responder last that are signed before the key goes, in days.
const AWAY_DAYS: u32 = 365;
/// Longest time that can be asked for.
const MOST_AWAY_DAYS: u32 = 10 * 365;
/// Shortest passphrase, in characters: whoever finds the file may guess for ever.
const SHORTEST_PASSPHRASE: usize = 12;

impl Authorities {
    /// The key of the root as encrypted PEM PKCS#8, followed by its certificate. The key stays where
    /// it is.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Invalid`] for a short passphrase,
    /// [`Error::KeyUnavailable`] when it is not in the store.
    pub async fn export_root_key(
        &self,
        principal: &Principal,
        name: &str,
        passphrase: Zeroizing<String>,
    ) -> Result<Zeroizing<String>, Error> {
        let authority = self.to_change(principal, name).await?;
        if passphrase.chars().count() < SHORTEST_PASSPHRASE {
            let reason = format!("the passphrase has fewer than {SHORTEST_PASSPHRASE} characters");
            return Err(Error::invalid("passphrase", reason));
        }
        let key = self.stored_root_key(&authority).await?;
        let encrypting = off_the_reactor(move || key.to_encrypted_pem(&passphrase));
        let mut text = encrypting
            .await
            .map_err(Error::signing)?
            .map_err(Error::signing)?;
        let certificate = authority.root_certificate().to_pem();
        let mut whole = Zeroizing::new(String::with_capacity(text.len() + certificate.len()));
        whole.push_str(&text);
        whole.push_str(&certificate);
        std::mem::swap(&mut text, &mut whole);
        let kind = events::AUTHORITY_KEY_EXPORTED;
        let detail = authority.root_certificate().subject().to_string();
        let change = self.change(&authority, principal.account_name(), kind, &detail);
        self.change_now(change).await?;
        Ok(text)
    }

    /// Erases the key of the root from the store. `copy` is what was exported: that it opens with
    /// the passphrase proves that nothing is lost.
    ///
    /// # Errors
    /// As [`Self::export_root_key`]; [`Error::Unfit`] for an authority of one tier;
    /// [`Error::KeyMismatch`] when the copy is one of another key.
    pub async fn remove_root_key(
        &self,
        principal: &Principal,
        name: &str,
        copy: &[u8],
        passphrase: Zeroizing<String>,
        away_days: Option<u32>,
    ) -> Result<AuthorityView, Error> {
        let authority = self.to_change(principal, name).await?;
        if !authority.has_two_tiers() {
            return Err(unfit(format!(
                "'{name}' has one tier, whose key signs every certificate; it cannot go"
            )));
        }
        let away_days = away_days.unwrap_or(AWAY_DAYS);
        if !(1..=MOST_AWAY_DAYS).contains(&away_days) {
            let reason = format!("{away_days} is not a number of days from 1 to {MOST_AWAY_DAYS}");
            return Err(Error::invalid("away_days", reason));
        }
        let key = self.stored_root_key(&authority).await?;
        let copy = opened(copy, passphrase).await?;
        if copy.public_key() != key.public_key() {
            return Err(Error::KeyMismatch);
        }
        let now = self.surroundings.now();
        let root = &authority.root;
        let until = (now + days(away_days)).min(root.certificate().not_after());
        let list = self.list_until(root, now, until).await?;
        let kind = events::AUTHORITY_KEY_REMOVED;
        let detail = root.certificate().subject().to_string();
        let mut change = self.change(&authority, principal.account_name(), kind, &detail);
        change.certificates = vec![self.responder_until(&authority, root, until)?];
        for tier in authority.tiers().filter(|tier| tier.key_id == root.key_id) {
            let list = list.clone();
            change
                .placed
                .push((tier.id, KeyPlace::Elsewhere, Some(list)));
        }
        change.erased_keys = vec![root.key_id];
        self.change_now(change).await?;
        tracing::info!(authority = name, "removed the key of the root");
        self.view_of(name).await
    }

    /// Brings the key of the root back.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Invalid`] for what is no key or does not
    /// open, [`Error::KeyMismatch`], [`Error::Unfit`] when the key is here.
    pub async fn return_root_key(
        &self,
        principal: &Principal,
        name: &str,
        key: &[u8],
        passphrase: Zeroizing<String>,
    ) -> Result<AuthorityView, Error> {
        let authority = self.to_change(principal, name).await?;
        let root = &authority.root;
        if root.can_sign() {
            return Err(unfit(format!("the key of the root of '{name}' is here")));
        }
        let key = opened(key, passphrase).await?;
        if key.public_key().spki_der() != root.certificate().spki_der() {
            return Err(Error::KeyMismatch);
        }
        let kind = events::AUTHORITY_KEY_RETURNED;
        let detail = root.certificate().subject().to_string();
        let mut change = self.change(&authority, principal.account_name(), kind, &detail);
        change.keys = vec![NewPrivateKey {
            id: root.key_id,
            key,
            exportable: Exportable::Never,
        }];
        for tier in authority.tiers().filter(|tier| tier.key_id == root.key_id) {
            change.placed.push((tier.id, KeyPlace::Store, None));
        }
        self.change_now(change).await?;
        self.view_of(name).await
    }

    async fn stored_root_key(&self, authority: &Authority) -> Result<PrivateKey, Error> {
        let root = &authority.root;
        match &root.key {
            TierKey::Present(_) => self.ca_key(root.key_id).await,
            TierKey::InDevice(_) => Err(unfit(format!(
                "the key of the root of '{}' is in a device, which does not give it away",
                authority.name
            ))),
            TierKey::Absent { .. } => Err(unfit(format!(
                "the key of the root of '{}' is not here",
                authority.name
            ))),
        }
    }

    /// An empty revocation list of `root` that lasts until `until`. What a root has signed is not
    /// revoked here.
    async fn list_until(
        &self,
        root: &Tier,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<u8>, Error> {
        let number = loop {
            let last = self.store.crl_number(root.id).await?;
            if let Some(number) = self.store.next_crl_number(root.id, last).await? {
                break number;
            }
        };
        let signer = root.signer()?.clone();
        let signing = off_the_reactor(move || {
            pki::crl::build(&signer, number, now - BACKDATING, until, [], None)
        });
        signing
            .await
            .map_err(Error::signing)?
            .map_err(Error::signing)
    }

    /// A responder of `root` that lasts until `until`.
    fn responder_until(
        &self,
        authority: &Authority,
        root: &Tier,
        until: OffsetDateTime,
    ) -> Result<NewCaCertificate, Error> {
        let now = self.surroundings.now();
        let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(Error::signing)?;
        let subject = SubjectFields {
            common_name: Some(format!("{} OCSP responder", authority.name)),
            ..SubjectFields::default()
        };
        let lifetime = Duration::try_from(until - now).map_err(Error::signing)?;
        let profile = Profile::Responder(ResponderProfile {
            subject: DistinguishedName::from_fields(&subject).map_err(Error::signing)?,
            public_key: key.public_key().clone(),
            validity: validity(now, lifetime)?,
        });
        let certificate = ceremony::sign(profile, &self.serial(), root.signer()?)?;
        let role = CaRole::Responder;
        Ok(new_ca_certificate(
            role,
            &certificate,
            key,
            &self.surroundings,
        ))
    }
}

/// The private key in a PEM text, which may be encrypted.
pub(super) async fn opened(
    text: &[u8],
    passphrase: Zeroizing<String>,
) -> Result<PrivateKey, Error> {
    let text = Zeroizing::new(text.to_vec());
    let opening =
        off_the_reactor(move || PrivateKey::from_pem_with_passphrase(&text, &passphrase)).await;
    let opening = opening.map_err(Error::signing)?;
    opening.map_err(|error| Error::invalid("key", error.to_string()))
}
