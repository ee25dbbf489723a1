//! Brings the schema up to date at start. Forward only.
//!
//! Several nodes may start at once. Each migration writes its row into `schema_migrations` in the
//! transaction that changes the schema, before it changes anything: of two nodes one waits at that
//! row, and finds it taken when the other has committed. No advisory lock is involved, so engines
//! that only pretend to have them are safe too.

use crate::backend::{Backend, Transaction, step_aside};
use crate::error::Error;
use crate::sql::Statement;

struct Migration {
    version: i64,
    name: &'static str,
    script: &'static str,
    /// What SQLite is told afterwards, in its own words.
    sqlite: &'static str,
    /// The same for PostgreSQL.
    postgres: &'static str,
}

/// In order of their versions.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "accounts",
        script: include_str!("../migrations/0001_accounts.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 2,
        name: "certificates",
        script: include_str!("../migrations/0002_certificates.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 3,
        name: "versions",
        script: include_str!("../migrations/0003_versions.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 4,
        name: "authorities",
        script: include_str!("../migrations/0004_authorities.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 5,
        name: "events",
        script: include_str!("../migrations/0005_events.sql"),
        sqlite: "",
        postgres: include_str!("../migrations/0005_events.postgres.sql"),
    },
    Migration {
        version: 6,
        name: "services",
        script: include_str!("../migrations/0006_services.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 7,
        name: "domains",
        script: include_str!("../migrations/0007_domains.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 8,
        name: "instances",
        script: include_str!("../migrations/0008_instances.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 9,
        name: "certificate_names",
        script: include_str!("../migrations/0009_certificate_names.sql"),
        sqlite: include_str!("../migrations/0009_certificate_names.sqlite.sql"),
        postgres: include_str!("../migrations/0009_certificate_names.postgres.sql"),
    },
    Migration {
        version: 10,
        name: "ticket_keys",
        script: include_str!("../migrations/0010_ticket_keys.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 11,
        name: "cursors",
        script: include_str!("../migrations/0011_cursors.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 12,
        name: "kept_keys",
        script: include_str!("../migrations/0012_kept_keys.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 13,
        name: "directories",
        script: include_str!("../migrations/0013_directories.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 14,
        name: "orders",
        script: include_str!("../migrations/0014_orders.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 15,
        name: "challenges",
        script: include_str!("../migrations/0015_challenges.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 16,
        name: "renewals",
        script: include_str!("../migrations/0016_renewals.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 17,
        name: "webhooks",
        script: include_str!("../migrations/0017_webhooks.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 18,
        name: "expiry_places",
        script: include_str!("../migrations/0018_expiry_places.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 19,
        name: "revocations",
        script: include_str!("../migrations/0019_revocations.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 20,
        name: "inbound_orders",
        script: include_str!("../migrations/0020_inbound_orders.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 21,
        name: "switches",
        script: include_str!("../migrations/0021_switches.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 22,
        name: "tiers",
        script: include_str!("../migrations/0022_tiers.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 23,
        name: "crl_shards",
        script: include_str!("../migrations/0023_crl_shards.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 24,
        name: "audit_links",
        script: include_str!("../migrations/0024_audit_links.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 25,
        name: "policies",
        script: include_str!("../migrations/0025_policies.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 26,
        name: "labels",
        script: include_str!("../migrations/0026_labels.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 27,
        name: "installations",
        script: include_str!("../migrations/0027_installations.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 28,
        name: "grants",
        script: include_str!("../migrations/0028_grants.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 29,
        name: "targets",
        script: include_str!("../migrations/0029_targets.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 30,
        name: "dns_accounts",
        script: include_str!("../migrations/0030_dns_accounts.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 31,
        name: "removals",
        script: include_str!("../migrations/0031_removals.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 32,
        name: "label_names",
        script: include_str!("../migrations/0032_label_names.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 33,
        name: "given_with",
        script: include_str!("../migrations/0033_given_with.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 34,
        name: "zones_of_accounts",
        script: include_str!("../migrations/0034_zones_of_accounts.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 35,
        name: "revoked_issuer",
        script: include_str!("../migrations/0035_revoked_issuer.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 36,
        name: "target_directories",
        script: include_str!("../migrations/0036_target_directories.sql"),
        sqlite: "",
        postgres: "",
    },
    Migration {
        version: 37,
        name: "revisions",
        script: include_str!("../migrations/0037_revisions.sql"),
        sqlite: "",
        postgres: "",
    },
];

const LEDGER: &str = "create table if not exists schema_migrations (
    version bigint not null primary key,
    name text not null
)";

/// Enough for many nodes that all stumble over each other; each stumble waits a little longer.
const ATTEMPTS: u32 = 20;

/// Runs every migration that the database has not seen.
pub(crate) async fn run(backend: &Backend) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        match bring_up_to_date(backend).await {
            Err(error) if lost_a_race(&error) && attempt < ATTEMPTS => {
                step_aside(attempt).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn bring_up_to_date(backend: &Backend) -> Result<(), Error> {
    let mut transaction = backend.begin().await?;
    let outcome = transaction.script(LEDGER.to_owned()).await;
    transaction.finish(outcome).await?;

    let mut last = backend
        .row(Statement::new("select max(version) from schema_migrations"))
        .await?;
    let found = match &mut last {
        Some(row) => row.take::<Option<i64>>()?.unwrap_or(0),
        None => 0,
    };
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if found > known {
        return Err(Error::NewerSchema { found, known });
    }
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > found)
    {
        let script = backend.schema_text(migration.script);
        let mut transaction = backend.begin().await?;
        let outcome = apply(&mut transaction, migration, script).await;
        transaction.finish(outcome).await?;
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "schema migrated"
        );
    }
    Ok(())
}

async fn apply(
    transaction: &mut Transaction,
    migration: &Migration,
    script: String,
) -> Result<(), Error> {
    transaction
        .execute(
            Statement::new("insert into schema_migrations (version, name) values (?, ?)")
                .bind(migration.version)
                .bind(migration.name),
        )
        .await?;
    transaction.script(script).await?;
    let own = if transaction.is_sqlite() {
        migration.sqlite
    } else {
        migration.postgres
    };
    if !own.is_empty() {
        transaction.script(own.to_owned()).await?;
    }
    Ok(())
}

/// Another node was quicker: its row is there, or the two stumbled over each other while creating
/// the same table (PostgreSQL reports that in several ways).
fn lost_a_race(error: &Error) -> bool {
    match error {
        Error::Conflict(_) | Error::Duplicate => true,
        Error::Database(source) => source
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            // Duplicate table, duplicate object (its row type), "tuple concurrently updated".
            .is_some_and(|code| matches!(code.as_ref(), "42P07" | "42710" | "XX000")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(i64::try_from(index).ok(), Some(migration.version - 1));
        }
    }
}
