//! What becomes of single certificates: `chancery issue`, `upload`, `ls`, `show`, `renew`, `check`, `revoke` and
//! `rm`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::duration;

/// `chancery issue`
#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// Domain names, IP addresses or e-mail addresses that the certificate is for
    #[arg(required_unless_present = "csr", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The private authority or ACME directory [default: your default issuer; see `issuer ls`]
    #[arg(long)]
    pub(crate) issuer: Option<String>,
    /// Certificate signing request for a private authority, PEM or DER; without one the server makes
    /// the key
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: Option<PathBuf>,
    /// Directory for NAME.crt and NAME.key; without it, PEM goes to stdout. Keys of certificates that
    /// the server renews stay there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Lifetime in days from a private authority, 1 to 182 [default: 7]
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) days: Option<i64>,
    /// Have the server keep the key and renew the certificate, also one of a private authority
    #[arg(long, conflicts_with_all = ["csr", "days"])]
    pub(crate) managed: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How long a command waits for what the server obtains.
#[derive(Debug, Args)]
pub(crate) struct Patience {
    /// How long to wait until the certificate is there, such as 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m")]
    pub(crate) wait: Duration,
    /// Do not wait; the server goes on by itself either way
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
}

/// `chancery renew`
#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// Name or uuid
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `chancery check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A domain, a wildcard such as *.example.com, or an IP address
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `chancery upload`
#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// PEM file: the leaf and its intermediates, in any order
    #[arg(long, value_name = "FILE")]
    pub(crate) chain: PathBuf,
    /// PEM file: the leaf's private key, not encrypted
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Name in the inventory [default: chosen after the common name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `chancery ls`
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only those that expire within this time, such as 30d or 12h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) expiring: Option<Duration>,
    /// Only those in this state: pending, valid, error or revoked
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `chancery show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name or uuid
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Print JSON
    #[arg(long, conflicts_with = "pem")]
    pub(crate) json: bool,
    /// Print the chain, PEM
    #[arg(long)]
    pub(crate) pem: bool,
}

/// `chancery revoke`
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Name or uuid
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// keyCompromise, superseded, cessationOfOperation, … [default: unspecified]
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `chancery rm`
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Name or uuid
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
