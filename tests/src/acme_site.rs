//! Chancery with all that managed certificates need around it: a directory, DNS, and a web server
//! behind the edge.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    Backend, Chancery, ChanceryOptions, Curl, Knot, KraftCloud, Output, Pebble, PebbleOptions,
    TlsClient, Zone, eventually, free_port, http, within,
};

/// How long a name may take from its request to its certificate at the edge.
const SOON: Duration = Duration::from_secs(90);
/// The issuer's name.
const ISSUER: &str = "pebble";

/// Whether a request for host and path is let through.
type Admits = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// How to build an [`AcmeSite`].
#[derive(Default)]
pub struct AcmeSiteOptions {
    zones: Vec<Zone>,
    pebble: PebbleOptions,
    challenges: Vec<String>,
    issuer: Map<String, Value>,
    turnstile: Option<Admits>,
    is_walled: bool,
}

impl AcmeSiteOptions {
    /// Adds a zone; without any, there is `example.com`.
    #[must_use]
    pub fn zone(mut self, zone: Zone) -> Self {
        self.zones.push(zone);
        self
    }

    /// Says how Pebble is started. Its ports are set, and its resolver, unless it has one.
    #[must_use]
    pub fn pebble(mut self, change: impl FnOnce(PebbleOptions) -> PebbleOptions) -> Self {
        self.pebble = change(self.pebble);
        self
    }

    /// Allows these kinds of challenges, such as `http-01`, and no others; Pebble reaches the edge
    /// only at their ports.
    #[must_use]
    pub fn challenges(mut self, kinds: &[&str]) -> Self {
        self.challenges = kinds.iter().map(ToString::to_string).collect();
        self
    }

    /// Adds a member to the request that makes Pebble an issuer, such as `profile`.
    #[must_use]
    pub fn issuer(mut self, member: &str, value: Value) -> Self {
        self.issuer.insert(member.to_owned(), value);
        self
    }

    /// Puts a turnstile between Pebble and the edge's port of http-01, as [`Backend::turnstile`].
    #[must_use]
    pub fn turnstile(
        mut self,
        admits: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.turnstile = Some(Box::new(admits));
        self
    }

    /// Lets nobody reach the edge at the ports where it is said to be.
    #[must_use]
    pub fn walled(mut self) -> Self {
        self.is_walled = true;
        self
    }

    /// Starts everything and makes Pebble the default issuer.
    ///
    /// # Panics
    ///
    /// Shows what a part says that does not start.
    #[must_use]
    #[track_caller]
    pub fn start(mut self) -> AcmeSite {
        let issuer = Value::Object(std::mem::take(&mut self.issuer));
        let site = self.without_issuer();
        site.add_issuer(ISSUER, &issuer);
        site
    }

    /// Starts everything, but Chancery knows nothing of Pebble.
    ///
    /// # Panics
    ///
    /// Shows what a part says that does not start.
    #[must_use]
    #[track_caller]
    pub fn without_issuer(mut self) -> AcmeSite {
        if self.zones.is_empty() {
            self.zones.push(Zone::new("example.com"));
        }
        let knot = Knot::start(&self.zones);
        let world = (free_port(), free_port());
        let edge = if self.is_walled {
            (free_port(), free_port())
        } else {
            world
        };
        let turnstile = self.turnstile.map(|admits| {
            let edge = (Ipv4Addr::LOCALHOST, edge.0).into();
            Backend::turnstile(edge, admits)
        });
        let reached = |kind: &str, port: u16| {
            let is_allowed = |allowed: &String| allowed == kind;
            let is_reached = self.challenges.is_empty() || self.challenges.iter().any(is_allowed);
            if is_reached { port } else { free_port() }
        };
        let http = turnstile.as_ref().map_or(world.0, Backend::port);
        let (http, tls) = (reached("http-01", http), reached("tls-alpn-01", world.1));
        let pebble = self
            .pebble
            .usual_resolver(&knot)
            .validation_ports(http, tls);
        let node = acme_node(&knot, world, &self.challenges).edge_ports(edge.0, edge.1);
        AcmeSite {
            chancery: node.start(),
            pebble: pebble.start(),
            knot,
            backend: Backend::web("managed"),
            _turnstile: turnstile,
        }
    }
}

/// How a node is started that finds names at `knot`, that is reached at these ports of its edge
/// (plain, TLS), and that meets challenges of these kinds, or of all when there are none.
#[must_use]
pub fn acme_node(knot: &Knot, edge: (u16, u16), challenges: &[String]) -> ChanceryOptions {
    let (http, tls) = edge;
    let mut config = format!("resolver = \"{}\"\n", knot.address());
    // Here, the names of the test's zones lead to this machine.
    config += &format!("[acme]\nhttp_port = {http}\ntls_port = {tls}\nprobe = \"any\"\n");
    if !challenges.is_empty() {
        // A list of plain words is written alike in Rust and in TOML.
        config += &format!("challenges = {challenges:?}\n");
    }
    Chancery::options().edge_ports(http, tls).config(&config)
}

/// All of it, running.
pub struct AcmeSite {
    /// The server.
    pub chancery: Chancery,
    /// Its directory.
    pub pebble: Pebble,
    /// The DNS server that both ask.
    pub knot: Knot,
    /// The web server behind the edge.
    pub backend: Backend,
    _turnstile: Option<Backend>,
}

impl AcmeSite {
    /// Starts everything with nothing but the defaults.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::options().start()
    }

    /// Says how to build it.
    #[must_use]
    pub fn options() -> AcmeSiteOptions {
        AcmeSiteOptions::default()
    }

    /// The server's KraftCloud API.
    #[must_use]
    #[track_caller]
    pub fn api(&self) -> KraftCloud {
        self.chancery.kraftcloud()
    }

    /// Adds Pebble as an issuer and makes it the default; `members` are more ones of the request.
    ///
    /// # Panics
    ///
    /// Shows the answer when that is refused.
    #[track_caller]
    pub fn add_issuer(&self, name: &str, members: &Value) {
        let answer = self.try_add_issuer(name, members);
        assert_eq!(answer.status, 200, "issuer {name}: {}", answer.text());
    }

    /// Tries to add Pebble as an issuer.
    #[track_caller]
    pub fn try_add_issuer(&self, name: &str, members: &Value) -> http::Response {
        let token = self.chancery.token();
        add_issuer(&self.chancery, &token, name, &self.pebble, members)
    }

    /// Lets the server write the records of a zone of its DNS server, with these credentials for
    /// RFC 2136, as [`Knot::credentials`] gives them.
    ///
    /// # Panics
    ///
    /// Shows the answer when that is refused.
    #[track_caller]
    pub fn add_dns(&self, zone: &str, credentials: &Value) {
        let body = json!({ "zone": zone, "kind": "rfc2136", "credentials": credentials });
        let answer = self.administer("POST", "/chancery/v1/dns", &body);
        assert_eq!(answer.status, 200, "dns {zone}: {}", answer.text());
    }

    /// Makes a service with these domains in front of the web server.
    #[track_caller]
    pub fn serve(&self, name: &str, domains: &[&str]) -> Value {
        self.api().serve(name, domains, &self.backend)
    }

    /// The certificate of a domain of a service, as it is now.
    #[must_use]
    #[track_caller]
    pub fn certificate(&self, service: &str, domain: &str) -> Value {
        self.api().certificate_of(service, domain)
    }

    /// Waits until the certificate of a domain is valid, and returns it.
    ///
    /// # Panics
    ///
    /// Shows it when it is not within a minute and a half.
    #[track_caller]
    pub fn wait_until_valid(&self, service: &str, domain: &str) -> Value {
        let mut last = Value::Null;
        let valid = within(SOON, || {
            last = self.certificate(service, domain);
            (last["state"] == "valid").then(|| last.clone())
        });
        valid.unwrap_or_else(|| {
            let shown = self.show(&last);
            panic!("{domain} is not valid: {last}\n{shown:?}")
        })
    }

    /// What `chancery show` says of a certificate.
    #[must_use]
    #[track_caller]
    pub fn show(&self, certificate: &Value) -> Output {
        let name = certificate["name"].as_str().expect("it has a name");
        self.chancery.cli(&["show", name])
    }

    /// Has a certificate renewed, or tried for again, now.
    ///
    /// # Panics
    ///
    /// Shows the answer when that is refused.
    #[track_caller]
    pub fn renew(&self, certificate: &Value) {
        let uuid = certificate["uuid"].as_str().expect("it has a uuid");
        let path = format!("/chancery/v1/certificates/{uuid}/renew");
        let answer = self.administer("POST", &path, &Value::Null);
        assert!(answer.status < 300, "{path}: {answer:?}");
    }

    /// Sends a request to the server's own API; `null` is no body.
    #[track_caller]
    pub fn administer(&self, method: &str, path: &str, body: &Value) -> http::Response {
        self.chancery
            .administer(&self.chancery.token(), method, path, body)
    }

    /// A TLS client that trusts Pebble's certificates.
    #[must_use]
    #[track_caller]
    pub fn client(&self) -> TlsClient {
        TlsClient::trusting(&[&self.pebble.root()])
    }

    /// curl that trusts Pebble's certificates and finds these names at the edge.
    #[must_use]
    #[track_caller]
    pub fn curl(&self, names: &[&str]) -> Curl {
        let edge = self.chancery.edge_https();
        let curl = Curl::trusting(&[&self.pebble.root()]);
        names.iter().fold(curl, |curl, name| curl.at(name, edge))
    }

    /// Waits until the edge serves a name with a certificate of Pebble's, and asks for a page.
    ///
    /// # Panics
    ///
    /// When it does not within a minute and a half, or the page is not the web server's.
    #[track_caller]
    pub fn expect_served(&self, name: &str) {
        let client = self.client();
        eventually(SOON, &format!("{name} is served"), || {
            client.connect(self.chancery.edge_https(), name).ok()
        });
        let answer = self.curl(&[name]).get(&self.chancery.edge_url(name, "/"));
        assert_eq!(
            (answer.status, answer.text()),
            (200, self.backend.greeting())
        );
    }
}

/// Tries to make Pebble the default issuer of a server; `members` are more ones of the request.
#[track_caller]
pub fn add_issuer(
    server: &Chancery,
    token: &str,
    name: &str,
    pebble: &Pebble,
    members: &Value,
) -> http::Response {
    let ca = std::fs::read_to_string(pebble.ca_file()).expect("Pebble's root can be read");
    let mut body = json!({
        "name": name,
        "acme": pebble.directory_url(),
        "ca": ca,
        "agree_tos": true,
        "email": "operator@platform.test",
        "default": true,
    });
    // Those of the caller count.
    for (member, value) in members.as_object().into_iter().flatten() {
        body[member] = value.clone();
    }
    server.administer(token, "POST", "/chancery/v1/issuers", &body)
}
