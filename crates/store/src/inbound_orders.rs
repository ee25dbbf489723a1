//! Orders that were placed with us and wait for a proof of control over their names.
//!
//! An order is completed by the transaction that records its certificate, and by one only. What was
//! wanted is forgotten then, or when it is too late for it; that there was an order, and what came
//! of it, is kept for a while longer.

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::ids::{AccountId, VersionId};
use crate::inventory::{NAME_LIMIT, NewRecord, joined, within};
use crate::recorder::largest_portion;
use crate::scope::Scope;
use crate::sql::{Row, Statement, Value, row_marks};
use crate::store::Store;
use crate::tokens::lines;

/// The longest texts of an order, in bytes: its identifier, its token, its kinds of challenges, the
/// form of its answers.
pub const INBOUND_TEXT_LIMIT: usize = 256;

/// The longest subject and public key of an order, in bytes.
pub const INBOUND_CONTENT_LIMIT: usize = 64 * 1024;

/// How many orders are forgotten at a time, so that other writers get their turn in between.
const PORTION: u64 = 1_000;

/// An order to be kept.
#[derive(Debug, Clone)]
pub struct NewInboundOrder {
    /// Its identifier, which its account is told.
    pub id: String,
    /// The account that placed it.
    pub account_id: AccountId,
    /// What has to be found where control is to be proven.
    pub token: String,
    /// The kinds of challenges that are offered, the preferred one first.
    pub kinds: Vec<String>,
    /// The form in which who placed it reads answers.
    pub form: String,
    /// The authority that is to sign.
    pub authority: String,
    /// What is wanted.
    pub content: InboundContent,
    /// When it is placed.
    pub created_at: OffsetDateTime,
    /// Until when it can be completed.
    pub expires_at: OffsetDateTime,
}

/// What an order wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundContent {
    /// The subject, DER.
    pub subject: Vec<u8>,
    /// The names, as text.
    pub identifiers: Vec<String>,
    /// Lifetime in days.
    pub days: u32,
    /// The algorithm of the key that is to be made.
    pub key_algorithm: Option<String>,
    /// The key of who placed the order (SubjectPublicKeyInfo, DER).
    pub public_key: Option<Vec<u8>>,
}

/// An order, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundOrder {
    /// Its identifier.
    pub id: String,
    /// The account that placed it.
    pub account_id: AccountId,
    /// What has to be found where control is to be proven.
    pub token: String,
    /// The kinds of challenges that are offered, the preferred one first.
    pub kinds: Vec<String>,
    /// The form in which who placed it reads answers.
    pub form: String,
    /// The authority that is to sign.
    pub authority: String,
    /// What is wanted; none once it is completed or was too late.
    pub content: Option<InboundContent>,
    /// The names over which control was proven, as text, in no particular order.
    pub proven: Vec<String>,
    /// The version that was issued, and when.
    pub completion: Option<(VersionId, OffsetDateTime)>,
    /// When it was placed, to the microsecond.
    pub created_at: OffsetDateTime,
    /// Until when it can be completed, to the microsecond.
    pub expires_at: OffsetDateTime,
}

/// That a record completes an order.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    pub(crate) order: String,
    pub(crate) account: AccountId,
    pub(crate) version: VersionId,
    pub(crate) at: OffsetDateTime,
}

impl Store {
    /// Keeps an order, unless the account has `limit` that wait already.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] then; [`Error::UnknownAccount`], [`Error::TooLong`], [`Error::Duplicate`]
    /// for an identifier in use.
    pub async fn add_inbound_order(
        &self,
        order: NewInboundOrder,
        limit: usize,
    ) -> Result<(), Error> {
        let NewInboundOrder {
            id,
            account_id,
            token,
            kinds,
            form,
            authority,
            content,
            created_at,
            expires_at,
        } = order;
        let kinds = kinds.join("\n");
        for (what, limit, length) in [
            ("the identifier of the order", INBOUND_TEXT_LIMIT, id.len()),
            ("the token of the order", INBOUND_TEXT_LIMIT, token.len()),
            ("the kinds of challenges", INBOUND_TEXT_LIMIT, kinds.len()),
            ("the form of answers", INBOUND_TEXT_LIMIT, form.len()),
            ("the name of the authority", NAME_LIMIT, authority.len()),
            ("the subject", INBOUND_CONTENT_LIMIT, content.subject.len()),
            (
                "the public key",
                INBOUND_CONTENT_LIMIT,
                content.public_key.as_ref().map_or(0, Vec::len),
            ),
        ] {
            within(what, limit, length)?;
        }
        let insert = Statement::new(
            "insert into inbound_orders (expires_at, created_at, days, id, account_id, token, \
             kinds, form, authority, subject, identifiers, key_algorithm, public_key) \
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(expires_at)
        .bind(created_at)
        .bind(content.days)
        .bind(id)
        .bind(account_id)
        .bind(token)
        .bind(kinds)
        .bind(form)
        .bind(authority)
        .bind(content.subject)
        .bind(joined(&content.identifiers)?)
        .bind(content.key_algorithm)
        .bind(content.public_key);
        in_transaction!(self.backend(), |transaction| {
            let waiting = transaction.row(counting(account_id, created_at)).await?;
            let waiting: u64 = waiting.map_or(Ok(0), |mut row| row.take())?;
            if usize::try_from(waiting).unwrap_or(usize::MAX) >= limit {
                return Err(Error::Full);
            }
            transaction.execute(insert.clone()).await.map(drop)
        })
    }

    /// The order of this identifier.
    pub async fn inbound_order(
        &self,
        scope: Scope,
        id: &str,
    ) -> Result<Option<InboundOrder>, Error> {
        let Some(mut row) = self.backend().row(by_id(scope, id)).await? else {
            return Ok(None);
        };
        let mut order = read(&mut row)?;
        for mut row in self.backend().rows(proofs_of(id)).await? {
            order.proven.push(row.take()?);
        }
        Ok(Some(order))
    }

    /// Writes down that control over these names of an order was proven.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the order is not there (any more).
    pub async fn prove_inbound(
        &self,
        id: &str,
        identifiers: &[String],
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        in_transaction!(self.backend(), |transaction| {
            let mut rest = identifiers;
            while !rest.is_empty() {
                let (portion, later) = rest.split_at(largest_portion(rest.len()));
                let marks = row_marks(portion.len(), 3);
                let values = portion
                    .iter()
                    .flat_map(|name| [Value::from(now), id.into(), name.as_str().into()]);
                let insert = Statement::with_values(
                    format!(
                        "insert into inbound_proofs (proven_at, order_id, identifier) \
                         values {marks} on conflict (order_id, identifier) do nothing"
                    ),
                    values.collect(),
                );
                let proven = transaction.execute(insert).await;
                proven.map_err(|error| error.or_missing(Error::NotFound))?;
                rest = later;
            }
            Ok(())
        })
    }

    /// Adds a certificate as [`Store::add_certificate`] does, and completes the order `id` of its
    /// account with it: both or neither, and no order twice.
    ///
    /// # Errors
    ///
    /// Those of [`Store::add_certificate`]; [`Error::Completed`] when the order was completed
    /// before, or is not there (any more).
    pub async fn complete_inbound_order(&self, id: &str, record: NewRecord) -> Result<(), Error> {
        let version = record.version.as_ref().map(|version| version.id);
        let version = version.ok_or(Error::Inconsistent("an order is completed by nothing"))?;
        let completion = Completion {
            order: id.to_owned(),
            account: record.certificate.account_id,
            version,
            at: record.event.at,
        };
        let mut rows = self.prepare(record)?;
        rows.completion = Some(completion);
        self.recorder().record(rows).await
    }

    /// Forgets what was wanted by orders that could be completed until `expired`, and all of those
    /// placed before `old`. The answer is how many of the latter there were.
    pub async fn sweep_inbound_orders(
        &self,
        expired: OffsetDateTime,
        old: OffsetDateTime,
    ) -> Result<u64, Error> {
        self.in_portions(emptying(expired)).await?;
        self.in_portions(purging(old)).await
    }

    async fn in_portions(&self, statement: Statement) -> Result<u64, Error> {
        let mut all = 0;
        loop {
            let portion = in_transaction!(self.backend(), |transaction| {
                transaction.execute(statement.clone()).await
            })?;
            all += portion;
            if portion < PORTION {
                return Ok(all);
            }
        }
    }
}

/// Completes an order, or fails if it cannot be.
pub(crate) async fn complete(
    transaction: &mut Transaction,
    completion: &Completion,
) -> Result<(), Error> {
    match transaction.execute(completing(completion)).await? {
        0 => Err(Error::Completed),
        _ => Ok(()),
    }
}

pub(crate) fn completing(completion: &Completion) -> Statement {
    Statement::new(
        "update inbound_orders set version_id = ?, completed_at = ?, subject = null, \
         identifiers = null, key_algorithm = null, public_key = null \
         where id = ? and account_id = ? and completed_at is null",
    )
    .bind(completion.version)
    .bind(completion.at)
    .bind(completion.order.as_str())
    .bind(completion.account)
}

/// Those of an account that wait at `now`.
pub(crate) fn counting(account: AccountId, now: OffsetDateTime) -> Statement {
    Statement::new(
        "select count(*) from inbound_orders where account_id = ? and expires_at > ? \
         and identifiers is not null",
    )
    .bind(account)
    .bind(now)
}

pub(crate) fn by_id(scope: Scope, id: &str) -> Statement {
    let statement = Statement::new(
        "select id, account_id, token, kinds, form, authority, subject, identifiers, days, \
         key_algorithm, public_key, version_id, completed_at, created_at, expires_at \
         from inbound_orders where id = ?",
    )
    .bind(id);
    scope.restrict(statement, "account_id")
}

pub(crate) fn proofs_of(id: &str) -> Statement {
    Statement::new("select identifier from inbound_proofs where order_id = ?").bind(id)
}

pub(crate) fn emptying(expired: OffsetDateTime) -> Statement {
    Statement::new(format!(
        "update inbound_orders set subject = null, identifiers = null, key_algorithm = null, \
         public_key = null where id in (select id from inbound_orders where expires_at <= ? \
         and identifiers is not null order by expires_at limit {PORTION})"
    ))
    .bind(expired)
}

pub(crate) fn purging(old: OffsetDateTime) -> Statement {
    Statement::new(format!(
        "delete from inbound_orders where id in (select id from inbound_orders \
         where created_at <= ? order by created_at limit {PORTION})"
    ))
    .bind(old)
}

fn read(row: &mut Row) -> Result<InboundOrder, Error> {
    let (id, account_id, token) = (row.take()?, row.take()?, row.take()?);
    let kinds = lines(&row.take::<String>()?);
    let (form, authority) = (row.take()?, row.take()?);
    let (subject, identifiers) = (row.take()?, row.take::<Option<String>>()?);
    let (days, key_algorithm, public_key) = (row.take()?, row.take()?, row.take()?);
    let content = match (subject, identifiers) {
        (Some(subject), Some(identifiers)) => Some(InboundContent {
            subject,
            identifiers: lines(&identifiers),
            days,
            key_algorithm,
            public_key,
        }),
        _ => None,
    };
    let (version, completed_at) = (row.take::<Option<VersionId>>()?, row.take()?);
    Ok(InboundOrder {
        id,
        account_id,
        token,
        kinds,
        form,
        authority,
        content,
        proven: Vec::new(),
        completion: version.zip(completed_at),
        created_at: row.take()?,
        expires_at: row.take()?,
    })
}
