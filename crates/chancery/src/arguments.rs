//! The command line. Every flag has an environment variable `CHANCERY_<FLAG>`.

mod accounts;
mod audit;
mod authorities;
mod certificates;
mod certmaker;
mod clients;
mod dns;
mod issuers;
mod policies;
mod services;
mod targets;
mod webhooks;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use accounts::{AccountCommand, TokenCommand, TokenForm};
pub(crate) use audit::{AuditCommand, AuditLs, AuditVerify};
pub(crate) use authorities::{AuthorityCommand, AuthorityCreate, AuthorityImport, ExportRoot};
pub(crate) use certificates::{Check, Issue, Ls, Patience, Renew, Revoke, Rm, Show, Upload};
pub(crate) use certmaker::CertMakerCommand;
pub(crate) use clients::ClientsCommand;
pub(crate) use dns::{DnsAdd, DnsCommand};
pub(crate) use issuers::{IssuerAdd, IssuerCommand};
pub(crate) use policies::{PolicyCommand, PolicySet};
pub(crate) use services::{ServiceCommand, ServiceCreate};
pub(crate) use targets::{Deliver, TargetCommand};
pub(crate) use webhooks::{WebhookAdd, WebhookCommand};

/// Looks after every TLS certificate of a platform.
#[derive(Debug, Parser)]
#[command(name = "chancery", version, max_term_width = 100)]
#[command(after_help = "Start with `chancery serve`; it prints what to try next.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How client commands reach the server. Without these, the data directory tells.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connection {
    /// Base URL of the server, such as https://chancery.example:8443
    #[arg(long, global = true, env = "CHANCERY_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Token of an account
    #[arg(long, global = true, env = "CHANCERY_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// PEM file with the root that the server's certificate is checked against
    #[arg(long, global = true, env = "CHANCERY_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Data directory of the server; client commands find URL, token and root in it [default: ./data]
    #[arg(long, global = true, env = "CHANCERY_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server
    Serve(Box<ServeFlags>),
    #[command(flatten)]
    Client(ClientCommand),
}

/// Flags of `chancery serve`; each is also a key of `chancery.toml`, with underscores.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeFlags {
    /// Data directory: master key, embedded database, first token, root certificate [default: ./data]
    #[arg(skip)]
    pub(crate) data: Option<PathBuf>,
    /// Where certificates are kept: sqlite:PATH or postgres://… [default: SQLite in the data directory]
    #[arg(
        long,
        env = "CHANCERY_DATABASE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,
    /// Address of an API listener, http:// or https://; may repeat
    /// [default: http://127.0.0.1:8080 and https://127.0.0.1:8443]
    #[arg(
        long,
        env = "CHANCERY_LISTEN",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<String>,
    /// Address of the edge's plain listener, for port 80 of every service; none turns it off
    /// [default: 127.0.0.1:8081]
    #[arg(long, env = "CHANCERY_EDGE_HTTP", value_name = "ADDR")]
    pub(crate) edge_http: Option<String>,
    /// Address of the edge's TLS listener, for port 443 of every service; none turns it off
    /// [default: 127.0.0.1:8444]
    #[arg(long, env = "CHANCERY_EDGE_HTTPS", value_name = "ADDR")]
    pub(crate) edge_https: Option<String>,
    /// Address of a TLS listener for another port of services: 0.0.0.0:5432, or 5432=127.0.0.1:15432
    /// where the two differ; may repeat
    #[arg(
        long,
        env = "CHANCERY_EDGE_LISTEN",
        value_name = "[PORT=]ADDR",
        value_delimiter = ','
    )]
    pub(crate) edge_listen: Vec<String>,
    /// Base of the URLs written into certificates and answers [default: the first plain listener]
    #[arg(long, env = "CHANCERY_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Permit plain http on addresses that are not loopback
    #[arg(long, env = "CHANCERY_ALLOW_PLAINTEXT", value_parser = clap::builder::BoolishValueParser::new(),
          num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) allow_plaintext: Option<bool>,
    /// Command that prints the master key (64 hex digits), for keys kept in a KMS
    #[arg(long, env = "CHANCERY_MASTER_KEY_COMMAND", value_name = "COMMAND")]
    pub(crate) master_key_command: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,api=debug
    #[arg(long, env = "CHANCERY_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How it is logged: text or json
    #[arg(long, env = "CHANCERY_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
    /// Configuration file [default: chancery.toml, if there is one]
    #[arg(long, env = "CHANCERY_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Have a private authority sign a certificate, or an ACME directory issue one
    Issue(Issue),
    /// Upload a certificate made elsewhere
    Upload(Upload),
    /// List certificates
    Ls(Ls),
    /// Show a certificate
    Show(Show),
    /// Have a certificate renewed now
    Renew(Renew),
    /// Revoke a certificate
    Revoke(Revoke),
    /// Delete a certificate
    Rm(Rm),
    /// Manage services: domains, and where their requests go
    #[command(subcommand)]
    Service(ServiceCommand),
    /// See what is in the way of a certificate for a name, and who has to act
    Check(Check),
    /// Manage private authorities: make, take over, renew, keep the root offline (administrators)
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// Manage issuers: private authorities and ACME directories such as Let's Encrypt
    #[command(subcommand)]
    Issuer(IssuerCommand),
    /// Manage DNS zones whose records the server may write
    #[command(subcommand)]
    Dns(DnsCommand),
    /// Keep certificates with their keys in a directory of this machine, for nginx, haproxy and others
    Deliver(Deliver),
    /// See where certificates are delivered to, and how far they have come
    #[command(subcommand)]
    Target(TargetCommand),
    /// Manage webhooks, which are told what happens to certificates
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Manage tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Manage the programs that may ask people for tokens
    #[command(subcommand)]
    Client(ClientsCommand),
    /// Manage accounts
    #[command(subcommand)]
    Account(AccountCommand),
    /// See who did what, and verify that nobody has changed the record of it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// See and set the switches of the CertMaker API
    #[command(subcommand)]
    Certmaker(CertMakerCommand),
}

/// A number with one of the units s, m, h, d, w.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a time such as 30d, 12h or 15m");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let total = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(Duration::from_secs(u64::from(total)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_a_command_is_given_does_not_say_where_the_server_is() {
        fn arguments(command: &clap::Command, found: &mut Vec<(String, String)>) {
            for argument in command.get_arguments().filter(|one| !one.is_global_set()) {
                let name = command.get_name().to_owned();
                found.push((name, argument.get_id().to_string()));
            }
            for below in command.get_subcommands() {
                arguments(below, found);
            }
        }
        let mut found = Vec::new();
        arguments(&Arguments::command(), &mut found);
        assert!(found.contains(&("add".to_owned(), "receiver".to_owned())));
        // Arguments of the same name would be one.
        for (command, argument) in found {
            let is_connection = ["url", "token", "ca", "data"].contains(&argument.as_str());
            assert!(!is_connection, "{command} {argument}");
        }
    }

    #[test]
    fn times_have_a_number_and_a_unit() {
        assert_eq!(duration("30d"), Ok(Duration::from_secs(2_592_000)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        for bad in ["", "d", "30", "-1d", "1.5h", "99999999w", "5µ"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
