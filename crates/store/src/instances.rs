//! Instances: what answers behind a service.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::domains::NewDomain;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, InstanceId, ServiceId};
use crate::inventory::{NAME_LIMIT, within};
use crate::page::Page;
use crate::references::{InstanceRef, LOOKUP_PORTION, Lookup, Named};
use crate::scope::Scope;
use crate::service_changes::PreparedService;
use crate::services::NewService;
use crate::sql::{Row, Statement};
use crate::store::Store;

/// The longest image, arguments and environment of an instance, in bytes each.
pub const INSTANCE_TEXT_LIMIT: usize = 256 * 1024;

/// The most instances of a service.
pub const INSTANCES_LIMIT: usize = 1_000;

/// An instance to be made.
#[derive(Debug, Clone)]
pub struct NewInstance {
    /// Its identifier.
    pub id: InstanceId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// The service of the same account that it answers for.
    pub service_id: Option<ServiceId>,
    /// Its name, unique in the account; at most [`NAME_LIMIT`] bytes.
    pub name: String,
    /// The image it was made from; at most [`INSTANCE_TEXT_LIMIT`] bytes, like the texts below.
    pub image: String,
    /// Its memory, in MiB.
    pub memory_mb: Option<u32>,
    /// Its arguments, as JSON.
    pub args: String,
    /// Its environment, as JSON.
    pub env: String,
    /// Where it listens: an IP address or a host name, without port; at most [`NAME_LIMIT`] bytes.
    pub address: Option<String>,
    /// When it is made.
    pub created_at: OffsetDateTime,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its identifier.
    pub id: InstanceId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// The service that it answers for.
    pub service_id: Option<ServiceId>,
    /// Its name, unique in the account.
    pub name: String,
    /// The image it was made from.
    pub image: String,
    /// Its memory, in MiB.
    pub memory_mb: Option<u32>,
    /// Its arguments, as JSON.
    pub args: String,
    /// Its environment, as JSON.
    pub env: String,
    /// Where it listens: an IP address or a host name, without port.
    pub address: Option<String>,
    /// When it was made, to the microsecond.
    pub created_at: OffsetDateTime,
}

/// An instance as its service knows it: without what it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceOfService {
    /// Its identifier.
    pub id: InstanceId,
    /// The service that it answers for.
    pub service_id: ServiceId,
    /// Its name, unique in the account.
    pub name: String,
    /// Where it listens: an IP address or a host name, without port.
    pub address: Option<String>,
}

/// What came of the removal of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceRemoval {
    /// There is no such instance in the scope.
    NotFound,
    /// It is gone.
    Removed,
    /// It is gone, and its service with it, whose last one it was.
    RemovedWithService(ServiceId),
}

impl Store {
    /// Makes an instance, and the service that it is the first of if one is given (which the
    /// instance must name), all or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateName`] for the instance, [`Error::DuplicateServiceName`] for the service,
    /// [`Error::NotFound`] when the account has no service as named by the instance,
    /// [`Error::Full`] when that has [`INSTANCES_LIMIT`] instances,
    /// [`Error::DomainTaken`], [`Error::UnknownCertificate`] and [`Error::UnknownAccount`] as for
    /// [`Store::create_service`].
    pub async fn create_instance(
        &self,
        instance: NewInstance,
        service: Option<(NewService, Vec<NewDomain>)>,
        events: Vec<NewEvent>,
    ) -> Result<(), Error> {
        if let Some((service, _)) = &service
            && (instance.service_id, instance.account_id) != (Some(service.id), service.account_id)
        {
            return Err(Error::Inconsistent("the instance is not of its service"));
        }
        let existing = instance.service_id.filter(|_| service.is_none());
        let lock = existing.map(|id| lock_service(id, instance.account_id));
        let insert = insertion(instance)?;
        let service = service.map(|(service, domains)| PreparedService::new(service, domains));
        let service = service.transpose()?;
        let events = events::into_rows(events);
        in_transaction!(self.backend(), |transaction| {
            if let Some(service) = &service {
                match service.insert(transaction).await {
                    Err(Error::DuplicateName) => return Err(Error::DuplicateServiceName),
                    outcome => outcome?,
                }
            }
            if let Some(lock) = lock.clone()
                && transaction.execute(lock).await? == 0
            {
                return Err(Error::NotFound);
            }
            if let Some(existing) = existing {
                require_room(transaction, existing).await?;
            }
            transaction.execute(insert.clone()).await?;
            if let Some(service) = &service {
                service.insert_domains(transaction).await?;
            }
            events::insert(transaction, events.clone()).await
        })
    }

    /// Removes an instance. When it was the last one of a service that is not persistent, that and
    /// its domains go as well, and `service_events` are written besides `events`.
    pub async fn delete_instance(
        &self,
        scope: Scope,
        id: InstanceId,
        events: Vec<NewEvent>,
        service_events: Vec<NewEvent>,
    ) -> Result<InstanceRemoval, Error> {
        let of_instance = Statement::new(
            "update services set persistent = persistent \
             where id in (select service_id from instances where id = ?)",
        )
        .bind(id);
        let lock = scope
            .restrict(of_instance, "account_id")
            .text(" returning id, persistent");
        let delete = Statement::new("delete from instances where id = ?").bind(id);
        let delete = scope.restrict(delete, "account_id");
        let events = events::into_rows(events);
        let service_events = events::into_rows(service_events);
        in_transaction!(self.backend(), |transaction| {
            // Two who remove the last two instances take turns here, so that one sees itself last.
            let temporary: Option<ServiceId> = match transaction.row(lock.clone()).await? {
                Some(mut row) => {
                    let service = row.take()?;
                    (!row.take::<bool>()?).then_some(service)
                }
                None => None,
            };
            if transaction.execute(delete.clone()).await? == 0 {
                return Ok(InstanceRemoval::NotFound);
            }
            let mut events = events.clone();
            let mut removal = InstanceRemoval::Removed;
            if let Some(service) = temporary {
                let delete = Statement::new(
                    "delete from services where id = ? \
                     and not exists (select 1 from instances where service_id = ?)",
                )
                .bind(service)
                .bind(service);
                if transaction.execute(delete).await? > 0 {
                    events.extend(service_events.iter().cloned());
                    removal = InstanceRemoval::RemovedWithService(service);
                }
            }
            events::insert(transaction, events).await?;
            Ok(removal)
        })
    }

    /// The instances that references point at, in the order of the references; repeated references
    /// share one answer. [`Error::AmbiguousName`] when a name is looked up under
    /// [`Scope::Everything`] and several accounts use it.
    pub async fn instances_by_refs(
        &self,
        scope: Scope,
        references: &[InstanceRef],
    ) -> Result<Vec<Option<Arc<Instance>>>, Error> {
        let lookup = Lookup {
            by_ids,
            by_names,
            read,
        };
        lookup.resolve(self.backend(), scope, references).await
    }

    /// A stretch of the list of instances. A next page begins at the last instance of the one
    /// before, which is repeated.
    pub async fn list_instances(
        &self,
        scope: Scope,
        page: &Page<InstanceId>,
    ) -> Result<Vec<Instance>, Error> {
        let rows = self.backend().rows(listed(scope, page)).await?;
        rows.into_iter().map(read).collect()
    }

    /// The instances of services, all of them, service by service, oldest first.
    pub async fn instances_of_services(
        &self,
        services: &[ServiceId],
    ) -> Result<Vec<InstanceOfService>, Error> {
        let mut instances = Vec::new();
        for portion in services.chunks(LOOKUP_PORTION) {
            for mut row in self.backend().rows(of_services(portion)).await? {
                instances.push(InstanceOfService {
                    id: row.take()?,
                    service_id: row.take()?,
                    name: row.take()?,
                    address: row.take()?,
                });
            }
        }
        Ok(instances)
    }
}

/// The columns of an instance, in the order in which [`read`] takes them.
const COLUMNS: &str = "i.id, i.account_id, i.service_id, i.name, i.image, i.memory_mb, i.args, \
     i.env, i.address, i.created_at";

impl Named for Instance {
    type Id = InstanceId;

    fn id(&self) -> InstanceId {
        self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}

pub(crate) fn by_ids(scope: Scope, ids: &[InstanceId]) -> Statement {
    let statement = select("i.id in ").list(ids.iter().copied());
    scope.restrict(statement, "i.account_id")
}

pub(crate) fn by_names(scope: Scope, names: &[&str]) -> Statement {
    let statement = select("i.name in ").list(names.iter().copied());
    scope.restrict(statement, "i.account_id")
}

pub(crate) fn listed(scope: Scope, page: &Page<InstanceId>) -> Statement {
    page.restrict(select("1 = 1"), scope, "i")
}

pub(crate) fn of_services(services: &[ServiceId]) -> Statement {
    Statement::new(
        "select i.id, i.service_id, i.name, i.address from instances i where i.service_id in ",
    )
    .list(services.iter().copied())
    .text(" order by i.service_id, i.created_at, i.id")
}

/// Changes nothing, but keeps the service from being removed until the transaction ends.
fn lock_service(id: ServiceId, account: AccountId) -> Statement {
    Statement::new("update services set persistent = persistent where id = ? and account_id = ?")
        .bind(id)
        .bind(account)
}

async fn require_room(transaction: &mut Transaction, service: ServiceId) -> Result<(), Error> {
    let statement = Statement::new("select count(*) from instances where service_id = ?");
    let row = transaction.row(statement.bind(service)).await?;
    let count: i64 = row.map_or(Ok(0), |mut row| row.take())?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= INSTANCES_LIMIT {
        return Err(Error::Full);
    }
    Ok(())
}

fn insertion(instance: NewInstance) -> Result<Statement, Error> {
    let NewInstance {
        id,
        account_id,
        service_id,
        name,
        image,
        memory_mb,
        args,
        env,
        address,
        created_at,
    } = instance;
    within("the name of the instance", NAME_LIMIT, name.len())?;
    within(
        "the image of the instance",
        INSTANCE_TEXT_LIMIT,
        image.len(),
    )?;
    within(
        "the arguments of the instance",
        INSTANCE_TEXT_LIMIT,
        args.len(),
    )?;
    within(
        "the environment of the instance",
        INSTANCE_TEXT_LIMIT,
        env.len(),
    )?;
    let address_length = address.as_ref().map_or(0, String::len);
    within("the address of the instance", NAME_LIMIT, address_length)?;
    Ok(Statement::new(
        "insert into instances (memory_mb, created_at, id, account_id, service_id, name, image, \
         args, env, address) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(memory_mb)
    .bind(created_at)
    .bind(id)
    .bind(account_id)
    .bind(service_id)
    .bind(name)
    .bind(image)
    .bind(args)
    .bind(env)
    .bind(address))
}

fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select {COLUMNS} from instances i where {condition}"
    ))
}

fn read(mut row: Row) -> Result<Instance, Error> {
    Ok(Instance {
        id: row.take()?,
        account_id: row.take()?,
        service_id: row.take()?,
        name: row.take()?,
        image: row.take()?,
        memory_mb: row.take()?,
        args: row.take()?,
        env: row.take()?,
        address: row.take()?,
        created_at: row.take()?,
    })
}
