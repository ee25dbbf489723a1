//! The closed loop: clients on HTTP/1.1 connections of their own, each sending its next request when
//! it has the answer to the last one.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::{Process, machine_cpu_time};

/// Pause after a connection could not be made, so that a dead server is no busy loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// How much of an unexpected answer is part of the error's kind.
const SHOWN: usize = 120;

/// A request that is sent again and again.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Prepared {
    pub(crate) fn new(
        method: Method,
        target: &str,
        headers: &[(header::HeaderName, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Self> {
        let mut map = HeaderMap::new();
        // HTTP/1.1 demands a host; this server does not look at it.
        map.insert(header::HOST, HeaderValue::from_static("localhost"));
        for (name, value) in headers {
            map.insert(name.clone(), HeaderValue::from_str(value)?);
        }
        Ok(Self {
            method,
            target: target
                .parse()
                .with_context(|| format!("'{target}' is no target"))?,
            headers: map,
            body: body.into(),
        })
    }

    fn to_request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// What is sent, and what a good answer looks like.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// What the line is called in the report.
    pub(crate) name: String,
    /// Used in turn.
    pub(crate) requests: Vec<Prepared>,
    pub(crate) expected: StatusCode,
    /// Whether the body of an answer is what it should be.
    pub(crate) is_good: fn(&[u8]) -> bool,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// After this many requests, whose bodies are kept if so wanted; nothing is warmed up.
    Count { requests: u64, keep: bool },
    /// After this time, and a tenth of it before to warm up.
    Time(Duration),
}

/// The server that a run is aimed at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The server, unless it is unknown or elsewhere.
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
}

/// Runs `traffic` against `target` with `clients` connections.
///
/// # Errors
/// When the CPU time of a process cannot be read, which is when the server has ended.
pub(crate) async fn drive(
    target: Target,
    clients: u16,
    limit: Limit,
    traffic: Traffic,
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
        address: target.address,
        traffic,
        begin,
        end,
        count,
        keep: matches!(limit, Limit::Count { keep: true, .. }),
        next: AtomicU64::new(0),
        answered: AtomicU64::new(0),
    });
    let mut running = JoinSet::new();
    for _ in 0..clients {
        running.spawn(client(shared.clone()));
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
        name: shared.traffic.name.clone(),
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
    address: SocketAddr,
    traffic: Traffic,
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
}

impl Outcome {
    fn fault(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }
}

async fn client(shared: Arc<Shared>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = None;
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let over = shared.end.is_some_and(|end| Instant::now() >= end);
        let requests = &shared.traffic.requests;
        // The remainder is below the length, which fits.
        let at = (number % requests.len().max(1) as u64) as usize;
        let Some(prepared) = requests.get(at).filter(|_| !over && number < shared.count) else {
            return outcome;
        };
        let mut sender = match connection.take() {
            Some(sender) => sender,
            None => match connect(shared.address).await {
                Ok(sender) => sender,
                Err(error) => {
                    outcome.fault(format!("cannot connect: {error:#}"));
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    continue;
                }
            },
        };
        let started = Instant::now();
        let answer = exchange(&mut sender, prepared, &shared.traffic).await;
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
                connection = Some(sender);
            }
            Err(Fault::Connection(error)) => outcome.fault(format!("connection: {error}")),
            Err(Fault::Answer(kind)) => {
                outcome.fault(kind);
                connection = Some(sender);
            }
        }
    }
}

enum Fault {
    /// The connection is of no use any more.
    Connection(hyper::Error),
    /// The answer is not the expected one.
    Answer(String),
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    prepared: &Prepared,
    traffic: &Traffic,
) -> Result<Bytes, Fault> {
    sender.ready().await.map_err(Fault::Connection)?;
    let response = sender
        .send_request(prepared.to_request())
        .await
        .map_err(Fault::Connection)?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(Fault::Connection)?
        .to_bytes();
    if status == traffic.expected && (traffic.is_good)(&body) {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body);
    let shown: String = text.chars().take(SHOWN).collect();
    Err(Fault::Answer(format!(
        "{}: {}",
        status.as_u16(),
        shown.escape_debug()
    )))
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
            server: target.process.map(Process::cpu_time).transpose()?,
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
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let ticking = tokio::spawn(show(bar.clone(), shared.clone()));
        Self { bar, ticking }
    }

    fn end(self) {
        self.ticking.abort();
        self.bar.finish_and_clear();
    }
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
        let name = &shared.traffic.name;
        bar.set_message(format!("{name}: {answered} {far}, {rate:.0}/s"));
        bar.tick();
    }
}
