//! Attachments: which certificate a domain is served with.

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{CertificateId, ServiceId};
use crate::recorder::largest_portion;
use crate::references::LOOKUP_PORTION;
use crate::sql::{Statement, Value, row_marks};
use crate::store::Store;

/// What a domain is to be served with from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The domain, by name.
    pub domain: String,
    /// The certificate it is served with so far; if that is not true any more, nothing happens.
    pub from: Option<CertificateId>,
    /// The certificate it is to be served with.
    pub certificate_id: Option<CertificateId>,
    /// One for the same name with another kind of key.
    pub alternate_id: Option<CertificateId>,
    /// Whether somebody chose the certificate by hand.
    pub is_explicit: bool,
}

impl Store {
    /// Serves domains with other certificates, as many of them as still are served with what the
    /// caller believes, and whose new certificates still exist. The answer is how many were
    /// changed. For each of those an event is written like `event`, with the account of the domain,
    /// the service as its object and the name of the domain as its detail.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCertificate`] when a certificate was deleted at this very moment; nothing is
    /// changed then, and trying again will do.
    pub async fn attach(
        &self,
        attachments: Vec<Attachment>,
        event: NewEvent,
    ) -> Result<u64, Error> {
        let mut certificates: Vec<CertificateId> = attachments
            .iter()
            .flat_map(|attachment| {
                let Attachment {
                    certificate_id,
                    alternate_id,
                    ..
                } = attachment;
                (*certificate_id).into_iter().chain(*alternate_id)
            })
            .collect();
        certificates.sort_unstable();
        certificates.dedup();
        in_transaction!(self.backend(), |transaction| {
            let events = switch_all(transaction, &attachments, &event).await?;
            if events.is_empty() {
                return Ok(0);
            }
            keep_keys(transaction, &certificates).await?;
            let count = events.len() as u64;
            events::insert(transaction, events).await?;
            Ok(count)
        })
    }
}

/// Changes domains of which something differs, see [`Store::attach`]; the answer is their events.
pub(crate) async fn switch_all(
    transaction: &mut Transaction,
    attachments: &[Attachment],
    event: &NewEvent,
) -> Result<Vec<EventRow>, Error> {
    let mut events = Vec::new();
    let mut rest = attachments;
    while !rest.is_empty() {
        let (portion, later) = rest.split_at(largest_portion(rest.len()));
        let changed = transaction.rows(switch(portion)).await;
        let changed = changed.map_err(|error| error.or_missing(Error::UnknownCertificate))?;
        for mut row in changed {
            let event = NewEvent {
                account_id: Some(row.take()?),
                object: Some(row.take::<ServiceId>()?.as_uuid()),
                detail: row.take()?,
                ..event.clone()
            };
            events.push(event.into_row());
        }
        rest = later;
    }
    Ok(events)
}

/// Whether all these domains are served as they were to be.
pub(crate) async fn are_so(
    transaction: &mut Transaction,
    attachments: &[Attachment],
) -> Result<bool, Error> {
    let mut rest = attachments;
    while !rest.is_empty() {
        let (portion, later) = rest.split_at(largest_portion(rest.len()));
        if transaction.rows(switched(portion)).await?.len() < portion.len() {
            return Ok(false);
        }
        rest = later;
    }
    Ok(true)
}

/// Sees to it that the private keys of certificates outlive their time for export: domains are
/// served with them.
pub(crate) async fn keep_keys(
    transaction: &mut Transaction,
    certificates: &[CertificateId],
) -> Result<(), Error> {
    for portion in certificates.chunks(LOOKUP_PORTION) {
        transaction.execute(keeping(portion)).await?;
    }
    Ok(())
}

pub(crate) fn keeping(certificates: &[CertificateId]) -> Statement {
    Statement::new(
        "update private_keys set kept = ? where exportable_until is not null and not kept \
         and id in (select v.private_key_id from certificates c \
         join versions v on v.id = c.current_version_id where c.id in ",
    )
    .bind(true)
    .list(certificates.iter().copied())
    .text(")")
}

/// Changes domains of which something differs; returns what their events need.
pub(crate) fn switch(attachments: &[Attachment]) -> Statement {
    // Both databases name the columns of such a list in the same way.
    Statement::with_values(
        format!(
            "update domains set certificate_id = fresh.column3, alternate_id = fresh.column4, \
             explicit = fresh.column5 from (values {}) as fresh \
             where domains.name = fresh.column1 \
             and domains.certificate_id is not distinct from fresh.column2 \
             and (domains.certificate_id is distinct from fresh.column3 \
             or domains.alternate_id is distinct from fresh.column4 \
             or domains.explicit <> fresh.column5) \
             and (fresh.column3 is null \
             or exists (select 1 from certificates c where c.id = fresh.column3)) \
             and (fresh.column4 is null \
             or exists (select 1 from certificates c where c.id = fresh.column4)) \
             returning domains.account_id, domains.service_id, domains.name",
            row_marks(attachments.len(), 5)
        ),
        values(attachments),
    )
}

/// Those of the domains that are served as they were to be.
fn switched(attachments: &[Attachment]) -> Statement {
    Statement::with_values(
        format!(
            "select domains.name from domains join (values {}) as fresh \
             on domains.name = fresh.column1 \
             where domains.certificate_id is not distinct from fresh.column3 \
             and domains.alternate_id is not distinct from fresh.column4 \
             and domains.explicit = fresh.column5",
            row_marks(attachments.len(), 5)
        ),
        values(attachments),
    )
}

fn values(attachments: &[Attachment]) -> Vec<Value> {
    let values = attachments.iter().flat_map(|attachment| {
        let Attachment {
            domain,
            from,
            certificate_id,
            alternate_id,
            is_explicit,
        } = attachment;
        [
            Value::from(domain.as_str()),
            (*from).into(),
            (*certificate_id).into(),
            (*alternate_id).into(),
            (*is_explicit).into(),
        ]
    });
    values.collect()
}
