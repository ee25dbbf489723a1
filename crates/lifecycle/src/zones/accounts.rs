//! DNS accounts: credentials for whatever zones somebody keeps at one place. Which zones these are
//! nobody says; a zone is found, and gets a provider of its own, when a certificate names the DNS
//! account for names in it.

use dns::Credentials;
use pki::DnsName;
use store::{DnsProviderId, PAGE_LIMIT, Secret, Store};
use time::OffsetDateTime;

use super::DnsProviders;
use crate::{Error, Noun, Principal, Surroundings, events};

/// Longest name of a DNS account, in characters.
const MAX_NAME: usize = 64;
/// Kinds that can be kept although there is no driver for them, with what they want to see: orders
/// that need their records fail, and say so.
const WITHOUT_DRIVER: [(&str, &[&str]); 2] = [
    ("gehirn", &["token", "secret"]),
    ("sakuracloud", &["token", "secret"]),
];

/// Credentials for all zones at one place.
#[derive(Debug, Clone)]
pub struct NewDnsAccount {
    /// What people call it.
    pub name: String,
    /// The kind of provider, such as `hetzner`.
    pub kind: String,
    /// What the provider wants to see.
    pub credentials: Credentials,
}

/// Whoever writes records for an account: a DNS account, or the provider of a single zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordWriter {
    /// Its identifier.
    pub id: DnsProviderId,
    /// What people call it: the name of the DNS account, or the zone.
    pub name: String,
    /// The kind of provider.
    pub kind: String,
    /// When it was added.
    pub created_at: OffsetDateTime,
}

/// Operations on DNS accounts.
#[derive(Debug, Clone)]
pub struct DnsAccounts {
    store: Store,
    surroundings: Surroundings,
    providers: DnsProviders,
}

impl DnsAccounts {
    pub(crate) fn new(store: Store, surroundings: Surroundings, providers: DnsProviders) -> Self {
        Self {
            store,
            surroundings,
            providers,
        }
    }

    /// Adds a DNS account to the caller's account. Its credentials are sealed; whether they work
    /// shows when they are used.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is none, an unknown kind, or credentials that lack a field;
    /// [`Error::NameTaken`]; [`Error::Unfit`] when there are too many; [`Error::Forbidden`].
    pub async fn add(
        &self,
        principal: &Principal,
        account: NewDnsAccount,
    ) -> Result<RecordWriter, Error> {
        principal.require_write()?;
        let NewDnsAccount {
            name,
            kind,
            credentials,
        } = account;
        check_name(&name)?;
        check_credentials(&kind, &credentials)?;
        let account = store::DnsAccount {
            id: DnsProviderId::from_random(self.surroundings.random()),
            account_id: principal.account_id(),
            name,
            kind,
            is_trusted: principal.is_administrator(),
            created_at: self.surroundings.now(),
        };
        let event = self.event(
            principal,
            events::DNS_ACCOUNT_ADDED,
            account.id,
            &account.name,
        );
        let secret = Secret::from(credentials.to_json().as_bytes().to_vec());
        let added = self.store.add_dns_account(account.clone(), secret, event);
        match added.await {
            Ok(()) => Ok(RecordWriter::from(account)),
            Err(store::Error::DuplicateName) => Err(Error::NameTaken {
                noun: Noun::DnsProvider,
                name: account.name,
            }),
            Err(store::Error::Full) => Err(Error::Unfit {
                reason: format!(
                    "an account has at most {} DNS accounts",
                    store::DNS_ACCOUNTS_LIMIT
                ),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Whatever can write records for the caller: its DNS accounts, the oldest first, then the
    /// providers of single zones, its own and the shared ones, by zone.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<RecordWriter>, Error> {
        let scope = principal.scope();
        let accounts = self.store.dns_accounts(scope).await?;
        let mut writers: Vec<RecordWriter> = accounts.into_iter().map(RecordWriter::from).collect();
        let mut after: Option<store::DnsProvider> = None;
        loop {
            let page = self.store.dns_providers(scope, after.as_ref(), PAGE_LIMIT);
            let page = page.await?;
            let is_last = page.len() < PAGE_LIMIT;
            after = page.last().cloned();
            let explicit = page.into_iter().filter(|one| one.dns_account_id.is_none());
            writers.extend(explicit.map(RecordWriter::from));
            if is_last {
                return Ok(writers);
            }
        }
    }

    /// Removes a DNS account and the providers of its zones, or the provider of a single zone.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::InUse`] while a certificate names it.
    pub async fn remove(
        &self,
        principal: &Principal,
        id: DnsProviderId,
    ) -> Result<RecordWriter, Error> {
        principal.require_write()?;
        let scope = principal.scope();
        let Some(account) = self.store.dns_account(scope, id).await? else {
            return self.remove_provider(principal, id).await;
        };
        let event = self.event(principal, events::DNS_ACCOUNT_REMOVED, id, &account.name);
        match self.store.remove_dns_account(scope, id, event).await {
            Ok(true) => Ok(RecordWriter::from(account)),
            Ok(false) => Err(Error::not_found(Noun::DnsProvider, id)),
            Err(store::Error::InUse) => Err(in_use(&account.name)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether somebody who is named writes the records of whatever zone it takes: a DNS account
    /// does, the provider of a single zone does not.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn is_account(
        &self,
        principal: &Principal,
        id: DnsProviderId,
    ) -> Result<bool, Error> {
        let account = self.store.dns_account(principal.scope(), id).await?;
        Ok(account.is_some())
    }

    /// What makes this DNS account a provider of the zones of these names, unless somebody added a
    /// provider for a zone itself. The provider of a single zone writes their records already, or
    /// never will.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn zones_for(
        &self,
        principal: &Principal,
        id: DnsProviderId,
        names: &[DnsName],
    ) -> Result<Vec<store::NewZone>, Error> {
        if !self.is_account(principal, id).await? {
            return match self.store.dns_provider(principal.scope(), id).await? {
                Some(_) => Ok(Vec::new()),
                None => Err(Error::not_found(Noun::DnsProvider, id)),
            };
        }
        let (account, actor) = (principal.account_id(), principal.account_name());
        let zones = self.providers.zones_of(names).await.into_iter();
        let zones = zones.map(|zone| self.providers.new_zone(account, actor, id, zone));
        Ok(zones.collect())
    }

    async fn remove_provider(
        &self,
        principal: &Principal,
        id: DnsProviderId,
    ) -> Result<RecordWriter, Error> {
        let found = self.store.dns_provider(principal.scope(), id).await?;
        let found = found.filter(|found| found.dns_account_id.is_none());
        let found = found.ok_or_else(|| Error::not_found(Noun::DnsProvider, id))?;
        if found.account_id.is_none() {
            principal.require_administrator()?;
        }
        self.providers.remove_found(principal, &found).await?;
        Ok(RecordWriter::from(found))
    }

    fn event(
        &self,
        principal: &Principal,
        kind: &'static str,
        id: DnsProviderId,
        detail: &str,
    ) -> store::NewEvent {
        events::of(
            &self.surroundings,
            principal.account_name(),
            Some(principal.account_id()),
            kind,
            Some(id.as_uuid()),
            detail,
        )
    }
}

impl From<store::DnsAccount> for RecordWriter {
    fn from(account: store::DnsAccount) -> Self {
        Self {
            id: account.id,
            name: account.name,
            kind: account.kind,
            created_at: account.created_at,
        }
    }
}

impl From<store::DnsProvider> for RecordWriter {
    fn from(provider: store::DnsProvider) -> Self {
        Self {
            id: provider.id,
            name: provider.zone,
            kind: provider.kind,
            created_at: provider.created_at,
        }
    }
}

pub(super) fn in_use(name: &str) -> Error {
    Error::InUse {
        noun: Noun::DnsProvider,
        name: name.to_owned(),
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.chars().count() > MAX_NAME {
        return Err(Error::TooLong {
            field: "key",
            limit: MAX_NAME,
        });
    }
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(Error::invalid("key", "a DNS account needs a name"));
    }
    Ok(())
}

fn check_credentials(kind: &str, credentials: &Credentials) -> Result<(), Error> {
    let invalid = |reason: String| Err(Error::invalid("credentials", reason));
    let undriven = WITHOUT_DRIVER.iter().find(|(name, _)| *name == kind);
    let Some((_, fields)) = undriven else {
        return match dns::check(kind, credentials) {
            Ok(()) => Ok(()),
            Err(error) => invalid(error.to_string()),
        };
    };
    if let Some(unknown) = credentials.names().find(|name| !fields.contains(name)) {
        let shown: String = unknown.chars().take(MAX_NAME).collect();
        let shown = shown.escape_debug();
        return invalid(format!("credentials for {kind} have no field {shown}"));
    }
    let is_given = |field: &str| {
        credentials
            .field(field)
            .is_some_and(|text| !text.is_empty())
    };
    match fields.iter().find(|field| !is_given(field)) {
        Some(missing) => invalid(format!("credentials for {kind} need the field {missing}")),
        None => Ok(()),
    }
}
