//! What directories tell of their limits, and where it is written down.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::digest;
use time::OffsetDateTime;

use super::super::domains::{plain, registered_domain};
use super::super::limit::Limit;
use super::super::limits::Limits;
use super::super::moment::later;

/// The bucket that the directory closes altogether.
pub(super) const REFUSED: &str = "refused";
pub(crate) const ORDERS: &str = "orders";
/// How long a directory is left alone that says that a limit is reached, but not until when.
pub(super) const PATIENCE: Duration = Duration::from_secs(900);
/// How long a directory can close itself at most; it is asked again then.
pub(super) const LONGEST_REFUSAL: Duration = Duration::from_secs(7 * 24 * 3600);
/// Characters of a name that tell its bucket from others; no name in DNS has more.
const LONGEST_NAME: usize = 253;

/// What is written down in one bucket after the directory has told something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    bucket: String,
    limit: Option<Limit>,
    /// Nothing for a failed validation.
    closed_until: Option<OffsetDateTime>,
}

impl Mark {
    /// That `identifier` could not be validated. Nothing when failures are not limited.
    #[must_use]
    pub fn failure(limits: &Limits, identifier: &str) -> Option<Self> {
        Some(Self {
            bucket: failure_bucket(&plain(identifier)),
            limit: Some(limits.failures?),
            closed_until: None,
        })
    }

    /// That the directory refused an order for `identifiers` at `now`, because a limit is reached, and
    /// until when. `detail` is what it said; which limit it is follows from that, as Let's Encrypt puts
    /// it. Whatever is said in another way closes the directory.
    #[must_use]
    pub fn refusal(
        limits: &Limits,
        identifiers: &[String],
        detail: &str,
        until: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Self {
        let until = until.unwrap_or_else(|| later(now, PATIENCE));
        let names: BTreeSet<_> = identifiers.iter().map(|name| plain(name)).collect();
        let quoted = detail.split('"').nth(1).map(plain);
        let quoted = quoted.or_else(|| (names.len() == 1).then(|| names.first().cloned())?);
        let detail = detail.to_ascii_lowercase();
        let says = |words: &str| detail.contains(words);
        let (limit, bucket) = if says("exact set of") {
            (limits.duplicates, set_bucket(&names))
        } else if says("failed authorizations")
            || says("failed validations")
            // Names that have failed for a long time, and for everybody but them nothing is closed.
            || says("temporarily prevented from requesting")
        {
            (limits.failures, failure_bucket(&quoted.unwrap_or_default()))
        } else if says("already issued for") {
            let domain = registered_domain(&quoted.unwrap_or_default());
            (limits.domain, domain_bucket(&domain))
        } else if says("too many new orders") {
            (limits.orders, ORDERS.to_owned())
        } else {
            (None, REFUSED.to_owned())
        };
        Self {
            bucket: if limit.is_some() {
                bucket
            } else {
                REFUSED.to_owned()
            },
            limit,
            closed_until: Some(until.max(now).min(later(now, LONGEST_REFUSAL))),
        }
    }

    /// The bucket that it concerns.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Until when the directory closed the bucket, if it did.
    #[must_use]
    pub fn closed_until(&self) -> Option<OffsetDateTime> {
        self.closed_until
    }

    /// The level to be written, where the bucket is at `level`.
    #[must_use]
    pub fn level(&self, level: Option<OffsetDateTime>, now: OffsetDateTime) -> OffsetDateTime {
        match (self.limit, self.closed_until) {
            (Some(limit), Some(until)) => limit.exhausted(level, until, now),
            (Some(limit), None) => limit.spent(level, now),
            (None, until) => level
                .max(until)
                .unwrap_or(now)
                .min(later(now, LONGEST_REFUSAL)),
        }
    }
}

pub(super) fn domain_bucket(domain: &str) -> String {
    format!("domain {}", bounded(domain))
}

pub(super) fn failure_bucket(name: &str) -> String {
    format!("failures {}", bounded(name))
}

/// What a directory says is a name may be as long as it likes.
fn bounded(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// A hash, because a set can be long.
pub(super) fn set_bucket(names: &BTreeSet<String>) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for name in names {
        hash.update(name.as_bytes());
        hash.update(b"\n");
    }
    let hash = hash.finish();
    let mut bucket = String::from("set ");
    for byte in hash.as_ref() {
        bucket.push_str(&format!("{byte:02x}"));
    }
    bucket
}
