//! The secrets of ACME directories: the keys of our accounts there, and how they are changed.

use crate::backend::in_transaction;
use crate::directories::ExternalAccount;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::DirectoryId;
use crate::scope::Scope;
use crate::seal::Purpose;
use crate::secret::Secret;
use crate::sql::Statement;
use crate::store::Store;

/// The secrets of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryKeys {
    /// The key of our account there, PKCS#8 DER.
    pub account_key: Secret,
    /// The key that it is being changed for, until the directory has confirmed it.
    pub next_account_key: Option<Secret>,
    /// The account elsewhere that ours is bound to.
    pub external_account: Option<ExternalAccount>,
}

impl Store {
    /// The secrets of a directory, for those who speak to it.
    ///
    /// # Errors
    ///
    /// [`Error::Seal`] when they were sealed under another master key, or damaged.
    pub async fn directory_keys(&self, id: DirectoryId) -> Result<Option<DirectoryKeys>, Error> {
        let statement = Statement::new(
            "select account_key, next_account_key, external_account_id, external_account_key \
             from directories where id = ?",
        )
        .bind(id);
        let Some(mut row) = self.backend().row(statement).await? else {
            return Ok(None);
        };
        let account_key = self.open_for(Purpose::AccountKey, id, &row.take::<Vec<u8>>()?)?;
        let next: Option<Vec<u8>> = row.take()?;
        let next = next.map(|sealed| self.open_for(Purpose::AccountKey, id, &sealed));
        let key_id: Option<String> = row.take()?;
        let external: Option<Vec<u8>> = row.take()?;
        let external_account = match (key_id, external) {
            (Some(key_id), Some(sealed)) => Some(ExternalAccount {
                key_id,
                key: self.open_for(Purpose::ExternalAccountKey, id, &sealed)?,
            }),
            _ => None,
        };
        Ok(Some(DirectoryKeys {
            account_key,
            next_account_key: next.transpose()?,
            external_account,
        }))
    }

    /// Begins to change the key of our account at a directory: `key` is kept beside the one in use
    /// until [`Store::adopt_account_key`], so that a crash loses neither. The answer is the key to
    /// change to: the one given, or one that an earlier change, which was interrupted, left behind.
    /// [`Error::NotFound`] when there is no such directory in the scope.
    pub async fn stage_account_key(
        &self,
        scope: Scope,
        id: DirectoryId,
        key: &Secret,
    ) -> Result<Secret, Error> {
        let sealed = self
            .sealer()
            .seal(Purpose::AccountKey, id.as_uuid(), key.bytes())?;
        let update = Statement::new(
            "update directories set next_account_key = coalesce(next_account_key, ?) where id = ?",
        );
        let update = scope
            .restrict(update.bind(sealed).bind(id), "account_id")
            .text(" returning next_account_key");
        let staged: Vec<u8> = in_transaction!(self.backend(), |transaction| {
            let row = transaction.row(update.clone()).await?;
            row.ok_or(Error::NotFound)?.take()
        })?;
        self.open_for(Purpose::AccountKey, id, &staged)
    }

    /// Ends a change of key: what [`Store::stage_account_key`] returned is in use from now on. The
    /// answer is whether that was still to be done; another node may have done it.
    pub async fn adopt_account_key(
        &self,
        scope: Scope,
        id: DirectoryId,
        key: &Secret,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let update = "update directories set account_key = next_account_key, \
                      next_account_key = null";
        self.end_key_change(scope, id, key, update, Some(event))
            .await
    }

    /// Ends a change of key that the directory has refused: the key in use stays. The answer is
    /// whether that was still to be done.
    pub async fn discard_account_key(
        &self,
        scope: Scope,
        id: DirectoryId,
        key: &Secret,
    ) -> Result<bool, Error> {
        let update = "update directories set next_account_key = null";
        self.end_key_change(scope, id, key, update, None).await
    }

    async fn end_key_change(
        &self,
        scope: Scope,
        id: DirectoryId,
        key: &Secret,
        update: &'static str,
        event: Option<NewEvent>,
    ) -> Result<bool, Error> {
        let find = Statement::new("select next_account_key from directories where id = ?");
        let find = scope.restrict(find.bind(id), "account_id");
        // Sealed anew, every key looks different: it is this very change that must be ended.
        let update = Statement::new(update).text(" where id = ? and next_account_key = ?");
        let event = event.map(NewEvent::into_row);
        in_transaction!(self.backend(), |transaction| {
            let staged = match transaction.row(find.clone()).await? {
                Some(mut row) => row.take::<Option<Vec<u8>>>()?,
                None => None,
            };
            let Some(staged) = staged else {
                return Ok(false);
            };
            if self.open_for(Purpose::AccountKey, id, &staged)? != *key {
                return Ok(false);
            }
            let update = update.clone().bind(id).bind(staged);
            if transaction.execute(update).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, event.clone().into_iter().collect()).await?;
            Ok(true)
        })
    }

    fn open_for(&self, purpose: Purpose, id: DirectoryId, sealed: &[u8]) -> Result<Secret, Error> {
        let opened = self.sealer().open(purpose, id.as_uuid(), sealed)?;
        Ok(opened.into())
    }
}
