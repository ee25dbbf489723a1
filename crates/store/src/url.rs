//! Where the database is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// A text that does not say where a database is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseUrlError {
    /// The part after `postgres://` cannot be read. The text is not repeated: it may hold a password.
    #[error(
        "the PostgreSQL URL cannot be read; expected postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    MalformedPostgres,

    /// `sqlite:` without a path, or a database in memory, which nothing durable can live in.
    #[error("sqlite: must be followed by the path of a file")]
    MissingPath,

    /// Neither of the two kinds of database.
    #[error("a database URL begins with sqlite: or postgres://")]
    UnknownScheme,
}

/// Where the database is: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
#[derive(Clone)]
pub struct DatabaseUrl(Location);

impl DatabaseUrl {
    /// A SQLite database in this file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Location::Sqlite(path.into()))
    }

    /// The file of a SQLite database; none for PostgreSQL.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Location::Sqlite(path) => Some(path),
            Location::Postgres(_) => None,
        }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.0
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            // `sqlite://relative` and `sqlite:///absolute` are common spellings elsewhere.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err(DatabaseUrlError::MissingPath);
            }
            return Ok(Self::sqlite(path));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let options = text
                .parse::<PgConnectOptions>()
                .map_err(|_| DatabaseUrlError::MalformedPostgres)?;
            return Ok(Self(Location::Postgres(Box::new(options))));
        }
        Err(DatabaseUrlError::UnknownScheme)
    }
}

/// Never shows user or password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Location::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Location::Postgres(options) => write!(
                formatter,
                "postgres://{}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default(),
            ),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({self})")
    }
}

#[derive(Clone)]
pub(crate) enum Location {
    Postgres(Box<PgConnectOptions>),
    Sqlite(PathBuf),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_kinds_are_read() {
        for (text, path) in [
            ("sqlite:data/chancery.db", "data/chancery.db"),
            ("sqlite:/var/lib/chancery.db", "/var/lib/chancery.db"),
            ("sqlite:///var/lib/chancery.db", "/var/lib/chancery.db"),
            ("sqlite:/odd?path#%41", "/odd?path#%41"),
        ] {
            let url = text.parse::<DatabaseUrl>().unwrap();
            assert_eq!(url.sqlite_path(), Some(Path::new(path)));
        }
        let url = "postgres://someone:hunter2@db.example:6543/chancery".parse::<DatabaseUrl>();
        assert_eq!(
            url.unwrap().to_string(),
            "postgres://db.example:6543/chancery"
        );
    }

    #[test]
    fn the_password_is_not_shown() {
        let url = "postgres://someone:hunter2@db.example/chancery"
            .parse::<DatabaseUrl>()
            .unwrap();
        assert!(!format!("{url:?} {url}").contains("hunter2"));
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for (text, error) in [
            ("mysql://localhost/x", DatabaseUrlError::UnknownScheme),
            ("", DatabaseUrlError::UnknownScheme),
            ("sqlite:", DatabaseUrlError::MissingPath),
            ("sqlite::memory:", DatabaseUrlError::MissingPath),
            (
                "postgres://host:notaport/x",
                DatabaseUrlError::MalformedPostgres,
            ),
        ] {
            assert_eq!(text.parse::<DatabaseUrl>().unwrap_err(), error, "{text}");
        }
    }
}
