//! Orders at ACME directories that are under way: at most one for each certificate, written down
//! before the directory hears of it, so that a node that dies leaves behind all that another needs
//! to go on.
//!
//! Only who has claimed a certificate may write its order. A claim is over when it ran out and
//! somebody else has claimed, or when the certificate was changed or removed; every function that
//! writes says whether it was still held, and otherwise changes nothing.

use std::collections::HashSet;

use pki::PrivateKey;
use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::challenges;
use crate::error::Error;
use crate::ids::{AccountId, CertificateId, DirectoryId};
use crate::inventory::{joined, within};
use crate::references::LOOKUP_PORTION;
use crate::seal::Purpose;
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::tokens::lines;

/// The longest texts of an order, in bytes: its URL, its profile, what it replaces.
pub const ORDER_TEXT_LIMIT: usize = 4096;

/// An order to be begun.
#[derive(Debug, Clone)]
pub struct NewDirectoryOrder {
    /// The certificate that it is for.
    pub certificate_id: CertificateId,
    /// The account that the certificate belongs to.
    pub account_id: AccountId,
    /// The directory that it will be placed at.
    pub directory_id: DirectoryId,
    /// The names that are ordered, as text.
    pub identifiers: Vec<String>,
    /// The profile that is ordered.
    pub profile: Option<String>,
    /// What it replaces, as in RFC 9773 §5.
    pub replaces: Option<String>,
    /// Whether the version in service is revoked once its successor is there.
    pub supersedes: bool,
    /// The key of the certificate to come.
    pub key: PrivateKey,
    /// The kind of challenge that is to be met first, such as `dns-01`.
    pub challenge: Option<String>,
    /// When it is begun.
    pub created_at: OffsetDateTime,
}

/// An order that is under way.
#[derive(Debug, Clone)]
pub struct DirectoryOrder {
    /// The certificate that it is for.
    pub certificate_id: CertificateId,
    /// The account that the certificate belongs to.
    pub account_id: AccountId,
    /// The directory that it is, or will be, placed at.
    pub directory_id: DirectoryId,
    /// The names that are ordered, as text.
    pub identifiers: Vec<String>,
    /// The profile that is ordered.
    pub profile: Option<String>,
    /// What it replaces, as in RFC 9773 §5.
    pub replaces: Option<String>,
    /// Whether the version in service is revoked once its successor is there.
    pub supersedes: bool,
    /// The key of the certificate to come.
    pub key: PrivateKey,
    /// The kind of challenge that is to be met first, such as `dns-01`.
    pub challenge: Option<String>,
    /// Where it is at the directory. None until the directory has answered, or when its answer was
    /// never read.
    pub url: Option<String>,
    /// When it was begun, to the microsecond.
    pub created_at: OffsetDateTime,
    /// When it was written last, to the microsecond.
    pub updated_at: OffsetDateTime,
    /// When the directory will have forgotten it, if it said so.
    pub expires_at: Option<OffsetDateTime>,
}

impl Store {
    /// Begins an order for a certificate that is claimed until `until`. Returns whether the claim
    /// was held.
    ///
    /// # Errors
    ///
    /// [`Error::Duplicate`] when one is under way, [`Error::UnknownDirectory`], [`Error::TooLong`].
    pub async fn begin_order(
        &self,
        until: OffsetDateTime,
        order: NewDirectoryOrder,
    ) -> Result<bool, Error> {
        let NewDirectoryOrder {
            certificate_id,
            account_id,
            directory_id,
            identifiers,
            profile,
            replaces,
            supersedes,
            key,
            challenge,
            created_at,
        } = order;
        for (what, text) in [
            ("the profile of the order", &profile),
            ("what the order replaces", &replaces),
            ("the kind of challenge", &challenge),
        ] {
            let length = text.as_ref().map_or(0, String::len);
            within(what, ORDER_TEXT_LIMIT, length)?;
        }
        let row = certificate_id.as_uuid();
        let sealed = self
            .sealer()
            .seal(Purpose::OrderKey, row, &key.to_pkcs8_der())?;
        let insert = Statement::new(
            "insert into orders (supersedes, created_at, updated_at, certificate_id, account_id, \
             directory_id, identifiers, profile, replaces, challenge, sealed_key) \
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(supersedes)
        .bind(created_at)
        .bind(created_at)
        .bind(certificate_id)
        .bind(account_id)
        .bind(directory_id)
        .bind(joined(&identifiers)?)
        .bind(profile)
        .bind(replaces)
        .bind(challenge)
        .bind(sealed);
        in_transaction!(self.backend(), |transaction| {
            if !hold(transaction, certificate_id, until).await? {
                return Ok(false);
            }
            let begun = transaction.execute(insert.clone()).await;
            begun.map_err(|error| error.or_missing(Error::UnknownDirectory))?;
            Ok(true)
        })
    }

    /// Writes down where the order of a claimed certificate is at its directory, and until when.
    /// Returns whether the claim was held and the order was there.
    pub async fn place_order(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        url: &str,
        expires_at: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        within("the URL of the order", ORDER_TEXT_LIMIT, url.len())?;
        let update = Statement::new(
            "update orders set url = ?, expires_at = ?, updated_at = ? where certificate_id = ?",
        )
        .bind(url)
        .bind(expires_at)
        .bind(now)
        .bind(certificate);
        self.change_order(certificate, until, update).await
    }

    /// Writes down which kind of challenge is to be met next for the order of a claimed
    /// certificate. Returns whether the claim was held and the order was there.
    pub async fn prefer_challenge(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        kind: &str,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        within("the kind of challenge", ORDER_TEXT_LIMIT, kind.len())?;
        let update = Statement::new(
            "update orders set challenge = ?, updated_at = ? where certificate_id = ?",
        )
        .bind(kind)
        .bind(now)
        .bind(certificate);
        self.change_order(certificate, until, update).await
    }

    /// Ends the order of a claimed certificate, if there is one, whatever came of it: records that
    /// were published for it are due for withdrawal at `now`, its other challenges are forgotten.
    /// Returns whether the claim was held.
    pub async fn end_order(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        in_transaction!(self.backend(), |transaction| {
            if !hold(transaction, certificate, until).await? {
                return Ok(false);
            }
            end(transaction, &[certificate], now).await?;
            Ok(true)
        })
    }

    /// The order of a certificate that is under way.
    ///
    /// # Errors
    ///
    /// [`Error::Seal`] when its key was sealed under another master key, or damaged;
    /// [`Error::StoredKey`].
    pub async fn order(&self, certificate: CertificateId) -> Result<Option<DirectoryOrder>, Error> {
        let row = self.backend().row(of_certificate(certificate)).await?;
        row.map(|row| self.read_order(row)).transpose()
    }

    /// How many orders are under way.
    pub async fn orders_in_flight(&self) -> Result<u64, Error> {
        let row = self.backend().row(counting()).await?;
        row.map_or(Ok(0), |mut row| row.take())
    }

    async fn change_order(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        update: Statement,
    ) -> Result<bool, Error> {
        in_transaction!(self.backend(), |transaction| {
            let is_held = hold(transaction, certificate, until).await?;
            Ok(is_held && transaction.execute(update.clone()).await? > 0)
        })
    }

    fn read_order(&self, mut row: Row) -> Result<DirectoryOrder, Error> {
        let certificate_id: CertificateId = row.take()?;
        let sealed: Vec<u8> = row.take()?;
        let purpose = Purpose::OrderKey;
        let key = self
            .sealer()
            .open(purpose, certificate_id.as_uuid(), &sealed)?;
        Ok(DirectoryOrder {
            certificate_id,
            key: PrivateKey::from_pkcs8_der(&key).map_err(Error::StoredKey)?,
            account_id: row.take()?,
            directory_id: row.take()?,
            identifiers: lines(&row.take::<String>()?),
            profile: row.take()?,
            replaces: row.take()?,
            supersedes: row.take()?,
            challenge: row.take()?,
            url: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
            expires_at: row.take()?,
        })
    }
}

/// Whether a certificate is claimed until `until`. If so, nobody else claims, changes or removes it
/// before the transaction ends.
pub(crate) async fn hold(
    transaction: &mut Transaction,
    certificate: CertificateId,
    until: OffsetDateTime,
) -> Result<bool, Error> {
    let statement = holding(certificate, until).text(transaction.row_lock());
    Ok(transaction.row(statement).await?.is_some())
}

pub(crate) fn holding(certificate: CertificateId, until: OffsetDateTime) -> Statement {
    // No index serves an expression, so the row is found by what it is, not by when it is due.
    Statement::new("select 1 from certificates where id = ? and +next_action_at = ?")
        .bind(certificate)
        .bind(until)
}

/// Ends the orders of those certificates that have one, and what was done for them. The
/// certificates are locked already, as everywhere.
pub(crate) async fn end(
    transaction: &mut Transaction,
    certificates: &[CertificateId],
    now: OffsetDateTime,
) -> Result<(), Error> {
    let mut ended = HashSet::new();
    for portion in certificates.chunks(LOOKUP_PORTION) {
        for mut row in transaction.rows(ending(portion)).await? {
            ended.insert(row.take::<CertificateId>()?);
        }
    }
    let ended: Vec<CertificateId> = ended.into_iter().collect();
    challenges::settle(transaction, &ended, now).await
}

pub(crate) fn ending(certificates: &[CertificateId]) -> Statement {
    Statement::new("delete from orders where certificate_id in ")
        .list(certificates.iter().copied())
        .text(" returning certificate_id")
}

pub(crate) fn of_certificate(certificate: CertificateId) -> Statement {
    Statement::new(
        "select certificate_id, sealed_key, account_id, directory_id, identifiers, profile, \
         replaces, supersedes, challenge, url, created_at, updated_at, expires_at \
         from orders where certificate_id = ?",
    )
    .bind(certificate)
}

/// Counts what is in an index, not the rows.
pub(crate) fn counting() -> Statement {
    Statement::new("select count(*) from orders")
}
