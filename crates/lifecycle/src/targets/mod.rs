//! Targets: machines' directories that certificates are delivered to, for TLS terminators other than
//! the house's own edge.
//!
//! A target asks what it is to have ([`Targets::plan`]), is handed chains and keys one at a time
//! ([`Targets::material`]), and says what came of it ([`Targets::acknowledge`]). Keys leave the house
//! here for tokens that have the delivery right, and for no others, whoever made them.

mod material;
mod news;
mod plan;
mod standing;
mod view;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use store::{
    AccountId, Deliverable, PAGE_LIMIT, ServiceId, ServiceRef, Store, TARGET_SERVICES_LIMIT,
    Target, TargetId,
};

use crate::{Error, Noun, Principal, Routing, Surroundings, events};

pub use material::Material;
pub(crate) use news::{News, NewsReader};
pub use plan::{Plan, PlannedPlacement, PlannedRemoval};
pub use standing::OnTargets;
pub use view::{PlacementStanding, TargetCertificate, TargetView};

/// The most certificates of a target.
const MOST_CERTIFICATES: usize = 10_000;
/// Longest name of a target, in characters.
const MAX_NAME: usize = 64;
/// How old the moment may be at which a target was last heard of, before it is written down again.
const SEEN: Duration = Duration::from_secs(60);

/// Operations on targets.
#[derive(Debug, Clone)]
pub struct Targets {
    store: Store,
    surroundings: Surroundings,
    routing: Routing,
    pub(crate) news: Arc<News>,
    told: Arc<material::Told>,
}

impl Targets {
    pub(crate) fn new(store: Store, surroundings: Surroundings, routing: Routing) -> Self {
        Self {
            store,
            surroundings,
            routing,
            news: Arc::default(),
            told: Arc::default(),
        }
    }

    /// Makes sure that the caller's account has a target of this name, which wants the certificates
    /// of these services, or all certificates of the account if `None`. Needs the delivery right.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; [`Error::Invalid`] for the name or too many services;
    /// [`Error::NotFound`] for a service; [`Error::Unfit`] beyond the most targets of an account.
    pub async fn register(
        &self,
        principal: &Principal,
        name: &str,
        services: Option<&[ServiceRef]>,
    ) -> Result<Target, Error> {
        principal.require_delivery()?;
        check_name(name)?;
        let services = match services {
            Some(references) => Some(self.services(principal, references).await?),
            None => None,
        };
        let account = principal.account_id();
        if self.store.target_named(account, name).await?.is_none() {
            let target = Target {
                id: TargetId::from_random(self.surroundings.random()),
                account_id: account,
                name: name.to_owned(),
                services: services.clone(),
                seen_at: None,
                created_at: self.surroundings.now(),
            };
            let event = self.event(principal, events::TARGET_ADDED, &target);
            match self.store.add_target(target.clone(), event).await {
                Ok(()) => return Ok(target),
                // Another process was faster.
                Err(store::Error::DuplicateName) => {}
                Err(store::Error::Full) => {
                    return Err(Error::Unfit {
                        reason: format!(
                            "an account has at most {} targets; remove one first",
                            store::TARGETS_LIMIT
                        ),
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut target = self.find(principal, name).await?;
        if target.services != services {
            let event = self.event(principal, events::TARGET_CHANGED, &target);
            let (scope, id) = (principal.scope(), target.id);
            let changed = self
                .store
                .change_target(scope, id, services.as_deref(), event);
            if !changed.await? {
                return Err(Error::not_found(Noun::Target, name));
            }
            target.services = services;
        }
        Ok(target)
    }

    /// All targets of the caller's account, by name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<Target>, Error> {
        let targets = self
            .store
            .targets(principal.account_id(), None, PAGE_LIMIT)
            .await?;
        Ok(targets)
    }

    /// A target of the caller's account with what is there and what should be.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unfit`] when it wants too many certificates.
    pub async fn show(&self, principal: &Principal, name: &str) -> Result<TargetView, Error> {
        let target = self.find(principal, name).await?;
        let wanted = self.wanted(&target).await?;
        let placements = self.store.placements_of_target(target.id).await?;
        Ok(TargetView::new(target, wanted, placements))
    }

    /// Forgets a target and what is there. Its files stay as they are; a deliverer that still runs
    /// registers it again.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`].
    pub async fn remove(&self, principal: &Principal, name: &str) -> Result<Target, Error> {
        principal.require_write()?;
        let target = self.find(principal, name).await?;
        let event = self.event(principal, events::TARGET_REMOVED, &target);
        let scope = principal.scope();
        if !self.store.remove_target(scope, target.id, event).await? {
            return Err(Error::not_found(Noun::Target, name));
        }
        Ok(target)
    }

    /// Has those who wait for a plan on this node look again whether it has changed: for what leaves
    /// no event of its own.
    pub(crate) fn look_again(&self, account: AccountId) {
        self.news.tell(HashSet::from([account]));
    }

    /// Has all who wait for a plan be answered at once, so that the node can end.
    pub(crate) fn retire(&self) {
        self.news.close();
    }

    /// What a target is to have, by certificate.
    async fn wanted(&self, target: &Target) -> Result<Vec<Deliverable>, Error> {
        let (account, limit) = (target.account_id, MOST_CERTIFICATES + 1);
        let mut wanted = match &target.services {
            Some(services) => {
                self.store
                    .deliverable_of_services(account, services, limit)
                    .await?
            }
            None => self.store.deliverable_of_account(account, limit).await?,
        };
        if wanted.len() > MOST_CERTIFICATES {
            return Err(Error::Unfit {
                reason: format!(
                    "there are more than {MOST_CERTIFICATES} certificates for target '{}'; name \
                     the services whose certificates it wants",
                    target.name
                ),
            });
        }
        wanted.sort_unstable_by_key(|deliverable| deliverable.certificate_id);
        Ok(wanted)
    }

    async fn find(&self, principal: &Principal, name: &str) -> Result<Target, Error> {
        let found = self.store.target_named(principal.account_id(), name).await;
        found?.ok_or_else(|| Error::not_found(Noun::Target, name))
    }

    async fn services(
        &self,
        principal: &Principal,
        references: &[ServiceRef],
    ) -> Result<Vec<ServiceId>, Error> {
        if references.len() > TARGET_SERVICES_LIMIT {
            return Err(Error::invalid(
                "services",
                format!("a target names at most {TARGET_SERVICES_LIMIT} services"),
            ));
        }
        let found = self
            .store
            .services_by_refs(principal.scope(), references)
            .await?;
        let found = found.into_iter().zip(references);
        let services = found.map(|(service, reference)| match (service, reference) {
            (Some(service), _) => Ok(service.id),
            (None, ServiceRef::Id(id)) => Err(Error::not_found(Noun::Service, id)),
            (None, ServiceRef::Name(name)) => Err(Error::not_found(Noun::Service, name)),
        });
        let mut services = services.collect::<Result<Vec<_>, _>>()?;
        services.sort_unstable();
        services.dedup();
        Ok(services)
    }

    fn event(&self, principal: &Principal, kind: &'static str, target: &Target) -> store::NewEvent {
        events::of(
            &self.surroundings,
            principal.account_name(),
            Some(target.account_id),
            kind,
            Some(target.id.as_uuid()),
            &target.name,
        )
    }
}

/// Names of targets stand in paths and on command lines.
fn check_name(name: &str) -> Result<(), Error> {
    if name.chars().count() > MAX_NAME {
        return Err(Error::TooLong {
            field: "name",
            limit: MAX_NAME,
        });
    }
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if begins_well && name.bytes().all(is_fit) {
        return Ok(());
    }
    Err(Error::invalid(
        "name",
        "the name of a target has letters, digits, '.', '_' and '-', and begins with a letter or digit",
    ))
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_of_targets_can_stand_in_paths() {
        for good in ["web1", "a", "eu-west.lb_2", &"x".repeat(64)] {
            check_name(good).unwrap();
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "a b",
            "a/b",
            "ä",
            "a\n",
            &"x".repeat(65),
        ] {
            check_name(bad).unwrap_err();
        }
    }
}
