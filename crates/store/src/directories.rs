//! ACME directories: where certificates are ordered, and under which account of ours there.
//!
//! A directory belongs to an account, or is shared by the operator with all of them. Certificates
//! name it, as they name an authority; a name means the account's own directory before a shared
//! one.

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::challenges;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, CertificateId, DirectoryId};
use crate::inventory::{NAME_LIMIT, within};
use crate::scope::{PAGE_LIMIT, Scope, page_limit};
use crate::seal::Purpose;
use crate::secret::Secret;
use crate::sql::{Row, Statement};
use crate::store::Store;

/// The most directories that an account has of its own.
pub const DIRECTORIES_LIMIT: usize = 100;

/// The longest texts of a directory, in bytes: its URLs, contact, profile, chain and limits.
pub const DIRECTORY_TEXT_LIMIT: usize = 4096;

/// The longest list of roots of a directory, in bytes.
pub const ROOTS_LIMIT: usize = 256 * 1024;

/// A directory to be added.
#[derive(Debug, Clone)]
pub struct NewDirectory {
    /// Its identifier.
    pub id: DirectoryId,
    /// The account that it belongs to; none for one that the operator shares with all accounts.
    pub account_id: Option<AccountId>,
    /// Its name, unique among those of its owner; at most [`NAME_LIMIT`] bytes.
    pub name: String,
    /// Its place in the order of preference, the lowest first.
    pub rank: u32,
    /// The URL of its directory document (RFC 8555 §7.1.1).
    pub url: String,
    /// Where it reaches us, as a mail address.
    pub contact: Option<String>,
    /// The certificates that its own is checked against instead of the system's, PEM; at most
    /// [`ROOTS_LIMIT`] bytes.
    pub roots: Option<String>,
    /// The URL of our account there, if it is known.
    pub account_url: Option<String>,
    /// The key of our account there, PKCS#8 DER.
    pub account_key: Secret,
    /// The account elsewhere that ours there is bound to (RFC 8555 §7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// The profile of the certificates ordered there.
    pub profile: Option<String>,
    /// The common name of the issuer at the end of the chain that is preferred.
    pub preferred_chain: Option<String>,
    /// How much may be ordered there, as JSON; none for what is usual.
    pub limits: Option<String>,
    /// Whether an administrator named it, so that it may be anywhere on the network.
    pub is_trusted: bool,
    /// When it is added.
    pub created_at: OffsetDateTime,
}

/// An account elsewhere that an account at a directory is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// The identifier of its key.
    pub key_id: String,
    /// Its key, as bytes.
    pub key: Secret,
}

/// A directory, without its secrets; see [`crate::DirectoryKeys`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its identifier.
    pub id: DirectoryId,
    /// The account that it belongs to; none for one that the operator shares with all accounts.
    pub account_id: Option<AccountId>,
    /// Its name, unique among those of its owner.
    pub name: String,
    /// Its place in the order of preference, the lowest first.
    pub rank: u32,
    /// The URL of its directory document.
    pub url: String,
    /// Where it reaches us, as a mail address.
    pub contact: Option<String>,
    /// The certificates that its own is checked against instead of the system's, PEM.
    pub roots: Option<String>,
    /// The URL of our account there, if it is known.
    pub account_url: Option<String>,
    /// The identifier of the key of the account elsewhere that ours is bound to.
    pub external_account_id: Option<String>,
    /// The profile of the certificates ordered there.
    pub profile: Option<String>,
    /// The common name of the issuer at the end of the chain that is preferred.
    pub preferred_chain: Option<String>,
    /// How much may be ordered there, as JSON; none for what is usual.
    pub limits: Option<String>,
    /// Whether an administrator named it.
    pub is_trusted: bool,
    /// When it was added, to the microsecond.
    pub created_at: OffsetDateTime,
}

/// What became of the removal of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed {
        /// How many certificates its successor takes over.
        certificates: u64,
    },
    /// There is no such directory in the scope.
    Unknown,
    /// It is there, because something names it, and no successor was given.
    InUse {
        /// How many certificates name it.
        certificates: u64,
        /// How many accounts have chosen it as their default issuer.
        accounts: u64,
    },
}

impl Store {
    /// Adds a directory.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateName`] when its owner has one of that name, [`Error::UnknownAccount`],
    /// [`Error::TooLong`], [`Error::Full`] beyond [`DIRECTORIES_LIMIT`] of an account.
    pub async fn add_directory(
        &self,
        directory: NewDirectory,
        event: NewEvent,
    ) -> Result<(), Error> {
        let insert = self.directory_insertion(directory)?;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(insert.clone()).await? == 0 {
                return Err(Error::Full);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// The directories that an account may order from: its own and the shared ones; under
    /// [`Scope::Everything`], those of all accounts. By rank, at most 1,000.
    pub async fn directories(&self, scope: Scope) -> Result<Vec<Directory>, Error> {
        let rows = self.backend().rows(listed(scope)).await?;
        rows.into_iter().map(read).collect()
    }

    /// The directory with this identifier, the account's own or a shared one.
    pub async fn directory(
        &self,
        scope: Scope,
        id: DirectoryId,
    ) -> Result<Option<Directory>, Error> {
        let statement = reachable(select("id = ?").bind(id), scope);
        self.backend().row(statement).await?.map(read).transpose()
    }

    /// The directory that an account means by a name: its own, or else a shared one. Without an
    /// account, the shared one.
    pub async fn directory_named(
        &self,
        account: Option<AccountId>,
        name: &str,
    ) -> Result<Option<Directory>, Error> {
        if let Some(account) = account {
            let own = self.backend().row(own_named(account, name)).await?;
            if let Some(row) = own {
                return read(row).map(Some);
            }
        }
        let shared = self.backend().row(shared_named(name)).await?;
        shared.map(read).transpose()
    }

    /// Writes down where our account at a directory is. [`Error::NotFound`] when there is no such
    /// directory any more.
    pub async fn set_account_url(&self, id: DirectoryId, url: &str) -> Result<(), Error> {
        within("the URL of the account", DIRECTORY_TEXT_LIMIT, url.len())?;
        let update = Statement::new("update directories set account_url = ? where id = ?");
        let update = update.bind(url).bind(id);
        in_transaction!(self.backend(), |transaction| {
            match transaction.execute(update.clone()).await? {
                0 => Err(Error::NotFound),
                _ => Ok(()),
            }
        })
    }

    /// Puts a directory elsewhere in the order of preference; the answer is whether there was one.
    /// An account moves its own only.
    pub async fn rank_directory(
        &self,
        scope: Scope,
        id: DirectoryId,
        rank: u32,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let update = Statement::new("update directories set rank = ? where id = ?");
        let update = scope.restrict(update.bind(rank).bind(id), "account_id");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// Removes a directory. In the same transaction its orders are dropped, what was published for
    /// them becomes due for withdrawal at the time of the event, and what names it is moved to
    /// `successor`: certificates, and choices of a default issuer. Certificates that waited there for
    /// something become due. Without a successor, nothing may name it. An account removes its own
    /// only.
    ///
    /// Goes through all certificates when the directory is a shared one.
    pub async fn remove_directory(
        &self,
        scope: Scope,
        id: DirectoryId,
        successor: Option<&str>,
        event: NewEvent,
    ) -> Result<Removal, Error> {
        let length = successor.map_or(0, str::len);
        within("the name of the issuer", NAME_LIMIT, length)?;
        let find = Statement::new("select account_id, name from directories where id = ?");
        let find = scope.restrict(find.bind(id), "account_id");
        let drop_orders =
            Statement::new("delete from orders where directory_id = ? returning certificate_id")
                .bind(id);
        let delete = Statement::new("delete from directories where id = ?").bind(id);
        let now = event.at;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            let Some(mut row) = transaction.row(find.clone()).await? else {
                return Ok(Removal::Unknown);
            };
            let (owner, name): (Option<AccountId>, String) = (row.take()?, row.take()?);
            let mut concerned = [0; 2];
            for (table, concerned) in ["certificates", "default_issuers"]
                .iter()
                .zip(&mut concerned)
            {
                *concerned = match successor {
                    Some(successor) => {
                        if *table == "certificates" {
                            let waking = waking(owner, &name, now);
                            transaction.execute(waking).await?;
                        }
                        let moving = moving(table, owner, &name, successor);
                        transaction.execute(moving).await?
                    }
                    None => {
                        let row = transaction.row(naming(table, owner, &name)).await?;
                        let count: i64 = row.map_or(Ok(0), |mut row| row.take())?;
                        u64::try_from(count).unwrap_or(0)
                    }
                };
            }
            let [moved, accounts] = concerned;
            if successor.is_none() && (moved > 0 || accounts > 0) {
                return Ok(Removal::InUse {
                    certificates: moved,
                    accounts,
                });
            }
            let certificates = dropped(transaction, drop_orders.clone()).await?;
            challenges::settle(transaction, &certificates, now).await?;
            if transaction.execute(delete.clone()).await? == 0 {
                return Ok(Removal::Unknown);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(Removal::Removed {
                certificates: moved,
            })
        })
    }

    fn directory_insertion(&self, directory: NewDirectory) -> Result<Statement, Error> {
        let NewDirectory {
            id,
            account_id,
            name,
            rank,
            url,
            contact,
            roots,
            account_url,
            account_key,
            external_account,
            profile,
            preferred_chain,
            limits,
            is_trusted,
            created_at,
        } = directory;
        within("the name of the directory", NAME_LIMIT, name.len())?;
        let key_id = external_account
            .as_ref()
            .map(|account| account.key_id.clone());
        for (what, text) in [
            ("the URL of the directory", Some(&url)),
            ("the contact for the directory", contact.as_ref()),
            ("the URL of the account", account_url.as_ref()),
            ("the identifier of the external account", key_id.as_ref()),
            ("the profile of the directory", profile.as_ref()),
            ("the name of the chain", preferred_chain.as_ref()),
            ("the limits of the directory", limits.as_ref()),
        ] {
            within(what, DIRECTORY_TEXT_LIMIT, text.map_or(0, String::len))?;
        }
        let length = roots.as_ref().map_or(0, String::len);
        within("the list of roots of the directory", ROOTS_LIMIT, length)?;
        let row = id.as_uuid();
        let sealed = self
            .sealer()
            .seal(Purpose::AccountKey, row, account_key.bytes())?;
        let external = external_account.map(|account| {
            let key = account.key.bytes();
            self.sealer().seal(Purpose::ExternalAccountKey, row, key)
        });
        let insert = Statement::new(
            "insert into directories (rank, created_at, trusted, id, account_id, name, url, \
             contact, roots, account_url, account_key, external_account_id, \
             external_account_key, profile, preferred_chain, limits) \
             select * from (values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)) as fresh",
        )
        .bind(rank)
        .bind(created_at)
        .bind(is_trusted)
        .bind(id)
        .bind(account_id)
        .bind(name)
        .bind(url)
        .bind(contact)
        .bind(roots)
        .bind(account_url)
        .bind(sealed)
        .bind(key_id)
        .bind(external.transpose()?)
        .bind(profile)
        .bind(preferred_chain)
        .bind(limits);
        Ok(within_number(
            insert,
            "directories",
            account_id,
            DIRECTORIES_LIMIT,
        ))
    }
}

/// Ends an insertion of one row into a table with an owner: nothing is inserted when the account has
/// `limit` rows there already. The operator may share any number.
pub(crate) fn within_number(
    insert: Statement,
    table: &str,
    owner: Option<AccountId>,
    limit: usize,
) -> Statement {
    let Some(owner) = owner else {
        return insert;
    };
    insert
        .text(&format!(
            " where (select count(*) from {table} where account_id = ?) < ?"
        ))
        .bind(owner)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
}

/// Restricts a statement to the rows that an account owns or the operator shares.
pub(crate) fn reachable(statement: Statement, scope: Scope) -> Statement {
    match scope {
        Scope::Account(account) => statement
            .text(" and (account_id = ? or account_id is null)")
            .bind(account),
        Scope::Everything => statement,
    }
}

pub(crate) fn listed(scope: Scope) -> Statement {
    // The own and the shared ones have an index each, by name.
    let statement = match scope {
        Scope::Account(account) => select("account_id = ?")
            .bind(account)
            .text(" union all ")
            .text(&selection("account_id is null and name >= ''")),
        Scope::Everything => select("1 = 1"),
    };
    statement
        .text(" order by rank, created_at, id limit ?")
        .bind(page_limit(PAGE_LIMIT))
}

pub(crate) fn own_named(account: AccountId, name: &str) -> Statement {
    select("account_id = ? and name = ?")
        .bind(account)
        .bind(name)
}

pub(crate) fn shared_named(name: &str) -> Statement {
    select("account_id is null and name = ?").bind(name)
}

/// Gives what names a directory another issuer. Accounts that mean one of their own by the name of
/// a shared one are not concerned.
pub(crate) fn moving(
    table: &str,
    owner: Option<AccountId>,
    name: &str,
    successor: &str,
) -> Statement {
    let update = Statement::new(format!("update {table} set issuer = ? where issuer = ?"))
        .bind(successor)
        .bind(name);
    meant(update, table, owner, name)
}

/// How much names a directory.
pub(crate) fn naming(table: &str, owner: Option<AccountId>, name: &str) -> Statement {
    let count = Statement::new(format!("select count(*) from {table} where issuer = ?"));
    meant(count.bind(name), table, owner, name)
}

/// Has certificates that wait at a directory for a place or for another attempt looked at now.
pub(crate) fn waking(owner: Option<AccountId>, name: &str, now: OffsetDateTime) -> Statement {
    let update = Statement::new(
        "update certificates set next_action_at = ? where issuer = ? and next_action_at > ? and \
         (state = 'pending' or renew_at <= ?)",
    );
    let update = update.bind(now).bind(name).bind(now).bind(now);
    meant(update, "certificates", owner, name)
}

/// Restricts a statement to those who mean the directory of that owner by the name.
fn meant(statement: Statement, table: &str, owner: Option<AccountId>, name: &str) -> Statement {
    match owner {
        Some(owner) => statement.text(" and account_id = ?").bind(owner),
        None => statement
            .text(&format!(
                " and not exists (select 1 from directories where directories.account_id = \
                 {table}.account_id and directories.name = ?)"
            ))
            .bind(name),
    }
}

async fn dropped(
    transaction: &mut Transaction,
    delete: Statement,
) -> Result<Vec<CertificateId>, Error> {
    let rows = transaction.rows(delete).await?;
    rows.into_iter().map(|mut row| row.take()).collect()
}

fn select(condition: &str) -> Statement {
    Statement::new(selection(condition))
}

fn selection(condition: &str) -> String {
    format!(
        "select id, account_id, name, rank, url, contact, roots, account_url, \
         external_account_id, profile, preferred_chain, limits, trusted, created_at \
         from directories where {condition}"
    )
}

fn read(mut row: Row) -> Result<Directory, Error> {
    Ok(Directory {
        id: row.take()?,
        account_id: row.take()?,
        name: row.take()?,
        rank: row.take()?,
        url: row.take()?,
        contact: row.take()?,
        roots: row.take()?,
        account_url: row.take()?,
        external_account_id: row.take()?,
        profile: row.take()?,
        preferred_chain: row.take()?,
        limits: row.take()?,
        is_trusted: row.take()?,
        created_at: row.take()?,
    })
}
