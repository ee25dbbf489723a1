//! Targets: machines' directories that certificates are delivered to, and what is to be there.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::directories::within_number;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, CertificateId, ServiceId, TargetId, VersionId};
use crate::inventory::within;
use crate::references::LOOKUP_PORTION;
use crate::scope::{Scope, page_limit};
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::tokens::lines;

/// The most targets of an account.
pub const TARGETS_LIMIT: usize = 1_000;

/// The longest name of a target, in bytes.
pub const TARGET_NAME_LIMIT: usize = 255;

/// The most services that a target names.
pub const TARGET_SERVICES_LIMIT: usize = 100;

/// A machine's directory that certificates are delivered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its identifier.
    pub id: TargetId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// Its name, unique in the account.
    pub name: String,
    /// The services whose certificates it wants, which may be gone; `None` for all certificates of
    /// the account.
    pub services: Option<Vec<ServiceId>>,
    /// When it was last heard of, to the microsecond.
    pub seen_at: Option<OffsetDateTime>,
    /// When it was added, to the microsecond.
    pub created_at: OffsetDateTime,
}

/// A version that can be delivered: it is current, was not revoked, and its key is stored and stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deliverable {
    /// The certificate.
    pub certificate_id: CertificateId,
    /// Its name.
    pub name: String,
    /// Its current version.
    pub version_id: VersionId,
}

impl Store {
    /// Adds a target.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAccount`], [`Error::TooLong`], [`Error::DuplicateName`], [`Error::Duplicate`]
    /// for an identifier in use, [`Error::Full`] beyond [`TARGETS_LIMIT`].
    pub async fn add_target(&self, target: Target, event: NewEvent) -> Result<(), Error> {
        let services = services_text(target.services.as_deref())?;
        let Target {
            id,
            account_id,
            name,
            services: wanted,
            seen_at,
            created_at,
        } = target;
        within("the name of the target", TARGET_NAME_LIMIT, name.len())?;
        let insert = Statement::new(
            "insert into targets (created_at, seen_at, everything, id, account_id, name, services) \
             select * from (values (?, ?, ?, ?, ?, ?, ?)) as fresh",
        )
        .bind(created_at)
        .bind(seen_at)
        .bind(wanted.is_none())
        .bind(id)
        .bind(account_id)
        .bind(name)
        .bind(services);
        let insert = within_number(insert, "targets", Some(account_id), TARGETS_LIMIT);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(insert.clone()).await? == 0 {
                return Err(Error::Full);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// Gives a target other services to want; the answer is whether there is one.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] beyond [`TARGET_SERVICES_LIMIT`].
    pub async fn change_target(
        &self,
        scope: Scope,
        id: TargetId,
        services: Option<&[ServiceId]>,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let update = Statement::new("update targets set everything = ?, services = ? where id = ?")
            .bind(services.is_none())
            .bind(services_text(services)?)
            .bind(id);
        let update = scope.restrict(update, "account_id");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// Takes note that a target was heard of.
    pub async fn see_target(&self, id: TargetId, at: OffsetDateTime) -> Result<(), Error> {
        let update = Statement::new("update targets set seen_at = ? where id = ?")
            .bind(at)
            .bind(id);
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(update.clone()).await.map(drop)
        })
    }

    /// The target of that name in an account.
    pub async fn target_named(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<Target>, Error> {
        let row = self.backend().row(named(account, name)).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Targets by name, those after `after`, at most `limit` (and never more than 1,000).
    pub async fn targets(
        &self,
        account: AccountId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Target>, Error> {
        let rows = self.backend().rows(listed(account, after, limit)).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// Removes a target with its placements; the answer is whether there was one. What is in its
    /// directory stays there.
    pub async fn remove_target(
        &self,
        scope: Scope,
        id: TargetId,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let delete = Statement::new("delete from targets where id = ?").bind(id);
        let delete = scope.restrict(delete, "account_id");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(delete.clone()).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// What can be delivered of all certificates of an account, in the order of their creation, at
    /// most `limit`.
    pub async fn deliverable_of_account(
        &self,
        account: AccountId,
        limit: usize,
    ) -> Result<Vec<Deliverable>, Error> {
        self.read_deliverable(of_account(account, limit)).await
    }

    /// What can be delivered of the certificates of an account that are installed on these services,
    /// or that their domains are served with, be it as alternates; in no particular order, at most
    /// `limit`.
    pub async fn deliverable_of_services(
        &self,
        account: AccountId,
        services: &[ServiceId],
        limit: usize,
    ) -> Result<Vec<Deliverable>, Error> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        self.read_deliverable(of_services(account, services, limit))
            .await
    }

    /// What can be delivered of these certificates, in no particular order.
    pub async fn deliverable(
        &self,
        scope: Scope,
        certificates: &[CertificateId],
    ) -> Result<Vec<Deliverable>, Error> {
        let mut found = Vec::new();
        for portion in certificates.chunks(LOOKUP_PORTION) {
            found.append(&mut self.read_deliverable(of_these(scope, portion)).await?);
        }
        Ok(found)
    }

    async fn read_deliverable(&self, statement: Statement) -> Result<Vec<Deliverable>, Error> {
        let rows = self.backend().rows(statement).await?;
        let read = |mut row: Row| {
            Ok(Deliverable {
                certificate_id: row.take()?,
                name: row.take()?,
                version_id: row.take()?,
            })
        };
        rows.into_iter().map(read).collect()
    }
}

/// What is told of a certificate `c` whose current version `v` has the stored key `k`; a further
/// condition follows. A key that is there for a limited time is not meant to stay anywhere, unless a
/// service is served with it.
const DELIVERABLE: &str = "select c.id, c.name, v.id from certificates c \
     join versions v on v.id = c.current_version_id \
     join private_keys k on k.id = v.private_key_id where v.revoked_at is null \
     and (k.exportable_until is null or k.kept)";

pub(crate) fn of_account(account: AccountId, limit: usize) -> Statement {
    Statement::new(format!(
        "{DELIVERABLE} and c.account_id = ? order by c.created_at, c.id limit ?"
    ))
    .bind(account)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
}

pub(crate) fn of_services(account: AccountId, services: &[ServiceId], limit: usize) -> Statement {
    let mut statement =
        Statement::new(format!("{DELIVERABLE} and c.account_id = ? and c.id in (")).bind(account);
    for of_a_service in [
        "select d.certificate_id from domains d where d.certificate_id is not null \
         and d.service_id in ",
        " union select d.alternate_id from domains d where d.alternate_id is not null \
         and d.service_id in ",
        " union select i.certificate_id from installations i where i.service_id in ",
    ] {
        statement = statement.text(of_a_service).list(services.iter().copied());
    }
    statement
        .text(") limit ?")
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
}

pub(crate) fn of_these(scope: Scope, certificates: &[CertificateId]) -> Statement {
    let statement = Statement::new(format!("{DELIVERABLE} and c.id in "));
    let statement = statement.list(certificates.iter().copied());
    scope.restrict(statement, "c.account_id")
}

pub(crate) fn listed(account: AccountId, after: Option<&str>, limit: usize) -> Statement {
    select("t.account_id = ?")
        .bind(account)
        .text(" and t.name > ? order by t.name limit ?")
        .bind(after.unwrap_or_default())
        .bind(page_limit(limit))
}

fn named(account: AccountId, name: &str) -> Statement {
    select("t.account_id = ?")
        .bind(account)
        .text(" and t.name = ?")
        .bind(name)
}

fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select t.id, t.account_id, t.name, t.everything, t.services, t.seen_at, t.created_at \
         from targets t where {condition}"
    ))
}

fn read(row: &mut Row) -> Result<Target, Error> {
    let (id, account_id, name) = (row.take()?, row.take()?, row.take()?);
    let wants_everything: bool = row.take()?;
    let services = lines(&row.take::<String>()?);
    let services = services.iter().map(|text| {
        let known = text.parse();
        known.map_err(|_| Error::Corrupt("a service of a target is no identifier"))
    });
    let services = services.collect::<Result<Vec<ServiceId>, _>>()?;
    Ok(Target {
        id,
        account_id,
        name,
        services: (!wants_everything).then_some(services),
        seen_at: row.take()?,
        created_at: row.take()?,
    })
}

fn services_text(services: Option<&[ServiceId]>) -> Result<String, Error> {
    let services = services.unwrap_or_default();
    if services.len() > TARGET_SERVICES_LIMIT {
        return Err(Error::TooLong {
            what: "the services of the target",
            limit: TARGET_SERVICES_LIMIT,
        });
    }
    let services: Vec<String> = services.iter().map(ToString::to_string).collect();
    Ok(services.join("\n"))
}
