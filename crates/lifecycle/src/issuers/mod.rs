//! Issuers: private authorities and ACME directories, under one set of names.
//!
//! A directory is registered with at once when it is added, so that a mistake shows to whoever makes
//! it. Administrators add directories for everybody or for one account; tenants add their own, which
//! have to be reachable in public and through TLS.

mod adding;
mod directory;
mod health;
mod views;
mod waiting;

use std::sync::Arc;

use acme::client::ChallengeKind;
pub use acme::client::{DirectoryInfo, ExternalAccount};
use pki::DnsName;
use store::{AccountId, Removal, Scope, Store};
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::accounts::HOUSE_ACCOUNT;
use crate::challenges::records;
use crate::places::Places;
use crate::settings::Settings;
use crate::{Authorities, DnsProviders, Error, Noun, Principal, Surroundings, events, zones};

pub use adding::NewIssuer;
pub(crate) use adding::check_name;
pub(crate) use directory::{Concurrency, Directory, LoginError};
pub(crate) use health::HealthBook;
pub use views::{Budget, DirectoryView, HealthView, IssuerDetails, IssuerKind, IssuerView};
pub use waiting::Wait;
pub(crate) use waiting::{WAITING, moment, waiting_for};

/// Operations on issuers.
#[derive(Debug, Clone)]
pub struct Issuers {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
    authorities: Authorities,
    dns_providers: DnsProviders,
    health: HealthBook,
    concurrency: Arc<Mutex<Option<(OffsetDateTime, Concurrency)>>>,
    registrations: Places,
}

/// What a name of an issuer stands for.
#[derive(Debug)]
pub(crate) enum Issuer {
    /// A private authority.
    Authority,
    /// An ACME directory.
    Directory(Box<Directory>),
}

impl Issuers {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        authorities: Authorities,
        dns_providers: DnsProviders,
    ) -> Self {
        Self {
            health: HealthBook::new(store.clone()),
            store,
            surroundings,
            settings,
            authorities,
            dns_providers,
            concurrency: Arc::default(),
            registrations: Places::new(
                adding::AT_A_TIME,
                adding::OF_ACCOUNT,
                "as many directories are being added as can be",
            ),
        }
    }

    /// The issuers that the caller can use: authorities by name, then directories by rank.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<IssuerView>, Error> {
        let account = principal.account_id();
        let default = self.default_of(account).await?;
        let mut authorities = self.authorities.names().await?;
        authorities.sort();
        let mut views: Vec<IssuerView> = authorities
            .into_iter()
            .map(|name| IssuerView {
                is_default: name == default,
                name,
                kind: IssuerKind::Authority,
                is_shared: true,
            })
            .collect();
        let mut is_taken = false;
        for row in self.store.directories(principal.scope()).await? {
            let directory = Directory::of(row);
            let is_own = directory.row.account_id.is_some();
            // An own directory hides a shared one of the same name.
            let is_default = directory.row.name == default && (is_own || !is_taken);
            is_taken |= is_default;
            views.push(self.view(&directory, is_default).await?);
        }
        Ok(views)
    }

    /// An issuer with what is left of its limits, and what the directory says of itself now.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn show(&self, principal: &Principal, name: &str) -> Result<IssuerDetails, Error> {
        let account = principal.account_id();
        let is_default = self.default_of(account).await? == name;
        match self.resolve(account, name).await? {
            Issuer::Authority => Ok(IssuerDetails {
                issuer: IssuerView {
                    name: name.to_owned(),
                    kind: IssuerKind::Authority,
                    is_shared: true,
                    is_default,
                },
                budgets: Vec::new(),
                directory: None,
            }),
            Issuer::Directory(directory) => {
                let client = &self.surroundings.network().directories;
                let said = client.directory(&directory.endpoint()).await;
                Ok(IssuerDetails {
                    issuer: self.view(&directory, is_default).await?,
                    budgets: self.budgets(&directory, account).await?,
                    directory: Some(said.map_err(|failure| failure.to_string())),
                })
            }
        }
    }

    /// Gives a directory up. What names it is `successor`'s from then on: certificates, whose number
    /// is returned, and choices of a default issuer. Orders there are dropped.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for a successor that those concerned cannot use;
    /// [`Error::Forbidden`]; [`Error::Unfit`] without a successor while something names the
    /// directory, and for one that succeeds itself.
    pub async fn remove(
        &self,
        principal: &Principal,
        name: &str,
        successor: Option<&str>,
    ) -> Result<u64, Error> {
        let directory = self.own(principal, name).await?;
        let mut detail = name.to_owned();
        if let Some(successor) = successor {
            if successor == name {
                return Err(Error::Unfit {
                    reason: format!("'{name}' cannot take over its own certificates; name another"),
                });
            }
            self.check_successor(&directory, successor).await?;
            detail = format!("{name}: {successor} takes over");
        }
        let event = self.event(principal, events::ISSUER_REMOVED, &directory, &detail);
        let (scope, id) = (principal.administered_scope(), directory.row.id);
        let removal = self.store.remove_directory(scope, id, successor, event);
        match removal.await? {
            Removal::Removed { certificates } => Ok(certificates),
            Removal::Unknown => Err(Error::not_found(Noun::Issuer, name)),
            Removal::InUse {
                certificates,
                accounts,
            } => Err(Error::Unfit {
                reason: format!(
                    "'{name}' obtains {certificates} certificates and is the default issuer of \
                     {accounts} accounts; name the issuer that takes over: `chancery issuer rm \
                     {name} --successor NAME` (in the API, `?successor=NAME`)"
                ),
            }),
        }
    }

    /// Refuses a successor that any of those cannot use who may name the directory.
    async fn check_successor(&self, directory: &Directory, successor: &str) -> Result<(), Error> {
        if let Some(owner) = directory.row.account_id {
            return self.resolve(owner, successor).await.map(drop);
        }
        match self.authorities.named(successor).await {
            Err(Error::NotFound { .. }) => {}
            authority => return authority.map(drop),
        }
        let shared = self.store.directory_named(None, successor).await?;
        match shared {
            Some(_) => Ok(()),
            // Neither is one of the caller's own anybody else's.
            None => Err(Error::not_found(Noun::Issuer, successor)),
        }
    }

    /// Makes an issuer the one that obtains certificates when none is named: for the caller's
    /// account, or for everybody with `for_all`, which administrators may.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn make_default(
        &self,
        principal: &Principal,
        name: &str,
        for_all: bool,
    ) -> Result<(), Error> {
        principal.require_write()?;
        let account = if for_all {
            principal.require_administrator()?;
            self.operator().await?
        } else {
            principal.account_id()
        };
        self.choose_default(principal, account, name).await
    }

    /// Has an account use an issuer where none is named.
    pub(super) async fn choose_default(
        &self,
        principal: &Principal,
        account: AccountId,
        name: &str,
    ) -> Result<(), Error> {
        let name = self.usable(account, name).await?;
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(account),
            events::ISSUER_CHOSEN,
            None,
            &name,
        );
        Ok(self.store.set_default_issuer(account, &name, event).await?)
    }

    /// Changes the place of a directory in the order of preference; see [`NewIssuer::rank`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn rank(&self, principal: &Principal, name: &str, rank: u32) -> Result<(), Error> {
        let directory = self.own(principal, name).await?;
        let detail = format!("{name}: {rank}");
        let event = self.event(principal, events::ISSUER_RANKED, &directory, &detail);
        let (scope, id) = (principal.administered_scope(), directory.row.id);
        if self.store.rank_directory(scope, id, rank, event).await? {
            return Ok(());
        }
        Err(Error::not_found(Noun::Issuer, name))
    }

    /// The name of an issuer that an account can use.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn usable(&self, account: AccountId, name: &str) -> Result<String, Error> {
        self.resolve(account, name).await.map(|_| name.to_owned())
    }

    /// What an account means by the name of an issuer.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn resolve(&self, account: AccountId, name: &str) -> Result<Issuer, Error> {
        match self.authorities.named(name).await {
            Err(Error::NotFound { .. }) => {}
            authority => return authority.map(|_| Issuer::Authority),
        }
        let found = self.store.directory_named(Some(account), name).await?;
        let row = found.ok_or_else(|| Error::not_found(Noun::Issuer, name))?;
        Ok(Issuer::Directory(Box::new(Directory::of(row))))
    }

    /// The name of what obtains the caller's certificates when no issuer is named.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn default_name(&self, principal: &Principal) -> Result<String, Error> {
        self.default_of(principal.account_id()).await
    }

    /// The name of what obtains an account's certificates when nothing is named. That there is such
    /// an issuer is not checked: there may be one tomorrow.
    pub(crate) async fn default_of(&self, account: AccountId) -> Result<String, Error> {
        if let Some(name) = self.store.default_issuer(account).await? {
            return Ok(name);
        }
        let operator = self.operator().await?;
        let name = self.store.default_issuer(operator).await?;
        Ok(name.unwrap_or_else(|| self.settings.default_issuer.clone()))
    }

    /// Why an issuer cannot prove control over the zone of a wildcard for an account, and what to do;
    /// `None` if it can. A private authority has nothing to prove.
    pub(crate) async fn obstacle_of_zone(
        &self,
        account: AccountId,
        issuer: &str,
        wildcard: &DnsName,
    ) -> Result<Option<String>, Error> {
        match self.resolve(account, issuer).await {
            Ok(Issuer::Authority) => Ok(None),
            Ok(Issuer::Directory(_)) => {
                if self.dns_providers.covers(account, wildcard).await? {
                    return Ok(None);
                }
                let advice = zones::advice(wildcard.as_str());
                let obstacle = format!("a wildcard is proven by a DNS record; {advice}");
                self.without_standing_record(account, issuer, wildcard, obstacle)
                    .await
            }
            Err(error @ Error::NotFound { .. }) => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// What is in the way of a wildcard whose zone has no provider: nothing if its owner has published
    /// a record that stays, or the directory says that one will do: then the certificate tells which.
    async fn without_standing_record(
        &self,
        account: AccountId,
        issuer: &str,
        wildcard: &DnsName,
        obstacle: String,
    ) -> Result<Option<String>, Error> {
        let kind = ChallengeKind::DnsPersist01;
        let login = self.login_of(account, issuer).await?;
        let Some(login) = login.filter(|_| self.settings.acme.challenges.contains(&kind)) else {
            return Ok(Some(obstacle));
        };
        let network = self.surroundings.network();
        let Ok(info) = network.directories.directory(&login.endpoint).await else {
            return Ok(Some(obstacle));
        };
        if !info.persistent_issuers.is_empty() {
            return Ok(None);
        }
        let host = wildcard.as_str();
        let host = host.strip_prefix("*.").unwrap_or(host);
        let uri = records::account_uri(&info, &login, host).map_err(Error::signing)?;
        let issuers = &info.caa_identities;
        let Some(value) = records::persist_value(issuers, &uri, true) else {
            return Ok(Some(obstacle));
        };
        let record = records::persist_name(host);
        let now = self.surroundings.now().unix_timestamp();
        let texts = network.resolver.text(&record).await.unwrap_or_default();
        let does = |text: &String| records::persists(text, issuers, &uri, true, now);
        Ok((!texts.iter().any(does)).then(|| {
            format!(
                "{obstacle}, or publish the TXT record {record} with the text \"{value}\", if the \
                 directory offers dns-persist-01, and ask again"
            )
        }))
    }

    /// The directories that may obtain a certificate of an account which names `directory`: itself,
    /// then those that step in for it, by rank.
    pub(crate) async fn candidates(
        &self,
        account: AccountId,
        directory: Directory,
    ) -> Result<Vec<Directory>, Error> {
        let rows = self.store.directories(Scope::Account(account)).await?;
        let others = rows
            .into_iter()
            .filter(|row| row.rank > 0 && row.id != directory.row.id)
            .map(Directory::of);
        Ok(std::iter::once(directory.clone()).chain(others).collect())
    }

    /// A directory by its identifier, while it is there.
    pub(crate) async fn directory(
        &self,
        id: store::DirectoryId,
    ) -> Result<Option<Directory>, Error> {
        let row = self.store.directory(Scope::Everything, id).await?;
        Ok(row.map(Directory::of))
    }

    /// How directories have done lately.
    pub(crate) fn health(&self) -> &HealthBook {
        &self.health
    }

    /// The directory of that name which the caller may change.
    async fn own(&self, principal: &Principal, name: &str) -> Result<Directory, Error> {
        principal.require_write()?;
        match self.resolve(principal.account_id(), name).await? {
            Issuer::Authority => Err(Error::Unsupported {
                reason: format!("'{name}' is an authority of this server, not an ACME directory"),
            }),
            Issuer::Directory(directory) => {
                if directory.is_shared() && principal.stands_in() {
                    return Err(Error::not_found(Noun::Issuer, name));
                }
                if directory.is_shared() {
                    principal.require_administrator()?;
                }
                Ok(*directory)
            }
        }
    }

    /// The account whose default is everybody's.
    async fn operator(&self) -> Result<AccountId, Error> {
        let account = self.store.account_by_name(HOUSE_ACCOUNT).await?;
        let account = account.ok_or_else(|| Error::not_found(Noun::Account, HOUSE_ACCOUNT))?;
        Ok(account.id)
    }

    fn event(
        &self,
        principal: &Principal,
        kind: &'static str,
        directory: &Directory,
        detail: &str,
    ) -> store::NewEvent {
        events::of(
            &self.surroundings,
            principal.account_name(),
            directory.row.account_id,
            kind,
            Some(directory.row.id.as_uuid()),
            detail,
        )
    }
}
