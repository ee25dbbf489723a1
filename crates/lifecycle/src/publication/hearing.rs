//! What this node has heard of revocations, so that it can tell whether what it found out before
//! still holds.
//!
//! Every node reads of revocations in the change feed, and hears at once of those that it makes
//! itself. Only a node that has read the feed to its end within the last second goes by its memory;
//! any other one asks the store. So a revocation shows on every node within a second, also on
//! one whose reader is held up.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::{CertificateId, EventId, Store, Wanted};
use tokio::time::Instant;

use crate::feed::Reader;
use crate::{Error, events};

/// How long a node that has read the feed to its end is taken to know of all revocations.
const FRESH: Duration = Duration::from_secs(1);
/// Places for certificates, 8 octets each. Certificates that share a place are doubted together, so
/// 100,000 revocations make a node doubt a sixth of what it knows of other certificates, once.
const PLACES: usize = 1 << 19;

/// How many revocations this node had heard of when something was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// What a node has heard of revocations. What was found out about a certificate before a revocation
/// of it was heard of no longer holds, whoever wrote it down afterwards.
pub(crate) struct Hearing {
    /// Revocations, and beginnings, that were heard of.
    heard: AtomicU64,
    /// Nothing that was found out before holds.
    beginning: AtomicU64,
    /// For the certificates of each place, the last revocation that was heard of.
    places: Box<[AtomicU64]>,
    /// Which certificate has which place is nobody's to choose.
    hasher: RandomState,
    /// What `fresh_until` counts from.
    epoch: Instant,
    /// Up to when this node knows of all revocations, in milliseconds since the epoch.
    fresh_until: AtomicU64,
}

impl Default for Hearing {
    fn default() -> Self {
        Self {
            heard: AtomicU64::new(0),
            beginning: AtomicU64::new(0),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            epoch: Instant::now(),
            fresh_until: AtomicU64::new(0),
        }
    }
}

impl Hearing {
    /// The present moment: to be taken before the store is asked.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.heard.load(Ordering::SeqCst))
    }

    /// Takes note that a certificate, in one version or another, was revoked. The store knows
    /// already.
    pub(crate) fn revoked(&self, certificate: CertificateId) {
        let heard = self.heard.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(place) = self.place(certificate) {
            place.fetch_max(heard, Ordering::SeqCst);
        }
    }

    /// Whether what the store said of a certificate after `since` holds as far as this node has
    /// heard. `None` stands for what cannot be revoked.
    pub(crate) fn holds(&self, certificate: Option<CertificateId>, since: Moment) -> bool {
        let revoked = certificate.and_then(|certificate| self.place(certificate));
        self.beginning.load(Ordering::SeqCst) <= since.0
            && revoked.is_none_or(|place| place.load(Ordering::SeqCst) <= since.0)
    }

    /// Whether this node has heard of all revocations up to a second ago.
    pub(crate) fn is_fresh(&self) -> bool {
        self.since_epoch(Instant::now()) < self.fresh_until.load(Ordering::SeqCst)
    }

    /// Forgets all: from here on the feed is followed, and nobody knows what was in it before.
    fn begin(&self) {
        let heard = self.heard.fetch_add(1, Ordering::SeqCst) + 1;
        self.beginning.store(heard, Ordering::SeqCst);
    }

    /// Takes note that all revocations from before `then` were heard of.
    pub(super) fn has_heard_all(&self, then: Instant) {
        let until = self.since_epoch(then + FRESH);
        self.fresh_until.fetch_max(until, Ordering::SeqCst);
    }

    fn since_epoch(&self, moment: Instant) -> u64 {
        let elapsed = moment.saturating_duration_since(self.epoch);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    fn place(&self, certificate: CertificateId) -> Option<&AtomicU64> {
        let hash = self.hasher.hash_one(certificate);
        let place = usize::try_from(hash % PLACES as u64).ok()?;
        self.places.get(place)
    }
}

/// Reads of revocations in the change feed.
pub(crate) struct RevocationReader {
    store: Store,
    hearing: Arc<Hearing>,
    place: Option<EventId>,
}

impl RevocationReader {
    pub(crate) fn new(store: Store, hearing: Arc<Hearing>) -> Self {
        Self {
            store,
            hearing,
            place: None,
        }
    }
}

impl Reader for RevocationReader {
    async fn orient(&mut self) -> Result<(), Error> {
        self.place = self.store.last_event().await?;
        self.hearing.begin();
        Ok(())
    }

    async fn step(&mut self) -> Result<bool, Error> {
        let began = Instant::now();
        let wanted = Wanted::Only(&[events::CERTIFICATE_REVOKED]);
        let stretch = self.store.feed(wanted, self.place).await?;
        for event in &stretch.events {
            match event.object.map(CertificateId::from_uuid) {
                Some(certificate) => self.hearing.revoked(certificate),
                None => tracing::error!(event = %event.id, "a revocation names no certificate"),
            }
        }
        self.place = stretch.place;
        if stretch.is_last {
            self.hearing.has_heard_all(began);
        }
        Ok(!stretch.is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_before_a_revocation_was_heard_of_does_not_hold() {
        let hearing = Hearing::default();
        let (revoked, other) = (CertificateId::random(), CertificateId::random());
        let before = hearing.moment();
        assert!(hearing.holds(Some(revoked), before));
        hearing.revoked(revoked);
        assert!(!hearing.holds(Some(revoked), before));
        assert!(hearing.holds(Some(revoked), hearing.moment()));
        assert!(hearing.holds(None, before));
        // One in half a million pairs shares a place.
        assert!(hearing.holds(Some(other), before));
    }

    #[test]
    fn nothing_holds_from_before_the_beginning() {
        let hearing = Hearing::default();
        let before = hearing.moment();
        hearing.begin();
        assert!(!hearing.holds(None, before));
        assert!(!hearing.holds(Some(CertificateId::random()), before));
        assert!(hearing.holds(None, hearing.moment()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_read_for_a_second_has_not_heard_all() {
        let hearing = Hearing::default();
        assert!(!hearing.is_fresh());
        let read = Instant::now();
        tokio::time::advance(FRESH / 2).await;
        hearing.has_heard_all(read);
        assert!(hearing.is_fresh());
        tokio::time::advance(FRESH / 2).await;
        assert!(!hearing.is_fresh());
        // A slower reader does not take back what a faster one knows.
        hearing.has_heard_all(Instant::now());
        hearing.has_heard_all(read);
        assert!(hearing.is_fresh());
    }

    #[test]
    fn most_of_what_is_known_outlives_a_hundred_thousand_revocations() {
        let hearing = Hearing::default();
        let known: Vec<_> = (0..10_000).map(|_| CertificateId::random()).collect();
        let moment = hearing.moment();
        for _ in 0..100_000 {
            hearing.revoked(CertificateId::random());
        }
        let holds = |id: &&CertificateId| hearing.holds(Some(**id), moment);
        let kept = known.iter().filter(holds).count();
        assert!(kept > 7_500, "{kept}");
    }
}
