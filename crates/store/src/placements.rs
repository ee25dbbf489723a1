//! Placements: which versions of which certificates are on which targets, as far as the targets have
//! said.
//!
//! A placement begins when a target is handed the key, before it has said anything, and ends only
//! when the target says that the files are gone or is removed itself: it outlives its certificate.

use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent, cut};
use crate::ids::{CertificateId, TargetId, VersionId};
use crate::references::LOOKUP_PORTION;
use crate::sql::{Row, Statement};
use crate::store::Store;

/// The longest reason of a refusal that is kept, in bytes; longer ones are cut.
pub const REASON_LIMIT: usize = 1024;

/// A certificate on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The target.
    pub target_id: TargetId,
    /// The certificate, which may be gone.
    pub certificate_id: CertificateId,
    /// The name that its files have.
    pub name: String,
    /// The version that is there; `None` while the target has not said that any is.
    pub version_id: Option<VersionId>,
    /// What the target did not take last, if it did not.
    pub refusal: Option<Refusal>,
    /// When that was last heard, to the microsecond.
    pub updated_at: OffsetDateTime,
}

/// What a target did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The version; `None` when the files were to be taken away.
    pub version_id: Option<VersionId>,
    /// Why, in the target's words.
    pub reason: String,
}

/// What a target says of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledgement {
    /// This version is in place.
    Placed(VersionId),
    /// It could not be put in place, or not be taken away.
    Refused(Refusal),
    /// Nothing of it is there any more.
    Removed,
}

impl Store {
    /// The placements of a target, all of them, in the order of their certificates.
    pub async fn placements_of_target(&self, target: TargetId) -> Result<Vec<Placement>, Error> {
        let statement = select("p.target_id = ? order by p.certificate_id").bind(target);
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// The placements of these certificates on any target, in no particular order.
    pub async fn placements_of_certificates(
        &self,
        certificates: &[CertificateId],
    ) -> Result<Vec<Placement>, Error> {
        let mut found = Vec::new();
        for portion in certificates.chunks(LOOKUP_PORTION) {
            for mut row in self.backend().rows(of_certificates(portion)).await? {
                found.push(read(&mut row)?);
            }
        }
        Ok(found)
    }

    /// Takes note that a target is handed a certificate's key: from now on its files may be there.
    /// The answer is whether there are such a target and such a certificate.
    pub async fn offer_placement(
        &self,
        target: TargetId,
        certificate: CertificateId,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let insert = placing(target, certificate, None, event.at)
            .text(" on conflict (target_id, certificate_id) do update set name = excluded.name");
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(insert.clone()).await? == 0 {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    /// Writes down what a target says, each with its event, which is written only when it is news: a
    /// refusal for the same thing with other words, as they come with times and process identifiers,
    /// is none.
    /// Of certificates that neither are there nor had a placement nothing is written.
    pub async fn acknowledge_placements(
        &self,
        target: TargetId,
        said: Vec<(CertificateId, Acknowledgement, NewEvent)>,
    ) -> Result<(), Error> {
        let statements: Vec<_> = said
            .into_iter()
            .map(|(certificate, said, event)| {
                let reworded = rewording(target, certificate, &said, event.at);
                let statement = acknowledging(target, certificate, said, event.at);
                (statement, reworded, event.into_row())
            })
            .collect();
        in_transaction!(self.backend(), |transaction| {
            let mut news = Vec::new();
            for (statement, reworded, event) in &statements {
                if transaction.execute(statement.clone()).await? > 0 {
                    news.push(event.clone());
                } else if let Some(reworded) = reworded {
                    transaction.execute(reworded.clone()).await?;
                }
            }
            events::insert(transaction, news).await
        })
    }
}

pub(crate) fn of_certificates(certificates: &[CertificateId]) -> Statement {
    select("p.certificate_id in ").list(certificates.iter().copied())
}

fn acknowledging(
    target: TargetId,
    certificate: CertificateId,
    said: Acknowledgement,
    at: OffsetDateTime,
) -> Statement {
    match said {
        Acknowledgement::Placed(version) => placing(target, certificate, Some(version), at).text(
            " on conflict (target_id, certificate_id) do update set name = excluded.name, \
             version_id = excluded.version_id, refused_version_id = null, reason = null, \
             updated_at = excluded.updated_at \
             where placements.version_id is distinct from excluded.version_id \
             or placements.reason is not null",
        ),
        Acknowledgement::Refused(Refusal {
            version_id,
            mut reason,
        }) => {
            cut(&mut reason, REASON_LIMIT);
            let refused = Statement::new(
                "insert into placements (updated_at, target_id, certificate_id, version_id, \
                 refused_version_id, reason, name) \
                 select ?, t.id, coalesce(c.id, p.certificate_id), p.version_id, ?, ?, \
                 coalesce(p.name, c.name) from targets t \
                 left join certificates c on c.account_id = t.account_id and c.id = ? \
                 left join placements p on p.target_id = t.id and p.certificate_id = ? \
                 where t.id = ? and (c.id is not null or p.certificate_id is not null) \
                 on conflict (target_id, certificate_id) do update set \
                 refused_version_id = excluded.refused_version_id, reason = excluded.reason, \
                 updated_at = excluded.updated_at \
                 where placements.reason is null \
                 or placements.refused_version_id is distinct from excluded.refused_version_id",
            );
            refused
                .bind(at)
                .bind(version_id)
                .bind(reason)
                .bind(certificate)
                .bind(certificate)
                .bind(target)
        }
        Acknowledgement::Removed => {
            Statement::new("delete from placements where target_id = ? and certificate_id = ?")
                .bind(target)
                .bind(certificate)
        }
    }
}

/// Keeps the last words of a refusal that is no news.
fn rewording(
    target: TargetId,
    certificate: CertificateId,
    said: &Acknowledgement,
    at: OffsetDateTime,
) -> Option<Statement> {
    let Acknowledgement::Refused(Refusal { reason, .. }) = said else {
        return None;
    };
    let mut reason = reason.clone();
    cut(&mut reason, REASON_LIMIT);
    let update = Statement::new(
        "update placements set reason = ?, updated_at = ? \
         where target_id = ? and certificate_id = ? and reason <> ?",
    );
    Some(
        update
            .bind(reason.clone())
            .bind(at)
            .bind(target)
            .bind(certificate)
            .bind(reason),
    )
}

/// Inserts a placement of a certificate of the target's account.
fn placing(
    target: TargetId,
    certificate: CertificateId,
    version: Option<VersionId>,
    at: OffsetDateTime,
) -> Statement {
    Statement::new(
        "insert into placements (updated_at, target_id, certificate_id, version_id, name) \
         select ?, t.id, c.id, ?, c.name from targets t \
         join certificates c on c.account_id = t.account_id where t.id = ? and c.id = ?",
    )
    .bind(at)
    .bind(version)
    .bind(target)
    .bind(certificate)
}

fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select p.target_id, p.certificate_id, p.name, p.version_id, p.refused_version_id, \
         p.reason, p.updated_at from placements p where {condition}"
    ))
}

fn read(row: &mut Row) -> Result<Placement, Error> {
    let (target_id, certificate_id, name) = (row.take()?, row.take()?, row.take()?);
    let version_id = row.take()?;
    let refused: Option<VersionId> = row.take()?;
    let reason: Option<String> = row.take()?;
    Ok(Placement {
        target_id,
        certificate_id,
        name,
        version_id,
        refusal: reason.map(|reason| Refusal {
            version_id: refused,
            reason,
        }),
        updated_at: row.take()?,
    })
}
