//! `chancery`: one binary that looks after every TLS certificate of a platform.
//!
//! This crate is the outside of the house: command line, configuration, wiring, telemetry. Thin.

mod arguments;
mod client;
mod commands;
mod configuration;
mod deliver;
mod edge_listeners;
mod furnishings;
mod listener_certificate;
mod network;
mod output;
mod secrets;
mod serve;
mod settings;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

/// Stack of each worker, in octets. An unoptimised build takes more than the usual 2 MiB to serve what
/// goes through many parts of the house.
const STACK: usize = 8 * 1024 * 1024;

/// Exit status of a faulty command line or configuration; clap uses the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> ExitCode {
    let result = match arguments.command {
        Command::Serve(mut flags) => {
            flags.data = arguments.connection.data;
            let configuration = match configuration::Configuration::gather(*flags) {
                Ok(configuration) => configuration,
                Err(faults) => {
                    eprintln!("error: the configuration has faults:");
                    for fault in faults {
                        eprintln!("  {fault}");
                    }
                    return ExitCode::from(USAGE);
                }
            };
            telemetry::start(&configuration);
            serve::serve(configuration).await
        }
        Command::Client(command) => commands::run(command, &arguments.connection).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
