//! Labels of private keys: the numbers and names that they are known by, and the keys that were
//! made on their own, before any certificate.
//!
//! A key that came with a certificate gets its label when somebody asks for it, so that issuing
//! costs nothing more. It is listed while it is the key of a current version; one that was made on
//! its own always is.

use std::collections::HashSet;

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::certificate_labels::remove_under;
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{AccountId, CertificateId, PrivateKeyId};
use crate::inventory::{NAME_LIMIT, within};
use crate::numbers::{self, Numbered};
use crate::private_keys::{self, NewPrivateKey, SealedKey};
use crate::recorder::largest_portion;
use crate::references::LOOKUP_PORTION;
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
    /// Its name: what its maker called it, or that of its first certificate when it was numbered;
    /// that with a number behind it if another listed key of the account had the name.
    pub name: String,
}

impl Store {
    /// Gives a number and a name to each private key that is the key of a current version and has
    /// none yet.
    pub async fn label_private_keys(&self, scope: Scope) -> Result<(), Error> {
        let mut place = None;
        loop {
            let mut labels: Vec<NewLabel> = Vec::new();
            let rows = self.backend().rows(unlabelled(scope, place)).await?;
            let is_last = rows.len() < PAGE_LIMIT;
            let mut seen = HashSet::new();
            let mut next = place;
            for mut row in rows {
                next = Some((row.take()?, row.take()?));
                let label = (row.take()?, row.take()?, row.take()?);
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
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            private_keys::insert(transaction, sealed.clone(), Some(account)).await?;
            // Whoever gives a name draws a number before, and so sees all names given before.
            let number = numbers::draw(transaction, Numbered::PrivateKey, 1).await?;
            if transaction.row(named(account, name)).await?.is_some() {
                return Err(Error::DuplicateName);
            }
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
    /// its name as the detail. [`Error::Attached`] while something hangs on one of the certificates,
    /// or one is installed on a service; nothing is deleted then.
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
            let now = of_certificate.at;
            let mut removed = remove_under(transaction, scope, key, None, now).await?;
            // Gone with its last certificate if it came with one.
            let count = transaction.execute(delete.clone()).await?;
            // Whoever added one meanwhile held the key.
            removed.extend(remove_under(transaction, scope, key, None, now).await?);
            if removed.is_empty() && count == 0 {
                return Ok(false);
            }
            let mut events: Vec<EventRow> = Vec::with_capacity(removed.len() + 1);
            for (id, name) in removed {
                let event = NewEvent {
                    object: Some(id.as_uuid()),
                    detail: name,
                    ..of_certificate.clone()
                };
                events.push(event.into_row());
            }
            events.push(event.clone());
            events::insert(transaction, events).await?;
            Ok(true)
        })
    }

    async fn write_labels(&self, labels: &[NewLabel]) -> Result<(), Error> {
        if labels.is_empty() {
            return Ok(());
        }
        in_transaction!(self.backend(), |transaction| {
            let first = numbers::draw(transaction, Numbered::PrivateKey, labels.len()).await?;
            let mut taken: HashSet<(AccountId, String)> = HashSet::new();
            for portion in labels.chunks(LOOKUP_PORTION) {
                for mut row in transaction.rows(names_taken(portion)).await? {
                    taken.insert((row.take()?, row.take()?));
                }
            }
            let mut rows = Vec::with_capacity(labels.len());
            for (number, (id, account, name)) in (first..).zip(labels) {
                let mut given = (*account, name.clone());
                if taken.contains(&given) {
                    given.1 = format!("{name}-{number}");
                    while taken.contains(&given)
                        || transaction.row(named(*account, &given.1)).await?.is_some()
                    {
                        given.1 = format!("{}-{number}", given.1);
                    }
                }
                let name = given.1.as_str();
                let row: [Value; 4] = [number.into(), (*id).into(), (*account).into(), name.into()];
                rows.push(row);
                taken.insert(given);
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

/// A key that is to get a label: its account, and the name of its certificate.
type NewLabel = (PrivateKeyId, AccountId, String);

/// That a key `l` is the key of a current version, or was made on its own.
const LISTED: &str = "(l.on_its_own or exists (select 1 from versions v \
     join certificates c on c.id = v.certificate_id and c.current_version_id = v.id \
     where v.private_key_id = l.private_key_id))";

/// Whether a key of that name is listed in an account.
pub(crate) fn named(account: AccountId, name: &str) -> Statement {
    Statement::new(format!(
        "select 1 from private_key_labels l where l.account_id = ? and l.name = ? and {LISTED}"
    ))
    .bind(account)
    .bind(name)
}

/// Those of the names, with their accounts, that a listed key has.
pub(crate) fn names_taken(labels: &[NewLabel]) -> Statement {
    let values = labels
        .iter()
        .flat_map(|(_, account, name)| [Value::from(*account), name.as_str().into()]);
    // Both databases name the columns of such a list in the same way.
    Statement::with_values(
        format!(
            "select fresh.column1, fresh.column2 from (values {}) as fresh \
             where exists (select 1 from private_key_labels l \
             where l.account_id = fresh.column1 and l.name = fresh.column2 and {LISTED})",
            row_marks(labels.len(), 2)
        ),
        values.collect(),
    )
}

/// Deletes the keys of an account that were made on their own.
pub(crate) fn deleting_own(account: AccountId) -> Statement {
    Statement::new(
        "delete from private_keys where id in \
         (select private_key_id from private_key_labels where account_id = ? and on_its_own)",
    )
    .bind(account)
}

/// Keys of current versions that have no label, in the order of their certificates: those after
/// `place`, with the name of the certificate.
pub(crate) fn unlabelled(
    scope: Scope,
    place: Option<(OffsetDateTime, CertificateId)>,
) -> Statement {
    let mut statement = Statement::new(
        "select c.created_at, c.id, k.id, c.account_id, c.name from certificates c join versions v on v.id = c.current_version_id \
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
