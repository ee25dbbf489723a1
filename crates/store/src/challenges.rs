//! Challenges that are being met: what is answered for a name, or published in its zone, to prove
//! control over it (RFC 8555 §8).
//!
//! A challenge is written down before anything is published for it, and what was published in a
//! zone is remembered until it was withdrawn, whatever becomes of the certificate. Challenges that
//! nobody has ended are over when they expire.

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::ids::{AccountId, CertificateId, ChallengeId, DnsProviderId};
use crate::inventory::within;
use crate::orders::hold;
use crate::recorder::{Table, insert_rows};
use crate::references::LOOKUP_PORTION;
use crate::scope::{PAGE_LIMIT, page_limit};
use crate::sql::{Row, Statement, Value};
use crate::store::Store;

/// The longest texts of a challenge, in bytes.
pub const CHALLENGE_TEXT_LIMIT: usize = 1024;

/// A challenge that is being met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingChallenge {
    /// Its identifier.
    pub id: ChallengeId,
    /// The certificate that it is for; it may be gone.
    pub certificate_id: CertificateId,
    /// The account that the certificate belongs to.
    pub account_id: AccountId,
    /// The name or address whose control is to be proven, without the `*.` of a wildcard.
    pub name: String,
    /// How, such as `http-01`.
    pub kind: String,
    /// How far it has come.
    pub state: ChallengeState,
    /// Its token; empty for a kind without.
    pub token: String,
    /// What the token is answered with (RFC 8555 §8.1); empty for a kind without.
    pub key_authorization: String,
    /// What is published in a zone for it.
    pub record: Option<ChallengeRecord>,
    /// When it was written down, to the microsecond.
    pub created_at: OffsetDateTime,
    /// When it is over at the latest.
    pub expires_at: OffsetDateTime,
}

/// A record that is published in a zone for a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeRecord {
    /// Who publishes it.
    pub provider_id: DnsProviderId,
    /// The apex of the zone.
    pub zone: String,
    /// Its name, fully qualified and without a final dot.
    pub name: String,
    /// Its text.
    pub value: String,
}

/// How far a challenge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChallengeState {
    /// The directory was told to look.
    Answered,
    /// It is over; what was published is to be withdrawn.
    Done,
    /// It was written down; something may have been published for it.
    Prepared,
    /// What the directory will look for is there.
    Presented,
}

impl ChallengeState {
    /// `answered`, `done`, `prepared` or `presented`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Done => "done",
            Self::Prepared => "prepared",
            Self::Presented => "presented",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        [Self::Answered, Self::Done, Self::Prepared, Self::Presented]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(Error::Corrupt("a challenge has an unknown state"))
    }
}

impl Store {
    /// Writes down challenges of a certificate that is claimed until `until`, before anything is
    /// published for them. Returns whether the claim was held.
    ///
    /// # Errors
    ///
    /// [`Error::Inconsistent`] for a challenge of another certificate, [`Error::TooLong`],
    /// [`Error::Duplicate`] for an identifier in use.
    pub async fn put_challenges(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        challenges: Vec<PendingChallenge>,
    ) -> Result<bool, Error> {
        let rows = challenges.into_iter().map(|challenge| {
            if challenge.certificate_id != certificate {
                return Err(Error::Inconsistent(
                    "a challenge is for another certificate",
                ));
            }
            challenge.into_row()
        });
        let rows: Vec<Vec<Value>> = rows.collect::<Result<_, _>>()?;
        in_transaction!(self.backend(), |transaction| {
            if !hold(transaction, certificate, until).await? {
                return Ok(false);
            }
            let rows: Vec<_> = rows.iter().collect();
            insert_rows(transaction, &CHALLENGES, &rows).await?;
            Ok(true)
        })
    }

    /// Writes down how far challenges of a claimed certificate have come. Returns whether the claim
    /// was held.
    pub async fn advance_challenges(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        challenges: &[ChallengeId],
        state: ChallengeState,
    ) -> Result<bool, Error> {
        in_transaction!(self.backend(), |transaction| {
            if !hold(transaction, certificate, until).await? {
                return Ok(false);
            }
            for portion in challenges.chunks(LOOKUP_PORTION) {
                let update = Statement::new("update challenges set state = ? where id in ")
                    .bind(state.as_str())
                    .list(portion.iter().copied())
                    .text(" and certificate_id = ?")
                    .bind(certificate);
                transaction.execute(update).await?;
            }
            Ok(true)
        })
    }

    /// The challenges of a certificate, oldest first, at most 1,000; also those that are over while
    /// their records are still to be withdrawn.
    pub async fn challenges_of(
        &self,
        certificate: CertificateId,
    ) -> Result<Vec<PendingChallenge>, Error> {
        let rows = self.backend().rows(of_certificate(certificate)).await?;
        rows.into_iter().map(read).collect()
    }

    /// What `http://name/.well-known/acme-challenge/token` is answered with (RFC 8555 §8.3).
    pub async fn challenge_for_http(
        &self,
        name: &str,
        token: &str,
    ) -> Result<Option<String>, Error> {
        if [name, token].iter().any(|text| text.contains('\0')) {
            return Ok(None);
        }
        self.key_authorization(for_http(name, token)).await
    }

    /// The key authorization that a handshake for `name` is answered with (RFC 8737 §3): of
    /// several, the newest.
    pub async fn challenge_for_tls(&self, name: &str) -> Result<Option<String>, Error> {
        if name.contains('\0') {
            return Ok(None);
        }
        self.key_authorization(for_tls(name)).await
    }

    /// Ends the challenges of a claimed certificate, whatever came of them: those with a record are
    /// due for withdrawal at `now`, others are forgotten. Its order goes on. Returns whether the
    /// claim was held.
    pub async fn finish_challenges(
        &self,
        certificate: CertificateId,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        in_transaction!(self.backend(), |transaction| {
            if !hold(transaction, certificate, until).await? {
                return Ok(false);
            }
            settle(transaction, &[certificate], now).await?;
            Ok(true)
        })
    }

    /// Claims challenges whose records are due for withdrawal at `now`, because they are done or
    /// have expired, at most `limit` (and never more than 1,000), until `until`; when they are not
    /// withdrawn by then, they are due again. Forgets expired challenges without records.
    pub async fn claim_withdrawals(
        &self,
        now: OffsetDateTime,
        until: OffsetDateTime,
        limit: usize,
    ) -> Result<Vec<PendingChallenge>, Error> {
        // Most of the time nothing is due, and a look costs less than a transaction.
        if self.backend().row(due(now)).await?.is_none() {
            return Ok(Vec::new());
        }
        let (forget, claim) = (forgetting(now), claiming(now, until, limit));
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(forget.clone()).await?;
            let rows = transaction.rows(claim.clone()).await?;
            rows.into_iter().map(read).collect()
        })
    }

    /// Whether a challenge for `name` that is not done wants a record with this very name and text.
    pub async fn is_record_needed(
        &self,
        name: &str,
        record_name: &str,
        record_value: &str,
    ) -> Result<bool, Error> {
        let statement = needing(name, record_name, record_value);
        Ok(self.backend().row(statement).await?.is_some())
    }

    /// Forgets a challenge whose record was withdrawn, or will never be. Whether it was there.
    pub async fn withdrawn(&self, id: ChallengeId) -> Result<bool, Error> {
        let delete = Statement::new("delete from challenges where id = ?").bind(id);
        in_transaction!(self.backend(), |transaction| {
            Ok(transaction.execute(delete.clone()).await? > 0)
        })
    }

    /// Puts off the withdrawal of a record that is claimed until `until`. Whether the claim was
    /// held.
    pub async fn put_off_withdrawal(
        &self,
        id: ChallengeId,
        until: OffsetDateTime,
        at: OffsetDateTime,
    ) -> Result<bool, Error> {
        let update = Statement::new(
            "update challenges set next_action_at = ? where id = ? and +next_action_at = ?",
        )
        .bind(at)
        .bind(id)
        .bind(until);
        in_transaction!(self.backend(), |transaction| {
            Ok(transaction.execute(update.clone()).await? > 0)
        })
    }

    async fn key_authorization(&self, statement: Statement) -> Result<Option<String>, Error> {
        let row = self.backend().row(statement).await?;
        row.map(|mut row| row.take()).transpose()
    }
}

/// Ends the challenges of certificates: those with a record are due for withdrawal, others are
/// forgotten.
pub(crate) async fn settle(
    transaction: &mut Transaction,
    certificates: &[CertificateId],
    now: OffsetDateTime,
) -> Result<(), Error> {
    for portion in certificates.chunks(LOOKUP_PORTION) {
        let [forget, withdraw] = settling(portion, now);
        transaction.execute(forget).await?;
        transaction.execute(withdraw).await?;
    }
    Ok(())
}

/// What is forgotten, and what is due for withdrawal. What is done already has its own time.
pub(crate) fn settling(certificates: &[CertificateId], now: OffsetDateTime) -> [Statement; 2] {
    let forget = Statement::new("delete from challenges where certificate_id in ")
        .list(certificates.iter().copied())
        .text(" and record_name is null");
    let withdraw = Statement::new(
        "update challenges set state = 'done', next_action_at = ? where certificate_id in ",
    )
    .bind(now)
    .list(certificates.iter().copied())
    .text(" and state <> 'done'");
    [forget, withdraw]
}

pub(crate) fn of_certificate(certificate: CertificateId) -> Statement {
    Statement::new(format!(
        "select {COLUMNS} from challenges where certificate_id = ? order by id limit ?"
    ))
    .bind(certificate)
    .bind(page_limit(PAGE_LIMIT))
}

pub(crate) fn for_http(name: &str, token: &str) -> Statement {
    Statement::new(
        "select key_authorization from challenges where name = ? and kind = 'http-01' \
         and token = ? limit 1",
    )
    .bind(name)
    .bind(token)
}

pub(crate) fn for_tls(name: &str) -> Statement {
    Statement::new(
        "select key_authorization from challenges where name = ? and kind = 'tls-alpn-01' \
         order by id desc limit 1",
    )
    .bind(name)
}

pub(crate) fn needing(name: &str, record_name: &str, record_value: &str) -> Statement {
    Statement::new(
        "select 1 from challenges where name = ? and record_name = ? and record_value = ? \
         and state <> 'done' limit 1",
    )
    .bind(name)
    .bind(record_name)
    .bind(record_value)
}

pub(crate) fn due(now: OffsetDateTime) -> Statement {
    Statement::new("select 1 from challenges where next_action_at <= ? limit 1").bind(now)
}

pub(crate) fn forgetting(now: OffsetDateTime) -> Statement {
    Statement::new("delete from challenges where next_action_at <= ? and record_name is null")
        .bind(now)
}

pub(crate) fn claiming(now: OffsetDateTime, until: OffsetDateTime, limit: usize) -> Statement {
    Statement::new(format!(
        // The condition is repeated for PostgreSQL, where another node may have been faster.
        "update challenges set state = 'done', next_action_at = ? where +next_action_at <= ? \
         and id in (select id from challenges where next_action_at <= ? \
         order by next_action_at limit ?) returning {COLUMNS}"
    ))
    .bind(until)
    .bind(now)
    .bind(now)
    .bind(page_limit(limit))
}

const CHALLENGES: Table = Table {
    name: "challenges",
    columns: "next_action_at, expires_at, created_at, id, certificate_id, account_id, name, kind, \
              state, token, key_authorization, provider_id, record_zone, record_name, record_value",
};

/// The columns of a challenge, in the order in which [`read`] takes them.
const COLUMNS: &str = "id, certificate_id, account_id, name, kind, state, token, \
     key_authorization, created_at, expires_at, provider_id, record_zone, record_name, record_value";

impl PendingChallenge {
    /// The values in the order of [`CHALLENGES`].
    fn into_row(self) -> Result<Vec<Value>, Error> {
        let Self {
            id,
            certificate_id,
            account_id,
            name,
            kind,
            state,
            token,
            key_authorization,
            record,
            created_at,
            expires_at,
        } = self;
        let (provider, [zone, record_name, value]) = match record {
            Some(ChallengeRecord {
                provider_id,
                zone,
                name,
                value,
            }) => (Some(provider_id), [Some(zone), Some(name), Some(value)]),
            None => (None, [None, None, None]),
        };
        let texts = [&name, &kind, &token, &key_authorization];
        let record_texts = [&zone, &record_name, &value];
        for text in texts.into_iter().chain(record_texts.into_iter().flatten()) {
            within("a text of the challenge", CHALLENGE_TEXT_LIMIT, text.len())?;
        }
        Ok(vec![
            expires_at.into(),
            expires_at.into(),
            created_at.into(),
            id.into(),
            certificate_id.into(),
            account_id.into(),
            name.into(),
            kind.into(),
            Value::Text(Some(state.as_str().into())),
            token.into(),
            key_authorization.into(),
            provider.into(),
            zone.into(),
            record_name.into(),
            value.into(),
        ])
    }
}

fn read(mut row: Row) -> Result<PendingChallenge, Error> {
    Ok(PendingChallenge {
        id: row.take()?,
        certificate_id: row.take()?,
        account_id: row.take()?,
        name: row.take()?,
        kind: row.take()?,
        state: ChallengeState::parse(&row.take::<String>()?)?,
        token: row.take()?,
        key_authorization: row.take()?,
        created_at: row.take()?,
        expires_at: row.take()?,
        record: match row.take::<Option<DnsProviderId>>()? {
            Some(provider_id) => Some(ChallengeRecord {
                provider_id,
                zone: row.take()?,
                name: row.take()?,
                value: row.take()?,
            }),
            None => None,
        },
    })
}
