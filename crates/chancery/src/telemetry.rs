//! Logs go to stderr; stdout belongs to the ready line.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::configuration::{Configuration, LogFormat};

/// Starts logging as configured. A filter that cannot be read is replaced by `info`, and said.
pub(crate) fn start(configuration: &Configuration) {
    let (filter, fault) = match EnvFilter::try_new(&configuration.log) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match configuration.log_format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init(),
    }
    if let Some(error) = fault {
        tracing::warn!(%error, filter = configuration.log, "log filter not understood; using info");
    }
}
