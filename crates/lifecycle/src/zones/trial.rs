//! Trying a provider: a record is published, looked for at every server of its zone, and withdrawn.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dns::{Account, ProviderError, TextRecord};
use tokio::time::{Instant, sleep};

use super::DnsProviders;
use crate::challenges::visibility::{self, Seen};
use crate::diagnosis::{Actor, Finding, Verdict};
use crate::{Error, Noun, Principal};

/// The label of the record, which means nothing to anybody.
const LABEL: &str = "_chancery-test";
/// A provider of this kind writes one record only, whatever it is called.
const SINGLE: &str = "acme-dns";
/// Trials under way at a time on a node, and of one account: each asks around for a minute.
pub(super) const AT_A_TIME: usize = 16;
pub(super) const OF_ACCOUNT: usize = 4;
/// How long the record may take to reach all servers.
const PATIENCE: Duration = Duration::from_secs(60);

impl DnsProviders {
    /// Publishes a record in a zone, looks for it at all servers of the zone, and withdraws it.
    /// Takes up to a minute and a half.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`]; [`Error::Busy`] when too many are tested; what
    /// fails at the provider is a finding.
    pub async fn test(&self, principal: &Principal, zone: &str) -> Result<Vec<Finding>, Error> {
        let provider = self.own(principal, zone).await?;
        let _place = self.trials.take(principal.account_id())?;
        let access = self.access(&provider).await?;
        let access = access.ok_or_else(|| Error::not_found(Noun::DnsProvider, zone))?;
        // As long as the values of challenges, which some providers insist on.
        let value = URL_SAFE_NO_PAD.encode(self.surroundings.random::<32>());
        let name = match provider.kind.as_str() {
            SINGLE => provider.zone.clone(),
            _ => format!("{LABEL}.{}", provider.zone),
        };
        let record = Self::record(&provider, &name, &value);
        let records = &self.surroundings.network().records;
        let published = records.publish(&access, &record).await;
        let mut findings = vec![publication(&record, published.as_ref().err())];
        if published.is_ok() {
            findings.extend(self.watch(&record).await);
        }
        // What was refused is not there. What was not answered may be.
        if let Ok(()) | Err(ProviderError::Unreachable { .. }) = published {
            findings.push(self.withdrawal(&access, &record, published.is_ok()).await);
        }
        Ok(findings)
    }

    /// Looks for the record until all servers have it, or patience ends.
    async fn watch(&self, record: &TextRecord) -> Vec<Finding> {
        let resolver = &self.surroundings.network().resolver;
        let zone = match resolver.zone(&record.name).await {
            Ok(zone) => zone,
            Err(error) => return vec![unknown_zone(record, &error)],
        };
        let mut findings = Vec::new();
        if zone.apex != record.zone {
            findings.push(other_zone(record, &zone.apex));
        }
        let began = Instant::now();
        loop {
            let seen = visibility::look(resolver, &zone, &record.name, &record.value).await;
            let all_have_it = !seen.is_empty() && seen.iter().all(|seen| *seen == Seen::There);
            let elapsed = began.elapsed();
            if all_have_it || elapsed >= PATIENCE {
                let servers = zone.nameservers.iter();
                findings.extend(servers.zip(&seen).map(|(server, seen)| {
                    let place = format!("{} ({})", server.name, server.address);
                    visible(record, &place, seen)
                }));
                return findings;
            }
            sleep(visibility::pause(elapsed)).await;
        }
    }

    async fn withdrawal(
        &self,
        access: &Account,
        record: &TextRecord,
        is_published: bool,
    ) -> Finding {
        let records = &self.surroundings.network().records;
        let withdrawn = records.withdraw(access, record).await;
        let expected = format!("the record {} can be removed again", record.name);
        match withdrawn {
            Ok(()) => Finding::ok("withdraw", expected, "removed"),
            Err(error) => Finding {
                check: "withdraw",
                verdict: if is_published {
                    Verdict::Problem
                } else {
                    Verdict::Warning
                },
                expected,
                found: error.to_string(),
                acts: Actor::Platform,
                remedy: format!(
                    "remove the TXT record {} with the text {} by hand, and let the credentials \
                     delete records",
                    record.name, record.value
                ),
            },
        }
    }
}

fn publication(record: &TextRecord, error: Option<&ProviderError>) -> Finding {
    let expected = format!("the provider takes a TXT record {}", record.name);
    match error {
        None => Finding::ok("publish", expected, "taken"),
        Some(error) => Finding {
            check: "publish",
            verdict: Verdict::Problem,
            expected,
            found: error.to_string(),
            acts: Actor::Platform,
            remedy: remedy(error, &record.zone),
        },
    }
}

/// What to do about a provider that does not do what it was asked.
pub(crate) fn remedy(error: &ProviderError, zone: &str) -> String {
    match error {
        ProviderError::Credentials { .. } => format!(
            "check the credentials of the DNS provider for {zone}; remove it and add it again with \
             new ones"
        ),
        ProviderError::NoZone { .. } => format!(
            "use credentials of the account at the provider that has the zone {zone}, or add the \
             provider for the zone that it has"
        ),
        ProviderError::Refused { .. } => {
            format!("let the credentials change TXT records of {zone}")
        }
        ProviderError::Unreachable { .. } => {
            "see that this server reaches the provider; it is tried again".to_owned()
        }
        ProviderError::Unsupported { .. } => {
            "add a provider of another kind for the zone".to_owned()
        }
    }
}

fn unknown_zone(record: &TextRecord, error: &egress::LookupError) -> Finding {
    Finding {
        check: "visible",
        verdict: Verdict::Problem,
        expected: format!("DNS knows the servers of {}", record.zone),
        found: error.to_string(),
        acts: Actor::Owner,
        remedy: format!("see that {} is delegated to its name servers", record.zone),
    }
}

fn other_zone(record: &TextRecord, apex: &str) -> Finding {
    Finding {
        check: "zone",
        verdict: Verdict::Warning,
        expected: format!("{} is the top of a zone", record.zone),
        found: format!("the zone is {apex}"),
        acts: Actor::Platform,
        remedy: format!("add the provider for {apex}, if it has that zone"),
    }
}

fn visible(record: &TextRecord, server: &str, seen: &Seen) -> Finding {
    let expected = format!("{server} has the record {}", record.name);
    let (found, remedy) = match seen {
        Seen::There => return Finding::ok("visible", expected, "it has"),
        Seen::Absent(others) if others.is_empty() => (
            "it has none of that name".to_owned(),
            "see that the provider is the one whose servers the zone is delegated to, and that \
             they follow their primary",
        ),
        Seen::Absent(others) => (
            format!("it has {} other texts under that name", others.len()),
            "see that the servers of the zone follow their primary",
        ),
        Seen::Silent(reason) => (
            reason.clone(),
            "see that the server answers, or take it out of the zone's NS records",
        ),
    };
    Finding {
        check: "visible",
        verdict: match seen {
            Seen::Silent(_) => Verdict::Warning,
            _ => Verdict::Problem,
        },
        expected,
        found,
        acts: Actor::Owner,
        remedy: remedy.to_owned(),
    }
}
