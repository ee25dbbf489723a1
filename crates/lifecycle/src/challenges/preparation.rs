//! Choosing challenges, writing them down, and publishing their records.

use std::time::Duration;

use acme::KeyAuthorization;
use acme::client::{Challenge, ChallengeKind, ChallengeStatus};
use dns::{Proof, ProviderError};
use store::{
    AccountId, ChallengeId, ChallengeRecord, ChallengeState, DnsProviderId, PendingChallenge, Scope,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::offers::Offer;
use super::{Assignment, ChallengeError, Chosen, Circumstances, Solvers, choice, records};
use crate::Error;
use crate::zones::{self, DnsProviders, Place, PlaceError};

/// How long a challenge is kept at most; an order takes minutes.
const LIFETIME: time::Duration = time::Duration::DAY;
const SHORTEST_LIFETIME: time::Duration = time::Duration::HOUR;
/// Names that are looked up, and records that are published, at a time.
const AT_A_TIME: usize = 8;
/// How long publishing may take before the caller is given the word again; the rest comes later.
const PUBLISHING: Duration = Duration::from_secs(20);

/// Where the records of a name would be written.
#[derive(Debug, Clone, Default)]
struct Places {
    dns: Option<Place>,
    account: Option<Place>,
    persist: Option<Place>,
    /// Whether the record that stays is there.
    persists: bool,
    /// Why a place is not known.
    trouble: Option<String>,
}

impl Places {
    fn publishable(&self) -> Vec<ChallengeKind> {
        let kinds = [
            (&self.dns, ChallengeKind::Dns01),
            (&self.account, ChallengeKind::DnsAccount01),
            (&self.persist, ChallengeKind::DnsPersist01),
        ];
        let kinds = kinds.into_iter();
        kinds
            .filter_map(|(place, kind)| place.as_ref().map(|_| kind))
            .collect()
    }
}

/// The challenge of an offer that was chosen before, if one was. Each is taken once.
pub(super) fn take(known: &mut Vec<PendingChallenge>, offer: &Offer) -> Option<Chosen> {
    let is_of = |row: &PendingChallenge, challenge: &Challenge| {
        let token = challenge.token.as_ref().map_or("", |token| token.as_str());
        row.name == offer.domain && row.kind == challenge.kind.as_str() && row.token == token
    };
    let mut offered = offer.challenges.iter();
    let (place, challenge) = offered.find_map(|challenge| {
        let place = known.iter().position(|row| is_of(row, challenge))?;
        Some((place, challenge))
    })?;
    let row = known.swap_remove(place);
    Some(Chosen {
        is_answered: is_answered(challenge, Some(row.state)),
        challenge: challenge.clone(),
    })
}

/// Whether the directory was told of a challenge, as far as it or we know.
pub(super) fn is_answered(challenge: &Challenge, state: Option<ChallengeState>) -> bool {
    state == Some(ChallengeState::Answered) || challenge.status != ChallengeStatus::Pending
}

impl Solvers {
    /// Chooses a challenge for each offer.
    pub(super) async fn choose(
        &self,
        assignment: &Assignment<'_>,
        offers: Vec<Offer>,
    ) -> Result<Vec<(Challenge, PendingChallenge)>, ChallengeError> {
        let account = assignment.certificate.account_id;
        let url = &assignment.login.account_url;
        let has_providers = self.has_providers(account).await?;
        let writer = self.writer(assignment.certificate).await?;
        let mut chosen = Vec::with_capacity(offers.len());
        let mut offers = offers.into_iter().peekable();
        while offers.peek().is_some() {
            let mut looking = JoinSet::new();
            for offer in offers.by_ref().take(AT_A_TIME) {
                let (solvers, url) = (self.clone(), url.clone());
                let uri = persistent_uri(assignment, &offer)?;
                looking.spawn(async move {
                    let urls = (url.as_str(), uri.as_str());
                    let looker = (account, writer, has_providers);
                    let places = solvers.places(looker, urls, &offer).await;
                    (offer, places)
                });
            }
            while let Some(looked) = looking.join_next().await {
                let (offer, places) = looked.map_err(Error::signing)?;
                chosen.push(self.choose_one(assignment, &offer, places?)?);
            }
        }
        Ok(chosen)
    }

    /// Publishes the records of a certificate that are not published yet, as many as can be in the
    /// time there is.
    pub(super) async fn publish(&self, assignment: &Assignment<'_>) -> Result<(), ChallengeError> {
        let (id, until) = (assignment.certificate.id, assignment.until);
        let mut waiting = self.ongoing(id).await?;
        waiting.retain(|row| row.state == ChallengeState::Prepared);
        if waiting.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + PUBLISHING;
        let mut failure = None;
        let mut waiting = waiting.into_iter().peekable();
        while waiting.peek().is_some() && Instant::now() < deadline {
            let mut publishing = JoinSet::new();
            for row in waiting.by_ref().take(AT_A_TIME) {
                let solvers = self.clone();
                publishing.spawn(async move {
                    let published = timeout_at(deadline, solvers.publish_one(&row)).await;
                    (row.id, published)
                });
            }
            let mut done: Vec<ChallengeId> = Vec::new();
            while let Some(published) = publishing.join_next().await {
                match published.map_err(Error::signing)? {
                    (id, Ok(Ok(()))) => done.push(id),
                    (_, Ok(Err(error))) => failure = failure.or(Some(error)),
                    // It may have arrived; it is published again.
                    (_, Err(_)) => {}
                }
            }
            let state = ChallengeState::Presented;
            let advanced = self.store.advance_challenges(id, until, &done, state);
            if !advanced.await? {
                return Err(ChallengeError::Unclaimed);
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
        Ok(())
    }

    async fn publish_one(&self, row: &PendingChallenge) -> Result<(), ChallengeError> {
        let Some(record) = &row.record else {
            return Ok(());
        };
        let failed = |source| ChallengeError::Provider {
            record: record.name.clone(),
            zone: record.zone.clone(),
            source,
        };
        let provider = self
            .store
            .dns_provider(Scope::Everything, record.provider_id)
            .await?;
        let access = match &provider {
            Some(provider) => self.providers.access(provider).await?,
            None => None,
        };
        let (Some(provider), Some(access)) = (provider, access) else {
            return Err(failed(ProviderError::Credentials {
                reason: "the provider was removed".to_owned(),
            }));
        };
        let mut text = DnsProviders::record(&provider, &record.name, &record.value);
        text.proof = proof(row);
        let records = &self.surroundings.network().records;
        records.publish(&access, &text).await.map_err(failed)
    }

    /// Whether any provider could serve an account; without one, no name is looked up in vain.
    async fn has_providers(&self, account: AccountId) -> Result<bool, Error> {
        let scope = Scope::Account(account);
        Ok(!self.store.dns_providers(scope, None, 1).await?.is_empty())
    }

    async fn places(
        &self,
        (account, writer, has_providers): (AccountId, Option<DnsProviderId>, bool),
        (account_url, account_uri): (&str, &str),
        offer: &Offer,
    ) -> Result<Places, ChallengeError> {
        let mut places = Places::default();
        if offer.is_address {
            return Ok(places);
        }
        let offers = |kind: ChallengeKind| {
            self.settings.acme.challenges.contains(&kind)
                && offer.challenges.iter().any(|offered| offered.kind == kind)
        };
        let domain = &offer.domain;
        if has_providers && offers(ChallengeKind::Dns01) {
            let record = records::dns_01_name(domain);
            places.dns = self
                .place((account, writer), &record, &mut places.trouble)
                .await?;
        }
        if has_providers && offers(ChallengeKind::DnsAccount01) {
            let record = records::dns_account_01_name(domain, account_url);
            places.account = self
                .place((account, writer), &record, &mut places.trouble)
                .await?;
        }
        if offers(ChallengeKind::DnsPersist01) {
            let record = records::persist_name(domain);
            places.persists = self.persists(account_uri, offer, &record).await;
            if has_providers && !places.persists {
                places.persist = self
                    .place((account, writer), &record, &mut places.trouble)
                    .await?;
            }
        }
        Ok(places)
    }

    async fn place(
        &self,
        (account, writer): (AccountId, Option<DnsProviderId>),
        record: &str,
        trouble: &mut Option<String>,
    ) -> Result<Option<Place>, Error> {
        match self.providers.place(account, writer, record).await {
            Ok(place) => Ok(place),
            Err(PlaceError::Delegation(error)) => {
                *trouble = Some(error.to_string());
                Ok(None)
            }
            Err(PlaceError::House(error)) => Err(error),
        }
    }

    /// Whether a record that stays is there and does for what is offered.
    async fn persists(&self, account_uri: &str, offer: &Offer, record: &str) -> bool {
        let resolver = &self.surroundings.network().resolver;
        let Ok(texts) = resolver.text(record).await else {
            return false;
        };
        let now = self.surroundings.now().unix_timestamp();
        let mut challenges = offer.challenges.iter();
        challenges
            .find(|challenge| challenge.kind == ChallengeKind::DnsPersist01)
            .is_some_and(|challenge| {
                texts.iter().any(|text| {
                    let issuers = &challenge.issuer_domain_names;
                    records::persists(text, issuers, account_uri, offer.is_wildcard, now)
                })
            })
    }

    fn choose_one(
        &self,
        assignment: &Assignment<'_>,
        offer: &Offer,
        places: Places,
    ) -> Result<(Challenge, PendingChallenge), ChallengeError> {
        let publishable = places.publishable();
        let circumstances = Circumstances {
            allowed: &self.settings.acme.challenges,
            failed: assignment.certificate.attempt,
            is_wildcard: offer.is_wildcard,
            is_address: offer.is_address,
            publishable: &publishable,
            persists: places.persists,
        };
        let challenge = choice::choose(&offer.challenges, &circumstances);
        let challenge = challenge.ok_or_else(|| not_provable(assignment, offer, &places))?;
        let row = self.row(assignment, offer, challenge, places)?;
        Ok((challenge.clone(), row))
    }

    fn row(
        &self,
        assignment: &Assignment<'_>,
        offer: &Offer,
        challenge: &Challenge,
        places: Places,
    ) -> Result<PendingChallenge, ChallengeError> {
        let malformed = |reason: &str| ChallengeError::Malformed {
            kind: challenge.kind.clone(),
            reason: reason.to_owned(),
        };
        let authorization = match &challenge.token {
            Some(token) if challenge.kind != ChallengeKind::DnsPersist01 => {
                let key = assignment.login.key.jwk().map_err(Error::signing)?;
                Some(KeyAuthorization::new(token, &key))
            }
            _ => None,
        };
        let (place, value) = match &challenge.kind {
            ChallengeKind::Dns01 => (places.dns, authorization.as_ref()),
            ChallengeKind::DnsAccount01 => (places.account, authorization.as_ref()),
            _ => (None, None),
        };
        let mut record = None;
        if let (Some(place), Some(value)) = (place, value) {
            record = Some(written(place, value.dns_01_value()));
        }
        if let (ChallengeKind::DnsPersist01, Some(place)) = (&challenge.kind, places.persist) {
            let (issuers, uri) = (
                &challenge.issuer_domain_names,
                persistent_uri(assignment, offer)?,
            );
            let value = records::persist_value(issuers, &uri, offer.is_wildcard);
            let value = value.ok_or_else(|| malformed("it names no authority"))?;
            record = Some(written(place, value));
        }
        let now = self.surroundings.now();
        let latest = now + LIFETIME;
        let token = match &authorization {
            Some(_) => challenge.token.as_ref().map_or("", |token| token.as_str()),
            None => "",
        };
        Ok(PendingChallenge {
            id: ChallengeId::from_time_and_random(now, self.surroundings.random()),
            certificate_id: assignment.certificate.id,
            account_id: assignment.certificate.account_id,
            name: offer.domain.clone(),
            kind: challenge.kind.as_str().to_owned(),
            state: match &record {
                Some(_) => ChallengeState::Prepared,
                None => ChallengeState::Presented,
            },
            token: token.to_owned(),
            key_authorization: authorization
                .map_or_else(String::new, |text| text.as_str().to_owned()),
            record,
            created_at: now,
            // Not before the order has come to its end, whatever the directory's clock says.
            expires_at: offer
                .expires_at
                .map_or(latest, |end| end.clamp(now + SHORTEST_LIFETIME, latest)),
        })
    }
}

/// What our account goes by in the record of an offer that stays.
fn persistent_uri(assignment: &Assignment<'_>, offer: &Offer) -> Result<String, Error> {
    let uri = records::account_uri(assignment.info, assignment.login, &offer.domain);
    uri.map_err(Error::signing)
}

fn written(place: Place, value: String) -> ChallengeRecord {
    ChallengeRecord {
        provider_id: place.provider.id,
        zone: place.provider.zone,
        name: place.name,
        value,
    }
}

/// What a record proves, for providers that make its text themselves.
pub(super) fn proof(row: &PendingChallenge) -> Option<Proof> {
    (!row.key_authorization.is_empty()).then(|| Proof {
        domain: row.name.clone(),
        key_authorization: row.key_authorization.clone(),
    })
}

fn not_provable(assignment: &Assignment<'_>, offer: &Offer, places: &Places) -> ChallengeError {
    let kinds: Vec<&str> = offer
        .challenges
        .iter()
        .map(|challenge| challenge.kind.as_str())
        .collect();
    let reason = if let Some(trouble) = &places.trouble {
        format!("{trouble}; correct these records")
    } else if offer.is_wildcard {
        wildcard_remedy(assignment, offer)
    } else {
        format!(
            "the directory offers {}, and none of these can be used; allow one of them in \
             [acme] challenges, or {}",
            kinds.join(", "),
            zones::advice(&offer.domain)
        )
    };
    ChallengeError::NotProvable {
        name: offer.name(),
        reason,
    }
}

/// What the owner of a domain or the platform can do so that a wildcard can be proven.
fn wildcard_remedy(assignment: &Assignment<'_>, offer: &Offer) -> String {
    let domain = &offer.domain;
    let mut remedy = format!(
        "a wildcard is proven by a DNS record; {}",
        zones::advice(domain)
    );
    let persist = offer
        .challenges
        .iter()
        .find(|challenge| challenge.kind == ChallengeKind::DnsPersist01);
    if let Some(challenge) = persist
        && let Ok(uri) = persistent_uri(assignment, offer)
        && let Some(value) = records::persist_value(&challenge.issuer_domain_names, &uri, true)
    {
        let name = records::persist_name(domain);
        remedy.push_str(&format!(
            ", or publish the TXT record {name} with the text \"{value}\""
        ));
    }
    remedy
}
