//! Responders that a CA has certified to sign OCSP answers for it.

use time::OffsetDateTime;

use crate::authorities::NewCaCertificate;
use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AuthorityId, CaCertificateId};
use crate::sql::Statement;
use crate::store::Store;

impl Store {
    /// How many responders this CA certificate has certified. [`Error::NotFound`] when there is no
    /// such certificate.
    pub async fn certified_responders(&self, issuer: CaCertificateId) -> Result<u64, Error> {
        let statement =
            Statement::new("select responders from ca_certificates where id = ?").bind(issuer);
        let row = self.backend().row(statement).await?;
        row.ok_or(Error::NotFound)?.take()
    }

    /// Adds a responder of an authority, if `issuer` has certified only `known` others: of nodes
    /// that are about to do the same, one does. The answer is whether it was added. Responders of
    /// the authority that ended before `ended` are removed with their keys.
    pub async fn add_responder(
        &self,
        (authority, issuer): (AuthorityId, CaCertificateId),
        known: u64,
        responder: NewCaCertificate,
        ended: OffsetDateTime,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let count = Statement::new(
            "update ca_certificates set responders = responders + 1 \
             where id = ? and authority_id = ? and responders = ?",
        )
        .bind(issuer)
        .bind(authority)
        .bind(known.cast_signed());
        let member = self.prepare_member(authority, &responder, &event)?;
        let those_ended = "from ca_certificates \
                           where authority_id = ? and role = 'responder' and not_after < ?";
        let of_ended = |text: String| Statement::new(text).bind(authority).bind(ended);
        let keys = of_ended(format!(
            "delete from private_keys where id in (select private_key_id {those_ended})"
        ));
        let certificates = of_ended(format!("delete {those_ended}"));
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(count.clone()).await? == 0 {
                return Ok(false);
            }
            transaction.execute(keys.clone()).await?;
            transaction.execute(certificates.clone()).await?;
            member.insert(transaction).await?;
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }
}
