//! Installations: what is said of a certificate on a service beside what the certificate says
//! itself. A certificate that a domain of the service is served with may be without one. They are
//! written by [`crate::installing`].

use time::OffsetDateTime;

use crate::backend::Transaction;
use crate::error::Error;
use crate::ids::{AccountId, CertificateId, DnsProviderId, ServiceId};
use crate::inventory::{IDENTIFIERS_LIMIT, within};
use crate::references::LOOKUP_PORTION;
use crate::scope::Scope;
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::tokens::lines;

/// The most installations of a service.
pub const INSTALLATIONS_LIMIT: usize = 1_000;

/// How long the names of all installations of a service are together at most, in bytes: all of them
/// are read whenever one is made or changed.
pub const INSTALLATIONS_BYTES_LIMIT: usize = 4 * 1024 * 1024;

/// A certificate on a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The service.
    pub service_id: ServiceId,
    /// The certificate, of the same account.
    pub certificate_id: CertificateId,
    /// The account that both belong to.
    pub account_id: AccountId,
    /// The names that it is for, as somebody wrote them; at most [`IDENTIFIERS_LIMIT`] bytes with
    /// an end for each.
    pub server_names: Vec<String>,
    /// The domains that were added to the service for its sake.
    pub domains: Vec<String>,
    /// Whether the names below each name are covered, too.
    pub wildcard: bool,
    /// The DNS provider that was named for it; it may have been removed since.
    pub dns_provider_id: Option<DnsProviderId>,
    /// Whether TLS ends before the workloads.
    pub ssl_termination: bool,
    /// When it was made, to the microsecond.
    pub created_at: OffsetDateTime,
    /// When somebody changed it last, to the microsecond.
    pub updated_at: OffsetDateTime,
}

impl Store {
    /// The installations of a service, at most [`INSTALLATIONS_LIMIT`], the oldest first.
    pub async fn installations(
        &self,
        scope: Scope,
        service: ServiceId,
    ) -> Result<Vec<Installation>, Error> {
        let statement = Statement::new(format!(
            "select {COLUMNS} from installations where service_id = ?"
        ));
        let statement = scope.restrict(statement.bind(service), "account_id");
        let statement = statement.text(" order by created_at, certificate_id");
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(read).collect()
    }

    /// The installations of these certificates, of whatever account, the oldest first.
    pub async fn installations_of(
        &self,
        certificates: &[CertificateId],
    ) -> Result<Vec<Installation>, Error> {
        let mut found = Vec::new();
        for portion in certificates.chunks(LOOKUP_PORTION) {
            for row in self.backend().rows(installed(portion)).await? {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }
}

/// The columns of an installation, in the order in which [`read`] takes them.
const COLUMNS: &str = "service_id, certificate_id, account_id, server_names, domains, wildcard, \
     dns_provider_id, ssl_termination, created_at, updated_at";

pub(crate) fn installed(certificates: &[CertificateId]) -> Statement {
    Statement::new(format!(
        "select {COLUMNS} from installations where certificate_id in "
    ))
    .list(certificates.iter().copied())
    .text(" order by created_at, service_id")
}

pub(crate) fn naming(id: DnsProviderId) -> Statement {
    Statement::new("select 1 from installations where dns_provider_id = ? limit 1").bind(id)
}

/// [`Error::Full`] when the service has no room for an installation beside the others.
pub(crate) async fn require_room(
    transaction: &mut Transaction,
    installation: &Installation,
) -> Result<(), Error> {
    let Installation {
        service_id,
        certificate_id,
        server_names,
        domains,
        ..
    } = installation;
    let others = Statement::new(
        "select count(*), coalesce(sum(length(server_names) + length(domains)), 0) \
         from installations where service_id = ? and certificate_id <> ?",
    )
    .bind(*service_id)
    .bind(*certificate_id);
    let Some(mut row) = transaction.row(others).await? else {
        return Ok(());
    };
    let number = |taken: i64| usize::try_from(taken).unwrap_or(usize::MAX);
    let (count, length) = (number(row.take()?), number(row.take()?));
    let own: usize = server_names.iter().chain(domains).map(String::len).sum();
    if count >= INSTALLATIONS_LIMIT || length.saturating_add(own) > INSTALLATIONS_BYTES_LIMIT {
        return Err(Error::Full);
    }
    Ok(())
}

/// Writes what an installation has become, whether it was there before or not.
pub(crate) fn put(installation: &Installation) -> Result<Statement, Error> {
    let Installation {
        service_id,
        certificate_id,
        account_id,
        server_names,
        domains,
        wildcard,
        dns_provider_id,
        ssl_termination,
        created_at,
        updated_at,
    } = installation;
    let (server_names, domains) = (server_names.join("\n"), domains.join("\n"));
    for names in [&server_names, &domains] {
        within("the list of server names", IDENTIFIERS_LIMIT, names.len())?;
    }
    let put = format!(
        "insert into installations ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         on conflict (service_id, certificate_id) do update set \
         updated_at = excluded.updated_at, ssl_termination = excluded.ssl_termination, \
         wildcard = excluded.wildcard, dns_provider_id = excluded.dns_provider_id, \
         server_names = excluded.server_names, domains = excluded.domains"
    );
    Ok(Statement::new(put)
        .bind(*service_id)
        .bind(*certificate_id)
        .bind(*account_id)
        .bind(server_names)
        .bind(domains)
        .bind(*wildcard)
        .bind(*dns_provider_id)
        .bind(*ssl_termination)
        .bind(*created_at)
        .bind(*updated_at))
}

fn read(mut row: Row) -> Result<Installation, Error> {
    Ok(Installation {
        service_id: row.take()?,
        certificate_id: row.take()?,
        account_id: row.take()?,
        server_names: lines(&row.take::<String>()?),
        domains: lines(&row.take::<String>()?),
        wildcard: row.take()?,
        dns_provider_id: row.take()?,
        ssl_termination: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}
