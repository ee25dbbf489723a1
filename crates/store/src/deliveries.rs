//! Deliveries: what is still to be posted to webhooks.
//!
//! A delivery is due, claimed and given back like a certificate. Those for a stretch of the change
//! feed are written in the transaction that moves the reader's place past it, so that of several
//! nodes one makes each of them, once.

use std::collections::HashMap;

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::ids::{AccountId, DeliveryId, EventId, WebhookId};
use crate::inventory::within;
use crate::recorder::largest_portion;
use crate::references::LOOKUP_PORTION;
use crate::scope::{PAGE_LIMIT, page_limit};
use crate::secret::Secret;
use crate::sql::{Row, Statement, row_marks};
use crate::store::Store;
use crate::webhooks::{self, Webhook};

/// The longest body of a delivery, in bytes.
pub const DELIVERY_LIMIT: usize = 64 * 1024;

/// A delivery to be made.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Its identifier.
    pub id: DeliveryId,
    /// The webhook that it is for.
    pub webhook_id: WebhookId,
    /// The event that it tells of.
    pub event_id: EventId,
    /// What is posted; at most [`DELIVERY_LIMIT`] bytes.
    pub body: String,
    /// When it is to be posted.
    pub next_attempt_at: OffsetDateTime,
    /// When it is made.
    pub created_at: OffsetDateTime,
}

/// A delivery that was claimed, with all that is needed to post it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its identifier.
    pub id: DeliveryId,
    /// The webhook that it is for.
    pub webhook: Webhook,
    /// What it is signed with.
    pub secret: Secret,
    /// The event that it tells of.
    pub event_id: EventId,
    /// What is posted.
    pub body: String,
    /// How many attempts have failed.
    pub attempt: u8,
    /// When it was made, to the microsecond.
    pub created_at: OffsetDateTime,
}

impl Store {
    /// Moves the cursor of this name from one place in the feed to another (see
    /// [`Store::move_cursor`]), and makes the deliveries for the events in between, both or neither.
    /// Returns whether the cursor was where the caller believes; if another node has moved it,
    /// nothing is changed. Deliveries to webhooks that are gone are left out, as are those of
    /// events that were made before.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] for a body; [`Error::NotFound`] when a webhook was removed at this very
    /// moment: nothing is changed then, and trying again will do.
    pub async fn add_deliveries(
        &self,
        cursor: &str,
        from: Option<EventId>,
        to: EventId,
        deliveries: Vec<NewDelivery>,
    ) -> Result<bool, Error> {
        for delivery in &deliveries {
            let length = delivery.body.len();
            within("the body of the delivery", DELIVERY_LIMIT, length)?;
        }
        let advance = match from {
            Some(from) => {
                Statement::new("update cursors set event_id = ? where name = ? and event_id = ?")
                    .bind(to)
                    .bind(cursor)
                    .bind(from)
            }
            None => Statement::new(
                "insert into cursors (event_id, name) values (?, ?) on conflict (name) do nothing",
            )
            .bind(to)
            .bind(cursor),
        };
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(advance.clone()).await? == 0 {
                return Ok(false);
            }
            let written = insert(transaction, &deliveries).await;
            written.map_err(|error| error.or_missing(Error::NotFound))?;
            Ok(true)
        })
    }

    /// Claims deliveries that are due at `now`, those due longest first: at most `limit`, at
    /// most `share` of an account, and none of the accounts `except`, until `until`. Whoever asks meanwhile gets others;
    /// those that are neither ended nor put off by then are due again.
    ///
    /// # Errors
    ///
    /// [`Error::Seal`] when the secret of a webhook does not open.
    pub async fn claim_deliveries(
        &self,
        now: OffsetDateTime,
        until: OffsetDateTime,
        (limit, share): (usize, usize),
        except: &[AccountId],
    ) -> Result<Vec<Delivery>, Error> {
        // Most of the time nothing is due, and a look costs less than a transaction.
        if self.backend().row(due(now)).await?.is_none() {
            return Ok(Vec::new());
        }
        let claim = claiming(now, until, (limit, share), except);
        let rows = in_transaction!(self.backend(), |transaction| {
            let mut ids: Vec<DeliveryId> = Vec::new();
            for mut row in transaction.rows(claim.clone()).await? {
                ids.push(row.take()?);
            }
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            transaction.rows(by_ids(&ids)).await
        })?;
        rows.into_iter()
            .map(|row| self.read_delivery(row))
            .collect()
    }

    /// How many deliveries wait for each of these webhooks; those without any are left out.
    pub async fn waiting_deliveries(
        &self,
        webhooks: &[WebhookId],
    ) -> Result<HashMap<WebhookId, u64>, Error> {
        let mut found = HashMap::new();
        for portion in webhooks.chunks(LOOKUP_PORTION) {
            for mut row in self.backend().rows(waiting(portion)).await? {
                found.insert(row.take()?, row.take()?);
            }
        }
        Ok(found)
    }

    /// Ends a delivery that was made, or is given up. Whether it was there.
    pub async fn end_delivery(&self, id: DeliveryId) -> Result<bool, Error> {
        let delete = Statement::new("delete from deliveries where id = ?").bind(id);
        in_transaction!(self.backend(), |transaction| {
            Ok(transaction.execute(delete.clone()).await? > 0)
        })
    }

    /// Puts off a delivery that is claimed until `until`, after `attempt` attempts that failed.
    /// Whether the claim was held.
    pub async fn put_off_delivery(
        &self,
        id: DeliveryId,
        until: OffsetDateTime,
        attempt: u8,
        next_attempt_at: OffsetDateTime,
    ) -> Result<bool, Error> {
        let update = Statement::new(
            "update deliveries set attempt = ?, next_action_at = ? \
             where id = ? and +next_action_at = ?",
        )
        .bind(i64::from(attempt))
        .bind(next_attempt_at)
        .bind(id)
        .bind(until);
        in_transaction!(self.backend(), |transaction| {
            Ok(transaction.execute(update.clone()).await? > 0)
        })
    }

    fn read_delivery(&self, mut row: Row) -> Result<Delivery, Error> {
        let webhook = webhooks::read(&mut row)?;
        let sealed: Vec<u8> = row.take()?;
        Ok(Delivery {
            secret: webhooks::open_secret(self.sealer(), webhook.id, &sealed)?,
            webhook,
            id: row.take()?,
            event_id: row.take()?,
            body: row.take()?,
            attempt: u8::try_from(row.take::<u64>()?).unwrap_or(u8::MAX),
            created_at: row.take()?,
        })
    }
}

pub(crate) fn due(now: OffsetDateTime) -> Statement {
    Statement::new("select 1 from deliveries where next_action_at <= ? limit 1").bind(now)
}

/// The due deliveries of accounts that have had their share are looked past, not searched: what is
/// ranked are no more than [`PAGE_LIMIT`] of the others.
pub(crate) fn claiming(
    now: OffsetDateTime,
    until: OffsetDateTime,
    (limit, share): (usize, usize),
    except: &[AccountId],
) -> Statement {
    let statement = Statement::new(
        // The condition is repeated for PostgreSQL, where another node may have been faster.
        "update deliveries set next_action_at = ? where +next_action_at <= ? and id in \
         (select id from (select id, row_number() over (partition by account_id \
         order by next_action_at, id) as place from (select d.id, d.next_action_at, w.account_id \
         from deliveries d join webhooks w on w.id = d.webhook_id where d.next_action_at <= ?",
    )
    .bind(until)
    .bind(now)
    .bind(now);
    let statement = match except {
        [] => statement,
        except => statement
            .text(" and w.account_id not in ")
            .list(except.iter().copied()),
    };
    statement
        .text(
            " order by d.next_action_at limit ?) as due) as ranked where place <= ? order by place limit ?) returning id",
        )
        .bind(page_limit(PAGE_LIMIT))
        .bind(page_limit(share))
        .bind(page_limit(limit))
}

/// How much is still to be delivered to each of these webhooks; those without anything are left out.
pub(crate) fn waiting(webhooks: &[WebhookId]) -> Statement {
    Statement::new("select webhook_id, count(*) from deliveries where webhook_id in ")
        .list(webhooks.iter().copied())
        .text(" group by webhook_id")
}

pub(crate) fn by_ids(ids: &[DeliveryId]) -> Statement {
    Statement::new(format!(
        "select {}, w.secret, d.id, d.event_id, d.body, d.attempt, d.created_at \
         from deliveries d join webhooks w on w.id = d.webhook_id where d.id in ",
        webhooks::COLUMNS
    ))
    .list(ids.iter().copied())
}

async fn insert(transaction: &mut Transaction, deliveries: &[NewDelivery]) -> Result<(), Error> {
    let mut rest = deliveries;
    while !rest.is_empty() {
        let (portion, later) = rest.split_at(largest_portion(rest.len()));
        transaction.execute(insertion(portion)).await?;
        rest = later;
    }
    Ok(())
}

fn insertion(deliveries: &[NewDelivery]) -> Statement {
    let rows = deliveries.iter().flat_map(|delivery| {
        let NewDelivery {
            id,
            webhook_id,
            event_id,
            body,
            next_attempt_at,
            created_at,
        } = delivery;
        [
            (*event_id).into(),
            (*next_attempt_at).into(),
            (*created_at).into(),
            (*id).into(),
            (*webhook_id).into(),
            body.as_str().into(),
        ]
    });
    let marks = row_marks(deliveries.len(), 6);
    Statement::with_values(
        // Both databases name the columns of such a list in the same way.
        format!(
            "insert into deliveries (event_id, attempt, next_action_at, created_at, id, \
             webhook_id, body) select fresh.column1, 0, fresh.column2, fresh.column3, \
             fresh.column4, fresh.column5, fresh.column6 from (values {marks}) as fresh \
             where exists (select 1 from webhooks where webhooks.id = fresh.column5) \
             on conflict (webhook_id, event_id) do nothing"
        ),
        rows.collect(),
    )
}
