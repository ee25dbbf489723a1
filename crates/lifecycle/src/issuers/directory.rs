//! A directory as the house works with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use acme::client::{AccountKey, Endpoint, Login, Registration};
use store::{AccountId, Scope};
use zeroize::Zeroizing;

use super::{Issuer, Issuers};
use crate::Error;
use crate::schedule::Limits;

/// A directory with its limits.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    /// What the store says of it.
    pub(crate) row: store::Directory,
    /// What it allows.
    pub(crate) limits: Limits,
}

impl Directory {
    /// Its name, if everybody uses it.
    pub(crate) fn shared_name(&self) -> Option<&str> {
        let is_shared = self.row.account_id.is_none();
        is_shared.then_some(self.row.name.as_str())
    }

    pub(crate) fn of(row: store::Directory) -> Self {
        // They were read when the directory was added. Should a later release have written some that
        // this one cannot read, the usual ones are the safest.
        let limits = row.limits.as_deref().map(Limits::from_json);
        let limits = limits.and_then(Result::ok).unwrap_or_default();
        Self { row, limits }
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            url: self.row.url.clone(),
            roots: self.row.roots.as_deref().map(Arc::from),
            is_trusted: self.row.is_trusted,
        }
    }

    /// Whether accounts share what it allows.
    pub(crate) fn is_shared(&self) -> bool {
        self.row.account_id.is_none()
    }
}

/// How long it is believed how many attempts may be made at a time.
const KNOWN: Duration = Duration::from_secs(10);

/// How many attempts a node makes at a time for what names an issuer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Concurrency {
    shared: Arc<HashMap<String, usize>>,
    own: Arc<HashMap<AccountId, HashMap<String, usize>>>,
}

impl Concurrency {
    /// Of shared directories, and of accounts' own.
    pub(crate) fn new<Name: Into<String>>(
        shared: impl IntoIterator<Item = (Name, usize)>,
        own: impl IntoIterator<Item = (AccountId, Name, usize)>,
    ) -> Self {
        let shared = shared
            .into_iter()
            .map(|(name, places)| (name.into(), places));
        let mut owners: HashMap<AccountId, HashMap<String, usize>> = HashMap::new();
        for (account, name, places) in own {
            let names = owners.entry(account).or_default();
            names.insert(name.into(), places);
        }
        Self {
            shared: Arc::new(shared.collect()),
            own: Arc::new(owners),
        }
    }

    /// For that shared issuer.
    pub(crate) fn shared(&self, issuer: &str) -> usize {
        let usual = || places(Limits::default().concurrency);
        self.shared.get(issuer).copied().unwrap_or_else(usual)
    }

    /// For what an account means by that name, if it is a directory of its own.
    pub(crate) fn own(&self, account: AccountId, issuer: &str) -> Option<usize> {
        self.own.get(&account)?.get(issuer).copied()
    }

    /// For any shared issuer.
    pub(crate) fn least_shared(&self) -> usize {
        let usual = places(Limits::default().concurrency);
        self.shared.values().copied().fold(usual, usize::min)
    }

    /// For any account's own.
    pub(crate) fn least_own(&self) -> usize {
        let all = self.own.values().flat_map(HashMap::values);
        all.copied().fold(usize::MAX, usize::min)
    }
}

fn places(concurrency: u32) -> usize {
    usize::try_from(concurrency).unwrap_or(usize::MAX)
}

/// Why there is no account to order with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The directory did not open one.
    #[error(transparent)]
    Directory(#[from] acme::client::Failure),
    /// The store failed.
    #[error(transparent)]
    House(#[from] Error),
}

impl Issuers {
    /// How many attempts are made at a time, as it was some seconds ago.
    pub(crate) async fn concurrency(&self) -> Result<Concurrency, Error> {
        let mut known = self.concurrency.lock().await;
        let now = self.surroundings.now();
        if let Some((then, concurrency)) = &*known
            && *then <= now
            && now < *then + KNOWN
        {
            return Ok(concurrency.clone());
        }
        let rows = self.store.directories(Scope::Everything).await?;
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        for directory in rows.into_iter().map(Directory::of) {
            let places = places(directory.limits.concurrency);
            let name = directory.row.name;
            match directory.row.account_id {
                None => shared.push((name, places)),
                Some(account) => own.push((account, name, places)),
            }
        }
        let concurrency = Concurrency::new(shared, own);
        *known = Some((now, concurrency.clone()));
        Ok(concurrency)
    }

    /// The account with the directory that an account means by a name, if one was opened.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn login_of(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<Login>, Error> {
        let directory = match self.resolve(account, name).await {
            Ok(Issuer::Directory(directory)) if directory.row.account_url.is_some() => directory,
            Ok(_) | Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.login(&directory).await {
            Ok(login) => Ok(Some(login)),
            Err(LoginError::House(Error::NotFound { .. }) | LoginError::Directory(_)) => Ok(None),
            Err(LoginError::House(error)) => Err(error),
        }
    }

    /// Our account with a directory, opened if that was not done yet.
    pub(crate) async fn login(&self, directory: &Directory) -> Result<Login, LoginError> {
        let keys = self.store.directory_keys(directory.row.id).await;
        let keys = keys.map_err(Error::from)?;
        let gone = || Error::not_found(crate::Noun::Issuer, &directory.row.name);
        let keys = keys.ok_or_else(gone)?;
        let pkcs8 = Zeroizing::new(keys.account_key.bytes().to_vec());
        let key = Arc::new(AccountKey::from_pkcs8(pkcs8));
        let endpoint = directory.endpoint();
        let account_url = match &directory.row.account_url {
            Some(url) => url.clone(),
            None => {
                let registration = Registration {
                    key: key.clone(),
                    contact: directory.row.contact.clone(),
                    agrees_to_terms: true,
                    external_account: keys.external_account.map(|account| {
                        acme::client::ExternalAccount {
                            key_id: account.key_id,
                            hmac_key: Zeroizing::new(account.key.bytes().to_vec()),
                        }
                    }),
                };
                let client = &self.surroundings.network().directories;
                let url = client.register(&endpoint, &registration).await?;
                let kept = self.store.set_account_url(directory.row.id, &url).await;
                kept.map_err(Error::from)?;
                url
            }
        };
        Ok(Login {
            endpoint,
            account_url,
            key,
        })
    }
}
