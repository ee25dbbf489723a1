//! Taking the key of a root out of the house, and bringing it back.
//!
//! The root of two tiers signs next to nothing: the next issuing CA, a revocation list, and OCSP
//! answers about issuing CAs. Its key is safest where no network is. Before it goes, a list and a
//! responder are signed that last for the time without it.

use std::sync::Arc;
use std::time::Duration;

use pki::{
    CrlScope, DistinguishedName, KeyAlgorithm, PrivateKey, Profile, ResponderProfile, SubjectFields,
};
use store::{CaRole, Exportable, KeyPlace, NewCaCertificate, NewPrivateKey};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::changing::unfit;
use super::{Authorities, Authority, AuthorityView, Tier, TierKey};
use crate::ceremony::{self, BACKDATING, days, new_ca_certificate, validity};
use crate::publication::list_signed;
use crate::{Error, Principal, events, off_the_reactor};

/// For how long revocation list and responder last that are signed before the key goes, in days.
const AWAY_DAYS: u32 = 365;
/// Longest time that can be asked for.
const MOST_AWAY_DAYS: u32 = 10 * 365;
/// Shortest passphrase, in characters: whoever finds the file may guess for ever.
const SHORTEST_PASSPHRASE: usize = 12;

impl Authorities {
    /// The key of the root as encrypted PEM PKCS#8, followed by its certificate; then those of its
    /// successor and of roots before, of two tiers. The keys stay where they are.
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
        let roots = roots_to_take(&authority)?;
        let mut keys = Vec::with_capacity(roots.len());
        for tier in &roots {
            keys.push((self.ca_key(tier.key_id).await?, tier.certificate().to_pem()));
        }
        let encrypting = off_the_reactor(move || {
            let mut text = Zeroizing::new(String::new());
            for (key, certificate) in keys {
                // What the text had to grow out of is encrypted, too.
                text.push_str(&key.to_encrypted_pem(&passphrase).map_err(Error::signing)?);
                text.push_str(&certificate);
            }
            Ok::<_, Error>(text)
        });
        let text = encrypting.await.map_err(Error::signing)??;
        let kind = events::AUTHORITY_KEY_EXPORTED;
        let detail = subjects(&roots);
        let change = self.change(&authority, principal.account_name(), kind, &detail);
        self.change_now(change).await?;
        Ok(text)
    }

    /// Erases the key of the root from the store, and those of its successor and of roots before,
    /// which could sign in its stead. `copy` is what was exported: that it opens with the passphrase
    /// proves that nothing is lost.
    ///
    /// # Errors
    /// As [`Self::export_root_key`]; [`Error::Unfit`] for an authority of one tier;
    /// [`Error::KeyMismatch`] when one of these keys is not in the copy.
    pub async fn remove_root_key(
        &self,
        principal: &Principal,
        name: &str,
        copy: &[u8],
        passphrase: Zeroizing<String>,
        away_days: Option<u32>,
    ) -> Result<AuthorityView, Error> {
        let authority = self.to_change(principal, name).await?;
        if authority.root.signs_leaves {
            return Err(unfit(format!(
                "'{name}' has one tier, whose key signs every certificate; it cannot go"
            )));
        }
        let away_days = away_days.unwrap_or(AWAY_DAYS);
        if !(1..=MOST_AWAY_DAYS).contains(&away_days) {
            let reason = format!("{away_days} is not a number of days from 1 to {MOST_AWAY_DAYS}");
            return Err(Error::invalid("away_days", reason));
        }
        let roots = roots_to_take(&authority)?;
        let copies = opened(copy, passphrase).await?;
        for tier in &roots {
            let spki = tier.certificate().spki_der();
            if !copies
                .iter()
                .any(|copy| copy.public_key().spki_der() == spki)
            {
                return Err(Error::KeyMismatch);
            }
        }
        let actor = principal.account_name();
        let kind = events::AUTHORITY_KEY_REMOVED;
        let mut change = self.change(&authority, actor, kind, &subjects(&roots));
        let now = self.surroundings.now();
        for root in roots {
            let until = (now + days(away_days)).min(root.certificate().not_after());
            let mut list = None;
            // Nobody relies on anything of one that has ended.
            if now < until {
                list = Some(self.list_until(&authority, root, actor, until).await?);
                let responder = self.responder_until(&authority, root, until)?;
                change.certificates.push(responder);
            }
            for tier in authority.tiers().filter(|tier| tier.key_id == root.key_id) {
                let place = (tier.id, KeyPlace::Elsewhere, list.clone());
                change.placed.push(place);
            }
            change.erased_keys.push(root.key_id);
        }
        self.change_now(change).await?;
        tracing::info!(authority = name, "removed the key of the root");
        self.view_of(name).await
    }

    /// Brings the key of the root back, and those that went with it.
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
        let absent = |tier: &&Arc<Tier>| matches!(tier.key, TierKey::Absent { .. });
        let absent: Vec<_> = roots(&authority).into_iter().filter(absent).collect();
        if absent.is_empty() {
            return Err(unfit(format!("the key of the root of '{name}' is here")));
        }
        let keys = opened(key, passphrase).await?;
        let mut change = self.change(
            &authority,
            principal.account_name(),
            events::AUTHORITY_KEY_RETURNED,
            &subjects(&absent),
        );
        for root in absent {
            let spki = root.certificate().spki_der();
            let mut keys = keys.iter();
            let Some(key) = keys.find(|key| key.public_key().spki_der() == spki) else {
                continue;
            };
            change.keys.push(NewPrivateKey {
                id: root.key_id,
                key: key.clone(),
                exportable: Exportable::Never,
            });
            for tier in authority.tiers().filter(|tier| tier.key_id == root.key_id) {
                change.placed.push((tier.id, KeyPlace::Store, None));
            }
        }
        if change.keys.is_empty() {
            return Err(Error::KeyMismatch);
        }
        self.change_now(change).await?;
        self.view_of(name).await
    }

    /// An empty revocation list of `root` that lasts until `until`. What a root has signed is not
    /// revoked here.
    async fn list_until(
        &self,
        authority: &Authority,
        root: &Tier,
        actor: &str,
        until: OffsetDateTime,
    ) -> Result<Vec<u8>, Error> {
        let now = self.surroundings.now();
        let number = loop {
            let last = self.store.crl_number(root.id).await?;
            if let Some(number) = self.store.next_crl_number(root.id, last).await? {
                break number;
            }
        };
        let signer = root.signer()?.clone();
        let signing = off_the_reactor(move || {
            pki::crl::build(&signer, number, now - BACKDATING, until, [], CrlScope::All)
        });
        let list = signing
            .await
            .map_err(Error::signing)?
            .map_err(Error::signing)?;
        let signed = (0, number);
        let event = list_signed(&self.surroundings, actor, authority.id, root, signed);
        self.store.add_event(event).await?;
        Ok(list)
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

/// The root, its successor and the roots before, of two tiers: one tier per key, that which ends last.
fn roots(authority: &Authority) -> Vec<&Arc<Tier>> {
    let mut roots = vec![&authority.root];
    for tier in authority.tiers().filter(|tier| !tier.signs_leaves) {
        match roots.iter_mut().find(|root| root.key_id == tier.key_id) {
            Some(root) if root.certificate().not_after() < tier.certificate().not_after() => {
                *root = tier;
            }
            Some(_) => {}
            None => roots.push(tier),
        }
    }
    roots
}

/// Those of them whose keys are in the store, the present root first.
fn roots_to_take(authority: &Authority) -> Result<Vec<&Arc<Tier>>, Error> {
    let name = &authority.name;
    match &authority.root.key {
        TierKey::Present(_) => {
            let mut taken = roots(authority);
            taken.retain(|root| matches!(root.key, TierKey::Present(_)));
            Ok(taken)
        }
        TierKey::InDevice(_) => Err(unfit(format!(
            "the key of the root of '{name}' is in a device, which does not give it away"
        ))),
        TierKey::Absent { .. } => Err(unfit(format!(
            "the key of the root of '{name}' is not here"
        ))),
        TierKey::Unfit(_, reason) => Err(unfit(format!(
            "the key of the root of '{name}' cannot be used: {reason}"
        ))),
    }
}

fn subjects(tiers: &[&Arc<Tier>]) -> String {
    let subjects = tiers.iter().map(|tier| tier.certificate().subject());
    let subjects: Vec<String> = subjects.map(ToString::to_string).collect();
    subjects.join("; ")
}

/// The private keys in a PEM text, which may be encrypted.
async fn opened(text: &[u8], passphrase: Zeroizing<String>) -> Result<Vec<PrivateKey>, Error> {
    let text = Zeroizing::new(text.to_vec());
    let opening =
        off_the_reactor(move || PrivateKey::all_from_pem_with_passphrase(&text, &passphrase)).await;
    let opening = opening.map_err(Error::signing)?;
    opening.map_err(|error| Error::invalid("key", error.to_string()))
}
