//! Arguments of `chancery deliver` and `chancery target`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;

/// `chancery deliver`
#[derive(Debug, Args)]
pub(crate) struct Deliver {
    /// Name of this machine's directory; each has its own
    #[arg(long, value_name = "NAME")]
    pub(crate) target: String,
    /// Where the files go: NAME.crt and NAME.key for each certificate
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only the certificates of this service (name or uuid); may repeat [default: all certificates
    /// of the account]
    #[arg(long = "service", value_name = "REF")]
    pub(crate) services: Vec<String>,
    /// Write NAME.pem with certificate, intermediates and key in one, as haproxy wants it
    #[arg(long)]
    pub(crate) combined: bool,
    /// Shell command that is run after files have changed, such as 'nginx -t && nginx -s reload'; if
    /// it fails, the files from before come back
    #[arg(long, value_name = "COMMAND")]
    pub(crate) reload: Option<String>,
    /// How long that may take
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90s")]
    pub(crate) reload_timeout: Duration,
    /// Deliver what there is now, and end; exit status 1 if something could not be put in place
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TargetCommand {
    /// List targets
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a target with its certificates
    Show {
        /// Its name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a target, for machines that are gone; the files there stay
    Rm {
        /// Its name
        name: String,
    },
}
