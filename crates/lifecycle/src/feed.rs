//! Following the change feed: telling the edge what changed, and selecting the certificates of
//! domains again when the inventory did.
//!
//! Four readers go through the feed, each at its own pace: selecting again may take long, and
//! neither the edge nor OCSP, which the third reads of revocations for, nor those who deliver to
//! targets must wait for it. Each node reads for its own edge from where the feed was when it
//! started. Up to which event domains were selected again is kept in the store, and moved only
//! afterwards: what a crash interrupts is done again. Selecting twice, or on two nodes at a time,
//! changes nothing more.

use std::collections::{HashMap, HashSet};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use store::{
    AccountId, Certificate, CertificateId, CertificateRef, Domain, Event, EventId, Scope,
    ServiceId, StateKind, Store, Stretch, Wanted,
};
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;

use crate::accounts::HOUSE_ACCOUNT;
use crate::publication::{Hearing, RevocationReader};
use crate::routing::Change;
use crate::services::Services;
use crate::targets::{News, NewsReader};
use crate::{Error, events};

/// How often the feed is read when nothing is new.
const POLL: Duration = Duration::from_millis(200);
/// How long changes gather that this process makes itself, before the feed is read.
const GATHERING: Duration = Duration::from_millis(10);
/// Pause after a fault of the store.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the place is kept when nothing had to be done for the events before it.
const KEEPING: Duration = Duration::from_secs(30);
/// Name of the kept place.
const CURSOR: &str = "reconciler";
/// Domains that are selected again at a time.
const PORTION: usize = 500;
/// Events that change nothing about what any domain is served with. Very many are written while
/// certificates are issued, and none of them leaves the database.
const UNSERVED: [&str; 11] = [
    events::AUTHORITY_LIST_SIGNED,
    events::CERTIFICATE_EXPIRING,
    events::CERTIFICATE_KEY_TAKEN,
    events::CERTIFICATE_SELF_SIGNED,
    events::CERTIFICATE_SIGNED,
    events::PLACEMENT_MADE,
    events::PLACEMENT_REFUSED,
    events::PLACEMENT_REMOVED,
    events::PRIVATE_KEY_CREATED,
    events::PRIVATE_KEY_DELETED,
    events::PRIVATE_KEY_TAKEN,
];

/// Reads the feed for ever: calls `notify` with what the edge has to know, from after `beginning`
/// on, which is now if nobody said before; selects domains again; has `hearing` know of
/// revocations, and `news` of what may concern targets. Faults are logged and tried
/// again.
pub(crate) async fn follow<N: Fn(Change)>(
    store: Store,
    services: Services,
    hearing: Arc<Hearing>,
    news: Arc<News>,
    beginning: Arc<OnceCell<Option<EventId>>>,
    notify: N,
) {
    let teller = Teller {
        store: store.clone(),
        published: services.published.clone(),
        notify,
        beginning: beginning.clone(),
        told: None,
    };
    let revocations = RevocationReader::new(store.clone(), hearing);
    let targets = NewsReader::new(store.clone(), news, beginning);
    let reconciler = Reconciler {
        store,
        services,
        followed: None,
        kept: None,
        kept_at: Instant::now(),
    };
    tokio::join!(
        read(teller),
        read(reconciler),
        read(revocations),
        read(targets)
    );
}

/// Somebody who reads the feed.
pub(crate) trait Reader {
    /// Finds out where to begin.
    async fn orient(&mut self) -> Result<(), Error>;

    /// Reads one stretch; the answer is whether there is more at once.
    async fn step(&mut self) -> Result<bool, Error>;

    /// Until there may be something new.
    async fn wait(&self) {
        tokio::time::sleep(POLL).await;
    }
}

/// Has somebody read for ever. Faults are logged and tried again.
pub(crate) async fn read(mut reader: impl Reader) {
    let mut is_oriented = false;
    loop {
        let step = async {
            if !is_oriented {
                reader.orient().await?;
                is_oriented = true;
            }
            reader.step().await
        };
        match step.await {
            Ok(true) => {}
            Ok(false) => reader.wait().await,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "could not follow the change feed"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Tells the edge of this node.
struct Teller<N> {
    store: Store,
    /// Rings when this process has changed what is served.
    published: Arc<Notify>,
    notify: N,
    beginning: Arc<OnceCell<Option<EventId>>>,
    /// Up to where the edge was told.
    told: Option<EventId>,
}

impl<N: Fn(Change)> Reader for Teller<N> {
    async fn orient(&mut self) -> Result<(), Error> {
        let now = || self.store.last_event();
        self.told = *self.beginning.get_or_try_init(now).await?;
        Ok(())
    }

    async fn step(&mut self) -> Result<bool, Error> {
        let stretch = stretch(&self.store, self.told).await?;
        let concerned = concerned(&self.store, &stretch.events).await?;
        concerned
            .into_iter()
            .filter_map(change)
            .for_each(&self.notify);
        self.told = stretch.place;
        Ok(!stretch.is_last)
    }

    /// Not for long after this process has changed what is served, since who asked for it will try
    /// it at once; other nodes' changes are found by looking.
    async fn wait(&self) {
        let rung = self.published.notified();
        if tokio::time::timeout(POLL, rung).await.is_ok() {
            tokio::time::sleep(GATHERING).await;
        }
    }
}

/// Selects domains again.
struct Reconciler {
    store: Store,
    services: Services,
    /// Up to where domains were selected again.
    followed: Option<EventId>,
    /// Up to where that is kept in the store.
    kept: Option<EventId>,
    kept_at: Instant,
}

impl Reader for Reconciler {
    async fn orient(&mut self) -> Result<(), Error> {
        self.kept = self.store.cursor(CURSOR).await?;
        self.followed = self.kept;
        Ok(())
    }

    async fn step(&mut self) -> Result<bool, Error> {
        let stretch = stretch(&self.store, self.followed).await?;
        let mut touched = concerned(&self.store, &stretch.events).await?;
        touched.retain(|event| touches_selection(event));
        if !touched.is_empty() && !self.is_done_elsewhere(&touched).await? {
            match reconcile(&self.store, &self.services, &touched).await {
                Ok(0) => {}
                Ok(switched) => {
                    tracing::info!(switched, "domains are served with another certificate");
                }
                Err(error @ Error::Store(_)) => return Err(error),
                // It would go wrong again. The domains keep what they have.
                Err(error) => tracing::error!(
                    error = &error as &dyn StdError,
                    "could not select the certificates of domains again"
                ),
            }
        }
        self.followed = stretch.place;
        if !touched.is_empty() || self.kept_at.elapsed() >= KEEPING {
            self.keep().await?;
        }
        Ok(!stretch.is_last)
    }
}

impl Reconciler {
    /// Whether another node was here first.
    async fn is_done_elsewhere(&self, events: &[&Event]) -> Result<bool, Error> {
        let place = self.store.cursor(CURSOR).await?;
        Ok(events.iter().all(|event| Some(event.id) <= place))
    }

    async fn keep(&mut self) -> Result<(), Error> {
        if let Some(place) = self.followed
            && self.kept < self.followed
        {
            self.store.move_cursor(CURSOR, place).await?;
        }
        self.kept = self.followed;
        self.kept_at = Instant::now();
        Ok(())
    }
}

/// The next stretch of the feed, without events that no domain is concerned by.
pub(crate) async fn stretch(store: &Store, after: Option<EventId>) -> Result<Stretch, Error> {
    Ok(store.feed(Wanted::AllBut(&UNSERVED), after).await?)
}

/// Those of `events` that can matter to somebody's domains. Certificates come and go by the
/// thousand in accounts that have none, and those events are dropped here.
pub(crate) async fn concerned<'a>(
    store: &Store,
    events: &'a [Event],
) -> Result<Vec<&'a Event>, Error> {
    let accounts: HashSet<AccountId> = events
        .iter()
        .filter(|event| event.kind.starts_with("certificate."))
        .filter_map(|event| event.account_id)
        .collect();
    let mut serving: HashSet<AccountId> = HashSet::new();
    if !accounts.is_empty() {
        let accounts: Vec<AccountId> = accounts.into_iter().collect();
        serving.extend(store.accounts_with_domains(&accounts).await?);
        // Domains of all accounts are served with the house's own certificate.
        let house = store.account_by_name(HOUSE_ACCOUNT).await?;
        serving.extend(house.map(|account| account.id));
    }
    let matters = |event: &&Event| {
        !event.kind.starts_with("certificate.")
            || event
                .account_id
                .is_some_and(|account| serving.contains(&account))
    };
    Ok(events.iter().filter(matters).collect())
}

/// What an event means to the edge, if anything.
pub(crate) fn change(event: &Event) -> Option<Change> {
    let object = event.object;
    let service = || object.map(ServiceId::from_uuid).map(Change::Service);
    match event.kind.as_str() {
        events::DOMAIN_ADDED => Some(Change::DomainAdded(event.detail.clone())),
        events::DOMAIN_REMOVED => Some(Change::DomainRemoved(event.detail.clone())),
        events::DOMAIN_SWITCHED => Some(Change::DomainSwitched(event.detail.clone())),
        events::SERVICE_CHANGED | events::SERVICE_CREATED | events::SERVICE_DELETED => service(),
        events::INSTANCE_CREATED | events::INSTANCE_DELETED => {
            let service = event.detail.parse().ok()?;
            Some(Change::Service(service))
        }
        events::CERTIFICATE_DELETED
        | events::CERTIFICATE_ISSUED
        | events::CERTIFICATE_RENEWED
        | events::CERTIFICATE_REPLACED
        | events::CERTIFICATE_REVOKED => object
            .map(CertificateId::from_uuid)
            .map(Change::Certificate),
        _ => None,
    }
}

/// Whether a domain might be served with another certificate after this event.
fn touches_selection(event: &Event) -> bool {
    matches!(
        event.kind.as_str(),
        events::CERTIFICATE_FAILED
            | events::CERTIFICATE_ISSUED
            | events::CERTIFICATE_RENEWED
            | events::CERTIFICATE_REPLACED
            | events::CERTIFICATE_REVOKED
            | events::CERTIFICATE_UPLOADED
            // While the choice for it was made, a better certificate may have come.
            | events::DOMAIN_ADDED
            | events::DOMAIN_SWITCHED
    )
}

/// Selects the certificates of all domains again that may be served with those of `events`.
/// Returns how many are served with another one now.
async fn reconcile(store: &Store, services: &Services, events: &[&Event]) -> Result<usize, Error> {
    let mut references = Vec::new();
    let mut replaced = HashSet::new();
    let mut chosen = HashSet::new();
    for event in events {
        if matches!(
            event.kind.as_str(),
            events::DOMAIN_ADDED | events::DOMAIN_SWITCHED
        ) {
            chosen.insert(event.detail.as_str());
            continue;
        }
        let Some(id) = event.object.map(CertificateId::from_uuid) else {
            continue;
        };
        references.push(CertificateRef::Id(id));
        if event.kind == events::CERTIFICATE_REPLACED {
            replaced.insert(id);
        }
    }
    let found = store
        .certificates_by_refs(Scope::Everything, &references)
        .await?;
    let mut switched = 0;
    let mut names = Names::default();
    for certificate in found.iter().flatten() {
        match certificate.state.kind() {
            // Its next attempt is planned, and what it has stays in service.
            StateKind::Pending => continue,
            StateKind::Valid => {
                names.add(certificate);
                // The new one may no longer cover all that the one before did.
                if !replaced.contains(&certificate.id) {
                    continue;
                }
            }
            StateKind::Error | StateKind::Revoked => {}
        }
        switched += follow_served(store, services, certificate.id).await?;
    }
    switched += names.follow(store, services).await?;
    let chosen: Vec<&str> = chosen.into_iter().collect();
    for portion in chosen.chunks(PORTION) {
        let domains = store.domains_named(Scope::Everything, portion).await?;
        switched += services.follow(&domains).await?;
    }
    Ok(switched)
}

/// Selects again all domains that are served with one certificate.
async fn follow_served(
    store: &Store,
    services: &Services,
    certificate: CertificateId,
) -> Result<usize, Error> {
    let mut switched = 0;
    let mut after: Option<Domain> = None;
    loop {
        let domains = store
            .domains_of_certificate(certificate, after.as_ref(), PORTION)
            .await?;
        switched += services.follow(&domains).await?;
        let is_last = domains.len() < PORTION;
        after = domains.into_iter().next_back();
        if is_last {
            return Ok(switched);
        }
    }
}

/// The names that certificates cover, apart as they are looked for.
#[derive(Default)]
struct Names {
    /// Names, with the accounts whose certificates have them.
    exact: HashMap<String, HashSet<AccountId>>,
    /// Parents of wildcards, by account.
    parents: HashMap<AccountId, HashSet<String>>,
}

impl Names {
    fn add(&mut self, certificate: &Certificate) {
        let account = certificate.account_id;
        let names = std::iter::once(&certificate.common_name).chain(&certificate.identifiers);
        for name in names {
            self.exact.entry(name.clone()).or_default().insert(account);
            if let Some(parent) = name.strip_prefix("*.") {
                let parents = self.parents.entry(account).or_default();
                parents.insert(parent.to_owned());
            }
        }
    }

    async fn follow(self, store: &Store, services: &Services) -> Result<usize, Error> {
        let mut switched = 0;
        let exact: Vec<&str> = self.exact.keys().map(String::as_str).collect();
        for portion in exact.chunks(PORTION) {
            let mut domains = store.domains_named(Scope::Everything, portion).await?;
            // Nobody is served with the certificate of another account.
            domains.retain(|domain| {
                let owners = self.exact.get(&domain.name);
                owners.is_some_and(|owners| owners.contains(&domain.account_id))
            });
            switched += services.follow(&domains).await?;
        }
        for (account, parents) in self.parents {
            for parent in parents {
                switched += follow_under(store, services, account, &parent).await?;
            }
        }
        Ok(switched)
    }
}

/// Selects again the domains of an account that lie directly under `parent`.
async fn follow_under(
    store: &Store,
    services: &Services,
    account: AccountId,
    parent: &str,
) -> Result<usize, Error> {
    let mut switched = 0;
    let mut after: Option<String> = None;
    loop {
        let domains = store
            .domains_under(account, parent, after.as_deref(), PORTION)
            .await?;
        switched += services.follow(&domains).await?;
        let is_last = domains.len() < PORTION;
        after = domains.into_iter().next_back().map(|domain| domain.name);
        if is_last {
            return Ok(switched);
        }
    }
}
