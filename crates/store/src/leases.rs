//! Leases on work that is due: who claims a certificate has it to itself until the lease ends.
//!
//! A lease is nothing but the time of the next action moved forward. A node that dies loses its
//! lease, never the work.

use std::collections::{HashMap, HashSet};

use pki::Revocation;
use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::certificates::{self, Certificate};
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{AccountId, CertificateId, VersionId};
use crate::inventory::{check_version, cut_failure, joined};
use crate::names::{self, CERTIFICATE_NAMES};
use crate::new_versions::NewVersionRecord;
use crate::orders;
use crate::private_keys::{Exportable, SealedKey};
use crate::recorder::{PRIVATE_KEYS, VERSIONS, insert_rows, largest_portion};
use crate::references::LOOKUP_PORTION;
use crate::revocations;
use crate::scope::{Scope, page_limit};
use crate::sql::{Statement, Value, row_marks};
use crate::store::Store;
use crate::versions::{self, NewVersion};

/// What is written for a certificate when the work on it is done.
struct Finished {
    id: CertificateId,
    version: NewVersion,
    key: Option<SealedKey>,
    identifiers: Vec<String>,
    /// The identifiers as they are kept.
    lines: String,
    renew_at: Option<OffsetDateTime>,
    next_action_at: Option<OffsetDateTime>,
    at: OffsetDateTime,
    event: EventRow,
    superseded: Option<Superseded>,
}

/// Whose certificates are claimed, by whether the account has directories of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owners {
    /// Everybody's.
    #[default]
    All,
    /// Those of accounts that have none.
    WithoutDirectories,
    /// Those of accounts that have some.
    WithDirectories,
}

/// Which of the certificates that are due are claimed: all of them, unless it says otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claimable<'a> {
    /// Whose.
    pub owners: Owners,
    /// Authorities, by name, whose certificates are left alone.
    pub except_authorities: &'a [String],
    /// Shared directories, by name, whose certificates are left alone; not those of an account that
    /// means one of its own by the name.
    pub except_shared: &'a [String],
    /// Names of issuers of one account, whose certificates are left alone.
    pub except_own: &'a [(AccountId, String)],
    /// Accounts whose certificates are left alone.
    pub except_accounts: &'a [AccountId],
}

impl Claimable<'_> {
    /// Whether the account of a certificate has any directory, or one of the name that it is given.
    const HAS_DIRECTORY: &'static str = "exists (select 1 from directories where \
         directories.account_id = certificates.account_id";

    fn restrict(self, statement: Statement) -> Statement {
        let has_any = Self::HAS_DIRECTORY;
        let mut statement = match self.owners {
            Owners::All => statement,
            Owners::WithoutDirectories => statement.text(&format!(" and not {has_any})")),
            Owners::WithDirectories => statement.text(&format!(" and {has_any})")),
        };
        if !self.except_authorities.is_empty() {
            statement = statement
                .text(" and (issuer is null or issuer not in ")
                .list(self.except_authorities.iter().map(String::as_str))
                .text(")");
        }
        if !self.except_shared.is_empty() {
            statement = statement
                .text(" and (issuer is null or issuer not in ")
                .list(self.except_shared.iter().map(String::as_str))
                .text(&format!(" or {has_any} and directories.name = issuer))"));
        }
        for (account, issuer) in self.except_own {
            statement = statement
                .text(" and (account_id <> ? or issuer is null or issuer <> ?)")
                .bind(*account)
                .bind(issuer.as_str());
        }
        if !self.except_accounts.is_empty() {
            statement = statement
                .text(" and account_id not in ")
                .list(self.except_accounts.iter().copied());
        }
        statement
    }
}

/// A version that is revoked when its successor is in service.
#[derive(Debug, Clone)]
pub struct Superseded {
    /// The version.
    pub version: VersionId,
    /// When and why it is revoked.
    pub revocation: Revocation,
    /// What the audit log will say.
    pub event: NewEvent,
}

impl Finished {
    /// What [`finishing`] wants of it.
    fn values(&self) -> [Value; 6] {
        [
            self.id.into(),
            self.version.id.into(),
            self.lines.as_str().into(),
            self.version.not_after.into(),
            self.renew_at.into(),
            self.next_action_at.into(),
        ]
    }
}

impl Store {
    /// Claims certificates whose next action is due at `now`, at most `limit` (and never more than
    /// 1,000), until `until`. Whoever asks meanwhile gets others.
    ///
    /// When more are due, half of them are those due longest, so that none waits for ever, and half
    /// those that have just become due, so that none waits behind all of what somebody else has
    /// asked for at once.
    pub async fn claim_due(
        &self,
        now: OffsetDateTime,
        until: OffsetDateTime,
        limit: usize,
        claimable: Claimable<'_>,
    ) -> Result<Vec<Certificate>, Error> {
        self.claim(claim(now, until, limit, Which::Claimable(claimable)))
            .await
    }

    /// The same for those of the issuers in `issuers`, by name, and no others.
    pub async fn claim_due_of(
        &self,
        now: OffsetDateTime,
        until: OffsetDateTime,
        limit: usize,
        issuers: &[String],
    ) -> Result<Vec<Certificate>, Error> {
        if issuers.is_empty() {
            return Ok(Vec::new());
        }
        self.claim(claim(now, until, limit, Which::Only(issuers)))
            .await
    }

    async fn claim(&self, claim: Statement) -> Result<Vec<Certificate>, Error> {
        in_transaction!(self.backend(), |transaction| {
            let mut ids: Vec<CertificateId> = Vec::new();
            for mut row in transaction.rows(claim.clone()).await? {
                ids.push(row.take()?);
            }
            let mut claimed = Vec::with_capacity(ids.len());
            for portion in ids.chunks(LOOKUP_PORTION) {
                let statement = certificates::by_ids(Scope::Everything, portion);
                for row in transaction.rows(statement).await? {
                    claimed.push(certificates::read(row)?);
                }
            }
            Ok(claimed)
        })
    }

    /// Adds versions to certificates that were claimed together until `until`, as
    /// [`Store::add_version`] does, all in one transaction, and ends their orders. Certificates whose claim is over in
    /// whatever way, because somebody else has claimed, changed or removed them, are left alone.
    /// Returns those that were changed. No certificate may be named twice.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateSerial`] when an authority of ours used any of the serial numbers before.
    /// [`Error::Inconsistent`] for a private key that is exportable for a limited time. Nothing is
    /// changed then, as after any other error.
    pub async fn finish_claimed(
        &self,
        until: OffsetDateTime,
        records: Vec<(CertificateId, NewVersionRecord)>,
    ) -> Result<HashSet<CertificateId>, Error> {
        let finished = records
            .into_iter()
            .map(|(id, record)| self.finished(id, record, None));
        self.finish(until, finished.collect::<Result<_, _>>()?)
            .await
    }

    /// Adds a version to a certificate that is claimed until `until`, as [`Store::finish_claimed`]
    /// does, and in the same transaction revokes the one that it supersedes, if that was not done
    /// before. Returns whether the claim was held.
    ///
    /// # Errors
    ///
    /// Those of [`Store::finish_claimed`].
    pub async fn supersede_claimed(
        &self,
        until: OffsetDateTime,
        certificate: CertificateId,
        record: NewVersionRecord,
        superseded: Superseded,
    ) -> Result<bool, Error> {
        let finished = self.finished(certificate, record, Some(superseded))?;
        let changed = self.finish(until, vec![finished]).await?;
        Ok(changed.contains(&certificate))
    }

    async fn finish(
        &self,
        until: OffsetDateTime,
        finished: Vec<Finished>,
    ) -> Result<HashSet<CertificateId>, Error> {
        in_transaction!(self.backend(), |transaction| {
            let mut held = HashMap::with_capacity(finished.len());
            let mut rest = finished.as_slice();
            while !rest.is_empty() {
                let (portion, later) = rest.split_at(largest_portion(rest.len()));
                let rows = portion.iter().map(Finished::values).collect();
                for mut row in transaction.rows(finishing(until, rows)).await? {
                    let id: CertificateId = row.take()?;
                    held.insert(id, (row.take::<AccountId>()?, row.take::<String>()?));
                }
                rest = later;
            }
            write(transaction, &finished, &held).await?;
            Ok(held.into_keys().collect())
        })
    }

    fn finished(
        &self,
        id: CertificateId,
        record: NewVersionRecord,
        superseded: Option<Superseded>,
    ) -> Result<Finished, Error> {
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
        if becomes.is_some() {
            return Err(Error::Inconsistent(
                "what the house obtained would not be renewed any more",
            ));
        }
        let exportable = key.as_ref().map(|key| key.exportable);
        if matches!(exportable, Some(Exportable::Until(_))) {
            return Err(Error::Inconsistent(
                "a key that the house obtained for itself is exportable for a time",
            ));
        }
        Ok(Finished {
            id,
            version,
            key: self.seal(key.as_ref(), &event)?,
            lines: joined(&identifiers)?,
            identifiers,
            renew_at,
            next_action_at,
            at: event.at,
            event: event.into_row(),
            superseded,
        })
    }

    /// Writes down that an attempt at the next version of a valid certificate failed, why, and when
    /// the next one is due; its state stays. [`Error::NotFound`] when there is no such certificate in
    /// the scope, or it is not valid any more.
    pub async fn postpone(
        &self,
        scope: Scope,
        certificate: CertificateId,
        attempt: u8,
        next_action_at: OffsetDateTime,
        failure: Option<String>,
        event: NewEvent,
    ) -> Result<(), Error> {
        let update = Statement::new(
            "update certificates set attempt = ?, next_action_at = ?, reason = ? \
             where id = ? and state = 'valid'",
        )
        .bind(i64::from(attempt))
        .bind(next_action_at)
        .bind(failure.map(cut_failure))
        .bind(certificate);
        let update = scope.restrict(update, "account_id");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(update.clone()).await? == 0 {
                return Err(Error::NotFound);
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }
}

/// Changes those certificates that are still claimed until `until`: each row names one, its current
/// version, its names, the end of the version, when it is renewed, and when its next action is due.
pub(crate) fn finishing(until: OffsetDateTime, rows: Vec<[Value; 6]>) -> Statement {
    let marks = row_marks(rows.len(), 6);
    let values = rows.into_iter().flatten().chain([until.into()]);
    Statement::with_values(
        // Both databases name the columns of such a list in the same way. No index serves an
        // expression, so the rows are found by what they are, not by when they are due.
        format!(
            "update certificates set current_version_id = fresh.column2, \
             identifiers = fresh.column3, not_after = fresh.column4, state = 'valid', attempt = 0, \
             renew_at = fresh.column5, next_action_at = fresh.column6, reason = null from (values {marks}) as fresh \
             where certificates.id = fresh.column1 and +certificates.next_action_at = ? \
             returning certificates.id, certificates.account_id, certificates.common_name"
        ),
        values.collect(),
    )
}

/// Writes everything but the certificates themselves, for those of them that are `held`.
async fn write(
    transaction: &mut Transaction,
    finished: &[Finished],
    held: &HashMap<CertificateId, (AccountId, String)>,
) -> Result<(), Error> {
    let (mut names, mut versions) = (Vec::new(), Vec::new());
    let (mut keys, mut events) = (Vec::new(), Vec::new());
    let mut now = None;
    for finished in finished {
        let id = finished.id;
        let Some((account, common_name)) = held.get(&id) else {
            continue;
        };
        names.extend(names::rows(
            *account,
            id,
            common_name,
            &finished.identifiers,
        ));
        versions.push(finished.version.clone().into_row(id, *account));
        let key = finished.key.clone();
        keys.extend(key.map(|key| key.into_row(Some(*account))));
        events.push(finished.event.clone());
        now = now.max(Some(finished.at));
    }
    let ids: Vec<CertificateId> = held.keys().copied().collect();
    for portion in ids.chunks(LOOKUP_PORTION) {
        let delete = Statement::new("delete from certificate_names where certificate_id in ");
        let delete = delete.list(portion.iter().copied());
        transaction.execute(delete).await?;
    }
    for (table, rows) in [
        (&CERTIFICATE_NAMES, names),
        (&VERSIONS, versions),
        (&PRIVATE_KEYS, keys),
    ] {
        let rows: Vec<_> = rows.iter().collect();
        insert_rows(transaction, table, &rows).await?;
    }
    if let Some(now) = now {
        orders::end(transaction, &ids, now).await?;
    }
    for finished in finished
        .iter()
        .filter(|finished| held.contains_key(&finished.id))
    {
        if let Some(superseded) = &finished.superseded {
            let Superseded {
                version,
                revocation,
                event,
            } = superseded;
            let revoke = versions::revoking(*version, *revocation);
            if transaction.execute(revoke).await? > 0 {
                transaction
                    .execute(revocations::noting(*version, revocation.at))
                    .await?;
                events.push(event.clone().into_row());
            }
        }
    }
    events::insert(transaction, events).await
}

/// Which certificates are claimed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    Claimable(Claimable<'a>),
    /// Those of these issuers, by name.
    Only(&'a [String]),
}

pub(crate) fn claim(
    now: OffsetDateTime,
    until: OffsetDateTime,
    limit: usize,
    which: Which<'_>,
) -> Statement {
    let limit = page_limit(limit);
    let newest = limit / 2;
    let part = |statement: Statement, order: &str, limit: i64| {
        let statement = statement
            .text("select id from (select id from certificates where next_action_at <= ?")
            .bind(now);
        let statement = match which {
            Which::Claimable(claimable) => claimable.restrict(statement),
            Which::Only(names) => statement
                .text(" and issuer in ")
                .list(names.iter().map(String::as_str)),
        };
        statement
            .text(&format!(
                " order by next_action_at {order} limit ?) as {order}ending"
            ))
            .bind(limit)
    };
    let claim = Statement::new(
        // The condition is repeated for PostgreSQL, where another node may have been faster. No index
        // serves an expression, so the rows are found by what the inner statement says.
        "update certificates set next_action_at = ? where +next_action_at <= ? and id in (",
    )
    .bind(until)
    .bind(now);
    let claim = part(claim, "asc", limit - newest).text(" union ");
    part(claim, "desc", newest).text(") returning id")
}
