//! DNS accounts: credentials for all the zones that somebody keeps at one place, whichever these are.
//! A zone of theirs becomes known when a name in it has to be proven, and gets a DNS provider then.

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::directories::within_number;
use crate::dns_providers::{CREDENTIALS_LIMIT, DNS_PROVIDER_KIND_LIMIT, DNS_PROVIDERS_LIMIT};
use crate::domains::DOMAIN_NAME_LIMIT;
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{AccountId, DnsProviderId};
use crate::inventory::within;
use crate::scope::{Scope, page_limit};
use crate::seal::Purpose;
use crate::secret::Secret;
use crate::sql::{Row, Statement};
use crate::store::Store;

/// The most DNS accounts of an account.
pub const DNS_ACCOUNTS_LIMIT: usize = 100;

/// The longest name of a DNS account, in bytes.
pub const DNS_ACCOUNT_NAME_LIMIT: usize = 256;

/// A DNS account, without its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsAccount {
    /// Its identifier, of the same kind as those of DNS providers: clients do not tell them apart.
    pub id: DnsProviderId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// What people call it, unique among those of its kind.
    pub name: String,
    /// How it is spoken to.
    pub kind: String,
    /// Whether an administrator added it, so that it may be anywhere on the network.
    pub is_trusted: bool,
    /// When it was added, to the microsecond.
    pub created_at: OffsetDateTime,
}

/// A zone that a DNS account is to be a provider of.
#[derive(Debug, Clone)]
pub struct NewZone {
    /// The DNS account.
    pub dns_account: DnsProviderId,
    /// The zone: lower case and without a final dot; at most [`DOMAIN_NAME_LIMIT`] bytes.
    pub zone: String,
    /// The identifier of the provider.
    pub provider: DnsProviderId,
    /// What the audit log will say if the zone gets one.
    pub event: NewEvent,
}

impl Store {
    /// Adds a DNS account.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateName`] when there is one of that name and kind, [`Error::UnknownAccount`],
    /// [`Error::TooLong`], [`Error::Full`] beyond [`DNS_ACCOUNTS_LIMIT`].
    pub async fn add_dns_account(
        &self,
        account: DnsAccount,
        credentials: Secret,
        event: NewEvent,
    ) -> Result<(), Error> {
        let DnsAccount {
            id,
            account_id,
            name,
            kind,
            is_trusted,
            created_at,
        } = account;
        let limit = DNS_ACCOUNT_NAME_LIMIT;
        within("the name of the DNS account", limit, name.len())?;
        let limit = DNS_PROVIDER_KIND_LIMIT;
        within("the kind of the DNS account", limit, kind.len())?;
        let credentials = credentials.bytes();
        within("the credentials", CREDENTIALS_LIMIT, credentials.len())?;
        let purpose = Purpose::DnsCredentials;
        let sealed = self.sealer().seal(purpose, id.as_uuid(), credentials)?;
        let insert = Statement::new(
            "insert into dns_accounts (created_at, trusted, id, account_id, name, kind, \
             credentials) select * from (values (?, ?, ?, ?, ?, ?, ?)) as fresh",
        )
        .bind(created_at)
        .bind(is_trusted)
        .bind(id)
        .bind(account_id)
        .bind(name)
        .bind(kind)
        .bind(sealed);
        let owner = Some(account_id);
        let insert = within_number(insert, "dns_accounts", owner, DNS_ACCOUNTS_LIMIT);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(insert.clone()).await? == 0 {
                return Err(Error::Full);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// The DNS accounts of an account, the oldest first.
    pub async fn dns_accounts(&self, scope: Scope) -> Result<Vec<DnsAccount>, Error> {
        let statement = scope.restrict(
            Statement::new(format!("{SELECTION} where true")),
            "account_id",
        );
        let statement = statement
            .text(" order by created_at, id limit ?")
            .bind(page_limit(DNS_ACCOUNTS_LIMIT));
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(read).collect()
    }

    /// The DNS account with this identifier.
    pub async fn dns_account(
        &self,
        scope: Scope,
        id: DnsProviderId,
    ) -> Result<Option<DnsAccount>, Error> {
        let statement = Statement::new(format!("{SELECTION} where id = ?")).bind(id);
        let statement = scope.restrict(statement, "account_id");
        self.backend().row(statement).await?.map(read).transpose()
    }

    /// Removes a DNS account with its credentials, and the DNS providers that were made of it. The
    /// answer is whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while an installation names it.
    pub async fn remove_dns_account(
        &self,
        scope: Scope,
        id: DnsProviderId,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let delete = Statement::new("delete from dns_accounts where id = ?").bind(id);
        let delete = scope.restrict(delete, "account_id");
        let zones = Statement::new("delete from dns_providers where dns_account_id = ?").bind(id);
        let naming = crate::installations::naming(id);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(delete.clone()).await? == 0 {
                return Ok(false);
            }
            if transaction.row(naming.clone()).await?.is_some() {
                return Err(Error::InUse);
            }
            transaction.execute(zones.clone()).await?;
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// Makes a DNS account a provider of a zone, beside those that were made of other DNS accounts,
    /// unless somebody added one for this very zone. The answer is whether something was changed.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the DNS account is gone, [`Error::TooLong`], [`Error::Full`] beyond
    /// [`DNS_PROVIDERS_LIMIT`], [`Error::Duplicate`] when it is made one at this very moment.
    pub async fn provide_zone(&self, scope: Scope, zone: NewZone) -> Result<bool, Error> {
        let zones = self.prepare_zones(scope, vec![zone]).await?;
        in_transaction!(self.backend(), |transaction| {
            let mut events = Vec::new();
            for zone in &zones {
                events.extend(zone.provide(transaction).await?);
            }
            let is_changed = !events.is_empty();
            if is_changed {
                events::insert(transaction, events).await?;
            }
            Ok(is_changed)
        })
    }

    /// Seals the credentials of DNS accounts for providers of zones.
    pub(crate) async fn prepare_zones(
        &self,
        scope: Scope,
        zones: Vec<NewZone>,
    ) -> Result<Vec<PreparedZone>, Error> {
        let mut prepared = Vec::with_capacity(zones.len());
        for zone in zones {
            prepared.push(self.prepare_zone(scope, zone).await?);
        }
        Ok(prepared)
    }

    async fn prepare_zone(&self, scope: Scope, zone: NewZone) -> Result<PreparedZone, Error> {
        let NewZone {
            dns_account,
            zone,
            provider,
            event,
        } = zone;
        within("the name of the zone", DOMAIN_NAME_LIMIT, zone.len())?;
        let Some(owner) = self.dns_account(scope, dns_account).await? else {
            return Err(Error::NotFound);
        };
        let sealed = Statement::new("select credentials from dns_accounts where id = ?");
        let Some(mut row) = self.backend().row(sealed.bind(dns_account)).await? else {
            return Err(Error::NotFound);
        };
        let purpose = Purpose::DnsCredentials;
        let sealed: Vec<u8> = row.take()?;
        let opened = self
            .sealer()
            .open(purpose, dns_account.as_uuid(), &sealed)?;
        let opened = Secret::from(opened);
        let resealed = self
            .sealer()
            .seal(purpose, provider.as_uuid(), opened.bytes())?;
        let there = Statement::new(
            "select 1 from dns_providers where account_id = ? and zone = ? \
             and (dns_account_id is null or dns_account_id = ?)",
        )
        .bind(owner.account_id)
        .bind(zone.as_str())
        .bind(dns_account);
        let insert = Statement::new(
            "insert into dns_providers (created_at, trusted, id, account_id, zone, kind, \
             credentials, dns_account_id) select * from (values (?, ?, ?, ?, ?, ?, ?, ?)) as fresh",
        )
        .bind(event.at)
        .bind(owner.is_trusted)
        .bind(provider)
        .bind(owner.account_id)
        .bind(zone)
        .bind(owner.kind)
        .bind(resealed)
        .bind(dns_account);
        let limited = Some(owner.account_id);
        Ok(PreparedZone {
            there,
            insert: within_number(insert, "dns_providers", limited, DNS_PROVIDERS_LIMIT),
            event: event.into_row(),
        })
    }
}

/// A provider of a zone that is made of a DNS account, ready to be written.
pub(crate) struct PreparedZone {
    there: Statement,
    insert: Statement,
    event: EventRow,
}

impl PreparedZone {
    /// Writes it, unless the zone has one already; the answer is its event.
    pub(crate) async fn provide(
        &self,
        transaction: &mut Transaction,
    ) -> Result<Option<EventRow>, Error> {
        if transaction.row(self.there.clone()).await?.is_some() {
            return Ok(None);
        }
        if transaction.execute(self.insert.clone()).await? == 0 {
            return Err(Error::Full);
        }
        Ok(Some(self.event.clone()))
    }
}

const SELECTION: &str = "select id, account_id, name, kind, trusted, created_at from dns_accounts";

fn read(mut row: Row) -> Result<DnsAccount, Error> {
    Ok(DnsAccount {
        id: row.take()?,
        account_id: row.take()?,
        name: row.take()?,
        kind: row.take()?,
        is_trusted: row.take()?,
        created_at: row.take()?,
    })
}
