//! `chancery audit …`

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List events, newest first
    Ls(AuditLs),
    /// Verify that no event was changed, removed, or added in the past (administrators)
    Verify(AuditVerify),
}

/// `chancery audit ls`
#[derive(Debug, Args)]
pub(crate) struct AuditLs {
    /// Only of this kind, such as certificate.revoked, or of all kinds of authority, certificate, …
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only what was done to this object
    #[arg(long, value_name = "UUID")]
    pub(crate) object: Option<String>,
    /// Only since then: a time such as 2026-03-01T12:00:00Z, or so long ago, such as 24h or 30d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// The most events that are listed
    #[arg(long, value_name = "NUMBER", default_value = "100")]
    pub(crate) limit: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `chancery audit verify`
#[derive(Debug, Args)]
#[command(
    after_help = "Events are linked into a chain about a second after they happen. Without the \
    master key, nobody can change what is linked, take something out of it, or put something into \
    it, and not be noticed here. Only its end can be cut off: keep the head that this command \
    prints away from the database, and give it with --expect later. The server logs its head every \
    hour, too."
)]
pub(crate) struct AuditVerify {
    /// A head that was printed or logged before, which must still be in the chain
    #[arg(long, value_name = "NUMBER:HASH")]
    pub(crate) expect: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
