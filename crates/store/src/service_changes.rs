//! Making, changing and removing services.

use std::time::Duration;

use crate::backend::{Transaction, in_transaction};
use crate::domains::{self, NewDomain, Place};
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, ServiceId};
use crate::inventory::{NAME_LIMIT, within};
use crate::ports::{self, PublishedPort};
use crate::references::LOOKUP_PORTION;
use crate::scope::Scope;
use crate::services::{NewService, Service};
use crate::sql::{Statement, Value};
use crate::store::Store;

/// The longest list of ports of a service as it is kept (a line for each), in bytes.
pub const PORTS_LIMIT: usize = 64 * 1024;

/// What is to be different about a service. What is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ServiceChange {
    /// The service that the change was made up for: nothing happens when it has other ports or
    /// limits by now. Without it, the change is made to whatever there is.
    pub so_far: Option<Service>,
    /// Its ports.
    pub ports: Option<Vec<PublishedPort>>,
    /// How many requests an instance has at a time before others are preferred.
    pub soft_limit: Option<u32>,
    /// How many requests an instance has at a time at most.
    pub hard_limit: Option<u32>,
    /// How long an instance may be idle, to the millisecond; inside, none means for ever.
    pub autokill: Option<Option<Duration>>,
    /// The domains to take away, by name.
    pub remove_domains: Vec<String>,
    /// The domains to add, behind those that are there; they may have names that are taken away.
    pub add_domains: Vec<NewDomain>,
}

impl Store {
    /// Makes a service with its domains, all or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateName`], [`Error::DomainTaken`] with the first domain that exists already
    /// (or is given twice), [`Error::UnknownAccount`], [`Error::UnknownCertificate`].
    pub async fn create_service(
        &self,
        service: NewService,
        domains: Vec<NewDomain>,
        events: Vec<NewEvent>,
    ) -> Result<(), Error> {
        let service = PreparedService::new(service, domains)?;
        let events = events::into_rows(events);
        in_transaction!(self.backend(), |transaction| {
            service.insert(transaction).await?;
            service.insert_domains(transaction).await?;
            events::insert(transaction, events.clone()).await
        })
    }

    /// Changes a service and its domains, all or nothing. Domains are added at the time of the
    /// first event.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is no such service in the scope, or it is not as it was so
    /// far, or a domain to be taken away is not one of its; [`Error::DomainTaken`], [`Error::UnknownCertificate`] as for
    /// [`Store::create_service`]; [`Error::Full`] beyond [`domains::DOMAINS_LIMIT`] domains.
    pub async fn change_service(
        &self,
        scope: Scope,
        id: ServiceId,
        change: ServiceChange,
        events: Vec<NewEvent>,
    ) -> Result<(), Error> {
        let ServiceChange {
            remove_domains,
            add_domains,
            ..
        } = &change;
        domains::check(add_domains)?;
        let created_at = events.first().map(|event| event.at);
        let created_at =
            created_at.ok_or(Error::Inconsistent("a change comes without an event"))?;
        let update = update(scope, id, &change)?;
        let mut removed = remove_domains.clone();
        removed.sort_unstable();
        removed.dedup();
        let events = events::into_rows(events);
        in_transaction!(self.backend(), |transaction| {
            // Locks the service, so that changes of its domains take turns.
            let mut row = transaction
                .row(update.clone())
                .await?
                .ok_or(Error::NotFound)?;
            let account: AccountId = row.take()?;
            for names in removed.chunks(LOOKUP_PORTION) {
                let delete = domains::removal(id, names);
                if transaction.execute(delete).await? < names.len() as u64 {
                    return Err(Error::NotFound);
                }
            }
            if !add_domains.is_empty() {
                domains::require_room(transaction, id, add_domains.len()).await?;
                let place = Place {
                    service: id,
                    account,
                    position: domains::next_position(transaction, id).await?,
                    created_at,
                };
                domains::insert(transaction, &place, add_domains).await?;
            }
            events::insert(transaction, events.clone()).await
        })
    }

    /// Removes a service and its domains; the answer is whether there was one.
    /// [`Error::Attached`] while it has instances.
    pub async fn delete_service(
        &self,
        scope: Scope,
        id: ServiceId,
        events: Vec<NewEvent>,
    ) -> Result<bool, Error> {
        let delete = Statement::new("delete from services where id = ?").bind(id);
        let delete = scope.restrict(delete, "account_id");
        let events = events::into_rows(events);
        in_transaction!(self.backend(), |transaction| {
            let deleted = transaction.execute(delete.clone()).await;
            if deleted.map_err(|error| error.or_missing(Error::Attached))? == 0 {
                return Ok(false);
            }
            events::insert(transaction, events.clone()).await?;
            Ok(true)
        })
    }
}

/// A service with its domains that is ready to be written.
pub(crate) struct PreparedService {
    insert: Statement,
    place: Place,
    domains: Vec<NewDomain>,
}

impl PreparedService {
    pub(crate) fn new(service: NewService, domains: Vec<NewDomain>) -> Result<Self, Error> {
        let NewService {
            id,
            account_id,
            name,
            ports,
            soft_limit,
            hard_limit,
            autokill,
            is_persistent,
            environment,
            created_at,
        } = service;
        within("the name of the service", NAME_LIMIT, name.len())?;
        within(
            "the environment of the service",
            NAME_LIMIT,
            environment.len(),
        )?;
        domains::check(&domains)?;
        let insert = Statement::new(
            "insert into services (soft_limit, hard_limit, autokill_milliseconds, created_at, \
             persistent, environment, id, account_id, name, ports) \
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(soft_limit)
        .bind(hard_limit)
        .bind(autokill.map(milliseconds))
        .bind(created_at)
        .bind(is_persistent)
        .bind(environment)
        .bind(id)
        .bind(account_id)
        .bind(name)
        .bind(written(&ports)?);
        Ok(Self {
            insert,
            place: Place {
                service: id,
                account: account_id,
                position: 0,
                created_at,
            },
            domains,
        })
    }

    /// Writes the service, yet without its domains.
    pub(crate) async fn insert(&self, transaction: &mut Transaction) -> Result<(), Error> {
        transaction.execute(self.insert.clone()).await.map(drop)
    }

    /// Writes its domains.
    pub(crate) async fn insert_domains(&self, transaction: &mut Transaction) -> Result<(), Error> {
        domains::insert(transaction, &self.place, &self.domains).await
    }
}

/// Even a change of domains alone updates the service; see where this is used.
fn update(scope: Scope, id: ServiceId, change: &ServiceChange) -> Result<Statement, Error> {
    let ServiceChange {
        so_far,
        ports,
        soft_limit,
        hard_limit,
        autokill,
        ..
    } = change;
    let ports = ports.as_deref().map(written).transpose()?;
    let columns: [(&str, Option<Value>); 4] = [
        ("ports", ports.map(Value::from)),
        ("soft_limit", soft_limit.map(Value::from)),
        ("hard_limit", hard_limit.map(Value::from)),
        (
            "autokill_milliseconds",
            autokill.map(|autokill| autokill.map(milliseconds).into()),
        ),
    ];
    let mut statement = Statement::new("update services set persistent = persistent");
    for (column, value) in columns {
        if let Some(value) = value {
            statement = statement.text(&format!(", {column} = ?")).bind(value);
        }
    }
    let mut statement = statement.text(" where id = ?").bind(id);
    if let Some(so_far) = so_far {
        statement = statement
            .text(" and ports = ? and soft_limit = ? and hard_limit = ?")
            .bind(written(&so_far.ports)?)
            .bind(so_far.soft_limit)
            .bind(so_far.hard_limit);
    }
    Ok(scope
        .restrict(statement, "account_id")
        .text(" returning account_id"))
}

fn written(ports: &[PublishedPort]) -> Result<String, Error> {
    let text = ports::written(ports);
    within("the list of ports of the service", PORTS_LIMIT, text.len())?;
    Ok(text)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
