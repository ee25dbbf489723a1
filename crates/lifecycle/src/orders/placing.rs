//! Placing an order: at which directory, within its limits, written down before it is sent.

use std::sync::{Mutex, PoisonError};

use acme::client::{DirectoryInfo, Failure, Login, NewOrder};
use pki::{KeyAlgorithm, PrivateKey};
use store::{DirectoryOrder, NewDirectoryOrder};
use time::OffsetDateTime;

use super::failures::{Fault, Request, fault, is_about_replacing, told};
use super::renewing::Renewal;
use super::{Attempt, Pause, Refund, Setback, held};
use crate::Error;
use crate::certificates::identifiers;
use crate::challenges::Assignment;
use crate::issuers::{Directory, HealthBook, Issuer, LoginError};
use crate::schedule::{
    Aside, Candidate, Cause, Choice, Demand, Mark, Purpose, Reason, UNANSWERED, Urgency, Verdict,
    after_wait, choose,
};

/// A directory that may get the order, with what it would take of its limits.
pub(super) struct Considered {
    pub(super) directory: Directory,
    demand: Demand,
    /// The identifier of what is replaced there.
    replaces: Option<String>,
    pub(super) candidate: Candidate,
}

/// An account to order with.
pub(super) struct Counter {
    pub(super) directory: Directory,
    pub(super) login: Login,
    pub(super) info: DirectoryInfo,
}

impl Attempt<'_> {
    /// Places an order at the best directory, and goes on with it.
    pub(super) async fn place(&mut self, mut renewal: Renewal) -> Result<(), Pause> {
        let named = self.named_directory().await?;
        loop {
            let considered = self.consider(named.clone(), &renewal).await?;
            let chosen = self.choose(considered)?;
            let counter = self.counter(chosen.directory.clone()).await?;
            self.check_provable(&counter).await?;
            self.spend(&chosen).await?;
            let order = self.begin(&counter, chosen.replaces, &renewal).await?;
            let request = NewOrder {
                identifiers: identifiers(self.certificate)?
                    .iter()
                    .map(acme::Identifier::from)
                    .collect(),
                profile: order.profile.clone(),
                replaces: order.replaces.clone(),
            };
            let client = self.orders.client();
            let placed = self.ask(client.new_order(&counter.login, &request)).await?;
            let failure = match placed {
                Ok(placed) => {
                    let order = self.note_placed(order, &placed).await?;
                    return self.drive(&counter, order, Some(placed)).await;
                }
                Err(failure) => failure,
            };
            if request.replaces.is_some() && is_about_replacing(&failure) {
                tracing::info!(
                    name = self.certificate.common_name,
                    error = &failure as &dyn std::error::Error,
                    "orders without saying what is replaced"
                );
                let (store, id) = (&self.orders.store, self.certificate.id);
                held(store.end_order(id, self.until, self.orders.now()).await?)?;
                renewal = renewal.without_replacing();
                continue;
            }
            return Err(self.refused(&counter.directory, &failure).await?);
        }
    }

    /// Goes on with an order that was begun earlier.
    pub(super) async fn resume(&mut self, order: DirectoryOrder) -> Result<(), Pause> {
        let now = self.orders.now();
        let (store, id) = (&self.orders.store, self.certificate.id);
        let directory = self.orders.issuers.directory(order.directory_id).await?;
        let Some(directory) = directory else {
            held(store.end_order(id, self.until, now).await?)?;
            return Err(Pause::Until(now));
        };
        if order.url.is_none() {
            // It may have been placed by a node that died before it could write that down.
            let again = order.created_at + UNANSWERED;
            if now < again {
                return Err(Pause::Until(again));
            }
            held(store.end_order(id, self.until, now).await?)?;
            return Err(Pause::Until(now));
        }
        self.is_counted = Some(order.replaces.is_none());
        let counter = self.counter(directory).await?;
        self.drive(&counter, order, None).await
    }

    /// The directory that the certificate names.
    async fn named_directory(&self) -> Result<Directory, Pause> {
        let issuers = &self.orders.issuers;
        let account = self.certificate.account_id;
        let name = match &self.certificate.issuer {
            Some(name) => name.clone(),
            None => issuers.default_of(account).await?,
        };
        match issuers.resolve(account, &name).await {
            Ok(Issuer::Directory(directory)) => Ok(*directory),
            // Those who look after authorities will find it.
            Ok(Issuer::Authority) => Err(Pause::Until(self.orders.now())),
            Err(error @ Error::NotFound { .. }) => Err(Setback {
                cause: Cause::Name,
                reason: format!(
                    "{error}; add one of that name, or give the certificate another issuer"
                ),
                directory: None,
                ends_order: true,
                names: Vec::new(),
                refund: Refund::Nothing,
            }
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// All directories that may get an order, with how they are and what is left of their limits.
    pub(super) async fn consider(
        &mut self,
        named: Directory,
        renewal: &Renewal,
    ) -> Result<Vec<Considered>, Pause> {
        let account = self.certificate.account_id;
        let first = named.row.id;
        let directories = self.orders.issuers.candidates(account, named).await?;
        let account = account.to_string();
        let now = self.orders.now();
        let mut considered = Vec::with_capacity(directories.len());
        for directory in directories {
            let replaces = renewal.replaces_at(directory.row.id);
            let purpose = Purpose {
                identifiers: &self.certificate.identifiers,
                account: directory.is_shared().then_some(account.as_str()),
                urgency: renewal.urgency,
                is_replacement: replaces.is_some(),
                since: renewal.since.unwrap_or(self.certificate.created_at),
            };
            let demand = Demand::new(&directory.limits, purpose);
            let mut buckets = demand.buckets().to_vec();
            let limited = buckets.len();
            buckets.extend([
                HealthBook::bucket(),
                self.aside_bucket(true),
                self.aside_bucket(false),
            ]);
            let levels = self.orders.store.levels(directory.row.id, &buckets).await?;
            let (limited, told) = levels.split_at(limited.min(levels.len()));
            let later = |place: usize| told.get(place).copied().flatten().filter(|at| *at > now);
            // What another node has seen counts like what was set aside.
            let binding = later(0).max(later(1));
            let aside = binding.or(later(2)).map(|until| Aside {
                until,
                is_binding: binding.is_some(),
            });
            let rank = if directory.row.id == first {
                0
            } else {
                directory.row.rank.max(1)
            };
            considered.push(Considered {
                candidate: Candidate {
                    rank,
                    health: self.orders.issuers.health().seen(directory.row.id),
                    verdict: demand.decide(limited, now, self.orders.draw()).verdict,
                    aside,
                },
                directory,
                demand,
                replaces,
            });
        }
        Ok(considered)
    }

    /// The best of the directories that can take an order now.
    fn choose(&self, mut considered: Vec<Considered>) -> Result<Considered, Pause> {
        let now = self.orders.now();
        let candidates: Vec<Candidate> = considered
            .iter()
            .map(|considered| considered.candidate)
            .collect();
        match choose(&candidates, now) {
            Some(Choice::Try(index)) if index < considered.len() => {
                let chosen = considered.swap_remove(index);
                match chosen.candidate.verdict {
                    Verdict::Admitted => Ok(chosen),
                    // Its place in the queue is taken when it is spent.
                    Verdict::Denied { .. } => Ok(chosen),
                }
            }
            Some(Choice::Wait(until)) => {
                let ends = self
                    .certificate
                    .current
                    .as_ref()
                    .map(|version| version.not_after);
                let names: Vec<&str> = considered
                    .iter()
                    .map(|considered| considered.directory.row.name.as_str())
                    .collect();
                let told = considered.iter().find_map(|considered| {
                    self.orders
                        .issuers
                        .health()
                        .reason(considered.directory.row.id)
                });
                let told = told.or_else(|| self.certificate.failure.clone());
                let told = told.unwrap_or_else(|| "earlier orders failed there".to_owned());
                let names = names.join(", ");
                let told = told.trim_start_matches("waiting for ").to_owned();
                Err(Pause::Denied {
                    at: after_wait(until, ends, now, self.orders.draw()),
                    reason: if told.starts_with(&names) {
                        format!("waiting for {told}")
                    } else {
                        format!("waiting for {names}: {told}")
                    },
                })
            }
            _ => Err(Pause::Until(now)),
        }
    }

    /// Our account with a directory, and what the directory says of itself.
    async fn counter(&mut self, directory: Directory) -> Result<Counter, Pause> {
        let issuers = &self.orders.issuers;
        let login = match issuers.login(&directory).await {
            Ok(login) => login,
            Err(LoginError::House(error)) => return Err(error.into()),
            Err(LoginError::Directory(failure)) => {
                return Err(self.failed(&directory, &failure, Request::Account).await?);
            }
        };
        let client = self.orders.client();
        let info = self.ask(client.directory(&login.endpoint)).await?;
        match info {
            Ok(info) => Ok(Counter {
                directory,
                login,
                info,
            }),
            Err(failure) => Err(self.failed(&directory, &failure, Request::Look).await?),
        }
    }

    /// Looks for what the order would fail of, before it is spent.
    async fn check_provable(&mut self, counter: &Counter) -> Result<(), Pause> {
        self.keep().await?;
        let assignment = self.assignment(counter);
        match self.orders.solvers.preflight(&assignment).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.unprovable(&counter.directory, error, true)),
        }
    }

    pub(super) fn assignment<'a>(&'a self, counter: &'a Counter) -> Assignment<'a> {
        Assignment {
            certificate: self.certificate,
            until: self.until,
            login: &counter.login,
            info: &counter.info,
        }
    }

    /// Takes what the order needs of the limits of its directory.
    async fn spend(&mut self, chosen: &Considered) -> Result<(), Pause> {
        let (now, draw) = (self.orders.now(), self.orders.draw());
        let (id, demand) = (chosen.directory.row.id, &chosen.demand);
        let is_counted = chosen.replaces.is_none();
        if !is_counted && chosen.candidate.verdict == Verdict::Admitted {
            self.is_counted = Some(false);
            return Ok(());
        }
        let verdict = Mutex::new(None);
        let spent = self.orders.store.spend(id, demand.buckets(), |levels| {
            let decision = demand.decide(levels, now, draw);
            *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(decision.verdict);
            Some(decision.levels)
        });
        match spent.await {
            Ok(_) => {}
            Err(store::Error::NotFound) => return Err(Pause::Until(now)),
            Err(error) => return Err(error.into()),
        }
        let verdict = verdict.into_inner().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Some(Verdict::Denied { at, by }) => Err(Pause::Denied {
                at,
                reason: waiting_for(&chosen.directory.row.name, by, at),
            }),
            _ => {
                self.is_counted = Some(is_counted);
                Ok(())
            }
        }
    }

    /// Writes the order down.
    async fn begin(
        &mut self,
        counter: &Counter,
        replaces: Option<String>,
        renewal: &Renewal,
    ) -> Result<DirectoryOrder, Pause> {
        let now = self.orders.now();
        let directory = &counter.directory.row;
        self.orders.issuers.health().probed(directory.id, now);
        let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(Error::signing)?;
        let replaces = replaces.filter(|_| counter.info.has_renewal_info);
        let order = NewDirectoryOrder {
            certificate_id: self.certificate.id,
            account_id: self.certificate.account_id,
            directory_id: directory.id,
            identifiers: self.certificate.identifiers.clone(),
            profile: directory.profile.clone(),
            replaces: replaces.clone(),
            supersedes: renewal.is_recall,
            key: key.clone(),
            challenge: None,
            created_at: now,
        };
        match self.orders.store.begin_order(self.until, order).await {
            Ok(is_held) => held(is_held)?,
            // Somebody else is at it.
            Err(store::Error::Duplicate) => return Err(Pause::Lost),
            Err(store::Error::UnknownDirectory) => return Err(Pause::Until(now)),
            Err(error) => return Err(error.into()),
        }
        Ok(DirectoryOrder {
            certificate_id: self.certificate.id,
            account_id: self.certificate.account_id,
            directory_id: directory.id,
            identifiers: self.certificate.identifiers.clone(),
            profile: directory.profile.clone(),
            replaces,
            supersedes: renewal.is_recall,
            key,
            challenge: None,
            url: None,
            created_at: now,
            updated_at: now,
            expires_at: None,
        })
    }

    /// Writes down where the order is.
    async fn note_placed(
        &mut self,
        order: DirectoryOrder,
        placed: &acme::client::Order,
    ) -> Result<DirectoryOrder, Pause> {
        let (store, now) = (&self.orders.store, self.orders.now());
        let (id, url) = (self.certificate.id, placed.url.as_str());
        let is_held = store
            .place_order(id, self.until, url, placed.expires_at, now)
            .await?;
        held(is_held)?;
        Ok(DirectoryOrder {
            url: Some(placed.url.clone()),
            expires_at: placed.expires_at,
            ..order
        })
    }

    /// A directory did not take an order.
    async fn refused(&mut self, directory: &Directory, failure: &Failure) -> Result<Pause, Pause> {
        self.failed(directory, failure, Request::NewOrder).await
    }

    /// What a failure at a directory means for the attempt; its order, if there is one, ends.
    pub(super) async fn failed(
        &mut self,
        directory: &Directory,
        failure: &Failure,
        request: Request,
    ) -> Result<Pause, Pause> {
        let cause = match fault(failure, request) {
            Fault::Of(cause) => cause,
            Fault::Gone => Cause::Directory,
            Fault::Limit => self.limited(directory, failure).await?,
        };
        let mut reason = told(&directory.row.name, failure, request);
        if let Cause::Limited { until } = cause {
            reason = format!("{reason}; waits until {}", moment(until));
        }
        Ok(Setback {
            cause,
            reason,
            directory: Some(directory.row.id),
            ends_order: true,
            names: Vec::new(),
            refund: match (request, failure) {
                (_, Failure::Refused { .. }) if request == Request::NewOrder => Refund::Order,
                // It may have been taken.
                (Request::NewOrder | Request::Account, _) => Refund::Nothing,
                _ => Refund::Certificate,
            },
        }
        .into())
    }

    /// Writes down that a limit of a directory is reached, and until when.
    async fn limited(&mut self, directory: &Directory, failure: &Failure) -> Result<Cause, Pause> {
        let now = self.orders.now();
        let (detail, retry_after) = match failure {
            Failure::Refused {
                problem,
                retry_after,
                ..
            } => (problem.to_string(), *retry_after),
            _ => (String::new(), None),
        };
        let until = retry_after.map(|pause| now + pause);
        let names = &self.certificate.identifiers;
        let mark = Mark::refusal(&directory.limits, names, &detail, until, now);
        self.mark(directory, &mark).await?;
        Ok(Cause::Limited {
            until: mark.closed_until().unwrap_or(now),
        })
    }

    pub(super) async fn mark(&mut self, directory: &Directory, mark: &Mark) -> Result<(), Pause> {
        let now = self.orders.now();
        let buckets = [mark.bucket().to_owned()];
        let marked = self
            .orders
            .store
            .spend(directory.row.id, &buckets, |levels| {
                let level = levels.first().copied().flatten();
                Some(vec![Some(mark.level(level, now))])
            });
        match marked.await {
            Ok(_) | Err(store::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives back what an order was counted towards that came to nothing.
    pub(super) async fn give_back(
        &mut self,
        directory: &Directory,
        refund: Refund,
    ) -> Result<(), Pause> {
        if refund == Refund::Nothing || self.is_counted != Some(true) {
            return Ok(());
        }
        let account = self.certificate.account_id.to_string();
        let purpose = Purpose {
            identifiers: &self.certificate.identifiers,
            account: directory.is_shared().then_some(account.as_str()),
            urgency: Urgency::First,
            is_replacement: false,
            since: self.certificate.created_at,
        };
        let demand = Demand::new(&directory.limits, purpose);
        let was_taken = refund == Refund::Certificate;
        let (store, id) = (&self.orders.store, directory.row.id);
        let given = store.spend(id, demand.buckets(), |levels| {
            Some(demand.give_back(levels, was_taken))
        });
        match given.await {
            Ok(_) | Err(store::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The bucket whose level says until when a directory is not tried for the certificate, or until
    /// when others are preferred.
    pub(super) fn aside_bucket(&self, is_binding: bool) -> String {
        let what = if is_binding { "aside" } else { "disliked" };
        format!("{what} {}", self.certificate.id)
    }
}

/// A moment as people read it.
pub(super) fn moment(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    at.format(format).unwrap_or_default()
}

fn waiting_for(directory: &str, by: Reason, until: OffsetDateTime) -> String {
    let limit = match by {
        Reason::Refused => "it takes no orders now",
        Reason::Orders => "the limit of orders is reached",
        Reason::Share => "the account's share of its orders is used up",
        Reason::Domain => "the limit of certificates for the registered domain is reached",
        Reason::Duplicates => "the limit of certificates for exactly these names is reached",
        Reason::Failures => "the limit of failed validations of the name is reached",
    };
    format!(
        "waiting for {directory}: {limit}; ordered at {}",
        moment(until)
    )
}
