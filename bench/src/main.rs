//! Load generators that hold Chancery against the floors it stands on: the bare cryptography, a bare
//! HTTP server and a bare TLS server, and against other servers, measured on the same cores in the
//! same run.
//!
//! The load is a closed loop: each client sends its next request when it has the answer to the last
//! one. Load generator and server share the machine, so besides the rate every line gives the CPU
//! time that the server alone spent on a request.

mod arguments;
mod bare_tls;
mod database;
mod filling;
mod floors;
mod hello;
mod load;
mod material;
mod names;
mod peers;
mod process;
mod report;
mod scenario;
mod server;
mod standing;
mod tls;

use anyhow::Context as _;
use clap::Parser as _;

use arguments::{Arguments, Command, Form, Options};
use report::{Environment, Report};

fn main() -> anyhow::Result<()> {
    let Arguments {
        command,
        mut options,
    } = Arguments::parse();
    match &command {
        Some(Command::Hello { length, port }) => return hello::serve(*length, *port),
        Some(Command::BareTls(arguments)) => return bare_tls::serve(arguments),
        Some(Command::Handshake(_)) => options.is_elsewhere = true,
        // Servers can only be compared when they have the same cores to themselves.
        Some(Command::Edge(_)) => options.pin = true,
        _ => options.is_elsewhere = options.url.is_some(),
    }
    anyhow::ensure!(
        options.is_elsewhere || options.pid.is_none(),
        "--pid is for a server that runs already"
    );
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
        let measured = match &command {
            Command::Issue(issue) => one(scenario::issue::run(options, issue).await),
            Command::Ocsp(ocsp) => one(scenario::ocsp::run(options, ocsp).await),
            Command::Api(api) => one(scenario::api::run(options, api).await),
            Command::Handshake(handshake) => {
                one(scenario::handshake::run(options, handshake).await)
            }
            Command::Edge(edge) => scenario::edge::run(options, edge).await,
            Command::Hello { .. } | Command::BareTls(_) => continue,
        };
        let measured = measured.with_context(|| format!("cannot measure {}", command.name()))?;
        if options.form() == Form::Table {
            for report in &measured {
                print!("\n{}", report.table());
            }
        }
        reports.extend(measured);
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

fn one(report: anyhow::Result<Report>) -> anyhow::Result<Vec<Report>> {
    report.map(|report| vec![report])
}
