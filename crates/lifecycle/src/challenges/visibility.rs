//! Whether what was published is there: at every server of its zone, because nobody knows which of
//! them a directory will ask.

use std::sync::Arc;
use std::time::Duration;

use egress::{LookupError, Resolver, Zone};
use tokio::task::JoinSet;

/// How long records may take to reach all servers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How long a server that does not answer is waited for, while others have the record.
const SILENCE: Duration = Duration::from_secs(60);
/// More servers than this of one zone are not asked.
const MAX_SERVERS: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a server of a zone has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The record is there.
    There,
    /// It is not; these are instead.
    Absent(Vec<String>),
    /// The server does not answer.
    Silent(String),
}

/// What follows from what all servers of a zone have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// A directory would see it.
    Visible,
    /// It may still come.
    Wait(Duration),
    /// It has taken too long at this server, by its place.
    Overdue(usize),
}

/// Looks for a record at all servers of its zone.
pub(crate) async fn look(
    resolver: &Arc<dyn Resolver>,
    zone: &Zone,
    name: &str,
    value: &str,
) -> Vec<Seen> {
    let mut asking = JoinSet::new();
    let servers = zone.nameservers.iter().take(MAX_SERVERS);
    for (place, server) in servers.cloned().enumerate() {
        let (resolver, name) = (resolver.clone(), name.to_owned());
        asking.spawn(async move { (place, resolver.text_at(&server, &name).await) });
    }
    let mut seen = vec![Seen::Silent("it was not asked".to_owned()); asking.len()];
    while let Some(asked) = asking.join_next().await {
        if let Ok((place, answer)) = asked
            && let Some(seen) = seen.get_mut(place)
        {
            *seen = match answer {
                Ok(texts) if texts.iter().any(|text| text == value) => Seen::There,
                Ok(texts) => Seen::Absent(texts),
                Err(LookupError::NotFound { .. }) => Seen::Absent(Vec::new()),
                Err(error) => Seen::Silent(error.to_string()),
            };
        }
    }
    seen
}

/// Judges what the servers of a zone have so long after the record was written down. A server that
/// does not answer is passed over after a minute, if any other has the record: a directory's
/// resolver passes it over as well.
pub(crate) fn judge(seen: &[Seen], elapsed: Duration) -> Judgement {
    let has_any = seen.contains(&Seen::There);
    let missing = seen.iter().position(|seen| match seen {
        Seen::There => false,
        Seen::Absent(_) => true,
        Seen::Silent(_) => !has_any || elapsed < SILENCE,
    });
    match missing {
        None if has_any => Judgement::Visible,
        _ if elapsed < PATIENCE => Judgement::Wait(pause(elapsed)),
        missing => Judgement::Overdue(missing.unwrap_or_default()),
    }
}

/// Soon at first, less and less often later.
pub(crate) fn pause(elapsed: Duration) -> Duration {
    (elapsed / 4).clamp(FIRST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);
    const LATE: Duration = Duration::from_secs(2 * 60);

    fn absent() -> Seen {
        Seen::Absent(Vec::new())
    }

    fn silent() -> Seen {
        Seen::Silent("refused".to_owned())
    }

    #[test]
    fn every_server_that_answers_has_to_have_it() {
        assert_eq!(judge(&[Seen::There, Seen::There], SOON), Judgement::Visible);
        assert_eq!(
            judge(&[Seen::There, absent()], SOON),
            Judgement::Wait(FIRST_PAUSE)
        );
        assert_eq!(
            judge(&[Seen::There, absent()], LATE),
            Judgement::Wait(LONGEST_PAUSE)
        );
        assert_eq!(
            judge(&[Seen::There, absent()], PATIENCE),
            Judgement::Overdue(1)
        );
    }

    #[test]
    fn a_dead_server_is_passed_over_when_another_has_it() {
        let seen = [silent(), Seen::There];
        assert_eq!(judge(&seen, SOON), Judgement::Wait(FIRST_PAUSE));
        assert_eq!(judge(&seen, LATE), Judgement::Visible);
        assert_eq!(
            judge(&[silent(), silent()], LATE),
            Judgement::Wait(LONGEST_PAUSE)
        );
        assert_eq!(judge(&[silent()], PATIENCE), Judgement::Overdue(0));
    }

    #[test]
    fn a_zone_without_servers_shows_nothing() {
        assert_eq!(judge(&[], SOON), Judgement::Wait(FIRST_PAUSE));
        assert_eq!(judge(&[], PATIENCE), Judgement::Overdue(0));
    }
}
