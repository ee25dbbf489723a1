//! What a directory knows, and the few rules that concern more than one of its objects.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use pki::Identifier;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::faults::{Dice, Faults, Resource};
use super::issuing::{Authority, Leaf};
use super::jws::{Key, encode};
use super::limits::Buckets;
use super::options::Options;

/// How many nonces are good at a time.
const NONCES: usize = 100_000;

/// A running directory, without what listens.
pub(super) struct Server {
    pub(super) options: Options,
    /// Scheme, host and port.
    pub(super) base: String,
    pub(super) authority: Authority,
    state: Mutex<State>,
}

/// What changes.
pub(super) struct State {
    pub(super) faults: Faults,
    pub(super) dice: Dice,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: Vec<Order>,
    pub(super) authorizations: Vec<Authorization>,
    pub(super) certificates: Vec<Certificate>,
    pub(super) buckets: Buckets,
    pub(super) requests: BTreeMap<Resource, u64>,
    /// Orders that were beyond a limit.
    pub(super) violations: u64,
    /// External accounts that are not good any more.
    pub(super) expired_external: HashSet<String>,
    nonces: (HashSet<String>, VecDeque<String>),
    /// Certificates by their identifiers.
    identifiers: HashMap<String, usize>,
}

pub(super) struct Account {
    pub(super) key: Key,
    pub(super) status: &'static str,
    pub(super) contact: Value,
    /// Whether it is as if it had never been.
    pub(super) is_forgotten: bool,
}

pub(super) struct Order {
    pub(super) account: usize,
    pub(super) status: &'static str,
    pub(super) names: Vec<Identifier>,
    pub(super) authorizations: Vec<usize>,
    pub(super) profile: Option<String>,
    pub(super) replaces: Option<String>,
    /// The request, once it came.
    pub(super) request: Option<(pki::PublicKey, Vec<Identifier>)>,
    /// How often it is still to be looked at before it is valid.
    pub(super) polls: u32,
    pub(super) certificate: Option<usize>,
    pub(super) error: Option<Value>,
    pub(super) placed: OffsetDateTime,
    pub(super) expires: OffsetDateTime,
}

pub(super) struct Authorization {
    pub(super) account: usize,
    /// Without `*.`.
    pub(super) identifier: Identifier,
    pub(super) is_wildcard: bool,
    pub(super) status: &'static str,
    pub(super) challenges: Vec<Challenge>,
    pub(super) expires: OffsetDateTime,
}

#[derive(Clone)]
pub(super) struct Challenge {
    pub(super) kind: String,
    pub(super) token: String,
    pub(super) status: &'static str,
    pub(super) error: Option<Value>,
}

pub(super) struct Certificate {
    pub(super) leaf: Leaf,
    pub(super) account: usize,
    pub(super) order: usize,
    pub(super) is_replaced: bool,
    pub(super) revoked: Option<u64>,
    pub(super) window: (OffsetDateTime, OffsetDateTime),
}

impl Server {
    pub(super) fn new(options: Options, base: String, authority: Authority) -> Self {
        let state = State {
            faults: Faults::default(),
            dice: Dice::new(options.seed),
            accounts: Vec::new(),
            orders: Vec::new(),
            authorizations: Vec::new(),
            certificates: Vec::new(),
            buckets: Buckets::default(),
            requests: BTreeMap::new(),
            violations: 0,
            expired_external: HashSet::new(),
            nonces: (HashSet::new(), VecDeque::new()),
            identifiers: HashMap::new(),
        };
        Self {
            options,
            base,
            authority,
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.options.clock.now()
    }

    /// The URL of something, or what is given for it.
    pub(super) fn url(&self, state: &State, resource: Resource, path: &str) -> String {
        format!(
            "{}{path}",
            state.faults.base(resource).unwrap_or(&self.base)
        )
    }

    pub(super) fn account_url(&self, state: &State, account: usize) -> String {
        self.url(state, Resource::Account, &format!("/account/{account}"))
    }

    /// Lets an order become what its authorizations make of it, and its certificate come.
    pub(super) fn advance(&self, state: &mut State, id: usize) {
        let order = &state.orders[id];
        let statuses = order.authorizations.iter();
        let mut statuses =
            statuses.map(|authorization| state.authorizations[*authorization].status);
        let status = match order.status {
            "pending" if statuses.clone().all(|status| status == "valid") => "ready",
            "pending" if statuses.any(|status| !["valid", "pending"].contains(&status)) => {
                "invalid"
            }
            other => other,
        };
        state.orders[id].status = status;
        if status == "processing" && !state.faults.is_stuck {
            let order = &mut state.orders[id];
            match order.polls.checked_sub(1) {
                Some(left) => order.polls = left,
                None => self.issue(state, id),
            }
        }
    }

    fn issue(&self, state: &mut State, id: usize) {
        let order = &state.orders[id];
        let Some((mut key, mut names)) = order.request.clone() else {
            return;
        };
        if state.faults.swaps_keys {
            let other = pki::PrivateKey::generate(pki::KeyAlgorithm::P256);
            key = other.expect("a key can be made").public_key().clone();
        }
        if state.faults.drops_names {
            names.pop();
        }
        let profile = order.profile.as_ref();
        let lifetime = profile.and_then(|profile| self.options.profiles.get(profile));
        let lifetime = *lifetime.unwrap_or(&self.options.lifetime);
        let leaf = self.authority.issue(&key, names, self.now(), lifetime);
        let (account, replaces) = (order.account, order.replaces.clone());
        if replaces.is_none() {
            self.charge_certificate(state, id);
        }
        if let Some(replaced) = replaces.and_then(|name| state.certificate_named(&name)) {
            state.certificates[replaced].is_replaced = true;
        }
        let two_thirds = leaf.not_before + lifetime * 2 / 3;
        let new = state.certificates.len();
        state.identifiers.insert(leaf.identifier.clone(), new);
        state.certificates.push(Certificate {
            window: (two_thirds, two_thirds + lifetime / 30),
            leaf,
            account,
            order: id,
            is_replaced: false,
            revoked: None,
        });
        state.orders[id].certificate = Some(new);
        state.orders[id].status = "valid";
    }
}

impl State {
    pub(super) fn give_nonce(&mut self) -> String {
        let mut octets = [0; 16];
        rand::fill(&mut octets).expect("the system has randomness");
        let (nonce, (good, oldest)) = (encode(octets), &mut self.nonces);
        good.insert(nonce.clone());
        oldest.push_back(nonce.clone());
        if oldest.len() > NONCES
            && let Some(old) = oldest.pop_front()
        {
            good.remove(&old);
        }
        nonce
    }

    /// Whether a nonce was given out and not used, and chance is not against it.
    pub(super) fn take_nonce(&mut self, nonce: &str) -> bool {
        self.nonces.0.remove(nonce) && !self.dice.falls(self.faults.bad_nonces)
    }

    pub(super) fn account_with(&self, key: &Key) -> Option<usize> {
        let mut accounts = self.accounts.iter();
        accounts.position(|account| account.key == *key && !account.is_forgotten)
    }

    /// The certificate of this identifier (RFC 9773 section 4.1).
    pub(super) fn certificate_named(&self, identifier: &str) -> Option<usize> {
        self.identifiers.get(identifier).copied()
    }
}

/// An identifier on the wire.
pub(super) fn on_the_wire(identifier: &Identifier) -> Value {
    let kind = match identifier {
        Identifier::Ip(_) => "ip",
        _ => "dns",
    };
    json!({ "type": kind, "value": identifier.to_string() })
}

/// A moment on the wire.
pub(super) fn moment(moment: OffsetDateTime) -> String {
    let whole = moment.replace_nanosecond(0).expect("zero is one");
    whole.format(&Rfc3339).expect("a year has four digits")
}

/// How long orders and authorizations are kept.
pub(super) const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
