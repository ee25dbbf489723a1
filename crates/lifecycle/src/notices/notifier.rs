//! The reader of the change feed that makes deliveries of events.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use store::{
    AccountId, Certificate, CertificateId, CertificateRef, DELIVERY_LIMIT, DeliveryId, Event,
    EventId, Installation, NewDelivery, Scope, ServiceId, Wanted, Webhook, WebhookId,
};
use tokio::time::Instant;

use super::Notices;
use crate::feed::Reader;
use crate::tally::DeliveryOutcome;
use crate::webhooks::{Notice, NoticeKind, WebhookFormat};
use crate::{Error, events};

/// Name of the kept place.
const CURSOR: &str = "notifier";
/// What webhooks are told of.
const KINDS: [&str; 7] = [
    events::CERTIFICATE_EXPIRING,
    events::CERTIFICATE_FAILED,
    events::CERTIFICATE_ISSUED,
    events::CERTIFICATE_RENEWED,
    events::CERTIFICATE_REPLACED,
    events::CERTIFICATE_SIGNED,
    events::CERTIFICATE_UPLOADED,
];
/// How often the feed is read when nothing is new.
const POLL: Duration = Duration::from_millis(500);
/// How often the place is kept when nothing had to be told.
const KEEPING: Duration = Duration::from_secs(30);
/// The most deliveries that wait for one webhook. Whoever does not take them is told of no more.
const WAITING: u64 = 10_000;

/// Makes deliveries.
pub(super) struct Notifier {
    notices: Notices,
    /// Up to where deliveries were made, or nothing had to be told.
    followed: Option<EventId>,
    /// Up to where that is kept in the store, unless another node has moved it.
    kept: Option<EventId>,
    kept_at: Instant,
}

impl Notifier {
    pub(super) fn new(notices: Notices) -> Self {
        Self {
            notices,
            followed: None,
            kept: None,
            kept_at: Instant::now(),
        }
    }

    async fn keep(&mut self) -> Result<(), Error> {
        if let Some(place) = self.followed
            && self.kept < self.followed
        {
            self.notices.store.move_cursor(CURSOR, place).await?;
        }
        self.kept = self.followed;
        self.kept_at = Instant::now();
        Ok(())
    }
}

impl Reader for Notifier {
    async fn orient(&mut self) -> Result<(), Error> {
        let store = &self.notices.store;
        self.kept = store.cursor(CURSOR).await?;
        // Nobody is told of what happened before anybody could be.
        if self.kept.is_none()
            && let Some(now) = store.last_event().await?
        {
            store.move_cursor(CURSOR, now).await?;
            self.kept = store.cursor(CURSOR).await?;
        }
        self.followed = self.kept;
        self.kept_at = Instant::now();
        Ok(())
    }

    async fn step(&mut self) -> Result<bool, Error> {
        let store = self.notices.store.clone();
        let wanted = Wanted::ForWebhooks(&KINDS);
        let stretch = store.feed(wanted, self.followed).await?;
        let deliveries = self.notices.deliveries(&stretch.events).await?;
        let Some(place) = stretch.place.filter(|_| !deliveries.is_empty()) else {
            self.followed = stretch.place;
            if self.kept_at.elapsed() >= KEEPING {
                self.keep().await?;
            }
            return Ok(!stretch.is_last);
        };
        match store
            .add_deliveries(CURSOR, self.kept, place, deliveries)
            .await
        {
            Ok(true) => {
                self.followed = Some(place);
                self.kept = self.followed;
                self.kept_at = Instant::now();
                Ok(!stretch.is_last)
            }
            // Another node was here, and goes on from where it is.
            Ok(false) => {
                self.orient().await?;
                Ok(true)
            }
            // A webhook was removed at this very moment.
            Err(store::Error::NotFound) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn wait(&self) {
        tokio::time::sleep(POLL).await;
    }
}

/// What the events of a stretch are told with.
struct Known {
    webhooks: HashMap<AccountId, Vec<Webhook>>,
    certificates: HashMap<CertificateId, Certificate>,
    accounts: HashMap<AccountId, String>,
    /// Services of certificates, and whether something follows their leafs; for formats that tell.
    services: HashMap<CertificateId, ServiceId>,
    with_intermediates: HashSet<CertificateId>,
    /// The first installation of each certificate; for the same formats.
    installations: HashMap<CertificateId, Installation>,
}

impl Notices {
    /// A delivery for each event and each webhook that wants to be told of it.
    async fn deliveries(&self, events: &[Event]) -> Result<Vec<NewDelivery>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.known(events).await?;
        let webhooks: Vec<WebhookId> = known
            .webhooks
            .values()
            .flatten()
            .map(|one| one.id)
            .collect();
        let mut waiting = self.store.waiting_deliveries(&webhooks).await?;
        let now = self.surroundings.now();
        let mut deliveries = Vec::new();
        for event in events {
            for (webhook, body) in known.told(event) {
                let waiting = waiting.entry(webhook.id).or_default();
                if *waiting >= WAITING || body.len() > DELIVERY_LIMIT {
                    tracing::warn!(
                        webhook = %webhook.id,
                        event = %event.id,
                        waiting = *waiting,
                        "a notice is not delivered: too many wait for this webhook, or it is too long"
                    );
                    self.tally.delivery(DeliveryOutcome::Dropped);
                    continue;
                }
                *waiting += 1;
                deliveries.push(NewDelivery {
                    id: DeliveryId::from_time_and_random(now, self.surroundings.random()),
                    webhook_id: webhook.id,
                    event_id: event.id,
                    body,
                    next_attempt_at: now,
                    created_at: now,
                });
            }
        }
        Ok(deliveries)
    }

    async fn known(&self, events: &[Event]) -> Result<Known, Error> {
        let accounts: HashSet<AccountId> =
            events.iter().filter_map(|event| event.account_id).collect();
        let accounts: Vec<AccountId> = accounts.into_iter().collect();
        let mut webhooks: HashMap<AccountId, Vec<Webhook>> = HashMap::new();
        for webhook in self.store.webhooks_of_accounts(&accounts).await? {
            webhooks
                .entry(webhook.account_id)
                .or_default()
                .push(webhook);
        }
        let references = events.iter().filter_map(|event| event.object);
        let references: HashSet<CertificateId> = references.map(CertificateId::from_uuid).collect();
        let references: Vec<CertificateRef> =
            references.into_iter().map(CertificateRef::Id).collect();
        let found = self
            .store
            .certificates_by_refs(Scope::Everything, &references)
            .await?;
        let certificates = found.into_iter().flatten();
        let certificates: HashMap<CertificateId, Certificate> = certificates
            .map(|certificate| (certificate.id, (*certificate).clone()))
            .collect();
        let mut names = HashMap::new();
        for account in webhooks.keys() {
            if let Some(account) = self.store.account(*account).await? {
                names.insert(account.id, account.name);
            }
        }
        let mut known = Known {
            webhooks,
            certificates,
            accounts: names,
            services: HashMap::new(),
            with_intermediates: HashSet::new(),
            installations: HashMap::new(),
        };
        self.look_closer(&mut known).await?;
        Ok(known)
    }

    /// Finds out what only some formats tell, for accounts that have a webhook of such a format.
    async fn look_closer(&self, known: &mut Known) -> Result<(), Error> {
        let wants_more = |account: &AccountId| {
            let webhooks = known.webhooks.get(account).into_iter().flatten();
            webhooks
                .map(|webhook| WebhookFormat::named(&webhook.format))
                .any(WebhookFormat::tells_of_service)
        };
        let certificates: Vec<&Certificate> = known
            .certificates
            .values()
            .filter(|certificate| wants_more(&certificate.account_id))
            .collect();
        let ids: Vec<CertificateId> = certificates
            .iter()
            .map(|certificate| certificate.id)
            .collect();
        let mut with_intermediates = HashSet::new();
        for certificate in certificates {
            if self.certificates.chain(certificate).await?.len() > 1 {
                with_intermediates.insert(certificate.id);
            }
        }
        let services = self.store.services_with_certificates(&ids).await?;
        for (certificate, service, _) in services {
            known.services.entry(certificate).or_insert(service);
        }
        for installation in self.store.installations_of(&ids).await? {
            let certificate = installation.certificate_id;
            known
                .installations
                .entry(certificate)
                .or_insert(installation);
        }
        known.with_intermediates = with_intermediates;
        Ok(())
    }
}

impl Known {
    /// The webhooks that are told of an event, each with the body. None when the certificate is gone.
    fn told(&self, event: &Event) -> Vec<(&Webhook, String)> {
        let Some(account) = event.account_id else {
            return Vec::new();
        };
        let Some(kind) = NoticeKind::of_event(&event.kind) else {
            return Vec::new();
        };
        let certificate = event.object.map(CertificateId::from_uuid);
        let Some(certificate) = certificate.and_then(|id| self.certificates.get(&id)) else {
            return Vec::new();
        };
        let notice = Notice {
            kind,
            at: event.at,
            detail: &event.detail,
            account: self.accounts.get(&account).map_or("", String::as_str),
            certificate,
            has_intermediates: self.with_intermediates.contains(&certificate.id),
            service: self.services.get(&certificate.id).copied(),
            installation: self.installations.get(&certificate.id),
        };
        let wants = |webhook: &&Webhook| {
            let is_wanted = webhook.kinds.iter().any(|wanted| wanted == kind.as_str());
            (webhook.kinds.is_empty() || is_wanted) && webhook.created_at <= event.at
        };
        let webhooks = self.webhooks.get(&account).into_iter().flatten();
        let told = webhooks.filter(wants);
        told.map(|webhook| (webhook, WebhookFormat::named(&webhook.format).body(&notice)))
            .collect()
    }
}
