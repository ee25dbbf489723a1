//! Adding versions to certificates that are there.

use time::OffsetDateTime;

use crate::attachments;
use crate::backend::{Transaction, in_transaction};
use crate::certificate_labels;
use crate::certificates::Origin;
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{AccountId, CertificateId, PrivateKeyId};
use crate::inventory::{check_common_name, check_version, joined};
use crate::names;
use crate::orders;
use crate::private_keys::{self, NewPrivateKey, SealedKey};
use crate::recorder::{VERSIONS, insert_rows};
use crate::scope::Scope;
use crate::sql::Statement;
use crate::store::Store;
use crate::versions::NewVersion;

/// A version to be added to a certificate, with everything that becomes true at the same moment.
#[derive(Debug, Clone)]
pub struct NewVersionRecord {
    /// The version, which becomes the current one.
    pub version: NewVersion,
    /// Its private key.
    pub key: Option<NewPrivateKey>,
    /// The names that the certificate covers from now on, as text.
    pub identifiers: Vec<String>,
    /// When the certificate is to be renewed.
    pub renew_at: Option<OffsetDateTime>,
    /// When something is to be done about it next: not after its renewal.
    pub next_action_at: Option<OffsetDateTime>,
    /// What the certificate becomes, if it comes to be in another way from now on.
    pub becomes: Option<Remade>,
    /// What the audit log will say.
    pub event: NewEvent,
}

/// What changes of a certificate that was brought along from now on, or signs itself; nobody renews
/// it any more.
#[derive(Debug, Clone)]
pub struct Remade {
    /// How it comes to be: not by an issuer.
    pub origin: Origin,
    /// The common name that it is listed under; at most [`NAME_LIMIT`] bytes.
    pub common_name: String,
}

impl Store {
    /// Adds a version to a certificate, makes it the current one, and the certificate valid for its
    /// names. The private key is kept beyond its time for export if domains are served with the
    /// certificate, or if it was there before. [`Error::NotFound`] when there is no such certificate
    /// in the scope, or not the private key that the version names.
    pub async fn add_version(
        &self,
        scope: Scope,
        certificate: CertificateId,
        record: NewVersionRecord,
    ) -> Result<(), Error> {
        let version = self.prepare_version(scope, certificate, record)?;
        in_transaction!(self.backend(), |transaction| {
            version.apply(transaction).await?;
            events::insert(transaction, vec![version.event.clone()]).await
        })
    }

    /// Does everything that needs no database, in the task of the caller.
    pub(crate) fn prepare_version(
        &self,
        scope: Scope,
        certificate: CertificateId,
        record: NewVersionRecord,
    ) -> Result<PreparedVersion, Error> {
        let NewVersionRecord {
            version,
            key,
            identifiers,
            renew_at,
            next_action_at,
            becomes,
            event,
        } = record;
        check_version(&version, key.as_ref())?;
        let stored_key = version.private_key_id.filter(|_| key.is_none());
        let key = self.seal(key.as_ref(), &event)?;
        let mut update = Statement::new(
            "update certificates set current_version_id = ?, identifiers = ?, not_after = ?, \
             state = 'valid', attempt = 0, renew_at = ?, next_action_at = ?, reason = null",
        )
        .bind(version.id)
        .bind(joined(&identifiers)?)
        .bind(version.not_after)
        .bind(renew_at)
        .bind(next_action_at);
        if let Some(Remade {
            origin,
            common_name,
        }) = becomes
        {
            check_common_name(&common_name)?;
            update = update
                .text(", origin = ?, common_name = ?, issuer = null")
                .bind(origin.as_str())
                .bind(common_name);
        }
        let update = update.text(" where id = ?").bind(certificate);
        let update = scope
            .restrict(update, "account_id")
            .text(" returning account_id, common_name");
        Ok(PreparedVersion {
            update,
            certificate,
            version,
            stored_key,
            key,
            identifiers,
            now: event.at,
            event: event.into_row(),
        })
    }
}

/// A version to be added, ready to be written.
pub(crate) struct PreparedVersion {
    update: Statement,
    certificate: CertificateId,
    version: NewVersion,
    /// Its key if that is stored already.
    stored_key: Option<PrivateKeyId>,
    key: Option<SealedKey>,
    identifiers: Vec<String>,
    now: OffsetDateTime,
    pub(crate) event: EventRow,
}

impl PreparedVersion {
    /// Writes it, yet without its event.
    pub(crate) async fn apply(&self, transaction: &mut Transaction) -> Result<(), Error> {
        let id = self.certificate;
        let row = transaction.row(self.update.clone()).await?;
        let mut row = row.ok_or(Error::NotFound)?;
        let account: AccountId = row.take()?;
        let common_name: String = row.take()?;
        let names = names::rows(account, id, &common_name, &self.identifiers);
        names::replace(transaction, id, &names).await?;
        let version = self.version.clone().into_row(id, account);
        insert_rows(transaction, &VERSIONS, &[&version]).await?;
        if let Some(key) = self.stored_key {
            let keep = certificate_labels::keeping(Scope::Account(account), key);
            if transaction.execute(keep).await? == 0 {
                return Err(Error::NotFound);
            }
        }
        if let Some(key) = self.key.clone() {
            private_keys::insert(transaction, key, Some(account)).await?;
            if is_attached(transaction, id).await? {
                attachments::keep_keys(transaction, &[id]).await?;
            }
        }
        orders::end(transaction, &[id], self.now).await
    }
}

/// Whether a domain is served with a certificate.
async fn is_attached(
    transaction: &mut Transaction,
    certificate: CertificateId,
) -> Result<bool, Error> {
    let statement = Statement::new(
        "select 1 where exists (select 1 from domains where certificate_id = ?) \
         or exists (select 1 from domains where alternate_id = ?)",
    )
    .bind(certificate)
    .bind(certificate);
    Ok(transaction.row(statement).await?.is_some())
}
