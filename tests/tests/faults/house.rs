//! A server and the DNS that it asks, which go by one watch with all directories that it is given.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::directory::{Options, Validation};
use testbed::http::Response;
use testbed::{Chancery, ChanceryOptions, Directory, Knot, Watch, Zone, eventually, within};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) const SOON: Duration = Duration::from_secs(90);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// By how much the watch is slow: for so long time can be put forward.
const SLOW: Duration = Duration::from_secs(5 * 24 * 60 * 60);
/// How long something may take that waits again and again.
const LONG: Duration = Duration::from_secs(150);
/// Looks without progress after which time passes.
const PATIENCE: u32 = 40;
/// Certificates on one page.
const PAGE: usize = 999;

/// A server whose names are all found at 127.0.0.1.
pub(crate) struct House {
    pub(crate) chancery: Chancery,
    pub(crate) watch: Watch,
    _knot: Knot,
}

/// Who asks for certificates.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) token: String,
    pub(crate) name: String,
}

impl House {
    pub(crate) fn start() -> Self {
        let watch = Watch::slow_by(SLOW);
        let knot = Knot::start(&[Zone::new("example.com")]);
        Self {
            chancery: node(&knot, &watch).start(),
            watch,
            _knot: knot,
        }
    }

    /// A directory that goes by the watch, and takes every answer for a proof.
    pub(crate) fn directory(&self, change: impl FnOnce(&mut Options)) -> Directory {
        directory(&self.watch, change)
    }

    /// Makes a directory an issuer for everybody, without limits unless `members` name some.
    pub(crate) fn add_issuer(&self, name: &str, directory: &Directory, members: &Value) {
        let answer = self.try_add_issuer(name, directory, members);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }

    pub(crate) fn try_add_issuer(
        &self,
        name: &str,
        directory: &Directory,
        members: &Value,
    ) -> Response {
        let body = issuer(name, directory, members);
        let (server, token) = (&self.chancery, self.chancery.token());
        server.administer(&token, "POST", "/chancery/v1/issuers", &body)
    }

    /// Gives an account a directory of its own.
    pub(crate) fn add_own_issuer(&self, account: &Account, directory: &Directory) {
        let members = json!({ "account": account.name, "default": true });
        self.add_issuer(&format!("own-{}", account.name), directory, &members);
    }

    /// Opens an account.
    pub(crate) fn open_account(&self, name: &str) -> Account {
        self.administer("POST", "/chancery/v1/accounts", &json!({ "name": name }));
        let wish = json!({ "account": name });
        let made = self.administer("POST", "/chancery/v1/tokens", &wish);
        let token = made["token"].as_str().expect("it has a text").to_owned();
        let name = name.to_owned();
        Account { token, name }
    }

    /// The administrator's account.
    pub(crate) fn admin(&self) -> Account {
        Account {
            token: self.chancery.token(),
            name: "admin".to_owned(),
        }
    }

    /// Requests a certificate for a name; without an issuer, of the account's usual one.
    pub(crate) fn request(&self, account: &Account, name: &str, issuer: Option<&str>) -> String {
        let body = json!({ "names": [name], "issuer": issuer, "managed": true });
        let path = "/chancery/v1/certificates";
        let answer = self
            .chancery
            .administer(&account.token, "POST", path, &body);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let uuid = answer.json()["uuid"].as_str().map(str::to_owned);
        uuid.expect("it has a uuid")
    }

    /// A certificate, in full.
    pub(crate) fn certificate(&self, account: &Account, uuid: &str) -> Value {
        let path = format!("/chancery/v1/certificates/{uuid}");
        let answer = self
            .chancery
            .administer(&account.token, "GET", &path, &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// All certificates of the administrator's account.
    pub(crate) fn certificates(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = format!("/chancery/v1/certificates?limit={PAGE}");
        loop {
            let mut page = self.administer("GET", &path, &Value::Null);
            all.append(page["certificates"].as_array_mut().expect("a list"));
            match page["next"].as_str() {
                None => return all,
                Some(next) => {
                    path = format!("/chancery/v1/certificates?limit={PAGE}&from={next}");
                }
            }
        }
    }

    /// How many certificates of the administrator's account are in a state, or many.
    pub(crate) fn count(&self, state: &str) -> usize {
        let path = format!("/chancery/v1/certificates?state={state}&limit={PAGE}");
        let page = self.administer("GET", &path, &Value::Null);
        page["certificates"].as_array().expect("a list").len()
    }

    /// Has a certificate renewed, or tried for again, now.
    pub(crate) fn renew(&self, account: &Account, uuid: &str) {
        let path = format!("/chancery/v1/certificates/{uuid}/renew");
        let answer = self
            .chancery
            .administer(&account.token, "POST", &path, &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Waits until a certificate is valid, and returns it.
    pub(crate) fn wait_until_valid(&self, account: &Account, uuid: &str) -> Value {
        let mut last = Value::Null;
        let valid = within(SOON, || {
            last = self.certificate(account, uuid);
            (last["state"] == "valid").then(|| last.clone())
        });
        valid.unwrap_or_else(|| panic!("a certificate of {} is not valid: {last}", account.name))
    }

    /// Asks the server's own API as the administrator.
    pub(crate) fn administer(&self, method: &str, path: &str, body: &Value) -> Value {
        let token = self.chancery.token();
        let answer = self.chancery.administer(&token, method, path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()
    }
}

/// How a node is started.
pub(crate) fn node(knot: &Knot, watch: &Watch) -> ChanceryOptions {
    let config = format!(
        "resolver = \"{}\"\n[acme]\nprobe = \"off\"\n",
        knot.address()
    );
    Chancery::options()
        .config(&config)
        .env("CHANCERY_LOG", "info,lifecycle::orders=debug")
        .watch(watch)
}

pub(crate) fn directory(watch: &Watch, change: impl FnOnce(&mut Options)) -> Directory {
    let mut options = Options {
        clock: watch.clock(),
        validation: Validation::Always,
        lifetime: 45 * DAY,
        ..Options::default()
    };
    change(&mut options);
    Directory::start(options)
}

/// The request that makes a directory an issuer.
pub(crate) fn issuer(name: &str, directory: &Directory, members: &Value) -> Value {
    let mut body = json!({
        "name": name,
        "acme": directory.url(),
        "ca": directory.root_pem(),
        "agree_tos": true,
        "limits": { "orders": null, "domain": null, "duplicates": null, "failures": null },
    });
    for (member, value) in members.as_object().into_iter().flatten() {
        body[member] = value.clone();
    }
    body
}

/// A moment as the server's own API writes it.
pub(crate) fn moment(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).expect("a moment")
}

/// The directory's number for the current version of a certificate.
pub(crate) fn serial(certificate: &Value) -> String {
    let serial = certificate["current"]["serial"].as_str();
    serial.expect("it has a version").to_ascii_lowercase()
}

/// Waits for something that has a measure of its progress. Where there is none for a while, time
/// passes.
pub(crate) fn patiently(
    watch: &Watch,
    time: Duration,
    what: &str,
    mut look: impl FnMut() -> (usize, bool),
) {
    let (mut last, mut idle) = (0, 0);
    eventually(LONG, what, || {
        let (progress, is_done) = look();
        if progress > last {
            (last, idle) = (progress, 0);
        } else {
            idle += 1;
        }
        if idle > PATIENCE && !is_done {
            watch.forward(time);
            idle = 0;
        }
        is_done.then_some(())
    });
}
