//! `chancery deliver`: has the certificates of an account in a directory of this machine, for a TLS
//! server that reads them from there.
//!
//! It asks the server what is to be there and waits for changes, fetches what is missing, changes
//! the directory, runs the reload command, and says what came of it. The directory is all the memory
//! it has: killed at any moment, it goes on from there.

mod change;
mod directory;
mod reload;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::{Method, StatusCode};
use lifecycle::CertificateId;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use zeroize::Zeroizing;

use crate::arguments::Deliver;
use crate::client::{Client, Refusal};
use crate::output::safe;
use change::{Change, Plan, Saying, Site, Wanted, changes, sayings};
use directory::{Directory, Form, Held, Material, check_name};
use reload::Reload;

/// Shortest and longest pause after the server could not be reached.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Shortest and longest time after which something is tried again that was refused.
const RETRIES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// Between two changes of the files: a server that is told to reload reads them some time later, and
/// opens certificate and key one after the other.
const SETTLING: Duration = Duration::from_secs(1);
/// Seconds for which the server is asked to wait for a change.
const WAIT: u64 = 30;
/// After how long the services that were named are looked up again, since a service that is made anew
/// is another one: while nothing is wanted of them, and otherwise.
const LOOKUPS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Certificates that the server is told of at a time.
const PORTION: usize = 500;

/// Delivers until the process is told to end, or once.
pub(crate) async fn run(client: &Client, arguments: Deliver) -> anyhow::Result<()> {
    let form = if arguments.combined {
        Form::Combined
    } else {
        Form::Pair
    };
    let site = Site {
        directory: Directory::open(&arguments.directory, form)?,
        reload: arguments.reload.map(|command| Reload {
            command,
            patience: arguments.reload_timeout,
        }),
    };
    let deliverer = Deliverer {
        client,
        path: format!("targets/{}", crate::commands::segment(&arguments.target)),
        wants: if arguments.services.is_empty() {
            json!({})
        } else {
            json!({ "services": arguments.services })
        },
        site,
        refused: HashMap::new(),
        lookup: None,
        settled_at: Instant::now(),
        ending: ending()?,
    };
    deliverer.run(arguments.once).await
}

/// Says when the process is told to end.
fn ending() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, ending) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        // Waiting ends with the sender.
        sender.closed().await;
    });
    Ok(ending)
}

/// A change that was refused, and when it is tried again.
struct Retry {
    change: Change,
    pause: Duration,
    at: Instant,
}

/// When something is looked up again, and why it could not be the last time.
struct Lookup {
    at: Instant,
    refusal: Option<String>,
}

struct Deliverer<'a> {
    client: &'a Client,
    /// Path of the target in the API.
    path: String,
    /// What the target wants, as the API is told.
    wants: Value,
    site: Site,
    /// By name.
    refused: HashMap<String, Retry>,
    /// When the services are looked up again; never where none are named.
    lookup: Option<Lookup>,
    /// From when on files may change again.
    settled_at: Instant,
    ending: watch::Receiver<bool>,
}

/// What came of one plan.
struct Pass {
    /// How many changes did not succeed, of this pass or of those before.
    refused: usize,
}

impl Deliverer<'_> {
    async fn run(mut self, is_once: bool) -> anyhow::Result<()> {
        if let Some(reason) = self.site.recover().await? {
            say(&format!(
                "undid a change that was cut off, since with it {reason}"
            ));
        }
        if !self.register(true).await? {
            return Ok(());
        }
        let mut seen = None;
        let mut pause = PAUSES.0;
        while !self.is_ending() {
            let step = self.step(seen.as_deref(), is_once);
            match step.await {
                Ok(Some((tag, pass))) => {
                    pause = PAUSES.0;
                    seen = Some(tag);
                    if is_once {
                        if pass.refused > 0 {
                            bail!("{} could not be put in place", count(pass.refused));
                        }
                        return Ok(());
                    }
                }
                Ok(None) => break,
                Err(Trouble::Unknown) => {
                    // Somebody removed the target while it is in use.
                    seen = None;
                    if !self.register(false).await? {
                        break;
                    }
                }
                Err(Trouble::Passing(error)) if is_once => return Err(error),
                Err(Trouble::Passing(error)) => {
                    say(&format!("{error:#}; trying again"));
                    seen = None;
                    if !self.rest(&mut pause).await {
                        break;
                    }
                }
            }
        }
        say("ended");
        Ok(())
    }

    /// Makes the target known. Whether it is; if not, the process is to end. What the server refuses
    /// `at_first` is refused for good.
    async fn register(&mut self, at_first: bool) -> anyhow::Result<bool> {
        let mut pause = PAUSES.0;
        loop {
            let (client, path) = (self.client, self.path.clone());
            let wants = self.wants.clone();
            let answer = client.call(Method::PUT, &path, Some(&wants));
            let Some(answer) = self.unless_ending(answer).await else {
                return Ok(false);
            };
            match answer {
                Ok(Ok(target)) => {
                    self.own(&target, at_first)?;
                    if self.wants.get("services").is_some() {
                        self.lookup = Some(Lookup {
                            at: Instant::now() + LOOKUPS.0,
                            refusal: None,
                        });
                    }
                    say(&format!("delivering from {}", client.url()));
                    return Ok(true);
                }
                Ok(Err(refusal)) if at_first && refusal.status.is_client_error() => {
                    return Err(explained(&refusal));
                }
                Ok(Err(refusal)) => say(&format!("{}; trying again", refusal.detail)),
                Err(error) => say(&format!("{error:#}; trying again")),
            }
            if !self.rest(&mut pause).await {
                return Ok(false);
            }
        }
    }

    /// Makes sure that the directory is this target's: what others have put there would be taken
    /// away. A target that was removed while it is in use has the same directory afterwards.
    fn own(&self, target: &Value, at_first: bool) -> anyhow::Result<()> {
        let directory = &self.site.directory;
        let target = member(target, "uuid").context("the server's answer cannot be read")?;
        let file = directory.target_file();
        let owner = directory.target();
        let owner = owner.with_context(|| format!("cannot read {}", file.display()))?;
        if owner.as_deref() == Some(target) {
            return Ok(());
        }
        if at_first && owner.is_some() {
            bail!(
                "this directory was filled for another target than the one that the server has by \
                 this name now; give each target a directory of its own, or, if this one is to be \
                 taken over with all that is in it, remove {} first",
                file.display()
            );
        }
        // On a full disk, the directory is nobody's a while longer.
        if let Err(error) = directory.keep_target(target) {
            say(&format!("cannot write {}: {error}", file.display()));
        }
        Ok(())
    }

    /// Has the server look the services up again that the target wants, if it is time. What it
    /// refuses is told once, and nothing changes then.
    async fn look_up(&mut self) -> Result<(), Trouble> {
        let Some(lookup) = &mut self.lookup else {
            return Ok(());
        };
        let now = Instant::now();
        if now < lookup.at {
            return Ok(());
        }
        lookup.at = now + LOOKUPS.1;
        let (client, path, wants) = (self.client, self.path.clone(), self.wants.clone());
        let asked = client.call(Method::PUT, &path, Some(&wants));
        let Some(answer) = self.unless_ending(asked).await else {
            return Ok(());
        };
        let refusal = answer?.err().map(|refusal| refusal.detail);
        if let Some(lookup) = &mut self.lookup
            && lookup.refusal != refusal
        {
            if let Some(refusal) = &refusal {
                say(&format!("{refusal}; going on with what is known"));
            }
            lookup.refusal = refusal;
        }
        Ok(())
    }

    /// Asks for the plan, carries it out, and says what came of it. `None` when the process is to
    /// end meanwhile.
    async fn step(
        &mut self,
        seen: Option<&str>,
        is_once: bool,
    ) -> Result<Option<(String, Pass)>, Trouble> {
        if !is_once {
            self.look_up().await?;
        }
        let wait = if is_once { 0 } else { self.patience() };
        let mut path = format!("{}/plan?wait={wait}", self.path);
        if let Some(seen) = seen {
            path.push_str("&seen=");
            path.push_str(seen);
        }
        let client = self.client;
        let asked = client.call(Method::GET, &path, None);
        let Some(answer) = self.unless_ending(asked).await else {
            return Ok(None);
        };
        let answer = answer?.map_err(|refusal| match refusal.status {
            StatusCode::NOT_FOUND => Trouble::Unknown,
            _ => Trouble::Passing(explained(&refusal)),
        })?;
        let plan = read_plan(&answer).context("the server's plan cannot be read")?;
        if let Some(lookup) = &mut self.lookup
            && plan.place.is_empty()
        {
            lookup.at = lookup.at.min(Instant::now() + LOOKUPS.0);
        }
        let pass = self.carry_out(&plan).await?;
        Ok(pass.map(|pass| (plan.tag, pass)))
    }

    /// `None` when the process is to end meanwhile.
    async fn carry_out(&mut self, plan: &Plan) -> Result<Option<Pass>, Trouble> {
        let local = |error: std::io::Error| {
            Trouble::Passing(anyhow!(error).context("the directory cannot be read or changed"))
        };
        let before = self.site.directory.held().map_err(local)?;
        let now = Instant::now();
        let due: Vec<Change> = changes(plan, &before)
            .into_iter()
            .filter(|change| !self.waits(change, now))
            .collect();
        let mut failed: Vec<(Change, String)> = Vec::new();
        let mut ready = Vec::new();
        let mut news = 0;
        for change in due {
            match self.fetch(&change).await? {
                Fetched::Ready => ready.push(change),
                // The next plan will not have it.
                Fetched::Gone => self.put_off(change),
                Fetched::Failed(reason) => failed.push((change, reason)),
                Fetched::Ending => return Ok(None),
            }
        }
        if !ready.is_empty() {
            let (settled_at, has_command) = (self.settled_at, self.site.reload.is_some());
            if has_command && self.unless_ending(sleep_until(settled_at)).await.is_none() {
                return Ok(None);
            }
            let ending = self.ending.clone();
            let made = self.site.make(ready, || *ending.borrow()).await;
            self.settled_at = Instant::now() + SETTLING;
            for (change, outcome) in made.map_err(local)? {
                match outcome {
                    Ok(()) => {
                        news += 1;
                        self.refused.remove(&change.name);
                        tell_of(&change);
                    }
                    Err(reason) => failed.push((change, reason)),
                }
            }
        }
        for (change, reason) in &failed {
            say(&format!("{}: {}", safe(&change.name), safe(reason)));
            self.put_off(change.clone());
        }
        // What is refused stays for the next attempt: each key that is fetched is an event.
        let kept = plan.place.iter().map(|wanted| wanted.held);
        self.site.directory.sweep(kept).map_err(local)?;
        let there = self.site.directory.held().map_err(local)?;
        let said = sayings(plan, &before, &there, &failed);
        if news > 0 {
            say(&format!("{} in place", count(there.len())));
        }
        self.acknowledge(said).await?;
        // What is no longer asked for is no longer refused.
        let open: Vec<Change> = changes(plan, &there);
        self.refused.retain(|_, retry| open.contains(&retry.change));
        Ok(Some(Pass {
            refused: self.refused.len(),
        }))
    }

    /// Has the files of a version stored, if a change needs them.
    async fn fetch(&mut self, change: &Change) -> Result<Fetched, Trouble> {
        let Some(to) = change.to else {
            return Ok(Fetched::Ready);
        };
        if let Err(error) = check_name(&change.name) {
            return Ok(Fetched::Failed(error.to_string()));
        }
        if self.site.directory.has(to) {
            return Ok(Fetched::Ready);
        }
        let path = format!("{}/certificates/{}", self.path, to.certificate);
        let client = self.client;
        let asked = client.call(Method::GET, &path, None);
        let Some(answer) = self.unless_ending(asked).await else {
            return Ok(Fetched::Ending);
        };
        let answer = match answer? {
            Ok(answer) => answer,
            Err(refusal) => match refusal.status {
                StatusCode::NOT_FOUND => return Ok(Fetched::Gone),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(Trouble::Passing(explained(&refusal)));
                }
                // It may be this certificate alone.
                _ => {
                    return Ok(Fetched::Failed(format!(
                        "the server does not give it out: {}",
                        refusal.detail
                    )));
                }
            },
        };
        let material = match read_material(answer) {
            Ok(material) => material,
            Err(error) => {
                return Ok(Fetched::Failed(format!(
                    "the server's answer cannot be read: {error:#}"
                )));
            }
        };
        if material.held != to {
            // A newer version has come since; so will a newer plan.
            return Ok(Fetched::Gone);
        }
        Ok(match self.site.directory.store(&material) {
            Ok(()) => Fetched::Ready,
            Err(error) => Fetched::Failed(error.to_string()),
        })
    }

    async fn acknowledge(&self, said: Vec<(CertificateId, Saying)>) -> Result<(), Trouble> {
        let path = format!("{}/placements", self.path);
        for portion in said.chunks(PORTION) {
            let placements: Vec<Value> = portion.iter().map(saying).collect();
            let body = json!({ "placements": placements });
            let answer = self.client.call(Method::POST, &path, Some(&body)).await?;
            answer.map_err(|refusal| match refusal.status {
                StatusCode::NOT_FOUND => Trouble::Unknown,
                _ => Trouble::Passing(explained(&refusal)),
            })?;
        }
        Ok(())
    }

    /// Whether a change was refused and its time has not come.
    fn waits(&self, change: &Change, now: Instant) -> bool {
        let retry = self.refused.get(&change.name);
        retry.is_some_and(|retry| retry.change == *change && now < retry.at)
    }

    fn put_off(&mut self, change: Change) {
        let before = self.refused.get(&change.name);
        let before = before.filter(|retry| retry.change == change);
        let pause = before.map_or(RETRIES.0, |retry| (retry.pause * 2).min(RETRIES.1));
        let at = Instant::now() + pause;
        let name = change.name.clone();
        self.refused.insert(name, Retry { change, pause, at });
    }

    /// Seconds until something is to be tried or looked up again, but not more than the server waits.
    fn patience(&self) -> u64 {
        let now = Instant::now();
        let retries = self.refused.values().map(|retry| retry.at);
        let lookup = self.lookup.iter().map(|lookup| lookup.at);
        let next = retries.chain(lookup).min();
        let seconds = next.map(|next| next.saturating_duration_since(now).as_secs() + 1);
        seconds.map_or(WAIT, |seconds| seconds.min(WAIT))
    }

    /// Waits before the server is asked again, longer each time and not as long as others do.
    /// Whether the process goes on.
    async fn rest(&mut self, pause: &mut Duration) -> bool {
        let spread = RandomState::new().hash_one(0) % 500;
        let this = pause.mul_f64(1.0 - f64::from(u16::try_from(spread).unwrap_or(0)) / 1000.0);
        *pause = (*pause * 2).min(PAUSES.1);
        self.unless_ending(sleep(this)).await.is_some()
    }

    fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// What comes of something that may be given up at any moment; `None` when the process ends
    /// first.
    async fn unless_ending<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let ending = &mut self.ending;
        tokio::select! {
            biased;
            _ = ending.wait_for(|is_ending| *is_ending) => None,
            done = work => Some(done),
        }
    }
}

/// What came of fetching the files for a change.
enum Fetched {
    /// The process is to end.
    Ending,
    Failed(String),
    Gone,
    Ready,
}

/// Why a step was not done.
enum Trouble {
    /// It may be better later.
    Passing(anyhow::Error),
    /// The server does not know the target.
    Unknown,
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Passing(error)
    }
}

fn explained(refusal: &Refusal) -> anyhow::Error {
    let advice = match refusal.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; make a token for it with: chancery token create --deliver"
        }
        _ => "",
    };
    anyhow!("{}{advice}", refusal.detail)
}

fn read_plan(answer: &Value) -> anyhow::Result<Plan> {
    // What is left out is not nothing: everything would be taken away.
    let list = |key| {
        let list = answer.get(key).and_then(Value::as_array);
        list.with_context(|| format!("it has no {key}"))
    };
    let place = list("place")?.iter().map(|wanted| {
        Ok(Wanted {
            name: member(wanted, "name")?.to_owned(),
            held: read_held(wanted)?,
            is_acknowledged: wanted.get("acknowledged") == Some(&Value::Bool(true)),
        })
    });
    let remove = list("remove")?
        .iter()
        .map(|unwanted| Ok(member(unwanted, "certificate")?.parse()?));
    Ok(Plan {
        tag: member(answer, "tag")?.to_owned(),
        place: place.collect::<anyhow::Result<_>>()?,
        remove: remove.collect::<anyhow::Result<_>>()?,
    })
}

fn read_material(mut answer: Value) -> anyhow::Result<Material> {
    let held = read_held(&answer)?;
    let chain = member(&answer, "chain")?.to_owned();
    let key = match answer.get_mut("private_key").map(Value::take) {
        Some(Value::String(key)) => Zeroizing::new(key),
        _ => bail!("it has no private_key"),
    };
    Ok(Material { held, chain, key })
}

fn read_held(value: &Value) -> anyhow::Result<Held> {
    Ok(Held {
        certificate: member(value, "certificate")?.parse()?,
        version: member(value, "version")?.parse()?,
    })
}

fn member<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    let text = value.get(key).and_then(Value::as_str);
    text.with_context(|| format!("it has no {key}"))
}

fn saying((certificate, saying): &(CertificateId, Saying)) -> Value {
    let certificate = certificate.to_string();
    match saying {
        Saying::Placed(version) => json!({
            "certificate": certificate,
            "outcome": "placed",
            "version": version.to_string(),
        }),
        Saying::Refused(version, reason) => json!({
            "certificate": certificate,
            "outcome": "refused",
            "version": version.map(|version| version.to_string()),
            "reason": reason,
        }),
        Saying::Removed => json!({ "certificate": certificate, "outcome": "removed" }),
    }
}

fn tell_of(change: &Change) {
    let name = safe(&change.name);
    match change.to {
        Some(to) => say(&format!("{name}: version {} is in place", to.version)),
        None => say(&format!("{name}: taken away")),
    }
}

fn count(number: usize) -> String {
    match number {
        1 => "1 certificate".to_owned(),
        number => format!("{number} certificates"),
    }
}

/// To people and logs; stdout is for nothing here.
fn say(text: &str) {
    eprintln!("deliver: {text}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::arguments::Connection;

    const VERSION: &str = "0190163d-8694-739b-aea5-966c26f8ad01";

    /// A server that has one certificate and fails with others; what it is asked for last, it never
    /// answers.
    async fn serve(listener: TcpListener, good: CertificateId, silent: CertificateId) {
        let good = good.to_string();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                if connection.read_buf(&mut asked).await.unwrap() == 0 {
                    break;
                }
            }
            let asked = String::from_utf8_lossy(&asked).into_owned();
            let path = asked.split(' ').nth(1).unwrap_or_default();
            if path.ends_with(&silent.to_string()) {
                std::future::pending::<()>().await;
            }
            let (status, body) = if path.ends_with("/placements") {
                (200, json!({}))
            } else if path.ends_with(&good) {
                let answer = json!({
                    "certificate": good,
                    "version": VERSION,
                    "chain": "chain\n",
                    "private_key": "key\n",
                });
                (200, answer)
            } else {
                (500, json!({ "detail": "this one is broken" }))
            };
            let body = body.to_string();
            let answer = format!(
                "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn wanted(name: &str, certificate: CertificateId) -> Wanted {
        Wanted {
            name: name.to_owned(),
            held: Held {
                certificate,
                version: VERSION.parse().unwrap(),
            },
            is_acknowledged: false,
        }
    }

    #[tokio::test]
    async fn what_the_server_does_not_give_out_keeps_neither_others_nor_the_end_back() {
        let ids = [1, 2, 3].map(|number| CertificateId::from_random([number; 16]));
        let [broken, good, silent] = ids;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, good, silent));
        let client = Client::connect(&Connection {
            url: Some(format!("http://{address}")),
            token: Some("token".to_owned()),
            ca: None,
            data: None,
        });
        let client = client.unwrap();
        let root = tempfile::tempdir().unwrap();
        let (end, ending) = watch::channel(false);
        let mut deliverer = Deliverer {
            client: &client,
            path: "targets/web".to_owned(),
            wants: json!({}),
            site: Site {
                directory: Directory::open(root.path(), Form::Pair).unwrap(),
                reload: None,
            },
            refused: HashMap::new(),
            lookup: None,
            settled_at: Instant::now(),
            ending,
        };
        let mut plan = Plan {
            tag: "a".to_owned(),
            place: vec![wanted("broken", broken), wanted("good", good)],
            remove: Vec::new(),
        };
        let pass = deliverer.carry_out(&plan).await.ok().flatten().unwrap();
        assert_eq!(pass.refused, 1);
        assert!(root.path().join("good.key").exists());
        assert!(deliverer.refused.contains_key("broken"));

        plan.place.push(wanted("silent", silent));
        let (ended, ()) = tokio::join!(deliverer.carry_out(&plan), async {
            end.send_replace(true);
        });
        assert!(matches!(ended, Ok(None)));
    }

    #[test]
    fn an_answer_that_lacks_a_list_does_not_ask_for_nothing() {
        let whole = json!({ "tag": "a", "place": [], "remove": [] });
        read_plan(&whole).unwrap();
        for broken in [
            json!({ "tag": "a" }),
            json!({ "tag": "a", "place": [] }),
            json!({ "tag": "a", "remove": [] }),
            json!({ "tag": "a", "place": null, "remove": [] }),
            json!({ "tag": "a", "place": {}, "remove": [] }),
        ] {
            read_plan(&broken).unwrap_err();
        }
    }
}
