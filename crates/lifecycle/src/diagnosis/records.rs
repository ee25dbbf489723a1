//! What DNS records say about who may issue for a name, and who can prove control over it.

use acme::client::ChallengeKind;
use egress::LookupError;

use super::caa::{self, Demand, Refusal};
use super::examiner::{Examiner, Subject, not_for_addresses};
use super::{Actor, Finding, StandingRecord, Verdict};
use crate::Error;
use crate::challenges::records;
use crate::zones::{self, PlaceError};

const CAA: &str = "caa";
const PROVIDER: &str = "dns-provider";

impl Examiner {
    /// Whether CAA records let the authority issue, by one of these kinds of challenges.
    pub(super) async fn authorization(
        &self,
        subject: &Subject,
        methods: &[ChallengeKind],
    ) -> Finding {
        if subject.is_address {
            return not_for_addresses(CAA);
        }
        let name = &subject.host;
        let expected = match subject.identities.first() {
            Some(identity) => format!("CAA records let {identity} issue for {}", subject.name()),
            None => format!("CAA records let anybody issue for {}", subject.name()),
        };
        let set = match caa::relevant_set(&**self.resolver(), name).await {
            Ok(Some(set)) => set,
            Ok(None) => return Finding::ok(CAA, expected, "there are none"),
            Err(error) => return unanswered(name, expected, &error),
        };
        let here = format!("those of {}", set.name);
        if subject.identities.is_empty() && caa::restricts(&set.records) {
            let found = format!("{here} name authorities, and the directory does not say its name");
            let remedy = format!(
                "see that the CAA records of {} name the authority",
                set.name
            );
            let advice = (Actor::Owner, remedy);
            return Finding::amiss(CAA, Verdict::Warning, expected, found, advice);
        }
        let demand = Demand {
            identities: &subject.identities,
            is_wildcard: subject.is_wildcard,
            account_url: subject.account_url.as_deref(),
            methods,
        };
        match caa::permits(&set.records, &demand) {
            Ok(()) => Finding::ok(CAA, expected, format!("{here} do")),
            Err(refusal) => {
                let found = format!("{here} do not: {refusal}");
                let remedy = remedy(subject, &set.name, &refusal);
                let advice = (Actor::Owner, remedy);
                Finding::amiss(CAA, Verdict::Problem, expected, found, advice)
            }
        }
    }

    /// Who can write the records that prove control over a name, and which kinds of challenges that
    /// makes possible.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(super) async fn coverage(
        &self,
        subject: &Subject,
    ) -> Result<(Finding, Vec<ChallengeKind>), Error> {
        if subject.is_address {
            return Ok((not_for_addresses(PROVIDER), Vec::new()));
        }
        let record = records::dns_01_name(&subject.host);
        let expected = format!("a DNS provider can write the record {record}");
        let place = match self.providers.place(subject.account, None, &record).await {
            Ok(place) => place,
            Err(PlaceError::House(error)) => return Err(error),
            Err(PlaceError::Delegation(error)) => {
                let remedy = format!("correct the CNAME records at {record}");
                let verdict = self.need_of_records(subject).max(Verdict::Warning);
                let advice = (Actor::Owner, remedy);
                let finding =
                    Finding::amiss(PROVIDER, verdict, expected, error.to_string(), advice);
                return Ok((finding, Vec::new()));
            }
        };
        let Some(place) = place else {
            let found = format!("no provider has a zone that {record} is in");
            if self.need_of_records(subject) == Verdict::Ok {
                let finding =
                    Finding::ok(PROVIDER, expected, format!("{found}; the ports will do"));
                return Ok((finding, Vec::new()));
            }
            let advice = (Actor::Platform, zones::advice(&subject.host));
            let finding = Finding::amiss(PROVIDER, Verdict::Problem, expected, found, advice);
            return Ok((finding, Vec::new()));
        };
        let zone = &place.provider.zone;
        let found = if place.name == record {
            format!("the one for {zone} can")
        } else {
            format!(
                "it leads to {}, which the one for {zone} can write",
                place.name
            )
        };
        let kinds = vec![
            ChallengeKind::Dns01,
            ChallengeKind::DnsAccount01,
            ChallengeKind::DnsPersist01,
        ];
        Ok((Finding::ok(PROVIDER, expected, found), kinds))
    }

    /// Whether a record is there by which the account can prove control at any time. Which names the
    /// authority goes by in such a record is known when there is an order; those of CAA records will
    /// do until then.
    pub(super) async fn may_persist(&self, subject: &Subject) -> bool {
        let kind = ChallengeKind::DnsPersist01;
        let Some(account_uri) = &subject.persistent_uri else {
            return false;
        };
        if subject.is_address || !self.settings.acme.challenges.contains(&kind) {
            return false;
        }
        let record = records::persist_name(&subject.host);
        let Ok(texts) = self.resolver().text(&record).await else {
            return false;
        };
        let now = self.surroundings.now().unix_timestamp();
        let (issuers, is_wildcard) = (&subject.persistent_issuers, subject.is_wildcard);
        texts
            .iter()
            .any(|text| records::persists(text, issuers, account_uri, is_wildcard, now))
    }

    /// The record that would let the account prove control at any time, if that is known.
    pub(super) fn persistent_record(&self, subject: &Subject) -> Option<StandingRecord> {
        let kind = ChallengeKind::DnsPersist01;
        if subject.is_address || !self.settings.acme.challenges.contains(&kind) {
            return None;
        }
        let uri = subject.persistent_uri.as_deref()?;
        let issuers = &subject.persistent_issuers;
        Some(StandingRecord {
            name: records::persist_name(&subject.host),
            value: records::persist_value(issuers, uri, subject.is_wildcard)?,
            proves: subject.name(),
        })
    }

    /// That record, where a name cannot be proven by anything else and it is not there.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(super) async fn missing_record(
        &self,
        subject: &Subject,
    ) -> Result<Option<StandingRecord>, Error> {
        let Some(record) = self.persistent_record(subject) else {
            return Ok(None);
        };
        let (coverage, _) = self.coverage(subject).await?;
        let is_needed = coverage.verdict == Verdict::Problem && !self.may_persist(subject).await;
        Ok(is_needed.then_some(record))
    }

    /// The record that would let the account prove control at any time, to be shown to people.
    pub(super) async fn persistence(&self, subject: &Subject) -> Option<Finding> {
        const CHECK: &str = "dns-persist";
        let StandingRecord { name, value, .. } = self.persistent_record(subject)?;
        let expected = format!("the TXT record {name} has the text \"{value}\"");
        if self.may_persist(subject).await {
            return Some(Finding::ok(CHECK, expected, "it does"));
        }
        let remedy =
            "publish the record once, if the directory offers dns-persist-01; it stays, and \
                      nothing else has to be done for this name any more"
                .to_owned();
        let found = "there is no such record";
        let advice = (Actor::Owner, remedy);
        Some(Finding::amiss(
            CHECK,
            Verdict::Warning,
            expected,
            found,
            advice,
        ))
    }

    /// A wildcard cannot do without records.
    pub(super) fn need_of_records(&self, subject: &Subject) -> Verdict {
        let mut kinds = self.settings.acme.challenges.iter();
        let has_ports =
            kinds.any(|kind| matches!(kind, ChallengeKind::Http01 | ChallengeKind::TlsAlpn01));
        if subject.is_wildcard || !has_ports {
            Verdict::Problem
        } else {
            Verdict::Ok
        }
    }
}

fn unanswered(name: &str, expected: String, error: &LookupError) -> Finding {
    let (verdict, acts, remedy) = match error {
        LookupError::Failed { .. } => (
            Verdict::Problem,
            Actor::Owner,
            format!(
                "authorities issue nothing while they get no answer; see that the name servers of \
                 {name} answer questions about CAA records, and that its DNSSEC signatures are valid"
            ),
        ),
        _ => (
            Verdict::Warning,
            Actor::Platform,
            "see that the resolver of this server works".to_owned(),
        ),
    };
    Finding::amiss(CAA, verdict, expected, error.to_string(), (acts, remedy))
}

fn remedy(subject: &Subject, place: &str, refusal: &Refusal) -> String {
    let us = subject.identities.first().map_or("", String::as_str);
    let tag = if subject.is_wildcard {
        "issuewild"
    } else {
        "issue"
    };
    match refusal {
        Refusal::Unknown { tag } => {
            format!("remove the critical record with the tag {tag} at {place}")
        }
        Refusal::Nobody | Refusal::Others { .. } => {
            format!("add the record \"{place} CAA 0 {tag} {us}\"")
        }
        Refusal::Account { .. } => format!(
            "let accounturi in the record at {place} be {}",
            subject.account_url.as_deref().unwrap_or_default()
        ),
        Refusal::Method { methods } => format!(
            "let validationmethods in the record at {place} name another one than {}, or make that \
             one possible",
            methods.join(", ")
        ),
    }
}
