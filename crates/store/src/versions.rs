//! Versions of certificates: reading them, and revoking them.

use pki::{Revocation, RevocationReason};
use time::OffsetDateTime;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, AuthorityId, CertificateId, DirectoryId, PrivateKeyId, VersionId};
use crate::orders;
use crate::private_keys;
use crate::revocations;
use crate::scope::{PAGE_LIMIT, Scope, page_limit};
use crate::shards;
use crate::sql::{Row, Statement, Value};
use crate::store::Store;

/// A version to be added to a certificate.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// Its identifier.
    pub id: VersionId,
    /// The authority of ours that signed it.
    pub authority_id: Option<AuthorityId>,
    /// The shard of the authority's revocation list that it names, see [`Store::take_places`].
    pub crl_shard: u64,
    /// The ACME directory that it was ordered from; it may have been removed since.
    pub directory_id: Option<DirectoryId>,
    /// Its serial number, big-endian.
    pub serial: Vec<u8>,
    /// Its subject as in RFC 4514.
    pub subject: String,
    /// Its issuer as in RFC 4514.
    pub issuer: String,
    /// When it begins to be valid.
    pub not_before: OffsetDateTime,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// The certificate, DER.
    pub leaf: Vec<u8>,
    /// The rest of the chain, from the issuer of the leaf upwards, DER each.
    pub intermediates: Vec<Vec<u8>>,
    /// The private key, if it is stored.
    pub private_key_id: Option<PrivateKeyId>,
    /// When it is added.
    pub created_at: OffsetDateTime,
}

/// A version: one signed certificate, told without its bytes; see [`StoredChain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its identifier.
    pub id: VersionId,
    /// The certificate that it is, or was, a version of.
    pub certificate_id: CertificateId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// The authority of ours that signed it.
    pub authority_id: Option<AuthorityId>,
    /// The ACME directory that it was ordered from; it may have been removed since.
    pub directory_id: Option<DirectoryId>,
    /// Its serial number, big-endian.
    pub serial: Vec<u8>,
    /// Its subject as in RFC 4514.
    pub subject: String,
    /// Its issuer as in RFC 4514.
    pub issuer: String,
    /// When it begins to be valid.
    pub not_before: OffsetDateTime,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// The private key that was stored with it; it may have been erased since.
    pub private_key_id: Option<PrivateKeyId>,
    /// When and why it was revoked, if it was.
    pub revocation: Option<Revocation>,
    /// When it was added, to the microsecond.
    pub created_at: OffsetDateTime,
}

/// The bytes of a version. They are up to a megabyte, and few who ask for a version want them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChain {
    /// The certificate, DER.
    pub leaf: Vec<u8>,
    /// The rest of the chain, from the issuer of the leaf upwards, DER each.
    pub intermediates: Vec<Vec<u8>>,
}

/// What OCSP needs to know of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedStatus {
    /// The certificate that it is, or was, a version of.
    pub certificate_id: CertificateId,
    /// When and why it was revoked, if it was.
    pub revocation: Option<Revocation>,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// Its issuer as in RFC 4514: an authority has several CA certificates, one after the other.
    pub issuer: String,
}

/// A revoked version, as far as a CRL needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedVersion {
    /// Its identifier; the next page begins after it.
    pub id: VersionId,
    /// Its serial number, big-endian.
    pub serial: Vec<u8>,
    /// When and why it was revoked.
    pub revocation: Revocation,
    /// When it ends.
    pub not_after: OffsetDateTime,
}

/// What came of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// It had been revoked before; nothing was changed.
    AlreadyRevoked,
    /// There is no such version in the scope.
    NotFound,
    /// It is revoked now.
    Revoked,
}

impl Store {
    /// The versions of a certificate, newest first, at most 1,000. They may outlive it.
    pub async fn versions(
        &self,
        scope: Scope,
        certificate: CertificateId,
    ) -> Result<Vec<Version>, Error> {
        let rows = self
            .backend()
            .rows(of_certificate(scope, certificate))
            .await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }

    /// The version with this identifier.
    pub async fn version(&self, scope: Scope, id: VersionId) -> Result<Option<Version>, Error> {
        self.one_version(by_id(scope, id)).await
    }

    /// The certificate and chain of a version.
    pub async fn chain(&self, scope: Scope, id: VersionId) -> Result<Option<StoredChain>, Error> {
        let statement =
            Statement::new("select v.leaf, v.intermediates from versions v where v.id = ?")
                .bind(id);
        let statement = scope.restrict(statement, "v.account_id");
        let Some(mut row) = self.backend().row(statement).await? else {
            return Ok(None);
        };
        read_chain(&mut row).map(Some)
    }

    /// The version, signed by an authority of ours, whose serial number ends in these 64 bits.
    pub async fn version_by_serial_low(
        &self,
        scope: Scope,
        serial_low: u64,
    ) -> Result<Option<Version>, Error> {
        self.one_version(by_serial_low(scope, serial_low)).await
    }

    /// Whether an authority of ours issued a certificate with this serial number (big-endian,
    /// leading zeros do not matter), and whether it revoked it.
    pub async fn issued_version(
        &self,
        authority: AuthorityId,
        serial: &[u8],
    ) -> Result<Option<IssuedStatus>, Error> {
        let statement = issued(authority, serial);
        let Some(mut row) = self.backend().row(statement).await? else {
            return Ok(None);
        };
        Ok(Some(IssuedStatus {
            certificate_id: row.take()?,
            not_after: row.take()?,
            revocation: read_revocation(&mut row)?,
            issuer: row.take()?,
        }))
    }

    /// Revoked versions of a shard of an authority, signed in the name of `issuer`, that have not ended
    /// at `not_after_from`, by identifier, those after `after`, at most `limit` (and never more than
    /// 1,000).
    pub async fn revoked_page(
        &self,
        shard: (AuthorityId, u64),
        issuer: &str,
        after: Option<VersionId>,
        limit: usize,
        not_after_from: OffsetDateTime,
    ) -> Result<Vec<RevokedVersion>, Error> {
        let statement = revoked(shard, issuer, after, limit, not_after_from);
        let rows = self.backend().rows(statement).await?;
        rows.into_iter()
            .map(|mut row| read_revoked(&mut row))
            .collect()
    }

    /// Revokes a version, or writes down that its issuer did. In one transaction: the version, the
    /// state of its certificate and an order for it that is under way, if it is the current one, the revocation counter of its shard, its private key if that was
    /// stored for a limited time and no other version has it, what its directory is to be told (see
    /// [`Store::claim_revocations`]), and the event (which is written only when it is revoked now).
    pub async fn revoke_version(
        &self,
        scope: Scope,
        id: VersionId,
        revocation: Revocation,
        event: NewEvent,
    ) -> Result<RevokeOutcome, Error> {
        // The certificate is locked before the version, as everywhere, so that no two
        // transactions wait for each other.
        let unrevoked = "(select certificate_id from versions where id = ? and revoked_at is null)";
        let certificate = Statement::new(format!(
            "update certificates set state = 'revoked', attempt = 0, next_action_at = null, \
             renew_at = null, reason = null where id = {unrevoked} and current_version_id = ?"
        ))
        .bind(id)
        .bind(id);
        let certificate = scope
            .restrict(certificate, "account_id")
            .text(" returning id");
        let version = revoking(id, revocation);
        let version = scope
            .restrict(version, "account_id")
            .text(" returning authority_id, crl_shard, private_key_id");
        let exists = Statement::new("select 1 from versions where id = ?").bind(id);
        let exists = scope.restrict(exists, "account_id");
        let event = event.into_row();

        in_transaction!(self.backend(), |transaction| {
            let certificate = transaction.row(certificate.clone()).await?;
            let Some(mut row) = transaction.row(version.clone()).await? else {
                return Ok(match transaction.row(exists.clone()).await? {
                    Some(_) => RevokeOutcome::AlreadyRevoked,
                    None => RevokeOutcome::NotFound,
                });
            };
            let authority = row.take::<Option<AuthorityId>>()?;
            let shard = row.take()?;
            if let Some(authority) = authority {
                let count = shards::counting(authority, shard);
                transaction.execute(count).await?;
            }
            if let Some(key) = row.take::<Option<PrivateKeyId>>()? {
                // Not one that another certificate was given in the meantime, or is being given.
                private_keys::hold(transaction, &[key]).await?;
                let erase = Statement::new(
                    "delete from private_keys where id = ? and exportable_until is not null \
                     and not exists (select 1 from versions o \
                     join certificates c on c.id = o.certificate_id \
                     where o.private_key_id = private_keys.id and o.id <> ?)",
                );
                transaction.execute(erase.bind(key).bind(id)).await?;
            }
            if let Some(mut row) = certificate {
                orders::end(transaction, &[row.take()?], revocation.at).await?;
            }
            transaction
                .execute(revocations::noting(id, revocation.at))
                .await?;
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(RevokeOutcome::Revoked)
        })
    }

    async fn one_version(&self, statement: Statement) -> Result<Option<Version>, Error> {
        self.backend()
            .row(statement)
            .await?
            .map(|mut row| read(&mut row))
            .transpose()
    }
}

impl NewVersion {
    /// The values in the order of [`crate::recorder::VERSIONS`].
    pub(crate) fn into_row(self, certificate: CertificateId, account: AccountId) -> Vec<Value> {
        let Self {
            id,
            authority_id,
            crl_shard,
            directory_id,
            serial,
            subject,
            issuer,
            not_before,
            not_after,
            leaf,
            intermediates,
            private_key_id,
            created_at,
        } = self;
        // Serial numbers from outside may be anything and are kept as they are.
        let (serial, serial_low) = if authority_id.is_some() {
            let serial = without_leading_zeros(&serial);
            (serial.to_vec(), Some(serial_low(serial)))
        } else {
            (serial, None)
        };
        vec![
            serial_low.into(),
            not_before.into(),
            not_after.into(),
            Value::Integer(None),
            Value::Integer(None),
            created_at.into(),
            crl_shard.cast_signed().into(),
            id.into(),
            certificate.into(),
            account.into(),
            authority_id.into(),
            directory_id.into(),
            private_key_id.into(),
            serial.into(),
            subject.into(),
            issuer.into(),
            leaf.into(),
            intermediates.concat().into(),
        ]
    }
}

/// The columns of a version, in the order in which [`read`] takes them.
pub(crate) const COLUMNS: &str = "v.id, v.certificate_id, v.account_id, v.authority_id, \
     v.directory_id, v.serial, \
     v.subject, v.issuer, v.not_before, v.not_after, v.private_key_id, \
     v.revoked_at, v.revocation_reason, v.created_at";

pub(crate) fn read(row: &mut Row) -> Result<Version, Error> {
    Ok(Version {
        id: row.take()?,
        certificate_id: row.take()?,
        account_id: row.take()?,
        authority_id: row.take()?,
        directory_id: row.take()?,
        serial: row.take()?,
        subject: row.take()?,
        issuer: row.take()?,
        not_before: row.take()?,
        not_after: row.take()?,
        private_key_id: row.take()?,
        revocation: read_revocation(row)?,
        created_at: row.take()?,
    })
}

pub(crate) fn read_chain(row: &mut Row) -> Result<StoredChain, Error> {
    Ok(StoredChain {
        leaf: row.take()?,
        intermediates: split(&row.take::<Vec<u8>>()?)?,
    })
}

pub(crate) fn of_certificate(scope: Scope, certificate: CertificateId) -> Statement {
    let statement = select("v.certificate_id = ?").bind(certificate);
    scope
        .restrict(statement, "v.account_id")
        .text(" order by v.id desc limit ?")
        .bind(page_limit(PAGE_LIMIT))
}

pub(crate) fn by_id(scope: Scope, id: VersionId) -> Statement {
    scope.restrict(select("v.id = ?").bind(id), "v.account_id")
}

pub(crate) fn by_serial_low(scope: Scope, serial_low: u64) -> Statement {
    let statement = select("v.serial_low = ?").bind(serial_low.cast_signed());
    scope.restrict(statement, "v.account_id")
}

pub(crate) fn issued(authority: AuthorityId, serial: &[u8]) -> Statement {
    let serial = without_leading_zeros(serial);
    Statement::new(
        "select certificate_id, not_after, revoked_at, revocation_reason, issuer from versions \
         where serial_low = ? and authority_id = ? and serial = ?",
    )
    .bind(serial_low(serial))
    .bind(authority)
    .bind(serial)
}

pub(crate) fn revoked(
    (authority, shard): (AuthorityId, u64),
    issuer: &str,
    after: Option<VersionId>,
    limit: usize,
    not_after_from: OffsetDateTime,
) -> Statement {
    Statement::new(
        "select id, serial, not_after, revoked_at, revocation_reason from versions \
         where authority_id = ? and crl_shard = ? and id > ? and not_after >= ? \
         and revoked_at is not null and issuer = ? \
         order by id limit ?",
    )
    .bind(authority)
    .bind(shard.cast_signed())
    .bind(after.unwrap_or_else(|| VersionId::from_uuid(uuid::Uuid::nil())))
    .bind(not_after_from)
    .bind(issuer)
    .bind(page_limit(limit))
}

/// Revokes a version that is not revoked yet.
pub(crate) fn revoking(id: VersionId, revocation: Revocation) -> Statement {
    Statement::new(
        "update versions set revoked_at = ?, revocation_reason = ? \
         where id = ? and revoked_at is null",
    )
    .bind(revocation.at)
    .bind(i64::from(revocation.reason.code()))
    .bind(id)
}

fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select {COLUMNS} from versions v where {condition}"
    ))
}

/// Reads what [`revoked`] selects.
pub(crate) fn read_revoked(row: &mut Row) -> Result<RevokedVersion, Error> {
    Ok(RevokedVersion {
        id: row.take()?,
        serial: row.take()?,
        not_after: row.take()?,
        revocation: read_revocation(row)?.ok_or(Error::Corrupt(
            "a revoked version has no time of revocation",
        ))?,
    })
}

fn read_revocation(row: &mut Row) -> Result<Option<Revocation>, Error> {
    let at: Option<OffsetDateTime> = row.take()?;
    let code: Option<i64> = row.take()?;
    let Some(at) = at else {
        return Ok(None);
    };
    let reason = code
        .and_then(|code| u8::try_from(code).ok())
        .and_then(RevocationReason::from_code)
        .ok_or(Error::Corrupt("a revocation has an unknown reason"))?;
    Ok(Some(Revocation { at, reason }))
}

/// The last 64 bits of a serial number, as the databases can store them.
fn serial_low(serial: &[u8]) -> i64 {
    serial
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        .cast_signed()
}

fn without_leading_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial
        .split_at_checked(zeros)
        .map_or(serial, |(_, rest)| rest)
}

/// Takes apart what was stored one certificate behind the other.
fn split(mut der: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let mut certificates = Vec::new();
    while !der.is_empty() {
        let (certificate, rest) = split_first(der).ok_or(Error::Corrupt(
            "a stored chain is not a row of certificates",
        ))?;
        certificates.push(certificate.to_vec());
        der = rest;
    }
    Ok(certificates)
}

/// The first DER value of several: a tag, a length in the short or the long form, the contents.
fn split_first(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, _) = der.split_first_chunk::<2>()?;
    let [_, first] = *head;
    let (length_bytes, length) = if first < 0x80 {
        (0, usize::from(first))
    } else {
        let count = usize::from(first & 0x7f);
        let bytes = der.get(2..2 + count).filter(|_| (1..=4).contains(&count))?;
        let length = bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        (count, length)
    };
    der.split_at_checked(2 + length_bytes + length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn der(contents: &[u8]) -> Vec<u8> {
        let length = contents.len();
        let mut value = vec![0x30];
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => value.push(short),
            _ => {
                let bytes = u32::try_from(length).unwrap().to_be_bytes();
                value.push(0x84);
                value.extend_from_slice(&bytes);
            }
        }
        value.extend_from_slice(contents);
        value
    }

    #[test]
    fn the_low_half_of_a_serial_keeps_its_sign_bit() {
        assert_eq!(serial_low(&[0xff; 20]), -1);
        assert_eq!(
            serial_low(&[1, 0x80, 0, 0, 0, 0, 0, 0, 5]).cast_unsigned(),
            (1 << 63) + 5
        );
        assert_eq!(serial_low(&[2]), 2);
        assert_eq!(without_leading_zeros(&[0, 0, 7, 0]), [7, 0]);
        assert_eq!(without_leading_zeros(&[0]), [0_u8; 0]);
    }

    proptest! {
        #[test]
        fn a_chain_is_taken_apart_where_it_was_joined(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..5)
        ) {
            let chain: Vec<Vec<u8>> = parts.iter().map(|part| der(part)).collect();
            prop_assert_eq!(split(&chain.concat()).unwrap(), chain);
        }

        #[test]
        fn any_bytes_can_be_offered_as_a_chain(bytes: Vec<u8>) {
            if let Ok(chain) = split(&bytes) {
                prop_assert_eq!(chain.concat(), bytes);
            }
        }
    }
}
