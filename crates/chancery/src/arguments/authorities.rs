//! `chancery authority …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum AuthorityCommand {
    /// List private authorities
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an authority: its tiers, where their keys are, and what is due
    Show {
        /// Its name
        name: String,
        /// Print JSON
        #[arg(long, conflicts_with = "pem")]
        json: bool,
        /// Print the root certificate, PEM
        #[arg(long)]
        pem: bool,
    },
    /// Make an authority
    Create(Box<AuthorityCreate>),
    /// Take over a CA that was run by something else: PEM or PKCS#12
    Import(Box<AuthorityImport>),
    /// Write the key of the root to a file, encrypted; with --remove, erase it from the server then
    ExportRoot(ExportRoot),
    /// Bring the key of the root back
    ImportRoot {
        /// Name of the authority
        name: String,
        /// The file that export-root wrote
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Print a request (PKCS#10) for a certificate of the issuing CA, for another CA to sign
    Csr {
        /// Name of the authority
        name: String,
        /// For a new key, which waits for its certificate
        #[arg(long)]
        new_key: bool,
    },
    /// Put a certificate into service that another CA has signed
    Install {
        /// Name of the authority
        name: String,
        /// PEM file: the certificate, its issuer, and so on; the root may be left out
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
    },
    /// Make the successor of the root now; people who trust the root install it, then you switch
    Successor {
        /// Name of the authority
        name: String,
    },
    /// Issue below the successor of the root from now on
    Switch {
        /// Name of the authority
        name: String,
    },
}

/// `chancery authority create`
#[derive(Debug, Args)]
#[command(
    after_help = "For example, an authority for one domain and one network:\n  \
    chancery authority create plant --permit plant.example.com --permit 10.20.0.0/16"
)]
pub(crate) struct AuthorityCreate {
    /// What you call it
    pub(crate) name: String,
    /// Algorithm of its keys: p256, p384, p521, rsa2048, rsa3072, rsa4096 or ed25519
    #[arg(long, value_name = "ALGORITHM", default_value = "p256")]
    pub(crate) key_algorithm: String,
    /// Common name of its certificates [default: NAME]
    #[arg(long, value_name = "CN")]
    pub(crate) common_name: Option<String>,
    /// Organization in its certificates
    #[arg(long, value_name = "O")]
    pub(crate) organization: Option<String>,
    /// Country in its certificates, two letters
    #[arg(long, value_name = "C")]
    pub(crate) country: Option<String>,
    /// 2: a root and an issuing CA; 1: a root that issues by itself
    #[arg(long, default_value_t = 2)]
    pub(crate) tiers: u32,
    /// Lifetime of what issues, in days [default: 3650, or 5475 of one tier]
    #[arg(long)]
    pub(crate) days: Option<u32>,
    /// Lifetime of the root of two tiers, in days [default: 5475]
    #[arg(long)]
    pub(crate) root_days: Option<u32>,
    /// Names that it may certify: example.com and all below, 10.0.0.0/8, @example.com; may repeat.
    /// Domains and addresses of which none is permitted are then refused
    #[arg(long, value_name = "NAMES")]
    pub(crate) permit: Vec<String>,
    /// Names that it must not certify, written likewise; * for all domains; may repeat
    #[arg(long, value_name = "NAMES")]
    pub(crate) exclude: Vec<String>,
    /// Make its keys in the PKCS#11 token of the server
    #[arg(long)]
    pub(crate) device: bool,
}

/// `chancery authority import`
#[derive(Debug, Args)]
#[command(
    after_help = "What the CA has issued and revoked before is not known here: keep its last \
    revocation list published until those certificates have ended."
)]
pub(crate) struct AuthorityImport {
    /// What you call it
    pub(crate) name: String,
    /// PEM file: the key of the CA, which may be encrypted
    #[arg(
        long,
        value_name = "FILE",
        requires = "chain",
        required_unless_present = "pkcs12"
    )]
    pub(crate) key: Option<PathBuf>,
    /// PEM file: the certificate of the CA and those above it, up to the root
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) chain: Option<PathBuf>,
    /// PKCS#12 file with all of that
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "chain"])]
    pub(crate) pkcs12: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// `chancery authority export-root`
#[derive(Debug, Args)]
pub(crate) struct ExportRoot {
    /// Name of the authority
    pub(crate) name: String,
    /// The file to write; there must be none of this name yet
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Erase the key from the server, once the file has been read back
    #[arg(long)]
    pub(crate) remove: bool,
    /// For how many days to sign the root's revocation list and OCSP responder in advance
    /// [default: 365]
    #[arg(long, value_name = "DAYS", requires = "remove")]
    pub(crate) away_days: Option<u32>,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// Where a passphrase comes from: a file, the environment (CHANCERY_PASSPHRASE), or the terminal.
#[derive(Debug, Args)]
pub(crate) struct Passphrase {
    /// File with the passphrase, - for standard input [default: CHANCERY_PASSPHRASE, or the terminal]
    #[arg(long, value_name = "FILE", env = "CHANCERY_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<String>,
}
