//! `chancery client …`

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ClientsCommand {
    /// Let a program ask people for tokens (OAuth 2)
    Add(ClientAdd),
    /// List the programs that may ask
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a program ask no more; the tokens that it has go on working
    Rm {
        /// Its name
        name: String,
    },
}

/// `chancery client add`
#[derive(Debug, Args)]
#[command(
    after_help = "People allow it at /oauth/authorize, and it gets its token at /oauth/token. Redirects are \
    compared to the letter. The client cx, Cloud 66's command line, is always there."
)]
pub(crate) struct ClientAdd {
    /// What it calls itself: the client_id
    pub(crate) name: String,
    /// Where people are sent back with a code; may repeat: https://…, http://127.0.0.1:…, or
    /// urn:ietf:wg:oauth:2.0:oob to show the code
    #[arg(long = "redirect", value_name = "URL", required = true)]
    pub(crate) redirects: Vec<String>,
    /// Print a secret that it has to show; without one, it has to send a code_challenge (PKCE)
    #[arg(long)]
    pub(crate) confidential: bool,
}
