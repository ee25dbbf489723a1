//! Looking whether published records are where a directory will look.

use std::time::Duration;

use dns::ProviderError;
use store::{ChallengeRecord, ChallengeState, PendingChallenge};

use super::visibility::{Judgement, PATIENCE, Seen, judge, look, pause};
use super::{ChallengeError, Solvers, Visibility};

impl Solvers {
    /// Whether the records of these challenges can be seen at all servers of their zones.
    pub(super) async fn sight(
        &self,
        challenges: &[PendingChallenge],
    ) -> Result<Visibility, ChallengeError> {
        let now = self.surroundings.now();
        let elapsed = |row: &PendingChallenge| {
            let elapsed = now - row.created_at;
            Duration::try_from(elapsed).unwrap_or_default()
        };
        let unpublished = challenges
            .iter()
            .find(|row| row.state == ChallengeState::Prepared);
        if let Some(row) = unpublished {
            let elapsed = elapsed(row);
            return match &row.record {
                Some(record) if elapsed >= PATIENCE => Err(never_taken(record)),
                _ => Ok(Visibility::Wait(pause(elapsed))),
            };
        }
        for row in challenges {
            let (Some(record), ChallengeState::Presented) = (&row.record, row.state) else {
                continue;
            };
            match self.sight_one(record, elapsed(row)).await? {
                Visibility::Yes => {}
                wait @ Visibility::Wait(_) => return Ok(wait),
            }
        }
        Ok(Visibility::Yes)
    }

    async fn sight_one(
        &self,
        record: &ChallengeRecord,
        elapsed: Duration,
    ) -> Result<Visibility, ChallengeError> {
        let resolver = &self.surroundings.network().resolver;
        let zone = match resolver.zone(&record.name).await {
            Ok(zone) => zone,
            Err(error) => {
                let seen = [Seen::Silent(error.to_string())];
                let server = format!("DNS for {}", record.zone);
                return verdict(record, &record.zone, &[server], &seen, elapsed);
            }
        };
        let seen = look(resolver, &zone, &record.name, &record.value).await;
        let servers = zone.nameservers.iter();
        let servers: Vec<String> = servers
            .map(|server| format!("{} ({})", server.name, server.address))
            .collect();
        verdict(record, &zone.apex, &servers, &seen, elapsed)
    }
}

/// That a provider has neither taken nor refused a record in all the time that there was.
fn never_taken(record: &ChallengeRecord) -> ChallengeError {
    ChallengeError::Provider {
        record: record.name.clone(),
        zone: record.zone.clone(),
        source: ProviderError::Unreachable {
            reason: format!(
                "it has not answered in {} minutes; see that this server reaches it",
                PATIENCE.as_secs() / 60
            ),
        },
    }
}

fn verdict(
    record: &ChallengeRecord,
    apex: &str,
    servers: &[String],
    seen: &[Seen],
    elapsed: Duration,
) -> Result<Visibility, ChallengeError> {
    let place = match judge(seen, elapsed) {
        Judgement::Visible => return Ok(Visibility::Yes),
        Judgement::Wait(pause) => return Ok(Visibility::Wait(pause)),
        Judgement::Overdue(place) => place,
    };
    let found = match seen.get(place) {
        Some(Seen::Silent(reason)) => reason.clone(),
        Some(Seen::Absent(others)) if !others.is_empty() => {
            format!("it has {} other texts there", others.len())
        }
        _ => "it has none there".to_owned(),
    };
    let remedy = if apex == record.zone {
        "see that the name servers of the zone follow their primary, and that the provider is the \
         one that the zone is delegated to"
            .to_owned()
    } else {
        format!(
            "the provider is for {}, but the name is in the zone {apex}; add a provider for that",
            record.zone
        )
    };
    Err(ChallengeError::NotVisible {
        record: record.name.clone(),
        server: servers
            .get(place)
            .cloned()
            .unwrap_or_else(|| format!("no server of {apex}")),
        reason: format!("{found}; {remedy}"),
    })
}
