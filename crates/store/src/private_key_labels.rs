//! Labels of private keys: the numbers and names that they are known by, and the keys that were
//! made on their own, before any certificate.
//!
//! A key that came with a certificate gets its label when somebody asks for it, so that issuing
//! costs nothing more. It is listed while it is the key of a current version; one that was made on
//! its own always is.

use std::collections::HashSet;

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::certificate_labels;
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{AccountId, CertificateId, PrivateKeyId};
use crate::inventory::{self, NAME_LIMIT, within};
use crate::numbers::{self, Numbered};
use crate::private_keys::{self, NewPrivateKey, SealedKey};
use crate::recorder::largest_portion;
use crate::scope::{PAGE_LIMIT, Scope, page_limit};
use crate::sql::{Row, Statement, Value, row_marks};
use crate::store::Store;

/// A private key as it is known, told without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledKey {
    /// Its number, over all accounts.
    pub number: u64,
    /// Its identifier.
    pub id: PrivateKeyId,
    /// Its name: what its maker called it, or that of its first certificate when it was numbered.
    pub name: String,
}

impl Store {
    /// Gives a number and a name to each private key that is the key of a current version and has
    /// none yet.
    pub async fn label_private_keys(&self, scope: Scope) -> Result<(), Error> {
        let mut place = None;
        loop {
            let mut labels: Vec<(PrivateKeyId, AccountId, String, bool)> = Vec::new();
            let rows = self.backend().rows(unlabelled(scope, place)).await?;
            let is_last = rows.len() < PAGE_LIMIT;
            let mut seen = HashSet::new();
            let mut next = place;
            for mut row in rows {
                next = Some((row.take()?, row.take()?));
                let label = (row.take()?, row.take()?, row.take()?, row.take()?);
                if seen.insert(label.0) {
                    labels.push(label);
                }
            }
            match self.write_labels(&labels).await {
                Ok(()) => place = next,
                // One of them was deleted at this very moment.
                Err(Error::UnknownAccount) => continue,
                Err(error) => return Err(error),
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// The private keys that are known, those after the number `after`, at most `limit` (and never
    /// more than 1,000).
    pub async fn labelled_keys(
        &self,
        scope: Scope,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LabelledKey>, Error> {
        let rows = self.backend().rows(listed(scope, after, limit)).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// The private key of this number.
    pub async fn labelled_key(
        &self,
        scope: Scope,
        number: u64,
    ) -> Result<Option<LabelledKey>, Error> {
        let row = self.backend().row(numbered(scope, number)).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Adds a private key on its own; the answer is its number. It stays until it is deleted itself.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateName`] when a key of that name is known in the account,
    /// [`Error::UnknownAccount`].
    pub async fn add_private_key(
        &self,
        account: AccountId,
        name: &str,
        key: &NewPrivateKey,
        event: NewEvent,
    ) -> Result<u64, Error> {
        within("the name of the private key", NAME_LIMIT, name.len())?;
        let sealed = SealedKey::new(self.sealer(), key, event.at)?;
        let id = key.id;
        let taken = Statement::new(format!(
            "select 1 from private_key_labels l where l.account_id = ? and l.name = ? and {LISTED}"
        ))
        .bind(account)
        .bind(name);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.row(taken.clone()).await?.is_some() {
                return Err(Error::DuplicateName);
            }
            private_keys::insert(transaction, sealed.clone(), Some(account)).await?;
            let number = numbers::draw(transaction, Numbered::PrivateKey, 1).await?;
            let label = Statement::new(
                "insert into private_key_labels (number, on_its_own, private_key_id, account_id, \
                 name) values (?, ?, ?, ?, ?)",
            );
            let label = label.bind(number).bind(true).bind(id);
            transaction.execute(label.bind(account).bind(name)).await?;
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(number.unsigned_abs())
        })
    }

    /// Deletes a private key and all certificates of which it is the key, as
    /// [`Store::delete_certificate`] does; the answer is whether there was one. `event` is written
    /// for the key, and one like `of_certificate` for each certificate, with that as its object and
    /// its name as the detail. [`Error::Attached`] while something hangs on one of the certificates;
    /// nothing is deleted then.
    pub async fn delete_private_key(
        &self,
        scope: Scope,
        key: PrivateKeyId,
        event: NewEvent,
        of_certificate: NewEvent,
    ) -> Result<bool, Error> {
        let delete = Statement::new("delete from private_keys where id = ?").bind(key);
        let delete = scope.restrict(delete, "account_id");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            let mut deleted = 0;
            // Once more afterwards: whoever added one meanwhile held the key.
            for is_first in [true, false] {
                let under = certificate_labels::under(scope, key);
                let mut found: Vec<(CertificateId, EventRow)> = Vec::new();
                for mut row in transaction.rows(under).await? {
                    let id: CertificateId = row.take()?;
                    let event = NewEvent {
                        object: Some(id.as_uuid()),
                        detail: row.take()?,
                        ..of_certificate.clone()
                    };
                    found.push((id, event.into_row()));
                }
                let ids: Vec<CertificateId> = found.iter().map(|(id, _)| *id).collect();
                inventory::remove(transaction, scope, &ids, of_certificate.at).await?;
                let events = found.into_iter().map(|(_, event)| event).collect();
                if !ids.is_empty() {
                    events::insert(transaction, events).await?;
                }
                if is_first {
                    // Gone with its last certificate if it came with one.
                    deleted = ids.len() as u64 + transaction.execute(delete.clone()).await?;
                }
            }
            if deleted == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    async fn write_labels(
        &self,
        labels: &[(PrivateKeyId, AccountId, String, bool)],
    ) -> Result<(), Error> {
        if labels.is_empty() {
            return Ok(());
        }
        in_transaction!(self.backend(), |transaction| {
            let first = numbers::draw(transaction, Numbered::PrivateKey, labels.len()).await?;
            let mut rows = Vec::with_capacity(labels.len());
            for (number, (id, account, name, is_taken)) in (first..).zip(labels) {
                let name = match is_taken {
                    true => format!("{name}-{number}"),
                    false => name.clone(),
                };
                let row: [Value; 4] = [number.into(), (*id).into(), (*account).into(), name.into()];
                rows.push(row);
            }
            let mut rest = rows.as_slice();
            while !rest.is_empty() {
                let (portion, later) = rest.split_at(largest_portion(rest.len()));
                transaction.execute(insertion(portion)).await?;
                rest = later;
            }
            Ok(())
        })
    }
}

/// That a key `l` is the key of a current version, or was made on its own.
const LISTED: &str = "(l.on_its_own or exists (select 1 from versions v \
     join certificates c on c.id = v.certificate_id and c.current_version_id = v.id \
     where v.private_key_id = l.private_key_id))";

/// Deletes the keys of an account that were made on their own.
pub(crate) fn deleting_own(account: AccountId) -> Statement {
    Statement::new(
        "delete from private_keys where id in \
         (select private_key_id from private_key_labels where account_id = ?)",
    )
    .bind(account)
}

/// Keys of current versions that have no label, in the order of their certificates: those after
/// `place`, with whether their name is taken.
pub(crate) fn unlabelled(
    scope: Scope,
    place: Option<(OffsetDateTime, CertificateId)>,
) -> Statement {
    let mut statement = Statement::new(
        "select c.created_at, c.id, k.id, c.account_id, c.name, \
         exists (select 1 from private_key_labels o where o.account_id = c.account_id \
         and o.name = c.name and o.on_its_own) \
         from certificates c join versions v on v.id = c.current_version_id \
         join private_keys k on k.id = v.private_key_id \
         where not exists (select 1 from private_key_labels l where l.private_key_id = k.id)",
    );
    if let Some((created_at, id)) = place {
        statement = statement
            .text(" and (c.created_at, c.id) > (?, ?)")
            .bind(created_at)
            .bind(id);
    }
    scope
        .restrict(statement, "c.account_id")
        .text(" order by c.created_at, c.id limit ?")
        .bind(page_limit(PAGE_LIMIT))
}

pub(crate) fn listed(scope: Scope, after: u64, limit: usize) -> Statement {
    let statement = select(&format!("l.number > ? and {LISTED}")).bind(after.cast_signed());
    scope
        .restrict(statement, "l.account_id")
        .text(" order by l.number limit ?")
        .bind(page_limit(limit))
}

pub(crate) fn numbered(scope: Scope, number: u64) -> Statement {
    let statement = select(&format!("l.number = ? and {LISTED}")).bind(number.cast_signed());
    scope.restrict(statement, "l.account_id")
}

fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select l.number, l.private_key_id, l.name from private_key_labels l where {condition}"
    ))
}

fn insertion(rows: &[[Value; 4]]) -> Statement {
    // Both databases name the columns of such a list in the same way.
    Statement::with_values(
        format!(
            "insert into private_key_labels (number, on_its_own, private_key_id, account_id, name) \
             select fresh.column1, false, fresh.column2, fresh.column3, fresh.column4 \
             from (values {}) as fresh \
             where exists (select 1 from private_keys k where k.id = fresh.column2) \
             on conflict do nothing",
            row_marks(rows.len(), 4)
        ),
        rows.iter().flatten().cloned().collect(),
    )
}

fn read(row: &mut Row) -> Result<LabelledKey, Error> {
    Ok(LabelledKey {
        number: row.take()?,
        id: row.take()?,
        name: row.take()?,
    })
}
