//! Certificates of the inventory: what they look like, and how they are found and listed.
//!
//! How they are added and changed is in [`crate::inventory`].

use std::sync::Arc;

use time::OffsetDateTime;

use crate::error::Error;
use crate::ids::{AccountId, CertificateId, VersionId};
use crate::page::Page;
use crate::references::{CertificateRef, Lookup, Named};
use crate::scope::Scope;
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::tokens::lines;
use crate::versions::{self, Version};

/// How many certificates that end soon are many.
const MANY: u64 = 1_000;

/// How a certificate comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// By an issuer: an authority or an ACME directory.
    Issued,
    /// It signs itself.
    SelfSigned,
    /// Somebody brought it along.
    Uploaded,
}

impl Origin {
    /// `issued`, `self-signed` or `uploaded`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::SelfSigned => "self-signed",
            Self::Uploaded => "uploaded",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        [Self::Issued, Self::SelfSigned, Self::Uploaded]
            .into_iter()
            .find(|origin| origin.as_str() == text)
            .ok_or(Error::Corrupt("a certificate has an unknown origin"))
    }
}

/// Where a certificate is in its life. That it has expired is told by the clock, not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Obtaining it was given up.
    Error {
        /// Why.
        reason: String,
    },
    /// Its first version is not there yet.
    Pending {
        /// How many attempts were made.
        attempt: u8,
        /// When the next one is due.
        next_attempt_at: OffsetDateTime,
    },
    /// Its current version was revoked.
    Revoked,
    /// It has a current version.
    Valid,
}

impl State {
    /// The state without its particulars.
    pub fn kind(&self) -> StateKind {
        match self {
            Self::Error { .. } => StateKind::Error,
            Self::Pending { .. } => StateKind::Pending,
            Self::Revoked => StateKind::Revoked,
            Self::Valid => StateKind::Valid,
        }
    }
}

/// A [`State`] without its particulars, to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// See [`State::Error`].
    Error,
    /// See [`State::Pending`].
    Pending,
    /// See [`State::Revoked`].
    Revoked,
    /// See [`State::Valid`].
    Valid,
}

impl StateKind {
    /// `error`, `pending`, `revoked` or `valid`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
            Self::Valid => "valid",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        [Self::Error, Self::Pending, Self::Revoked, Self::Valid]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(Error::Corrupt("a certificate has an unknown state"))
    }
}

/// A certificate to be added.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    /// Its identifier.
    pub id: CertificateId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// Its name, unique in the account; at most [`crate::NAME_LIMIT`] bytes.
    pub name: String,
    /// The common name that it is listed under; at most [`crate::NAME_LIMIT`] bytes.
    pub common_name: String,
    /// The names it must cover, as text: DNS names, IP addresses, mail addresses.
    pub identifiers: Vec<String>,
    /// How it comes to be.
    pub origin: Origin,
    /// Where it is in its life.
    pub state: State,
    /// The issuer that renews it, by name.
    pub issuer: Option<String>,
    /// When it is added.
    pub created_at: OffsetDateTime,
}

/// A certificate: the lasting, named thing of which versions come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its identifier.
    pub id: CertificateId,
    /// The account that it belongs to.
    pub account_id: AccountId,
    /// Its name, unique in the account.
    pub name: String,
    /// The common name that it is listed under.
    pub common_name: String,
    /// The names it must cover, as text.
    pub identifiers: Vec<String>,
    /// How it comes to be.
    pub origin: Origin,
    /// Where it is in its life.
    pub state: State,
    /// The issuer that renews it, by name.
    pub issuer: Option<String>,
    /// How many attempts at its next version have failed since the last one succeeded.
    pub attempt: u8,
    /// Why the last attempt at its next version failed, if none has succeeded since.
    pub failure: Option<String>,
    /// When something is to be done about it next: the next attempt while it is pending; while it is
    /// valid, its renewal or a look at whether that should be moved.
    pub next_action_at: Option<OffsetDateTime>,
    /// The moment chosen for its renewal.
    pub renew_at: Option<OffsetDateTime>,
    /// When it was added, to the microsecond.
    pub created_at: OffsetDateTime,
    /// The version in service.
    pub current: Option<Version>,
}

/// Which certificates to list; those that meet all conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateFilter {
    /// Only those listed under this common name.
    pub common_name: Option<String>,
    /// Only those in this state.
    pub state: Option<StateKind>,
    /// Only those whose current version ends before this moment.
    pub not_after_before: Option<OffsetDateTime>,
}

impl Store {
    /// The certificate that a reference points at. [`Error::AmbiguousName`] when a name is looked
    /// up under [`Scope::Everything`] and several accounts use it.
    pub async fn certificate(
        &self,
        scope: Scope,
        reference: &CertificateRef,
    ) -> Result<Option<Certificate>, Error> {
        let mut found = self
            .certificates_by_refs(scope, std::slice::from_ref(reference))
            .await?;
        Ok(found.pop().flatten().map(Arc::unwrap_or_clone))
    }

    /// The certificates that references point at, in the order of the references. Takes one query
    /// for every 256 identifiers and one for every 256 names. Repeated references share one answer,
    /// so that a short request cannot ask for a long one.
    pub async fn certificates_by_refs(
        &self,
        scope: Scope,
        references: &[CertificateRef],
    ) -> Result<Vec<Option<Arc<Certificate>>>, Error> {
        let lookup = Lookup {
            by_ids,
            by_names,
            read,
        };
        lookup.resolve(self.backend(), scope, references).await
    }

    /// A stretch of the list of certificates. A next page begins at the last certificate of the
    /// one before, which is repeated; certificates added or removed meanwhile do not shift it.
    pub async fn list_certificates(
        &self,
        scope: Scope,
        filter: &CertificateFilter,
        page: &Page,
    ) -> Result<Vec<Certificate>, Error> {
        if filter
            .common_name
            .as_ref()
            .is_some_and(|name| name.contains('\0'))
        {
            return Ok(Vec::new());
        }
        let search = match (scope, filter.not_after_before) {
            (Scope::Account(account), Some(moment)) => {
                let count = self.backend().row(count_ending(account, moment)).await?;
                let count: u64 = count.map_or(Ok(0), |mut row| row.take())?;
                if count < MANY {
                    Search::ByEnd
                } else {
                    Search::InOrder
                }
            }
            _ => Search::InOrder,
        };
        let statement = listed(scope, filter, page, search);
        self.read_certificates(statement).await
    }

    async fn read_certificates(&self, statement: Statement) -> Result<Vec<Certificate>, Error> {
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(read).collect()
    }
}

pub(crate) fn by_ids(scope: Scope, ids: &[CertificateId]) -> Statement {
    let statement = select("c.id in ").list(ids.iter().copied());
    scope.restrict(statement, "c.account_id")
}

pub(crate) fn by_names(scope: Scope, names: &[&str]) -> Statement {
    let statement = select("c.name in ").list(names.iter().copied());
    scope.restrict(statement, "c.account_id")
}

/// How certificates that end before a moment are found.
///
/// Few of them are quickly found by their end and then sorted. Of many, enough are soon met when
/// walking the list in its order. Each way would take seconds in the other's place, and SQLite has
/// no statistics from which to tell the places apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    ByEnd,
    InOrder,
}

/// Counts the certificates of an account that end before a moment, but not beyond [`MANY`].
pub(crate) fn count_ending(account: AccountId, moment: OffsetDateTime) -> Statement {
    Statement::new(format!(
        "select count(*) from (select 1 from certificates where account_id = ? and not_after < ? \
         limit {MANY}) as ending"
    ))
    .bind(account)
    .bind(moment)
}

pub(crate) fn listed(
    scope: Scope,
    filter: &CertificateFilter,
    page: &Page,
    search: Search,
) -> Statement {
    let mut statement = select("1 = 1");
    if let Some(common_name) = &filter.common_name {
        statement = statement
            .text(" and c.common_name = ?")
            .bind(common_name.as_str());
    }
    if let Some(state) = filter.state {
        statement = statement.text(" and c.state = ?").bind(state.as_str());
        if scope == Scope::Everything && state != StateKind::Valid {
            // What is not valid is rare, and has an index of its own.
            statement = statement.text(" and c.state <> 'valid'");
        }
    }
    if let Some(moment) = filter.not_after_before {
        statement = statement
            .text(match search {
                Search::ByEnd => " and c.not_after < ?",
                // No index serves an expression, so this one is not chosen for its end.
                Search::InOrder => " and +c.not_after < ?",
            })
            .bind(moment);
    }
    // The expression keeps this condition from being searched by, as above.
    let created_at = match search {
        Search::ByEnd => "+c.created_at",
        Search::InOrder => "c.created_at",
    };
    page.restrict_by(statement, scope, "c", created_at)
}

pub(crate) fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select {COLUMNS}, {} from certificates c left join versions v on v.id = c.current_version_id \
         where {condition}",
        versions::COLUMNS
    ))
}

/// The columns of a certificate, which those of its version follow, in the order in which [`read`]
/// takes them.
pub(crate) const COLUMNS: &str = "c.id, c.account_id, c.name, c.common_name, c.identifiers, \
     c.origin, c.state, c.attempt, c.next_action_at, c.renew_at, c.reason, c.issuer, c.created_at, \
     c.current_version_id";

pub(crate) fn read(mut row: Row) -> Result<Certificate, Error> {
    let id = row.take()?;
    let account_id = row.take()?;
    let name = row.take()?;
    let common_name = row.take()?;
    let identifiers = lines(&row.take::<String>()?);
    let origin = Origin::parse(&row.take::<String>()?)?;
    let kind = StateKind::parse(&row.take::<String>()?)?;
    let attempt = u8::try_from(row.take::<u64>()?).unwrap_or(u8::MAX);
    let next_action_at: Option<OffsetDateTime> = row.take()?;
    let renew_at = row.take()?;
    let failure: Option<String> = row.take()?;
    let state = match kind {
        StateKind::Error => State::Error {
            reason: failure.clone().unwrap_or_default(),
        },
        StateKind::Pending => State::Pending {
            attempt,
            next_attempt_at: next_action_at
                .ok_or(Error::Corrupt("a pending certificate has no next attempt"))?,
        },
        StateKind::Revoked => State::Revoked,
        StateKind::Valid => State::Valid,
    };
    Ok(Certificate {
        id,
        account_id,
        name,
        common_name,
        identifiers,
        origin,
        state,
        issuer: row.take()?,
        attempt,
        failure,
        next_action_at,
        renew_at,
        created_at: row.take()?,
        current: match row.take::<Option<VersionId>>()? {
            Some(_) => Some(versions::read(&mut row)?),
            None => None,
        },
    })
}

impl Named for Certificate {
    type Id = CertificateId;

    fn id(&self) -> CertificateId {
        self.id
    }

    fn name(&self) -> &str {
        &self.name
    }
}
