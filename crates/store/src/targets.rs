//! Targets: machines' directories that certificates are delivered to, and what is to be there.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::directories::within_number;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, CertificateId, ServiceId, TargetDirectoryId, TargetId, VersionId};
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
    /// The directory that it delivers into; `None` while it is nobody's.
    pub directory_id: Option<TargetDirectoryId>,
    /// Whether it was told that there are more certificates than it can have.
    pub is_overfull: bool,
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

/// What came of registering a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// It is so; the target as it is now.
    Done(Target),
    /// Nothing was changed: the directory is that of the target of this name.
    DirectoryOf(String),
    /// Nothing was changed: the target of that name delivers into another directory.
    OfAnotherDirectory,
}

/// Which of the certificates that can be delivered are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All.
    All,
    /// This one.
    One(CertificateId),
    /// Those whose files may be on this target.
    PlacedOn(TargetId),
}

impl Store {
    /// Makes sure that an account has a target of this name that delivers into this directory and
    /// wants these services: adds it, or takes the one that is there if it is that directory's, or
    /// nobody's. The directory of `target` is that of who registers. Of the events, the one that fits
    /// is written.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAccount`], [`Error::TooLong`], [`Error::DuplicateName`] and
    /// [`Error::Duplicate`] when somebody else was faster, [`Error::Full`] beyond [`TARGETS_LIMIT`].
    pub async fn register_target(
        &self,
        target: Target,
        added: NewEvent,
        changed: NewEvent,
    ) -> Result<Registration, Error> {
        let services = services_text(target.services.as_deref())?;
        within(
            "the name of the target",
            TARGET_NAME_LIMIT,
            target.name.len(),
        )?;
        let insert = insertion(&target, services.clone());
        let claimed = claimed(&target);
        let added = added.into_row();
        in_transaction!(self.backend(), |transaction| {
            let (mut before, mut other) = (None, None);
            for mut row in transaction.rows(claimed.clone()).await? {
                let found = read(&mut row)?;
                if found.name == target.name {
                    before = Some(found);
                } else {
                    other = Some(found.name);
                }
            }
            let is_other = |found: &Target| {
                found.directory_id.is_some() && found.directory_id != target.directory_id
            };
            if before.as_ref().is_some_and(is_other) {
                return Ok(Registration::OfAnotherDirectory);
            }
            if let Some(name) = other {
                return Ok(Registration::DirectoryOf(name));
            }
            let Some(before) = before else {
                if transaction.execute(insert.clone()).await? == 0 {
                    return Err(Error::Full);
                }
                events::insert(transaction, vec![added.clone()]).await?;
                return Ok(Registration::Done(target.clone()));
            };
            let after = Target {
                services: target.services.clone(),
                directory_id: target.directory_id,
                ..before.clone()
            };
            if after != before {
                let update = taking(&after, services.clone());
                if transaction.execute(update).await? == 0 {
                    return Ok(Registration::OfAnotherDirectory);
                }
                let changed = NewEvent {
                    object: Some(after.id.as_uuid()),
                    ..changed.clone()
                };
                events::insert(transaction, vec![changed.into_row()]).await?;
            }
            Ok(Registration::Done(after))
        })
    }

    /// Takes note of whether there are more certificates than a target can have; the event is written
    /// when that has become so.
    pub async fn note_overfull(
        &self,
        id: TargetId,
        is_overfull: bool,
        event: NewEvent,
    ) -> Result<(), Error> {
        let update =
            Statement::new("update targets set overfull = ? where id = ? and overfull <> ?")
                .bind(is_overfull)
                .bind(id)
                .bind(is_overfull);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? > 0 && is_overfull {
                events::insert(transaction, vec![event.clone()]).await?;
            }
            Ok(())
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

    /// What can be delivered of the certificates of an account, or of those that are installed on
    /// these services or that their domains are served with, be it as alternates: at most `limit`, the
    /// oldest if all are meant.
    pub async fn deliverable_to(
        &self,
        account: AccountId,
        services: Option<&[ServiceId]>,
        among: Among,
        limit: usize,
    ) -> Result<Vec<Deliverable>, Error> {
        if services.is_some_and(<[ServiceId]>::is_empty) {
            return Ok(Vec::new());
        }
        self.read_deliverable(wanted(account, services, among, limit))
            .await
    }

    /// How many certificates these are, counted up to `limit`.
    pub async fn count_deliverable(
        &self,
        account: AccountId,
        services: Option<&[ServiceId]>,
        limit: usize,
    ) -> Result<usize, Error> {
        if services.is_some_and(<[ServiceId]>::is_empty) {
            return Ok(0);
        }
        let row = self
            .backend()
            .row(counted(account, services, limit))
            .await?;
        let Some(mut row) = row else {
            return Ok(0);
        };
        Ok(usize::try_from(row.take::<i64>()?).unwrap_or(0))
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

/// What is told of a deliverable certificate.
const TOLD: &str = "select c.id, c.name, v.id";

/// A certificate `c` whose current version `v` has the stored key `k`.
const WITH_KEY: &str = "certificates c join versions v on v.id = c.current_version_id \
     join private_keys k on k.id = v.private_key_id";

/// What makes it deliverable; a further condition follows. A key that is there for a limited time is
/// not meant to stay anywhere, unless a service is served with it.
const DELIVERABLE: &str = " where v.revoked_at is null \
     and (k.exportable_until is null or k.kept)";

pub(crate) fn wanted(
    account: AccountId,
    services: Option<&[ServiceId]>,
    among: Among,
    limit: usize,
) -> Statement {
    let statement = Statement::new(TOLD);
    let statement = match (among, services) {
        (Among::All, _) => of(statement, account, services).text(" order by c.created_at, c.id"),
        (Among::One(certificate), _) => of(statement, account, services)
            .text(" and c.id = ?")
            .bind(certificate),
        (Among::PlacedOn(target), Some(_)) => of(statement, account, services)
            .text(" and c.id in (select p.certificate_id from placements p where p.target_id = ?)")
            .bind(target),
        (Among::PlacedOn(target), None) => {
            let placed = " from (select p.certificate_id as id from placements p \
                          where p.target_id = ?";
            looked_up(statement.text(placed).bind(target), account)
        }
    };
    limited(statement, limit)
}

pub(crate) fn counted(
    account: AccountId,
    services: Option<&[ServiceId]>,
    limit: usize,
) -> Statement {
    let statement = Statement::new("select count(*) from (select c.id");
    limited(of(statement, account, services), limit).text(") as deliverable")
}

fn limited(statement: Statement, limit: usize) -> Statement {
    statement
        .text(" limit ?")
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
}

/// The deliverable certificates of an account, or of some of its services.
fn of(statement: Statement, account: AccountId, services: Option<&[ServiceId]>) -> Statement {
    let Some(services) = services else {
        return statement
            .text(" from ")
            .text(WITH_KEY)
            .text(DELIVERABLE)
            .text(" and c.account_id = ?")
            .bind(account);
    };
    let mut statement = statement;
    for of_a_service in [
        " from (select d.certificate_id as id from domains d where d.certificate_id is not null \
         and d.service_id in ",
        " union select d.alternate_id from domains d where d.alternate_id is not null \
         and d.service_id in ",
        " union select i.certificate_id from installations i where i.service_id in ",
    ] {
        statement = statement.text(of_a_service).list(services.iter().copied());
    }
    looked_up(statement, account)
}

/// Those of a list of certificates, which are looked up one by one: an account may have very many
/// besides. SQLite takes the order of a cross join as it is.
fn looked_up(statement: Statement, account: AccountId) -> Statement {
    statement
        .text(") as wanted cross join ")
        .text(WITH_KEY)
        .text(DELIVERABLE)
        .text(" and c.id = wanted.id and c.account_id = ?")
        .bind(account)
}

pub(crate) fn of_these(scope: Scope, certificates: &[CertificateId]) -> Statement {
    let statement = Statement::new(format!("{TOLD} from {WITH_KEY}{DELIVERABLE} and c.id in "));
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

/// The target of that name, and the one of that directory.
fn claimed(target: &Target) -> Statement {
    select("t.account_id = ?")
        .bind(target.account_id)
        .text(" and (t.name = ? or t.directory_id = ?)")
        .bind(target.name.clone())
        .bind(target.directory_id)
}

fn insertion(target: &Target, services: String) -> Statement {
    let insert = Statement::new(
        "insert into targets (created_at, seen_at, everything, overfull, id, account_id, \
         directory_id, name, services) \
         select * from (values (?, ?, ?, ?, ?, ?, ?, ?, ?)) as fresh",
    )
    .bind(target.created_at)
    .bind(target.seen_at)
    .bind(target.services.is_none())
    .bind(target.is_overfull)
    .bind(target.id)
    .bind(target.account_id)
    .bind(target.directory_id)
    .bind(target.name.clone())
    .bind(services);
    within_number(insert, "targets", Some(target.account_id), TARGETS_LIMIT)
}

/// Gives a target to its directory, unless another one has taken it meanwhile.
fn taking(target: &Target, services: String) -> Statement {
    Statement::new(
        "update targets set everything = ?, services = ?, directory_id = ? \
         where id = ? and (directory_id is null or directory_id = ?)",
    )
    .bind(target.services.is_none())
    .bind(services)
    .bind(target.directory_id)
    .bind(target.id)
    .bind(target.directory_id)
}

fn named(account: AccountId, name: &str) -> Statement {
    select("t.account_id = ?")
        .bind(account)
        .text(" and t.name = ?")
        .bind(name)
}

fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select t.id, t.account_id, t.name, t.everything, t.services, t.directory_id, t.overfull, \
         t.seen_at, t.created_at from targets t where {condition}"
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
        directory_id: row.take()?,
        is_overfull: row.take()?,
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
