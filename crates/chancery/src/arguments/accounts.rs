//! `chancery account …` and `chancery token …`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{PolicyCommand, duration};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it; it is not shown again
    Create(TokenCreate),
    /// List tokens, without their texts
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a token
    Rm {
        /// Its uuid
        uuid: String,
    },
}

/// `chancery token create`
#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// The account it is for [default: your own]
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// A name for people
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) name: String,
    /// Refuse every change
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Only these APIs: chancery, kraftcloud, certmaker, cloud66, d9t
    #[arg(long, value_delimiter = ',')]
    pub(crate) dialects: Option<Vec<String>>,
    /// For `chancery deliver` and for Caddy: may fetch keys, and do nothing else
    #[arg(long, conflicts_with_all = ["dialects", "scopes", "read_only"])]
    pub(crate) deliver: bool,
    /// Only these Cloud 66 scopes
    #[arg(long, value_delimiter = ',')]
    pub(crate) scopes: Option<Vec<String>>,
    /// How long it is good for, such as 90d [default: until deleted]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
    /// How it is printed: token; cx-file, for the token file of Cloud 66's command line; cx-variable,
    /// for its variable CLOUD66_TOKEN
    #[arg(
        long = "as",
        value_enum,
        value_name = "FORM",
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) form: TokenForm,
}

/// How a token is printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum TokenForm {
    #[default]
    Token,
    CxFile,
    CxVariable,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account
    Create {
        /// 2 to 64 characters of A-Z a-z 0-9 . _ $ @ -
        name: String,
        /// Let it administer the whole server
        #[arg(long)]
        administrator: bool,
    },
    /// List accounts
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse the account in every API
    Disable {
        /// The account
        name: String,
    },
    /// Undo disable
    Enable {
        /// The account
        name: String,
    },
    /// Refuse web logins of the account; its tokens go on working
    Lock {
        /// The account
        name: String,
    },
    /// Undo lock
    Unlock {
        /// The account
        name: String,
    },
    /// Never let the account log in on the web; its tokens go on working
    ForbidLogin {
        /// The account
        name: String,
    },
    /// Undo forbid-login
    AllowLogin {
        /// The account
        name: String,
    },
    /// Vouch for an account: these names and addresses it need not prove control over
    Preauthorize {
        /// The account
        name: String,
        /// DNS names, wildcards, addresses or ranges, such as example.com '*.example.com'
        /// 10.0.0.0/8; without any, what the account is vouched for is listed
        names: Vec<String>,
        /// Vouch for these no more
        #[arg(long, value_name = "NAME")]
        remove: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// What the account may have certified by private authorities
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Delete an account that has no certificates
    Rm {
        /// The account
        name: String,
    },
}
