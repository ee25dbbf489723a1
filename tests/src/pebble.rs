//! Pebble: Let's Encrypt's own small ACME directory for tests, which checks names for real.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::{Authority, Curl, CurlAnswer, Knot, Workdir, eventually, free_port};

/// How long it may take from its last words to its first.
const DEADLINE: Duration = Duration::from_secs(20);

/// How often other ports are tried when somebody else was quicker to take the free ones.
const ATTEMPTS: u32 = 5;
const NAME: &str = "pebble";
/// What it writes last, before it listens at its second port.
const READY: &str = "ACME directory available at";

/// How to start Pebble.
#[derive(Clone, Debug, Default)]
pub struct PebbleOptions {
    ports: (u16, u16),
    resolver: Option<SocketAddr>,
    environment: Vec<(String, String)>,
    accounts: BTreeMap<String, String>,
    lifetime: Option<u64>,
}

impl PebbleOptions {
    /// Checks names at these ports, for http-01 and for tls-alpn-01: where the edge is.
    #[must_use]
    pub fn validation_ports(mut self, http: u16, tls: u16) -> Self {
        self.ports = (http, tls);
        self
    }

    /// Finds names there, and not where the system does.
    #[must_use]
    pub fn resolver(mut self, knot: &Knot) -> Self {
        self.resolver = Some(knot.address());
        self
    }

    /// [`PebbleOptions::resolver`], unless it was said already.
    pub(crate) fn usual_resolver(mut self, knot: &Knot) -> Self {
        self.resolver.get_or_insert(knot.address());
        self
    }

    /// Sets an environment variable, such as `PEBBLE_WFE_NONCEREJECT`. Without more it rejects
    /// every twentieth nonce, reuses half of the authorizations, and validates at once
    /// (`PEBBLE_VA_NOSLEEP`).
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes only accounts bound to this one of its own (RFC 8555 section 7.3.4), `key` in
    /// base64url; can be repeated.
    #[must_use]
    pub fn external_account(mut self, id: &str, key: &str) -> Self {
        self.accounts.insert(id.to_owned(), key.to_owned());
        self
    }

    /// Issues certificates for this many seconds, and not for five years.
    #[must_use]
    pub fn lifetime(mut self, seconds: u64) -> Self {
        self.lifetime = Some(seconds);
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Shows its log when it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Pebble {
        let authority = Authority::new();
        for _ in 0..ATTEMPTS {
            let (acme, management) = (free_port(), free_port());
            let workdir = Workdir::new();
            let pair = authority.issue(&["127.0.0.1"], 90);
            let file = json!({ "pebble": {
                "listenAddress": format!("127.0.0.1:{acme}"),
                "managementListenAddress": format!("127.0.0.1:{management}"),
                "certificate": workdir.write("own.pem", pair.chain),
                "privateKey": workdir.write("own.key", pair.key),
                "httpPort": self.ports.0,
                "tlsPort": self.ports.1,
                "externalAccountBindingRequired": !self.accounts.is_empty(),
                "externalAccountMACKeys": self.accounts,
                // None of its own is five years.
                "certificateValidityPeriod": self.lifetime.unwrap_or_default(),
            }});
            workdir.write("pebble.json", file.to_string());
            match Daemon::start(NAME, self.command(&workdir), READY) {
                Ok(daemon) => {
                    await_port(acme);
                    await_port(management);
                    return Pebble {
                        daemon,
                        options: self,
                        authority,
                        acme,
                        management,
                        workdir,
                    };
                }
                Err(log) if log.contains("address already in use") => {}
                Err(log) => panic!("Pebble does not start:\n{log}"),
            }
        }
        panic!("found no free ports for Pebble in {ATTEMPTS} attempts");
    }

    fn command(&self, workdir: &Workdir) -> Command {
        let mut command = Command::new("pebble");
        command.args(["-config", &workdir.path("pebble.json")]);
        if let Some(resolver) = self.resolver {
            command.args(["-dnsserver", &resolver.to_string()]);
        }
        command.env("PEBBLE_VA_NOSLEEP", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running Pebble; killed when dropped. It forgets everything then.
pub struct Pebble {
    daemon: Daemon,
    options: PebbleOptions,
    authority: Authority,
    acme: u16,
    management: u16,
    workdir: Workdir,
}

impl Pebble {
    /// Says how to start it before starting it.
    #[must_use]
    pub fn options() -> PebbleOptions {
        PebbleOptions::default()
    }

    /// Ends it and starts it again at the same place with the same options: it has forgotten
    /// everything, accounts and its issuing root included.
    ///
    /// # Panics
    ///
    /// Shows its log when it does not start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.daemon.kill();
        let command = self.options.command(&self.workdir);
        self.daemon = Daemon::start(NAME, command, READY)
            .unwrap_or_else(|log| panic!("Pebble does not start again:\n{log}"));
        await_port(self.acme);
        await_port(self.management);
    }

    /// The URL of its directory.
    #[must_use]
    pub fn directory_url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.acme)
    }

    /// Whom its clients have to trust: the root of its own TLS certificate, in PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.authority.root()
    }

    /// Whom clients of its certificates have to trust: its issuing root, in PEM.
    #[must_use]
    #[track_caller]
    pub fn root(&self) -> PathBuf {
        self.root_of_chain(0)
    }

    /// The root of one of its chains: 0 is the default one, the others are there with
    /// `PEBBLE_ALTERNATE_ROOTS`.
    #[must_use]
    #[track_caller]
    pub fn root_of_chain(&self, index: usize) -> PathBuf {
        let answer = self.manage(&format!("/roots/{index}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let name = format!("root-{index}.pem");
        self.workdir.write(&name, answer.body).into()
    }

    /// Whether it has revoked the certificate of this serial number (hexadecimal).
    ///
    /// # Panics
    ///
    /// When it has never issued it.
    #[must_use]
    #[track_caller]
    pub fn has_revoked(&self, serial: &str) -> bool {
        // It writes numbers as Go does: small letters, and no zero in front.
        let serial = serial.to_lowercase();
        let serial = serial.trim_start_matches('0');
        let answer = self.manage(&format!("/cert-status-by-serial/{serial}"));
        assert_eq!(answer.status, 200, "{serial}: {}", answer.text());
        let status: Value = serde_json::from_slice(&answer.body).expect("Pebble answers JSON");
        status["Status"] == "Revoked"
    }

    /// How many requests it has had.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.count("-> calling handler()")
    }

    /// How many orders it has taken.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.count("Added order ")
    }

    /// How many certificates it has issued.
    #[must_use]
    pub fn certificates(&self) -> usize {
        self.count("Issued certificate serial ")
    }

    /// How often it has begun to check this name.
    #[must_use]
    pub fn validations_of(&self, name: &str) -> usize {
        let identifier = format!("Value:\"{name}\"");
        let log = self.logs();
        let tasks = log.lines().filter(|line| line.contains("Pulled a task"));
        tasks.filter(|line| line.contains(&identifier)).count()
    }

    /// How many checks of names have failed.
    #[must_use]
    pub fn failed_validations(&self) -> usize {
        self.count("set INVALID by completed challenge")
    }

    /// All that it has said since its start.
    #[must_use]
    pub fn logs(&self) -> String {
        self.daemon.log()
    }

    fn count(&self, what: &str) -> usize {
        self.logs()
            .lines()
            .filter(|line| line.contains(what))
            .count()
    }

    #[track_caller]
    fn manage(&self, path: &str) -> CurlAnswer {
        let url = format!("https://127.0.0.1:{}{path}", self.management);
        Curl::trusting(&[&self.ca_file()]).get(&url)
    }
}

/// Waits until somebody listens: Pebble says that it is ready just before.
#[track_caller]
fn await_port(port: u16) {
    eventually(DEADLINE, "Pebble that listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssl;

    #[test]
    fn pebble_has_a_directory_and_as_many_roots_as_asked_for() {
        let pebble = Pebble::options().env("PEBBLE_ALTERNATE_ROOTS", "1").start();
        let directory = Curl::trusting(&[&pebble.ca_file()]).get(&pebble.directory_url());
        assert!(directory.text().contains("newOrder"), "{directory:?}");
        let subject = |root: PathBuf| {
            let root = root.display().to_string();
            openssl(&["x509", "-noout", "-subject", "-in", &root], b"").text()
        };
        let (first, second) = (subject(pebble.root()), subject(pebble.root_of_chain(1)));
        assert!(first.contains("Pebble Root CA"), "{first}");
        assert_ne!(first, second);
        assert_eq!((pebble.orders(), pebble.certificates()), (0, 0));
    }

    #[test]
    fn pebble_asks_for_an_external_account_where_it_has_some() {
        let pebble = Pebble::options()
            .external_account("kid", "c2VjcmV0")
            .start();
        let directory = Curl::trusting(&[&pebble.ca_file()]).get(&pebble.directory_url());
        let directory: Value = serde_json::from_str(&directory.text()).unwrap();
        assert_eq!(directory["meta"]["externalAccountRequired"], true);
    }
}
