//! `chancery certmaker …`

use clap::Subcommand;

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
