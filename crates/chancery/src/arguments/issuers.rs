//! `chancery issuer …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum IssuerCommand {
    /// Add an ACME directory, such as Let's Encrypt; an account is opened there at once
    Add(Box<IssuerAdd>),
    /// List private authorities and ACME directories
    Ls {
        /// The account whose issuers are listed (administrators) [default: your own]
        #[arg(long)]
        account: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an issuer: what is left of its limits, how it does, its terms and profiles
    Show {
        /// Its name
        name: String,
        /// The account whose issuer it is (administrators) [default: your own]
        #[arg(long)]
        account: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give an ACME directory up; another issuer renews its certificates from then on
    Rm {
        /// Its name
        name: String,
        /// The issuer that renews its certificates; needed while there are any
        #[arg(long, value_name = "NAME")]
        successor: Option<String>,
        /// The account whose issuer it is (administrators) [default: your own]
        #[arg(long)]
        account: Option<String>,
    },
    /// Have this issuer obtain your certificates when none is named
    Default {
        /// Its name
        name: String,
        /// For all accounts that have not chosen themselves (administrators)
        #[arg(long)]
        for_all: bool,
        /// For that account, which has not to choose itself then (administrators)
        #[arg(long, conflicts_with = "for_all")]
        account: Option<String>,
    },
    /// Change the place of an ACME directory in the order of preference
    Rank {
        /// Its name
        name: String,
        /// The lowest comes first; 0: it steps in for no other one
        rank: u32,
        /// The account whose issuer it is (administrators) [default: your own]
        #[arg(long)]
        account: Option<String>,
    },
    /// Give the account at an ACME directory a new key
    RotateKey {
        /// Its name
        name: String,
        /// The account whose issuer it is (administrators) [default: your own]
        #[arg(long)]
        account: Option<String>,
    },
}

/// `chancery issuer add`
#[derive(Debug, Args)]
#[command(
    after_help = "For example, Let's Encrypt as the issuer of everybody who names no other:\n  \
    chancery issuer add letsencrypt --acme https://acme-v02.api.letsencrypt.org/directory \\\n    \
    --email ops@example.com --agree-tos --default\n\
    Try https://acme-staging-v02.api.letsencrypt.org/directory first: its limits are generous, and \
    nobody trusts its certificates."
)]
pub(crate) struct IssuerAdd {
    /// What you call it
    pub(crate) name: String,
    /// URL of its ACME directory
    #[arg(long, value_name = "URL")]
    pub(crate) acme: String,
    /// Where the directory may write to
    #[arg(long)]
    pub(crate) email: Option<String>,
    /// Agree to its terms of service; without this, the error says where they are
    #[arg(long)]
    pub(crate) agree_tos: bool,
    /// PEM file with the roots that its TLS is checked against, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) acme_ca: Option<PathBuf>,
    /// Key identifier of an account at the authority that yours is to be bound to (external account)
    #[arg(long, value_name = "K", requires = "eab_hmac")]
    pub(crate) eab_kid: Option<String>,
    /// The key of that account, base64url: itself, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "H",
        env = "CHANCERY_EAB_HMAC",
        hide_env_values = true
    )]
    pub(crate) eab_hmac: Option<String>,
    /// The profile of all orders, such as shortlived; `issuer show` lists those on offer
    #[arg(long, value_name = "P")]
    pub(crate) profile: Option<String>,
    /// Common name of an issuer in the chain that is preferred, where there are several chains
    #[arg(long, value_name = "CN")]
    pub(crate) preferred_chain: Option<String>,
    /// One of the directory's limits where it is not that of Let's Encrypt, such as orders=300/3h or
    /// domain=none; may repeat: orders, domain, duplicates, failures, share (percent), concurrency
    #[arg(long = "limit", value_name = "NAME=LIMIT")]
    pub(crate) limits: Vec<String>,
    /// Place in the order of preference, the lowest first; 0: it steps in for no other one
    /// [default: behind all others]
    #[arg(long)]
    pub(crate) rank: Option<u32>,
    /// Have it obtain certificates when none is named: for all accounts that have not chosen
    /// themselves, if an administrator adds it for all; else for the account that it is for
    #[arg(long)]
    pub(crate) default: bool,
    /// The account that it is for (administrators) [default: all accounts, or your own]
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
