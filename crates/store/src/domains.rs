//! Domains: the names under which services are reached, each unique over all accounts, and the
//! certificates that they are served with.
//!
//! Which certificate that is, is decided elsewhere; [`crate::attachments`] writes it down.

use std::collections::HashSet;

use time::OffsetDateTime;

use crate::attachments;
use crate::backend::Transaction;
use crate::error::Error;
use crate::ids::{AccountId, CertificateId, ServiceId};
use crate::inventory::within;
use crate::recorder::largest_portion;
use crate::references::LOOKUP_PORTION;
use crate::scope::{Scope, page_limit};
use crate::sql::{Row, Statement, Value, row_marks};
use crate::store::Store;

/// The longest name of a domain, in bytes: a DNS name (RFC 1035 §2.3.4) without its final dot.
pub const DOMAIN_NAME_LIMIT: usize = 253;

/// The most domains of a service.
pub const DOMAINS_LIMIT: usize = 10_000;

/// The most names that [`Store::domain_names_after`] returns.
pub const DOMAIN_NAMES_LIMIT: usize = 10_000;

/// A domain to be added to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDomain {
    /// Its name, lower case and without a final dot; at most [`DOMAIN_NAME_LIMIT`] bytes.
    pub name: String,
    /// The certificate that it is served with.
    pub certificate_id: Option<CertificateId>,
    /// One for the same name with another kind of key, for clients that cannot use the first.
    pub alternate_id: Option<CertificateId>,
    /// Whether somebody chose the certificate by hand.
    pub is_explicit: bool,
}

/// A domain of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its name, lower case and without a final dot.
    pub name: String,
    /// The service that is reached under it.
    pub service_id: ServiceId,
    /// The account of the service.
    pub account_id: AccountId,
    /// The certificate that it is served with.
    pub certificate_id: Option<CertificateId>,
    /// One for the same name with another kind of key, for clients that cannot use the first.
    pub alternate_id: Option<CertificateId>,
    /// Whether somebody chose the certificate by hand.
    pub is_explicit: bool,
    /// When it was added, to the microsecond.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// The domains of services, all of them, service by service in the order in which they were
    /// added.
    pub async fn domains_of_services(&self, services: &[ServiceId]) -> Result<Vec<Domain>, Error> {
        let mut domains = Vec::new();
        for portion in services.chunks(LOOKUP_PORTION) {
            domains.append(&mut self.read_domains(of_services(portion)).await?);
        }
        Ok(domains)
    }

    /// The domains that are served with a certificate, be it as an alternate, by service and name,
    /// those after `after`, at most `limit` (and never more than 1,000).
    pub async fn domains_of_certificate(
        &self,
        certificate: CertificateId,
        after: Option<&Domain>,
        limit: usize,
    ) -> Result<Vec<Domain>, Error> {
        self.read_domains(of_certificate(certificate, after, limit))
            .await
    }

    /// The domains of these names that exist, in no particular order.
    pub async fn domains_named(&self, scope: Scope, names: &[&str]) -> Result<Vec<Domain>, Error> {
        let mut domains = Vec::new();
        for portion in names.chunks(LOOKUP_PORTION) {
            domains.append(&mut self.read_domains(named(scope, portion)).await?);
        }
        Ok(domains)
    }

    /// The domains of these names, whosever they are: what the edge asks. In no particular order.
    pub async fn routed(&self, names: &[&str]) -> Result<Vec<Domain>, Error> {
        self.domains_named(Scope::Everything, names).await
    }

    /// The domains of an account that lie directly under a name (`a.example.com` under
    /// `example.com`), by name, those after `after`, at most `limit` (and never more than 1,000).
    pub async fn domains_under(
        &self,
        account: AccountId,
        parent: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Domain>, Error> {
        self.read_domains(under(account, parent, after, limit))
            .await
    }

    /// A domain directly under a name that belongs to an account other than `account`, if there is
    /// one. Looks once for each account.
    pub async fn foreign_domain_under(
        &self,
        account: AccountId,
        parent: &str,
    ) -> Result<Option<Domain>, Error> {
        let row = self.backend().row(foreign_under(account, parent)).await?;
        row.map(read).transpose()
    }

    /// The names of all domains in the order of their bytes, those after `after`, at most `limit`
    /// (and never more than [`DOMAIN_NAMES_LIMIT`]). A page of thousands costs hardly more than its
    /// bytes.
    pub async fn domain_names_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let statement = names_after(after, limit, self.backend().is_sqlite());
        let Some(mut row) = self.backend().row(statement).await? else {
            return Ok(Vec::new());
        };
        let names: Option<String> = row.take()?;
        let names = names.unwrap_or_default();
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Which of these accounts have domains.
    pub async fn accounts_with_domains(
        &self,
        accounts: &[AccountId],
    ) -> Result<Vec<AccountId>, Error> {
        let mut found = Vec::new();
        for portion in accounts.chunks(LOOKUP_PORTION) {
            for mut row in self.backend().rows(owners(portion)).await? {
                found.push(row.take()?);
            }
        }
        Ok(found)
    }

    async fn read_domains(&self, statement: Statement) -> Result<Vec<Domain>, Error> {
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(read).collect()
    }
}

/// What needs no database to be known about domains that are to be added.
pub(crate) fn check(domains: &[NewDomain]) -> Result<(), Error> {
    domains.iter().try_for_each(|domain| {
        within(
            "the name of the domain",
            DOMAIN_NAME_LIMIT,
            domain.name.len(),
        )
    })
}

/// Where domains are added.
pub(crate) struct Place {
    pub(crate) service: ServiceId,
    pub(crate) account: AccountId,
    /// The position of the first of them among the domains of the service.
    pub(crate) position: i64,
    pub(crate) created_at: OffsetDateTime,
}

/// Adds domains to a service that exists. [`Error::DomainTaken`] for the first name that is taken,
/// [`Error::UnknownCertificate`].
pub(crate) async fn insert(
    transaction: &mut Transaction,
    place: &Place,
    domains: &[NewDomain],
) -> Result<(), Error> {
    add(transaction, place, domains).await?;
    let certificates: HashSet<CertificateId> = domains
        .iter()
        .flat_map(|domain| domain.certificate_id.into_iter().chain(domain.alternate_id))
        .collect();
    let certificates: Vec<_> = certificates.into_iter().collect();
    attachments::keep_keys(transaction, &certificates).await
}

/// The same, but the private keys of their certificates are yet to be kept.
pub(crate) async fn add(
    transaction: &mut Transaction,
    place: &Place,
    domains: &[NewDomain],
) -> Result<(), Error> {
    let mut positions = place.position..;
    let mut rest = domains;
    while !rest.is_empty() {
        let (portion, later) = rest.split_at(largest_portion(rest.len()));
        let statement = insertion(place, portion, &mut positions);
        let added = transaction.rows(statement).await;
        let added = added.map_err(|error| error.or_missing(Error::UnknownCertificate))?;
        if added.len() < portion.len() {
            return Err(Error::DomainTaken(first_missing(portion, added)?));
        }
        rest = later;
    }
    Ok(())
}

/// Takes domains away from a service.
pub(crate) fn removal(service: ServiceId, names: &[String]) -> Statement {
    Statement::new("delete from domains where service_id = ? and name in ")
        .bind(service)
        .list(names.iter().map(String::as_str))
}

/// [`Error::Full`] when a service has no room for so many domains more.
pub(crate) async fn require_room(
    transaction: &mut Transaction,
    service: ServiceId,
    more: usize,
) -> Result<(), Error> {
    let statement = Statement::new("select count(*) from domains where service_id = ?");
    let row = transaction.row(statement.bind(service)).await?;
    let count: i64 = row.map_or(Ok(0), |mut row| row.take())?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count.saturating_add(more) > DOMAINS_LIMIT {
        return Err(Error::Full);
    }
    Ok(())
}

/// The place behind the last domain of a service.
pub(crate) async fn next_position(
    transaction: &mut Transaction,
    service: ServiceId,
) -> Result<i64, Error> {
    let statement = Statement::new("select max(position) from domains where service_id = ?");
    let row = transaction.row(statement.bind(service)).await?;
    let last = row.map_or(Ok(None), |mut row| row.take::<Option<i64>>())?;
    Ok(last.map_or(0, |last| last + 1))
}

/// The columns of a domain, in the order in which [`read`] takes them.
const COLUMNS: &str = "name, service_id, account_id, certificate_id, alternate_id, explicit, \
     created_at";

/// A name that is taken is left out instead of failing, so that it can be told.
fn insertion(
    place: &Place,
    domains: &[NewDomain],
    positions: &mut impl Iterator<Item = i64>,
) -> Statement {
    let rows = domains
        .iter()
        .zip(positions)
        .flat_map(|(domain, position)| {
            let NewDomain {
                name,
                certificate_id,
                alternate_id,
                is_explicit,
            } = domain;
            [
                position.into(),
                place.created_at.into(),
                Value::from(*is_explicit),
                name.as_str().into(),
                parent(name).into(),
                place.service.into(),
                place.account.into(),
                (*certificate_id).into(),
                (*alternate_id).into(),
            ]
        });
    let marks = row_marks(domains.len(), 9);
    Statement::with_values(
        format!(
            "insert into domains (position, created_at, explicit, name, parent, service_id, \
             account_id, certificate_id, alternate_id) values {marks} \
             on conflict (name) do nothing returning name"
        ),
        rows.collect(),
    )
}

fn first_missing(domains: &[NewDomain], added: Vec<Row>) -> Result<String, Error> {
    let mut names = HashSet::with_capacity(added.len());
    for mut row in added {
        names.insert(row.take::<String>()?);
    }
    // A name that was given twice was added once.
    let missing = domains.iter().find(|domain| !names.remove(&domain.name));
    Ok(missing.map_or_else(String::new, |domain| domain.name.clone()))
}

/// The name without its first label.
fn parent(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, parent)| parent)
}

pub(crate) fn of_services(services: &[ServiceId]) -> Statement {
    select("service_id in ")
        .list(services.iter().copied())
        .text(" order by service_id, position")
}

pub(crate) fn of_certificate(
    certificate: CertificateId,
    after: Option<&Domain>,
    limit: usize,
) -> Statement {
    let nil = ServiceId::from_uuid(uuid::Uuid::nil());
    let (service, name) = after.map_or((nil, ""), |domain| (domain.service_id, &domain.name));
    let limit = page_limit(limit);
    // No certificate is its own alternate, so no domain is found twice.
    let part = |column: &str| {
        format!(
            "select * from (select {COLUMNS} from domains where {column} = ? \
             and (service_id, name) > (?, ?) order by service_id, name limit ?) as {column}s"
        )
    };
    let text = format!(
        "{} union all {} order by service_id, name limit ?",
        part("certificate_id"),
        part("alternate_id")
    );
    let mut statement = Statement::new(text);
    for _ in 0..2 {
        statement = statement
            .bind(certificate)
            .bind(service)
            .bind(name)
            .bind(limit);
    }
    statement.bind(limit)
}

pub(crate) fn named(scope: Scope, names: &[&str]) -> Statement {
    let statement = select("name in ").list(names.iter().copied());
    scope.restrict(statement, "account_id")
}

pub(crate) fn under(
    account: AccountId,
    parent: &str,
    after: Option<&str>,
    limit: usize,
) -> Statement {
    select("account_id = ? and parent = ? and name > ? order by name limit ?")
        .bind(account)
        .bind(parent)
        .bind(after.unwrap_or_default())
        .bind(page_limit(limit))
}

pub(crate) fn foreign_under(account: AccountId, parent: &str) -> Statement {
    select("account_id in (select id from accounts where id <> ?) and parent = ? limit 1")
        .bind(account)
        .bind(parent)
}

/// The names in one row, one a line: rows are what costs.
pub(crate) fn names_after(after: Option<&str>, limit: usize, is_sqlite: bool) -> Statement {
    let joined = if is_sqlite {
        "group_concat(name, char(10))"
    } else {
        "string_agg(name, chr(10) order by name)"
    };
    let limit = limit.min(DOMAIN_NAMES_LIMIT);
    Statement::new(format!(
        "select {joined} from (select name from domains where name > ? order by name limit ?) \
         as page"
    ))
    .bind(after.unwrap_or_default())
    .bind(i64::try_from(limit).unwrap_or(0))
}

pub(crate) fn owners(accounts: &[AccountId]) -> Statement {
    Statement::new("select id from accounts where id in ")
        .list(accounts.iter().copied())
        .text(" and exists (select 1 from domains where domains.account_id = accounts.id)")
}

fn select(condition: &str) -> Statement {
    Statement::new(format!("select {COLUMNS} from domains where {condition}"))
}

fn read(mut row: Row) -> Result<Domain, Error> {
    Ok(Domain {
        name: row.take()?,
        service_id: row.take()?,
        account_id: row.take()?,
        certificate_id: row.take()?,
        alternate_id: row.take()?,
        is_explicit: row.take()?,
        created_at: row.take()?,
    })
}
