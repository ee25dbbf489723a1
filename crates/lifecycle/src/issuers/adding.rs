//! Adding a directory: the request is checked, the directory is asked for an account, and only then
//! the directory is there.

use std::sync::Arc;
use std::time::Duration;

use acme::ErrorKind;
use acme::client::{
    AccountKey, DirectoryInfo, Endpoint, ExternalAccount, Failure, Login, Registration,
};
use pki::{DnsName, KeyAlgorithm, PrivateKey};
use store::{AccountId, DirectoryId, NewDirectory, Scope, Secret};
use zeroize::Zeroizing;

use super::{Directory, IssuerView, Issuers};
use crate::accounts::HOUSE_ACCOUNT;
use crate::schedule::Limits;
use crate::{Error, Noun, Principal, events};

/// Directories that are being added at a time on a node, and by one account: each may be slow.
pub(super) const AT_A_TIME: usize = 16;
pub(super) const OF_ACCOUNT: usize = 2;
/// Longest name, in characters.
const MAX_NAME: usize = 64;
/// How long a directory may take to say whether it knows a key.
const PATIENCE: Duration = Duration::from_secs(15);

/// An ACME directory to be added.
#[derive(Debug, Clone, Default)]
pub struct NewIssuer {
    /// Its name; neither an authority's nor that of another issuer of the same owner.
    pub name: String,
    /// URL of the directory object.
    pub url: String,
    /// E-mail address that the directory may write to.
    pub contact: Option<String>,
    /// Whether the terms of service are agreed to.
    pub agrees_to_terms: bool,
    /// Trust anchors for its TLS, PEM, instead of the system's. Administrators only.
    pub roots: Option<String>,
    /// The account elsewhere that the new one is bound to.
    pub external_account: Option<ExternalAccount>,
    /// The profile of all orders, of those on offer.
    pub profile: Option<String>,
    /// Common name of an issuer in the chain that is preferred when there are several chains.
    pub preferred_chain: Option<String>,
    /// The directory's limits as JSON, where they are not Let's Encrypt's.
    pub limits: Option<String>,
    /// The account that it is for. Without one, an administrator's is for everybody and a tenant's
    /// for the tenant. Administrators only.
    pub account: Option<String>,
    /// Its place in the order of preference, the lowest first; 0 if it is never to step in for
    /// another one. Behind all others unless given.
    pub rank: Option<u32>,
    /// Whether it becomes the default issuer of those who can use it.
    pub is_default: bool,
}

impl Issuers {
    /// Opens an account with a directory and adds it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is wrong with the request, also in the eyes of the directory;
    /// [`Error::NameTaken`]; [`Error::Forbidden`]; [`Error::Busy`] when too many are being added;
    /// [`Error::Directory`] when the directory cannot be reached or does not speak ACME.
    pub async fn add(&self, principal: &Principal, issuer: NewIssuer) -> Result<IssuerView, Error> {
        principal.require_write()?;
        let owner = self.owner(principal, &issuer).await?;
        check_form(principal, &issuer)?;
        self.check_unused(owner, &issuer.name).await?;
        let _place = self.registrations.take(principal.account_id())?;
        let endpoint = Endpoint {
            url: issuer.url.clone(),
            roots: issuer.roots.as_deref().map(Arc::from),
            is_trusted: principal.is_administrator(),
        };
        let client = &self.surroundings.network().directories;
        let info = client.directory(&endpoint).await;
        check_offer(&issuer, &info.map_err(|failure| unusable(&failure))?)?;
        let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(Error::signing)?;
        let pkcs8 = key.to_pkcs8_der();
        let registration = Registration {
            key: Arc::new(AccountKey::from_pkcs8(pkcs8.clone())),
            contact: issuer.contact.clone(),
            agrees_to_terms: issuer.agrees_to_terms,
            external_account: issuer.external_account.clone(),
        };
        let account_url = client
            .register(&endpoint, &registration)
            .await
            .map_err(|failure| refused(&failure))?;
        let rank = match issuer.rank {
            Some(rank) => rank,
            None => self.last_rank(owner).await?,
        };
        let now = self.surroundings.now();
        let id = DirectoryId::from_random(self.surroundings.random());
        let name = issuer.name.clone();
        let record = NewDirectory {
            id,
            account_id: owner,
            name: issuer.name,
            rank,
            url: issuer.url,
            contact: issuer.contact,
            roots: issuer.roots,
            account_url: Some(account_url),
            account_key: Secret::from(pkcs8),
            external_account: issuer
                .external_account
                .map(|account| store::ExternalAccount {
                    key_id: account.key_id,
                    key: Secret::from(account.hmac_key),
                }),
            profile: issuer.profile,
            preferred_chain: issuer.preferred_chain,
            limits: issuer.limits,
            is_trusted: endpoint.is_trusted,
            created_at: now,
        };
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            owner,
            events::ISSUER_ADDED,
            Some(id.as_uuid()),
            &name,
        );
        match self.store.add_directory(record, event).await {
            Ok(()) => {}
            Err(store::Error::DuplicateName) => return Err(taken(&name)),
            Err(store::Error::Full) => {
                return Err(Error::Unfit {
                    reason: format!(
                        "an account has at most {} ACME directories",
                        store::DIRECTORIES_LIMIT
                    ),
                });
            }
            Err(error) => return Err(error.into()),
        }
        if issuer.is_default {
            let account = match owner {
                Some(account) => account,
                None => self.operator().await?,
            };
            self.choose_default(principal, account, &name).await?;
        }
        let row = self.store.directory(Scope::Everything, id).await?;
        let row = row.ok_or_else(|| Error::not_found(Noun::Issuer, &name))?;
        self.view(&Directory::of(row), issuer.is_default).await
    }

    /// Gives the account with a directory a new key (RFC 8555 section 7.3.5). Broken off, it is
    /// finished by the next call, or when the directory next refuses the old key.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], [`Error::Directory`].
    pub async fn change_key(&self, principal: &Principal, name: &str) -> Result<(), Error> {
        let directory = self.own(principal, name).await?;
        let scope = principal.administered_scope();
        let id = directory.row.id;
        let login = self.login(&directory).await;
        let login = login.map_err(|error| Error::Directory {
            reason: error.to_string(),
        })?;
        let fresh = PrivateKey::generate(KeyAlgorithm::P256).map_err(Error::signing)?;
        let fresh = Secret::from(fresh.to_pkcs8_der());
        let next = self.store.stage_account_key(scope, id, &fresh).await?;
        let key = AccountKey::from_pkcs8(Zeroizing::new(next.bytes().to_vec()));
        let client = &self.surroundings.network().directories;
        if let Err(failure) = client.change_key(&login, &key).await {
            // A change that broke off may have reached the directory: then it knows the account by
            // the next key, and by that alone.
            let changed = Login {
                key: Arc::new(key),
                ..login
            };
            if next == fresh || !client.is_known(&changed).await.is_ok_and(|known| known) {
                if let Failure::Refused { .. } = &failure {
                    self.store.discard_account_key(scope, id, &next).await?;
                }
                return Err(unusable(&failure));
            }
        }
        let event = self.event(principal, events::ISSUER_KEY_CHANGED, &directory, name);
        self.store
            .adopt_account_key(scope, id, &next, event)
            .await?;
        Ok(())
    }

    /// Finishes a change of key that broke off, after the directory has refused a request that was
    /// signed with `used`. Whether it now knows the account by another key that is in the store.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn finish_key_change(
        &self,
        directory: &Directory,
        used: &AccountKey,
    ) -> Result<bool, Error> {
        let id = directory.row.id;
        let Some(keys) = self.store.directory_keys(id).await? else {
            return Ok(false);
        };
        if keys.account_key.bytes() != used.as_pkcs8() {
            // Somebody else was faster.
            return Ok(true);
        }
        let (Some(next), Some(url)) = (keys.next_account_key, &directory.row.account_url) else {
            return Ok(false);
        };
        let pkcs8 = Zeroizing::new(next.bytes().to_vec());
        let login = Login {
            endpoint: directory.endpoint(),
            account_url: url.clone(),
            key: Arc::new(AccountKey::from_pkcs8(pkcs8)),
        };
        let client = &self.surroundings.network().directories;
        let known = tokio::time::timeout(PATIENCE, client.is_known(&login)).await;
        if !matches!(known, Ok(Ok(true))) {
            return Ok(false);
        }
        let name = &directory.row.name;
        let (kind, owner) = (events::ISSUER_KEY_CHANGED, directory.row.account_id);
        let object = Some(id.as_uuid());
        let event = events::of(&self.surroundings, HOUSE_ACCOUNT, owner, kind, object, name);
        let adopted = self
            .store
            .adopt_account_key(Scope::Everything, id, &next, event);
        if adopted.await? {
            tracing::info!(
                issuer = name,
                "finished a change of the account's key that broke off"
            );
        }
        Ok(true)
    }

    /// Whose the directory will be; nobody's if it is for everybody.
    async fn owner(
        &self,
        principal: &Principal,
        issuer: &NewIssuer,
    ) -> Result<Option<AccountId>, Error> {
        match &issuer.account {
            Some(name) if name == principal.account_name() => Ok(Some(principal.account_id())),
            Some(name) => {
                principal.require_administrator()?;
                let account = self.store.account_by_name(name).await?;
                let account = account.ok_or_else(|| Error::not_found(Noun::Account, name))?;
                Ok(Some(account.id))
            }
            None if principal.is_administrator() => Ok(None),
            None => Ok(Some(principal.account_id())),
        }
    }

    async fn check_unused(&self, owner: Option<AccountId>, name: &str) -> Result<(), Error> {
        match self.authorities.named(name).await {
            Ok(_) => return Err(taken(name)),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let found = self.store.directory_named(owner, name).await?;
        if found.is_some_and(|found| found.account_id == owner) {
            return Err(taken(name));
        }
        Ok(())
    }

    /// The place behind all directories that the owner can use.
    async fn last_rank(&self, owner: Option<AccountId>) -> Result<u32, Error> {
        let scope = owner.map_or(Scope::Everything, Scope::Account);
        let rows = self.store.directories(scope).await?;
        let ranks = rows
            .iter()
            .filter(|row| row.account_id.is_none() || row.account_id == owner)
            .map(|row| row.rank);
        Ok(ranks.max().unwrap_or(0).saturating_add(1))
    }
}

fn taken(name: &str) -> Error {
    Error::NameTaken {
        noun: Noun::Issuer,
        name: name.to_owned(),
    }
}

/// What can be seen of the request alone.
fn check_form(principal: &Principal, issuer: &NewIssuer) -> Result<(), Error> {
    check_name(&issuer.name)?;
    let is_secure = issuer.url.starts_with("https://");
    let is_plain = issuer.url.starts_with("http://");
    if !is_secure && !is_plain {
        return Err(Error::invalid(
            "url",
            format!(
                "'{}' is not the https URL of an ACME directory",
                issuer.url.escape_debug()
            ),
        ));
    }
    if !principal.is_administrator() && (is_plain || issuer.roots.is_some()) {
        return Err(Error::Forbidden {
            reason: "only administrators add directories without TLS or with trust anchors of \
                     their own",
        });
    }
    if let Some(roots) = &issuer.roots {
        pki::Certificate::from_pem(roots.as_bytes())
            .map_err(|error| Error::invalid("roots", error.to_string()))?;
    }
    if let Some(contact) = &issuer.contact {
        check_contact(contact)?;
    }
    if let Some(limits) = &issuer.limits {
        Limits::from_json(limits).map_err(|error| Error::invalid("limits", error.to_string()))?;
    }
    Ok(())
}

/// Issuers are named on command lines, in URLs and in the labels of metrics.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if starts_well && name.len() <= MAX_NAME && name.bytes().all(is_fit) {
        return Ok(());
    }
    Err(Error::invalid(
        "name",
        format!(
            "'{}' cannot be the name of an issuer: that is 1 to {MAX_NAME} letters of A-Z and a-z, \
             digits, and . _ -, and begins with a letter or a digit",
            name.escape_debug()
        ),
    ))
}

/// One address of a domain that others can write to.
fn check_contact(contact: &str) -> Result<(), Error> {
    let wrong = |why: &str| {
        Error::invalid(
            "contact",
            format!("{why}; give one e-mail address, such as ops@your-domain.example"),
        )
    };
    let address = pki::EmailAddress::parse(contact).map_err(|error| wrong(&error.to_string()))?;
    let (_, domain) = address.as_str().split_once('@').unwrap_or_default();
    if DnsName::parse(domain).is_ok_and(|domain| domain.is_fully_qualified()) {
        return Ok(());
    }
    Err(wrong(&format!(
        "'{address}' is not an address that a directory can write to"
    )))
}

/// What the directory says of itself, against what is asked of it.
fn check_offer(issuer: &NewIssuer, info: &DirectoryInfo) -> Result<(), Error> {
    if let Some(terms) = &info.terms_of_service
        && !issuer.agrees_to_terms
    {
        return Err(Error::invalid(
            "agrees_to_terms",
            format!("read the terms of service at {terms} and agree to them"),
        ));
    }
    if info.requires_external_account && issuer.external_account.is_none() {
        return Err(Error::invalid(
            "external_account",
            "the directory demands an external account; get its key identifier and HMAC key from \
             the authority's web site",
        ));
    }
    if let Some(profile) = &issuer.profile
        && !info.profiles.contains_key(profile)
    {
        let offered: Vec<&str> = info.profiles.keys().map(String::as_str).collect();
        let offered = if offered.is_empty() {
            "none".to_owned()
        } else {
            offered.join(", ")
        };
        return Err(Error::invalid(
            "profile",
            format!("the directory has no profile '{profile}'; it offers: {offered}"),
        ));
    }
    Ok(())
}

/// Why no account was opened.
fn refused(failure: &Failure) -> Error {
    let Failure::Refused { problem, .. } = failure else {
        return unusable(failure);
    };
    let field = match problem.kind {
        ErrorKind::ExternalAccountRequired | ErrorKind::Unauthorized => "external_account",
        ErrorKind::UserActionRequired => "agrees_to_terms",
        ErrorKind::InvalidContact | ErrorKind::UnsupportedContact => "contact",
        _ => return unusable(failure),
    };
    let remedy = match field {
        "external_account" => "; it may have ended or been used: get a new one from the authority",
        "agrees_to_terms" => "; agree to the terms of service",
        _ => "; give another e-mail address",
    };
    Error::invalid(field, format!("{failure}{remedy}"))
}

/// Why the directory is of no use.
fn unusable(failure: &Failure) -> Error {
    match failure {
        Failure::Forbidden { .. } => Error::invalid("url", failure.to_string()),
        Failure::Insecure { .. } => Error::Directory {
            reason: format!(
                "{failure}; if an authority of your own has signed its certificate, give the root of \
                 that authority (--acme-ca FILE), which takes an administrator"
            ),
        },
        _ => Error::Directory {
            reason: failure.to_string(),
        },
    }
}
