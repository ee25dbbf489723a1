//! `chancery service …`

use clap::{Args, Subcommand};

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
