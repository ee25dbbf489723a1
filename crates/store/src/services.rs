//! Services: what is published on which ports, under which domains.
//!
//! How they are made and changed is in [`crate::service_changes`], their domains are in
//! [`crate::domains`], and the instances behind them in [`crate::instances`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::error::Error;
use crate::ids::{AccountId, CertificateId, ServiceId};
use crate::page::Page;
use crate::ports::{self, PublishedPort};
use crate::references::{LOOKUP_PORTION, Lookup, Named, ServiceRef};
use crate::scope::{PAGE_LIMIT, Scope};
use crate::sql::{Row, Statement};
use crate::store::Store;

/// The environment of a service when nobody says otherwise; the migration says the same in SQL.
pub const DEFAULT_ENVIRONMENT: &str = "production";

/// A service to be made.
#[derive(Debug, Clone)]
pub struct NewService {
    /// Its identifier.
    pub id: ServiceId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// Its name, unique in the account; at most [`crate::NAME_LIMIT`] bytes.
    pub name: String,
    /// Its ports.
    pub ports: Vec<PublishedPort>,
    /// How many requests an instance has at a time before others are preferred.
    pub soft_limit: u32,
    /// How many requests an instance has at a time at most.
    pub hard_limit: u32,
    /// How long an instance may be idle, to the millisecond; none means for ever.
    pub autokill: Option<Duration>,
    /// Whether it stays when its last instance goes.
    pub is_persistent: bool,
    /// Which of several alike it is, for people, such as `production`; at most
    /// [`crate::NAME_LIMIT`] bytes.
    pub environment: String,
    /// When it is made.
    pub created_at: OffsetDateTime,
}

/// A service, without its domains and instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its identifier.
    pub id: ServiceId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// Its name, unique in the account.
    pub name: String,
    /// Its ports.
    pub ports: Vec<PublishedPort>,
    /// How many requests an instance has at a time before others are preferred.
    pub soft_limit: u32,
    /// How many requests an instance has at a time at most.
    pub hard_limit: u32,
    /// How long an instance may be idle, to the millisecond; none means for ever.
    pub autokill: Option<Duration>,
    /// Whether it stays when its last instance goes.
    pub is_persistent: bool,
    /// Which of several alike it is, for people, such as `production`.
    pub environment: String,
    /// When it was made, to the microsecond.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// The service with this identifier.
    pub async fn service(&self, scope: Scope, id: ServiceId) -> Result<Option<Service>, Error> {
        let row = self.backend().row(by_ids(scope, &[id])).await?;
        row.map(read).transpose()
    }

    /// The services that references point at, in the order of the references; repeated references
    /// share one answer. [`Error::AmbiguousName`] when a name is looked up under
    /// [`Scope::Everything`] and several accounts use it.
    pub async fn services_by_refs(
        &self,
        scope: Scope,
        references: &[ServiceRef],
    ) -> Result<Vec<Option<Arc<Service>>>, Error> {
        let lookup = Lookup {
            by_ids,
            by_names,
            read,
        };
        lookup.resolve(self.backend(), scope, references).await
    }

    /// A stretch of the list of services. A next page begins at the last service of the one
    /// before, which is repeated.
    pub async fn list_services(
        &self,
        scope: Scope,
        page: &Page<ServiceId>,
    ) -> Result<Vec<Service>, Error> {
        let rows = self.backend().rows(listed(scope, page)).await?;
        rows.into_iter().map(read).collect()
    }

    /// How many domains and instances each of these services has, together. Those with none are left
    /// out.
    pub async fn sizes_of_services(
        &self,
        services: &[ServiceId],
    ) -> Result<HashMap<ServiceId, usize>, Error> {
        let mut sizes = HashMap::new();
        for portion in services.chunks(LOOKUP_PORTION) {
            for mut row in self.backend().rows(sizes_of(portion)).await? {
                let (service, size): (ServiceId, i64) = (row.take()?, row.take()?);
                sizes.insert(service, usize::try_from(size).unwrap_or(usize::MAX));
            }
        }
        Ok(sizes)
    }

    /// The services that have a domain served with one of these certificates, be it as an alternate:
    /// identifier and name, each once for every certificate, ordered by certificate. At most 1,000 services are told of
    /// for each certificate.
    pub async fn services_with_certificates(
        &self,
        certificates: &[CertificateId],
    ) -> Result<Vec<(CertificateId, ServiceId, String)>, Error> {
        let mut certificates = certificates.to_vec();
        certificates.sort_unstable();
        certificates.dedup();
        let mut found = Vec::new();
        let mut rest = certificates.as_slice();
        while !rest.is_empty() {
            let portion = rest.get(..LOOKUP_PORTION).unwrap_or(rest);
            let rows = self.backend().rows(with_certificates(portion)).await?;
            let is_all = rows.len() < WITH_CERTIFICATES;
            let mut users = Vec::with_capacity(rows.len());
            for mut row in rows {
                users.push((row.take()?, row.take()?, row.take()?));
            }
            let mut done = portion.len();
            if !is_all && let Some((last, ..)) = users.last().cloned() {
                // There may be more of the last certificate. Either enough of it has been told, or
                // it is asked for again as the first of the next portion.
                let begin = users.partition_point(|(id, ..)| *id < last);
                let place = portion.partition_point(|id| *id < last);
                if users.len() - begin >= PAGE_LIMIT {
                    users.truncate(begin + PAGE_LIMIT);
                    done = place + 1;
                } else {
                    users.truncate(begin);
                    done = place;
                }
            }
            found.append(&mut users);
            rest = rest.get(done..).unwrap_or_default();
        }
        Ok(found)
    }
}

/// The columns of a service, in the order in which [`read`] takes them.
const COLUMNS: &str = "s.id, s.account_id, s.name, s.ports, s.soft_limit, s.hard_limit, \
     s.autokill_milliseconds, s.persistent, s.environment, s.created_at";

/// How many users of certificates one query returns: as many as are told of one certificate, and of
/// others besides, so that every query gets ahead.
const WITH_CERTIFICATES: usize = 2 * PAGE_LIMIT;

impl Named for Service {
    type Id = ServiceId;

    fn id(&self) -> ServiceId {
        self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

pub(crate) fn by_ids(scope: Scope, ids: &[ServiceId]) -> Statement {
    let statement = select("s.id in ").list(ids.iter().copied());
    scope.restrict(statement, "s.account_id")
}

pub(crate) fn by_names(scope: Scope, names: &[&str]) -> Statement {
    let statement = select("s.name in ").list(names.iter().copied());
    scope.restrict(statement, "s.account_id")
}

pub(crate) fn sizes_of(services: &[ServiceId]) -> Statement {
    Statement::new(
        "select service_id, count(*) from (select service_id from domains where service_id in ",
    )
    .list(services.iter().copied())
    .text(" union all select service_id from instances where service_id in ")
    .list(services.iter().copied())
    .text(") as parts group by service_id")
}

pub(crate) fn listed(scope: Scope, page: &Page<ServiceId>) -> Statement {
    page.restrict(select("1 = 1"), scope, "s")
}

pub(crate) fn with_certificates(certificates: &[CertificateId]) -> Statement {
    let part = |column: &str| {
        (
            format!(
                "select * from (select distinct {column} as certificate_id, service_id \
                 from domains where {column} in "
            ),
            format!(" order by {column}, service_id limit {WITH_CERTIFICATES}) as {column}s"),
        )
    };
    let ((first, first_end), (second, second_end)) = (part("certificate_id"), part("alternate_id"));
    Statement::new("select used.certificate_id, used.service_id, s.name from (")
        .text(&first)
        .list(certificates.iter().copied())
        .text(&first_end)
        // A service may have both kinds of domains.
        .text(" union ")
        .text(&second)
        .list(certificates.iter().copied())
        .text(&second_end)
        .text(&format!(
            " order by certificate_id, service_id limit {WITH_CERTIFICATES}) as used \
             join services s on s.id = used.service_id \
             order by used.certificate_id, used.service_id"
        ))
}

pub(crate) fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select {COLUMNS} from services s where {condition}"
    ))
}

pub(crate) fn read(mut row: Row) -> Result<Service, Error> {
    Ok(Service {
        id: row.take()?,
        account_id: row.take()?,
        name: row.take()?,
        ports: ports::read(&row.take::<String>()?)?,
        soft_limit: row.take()?,
        hard_limit: row.take()?,
        autokill: row
            .take::<Option<i64>>()?
            .map(|milliseconds| Duration::from_millis(milliseconds.unsigned_abs())),
        is_persistent: row.take()?,
        environment: row.take()?,
        created_at: row.take()?,
    })
}
