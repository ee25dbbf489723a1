//! What can go wrong, named by what a caller can do about it.

use std::sync::Arc;

use sqlx::error::{DatabaseError, ErrorKind};

use crate::seal::SealError;

/// Why the store did not do what it was asked.
///
/// No variant ever holds key material or a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name was looked up across all accounts and several accounts use it. Look it up within one
    /// account, or by identifier.
    #[error("several accounts use this name")]
    AmbiguousName,

    /// Something still hangs on it: a domain is served with the certificate, or it is installed on a
    /// service and not to be deleted then; an instance belongs to the service.
    #[error("something is still attached to it")]
    Attached,

    /// The store was closed; nothing more can be written through it.
    #[error("the store is closed")]
    Closed,

    /// The order was completed before, or is not there (any more).
    #[error("the order was completed before")]
    Completed,

    /// Other transactions kept getting in the way. Nothing was changed; trying again may succeed.
    #[error("the database is busy with conflicting changes")]
    Conflict(#[source] Arc<sqlx::Error>),

    /// A row in the database is not what this program writes.
    #[error("the database holds something unreadable: {0}")]
    Corrupt(&'static str),

    /// The database refused a statement. Not expected in normal operation.
    #[error("the database refused a statement")]
    Database(#[source] Arc<sqlx::Error>),

    /// A domain of this name exists already, in whatever account.
    #[error("the domain {0} is taken")]
    DomainTaken(String),

    /// Something with this identifier, name or hash is already there.
    #[error("it exists already")]
    Duplicate,

    /// The name is taken: by another certificate, private key, service, instance, directory or target
    /// of the account, by another authority, or the zone by another DNS provider of the account.
    #[error("the name is taken")]
    DuplicateName,

    /// A version with the same serial number was issued before by one of our own authorities.
    #[error("the serial number was used before")]
    DuplicateSerial,

    /// The service has as many domains or instances, the private key as many certificates, or the
    /// account as many directories, DNS providers, webhooks, targets, waiting orders or patterns, as
    /// it can have.
    #[error("there can be no more of them")]
    Full,

    /// The name of the service that was to be made with an instance is taken.
    #[error("the name of the service is taken")]
    DuplicateServiceName,

    /// The account still has certificates, services or instances.
    #[error("the account still has certificates, services or instances")]
    InUse,

    /// The parts of a new record contradict each other; a mistake in the calling code.
    #[error("the record contradicts itself: {0}")]
    Inconsistent(&'static str),

    /// The database was written by a newer release of this program. Run that release.
    #[error(
        "the database has schema {found}, this release knows schemas up to {known}; use the newer release"
    )]
    NewerSchema {
        /// The schema that the database has.
        found: i64,
        /// The last schema this release knows.
        known: i64,
    },

    /// The row to change does not exist, or lies outside the scope.
    #[error("no such row")]
    NotFound,

    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),

    /// What a change was made up for has become different in the meantime. Look again.
    #[error("it has become different in the meantime")]
    Stale,

    /// A stored private key was opened but cannot be used.
    #[error("a stored private key is unusable")]
    StoredKey(#[source] pki::KeyError),

    /// A text is longer than the store takes.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// What the text is.
        what: &'static str,
        /// The most that is taken, in bytes.
        limit: usize,
    },

    /// The database cannot be reached, its disk failed or is full, or it did not answer in time.
    /// Whether a change under way was made is not known.
    #[error("the database is not available")]
    Unavailable(#[source] Arc<sqlx::Error>),

    /// The account that a new row belongs to does not exist.
    #[error("no such account")]
    UnknownAccount,

    /// A certificate that a domain was to be served with does not exist (any more).
    #[error("no such certificate")]
    UnknownCertificate,

    /// The directory that an order is to be placed at does not exist (any more).
    #[error("no such directory")]
    UnknownDirectory,
}

impl Error {
    /// Sorts what the driver reports by what can be done about it.
    pub(crate) fn from_sqlx(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(report) = &error else {
            return match error {
                sqlx::Error::PoolClosed => Self::Closed,
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed => Self::Unavailable(Arc::new(error)),
                other => Self::Database(Arc::new(other)),
            };
        };
        match report.kind() {
            ErrorKind::UniqueViolation => taken(report.as_ref()),
            ErrorKind::ForeignKeyViolation => Self::UnknownAccount,
            _ if is_conflict(report.as_ref()) => Self::Conflict(Arc::new(error)),
            _ if is_outage(report.as_ref()) => Self::Unavailable(Arc::new(error)),
            _ => Self::Database(Arc::new(error)),
        }
    }

    /// The error when the row that a foreign key names is missing, `missing`; otherwise the same.
    pub(crate) fn or_missing(self, missing: Self) -> Self {
        match self {
            Self::UnknownAccount => missing,
            other => other,
        }
    }

    /// The same error for every record of a batch, when it is not the fault of one of them.
    pub(crate) fn for_everybody(&self) -> Option<Self> {
        match self {
            Self::Closed => Some(Self::Closed),
            Self::Conflict(source) => Some(Self::Conflict(Arc::clone(source))),
            Self::Unavailable(source) => Some(Self::Unavailable(Arc::clone(source))),
            _ => None,
        }
    }

    /// Whether the transaction as a whole may simply be run again.
    pub(crate) fn may_be_retried(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}

/// Which of the uniqueness rules was broken. PostgreSQL names the rule, SQLite its columns.
fn taken(report: &dyn DatabaseError) -> Error {
    let rule = report.constraint().unwrap_or_else(|| report.message());
    if rule.ends_with("certificates_name")
        || rule.ends_with("certificates.name, certificates.account_id")
        || rule.ends_with("services_name")
        || rule.ends_with("services.name, services.account_id")
        || rule.ends_with("instances_name")
        || rule.ends_with("instances.name, instances.account_id")
        || rule.ends_with("private_key_labels_name")
        || rule.ends_with("private_key_labels.name, private_key_labels.account_id")
        || rule.ends_with("authorities_name")
        || rule.ends_with("authorities.name")
        || rule.ends_with("directories_name")
        || rule.ends_with("directories_shared_name")
        || rule.ends_with("directories.account_id, directories.name")
        || rule.ends_with("directories.name")
        || rule.ends_with("dns_providers_zone")
        || rule.ends_with("dns_providers_shared_zone")
        || rule.ends_with("dns_providers.account_id, dns_providers.zone")
        || rule.ends_with("dns_providers.zone")
        || rule.ends_with("dns_accounts_name")
        || rule.ends_with("dns_accounts.account_id, dns_accounts.kind, dns_accounts.name")
        || rule.ends_with("targets_name")
        || rule.ends_with("targets.account_id, targets.name")
    {
        Error::DuplicateName
    } else if rule.ends_with("versions_serial_low") || rule.ends_with("versions.serial_low") {
        Error::DuplicateSerial
    } else {
        Error::Duplicate
    }
}

/// PostgreSQL: serialization failure and deadlock. SQLite never reports either, because writers
/// take their turn before they read.
fn is_conflict(report: &dyn DatabaseError) -> bool {
    is_postgres(report) && matches!(report.code().as_deref(), Some("40001" | "40P01"))
}

fn is_outage(report: &dyn DatabaseError) -> bool {
    let Some(code) = report.code() else {
        return false;
    };
    if is_postgres(report) {
        // Connection exceptions, lack of resources, operator intervention, system errors, and
        // "read only" which is what a server answers that has just become a standby.
        ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class))
            || code == "25006"
    } else {
        // BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN; the upper bytes only refine them.
        code.parse::<i32>()
            .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 8 | 10 | 13 | 14))
    }
}

fn is_postgres(report: &dyn DatabaseError) -> bool {
    report
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some()
}
