//! Certificates that end soon: 30 days, 7 days and one day before, an event each.
//!
//! For each of these times there is one place in the order of ends up to which was told; nothing is
//! kept of single certificates. What a certificate's life makes a matter of course is not told: that
//! one which lives for a week ends in 7 days, or that one ends which the house is about to renew.

use std::collections::HashSet;
use std::time::Duration;

use store::{Certificate, CertificateId, ExpiryPlace, NewEvent, PAGE_LIMIT};
use time::OffsetDateTime;

use super::Notices;
use crate::accounts::HOUSE_ACCOUNT;
use crate::{Error, events};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many days before the end it is told, the shortest time first.
const DAYS: [u32; 3] = [1, 7, 30];
/// How far the place may be behind when nothing was to be told: reading a little twice is cheaper
/// than writing all the time.
const SLACK: Duration = Duration::from_secs(10 * 60);

impl Notices {
    /// Tells of all certificates that have come to end soon. Returns of how many.
    pub(crate) async fn tell_of_ends(&self) -> Result<usize, Error> {
        let mut told = 0;
        let mut nearer = 0;
        for days in DAYS {
            loop {
                let step = self.tell_next(days, nearer).await?;
                told += step.told;
                if step.is_last {
                    break;
                }
            }
            nearer = days;
        }
        Ok(told)
    }

    /// Tells of the next page of certificates that end in `days` days, but not in `nearer` days:
    /// those are told of by then.
    async fn tell_next(&self, days: u32, nearer: u32) -> Result<Step, Error> {
        let now = self.surroundings.now();
        let horizon = now + DAY * days;
        let kept = self.store.expiry_place(days).await?;
        let place = kept.unwrap_or(ExpiryPlace {
            not_after: now,
            certificate_id: None,
        });
        if place.not_after >= horizon {
            return Ok(Step::LAST);
        }
        let ExpiryPlace {
            not_after: from,
            certificate_id: after,
        } = place;
        let page = self
            .store
            .expiring_between(from, horizon, after, PAGE_LIMIT)
            .await?;
        let is_last = page.len() < PAGE_LIMIT;
        if is_last && page.is_empty() && kept.is_some() && horizon - from < SLACK {
            return Ok(Step::LAST);
        }
        let next = match page.last().and_then(|last| Some((last.id, end_of(last)?))) {
            Some((id, end)) if !is_last => ExpiryPlace {
                not_after: end,
                certificate_id: Some(id),
            },
            _ => ExpiryPlace {
                not_after: horizon,
                certificate_id: None,
            },
        };
        let told = self.worth_telling(&page, days, now + DAY * nearer).await?;
        let events: Vec<NewEvent> = told.iter().map(|one| self.ending(one)).collect();
        let count = events.len();
        let is_moved = self
            .store
            .move_expiry_place(days, kept, next, events)
            .await?;
        Ok(Step {
            // Another node has told of them.
            told: if is_moved { count } else { 0 },
            is_last: is_last && is_moved,
        })
    }

    /// Those of a page that are not a matter of course, and that nothing has taken the place of.
    async fn worth_telling<'a>(
        &self,
        page: &'a [Certificate],
        days: u32,
        not_before: OffsetDateTime,
    ) -> Result<Vec<&'a Certificate>, Error> {
        let now = self.surroundings.now();
        let told: Vec<&Certificate> = page
            .iter()
            .filter(|one| end_of(one).is_some_and(|end| end > not_before))
            .filter(|one| is_news(one, days, now))
            .collect();
        let ids: Vec<CertificateId> = told.iter().map(|one| one.id).collect();
        let superseded = self.store.superseded(&ids).await?;
        let superseded: HashSet<CertificateId> = superseded.into_iter().collect();
        let told = told.into_iter().filter(|one| !superseded.contains(&one.id));
        Ok(told.collect())
    }

    fn ending(&self, certificate: &Certificate) -> NewEvent {
        let end = end_of(certificate).map(|end| end.to_string());
        events::of(
            &self.surroundings,
            HOUSE_ACCOUNT,
            Some(certificate.account_id),
            events::CERTIFICATE_EXPIRING,
            Some(certificate.id.as_uuid()),
            &format!("ends at {}", end.unwrap_or_default()),
        )
    }
}

/// What came of one page.
struct Step {
    told: usize,
    is_last: bool,
}

impl Step {
    const LAST: Self = Self {
        told: 0,
        is_last: true,
    };
}

/// Whether it is news that a certificate ends in `days` days.
fn is_news(certificate: &Certificate, days: u32, now: OffsetDateTime) -> bool {
    let Some(version) = &certificate.current else {
        return false;
    };
    if version.revocation.is_some() {
        return false;
    }
    let lifetime = version.not_after - version.not_before;
    // A third of 90 days is 30 days, less the seconds that authorities date back.
    if DAY * days > lifetime * 2 / 5 {
        return false;
    }
    // The house renews in time, and it is told of when that goes wrong.
    match certificate.renew_at {
        Some(renew_at) => renew_at + lifetime / 20 <= now,
        None => true,
    }
}

fn end_of(certificate: &Certificate) -> Option<OffsetDateTime> {
    certificate
        .current
        .as_ref()
        .map(|version| version.not_after)
}
