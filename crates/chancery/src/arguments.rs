//! The command line. Every flag has an environment variable `CHANCERY_<FLAG>`.

mod audit;
mod authorities;
mod clients;
mod dns;
mod issuers;
mod policies;
mod targets;
mod webhooks;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use audit::{AuditCommand, AuditLs, AuditVerify};
pub(crate) use authorities::{AuthorityCommand, AuthorityCreate, AuthorityImport, ExportRoot};
pub(crate) use clients::ClientsCommand;
pub(crate) use dns::{DnsAdd, DnsCommand};
pub(crate) use issuers::{IssuerAdd, IssuerCommand};
pub(crate) use policies::{PolicyCommand, PolicySet};
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

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Serve domains over HTTPS and forward their requests; waits up to 30 s for the certificates
    Create(ServiceCreate),
    /// List services
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a service, and how to try it
    Show {
        /// Name or uuid
        #[arg(value_name = "REF")]
        reference: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a service with its instances; its certificates stay
    Rm {
        /// Name or uuid
        #[arg(value_name = "REF")]
        reference: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `chancery service create`
#[derive(Debug, Args)]
pub(crate) struct ServiceCreate {
    /// Domains; a single label is a subdomain of the metro domain [default: one is chosen there]
    #[arg(value_name = "DOMAIN")]
    pub(crate) domains: Vec<String>,
    /// Where requests go, without TLS, such as 127.0.0.1:8080; may repeat, all with the same port
    #[arg(long = "upstream", required = true, value_name = "HOST:PORT")]
    pub(crate) upstreams: Vec<String>,
    /// Name of the service [default: chosen]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Name or uuid of the certificate [default: the best that covers each domain, else a new one]
    #[arg(long, value_name = "REF")]
    pub(crate) certificate: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum CertMakerCommand {
    /// Show what is switched on
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Switch on and off, on all nodes, until the next change: http01, dns01, csr, simple_request
    Set {
        /// SWITCH=on, SWITCH=off, or SWITCH=default for what the configuration says
        #[arg(required = true, value_name = "SWITCH=VALUE", value_parser = assignment)]
        switches: Vec<(String, String)>,
    },
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() || !["on", "off", "default"].contains(&value) {
        return Err(format!("'{text}' is not such as http01=on"));
    }
    Ok((name.to_owned(), value.to_owned()))
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

    /// What commands take must not be mistaken for what reaches the server.
    #[test]
    fn no_argument_of_a_command_has_the_name_of_a_global_one() {
        fn look(command: &clap::Command, globals: &[&str]) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let is_taken = globals.contains(&id) && !argument.is_global_set();
                assert!(!is_taken, "{id} of {}", command.get_name());
            }
            for command in command.get_subcommands() {
                look(command, globals);
            }
        }
        for command in Arguments::command().get_subcommands() {
            look(command, &["url", "token", "ca", "data"]);
        }
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
