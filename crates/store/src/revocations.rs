//! Revocations that directories still have to be told of. They are noted with the revocation itself,
//! so that none is forgotten, and stay until the directory knows or the version has ended.

use pki::RevocationReason;
use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::ids::{DirectoryId, VersionId};
use crate::scope::page_limit;
use crate::sql::{Row, Statement};
use crate::store::Store;

/// A revocation that a directory has to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRevocation {
    /// The version that is revoked. It may have been deleted since.
    pub version_id: VersionId,
    /// The directory that issued it.
    pub directory_id: DirectoryId,
    /// The certificate, DER.
    pub leaf: Vec<u8>,
    /// Why it is revoked.
    pub reason: RevocationReason,
    /// How often the directory was told in vain.
    pub attempt: u32,
    /// When the version ends; nobody has to be told from then on.
    pub not_after: OffsetDateTime,
}

impl Store {
    /// Claims revocations that directories are to be told of at `now`, at most `limit` (and never
    /// more than 1,000), until `until`; those that are not settled by then are due again. Those of
    /// the directories in `except` are left alone. Forgets those whose versions have ended.
    pub async fn claim_revocations(
        &self,
        now: OffsetDateTime,
        until: OffsetDateTime,
        limit: usize,
        except: &[DirectoryId],
    ) -> Result<Vec<PendingRevocation>, Error> {
        // Most of the time nothing is due, and a look costs less than a transaction.
        if self.backend().row(due(now)).await?.is_none() {
            return Ok(Vec::new());
        }
        let claim = claiming(now, until, limit, except);
        in_transaction!(self.backend(), |transaction| {
            let mut claimed = Vec::new();
            for row in transaction.rows(claim.clone()).await? {
                let revocation = read(row)?;
                if now < revocation.not_after {
                    claimed.push(revocation);
                } else {
                    transaction
                        .execute(forgetting(revocation.version_id))
                        .await?;
                }
            }
            Ok(claimed)
        })
    }

    /// Forgets a revocation that the directory knows of, or will never. Whether it was there.
    pub async fn settle_revocation(&self, version: VersionId) -> Result<bool, Error> {
        let delete = forgetting(version);
        in_transaction!(self.backend(), |transaction| {
            Ok(transaction.execute(delete.clone()).await? > 0)
        })
    }

    /// Has a directory told again at `at`, after `attempt` times in vain. Whether it was there.
    pub async fn put_off_revocation(
        &self,
        version: VersionId,
        attempt: u32,
        at: OffsetDateTime,
    ) -> Result<bool, Error> {
        let update = Statement::new(
            "update revocations set attempt = ?, next_action_at = ? where version_id = ?",
        )
        .bind(attempt)
        .bind(at)
        .bind(version);
        in_transaction!(self.backend(), |transaction| {
            Ok(transaction.execute(update.clone()).await? > 0)
        })
    }
}

/// Notes that the directory which issued a version, if one did, is to be told that it is revoked.
pub(crate) fn noting(version: VersionId, at: OffsetDateTime) -> Statement {
    Statement::new(
        "insert into revocations (next_action_at, attempt, not_after, reason, version_id, \
         directory_id, leaf) select ?, 0, v.not_after, v.revocation_reason, v.id, v.directory_id, \
         v.leaf from versions v where v.id = ? and v.revocation_reason is not null \
         and exists (select 1 from directories where directories.id = v.directory_id)",
    )
    .bind(at)
    .bind(version)
}

pub(crate) fn due(now: OffsetDateTime) -> Statement {
    Statement::new("select 1 from revocations where next_action_at <= ? limit 1").bind(now)
}

pub(crate) fn claiming(
    now: OffsetDateTime,
    until: OffsetDateTime,
    limit: usize,
    except: &[DirectoryId],
) -> Statement {
    let claim = Statement::new(
        "update revocations set next_action_at = ? where +next_action_at <= ? and version_id in \
         (select version_id from revocations where next_action_at <= ?",
    )
    .bind(until)
    .bind(now)
    .bind(now);
    let claim = match except {
        [] => claim,
        except => claim
            .text(" and directory_id not in ")
            .list(except.iter().copied()),
    };
    claim
        .text(
            " order by next_action_at limit ?) \
             returning version_id, directory_id, leaf, reason, attempt, not_after",
        )
        .bind(page_limit(limit))
}

fn forgetting(version: VersionId) -> Statement {
    Statement::new("delete from revocations where version_id = ?").bind(version)
}

fn read(mut row: Row) -> Result<PendingRevocation, Error> {
    Ok(PendingRevocation {
        version_id: row.take()?,
        directory_id: row.take()?,
        leaf: row.take()?,
        reason: reason(row.take()?)?,
        attempt: u32::try_from(row.take::<u64>()?).unwrap_or(u32::MAX),
        not_after: row.take()?,
    })
}

fn reason(code: i64) -> Result<RevocationReason, Error> {
    let reason = u8::try_from(code)
        .ok()
        .and_then(RevocationReason::from_code);
    reason.ok_or(Error::Corrupt("a revocation has an unknown reason"))
}
