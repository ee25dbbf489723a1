//! Orders that are placed here: issued at once where nothing has to be proven, kept until it is
//! where something has.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use pki::{DistinguishedName, EmailAddress, Identifier, PrivateKey, PublicKey};
use store::{AccountId, InboundContent, InboundOrder, NewInboundOrder, Store, VersionId};
use time::OffsetDateTime;

use super::prover::{Failure, Prover, Way};
use super::requirement::{ProofKind, Requirement, offers};
use super::switches::Switches;
use crate::certificates::{IssueRequest, Issued, Plan, PlannedKey};
use crate::settings::Settings;
use crate::throttle::Throttle;
use crate::{Certificates, Error, Noun, Principal, Surroundings};

/// How long an order waits for a proof.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);
/// How long it is known that there was an order.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Orders of an account that wait at a time.
const MOST_WAITING: usize = 1_000;
/// When to ask again while so many wait.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// An order as it is placed.
#[derive(Debug)]
pub struct InboundRequest {
    /// What is ordered.
    pub order: IssueRequest,
    /// The form in which who orders reads answers; kept with the order.
    pub form: &'static str,
    /// The kind of challenge that is to be offered first, if it is offered.
    pub preferred: Option<ProofKind>,
}

/// What became of an order.
#[derive(Debug)]
pub enum Placed {
    /// Nothing had to be proven.
    Issued(Box<Issued>),
    /// It waits for a proof.
    Waiting(WaitingOrder),
}

/// An order that waits for a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingOrder {
    /// Its identifier, and that of each of its challenges.
    pub id: String,
    /// What has to be found.
    pub token: String,
    /// The kinds of challenges, any one of which completes it; the preferred one first.
    pub kinds: Vec<ProofKind>,
    /// Until when it can be completed.
    pub valid_until: OffsetDateTime,
}

/// An order that is completed.
#[derive(Debug)]
pub struct Completed {
    /// The certificate.
    pub leaf: pki::Certificate,
    /// The key, if the house generated it.
    pub key: Option<PrivateKey>,
    /// The form in which who ordered reads answers.
    pub form: String,
}

/// Operations on orders that are placed here.
#[derive(Debug, Clone)]
pub struct InboundOrders {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
    certificates: Certificates,
    requirement: Requirement,
    switches: Switches,
    prover: Prover,
    throttles: Arc<Throttles>,
}

#[derive(Debug)]
struct Throttles {
    orders: Throttle<AccountId>,
    revocations: Throttle<AccountId>,
    solves: Throttle<AccountId>,
}

impl InboundOrders {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        certificates: Certificates,
        requirement: Requirement,
        switches: Switches,
    ) -> Self {
        let validation = &settings.validation;
        let throttles = Throttles {
            orders: Throttle::new("orders", validation.orders_per_minute),
            revocations: Throttle::new("revocations", validation.orders_per_minute),
            solves: Throttle::new("validations", validation.solves_per_minute),
        };
        Self {
            prover: Prover::new(surroundings.network(), validation),
            throttles: Arc::new(throttles),
            store,
            surroundings,
            settings,
            certificates,
            requirement,
            switches,
        }
    }

    /// Counts an order, well-formed or not, before anything is done about it.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub fn admit_order(&self, principal: &Principal) -> Result<(), Error> {
        let now = self.surroundings.now();
        self.throttles.orders.admit(principal.account_id(), now)
    }

    /// Counts a revocation; as many are admitted as orders.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub fn admit_revocation(&self, principal: &Principal) -> Result<(), Error> {
        let now = self.surroundings.now();
        let revocations = &self.throttles.revocations;
        revocations.admit(principal.account_id(), now)
    }

    /// Counts a request to look for a proof.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub fn admit_solve(&self, principal: &Principal) -> Result<(), Error> {
        let now = self.surroundings.now();
        self.throttles.solves.admit(principal.account_id(), now)
    }

    /// Issues what is ordered, or keeps the order until control over its names is proven.
    ///
    /// # Errors
    /// Those of [`Certificates::issue`]; [`Error::Invalid`] when no challenge that is switched on
    /// can prove all names; [`Error::TooMany`] when too many orders of the account wait.
    pub async fn place(
        &self,
        principal: &Principal,
        request: InboundRequest,
    ) -> Result<Placed, Error> {
        principal.require_write()?;
        let plan = self.certificates.plan(principal, request.order).await?;
        let account = principal.account_id();
        let outstanding = self.requirement.outstanding(account, &plan.identifiers);
        let outstanding = outstanding.await?;
        if outstanding.is_empty() {
            let issued = self.certificates.carry_out(principal, plan, None).await?;
            return Ok(Placed::Issued(Box::new(issued)));
        }
        let switches = self.switches.current().await?;
        let mut kinds = offers(&outstanding, &switches).map_err(|identifier| {
            Error::invalid(
                "domains",
                format!("no enabled challenge can validate {identifier}"),
            )
        })?;
        // Stable: the usual order but for the preferred one.
        kinds.sort_by_key(|kind| Some(*kind) != request.preferred);
        let now = self.surroundings.now();
        let waiting = WaitingOrder {
            id: hexadecimal(&self.surroundings.random::<20>()),
            token: hexadecimal(&self.surroundings.random::<32>()),
            kinds,
            valid_until: now + PATIENCE,
        };
        let kinds = waiting.kinds.iter().map(ToString::to_string).collect();
        let order = NewInboundOrder {
            id: waiting.id.clone(),
            account_id: account,
            token: waiting.token.clone(),
            kinds,
            form: request.form.to_owned(),
            authority: plan.authority.clone(),
            content: content(&plan),
            created_at: now,
            expires_at: waiting.valid_until,
        };
        match self.store.add_inbound_order(order, MOST_WAITING).await {
            Ok(()) => Ok(Placed::Waiting(waiting)),
            Err(store::Error::Full) => Err(Error::TooMany {
                what: "orders that wait for a proof",
                retry_after: ASK_AGAIN,
            }),
            Err(store::Error::UnknownAccount) => Err(crate::certificates::account_gone(principal)),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks for the proof that an order of the caller waits for, and completes the order. Of one
    /// that is completed, certificate and key are given again for as long as the key is kept.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for orders of other accounts; [`Error::ChallengeExpired`];
    /// [`Error::Invalid`] for a way that is not offered; [`Error::Unproven`], after which it can be
    /// tried again; those of [`Certificates::issue`].
    pub async fn solve(
        &self,
        principal: &Principal,
        id: &str,
        way: Way,
    ) -> Result<Completed, Error> {
        principal.require_write()?;
        let way = way.checked()?;
        let order = self.find(principal, id).await?;
        if let Some(completion) = order.completion {
            return self.again(principal, order, completion, way).await;
        }
        let content = order.content.as_ref();
        let content = content.filter(|_| self.surroundings.now() < order.expires_at);
        let content = content.ok_or(Error::ChallengeExpired)?;
        let is_offered = |kind: &String| ProofKind::of(kind) == Some(way.kind());
        let switches = self.switches.current().await?;
        if !order.kinds.iter().any(is_offered) || !way.kind().is_enabled(&switches) {
            return Err(Error::invalid(
                "challenge",
                format!("{} is not offered for this order", way.kind()),
            ));
        }
        let plan = planned(&order.authority, content)?;
        self.require_proof(principal, &order, &plan, way).await?;
        let issued = self.certificates.carry_out(principal, plan, Some(id)).await;
        match issued {
            Ok(issued) => Ok(Completed {
                leaf: issued.leaf,
                key: issued.key,
                form: order.form,
            }),
            // Somebody else was faster, perhaps on another node.
            Err(Error::Store(store::Error::Completed)) => {
                let order = self.find(principal, id).await?;
                let completion = order.completion.ok_or_else(|| unknown(id))?;
                self.again(principal, order, completion, way).await
            }
            Err(error) => Err(error),
        }
    }

    /// Forgets orders whose time is over. Returns how many.
    pub(crate) async fn sweep(&self) -> Result<u64, Error> {
        let now = self.surroundings.now();
        // Whoever completed one in the last moment may come back for it.
        let kept = KEPT.max(2 * PATIENCE + self.settings.key_window);
        Ok(self.store.sweep_inbound_orders(now, now - kept).await?)
    }

    async fn find(&self, principal: &Principal, id: &str) -> Result<InboundOrder, Error> {
        let order = self.store.inbound_order(principal.scope(), id).await?;
        order.ok_or_else(|| unknown(id))
    }

    /// Looks for a proof of what is still unproven, and writes down what was found.
    async fn require_proof(
        &self,
        principal: &Principal,
        order: &InboundOrder,
        plan: &Plan,
        way: Way,
    ) -> Result<(), Error> {
        let account = principal.account_id();
        // Anew: what an account is vouched for may have changed.
        let outstanding = self.requirement.outstanding(account, &plan.identifiers);
        let mut outstanding = outstanding.await?;
        outstanding.retain(|identifier| !order.proven.contains(&identifier.to_string()));
        if let Some(misfit) = outstanding.iter().find(|name| !way.kind().fits(name)) {
            return Err(unproven(way, misfit, Failure::NoAnswer));
        }
        let outcomes = self
            .prover
            .prove(account, &order.token, way, &outstanding)
            .await;
        let mut first = None;
        let mut proven = Vec::new();
        for (identifier, outcome) in outstanding.iter().zip(outcomes) {
            match outcome {
                Ok(()) => proven.push(identifier.to_string()),
                Err(failure) => {
                    first.get_or_insert_with(|| unproven(way, identifier, failure));
                }
            }
        }
        let Some(failure) = first else {
            return Ok(());
        };
        if !proven.is_empty() {
            let now = self.surroundings.now();
            match self.store.prove_inbound(&order.id, &proven, now).await {
                Err(store::Error::NotFound) => return Err(unknown(&order.id)),
                written => written?,
            }
        }
        Err(failure)
    }

    async fn again(
        &self,
        principal: &Principal,
        order: InboundOrder,
        (version, at): (VersionId, OffsetDateTime),
        way: Way,
    ) -> Result<Completed, Error> {
        if self.surroundings.now() >= at + self.settings.key_window {
            return Err(Error::ChallengeExpired);
        }
        // Who comes this way is told addresses, and fetches the key there.
        let is_given = !matches!(way, Way::Located { .. });
        let again = self
            .certificates
            .issued_again(principal, version, is_given)
            .await?;
        let (leaf, key) = again.ok_or(Error::ChallengeExpired)?;
        Ok(Completed {
            leaf,
            key,
            form: order.form,
        })
    }
}

fn unknown(id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    Error::not_found(Noun::Challenge, shown.escape_debug())
}

fn unproven(way: Way, identifier: &Identifier, failure: Failure) -> Error {
    let (what, name) = match identifier {
        Identifier::Dns(name) if way == Way::Dns => ("domain", name.without_wildcard().to_owned()),
        Identifier::Ip(address) => ("IP", address.to_string()),
        other => ("domain", other.to_string()),
    };
    let kind = way.kind().as_str().to_ascii_uppercase();
    Error::Unproven {
        target: format!("{kind} validation for {what} {name}"),
        has_answer: failure == Failure::WrongAnswer,
    }
}

/// What is kept of a plan.
fn content(plan: &Plan) -> InboundContent {
    let (key_algorithm, public_key) = match &plan.key {
        PlannedKey::Generate(algorithm) | PlannedKey::Keep(algorithm) => {
            (Some(algorithm.to_string()), None)
        }
        PlannedKey::Certify(key) => (None, Some(key.spki_der().to_vec())),
    };
    InboundContent {
        subject: plan.subject.to_der().to_vec(),
        identifiers: plan.identifiers.iter().map(ToString::to_string).collect(),
        days: plan.days,
        key_algorithm,
        public_key,
    }
}

/// The plan of which that was kept.
fn planned(authority: &str, content: &InboundContent) -> Result<Plan, Error> {
    let identifiers = content.identifiers.iter().map(|text| identifier(text));
    let key = match (&content.key_algorithm, &content.public_key) {
        (Some(algorithm), None) => PlannedKey::Generate(algorithm.parse().map_err(Error::signing)?),
        (None, Some(key)) => {
            PlannedKey::Certify(PublicKey::from_spki_der(key).map_err(Error::signing)?)
        }
        _ => return Err(Error::signing("the order is for no key, or for two")),
    };
    Ok(Plan {
        authority: authority.to_owned(),
        subject: DistinguishedName::from_der(&content.subject).map_err(Error::signing)?,
        identifiers: identifiers.collect::<Result<_, _>>()?,
        days: content.days,
        key,
        name: None,
    })
}

fn identifier(text: &str) -> Result<Identifier, Error> {
    if text.contains('@') {
        let email = EmailAddress::parse(text).map_err(Error::signing)?;
        return Ok(Identifier::Email(email));
    }
    Identifier::parse_host(text).map_err(Error::signing)
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
