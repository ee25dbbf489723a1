//! Revocation lists (RFC 5280 section 5).
//!
//! Revoking changes a row and a counter and nothing else; a list is built when somebody asks for
//! it and the counter of its shard has moved, or when it is a day old. One task at a time builds the
//! list of a shard for a tier. It belongs to nobody who waits for it, and goes on when they hang up.
//!
//! As long as an authority has one shard, its list is complete. Once there are more, each list says
//! for which leaves it counts: those that name its address. A root that signs leaves itself names no
//! address, so for CA certificates there is a list of their own; it is always empty.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pki::{CrlError, CrlScope, RevokedEntry, Serial};
use store::{AuthorityId, CrlSeries, NewEvent, PAGE_LIMIT, RevokedVersion, Store};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::shards::url_of_shard;
use crate::accounts::HOUSE_ACCOUNT;
use crate::authorities::{Authorities, Authority, Tier, TierKey};
use crate::ceremony::{self, BACKDATING};
use crate::publication::is_younger;
use crate::{Error, Noun, Surroundings, events};

/// How long a revocation list may be relied upon.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How old a list may get before it is signed anew without a revocation.
const RENEWAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a revocation stays on the list after its certificate has ended. It must be on a list
/// issued after that (RFC 5280 section 3.3): whoever still relies on a list from before fetches
/// the next one within its lifetime, and a day is for clocks that differ.
const KEPT_AFTER_END: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// How long somebody who could have the list before waits for the one that is being built.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a build may lose its number to a faster node before it keeps the others from theirs.
const ATTEMPTS: u32 = 3;

/// The revocation lists of a tier on this node, by shard. Shards are here that somebody asked for
/// and the store had.
#[derive(Default)]
pub(crate) struct ListSlot(Mutex<HashMap<Part, Arc<ShardSlot>>>);

/// The certificates that a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    /// Those of CAs.
    Authorities,
    /// The leaves of a shard, or all certificates while there is one shard.
    Shard(u64),
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities => formatter.write_str("of CAs"),
            Self::Shard(shard) => shard.fmt(formatter),
        }
    }
}

#[derive(Default)]
struct ShardSlot(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    last: Option<PublishedList>,
    build: Option<watch::Receiver<Build>>,
}

#[derive(Debug, Clone)]
struct PublishedList {
    der: Bytes,
    built_at: OffsetDateTime,
    /// How its shard stood before the entries were read.
    standing: Standing,
}

/// What a list has to be up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Standing {
    /// Revocations that its shard has seen.
    revocations: u64,
    /// Whether there are other shards, so that it has to say for which leaves it counts.
    is_partial: bool,
}

#[derive(Debug, Clone)]
enum Build {
    Running,
    Done,
    Failed(String),
}

impl ListSlot {
    fn known(&self, part: Part) -> Option<Arc<ShardSlot>> {
        self.shards().get(&part).cloned()
    }

    fn begin(&self, part: Part) -> Arc<ShardSlot> {
        self.shards().entry(part).or_default().clone()
    }

    fn shards(&self) -> MutexGuard<'_, HashMap<Part, Arc<ShardSlot>>> {
        // Each change is one call on the map, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShardSlot {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Each change is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list that was built last, if it is not older than that.
    fn younger_than(&self, age: Duration, now: OffsetDateTime) -> Option<PublishedList> {
        let last = self.lists().last.clone();
        last.filter(|list| is_younger(list.built_at, age, now))
    }
}

impl Authorities {
    /// The current revocation list of a shard of the CA certificate with this subject key
    /// identifier, DER.
    ///
    /// It holds everything that was revoked before the call, unless building it takes longer than
    /// two seconds or fails: then the list before is returned while it may be relied upon.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a key identifier that is not ours; otherwise as
    /// [`Self::revocation_list`].
    pub async fn revocation_list_by_key_identifier(
        &self,
        key_identifier: &str,
        shard: u64,
    ) -> Result<Bytes, Error> {
        let (authority, tier) = self.tier_by_key_identifier(key_identifier).await?;
        self.list(&authority, &tier, Part::Shard(shard)).await
    }

    /// The list for certificates of CAs that the CA certificate with this subject key identifier
    /// has signed besides leaves, DER: there are none, so it is empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one that signs no leaves: its only list counts for all it signed.
    pub async fn list_of_authorities_by_key_identifier(
        &self,
        key_identifier: &str,
    ) -> Result<Bytes, Error> {
        let (authority, tier) = self.tier_by_key_identifier(key_identifier).await?;
        self.list(&authority, &tier, Part::Authorities).await
    }

    /// The same of what signs the leaves of `authority`, of the first tier if it had several.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Signing`].
    pub async fn list_of_authorities(&self, authority: &Authority) -> Result<Bytes, Error> {
        let tier = authority.addressed();
        self.list(authority, tier, Part::Authorities).await
    }

    /// The current revocation list of a shard of the leaves of `authority`, of those of its first
    /// tier if it had several; DER, as current as
    /// [`Self::revocation_list_by_key_identifier`] says.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a shard that was not begun, [`Error::Store`] or [`Error::Signing`].
    pub async fn revocation_list(&self, authority: &Authority, shard: u64) -> Result<Bytes, Error> {
        let tier = authority.addressed();
        self.list(authority, tier, Part::Shard(shard)).await
    }

    async fn list(
        &self,
        authority: &Authority,
        tier: &Arc<Tier>,
        part: Part,
    ) -> Result<Bytes, Error> {
        let not_begun = || Error::not_found(Noun::Authority, &authority.name);
        // Without a key there is the list that was signed for that time, if any.
        if let TierKey::Absent { last_list } = &tier.key {
            let last_list = last_list.clone().filter(|_| part == Part::Shard(0));
            return last_list.map(Bytes::from_owner).ok_or_else(not_begun);
        }
        // So has one that cannot sign; that was logged when it was opened.
        if matches!(tier.key, TierKey::Unfit(..)) {
            return Err(not_begun());
        }
        let builder = Builder {
            store: self.store.clone(),
            surroundings: self.surroundings.clone(),
            authority_id: authority.id,
            authority_name: authority.name.clone(),
            address: self.leaf_urls(authority, tier).crl.unwrap_or_default(),
            slot: tier.list.known(part).unwrap_or_default(),
            tier: tier.clone(),
            part,
        };
        if tier.list.known(part).is_some() {
            return builder.list().await;
        }
        builder.standing().await?.ok_or_else(not_begun)?;
        let slot = tier.list.begin(part);
        Builder { slot, ..builder }.list().await
    }
}

/// What it takes to build the list of a shard for a tier. What the root of two tiers signed is not
/// revoked here, so it has one shard, whose list is empty and only ages.
#[derive(Clone)]
struct Builder {
    store: Store,
    surroundings: Surroundings,
    authority_id: AuthorityId,
    authority_name: String,
    /// Where leaves of the first shard say that their list is.
    address: String,
    tier: Arc<Tier>,
    part: Part,
    slot: Arc<ShardSlot>,
}

impl Builder {
    async fn list(&self) -> Result<Bytes, Error> {
        let now = self.surroundings.now();
        let Some(before) = self.slot.younger_than(LIFETIME, now) else {
            return self.newest().await;
        };
        match tokio::time::timeout(PATIENCE, self.newest()).await {
            Ok(Ok(newest)) => Ok(newest),
            Ok(Err(error)) => {
                tracing::warn!(
                    authority = self.authority_name,
                    list = %self.part,
                    error = &error as &dyn std::error::Error,
                    "published the revocation list before the newest"
                );
                Ok(before.der)
            }
            Err(_) => Ok(before.der),
        }
    }

    /// A list with all that has been revoked up to now.
    async fn newest(&self) -> Result<Bytes, Error> {
        let wanted = self.standing().await?.unwrap_or_default();
        loop {
            let now = self.surroundings.now();
            if let Some(list) = self.slot.younger_than(RENEWAL, now)
                && list.standing.revocations >= wanted.revocations
                && list.standing.is_partial >= wanted.is_partial
            {
                return Ok(list.der);
            }
            // One that is running may have begun before the last revocation: then it takes another.
            let mut build = self.join_or_begin();
            let ended = build.wait_for(|build| !matches!(build, Build::Running));
            match ended.await.as_deref() {
                Ok(Build::Running | Build::Done) => {}
                Ok(Build::Failed(reason)) => return Err(not_built(reason)),
                Err(_) => return Err(not_built("the task ended early")),
            }
        }
    }

    fn join_or_begin(&self) -> watch::Receiver<Build> {
        let mut lists = self.slot.lists();
        if let Some(build) = &lists.build
            && matches!(*build.borrow(), Build::Running)
            && build.has_changed().is_ok()
        {
            return build.clone();
        }
        let (progress, build) = watch::channel(Build::Running);
        lists.build = Some(build.clone());
        let builder = self.clone();
        tokio::spawn(async move {
            let outcome = match builder.build().await {
                Ok(list) => {
                    builder.slot.lists().last = Some(list);
                    Build::Done
                }
                Err(error) => {
                    tracing::error!(
                        authority = builder.authority_name,
                        list = %builder.part,
                        error = &error as &dyn std::error::Error,
                        "could not build a revocation list"
                    );
                    Build::Failed(error.to_string())
                }
            };
            progress.send_replace(outcome);
        });
        build
    }

    async fn build(&self) -> Result<PublishedList, Error> {
        let mut attempt = 1;
        let (now, standing, number, revoked) = loop {
            let now = self.surroundings.now();
            let standing = self.standing().await?.unwrap_or_default();
            if let Some((number, revoked)) = self.contents(now, attempt).await? {
                break (now, standing, number, revoked);
            }
            attempt += 1;
        };
        let tier = self.tier.clone();
        let address = match self.part {
            Part::Shard(shard) if standing.is_partial => Some(url_of_shard(&self.address, shard)),
            _ => None,
        };
        let part = self.part;
        let signing = tokio::task::spawn_blocking(move || {
            let entries: Vec<_> = revoked.iter().map(entry).collect::<Result<_, _>>()?;
            let (this_update, next_update) = (now - BACKDATING, now + LIFETIME);
            let scope = match (part, address.as_deref()) {
                (Part::Authorities, _) => CrlScope::Authorities,
                (Part::Shard(_), Some(address)) => CrlScope::Point(address),
                (Part::Shard(_), None) => CrlScope::All,
            };
            pki::crl::build(
                tier.signer()?,
                number,
                this_update,
                next_update,
                entries,
                scope,
            )
            .map_err(|error| match error {
                CrlError::Key(error) => ceremony::unsigned(error),
                error => Error::signing(error),
            })
        });
        let der = signing.await.map_err(Error::signing)??;
        self.record(number).await?;
        Ok(PublishedList {
            der: der.into(),
            built_at: now,
            standing,
        })
    }

    /// Writes down that a list was signed, before anybody gets it.
    async fn record(&self, number: u64) -> Result<(), Error> {
        let list = (self.part, number);
        let event = list_signed(
            &self.surroundings,
            HOUSE_ACCOUNT,
            self.authority_id,
            &self.tier,
            list,
        );
        Ok(self.store.add_event(event).await?)
    }

    /// The number of a list and what is on it, or `None` if another node took the number. That one
    /// may have read more; under a higher number, this list would hide it.
    async fn contents(
        &self,
        now: OffsetDateTime,
        attempt: u32,
    ) -> Result<Option<(u64, Vec<RevokedVersion>)>, Error> {
        let ends_from = now - KEPT_AFTER_END;
        let series = match self.part {
            // In either of the two, numbers that go to the other are left out.
            Part::Authorities | Part::Shard(0) => CrlSeries::Signer(self.tier.id),
            Part::Shard(shard) => CrlSeries::Shard(self.authority_id, shard),
        };
        if let Part::Shard(shard) = self.part
            && self.tier.signs_leaves
            && attempt > ATTEMPTS
        {
            let shard = (self.authority_id, shard);
            let issuer = self.issuer();
            let next = self.store.next_crl(series, shard, &issuer, ends_from);
            return Ok(Some(next.await?));
        }
        let last = self.store.crl_number(series).await?;
        let revoked = self.revoked(ends_from).await?;
        let number = self.store.next_crl_number(series, last).await?;
        Ok(number.map(|number| (number, revoked)))
    }

    /// How the shard stands; `None` if it was not begun.
    async fn standing(&self) -> Result<Option<Standing>, Error> {
        let shard = match self.part {
            Part::Authorities => return Ok(self.tier.signs_leaves.then(Standing::default)),
            Part::Shard(shard) => shard,
        };
        if !self.tier.signs_leaves {
            return Ok((shard == 0).then(Standing::default));
        }
        let found = self.store.shard(self.authority_id, shard).await?;
        Ok(found.map(|found| Standing {
            revocations: found.revocations,
            is_partial: found.last_shard > 0,
        }))
    }

    /// The name in which the tier signs. What its successors have signed is on their lists.
    fn issuer(&self) -> String {
        self.tier.certificate().subject().to_string()
    }

    async fn revoked(&self, ends_from: OffsetDateTime) -> Result<Vec<RevokedVersion>, Error> {
        let mut revoked: Vec<RevokedVersion> = Vec::new();
        let Part::Shard(shard) = self.part else {
            return Ok(revoked);
        };
        if !self.tier.signs_leaves {
            return Ok(revoked);
        }
        let shard = (self.authority_id, shard);
        let issuer = self.issuer();
        loop {
            let after = revoked.last().map(|version| version.id);
            let page = self
                .store
                .revoked_page(shard, &issuer, after, PAGE_LIMIT, ends_from)
                .await?;
            let is_last = page.len() < PAGE_LIMIT;
            revoked.extend(page);
            if is_last {
                return Ok(revoked);
            }
        }
    }
}

/// What the audit log says of a list of a tier with this number.
pub(crate) fn list_signed(
    surroundings: &Surroundings,
    actor: &str,
    authority: AuthorityId,
    tier: &Tier,
    (list, number): (impl fmt::Display, u64),
) -> NewEvent {
    let subject = tier.certificate().subject();
    let detail = format!("{subject}, list {list}, number {number}");
    let kind = events::AUTHORITY_LIST_SIGNED;
    events::of(
        surroundings,
        actor,
        None,
        kind,
        Some(authority.as_uuid()),
        &detail,
    )
}

fn entry(version: &RevokedVersion) -> Result<RevokedEntry, Error> {
    let serial = Serial::from_be_bytes(&version.serial)
        .ok_or_else(|| Error::signing("a recorded serial number is not one"))?;
    Ok(RevokedEntry {
        serial,
        at: version.revocation.at,
        reason: version.revocation.reason,
    })
}

fn not_built(reason: &str) -> Error {
    Error::signing(format!("the revocation list was not built: {reason}"))
}
