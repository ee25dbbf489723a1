//! Load generators that hold Chancery against the floors it stands on: the bare cryptography and a
//! bare HTTP server, measured on the same cores in the same run.
//!
//! The load is a closed loop: each client sends its next request when it has the answer to the last
//! one. Load generator and server share the machine, so besides the rate every line gives the CPU
//! time that the server alone spent on a request.

mod arguments;
mod database;
mod floors;
mod hello;
mod load;
mod material;
mod process;
mod report;
mod scenario;
mod server;

use anyhow::Context as _;
use clap::Parser as _;

use arguments::{Arguments, Command, Form, Options};
use report::{Environment, Report};

fn main() -> anyhow::Result<()> {
    let Arguments { command, options } = Arguments::parse();
    if let Some(Command::Hello { length }) = command {
        return hello::serve(length);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.client_threads())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            outcome = run(command, &options) => outcome,
            // Leaving this way ends the programs that were started and removes their files.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                anyhow::bail!("interrupted")
            }
        }
    })
}

async fn run(command: Option<Command>, options: &Options) -> anyhow::Result<()> {
    let environment = Environment::read(options)?;
    if options.form() == Form::Table {
        print!("{environment}");
    }
    let mut reports = Vec::new();
    for command in command.map_or_else(Command::all, |command| vec![command]) {
        let report = match &command {
            Command::Issue(issue) => scenario::issue::run(options, issue).await,
            Command::Ocsp(ocsp) => scenario::ocsp::run(options, ocsp).await,
            Command::Api(api) => scenario::api::run(options, api).await,
            Command::Hello { .. } => continue,
        };
        let report = report.with_context(|| format!("cannot measure {}", command.name()))?;
        if options.form() == Form::Table {
            print!("\n{}", report.table());
        }
        reports.push(report);
    }
    match options.form() {
        Form::Table => {}
        Form::Markdown => print!("{}", report::markdown(&environment, &reports)),
        Form::Json => println!("{:#}", report::json(&environment, &reports)),
    }
    let errors: u64 = reports.iter().map(Report::errors).sum();
    anyhow::ensure!(
        errors == 0,
        "{errors} requests failed: the figures are not to be trusted"
    );
    Ok(())
}
