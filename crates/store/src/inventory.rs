//! Adding certificates, changing and removing them.
//!
//! Order of locks in every transaction: service, instance, domain, certificate, version, private
//! key, authority, default issuer, order, inbound order, challenge, directory, budget, DNS provider, cursor,
//! webhook, delivery, counter of numbers, event counter.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::certificates::{NewCertificate, State, StateKind};
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{CertificateId, PrivateKeyId};
use crate::names;
use crate::orders;
use crate::private_keys::{self, NewPrivateKey, SealedKey};
use crate::recorder::RecordRows;
use crate::references::LOOKUP_PORTION;
use crate::scope::Scope;
use crate::sql::{Statement, Value, to_microseconds};
use crate::store::Store;
use crate::versions::NewVersion;

/// The longest name and common name of a certificate, in bytes: 255 characters of any script.
/// PostgreSQL could not index much more than twice as much.
pub const NAME_LIMIT: usize = 1024;

/// The longest list of names of a certificate, in bytes.
pub const IDENTIFIERS_LIMIT: usize = 256 * 1024;

/// The largest leaf with its chain, in bytes.
pub const CHAIN_LIMIT: usize = 1024 * 1024;

/// The longest reason of a failure that is kept, in bytes; a longer one is cut.
const FAILURE_LIMIT: usize = 4096;

/// A certificate to be added, with everything that becomes true at the same moment.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The certificate.
    pub certificate: NewCertificate,
    /// Its first version, which becomes the current one.
    pub version: Option<NewVersion>,
    /// The private key of that version.
    pub key: Option<NewPrivateKey>,
    /// What the audit log will say.
    pub event: NewEvent,
}

impl Store {
    /// Adds a certificate. Many at once share a transaction; the answer comes when it is on disk.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateName`] when the account has a certificate of that name,
    /// [`Error::DuplicateSerial`] when an authority of ours used the serial number before,
    /// [`Error::UnknownAccount`], [`Error::Duplicate`] for an identifier in use. In each case
    /// nothing of the record is kept, and other records are not affected.
    pub async fn add_certificate(&self, record: NewRecord) -> Result<(), Error> {
        let rows = self.prepare(record)?;
        self.recorder().record(rows).await
    }

    /// Moves a certificate to another state, and ends its order if one is under way. `failure` is
    /// why the last attempt at its next version failed, if one did; of a certificate in error it is
    /// the reason. [`Error::NotFound`] when there is no such certificate in the scope.
    pub async fn set_certificate_state(
        &self,
        scope: Scope,
        certificate: CertificateId,
        state: State,
        failure: Option<String>,
        event: NewEvent,
    ) -> Result<(), Error> {
        let prepared = PreparedState::new(scope, certificate, state, failure, event);
        in_transaction!(self.backend(), |transaction| {
            prepared.apply(transaction).await?;
            events::insert(transaction, vec![prepared.event.clone()]).await
        })
    }

    /// Removes a certificate, its order, and those of its private keys that were not made on their
    /// own and that no other certificate has; the answer is whether there was one.
    /// Versions that an authority of ours signed stay, because OCSP and CRLs must go on telling
    /// about them; so do the records of its challenges until they are withdrawn.
    /// [`Error::Attached`] while a domain is served with it. A domain that has it as an alternate
    /// goes on without.
    pub async fn delete_certificate(
        &self,
        scope: Scope,
        certificate: CertificateId,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let now = event.at;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if remove(transaction, scope, &[certificate], now).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// Does everything that needs no database, in the task of the caller.
    pub(crate) fn prepare(&self, record: NewRecord) -> Result<RecordRows, Error> {
        let NewRecord {
            certificate,
            version,
            key,
            event,
        } = record;
        match &version {
            Some(version) => check_version(version, key.as_ref())?,
            None if key.is_some() => {
                return Err(Error::Inconsistent("a private key comes without a version"));
            }
            None => {}
        }
        let key = self.seal(key.as_ref(), &event)?;
        let (id, account) = (certificate.id, certificate.account_id);
        let NewCertificate {
            common_name,
            identifiers,
            ..
        } = &certificate;
        let names = names::rows(account, id, common_name, identifiers);
        Ok(RecordRows {
            certificate: certificate_row(certificate, version.as_ref())?,
            version: version.map(|version| version.into_row(id, account)),
            key: key.map(|key| key.into_row(Some(account))),
            names,
            completion: None,
            event: event.into_row(),
        })
    }

    pub(crate) fn seal(
        &self,
        key: Option<&NewPrivateKey>,
        event: &NewEvent,
    ) -> Result<Option<SealedKey>, Error> {
        key.map(|key| SealedKey::new(self.sealer(), key, event.at))
            .transpose()
    }
}

/// Another state of a certificate, ready to be written.
pub(crate) struct PreparedState {
    update: Statement,
    certificate: CertificateId,
    now: OffsetDateTime,
    pub(crate) event: EventRow,
}

impl PreparedState {
    pub(crate) fn new(
        scope: Scope,
        certificate: CertificateId,
        state: State,
        failure: Option<String>,
        event: NewEvent,
    ) -> Self {
        let StateColumns {
            kind,
            attempt,
            next_action_at,
            reason,
        } = StateColumns::from(state);
        let update = Statement::new(
            "update certificates set state = ?, attempt = ?, renew_at = null, \
             next_action_at = ?, reason = ? where id = ?",
        )
        .bind(kind.as_str())
        .bind(attempt)
        .bind(next_action_at)
        .bind(reason.or(failure.map(cut_failure)))
        .bind(certificate);
        Self {
            update: scope.restrict(update, "account_id"),
            certificate,
            now: event.at,
            event: event.into_row(),
        }
    }

    /// Writes it, yet without its event.
    pub(crate) async fn apply(&self, transaction: &mut Transaction) -> Result<(), Error> {
        if transaction.execute(self.update.clone()).await? == 0 {
            return Err(Error::NotFound);
        }
        orders::end(transaction, &[self.certificate], self.now).await
    }
}

/// Removes certificates with what belongs to them, see [`Store::delete_certificate`]; the answer is how
/// many there were.
pub(crate) async fn remove(
    transaction: &mut Transaction,
    scope: Scope,
    certificates: &[CertificateId],
    now: OffsetDateTime,
) -> Result<usize, Error> {
    // Domains are locked before certificates, as everywhere.
    for certificate in certificates {
        let detach =
            Statement::new("update domains set alternate_id = null where alternate_id = ?")
                .bind(*certificate)
                .text(" and exists (select 1 from certificates where certificates.id = ?")
                .bind(*certificate);
        let detach = scope.restrict(detach, "certificates.account_id").text(")");
        transaction.execute(detach).await?;
    }
    let mut removed = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        let delete = Statement::new("delete from certificates where id = ?").bind(*certificate);
        let delete = scope.restrict(delete, "account_id");
        let deleted = transaction.execute(delete).await;
        if deleted.map_err(|error| error.or_missing(Error::Attached))? > 0 {
            removed.push(*certificate);
        }
    }
    delete_keys(transaction, &removed).await?;
    for certificate in &removed {
        let versions = Statement::new(
            "delete from versions where certificate_id = ? and authority_id is null",
        );
        transaction.execute(versions.bind(*certificate)).await?;
    }
    orders::end(transaction, &removed, now).await?;
    Ok(removed.len())
}

/// Keeps others from changing or removing certificates, and from beginning to refer to them, until
/// the transaction ends; and from changing the domains that have them as alternates, which are
/// locked before.
pub(crate) async fn hold(
    transaction: &mut Transaction,
    certificates: &[CertificateId],
) -> Result<(), Error> {
    let mut certificates = certificates.to_vec();
    certificates.sort_unstable();
    for portion in certificates.chunks(LOOKUP_PORTION) {
        let domains = alternates(portion).text(transaction.row_lock());
        transaction.rows(domains).await?;
    }
    for portion in certificates.chunks(LOOKUP_PORTION) {
        let lock = Statement::new("select 1 from certificates where id in ")
            .list(portion.iter().copied())
            .text(" order by id")
            .text(transaction.removal_lock());
        transaction.rows(lock).await?;
    }
    Ok(())
}

pub(crate) fn alternates(certificates: &[CertificateId]) -> Statement {
    Statement::new("select 1 from domains where alternate_id in ")
        .list(certificates.iter().copied())
        .text(" order by name")
}

/// Deletes the private keys of certificates that are gone, as far as nothing else needs them.
async fn delete_keys(transaction: &mut Transaction, gone: &[CertificateId]) -> Result<(), Error> {
    let mut keys: BTreeSet<PrivateKeyId> = BTreeSet::new();
    for portion in gone.chunks(LOOKUP_PORTION) {
        for mut row in transaction.rows(keys_of(portion)).await? {
            keys.insert(row.take()?);
        }
    }
    let keys: Vec<PrivateKeyId> = keys.into_iter().collect();
    for portion in keys.chunks(LOOKUP_PORTION) {
        // Whoever gives one of them to another certificate holds it, and so does whoever deletes
        // the other certificate that has it.
        private_keys::hold(transaction, portion).await?;
        transaction.execute(deleting_unneeded(portion)).await?;
    }
    Ok(())
}

pub(crate) fn keys_of(certificates: &[CertificateId]) -> Statement {
    Statement::new(
        "select private_key_id from versions \
         where private_key_id is not null and certificate_id in ",
    )
    .list(certificates.iter().copied())
}

pub(crate) fn deleting_unneeded(keys: &[PrivateKeyId]) -> Statement {
    Statement::new("delete from private_keys where id in ")
        .list(keys.iter().copied())
        .text(
            " and not exists (select 1 from private_key_labels l \
             where l.private_key_id = private_keys.id and l.on_its_own) \
             and not exists (select 1 from versions o \
             join certificates c on c.id = o.certificate_id \
             where o.private_key_id = private_keys.id)",
        )
}

/// The values in the order of [`crate::recorder::CERTIFICATES`].
fn certificate_row(
    certificate: NewCertificate,
    version: Option<&NewVersion>,
) -> Result<Vec<Value>, Error> {
    let NewCertificate {
        id,
        account_id,
        name,
        common_name,
        identifiers,
        origin,
        state,
        issuer,
        created_at,
    } = certificate;
    let identifiers = joined(&identifiers)?;
    within("the name of the certificate", NAME_LIMIT, name.len())?;
    check_common_name(&common_name)?;
    let StateColumns {
        kind,
        attempt,
        next_action_at,
        reason,
    } = StateColumns::from(state);
    Ok(vec![
        created_at.into(),
        attempt.into(),
        version.map(|version| version.not_after).into(),
        next_action_at.into(),
        id.into(),
        account_id.into(),
        version.map(|version| version.id).into(),
        name.into(),
        common_name.into(),
        identifiers.into(),
        Value::Text(Some(origin.as_str().into())),
        Value::Text(Some(kind.as_str().into())),
        reason.into(),
        issuer.into(),
    ])
}

pub(crate) fn check_common_name(common_name: &str) -> Result<(), Error> {
    within(
        "the common name of the certificate",
        NAME_LIMIT,
        common_name.len(),
    )
}

/// The names of a certificate as they are kept: one a line.
pub(crate) fn joined(identifiers: &[String]) -> Result<String, Error> {
    let lines = identifiers.join("\n");
    within(
        "the list of names of the certificate",
        IDENTIFIERS_LIMIT,
        lines.len(),
    )?;
    Ok(lines)
}

pub(crate) fn check_version(
    version: &NewVersion,
    key: Option<&NewPrivateKey>,
) -> Result<(), Error> {
    let named: Option<PrivateKeyId> = version.private_key_id;
    if key.is_some_and(|key| named != Some(key.id)) {
        return Err(Error::Inconsistent(
            "the version does not name the private key",
        ));
    }
    let chain: usize = version.intermediates.iter().map(Vec::len).sum();
    within(
        "the certificate with its chain",
        CHAIN_LIMIT,
        version.leaf.len() + chain,
    )
}

pub(crate) fn within(what: &'static str, limit: usize, length: usize) -> Result<(), Error> {
    if length > limit {
        return Err(Error::TooLong { what, limit });
    }
    Ok(())
}

/// Why an attempt failed, as it is kept.
pub(crate) fn cut_failure(mut failure: String) -> String {
    events::cut(&mut failure, FAILURE_LIMIT);
    failure
}

struct StateColumns {
    kind: StateKind,
    attempt: i64,
    next_action_at: Option<i64>,
    reason: Option<String>,
}

impl From<State> for StateColumns {
    fn from(state: State) -> Self {
        let kind = state.kind();
        let (attempt, next_action_at, reason) = match state {
            State::Error { reason } => (0, None, Some(cut_failure(reason))),
            State::Pending {
                attempt,
                next_attempt_at,
            } => (
                i64::from(attempt),
                Some(to_microseconds(next_attempt_at)),
                None,
            ),
            State::Revoked | State::Valid => (0, None, None),
        };
        Self {
            kind,
            attempt,
            next_action_at,
            reason,
        }
    }
}
