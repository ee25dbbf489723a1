//! Installations: what is said of a certificate on a service beside what the certificate says
//! itself. A certificate that a domain of the service is served with may be without one.

use time::OffsetDateTime;

use crate::backend::in_transaction;
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

    /// Adds an installation to a service that has `so_far` others; the answer is whether it has.
    /// Who adds has looked at those that are there, and looks again when they have become others.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the service is gone, [`Error::UnknownCertificate`] when the
    /// certificate is, [`Error::Duplicate`], [`Error::Full`] beyond [`INSTALLATIONS_LIMIT`],
    /// [`Error::TooLong`].
    pub async fn add_installation(
        &self,
        installation: &Installation,
        so_far: usize,
    ) -> Result<bool, Error> {
        let insert = insertion(installation)?;
        // Locks the service, so that additions take turns.
        let lock = Statement::new(
            "update services set persistent = persistent where id = ? and account_id = ?",
        )
        .bind(installation.service_id)
        .bind(installation.account_id);
        let count = Statement::new("select count(*) from installations where service_id = ?")
            .bind(installation.service_id);
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(lock.clone()).await? == 0 {
                return Err(Error::NotFound);
            }
            let row = transaction.row(count.clone()).await?;
            let count: i64 = row.map_or(Ok(0), |mut row| row.take())?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if count != so_far {
                return Ok(false);
            }
            if count >= INSTALLATIONS_LIMIT {
                return Err(Error::Full);
            }
            let added = transaction.execute(insert.clone()).await;
            added.map_err(|error| error.or_missing(Error::UnknownCertificate))?;
            Ok(true)
        })
    }

    /// Writes what an installation has become, whether it was there before or not.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCertificate`] when service or certificate are gone, [`Error::TooLong`].
    pub async fn put_installation(&self, installation: &Installation) -> Result<(), Error> {
        let put = insertion(installation)?.text(
            " on conflict (service_id, certificate_id) do update set \
             updated_at = excluded.updated_at, ssl_termination = excluded.ssl_termination, \
             wildcard = excluded.wildcard, dns_provider_id = excluded.dns_provider_id, \
             server_names = excluded.server_names, domains = excluded.domains",
        );
        in_transaction!(self.backend(), |transaction| {
            let put = transaction.execute(put.clone()).await;
            put.map_err(|error| error.or_missing(Error::UnknownCertificate))?;
            Ok(())
        })
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

    /// Whether an installation names this DNS provider.
    pub async fn is_dns_provider_named(&self, id: DnsProviderId) -> Result<bool, Error> {
        let statement = naming(id);
        Ok(self.backend().row(statement).await?.is_some())
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

fn insertion(installation: &Installation) -> Result<Statement, Error> {
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
    let insert =
        format!("insert into installations ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    Ok(Statement::new(insert)
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
