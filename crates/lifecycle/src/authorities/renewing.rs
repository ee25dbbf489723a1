//! Renewing authorities in time: issuing CAs by the house itself, roots with a successor that people
//! switch to.
//!
//! Every node looks; the store lets one of them change what all have seen.

use std::sync::Arc;
use std::time::Duration;

use pki::{Certificate, Signer};
use store::{AuthorityChange, CaRole, KeyPlace, NewCaCertificate};

use super::certifying::algorithm_like;
use super::changing::unfit;
use super::due::{Circumstances, Due, DueKind, due};
use super::tier_maker::{CaKey, TierMaker, renamed};
use super::{Authorities, Authority, AuthorityView, Tier, TierKey};
use crate::accounts::HOUSE_ACCOUNT;
use crate::ceremony::new_member;
use crate::labour::sign_off_the_reactor;
use crate::{Error, Principal, events};

/// How often people are told what they have to do.
const TOLD_AGAIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Authorities {
    /// Does what is due for all authorities, and tells what people have to do. Returns how many
    /// tiers were made. What fails for one authority keeps nobody from looking after the others.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be seen which there are.
    pub async fn renew_due(&self) -> Result<usize, Error> {
        let mut made = 0;
        for row in self.store.authorities().await? {
            match self.look_after(&row).await {
                Ok(number) => made += number,
                Err(error) => tracing::error!(
                    authority = row.name,
                    error = &error as &dyn std::error::Error,
                    "could not look after an authority"
                ),
            }
        }
        Ok(made)
    }

    /// Has the successor of the root take over: certificates are issued below it from then on. Those
    /// of the root before stay what they are.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`]; [`Error::Unfit`] when there is no successor.
    pub async fn switch_root(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<AuthorityView, Error> {
        let authority = self.to_change(principal, name).await?;
        let successor = authority.successor().cloned();
        let successor = successor.ok_or_else(|| {
            unfit(format!(
                "'{name}' has no successor of its root to switch to"
            ))
        })?;
        let kind = events::AUTHORITY_SWITCHED;
        let detail = format!("to {}", successor.certificate().subject());
        let mut change = self.change(&authority, principal.account_name(), kind, &detail);
        change.root_id = successor.id;
        change.issuing_id = successor.id;
        if authority.has_two_tiers() {
            let member = self.new_issuing(&authority, &successor).await?;
            change.issuing_id = member.id;
            change.certificates = vec![member];
        }
        self.change_now(change).await?;
        tracing::info!(authority = name, "switched to the successor of the root");
        self.view_of(name).await
    }

    /// Makes the successor of the root now, long before one is due.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`]; [`Error::KeyUnavailable`] when the key of the root
    /// is not here; [`Error::Unfit`] when there is a successor.
    pub async fn make_successor(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<AuthorityView, Error> {
        let authority = self.to_change(principal, name).await?;
        if authority.successor().is_some() {
            return Err(unfit(format!("the root of '{name}' has a successor")));
        }
        let change = self
            .successor_of(&authority, principal.account_name())
            .await?;
        self.change_now(change).await?;
        self.view_of(name).await
    }

    async fn look_after(&self, row: &store::Authority) -> Result<usize, Error> {
        let authority = self.open(row).await?;
        let now = self.surroundings.now();
        let mut made = 0;
        for one in dues(&authority) {
            if now < one.from {
                continue;
            }
            match one.kind {
                DueKind::Issuing => made += self.renew_issuing(&authority).await?,
                DueKind::Successor => {
                    let change = self.successor_of(&authority, HOUSE_ACCOUNT).await?;
                    made += usize::from(self.change_if_unchanged(change).await?);
                }
                _ => self.tell(&authority, one).await?,
            }
        }
        Ok(made)
    }

    async fn renew_issuing(&self, authority: &Authority) -> Result<usize, Error> {
        let member = self.new_issuing(authority, &authority.root).await?;
        let kind = events::AUTHORITY_RENEWED;
        let detail = "a new issuing CA signs from now on";
        let mut change = self.change(authority, HOUSE_ACCOUNT, kind, detail);
        change.issuing_id = member.id;
        change.certificates = vec![member];
        let is_done = self.change_if_unchanged(change).await?;
        if is_done {
            tracing::info!(authority = authority.name, "made a new issuing CA");
        }
        Ok(usize::from(is_done))
    }

    /// The issuing CA after the present one: with a new key, as long a life and the same constraints.
    async fn new_issuing(
        &self,
        authority: &Authority,
        root: &Arc<Tier>,
    ) -> Result<NewCaCertificate, Error> {
        let (maker, issuing) = (self.tier_maker(), authority.issuing.clone());
        let signer = root.signer()?.clone();
        let label = format!("chancery {} issuing", authority.name);
        let is_outside = signer.signs_outside() || issuing.is_outside();
        let made = sign_off_the_reactor(is_outside, move || {
            next_issuing(&maker, &issuing, &signer, &label)
        });
        made.await.map_err(Error::signing)?
    }

    /// The change by which an authority gets a successor of its root, and the certificate with which
    /// the present root vouches for it.
    async fn successor_of(
        &self,
        authority: &Authority,
        actor: &str,
    ) -> Result<AuthorityChange, Error> {
        let (maker, root) = (self.tier_maker(), authority.root.clone());
        let signer = root.signer()?.clone();
        let label = format!("chancery {} root", authority.name);
        let name = authority.name.clone();
        let made = sign_off_the_reactor(root.is_outside(), move || {
            let (key, certificate) = next_root(&maker, &root, &label)?;
            // One whose path length is used up by the CA below it can vouch for no other.
            let link = maker.link(&certificate, &signer);
            if let Err(error) = &link {
                let error = error as &dyn std::error::Error;
                tracing::warn!(
                    authority = name,
                    error,
                    "the root cannot vouch for its successor"
                );
            }
            let other = store::NewCaKey::At(place_of(&key), key.record.id());
            let surroundings = &maker.surroundings;
            let mut members = vec![new_member(
                CaRole::Root,
                &certificate,
                key.record,
                surroundings,
            )];
            if let Ok(link) = link {
                members.push(new_member(CaRole::Root, &link, other, surroundings));
            }
            Ok::<_, Error>((certificate, members))
        });
        let (certificate, members) = made.await.map_err(Error::signing)??;
        let kind = events::AUTHORITY_SUCCESSOR_MADE;
        let detail = certificate.subject().to_string();
        let mut change = self.change(authority, actor, kind, &detail);
        change.certificates = members;
        Ok(change)
    }

    async fn tell(&self, authority: &Authority, due: Due) -> Result<(), Error> {
        let detail = format!("{}: {}", authority.name, advice(due, &authority.name));
        let event = events::of(
            &self.surroundings,
            HOUSE_ACCOUNT,
            None,
            events::AUTHORITY_DUE,
            Some(authority.id.as_uuid()),
            &detail,
        );
        let unless_after = self.surroundings.now() - TOLD_AGAIN;
        if self
            .store
            .warn_of_authority(authority.id, unless_after, event)
            .await?
        {
            tracing::warn!(authority = authority.name, "{detail}");
        }
        Ok(())
    }
}

/// All that will be due for an authority.
pub(super) fn dues(authority: &Authority) -> Vec<Due> {
    let validity = |tier: &Tier| {
        (
            tier.certificate().not_before(),
            tier.certificate().not_after(),
        )
    };
    let list_ends = match &authority.root.key {
        TierKey::Absent {
            last_list: Some(list),
        } => pki::crl::next_update(list),
        _ => None,
    };
    due(&Circumstances {
        issuing: validity(&authority.issuing),
        root: validity(&authority.root),
        has_two_tiers: authority.has_two_tiers(),
        is_rooted_here: authority.is_rooted_here(),
        root_signs: authority.root.can_sign(),
        has_successor: authority.successor().is_some(),
        list_ends,
    })
}

/// What is to be done, and by when.
pub(super) fn advice(due: Due, name: &str) -> String {
    let by = due.by.date();
    match due.kind {
        DueKind::Issuing => format!("a new issuing CA is made by itself on {by}"),
        DueKind::IssuingWithoutRootKey => format!(
            "a new issuing CA is due on {by}, and the key of the root is not here: \
             chancery authority import-root {name} --key FILE"
        ),
        DueKind::Recertification => format!(
            "the issuing CA needs a new certificate by {by}: chancery authority csr {name}, then \
             chancery authority install {name} --chain FILE"
        ),
        DueKind::Successor => format!("a successor of the root is made by itself on {by}"),
        DueKind::SuccessorWithoutRootKey => format!(
            "a successor of the root is due on {by}, and the key of the root is not here: \
             chancery authority import-root {name} --key FILE"
        ),
        DueKind::Switch => format!(
            "have those who trust the root install its successor, then: \
             chancery authority switch {name}; do so by {by}, when the root begins to cut \
             certificates short"
        ),
        DueKind::RootList => format!(
            "the root's revocation list ends on {by}; sign another with the key of the root: \
             chancery authority import-root {name} --key FILE, then export-root with --remove"
        ),
    }
}

fn next_issuing(
    maker: &TierMaker,
    before: &Tier,
    root: &Signer,
    label: &str,
) -> Result<NewCaCertificate, Error> {
    let key = next_key(maker, before, label)?;
    let certificate = maker.issuing(
        renamed(before.certificate(), &key.signing)?,
        &key.signing,
        lifetime_of(before.certificate())?,
        before.certificate().understood_name_constraints(),
        root,
    )?;
    let role = CaRole::Issuing;
    Ok(new_member(
        role,
        &certificate,
        key.record,
        &maker.surroundings,
    ))
}

fn next_root(maker: &TierMaker, before: &Tier, label: &str) -> Result<(CaKey, Certificate), Error> {
    let key = next_key(maker, before, label)?;
    let certificate = maker.root(
        renamed(before.certificate(), &key.signing)?,
        &key.signing,
        lifetime_of(before.certificate())?,
        before.certificate().understood_name_constraints(),
    )?;
    Ok((key, certificate))
}

fn next_key(maker: &TierMaker, before: &Tier, label: &str) -> Result<CaKey, Error> {
    let in_device = before.key_place() == KeyPlace::Device;
    maker.key(algorithm_like(before), in_device, label)
}

fn place_of(key: &CaKey) -> KeyPlace {
    if key.signing.is_outside() {
        KeyPlace::Device
    } else {
        KeyPlace::Store
    }
}

fn lifetime_of(certificate: &Certificate) -> Result<Duration, Error> {
    let lifetime = certificate.not_after() - certificate.not_before();
    Duration::try_from(lifetime).map_err(Error::signing)
}
