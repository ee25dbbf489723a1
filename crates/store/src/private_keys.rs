//! Private keys, sealed. They are opened one at a time, when they are needed.

use std::fmt;

use pki::PrivateKey;
use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::ids::{AccountId, PrivateKeyId};
use crate::recorder::{PRIVATE_KEYS, insert_rows};
use crate::scope::Scope;
use crate::seal::{Purpose, Sealer};
use crate::sql::{Statement, Value};
use crate::store::Store;

/// Whether a private key may be given to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exportable {
    /// At any time.
    Always,
    /// At no time.
    Never,
    /// Until this moment, when it is erased altogether.
    Until(OffsetDateTime),
}

/// A private key to be stored.
#[derive(Debug, Clone)]
pub struct NewPrivateKey {
    /// Its identifier.
    pub id: PrivateKeyId,
    /// The key.
    pub key: PrivateKey,
    /// Whether it may be given out again.
    pub exportable: Exportable,
}

/// A private key out of the store.
pub struct StoredKey {
    /// Its identifier.
    pub id: PrivateKeyId,
    /// Whose it is; none for the key of an authority.
    pub account_id: Option<AccountId>,
    /// The key.
    pub key: PrivateKey,
    /// Whether it may be given out.
    pub exportable: Exportable,
    /// When it was stored.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// Opens a private key. Keys of authorities are found under [`Scope::Everything`] only.
    ///
    /// # Errors
    ///
    /// [`Error::Seal`] when it was sealed under another master key, was damaged, or was moved
    /// here from another row.
    pub async fn private_key(
        &self,
        scope: Scope,
        id: PrivateKeyId,
    ) -> Result<Option<StoredKey>, Error> {
        let statement = Statement::new(
            "select account_id, exportable, exportable_until, created_at, sealed \
             from private_keys where id = ?",
        )
        .bind(id);
        let statement = scope.restrict(statement, "account_id");
        let Some(mut row) = self.backend().row(statement).await? else {
            return Ok(None);
        };
        let account_id = row.take()?;
        let exportable = match (row.take()?, row.take()?) {
            (_, Some(until)) => Exportable::Until(until),
            (true, None) => Exportable::Always,
            (false, None) => Exportable::Never,
        };
        let created_at = row.take()?;
        let sealed: Vec<u8> = row.take()?;
        let secret = self
            .sealer()
            .open(Purpose::PrivateKey, id.as_uuid(), &sealed)?;
        let key = PrivateKey::from_pkcs8_der(&secret).map_err(Error::StoredKey)?;
        Ok(Some(StoredKey {
            id,
            account_id,
            key,
            exportable,
            created_at,
        }))
    }

    /// Removes a private key for good; the answer is whether there was one. Versions go on naming
    /// it.
    pub async fn erase_private_key(&self, scope: Scope, id: PrivateKeyId) -> Result<bool, Error> {
        let delete = Statement::new("delete from private_keys where id = ?").bind(id);
        let delete = scope.restrict(delete, "account_id");
        in_transaction!(self.backend(), |transaction| {
            Ok(transaction.execute(delete.clone()).await? > 0)
        })
    }

    /// Removes the private keys whose time for export is over at `now`; the answer is how many.
    /// Those that domains are served with stay, but are not given out any more.
    pub async fn erase_expired_private_keys(&self, now: OffsetDateTime) -> Result<u64, Error> {
        let (lock_up, delete) = (expired_in_use(now), expired(now));
        let mut erased = 0;
        loop {
            let (locked_up, portion) = in_transaction!(self.backend(), |transaction| {
                let locked_up = transaction.execute(lock_up.clone()).await?;
                Ok((locked_up, transaction.execute(delete.clone()).await?))
            })?;
            erased += portion;
            if portion < PORTION && locked_up < PORTION {
                return Ok(erased);
            }
        }
    }
}

/// Shows nothing of the key but its kind.
impl fmt::Debug for StoredKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StoredKey")
            .field("id", &self.id)
            .field("account_id", &self.account_id)
            .field("exportable", &self.exportable)
            .finish_non_exhaustive()
    }
}

/// How many keys are erased at a time, so that other writers get their turn in between.
const PORTION: u64 = 1_000;

// PostgreSQL looks again at a row that it waited for, but only at the row, and finds the rest of
// the database as it was when the statement began. So both conditions are said of the row itself.

/// Makes keys unexportable whose time for export is over but which are in use.
pub(crate) fn expired_in_use(now: OffsetDateTime) -> Statement {
    Statement::new(format!(
        "update private_keys set exportable = ?, exportable_until = null where id in \
         (select id from private_keys where exportable_until <= ? and kept \
         order by exportable_until limit {PORTION}) and exportable_until <= ? and kept"
    ))
    .bind(false)
    .bind(now)
    .bind(now)
}

/// Removes keys whose time for export is over.
pub(crate) fn expired(now: OffsetDateTime) -> Statement {
    Statement::new(format!(
        "delete from private_keys where id in (select id from private_keys \
         where exportable_until <= ? and not kept order by exportable_until limit {PORTION}) \
         and exportable_until <= ? and not kept"
    ))
    .bind(now)
    .bind(now)
}

/// A private key that is ready to be written.
#[derive(Clone)]
pub(crate) struct SealedKey {
    pub(crate) id: PrivateKeyId,
    algorithm: String,
    fingerprint: [u8; 32],
    sealed: Vec<u8>,
    exportable: Exportable,
    created_at: OffsetDateTime,
}

impl SealedKey {
    pub(crate) fn new(
        sealer: &Sealer,
        key: &NewPrivateKey,
        created_at: OffsetDateTime,
    ) -> Result<Self, Error> {
        let NewPrivateKey {
            id,
            key,
            exportable,
        } = key;
        let sealed = sealer.seal(Purpose::PrivateKey, id.as_uuid(), &key.to_pkcs8_der())?;
        Ok(Self {
            id: *id,
            algorithm: key.algorithm().to_string(),
            fingerprint: key.public_key().fingerprint(),
            sealed,
            exportable: *exportable,
            created_at,
        })
    }

    /// The values in the order of [`PRIVATE_KEYS`].
    pub(crate) fn into_row(self, account_id: Option<AccountId>) -> Vec<Value> {
        let Self {
            id,
            algorithm,
            fingerprint,
            sealed,
            exportable,
            created_at,
        } = self;
        let (exportable, exportable_until) = match exportable {
            Exportable::Always => (true, None),
            Exportable::Never => (false, None),
            Exportable::Until(until) => (true, Some(until)),
        };
        vec![
            exportable_until.into(),
            created_at.into(),
            exportable.into(),
            id.into(),
            account_id.into(),
            fingerprint.as_slice().into(),
            algorithm.into(),
            sealed.into(),
        ]
    }
}

/// Keeps others from deleting private keys, and from beginning to use them, until the transaction
/// ends. Who needs them is seen by a later statement only: this one may have waited.
pub(crate) async fn hold(
    transaction: &mut Transaction,
    keys: &[PrivateKeyId],
) -> Result<(), Error> {
    let lock = Statement::new("select 1 from private_keys where id in ")
        .list(keys.iter().copied())
        .text(" order by id")
        .text(transaction.row_lock());
    transaction.rows(lock).await?;
    Ok(())
}

pub(crate) async fn insert(
    transaction: &mut Transaction,
    key: SealedKey,
    account_id: Option<AccountId>,
) -> Result<(), Error> {
    insert_rows(transaction, &PRIVATE_KEYS, &[&key.into_row(account_id)]).await
}
