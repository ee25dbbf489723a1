//! Webhooks: where accounts want to be told what happens to what is theirs.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::directories::within_number;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, WebhookId};
use crate::inventory::within;
use crate::references::LOOKUP_PORTION;
use crate::scope::{Scope, page_limit};
use crate::seal::{Purpose, Sealer};
use crate::secret::Secret;
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::tokens::lines;

/// The most webhooks of an account.
pub const WEBHOOKS_LIMIT: usize = 100;

/// The longest texts of a webhook, in bytes: its URL, its list of kinds, its format, its secret.
pub const WEBHOOK_TEXT_LIMIT: usize = 4096;

/// A webhook to be added.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Its identifier.
    pub id: WebhookId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// Where events are posted to.
    pub url: String,
    /// What deliveries are signed with.
    pub secret: Secret,
    /// The kinds of events that are wanted, such as `certificate.issued`; empty for all.
    pub kinds: Vec<String>,
    /// How deliveries are written.
    pub format: String,
    /// Whether an administrator added it, so that it may be anywhere on the network.
    pub is_trusted: bool,
    /// When it is added.
    pub created_at: OffsetDateTime,
}

/// A webhook, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its identifier.
    pub id: WebhookId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// Where events are posted to.
    pub url: String,
    /// The kinds of events that are wanted; empty for all.
    pub kinds: Vec<String>,
    /// How deliveries are written.
    pub format: String,
    /// Whether an administrator added it.
    pub is_trusted: bool,
    /// When it was added, to the microsecond.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// Adds a webhook. It is told of what happens from then on.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownAccount`], [`Error::TooLong`], [`Error::Duplicate`] for an identifier in
    /// use, [`Error::Full`] beyond [`WEBHOOKS_LIMIT`].
    pub async fn add_webhook(&self, webhook: NewWebhook, event: NewEvent) -> Result<(), Error> {
        let NewWebhook {
            id,
            account_id,
            url,
            secret,
            kinds,
            format,
            is_trusted,
            created_at,
        } = webhook;
        let kinds = kinds.join("\n");
        for (what, length) in [
            ("the URL of the webhook", url.len()),
            ("the kinds of events of the webhook", kinds.len()),
            ("the format of the webhook", format.len()),
            ("the secret of the webhook", secret.bytes().len()),
        ] {
            within(what, WEBHOOK_TEXT_LIMIT, length)?;
        }
        let purpose = Purpose::WebhookSecret;
        let sealed = self.sealer().seal(purpose, id.as_uuid(), secret.bytes())?;
        let insert = Statement::new(
            "insert into webhooks (created_at, trusted, id, account_id, url, kinds, format, \
             secret) select * from (values (?, ?, ?, ?, ?, ?, ?, ?)) as fresh",
        )
        .bind(created_at)
        .bind(is_trusted)
        .bind(id)
        .bind(account_id)
        .bind(url)
        .bind(kinds)
        .bind(format)
        .bind(sealed);
        let insert = within_number(insert, "webhooks", Some(account_id), WEBHOOKS_LIMIT);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(insert.clone()).await? == 0 {
                return Err(Error::Full);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// Webhooks by identifier, those after `after`, at most `limit` (and never more than 1,000).
    pub async fn webhooks(
        &self,
        scope: Scope,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Vec<Webhook>, Error> {
        let rows = self.backend().rows(listed(scope, after, limit)).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// The webhook with this identifier.
    pub async fn webhook(&self, scope: Scope, id: WebhookId) -> Result<Option<Webhook>, Error> {
        let statement = select("w.id = ?").bind(id);
        let statement = scope.restrict(statement, "w.account_id");
        let row = self.backend().row(statement).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// The webhooks of these accounts, all of them, in no particular order.
    pub async fn webhooks_of_accounts(
        &self,
        accounts: &[AccountId],
    ) -> Result<Vec<Webhook>, Error> {
        let mut found = Vec::new();
        for portion in accounts.chunks(LOOKUP_PORTION) {
            for mut row in self.backend().rows(of_accounts(portion)).await? {
                found.push(read(&mut row)?);
            }
        }
        Ok(found)
    }

    /// What the deliveries of a webhook are signed with.
    ///
    /// # Errors
    ///
    /// [`Error::Seal`] when it was sealed under another master key, or damaged.
    pub async fn webhook_secret(&self, id: WebhookId) -> Result<Option<Secret>, Error> {
        let statement = Statement::new("select secret from webhooks where id = ?").bind(id);
        let Some(mut row) = self.backend().row(statement).await? else {
            return Ok(None);
        };
        open_secret(self.sealer(), id, &row.take::<Vec<u8>>()?).map(Some)
    }

    /// Removes a webhook and what was still to be delivered to it; the answer is whether there was
    /// one.
    pub async fn remove_webhook(
        &self,
        scope: Scope,
        id: WebhookId,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let delete = Statement::new("delete from webhooks where id = ?").bind(id);
        let delete = scope.restrict(delete, "account_id");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(delete.clone()).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }
}

/// The columns of a webhook, in the order in which [`read`] takes them.
pub(crate) const COLUMNS: &str =
    "w.id, w.account_id, w.url, w.kinds, w.format, w.trusted, w.created_at";

pub(crate) fn read(row: &mut Row) -> Result<Webhook, Error> {
    Ok(Webhook {
        id: row.take()?,
        account_id: row.take()?,
        url: row.take()?,
        kinds: lines(&row.take::<String>()?),
        format: row.take()?,
        is_trusted: row.take()?,
        created_at: row.take()?,
    })
}

pub(crate) fn open_secret(sealer: &Sealer, id: WebhookId, sealed: &[u8]) -> Result<Secret, Error> {
    let opened = sealer.open(Purpose::WebhookSecret, id.as_uuid(), sealed)?;
    Ok(opened.into())
}

pub(crate) fn listed(scope: Scope, after: Option<WebhookId>, limit: usize) -> Statement {
    let after = after.unwrap_or_else(|| WebhookId::from_uuid(uuid::Uuid::nil()));
    let statement = select("w.id > ?").bind(after);
    scope
        .restrict(statement, "w.account_id")
        .text(" order by w.id limit ?")
        .bind(page_limit(limit))
}

pub(crate) fn of_accounts(accounts: &[AccountId]) -> Statement {
    select("w.account_id in ").list(accounts.iter().copied())
}

fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select {COLUMNS} from webhooks w where {condition}"
    ))
}
