//! The machine, and the way it was used.

use std::fmt;

use serde_json::{Value, json};

use crate::arguments::Options;

/// The machine and the way it was used.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    cores: usize,
    processor: String,
    kernel: String,
    /// Mean length of the run queue in the last minute, before anything was measured.
    load_average: String,
    clients: u16,
    seconds: f64,
    database: String,
    sharing: String,
}

impl Environment {
    /// Looks at the machine.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn read(options: &Options) -> anyhow::Result<Self> {
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sharing = match options.pinned() {
            _ if options.is_elsewhere => "the server was running already".to_owned(),
            Some((server, client)) => {
                format!("the server has cores {server}, the load generator cores {client}")
            }
            None => "load generator and server share all cores".to_owned(),
        };
        Ok(Self {
            cores,
            processor: processor.to_owned(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            load_average: load.split(' ').next().unwrap_or("?").to_owned(),
            clients: options.clients,
            seconds: options.measured().as_secs_f64(),
            database: options.database_shown(),
            sharing,
        })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "cores": self.cores,
            "processor": self.processor,
            "kernel": self.kernel,
            "load_average": self.load_average,
            "clients": self.clients,
            "seconds": self.seconds,
            "database": self.database,
            "sharing": self.sharing,
        })
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cores,
            processor,
            kernel,
            load_average,
            clients,
            seconds,
            database,
            sharing,
        } = self;
        writeln!(
            formatter,
            "{cores} cores ({processor}), Linux {kernel}, load average before: {load_average}"
        )?;
        writeln!(
            formatter,
            "{clients} clients, {seconds} s each, database: {database}; {sharing}"
        )
    }
}
