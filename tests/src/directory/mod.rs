//! An ACME directory (RFC 8555, RFC 9773) of our own, on loopback and in this process: strict with what
//! it is asked, and with every fault that a directory can have.
//!
//! It checks signatures, nonces and names like any other; its certificates are real and its roots are
//! thrown away. What it cannot know for sure, it counts.

mod accounts;
mod answer;
mod authorizations;
mod certificates;
mod faults;
mod issuing;
mod jws;
mod limits;
mod options;
mod orders;
mod routes;
mod server;
mod state;
mod validation;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use time::OffsetDateTime;

pub use faults::{Faults, Resource, Trouble};
pub use limits::{Limit, Limits};
pub use options::{Clock, Options, Validation};
pub use routes::http_date;

use crate::free_port;
use issuing::Authority;
use server::Listener;
use state::Server;

/// A running directory; it ends when it is dropped, and forgets everything.
pub struct Directory {
    server: Arc<Server>,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    listener: Mutex<Option<Listener>>,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its names, sorted.
    pub names: Vec<String>,
    /// Its serial number, as [`serial`](crate::serial) writes it.
    pub serial: String,
    /// Its identifier of RFC 9773 section 4.1.
    pub identifier: String,
    /// The profile asked for.
    pub profile: Option<String>,
    /// The identifier of the certificate that it replaces.
    pub replaces: Option<String>,
    /// The beginning of its validity.
    pub not_before: OffsetDateTime,
    /// The end of its validity.
    pub not_after: OffsetDateTime,
    /// The reason for which it was revoked.
    pub revoked: Option<u64>,
}

impl Directory {
    /// Starts a directory on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[must_use]
    #[track_caller]
    pub fn start(options: Options) -> Self {
        let authority = Authority::new();
        let tls = options.tls.then(|| server::tls(&authority));
        // It has to be found again after it was down.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let scheme = if options.tls { "https" } else { "http" };
        let base = format!("{scheme}://{address}");
        let directory = Self {
            server: Arc::new(Server::new(options, base, authority)),
            address,
            tls,
            listener: Mutex::default(),
        };
        directory.up();
        directory
    }

    /// The URL of the directory object.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/directory", self.server.base)
    }

    /// The root of its certificates and of its own TLS, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.server.authority.root_pem()
    }

    /// Changes what goes wrong, from the next request on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.server.state().faults);
    }

    /// Ends all connections and refuses new ones.
    pub fn down(&self) {
        self.listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Takes connections again.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[track_caller]
    pub fn up(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.is_none() {
            let socket = TcpListener::bind(self.address)
                .unwrap_or_else(|error| panic!("cannot listen at {}: {error}", self.address));
            let server = Arc::clone(&self.server);
            *listener = Some(Listener::start(socket, server, self.tls.clone()));
        }
    }

    /// How many requests it got for a resource, whatever it answered.
    #[must_use]
    pub fn requests(&self, resource: Resource) -> u64 {
        let state = self.server.state();
        state.requests.get(&resource).copied().unwrap_or_default()
    }

    /// How many orders it took that name this, perhaps among others.
    #[must_use]
    pub fn orders_of(&self, name: &str) -> usize {
        let orders = self.orders().into_iter();
        let orders = orders.filter(|(names, _)| names.iter().any(|one| one == name));
        orders.map(|(_, count)| count).sum()
    }

    /// When it took orders that name this, perhaps among others, in order.
    #[must_use]
    pub fn ordered(&self, name: &str) -> Vec<OffsetDateTime> {
        let state = self.server.state();
        let orders = state.orders.iter();
        let orders = orders.filter(|order| orders::spelled(&order.names).contains(name));
        orders.map(|order| order.placed).collect()
    }

    /// How many orders it took, by their names, sorted.
    #[must_use]
    pub fn orders(&self) -> BTreeMap<Vec<String>, usize> {
        let mut orders = BTreeMap::new();
        for order in &self.server.state().orders {
            let names = orders::spelled(&order.names).into_iter().collect();
            *orders.entry(names).or_default() += 1;
        }
        orders
    }

    /// How many orders were beyond a limit, refused or not.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.server.state().violations
    }

    /// What it issued, in order.
    #[must_use]
    pub fn certificates(&self) -> Vec<Issued> {
        let state = self.server.state();
        let certificates = state.certificates.iter();
        let certificates = certificates.map(|certificate| {
            let order = &state.orders[certificate.order];
            Issued {
                names: orders::spelled(&order.names).into_iter().collect(),
                serial: certificate.leaf.serial.clone(),
                identifier: certificate.leaf.identifier.clone(),
                profile: order.profile.clone(),
                replaces: order.replaces.clone(),
                not_before: certificate.leaf.not_before,
                not_after: certificate.leaf.not_after,
                revoked: certificate.revoked,
            }
        });
        certificates.collect()
    }

    /// Wants all certificates that are there and not replaced to be renewed in this window, and those
    /// to come as usual.
    pub fn pull_windows(&self, start: OffsetDateTime, end: OffsetDateTime) {
        let mut state = self.server.state();
        let certificates = state.certificates.iter_mut();
        for certificate in certificates.filter(|certificate| !certificate.is_replaced) {
            certificate.window = (start, end);
        }
    }

    /// Wants the certificate of this identifier to be renewed in this window.
    ///
    /// # Panics
    ///
    /// When it never issued that.
    #[track_caller]
    pub fn pull_window(&self, identifier: &str, start: OffsetDateTime, end: OffsetDateTime) {
        let mut state = self.server.state();
        let id = state.certificate_named(identifier);
        let id = id.unwrap_or_else(|| panic!("it never issued {identifier}"));
        state.certificates[id].window = (start, end);
    }

    /// Revokes all accounts.
    pub fn revoke_accounts(&self) {
        for account in &mut self.server.state().accounts {
            account.status = "revoked";
        }
    }

    /// Forgets all accounts, as directories do that lost their data.
    pub fn forget_accounts(&self) {
        for account in &mut self.server.state().accounts {
            account.is_forgotten = true;
        }
    }

    /// Lets no more accounts be bound to this external one.
    pub fn expire_external_account(&self, id: &str) {
        self.server.state().expired_external.insert(id.to_owned());
    }
}
