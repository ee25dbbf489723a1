//! The closed loop: clients that each begin their next exchange when they have the answer to the
//! last one. What an exchange is, is told by [`http`] and [`handshakes`].

pub(crate) mod handshakes;
pub(crate) mod http;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::process::{Process, machine_cpu_time};

/// Pause after a client could not get ready, so that a dead server is no busy loop.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// After this many exchanges, whose bodies are kept if so wanted; nothing is warmed up.
    Count { requests: u64, keep: bool },
    /// After this time, and a tenth of it before to warm up.
    Time(Duration),
}

/// The server that a run is aimed at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The server's first process, unless it is unknown or elsewhere.
    pub(crate) process: Option<Process>,
    /// The first process of its database server, if it has one of its own here.
    pub(crate) database: Option<Process>,
}

/// What came out of a run.
#[derive(Debug, Default)]
pub(crate) struct Measurement {
    pub(crate) name: String,
    /// How long was measured.
    pub(crate) elapsed: Duration,
    /// Microseconds of each good answer, sorted.
    pub(crate) latencies: Vec<u32>,
    /// How often each kind of error happened, warming up included.
    pub(crate) errors: BTreeMap<String, u64>,
    /// CPU time of the server.
    pub(crate) server_cpu: Option<Duration>,
    /// CPU time of the database server.
    pub(crate) database_cpu: Option<Duration>,
    /// CPU time of the load generator.
    pub(crate) client_cpu: Duration,
    /// CPU time of everything else on the machine: with much of it, rates say little.
    pub(crate) other_cpu: Duration,
    /// Bodies of the answers, in the order of the requests, if they were to be kept.
    pub(crate) bodies: Vec<Bytes>,
    /// What clients noticed besides, such as what a handshake negotiated.
    pub(crate) remarks: BTreeSet<String>,
}

impl Measurement {
    /// Takes in what another run of the same kind measured.
    pub(crate) fn add(&mut self, other: Self) {
        self.elapsed += other.elapsed;
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        let sum = |a: Option<Duration>, b: Option<Duration>| Some(a? + b?);
        self.server_cpu = sum(self.server_cpu, other.server_cpu);
        self.database_cpu = sum(self.database_cpu, other.database_cpu);
        self.client_cpu += other.client_cpu;
        self.other_cpu += other.other_cpu;
        self.bodies.extend(other.bodies);
        self.remarks.extend(other.remarks);
    }

    /// Good answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// One of the many that a server has to do with.
pub(crate) trait Client: Send + 'static {
    /// Gets ready for the next exchange; its time does not count.
    fn prepare(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// Does the exchange with this number and tells what was answered, or what went wrong.
    fn exchange(&mut self, number: u64) -> impl Future<Output = Result<Bytes, String>> + Send;

    /// What it noticed.
    fn remarks(self) -> BTreeSet<String>;
}

/// Runs `clients`, which are called `name` in the report, against `target`.
///
/// # Errors
/// When the CPU time of a process cannot be read, which is when the server has ended.
async fn run<C: Client>(
    name: &str,
    target: Target,
    limit: Limit,
    clients: Vec<C>,
) -> anyhow::Result<Measurement> {
    let now = Instant::now();
    let (begin, end, count) = match limit {
        Limit::Count { requests, .. } => (now, None, requests),
        Limit::Time(time) => {
            let begin = now + (time / 10).min(Duration::from_secs(2));
            (begin, Some(begin + time), u64::MAX)
        }
    };
    let shared = Arc::new(Shared {
        name: name.to_owned(),
        begin,
        end,
        count,
        keep: matches!(limit, Limit::Count { keep: true, .. }),
        next: AtomicU64::new(0),
        answered: AtomicU64::new(0),
    });
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(turns(client, shared.clone()));
    }
    tokio::time::sleep_until(begin.into()).await;
    let before = Usage::read(target)?;
    let progress = Progress::start(&shared);
    if let Some(end) = end {
        tokio::time::sleep_until(end.into()).await;
    }
    // With a limit of time the clients are about to end now, with one of requests they go on.
    let at_end = end.is_some().then(|| Usage::read(target)).transpose()?;
    let outcomes = running.join_all().await;
    let elapsed = end.unwrap_or_else(Instant::now).duration_since(begin);
    progress.end();
    let used = match at_end {
        Some(usage) => usage,
        None => Usage::read(target)?,
    }
    .since(&before);

    let mut measurement = Measurement {
        name: name.to_owned(),
        elapsed,
        server_cpu: used.server,
        database_cpu: used.database,
        client_cpu: used.client,
        other_cpu: used.others(),
        ..Measurement::default()
    };
    let mut bodies = Vec::new();
    for outcome in outcomes {
        measurement.latencies.extend(outcome.latencies);
        measurement.remarks.extend(outcome.remarks);
        bodies.extend(outcome.bodies);
        for (kind, count) in outcome.errors {
            *measurement.errors.entry(kind).or_default() += count;
        }
    }
    measurement.latencies.sort_unstable();
    bodies.sort_unstable_by_key(|(number, _)| *number);
    measurement.bodies = bodies.into_iter().map(|(_, body)| body).collect();
    Ok(measurement)
}

struct Shared {
    name: String,
    begin: Instant,
    end: Option<Instant>,
    count: u64,
    keep: bool,
    next: AtomicU64,
    answered: AtomicU64,
}

#[derive(Default)]
struct Outcome {
    latencies: Vec<u32>,
    errors: BTreeMap<String, u64>,
    bodies: Vec<(u64, Bytes)>,
    remarks: BTreeSet<String>,
}

impl Outcome {
    fn fault(&mut self, kind: String) {
        *self.errors.entry(kind).or_default() += 1;
    }
}

async fn turns<C: Client>(mut client: C, shared: Arc<Shared>) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let over = shared.end.is_some_and(|end| Instant::now() >= end);
        if over || number >= shared.count {
            outcome.remarks = client.remarks();
            return outcome;
        }
        if let Err(kind) = client.prepare().await {
            outcome.fault(kind);
            tokio::time::sleep(RETRY_PAUSE).await;
            continue;
        }
        let started = Instant::now();
        let answer = client.exchange(number).await;
        let ended = Instant::now();
        match answer {
            Ok(body) => {
                shared.answered.fetch_add(1, Ordering::Relaxed);
                if started >= shared.begin && shared.end.is_none_or(|end| ended <= end) {
                    let micros = ended.duration_since(started).as_micros();
                    outcome
                        .latencies
                        .push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
                if shared.keep {
                    outcome.bodies.push((number, body));
                }
            }
            Err(kind) => outcome.fault(kind),
        }
    }
}

/// CPU time so far.
struct Usage {
    server: Option<Duration>,
    database: Option<Duration>,
    client: Duration,
    machine: Duration,
}

impl Usage {
    fn read(target: Target) -> anyhow::Result<Self> {
        Ok(Self {
            server: target.process.map(Process::family_cpu_time).transpose()?,
            database: target.database.map(Process::family_cpu_time).transpose()?,
            client: Process::own().cpu_time()?,
            machine: machine_cpu_time()?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        let difference =
            |now: Option<Duration>, then: Option<Duration>| Some(now?.saturating_sub(then?));
        Self {
            server: difference(self.server, before.server),
            database: difference(self.database, before.database),
            client: self.client.saturating_sub(before.client),
            machine: self.machine.saturating_sub(before.machine),
        }
    }

    /// What is not accounted for. Of a server that is not known it holds all.
    fn others(&self) -> Duration {
        let known = [self.server, self.database, Some(self.client)];
        let known: Duration = known.into_iter().flatten().sum();
        self.machine.saturating_sub(known)
    }
}

/// A line on the terminal that tells how far a run is; none when nobody looks.
struct Progress {
    bar: ProgressBar,
    ticking: tokio::task::JoinHandle<()>,
}

impl Progress {
    fn start(shared: &Arc<Shared>) -> Self {
        let bar = bar();
        let ticking = tokio::spawn(show(bar.clone(), shared.clone()));
        Self { bar, ticking }
    }

    fn end(self) {
        self.ticking.abort();
        self.bar.finish_and_clear();
    }
}

/// A line on the terminal for a message; hidden when nobody looks.
pub(crate) fn bar() -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

async fn show(bar: ProgressBar, shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(Duration::from_millis(200));
    let mut earlier = (Instant::now(), shared.answered.load(Ordering::Relaxed));
    let mut rate = 0.0;
    loop {
        interval.tick().await;
        let (now, answered) = (Instant::now(), shared.answered.load(Ordering::Relaxed));
        let passed = now.duration_since(earlier.0).as_secs_f64();
        if passed >= 0.9 {
            rate = (answered - earlier.1) as f64 / passed;
            earlier = (now, answered);
        }
        let far = match shared.end {
            Some(end) => format!("{:.0} s left", end.duration_since(now).as_secs_f64()),
            None => format!("of {}", shared.count),
        };
        let name = &shared.name;
        bar.set_message(format!("{name}: {answered} {far}, {rate:.0}/s"));
        bar.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_of_several_rounds_make_one() {
        let round = |latencies: &[u32], errors: u64| Measurement {
            elapsed: Duration::from_secs(1),
            latencies: latencies.to_vec(),
            errors: BTreeMap::from([("oh".to_owned(), errors)]),
            server_cpu: Some(Duration::from_millis(3)),
            ..Measurement::default()
        };
        let mut sum = round(&[1, 5], 1);
        sum.add(round(&[2, 3, 4, 9], 2));
        assert_eq!(sum.latencies, [1, 2, 3, 4, 5, 9]);
        assert_eq!(sum.errors.get("oh"), Some(&3));
        assert_eq!(sum.server_cpu, Some(Duration::from_millis(6)));
        assert!((sum.rate() - 3.0).abs() < 1e-9, "{}", sum.rate());
    }
}
