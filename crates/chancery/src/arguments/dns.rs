//! `chancery dns …`

use clap::{Args, Subcommand};
use lifecycle::dns_kinds;

#[derive(Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Add a zone with the right to write its records, for dns-01 challenges and wildcards
    Add(DnsAdd),
    /// List zones, without credentials
    Ls {
        /// The account whose zones are listed (administrators) [default: your own]
        #[arg(long)]
        account: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the kinds of providers, with the credentials that each wants
    Kinds {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a zone
    Rm {
        /// The name at its top
        zone: String,
        /// The account whose zone it is (administrators) [default: your own]
        #[arg(long)]
        account: Option<String>,
    },
    /// Publish a record in a zone, look for it at all of its servers, and withdraw it
    Test {
        /// The name at its top
        zone: String,
        /// The account whose zone it is (administrators) [default: your own]
        #[arg(long)]
        account: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `chancery dns add`
#[derive(Debug, Args)]
#[command(after_help = kinds())]
pub(crate) struct DnsAdd {
    /// The name at the top of the zone, such as example.com
    pub(crate) zone: String,
    /// Who keeps the zone, such as rfc2136 or cloudflare; see below
    #[arg(long = "provider", value_name = "KIND")]
    pub(crate) kind: String,
    /// What the provider wants to see; may repeat. @FILE reads the value from a file, - from
    /// standard input, and neither shows up in the list of processes
    #[arg(long = "credential", value_name = "NAME=VALUE|NAME=@FILE|NAME=-")]
    pub(crate) credentials: Vec<String>,
    /// The account that it is for (administrators) [default: all accounts, or your own]
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What each kind of provider wants to see.
fn kinds() -> String {
    let mut text =
        "Providers, and their credentials (those in brackets may be left out):".to_owned();
    for kind in dns_kinds() {
        let fields: Vec<String> = kind
            .fields
            .iter()
            .map(|field| {
                if field.is_required {
                    field.name.to_owned()
                } else {
                    format!("[{}]", field.name)
                }
            })
            .collect();
        text.push_str(&format!("\n  {:<14} {}", kind.name, fields.join(" ")));
    }
    text.push_str(
        "\nFor example:\n  chancery dns add example.com --provider cloudflare --credential api_token=@token.txt\n  \
         chancery dns test example.com",
    );
    text
}
