//! Changes of authorities: certificates and keys that come, go, or take over.
//!
//! Whoever changes an authority says which state of it they have seen. Of two who have seen the
//! same, one changes it, and the other looks again: so what is due is done once, however many nodes
//! notice that it is.

use time::OffsetDateTime;

use crate::authorities::{KeyPlace, NewCaCertificate};
use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AuthorityId, CaCertificateId, PrivateKeyId};
use crate::private_keys::{self, NewPrivateKey, SealedKey};
use crate::sql::Statement;
use crate::store::Store;

/// A change of an authority, done as a whole.
#[derive(Debug, Clone)]
pub struct AuthorityChange {
    /// The authority.
    pub id: AuthorityId,
    /// [`crate::Authority::changes`] when it was looked at.
    pub seen: u64,
    /// The trust anchor from now on.
    pub root_id: CaCertificateId,
    /// The certificate that signs leaves from now on.
    pub issuing_id: CaCertificateId,
    /// The key that waits for a certificate from now on.
    pub next_key_id: Option<PrivateKeyId>,
    /// Certificates that come.
    pub certificates: Vec<NewCaCertificate>,
    /// Keys that come without a new certificate.
    pub keys: Vec<NewPrivateKey>,
    /// Where the keys of certificates are from now on, and the CRL for the time without one.
    pub placed: Vec<(CaCertificateId, KeyPlace, Option<Vec<u8>>)>,
    /// Keys that are erased.
    pub erased_keys: Vec<PrivateKeyId>,
    /// What the audit log will say.
    pub event: NewEvent,
}

impl Store {
    /// Changes an authority. The answer is whether it was as the change says it was seen; if not,
    /// nothing is changed.
    pub async fn change_authority(&self, change: AuthorityChange) -> Result<bool, Error> {
        let update = Statement::new(
            "update authorities set changes = changes + 1, root_id = ?, issuing_id = ?, \
             next_key_id = ? where id = ? and changes = ?",
        )
        .bind(change.root_id)
        .bind(change.issuing_id)
        .bind(change.next_key_id)
        .bind(change.id)
        .bind(change.seen.cast_signed());
        // Lists of one key are numbered in one row, whichever of its certificates is in use.
        let carry_on = Statement::new(
            "update ca_certificates set crl_number = (select max(other.crl_number) \
             from ca_certificates other where other.authority_id = ca_certificates.authority_id \
             and other.private_key_id = ca_certificates.private_key_id) where id = ?",
        )
        .bind(change.issuing_id);
        let members = change
            .certificates
            .iter()
            .map(|member| self.prepare_member(change.id, member, &change.event))
            .collect::<Result<Vec<_>, _>>()?;
        let keys = change
            .keys
            .iter()
            .map(|key| SealedKey::new(self.sealer(), key, change.event.at))
            .collect::<Result<Vec<_>, _>>()?;
        let event = change.event.clone().into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? == 0 {
                return Ok(false);
            }
            for id in &change.erased_keys {
                let delete = Statement::new("delete from private_keys where id = ?").bind(*id);
                transaction.execute(delete).await?;
            }
            for member in &members {
                member.insert(transaction).await?;
            }
            transaction.execute(carry_on.clone()).await?;
            for key in &keys {
                private_keys::insert(transaction, key.clone(), None).await?;
            }
            for (id, place, list) in &change.placed {
                let place = Statement::new(
                    "update ca_certificates set key_place = ?, last_list = ? where id = ?",
                )
                .bind(place.as_str())
                .bind(list.clone())
                .bind(*id);
                transaction.execute(place).await?;
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// Writes that something of an authority is due, unless that was written after
    /// `unless_after`. The answer is whether it was written now: of many who notice it, one tells.
    pub async fn warn_of_authority(
        &self,
        id: AuthorityId,
        unless_after: OffsetDateTime,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let update = Statement::new(
            "update authorities set warned_at = ? \
             where id = ? and (warned_at is null or warned_at <= ?)",
        )
        .bind(event.at)
        .bind(id)
        .bind(unless_after);
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }
}
