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
    AccountId, Among, CertificateId, Deliverable, PAGE_LIMIT, Registration, ServiceId, ServiceRef,
    Store, TARGET_SERVICES_LIMIT, Target, TargetDirectoryId, TargetId,
};

use crate::{Error, Noun, Principal, Routing, Surroundings, events};

pub use material::Material;
pub(crate) use news::{News, NewsReader};
pub use plan::{Plan, PlannedPlacement, PlannedRemoval};
pub use standing::OnTargets;
pub use view::{PlacementStanding, TargetCertificate, TargetView};

/// The most certificates of a target.
const MOST_CERTIFICATES: usize = 10_000;
/// Up to where certificates are counted that a target can have no more of.
const MOST_COUNTED: usize = 100_000;
/// Longest name of a target, in characters.
const MAX_NAME: usize = 64;
/// How old the moment may be at which a target was last heard of, before it is written down again.
const SEEN: Duration = Duration::from_secs(60);

/// A target as it is known to who delivers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetAt<'a> {
    /// Its name.
    pub name: &'a str,
    /// The directory that is delivered into. A target is that of one alone: two would take turns in
    /// taking away what the other one has put there.
    pub directory: TargetDirectoryId,
}

/// What a target is to have.
struct Wanted {
    /// In the order of their identifiers.
    certificates: Vec<Deliverable>,
    /// How many more there are, counted up to [`MOST_COUNTED`].
    left_out: usize,
}

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

    /// Makes sure that the caller's account has a target of this name for this directory, which wants
    /// the certificates of these services, or all certificates of the account if `None`. Nothing is
    /// changed when the target is that of another directory. Needs the delivery right.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; [`Error::Invalid`] for the name or too many services;
    /// [`Error::NotFound`] for a service; [`Error::Unfit`] beyond the most targets of an account, for
    /// the target of another directory and for the directory of another target.
    pub async fn register(
        &self,
        principal: &Principal,
        at: TargetAt<'_>,
        services: Option<&[ServiceRef]>,
    ) -> Result<Target, Error> {
        principal.require_delivery()?;
        check_name(at.name)?;
        let services = match services {
            Some(references) => Some(self.services(principal, references).await?),
            None => None,
        };
        let target = Target {
            id: TargetId::from_random(self.surroundings.random()),
            account_id: principal.account_id(),
            name: at.name.to_owned(),
            services,
            directory_id: Some(at.directory),
            is_overfull: false,
            seen_at: None,
            created_at: self.surroundings.now(),
        };
        match self.claim(principal, &target).await {
            // Another process was faster.
            Err(store::Error::Duplicate | store::Error::DuplicateName) => {
                registered(at, self.claim(principal, &target).await)
            }
            done => registered(at, done),
        }
    }

    async fn claim(
        &self,
        principal: &Principal,
        target: &Target,
    ) -> Result<Registration, store::Error> {
        let [added, changed] = [events::TARGET_ADDED, events::TARGET_CHANGED]
            .map(|kind| self.event(principal, kind, target));
        self.store
            .register_target(target.clone(), added, changed)
            .await
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
    /// [`Error::NotFound`].
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

    /// What a target is to have, by certificate. Where that is too much, what is there goes on being
    /// renewed: it comes first, and then the oldest.
    async fn wanted(&self, target: &Target) -> Result<Wanted, Error> {
        let (account, services) = (target.account_id, target.services.as_deref());
        let read = |among, limit| self.store.deliverable_to(account, services, among, limit);
        let mut certificates = read(Among::All, MOST_CERTIFICATES + 1).await?;
        let mut left_out = 0;
        if certificates.len() > MOST_CERTIFICATES {
            let placed = read(Among::PlacedOn(target.id), MOST_CERTIFICATES).await?;
            certificates = filled_up(placed, certificates, MOST_CERTIFICATES);
            let all = self
                .store
                .count_deliverable(account, services, MOST_COUNTED)
                .await?;
            left_out = all.saturating_sub(certificates.len());
        }
        certificates.sort_unstable_by_key(|deliverable| deliverable.certificate_id);
        Ok(Wanted {
            certificates,
            left_out,
        })
    }

    /// The target that somebody delivers to, if it is that of their directory.
    async fn own(&self, principal: &Principal, at: TargetAt<'_>) -> Result<Target, Error> {
        let target = self.find(principal, at.name).await?;
        match target.directory_id {
            Some(directory) if directory == at.directory => Ok(target),
            Some(_) => Err(of_another_directory(at.name)),
            // Whoever registers it, has it.
            None => Err(Error::not_found(Noun::Target, at.name)),
        }
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

/// What comes of a registration for who asked for it.
fn registered(at: TargetAt<'_>, done: Result<Registration, store::Error>) -> Result<Target, Error> {
    match done {
        Ok(Registration::Done(target)) => Ok(target),
        Ok(Registration::OfAnotherDirectory) => Err(of_another_directory(at.name)),
        Ok(Registration::DirectoryOf(other)) => Err(Error::Unfit {
            reason: format!(
                "this directory is that of target '{other}'; give each target a directory of its \
                 own, or run `chancery target rm {other}` first if '{}' is to take it over",
                at.name
            ),
        }),
        Err(store::Error::Full) => Err(Error::Unfit {
            reason: format!(
                "an account has at most {} targets; remove one first",
                store::TARGETS_LIMIT
            ),
        }),
        Err(error) => Err(error.into()),
    }
}

fn of_another_directory(name: &str) -> Error {
    Error::Unfit {
        reason: format!(
            "target '{name}' is that of another directory; each directory needs a name of its own, \
             or, if the other one is gone, run: chancery target rm {name}"
        ),
    }
}

/// What is placed, and of the rest the first, at most `most` of all.
fn filled_up(
    mut placed: Vec<Deliverable>,
    others: Vec<Deliverable>,
    most: usize,
) -> Vec<Deliverable> {
    let there: HashSet<CertificateId> = placed.iter().map(|one| one.certificate_id).collect();
    let room = most.saturating_sub(placed.len());
    let others = others
        .into_iter()
        .filter(|one| !there.contains(&one.certificate_id));
    placed.extend(others.take(room));
    placed
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
    use store::{CertificateId, Deliverable, VersionId};
    use time::OffsetDateTime;

    use super::{check_name, filled_up};

    #[test]
    fn what_is_there_stays_where_not_all_can_be() {
        let version = VersionId::from_time_and_random(OffsetDateTime::UNIX_EPOCH, [1; 10]);
        let ids = [1, 2, 3, 4, 5].map(|number| CertificateId::from_random([number; 16]));
        let these = |numbers: &[usize]| {
            let these = numbers.iter().map(|number| Deliverable {
                certificate_id: ids[*number],
                name: String::new(),
                version_id: version,
            });
            these.collect::<Vec<Deliverable>>()
        };
        for (placed, expected) in [
            (vec![], vec![0, 1, 2]),
            (vec![4], vec![4, 0, 1]),
            (vec![1, 4], vec![1, 4, 0]),
            (vec![4, 3, 1], vec![4, 3, 1]),
        ] {
            let filled = filled_up(these(&placed), these(&[0, 1, 2, 3]), 3);
            assert_eq!(filled, these(&expected), "{placed:?}");
        }
    }

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
