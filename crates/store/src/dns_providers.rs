//! DNS providers: who can publish records in a zone, and with which credentials.
//!
//! A provider belongs to an account, or is shared by the operator with all of them. Which fields
//! credentials have is known elsewhere; here they are sealed bytes.

use std::cmp::Reverse;

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::directories::{reachable, within_number};
use crate::domains::DOMAIN_NAME_LIMIT;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, DnsProviderId};
use crate::inventory::within;
use crate::references::LOOKUP_PORTION;
use crate::scope::{PAGE_LIMIT, Scope, page_limit};
use crate::seal::Purpose;
use crate::secret::Secret;
use crate::sql::{Row, Statement};
use crate::store::Store;

/// The most DNS providers that an account has of its own.
pub const DNS_PROVIDERS_LIMIT: usize = 1_000;

/// The longest kind of a DNS provider, in bytes.
pub const DNS_PROVIDER_KIND_LIMIT: usize = 64;

/// The longest credentials of a DNS provider, in bytes.
pub const CREDENTIALS_LIMIT: usize = 64 * 1024;

/// A DNS provider to be added.
#[derive(Debug, Clone)]
pub struct NewDnsProvider {
    /// Its identifier.
    pub id: DnsProviderId,
    /// The account that it belongs to; none for one that the operator shares with all accounts.
    pub account_id: Option<AccountId>,
    /// The zone that it can change, unique among those that were added for their zones to the same
    /// owner: lower case and without a final dot; at most [`DOMAIN_NAME_LIMIT`] bytes.
    pub zone: String,
    /// How it is spoken to, such as `rfc2136`; at most [`DNS_PROVIDER_KIND_LIMIT`] bytes.
    pub kind: String,
    /// What it wants to see; at most [`CREDENTIALS_LIMIT`] bytes.
    pub credentials: Secret,
    /// Whether an administrator added it, so that it may be anywhere on the network.
    pub is_trusted: bool,
    /// When it is added.
    pub created_at: OffsetDateTime,
}

/// A DNS provider, without its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProvider {
    /// Its identifier.
    pub id: DnsProviderId,
    /// The account that it belongs to; none for one that the operator shares with all accounts.
    pub account_id: Option<AccountId>,
    /// The zone that it can change.
    pub zone: String,
    /// How it is spoken to.
    pub kind: String,
    /// Whether an administrator added it.
    pub is_trusted: bool,
    /// The DNS account that it was made of; none for one that somebody added for this very zone.
    pub dns_account_id: Option<DnsProviderId>,
    /// When it was added, to the microsecond.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// Adds a DNS provider.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateName`] when its owner has one for that zone, [`Error::UnknownAccount`],
    /// [`Error::TooLong`], [`Error::Full`] beyond [`DNS_PROVIDERS_LIMIT`] of an account.
    pub async fn add_dns_provider(
        &self,
        provider: NewDnsProvider,
        event: NewEvent,
    ) -> Result<(), Error> {
        let NewDnsProvider {
            id,
            account_id,
            zone,
            kind,
            credentials,
            is_trusted,
            created_at,
        } = provider;
        within("the name of the zone", DOMAIN_NAME_LIMIT, zone.len())?;
        let length = kind.len();
        within("the kind of the provider", DNS_PROVIDER_KIND_LIMIT, length)?;
        let credentials = credentials.bytes();
        within("the credentials", CREDENTIALS_LIMIT, credentials.len())?;
        let purpose = Purpose::DnsCredentials;
        let sealed = self.sealer().seal(purpose, id.as_uuid(), credentials)?;
        let insert = Statement::new(
            "insert into dns_providers (created_at, trusted, id, account_id, zone, kind, \
             credentials) select * from (values (?, ?, ?, ?, ?, ?, ?)) as fresh",
        )
        .bind(created_at)
        .bind(is_trusted)
        .bind(id)
        .bind(account_id)
        .bind(zone)
        .bind(kind)
        .bind(sealed);
        let insert = within_number(insert, "dns_providers", account_id, DNS_PROVIDERS_LIMIT);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(insert.clone()).await? == 0 {
                return Err(Error::Full);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// The DNS providers that an account may use: its own and the shared ones; under
    /// [`Scope::Everything`], those of all accounts. By zone, those after `after`, at most `limit`
    /// (and never more than 1,000).
    pub async fn dns_providers(
        &self,
        scope: Scope,
        after: Option<&DnsProvider>,
        limit: usize,
    ) -> Result<Vec<DnsProvider>, Error> {
        let rows = self.backend().rows(listed(scope, after, limit)).await?;
        rows.into_iter().map(read).collect()
    }

    /// The DNS provider with this identifier, the account's own or a shared one.
    pub async fn dns_provider(
        &self,
        scope: Scope,
        id: DnsProviderId,
    ) -> Result<Option<DnsProvider>, Error> {
        let statement = reachable(select("id = ?").bind(id), scope);
        self.backend().row(statement).await?.map(read).transpose()
    }

    /// The DNS providers for these very zones that an account may use: those with longer names
    /// first, and of one zone the account's own before a shared one; of the account's own, the one
    /// that somebody added for the zone before those that were made of DNS accounts, and of these
    /// the newest. Who looks for the provider of a name asks for the name and all its parents, and
    /// takes the first.
    pub async fn dns_providers_for(
        &self,
        account: AccountId,
        zones: &[&str],
    ) -> Result<Vec<DnsProvider>, Error> {
        let mut found = Vec::new();
        for portion in zones.chunks(LOOKUP_PORTION) {
            for row in self.backend().rows(for_zones(account, portion)).await? {
                found.push(read(row)?);
            }
        }
        found.sort_by(|one: &DnsProvider, other: &DnsProvider| {
            let key = |provider: &DnsProvider| {
                let length = provider.zone.len();
                (
                    Reverse(length),
                    provider.account_id.is_none(),
                    provider.dns_account_id.is_some(),
                    Reverse(provider.created_at),
                )
            };
            key(one)
                .cmp(&key(other))
                .then_with(|| one.zone.cmp(&other.zone))
        });
        Ok(found)
    }

    /// The credentials of a DNS provider, for those who speak to it.
    ///
    /// # Errors
    ///
    /// [`Error::Seal`] when they were sealed under another master key, or damaged.
    pub async fn dns_credentials(&self, id: DnsProviderId) -> Result<Option<Secret>, Error> {
        let statement = Statement::new("select credentials from dns_providers where id = ?");
        let Some(mut row) = self.backend().row(statement.bind(id)).await? else {
            return Ok(None);
        };
        let sealed: Vec<u8> = row.take()?;
        let purpose = Purpose::DnsCredentials;
        let opened = self.sealer().open(purpose, id.as_uuid(), &sealed)?;
        Ok(Some(opened.into()))
    }

    /// Removes a DNS provider with its credentials; the answer is whether there was one. An account
    /// removes its own only.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while an installation names it.
    pub async fn remove_dns_provider(
        &self,
        scope: Scope,
        id: DnsProviderId,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let delete = Statement::new("delete from dns_providers where id = ?").bind(id);
        let delete = scope.restrict(delete, "account_id");
        let naming = crate::installations::naming(id);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(delete.clone()).await? == 0 {
                return Ok(false);
            }
            if transaction.row(naming.clone()).await?.is_some() {
                return Err(Error::InUse);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }
}

pub(crate) fn listed(scope: Scope, after: Option<&DnsProvider>, limit: usize) -> Statement {
    let nil = DnsProviderId::from_uuid(uuid::Uuid::nil());
    let (zone, id) = after.map_or(("", nil), |provider| (&provider.zone, provider.id));
    let statement = match scope {
        Scope::Account(account) => select("account_id = ? and (zone, id) > (?, ?)")
            .bind(account)
            .bind(zone)
            .bind(id)
            .text(" union all ")
            .text(&selection("account_id is null and (zone, id) > (?, ?)"))
            .bind(zone)
            .bind(id),
        Scope::Everything => select("(zone, id) > (?, ?)").bind(zone).bind(id),
    };
    statement
        .text(" order by zone, id limit ?")
        .bind(page_limit(limit))
}

pub(crate) fn for_zones(account: AccountId, zones: &[&str]) -> Statement {
    select("account_id = ? and zone in ")
        .bind(account)
        .list(zones.iter().copied())
        .text(" union all ")
        .text(&selection("account_id is null and zone in "))
        .list(zones.iter().copied())
        .text(" limit ?")
        .bind(page_limit(PAGE_LIMIT))
}

fn select(condition: &str) -> Statement {
    Statement::new(selection(condition))
}

fn selection(condition: &str) -> String {
    format!(
        "select id, account_id, zone, kind, trusted, dns_account_id, created_at \
         from dns_providers where {condition}"
    )
}

fn read(mut row: Row) -> Result<DnsProvider, Error> {
    Ok(DnsProvider {
        id: row.take()?,
        account_id: row.take()?,
        zone: row.take()?,
        kind: row.take()?,
        is_trusted: row.take()?,
        dns_account_id: row.take()?,
        created_at: row.take()?,
    })
}
