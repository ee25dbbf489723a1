//! Placing an order: at which directory, within its limits, written down before it is sent.

use acme::client::{DirectoryInfo, Failure, Login, NewOrder};
use pki::{KeyAlgorithm, PrivateKey};
use store::{DirectoryOrder, NewDirectoryOrder, Scope};

use super::failures::{
    Fault, Request, WAITING, WAITS, fault, is_about_replacing, may_be_about_key, told,
};
use super::renewing::Renewal;
use super::{Attempt, Pause, Refund, Setback, held};
use crate::accounts::HOUSE_ACCOUNT;
use crate::certificates::identifiers;
use crate::challenges::Assignment;
use crate::issuers::{Directory, HealthBook, Issuer, LoginError, moment};
use crate::schedule::{
    AGAIN, Aside, Candidate, Cause, Choice, Demand, Purpose, UNANSWERED, after_wait, choose,
};
use crate::{Error, events};

/// A directory that may get the order, with what it would take of its limits.
pub(super) struct Considered {
    pub(super) directory: Directory,
    pub(super) demand: Demand,
    /// The identifier of what is replaced there.
    pub(super) replaces: Option<String>,
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
            if chosen.replaces.is_some() && !counter.info.has_renewal_info {
                // It knows nothing of replacing, and counts the order like any other.
                renewal = renewal.without_replacing();
                continue;
            }
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
        self.renewal = Some(self.resumed(&order));
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
            // Those who look after authorities find it by the name.
            Ok(Issuer::Authority) => {
                let now = self.orders.now();
                if self.certificate.issuer.is_some() {
                    // They are about to learn of the authority.
                    return Err(Pause::Until(now + AGAIN));
                }
                let (store, id) = (&self.orders.store, self.certificate.id);
                let kind = events::ISSUER_CHOSEN;
                let certificates = &self.orders.certificates;
                let event = certificates.event(self.certificate, HOUSE_ACCOUNT, kind, &name);
                let scope = Scope::Account(account);
                store.name_issuer(scope, id, &name, event).await?;
                Err(Pause::Until(now))
            }
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
                // If its limits deny the order, a place in the queue is taken when it is spent.
                Ok(considered.swap_remove(index))
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
                let told = told.trim_start_matches(WAITING).to_owned();
                Err(Pause::Denied {
                    at: after_wait(until, ends, now, self.orders.draw()),
                    reason: if told.starts_with(&names) {
                        format!("{WAITING}{told}")
                    } else {
                        format!("{WAITING}{names}: {told}")
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
            Ok(info) => {
                self.key = Some(login.key.clone());
                Ok(Counter {
                    directory,
                    login,
                    info,
                })
            }
            Err(failure) => Err(self.failed(&directory, &failure, Request::Look).await?),
        }
    }

    /// Looks for what the order would fail of, before it is spent.
    async fn check_provable(&mut self, counter: &Counter) -> Result<(), Pause> {
        self.keep().await?;
        let assignment = self.assignment(counter);
        match self.orders.solvers.preflight(&assignment).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.unprovable(&counter.directory, error, None)),
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
        if let Some(key) = self.key.clone().filter(|_| may_be_about_key(failure)) {
            self.keep().await?;
            let issuers = &self.orders.issuers;
            if issuers.finish_key_change(directory, &key).await? {
                let (id, now) = (self.certificate.id, self.orders.now());
                if request == Request::NewOrder {
                    held(self.orders.store.end_order(id, self.until, now).await?)?;
                    self.give_back(directory, Refund::Order).await?;
                }
                // The same again, with the key that the directory knows.
                return Ok(Pause::Until(now));
            }
        }
        let cause = match fault(failure, request) {
            Fault::Of(cause) => cause,
            Fault::Gone => Cause::Directory,
            Fault::Limit => self.limited(directory, failure).await?,
        };
        let mut reason = told(&directory.row.name, failure, request);
        if let Cause::Limited { until } = cause {
            reason = format!("{reason}{WAITS}{}", moment(until));
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
}
