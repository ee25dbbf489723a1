//! `chancery webhook …`

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Have notices about certificates posted to a URL; prints the secret that they are signed with
    Add(WebhookAdd),
    /// List webhooks, without their secrets
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a webhook, with what was still to be posted there
    Rm {
        /// Its uuid
        uuid: String,
    },
    /// Post a notice that tells of nothing, and say what came of it
    Test {
        /// Its uuid
        uuid: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `chancery webhook add`
#[derive(Debug, Args)]
#[command(
    after_help = "Each notice carries X-Signature, the HMAC-SHA256 of its body under the \
    secret in hexadecimal, and X-Chancery-Delivery, which is the same when it is posted again. \
    Refuse what has a wrong signature or an old `timestamp`."
)]
pub(crate) struct WebhookAdd {
    /// Where notices are posted to
    // Not `url`: that is the server's.
    #[arg(value_name = "URL")]
    pub(crate) receiver: String,
    /// Only this kind of notice; may repeat: certificate.issued, certificate.renewed, certificate.uploaded,
    /// certificate.failed, certificate.expiring [default: all]
    #[arg(long = "event", value_name = "KIND")]
    pub(crate) events: Vec<String>,
    /// The vocabulary of the bodies: chancery or cloud66 [default: chancery]
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// The secret: itself, @FILE, or - for standard input [default: one is made]
    #[arg(long, env = "CHANCERY_WEBHOOK_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
    /// The account that it is for (administrators) [default: your own]
    #[arg(long)]
    pub(crate) account: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
