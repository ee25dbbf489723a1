//! Knot DNS: the server that has the zones of a test at first hand, and lets them be changed by
//! RFC 2136.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::process::{self, Output};
use crate::{Watch, Workdir, free_port};

/// How often another port is tried when somebody else was quicker to take the free one.
const ATTEMPTS: u32 = 5;

/// The key that may change the zones that are [`Zone::updatable`].
const KEY: &str = "chancery";
/// The key of the test itself, which may change and read all.
const OWN_KEY: &str = "test";
const ALGORITHM: &str = "hmac-sha256";

/// A zone for a test.
///
/// It has an SOA and an NS record to begin with, and everything in it has the address 127.0.0.1: a
/// wildcard says so. As in all of DNS, the wildcard does not speak for names that exist, and a
/// record at `_acme-challenge.a.example.com` makes `a.example.com` exist.
#[derive(Clone, Debug)]
pub struct Zone {
    apex: String,
    records: Vec<String>,
    is_updatable: bool,
    is_broken: bool,
}

impl Zone {
    /// The zone of this name, without final dot.
    #[must_use]
    pub fn new(apex: &str) -> Self {
        Self {
            apex: apex.to_owned(),
            records: vec!["@ A 127.0.0.1".to_owned(), "* A 127.0.0.1".to_owned()],
            is_updatable: false,
            is_broken: false,
        }
    }

    /// Adds a record as a zone file has it, names relative to the zone, such as `www CNAME a`.
    #[must_use]
    pub fn record(mut self, record: &str) -> Self {
        self.records.push(record.to_owned());
        self
    }

    /// Gives no name in it an address, but those of records that follow.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.records.clear();
        self
    }

    /// Lets who has the key of [`Knot::credentials`] change it.
    #[must_use]
    pub fn updatable(mut self) -> Self {
        self.is_updatable = true;
        self
    }

    /// Has the server fail at every question about it (SERVFAIL).
    #[must_use]
    pub fn broken(mut self) -> Self {
        self.is_broken = true;
        self
    }

    /// Says where another zone is.
    fn delegate(self, other: &Self) -> Self {
        let Self { apex, .. } = other;
        self.record(&format!("{apex} NS ns.{apex}"))
            .record(&format!("ns.{apex} A 127.0.0.1"))
    }

    fn file(&self) -> String {
        let mut file = String::from("$TTL 1\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\n");
        file.push_str("ns A 127.0.0.1\n");
        for record in &self.records {
            let _ = writeln!(file, "{record}");
        }
        file
    }
}

/// A running server on a free port of 127.0.0.1, for UDP and TCP; killed when dropped. Names outside
/// its zones do not exist.
pub struct Knot {
    daemon: Daemon,
    port: u16,
    secret: String,
    own_secret: String,
    environment: Environment,
    _workdir: Workdir,
}

/// What it and its clients are started with.
type Environment = Vec<(&'static str, String)>;

impl Knot {
    /// Starts a server that has these zones.
    ///
    /// # Panics
    ///
    /// Shows its log when it does not start, as with a zone that it cannot read.
    #[must_use]
    #[track_caller]
    pub fn start(zones: &[Zone]) -> Self {
        Self::start_with(zones, Environment::new())
    }

    /// The same, going by a watch: signatures of updates are good for minutes.
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    #[must_use]
    #[track_caller]
    pub fn start_by(watch: &Watch, zones: &[Zone]) -> Self {
        Self::start_with(zones, watch.environment().into())
    }

    #[track_caller]
    fn start_with(zones: &[Zone], environment: Environment) -> Self {
        let workdir = Workdir::new();
        let (secret, own_secret) = (new_secret(), new_secret());
        let root = zones.iter().fold(Zone::new("").bare(), Zone::delegate);
        let zones = [&[root], zones].concat();
        for zone in zones.iter().filter(|zone| !zone.is_broken) {
            workdir.write(&format!("zones/{}.zone", zone.apex), zone.file());
        }
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let configuration = configuration(&workdir, port, &secret, &own_secret, &zones);
            let mut command = serve(&workdir, &configuration);
            command.envs(environment.iter().cloned());
            match Daemon::start("knotd", command, "server started") {
                // Knot goes on without an address that is taken.
                Ok(daemon) if !daemon.log().contains("cannot bind") => {
                    let knot = Self {
                        daemon,
                        port,
                        secret,
                        own_secret,
                        environment,
                        _workdir: workdir,
                    };
                    for zone in zones.iter().filter(|zone| !zone.is_broken) {
                        knot.expect_loaded(zone);
                    }
                    return knot;
                }
                Ok(_) => {}
                Err(log) => panic!("Knot DNS does not start:\n{log}"),
            }
        }
        panic!("found no free port for Knot DNS in {ATTEMPTS} attempts");
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What a client of RFC 2136 has to be told: `server`, `port`, and of the key (TSIG) its
    /// `name`, `secret` and `algorithm`.
    #[must_use]
    pub fn credentials(&self) -> Value {
        json!({ "server": "127.0.0.1", "port": self.port.to_string(), "name": KEY,
                "secret": self.secret, "algorithm": ALGORITHM })
    }

    /// Adds a record to a zone, its name in full, such as `example.com. 1 CAA 0 issue ";"`.
    #[track_caller]
    pub fn add(&self, zone: &str, record: &str) {
        self.update(zone, &format!("add {record}"));
    }

    /// Takes records from a zone: all of a name, or those of a type, or one, such as
    /// `example.com. CAA`.
    #[track_caller]
    pub fn remove(&self, zone: &str, record: &str) {
        self.update(zone, &format!("del {record}"));
    }

    /// All records of a zone, each as a line, as a transfer (AXFR) shows them.
    #[must_use]
    #[track_caller]
    pub fn records(&self, zone: &str) -> Vec<String> {
        let key = format!("{ALGORITHM}:{OWN_KEY}:{}", self.own_secret);
        let output = self.dig(&["-y", &key, zone, "AXFR", "+noall", "+answer"]);
        let text = output.text();
        let lines = text.lines().filter(|line| !line.starts_with(';'));
        // The SOA begins the transfer and ends it.
        let mut lines: Vec<String> = lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        assert!(lines.len() > 1, "no transfer of {zone}: {output:?}");
        lines.pop();
        lines
    }

    /// The TXT records of a zone, each as a line with its name.
    #[must_use]
    #[track_caller]
    pub fn texts(&self, zone: &str) -> Vec<String> {
        let mut records = self.records(zone);
        records.retain(|record| record.split_whitespace().any(|word| word == "TXT"));
        records
    }

    /// All that it has said since its start, changes of zones among it.
    #[must_use]
    pub fn logs(&self) -> String {
        self.daemon.log()
    }

    #[track_caller]
    fn expect_loaded(&self, zone: &Zone) {
        let log = self.logs();
        let loaded = format!("[{}.] loaded", zone.apex);
        assert!(log.contains(&loaded), "zone {} is bad:\n{log}", zone.apex);
    }

    #[track_caller]
    fn update(&self, zone: &str, change: &str) {
        let mut command = Command::new("knsupdate");
        command.envs(self.environment.iter().cloned());
        command.args(["-y", &format!("{ALGORITHM}:{OWN_KEY}:{}", self.own_secret)]);
        let script = format!(
            "server 127.0.0.1 {}\nzone {zone}.\nupdate {change}\nsend\n",
            self.port
        );
        let output = process::finish(command, script.as_bytes());
        assert!(output.status.success(), "{change}: {output:?}");
    }

    #[track_caller]
    fn dig(&self, arguments: &[&str]) -> Output {
        let port = self.port.to_string();
        let server = ["@127.0.0.1", "-p", &port];
        let mut command = Command::new("kdig");
        command.envs(self.environment.iter().cloned());
        command.args(server).args(arguments);
        process::finish(command, b"")
    }
}

fn new_secret() -> String {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).expect("the system has randomness");
    STANDARD.encode(bytes)
}

fn serve(workdir: &Workdir, configuration: &str) -> Command {
    let mut command = Command::new("knotd");
    // Debian has it where only administrators look.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    command.args(["--config", &workdir.write("knot.conf", configuration)]);
    command
}

fn configuration(
    workdir: &Workdir,
    port: u16,
    secret: &str,
    own_secret: &str,
    zones: &[Zone],
) -> String {
    let directory = workdir.root().display();
    let mut text = format!(
        "server:
    rundir: \"{directory}\"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: \"{directory}\"
key:
  - id: {KEY}
    algorithm: {ALGORITHM}
    secret: {secret}
  - id: {OWN_KEY}
    algorithm: {ALGORITHM}
    secret: {own_secret}
acl:
  - id: owner
    key: {KEY}
    action: update
  - id: test
    key: {OWN_KEY}
    action: [update, transfer]
template:
  - id: default
    storage: \"{directory}/zones\"
    file: \"%s.zone\"
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
"
    );
    for zone in zones {
        let access = if zone.is_updatable {
            "[test, owner]"
        } else {
            "test"
        };
        let Zone { apex, .. } = zone;
        let _ = writeln!(
            text,
            "  - domain: \"{apex}.\"\n    file: \"{apex}.zone\"\n    acl: {access}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(knot: &Knot, name: &str, kind: &str) -> String {
        knot.dig(&[name, kind, "+noall", "+header", "+answer"])
            .text()
    }

    #[test]
    fn every_name_of_a_zone_has_an_address_and_others_do_not_exist() {
        let knot = Knot::start(&[
            Zone::new("example.com").record("off A 127.0.0.9"),
            Zone::new("bare.test").bare(),
            Zone::new("broken.test").broken(),
        ]);
        assert!(answers(&knot, "a.example.com", "A").contains("127.0.0.1"));
        assert!(answers(&knot, "off.example.com", "A").contains("127.0.0.9"));
        assert!(answers(&knot, "ns.bare.test", "A").contains("127.0.0.1"));
        for (name, status) in [
            ("a.bare.test", "NXDOMAIN"),
            ("com", "NOERROR"),
            ("else.where", "NXDOMAIN"),
            ("a.broken.test", "SERVFAIL"),
        ] {
            let answer = answers(&knot, name, "A");
            assert!(answer.contains(status), "{name}: {answer}");
        }
    }

    #[test]
    fn records_come_and_go() {
        let knot = Knot::start(&[Zone::new("example.com")]);
        let before = knot.records("example.com");
        knot.add("example.com", "a.example.com. 1 TXT \"one\"");
        knot.add("example.com", "a.example.com. 1 TXT \"two\"");
        assert_eq!(knot.texts("example.com").len(), 2);
        knot.remove("example.com", "a.example.com. TXT \"one\"");
        let texts = knot.texts("example.com");
        assert!(texts.len() == 1 && texts[0].contains("two"), "{texts:?}");
        knot.remove("example.com", "a.example.com.");
        // The serial number has grown.
        assert_eq!(knot.records("example.com")[1..], before[1..]);
    }

    #[test]
    fn only_an_updatable_zone_is_changed_and_only_with_the_key() {
        let knot = Knot::start(&[Zone::new("own.test").updatable(), Zone::new("other.test")]);
        let update = |zone: &str, secret: &str| {
            let mut command = Command::new("knsupdate");
            command.args(["-y", &format!("{ALGORITHM}:{KEY}:{secret}")]);
            let port = knot.port;
            let script = format!(
                "server 127.0.0.1 {port}\nzone {zone}.\nupdate add a.{zone}. 1 TXT x\nsend\n"
            );
            process::finish(command, script.as_bytes()).status.success()
        };
        assert!(!update("own.test", &new_secret()));
        assert!(!update("other.test", &knot.secret));
        assert!(knot.texts("own.test").is_empty() && knot.texts("other.test").is_empty());
        assert!(update("own.test", &knot.secret));
        assert_eq!(knot.texts("own.test").len(), 1);
    }
}
