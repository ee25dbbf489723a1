//! `chancery account policy …`

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show what an account may have certified
    Show {
        /// The account
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give an account a policy, in place of an earlier one
    Set(PolicySet),
    /// Take the policy away: the account may have everything certified
    Rm {
        /// The account
        name: String,
    },
}

/// `chancery account policy set`
#[derive(Debug, Args)]
#[command(
    after_help = "What no option names is free. The policy holds for what private authorities sign from \
    now on, on every node within a second. Certificates that are there already stay valid; managed ones \
    that break it are not renewed, and say so."
)]
pub(crate) struct PolicySet {
    /// The account
    pub(crate) name: String,
    /// Where names have to lie; may repeat: example.com (it and all below), * (all domains),
    /// 10.0.0.0/8, @example.com (e-mail addresses there)
    #[arg(long = "allow", value_name = "NAMES")]
    pub(crate) names: Vec<String>,
    /// A kind of keys; may repeat: p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096 (RSA: of this
    /// size at least)
    #[arg(long = "key", value_name = "KIND")]
    pub(crate) keys: Vec<String>,
    /// Longest lifetime of a certificate
    #[arg(long, value_name = "DAYS")]
    pub(crate) max_days: Option<u32>,
    /// What certificates may be used for: server, client or both [default: both]
    #[arg(long)]
    pub(crate) usages: Option<String>,
}
