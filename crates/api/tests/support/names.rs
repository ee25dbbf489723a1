//! DNS that says what a test wants, and a network that goes by it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use egress::{
    Caa, Fetch, Fetcher, LookupError, Nameserver, Resolver, ResolverSettings, SystemResolver, Zone,
};
use lifecycle::Network;
use testbed::Knot;

/// Names; clones are the same ones. Every name has the address 127.0.0.1, unless a test says
/// otherwise, and no text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Answers one after the other; the last one stays.
    addresses: HashMap<String, VecDeque<Vec<IpAddr>>>,
    texts: HashMap<String, Vec<String>>,
    asked: Vec<String>,
}

impl Names {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Has a name lead to these addresses, and when it is asked for again, to the next ones.
    pub(crate) fn lead(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|addresses| {
            let addresses = addresses.iter();
            addresses.map(|address| address.parse().unwrap()).collect()
        });
        let mut state = self.state();
        state.addresses.insert(name.to_owned(), answers.collect());
    }

    /// Puts these texts at a name.
    pub(crate) fn put(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(ToString::to_string).collect();
        self.state().texts.insert(name.to_owned(), texts);
    }

    /// Every name that was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// A network that goes by these names.
    pub(crate) fn network(&self) -> Network {
        network(Arc::new(self.clone()))
    }
}

/// A network that goes by a real server, and keeps no answers.
pub(crate) fn network_of(knot: &Knot) -> Network {
    let settings = ResolverSettings {
        server: Some(knot.address().to_string()),
        keeps_answers: false,
        ..ResolverSettings::default()
    };
    network(Arc::new(SystemResolver::new(&settings).unwrap()))
}

/// A network that asks `fetch` for everything.
pub(crate) fn network_with(fetch: Arc<dyn Fetch>) -> Network {
    Network {
        proof_fetch: fetch,
        ..Names::default().network()
    }
}

fn network(resolver: Arc<dyn Resolver>) -> Network {
    Network {
        proof_fetch: Arc::new(Fetcher::new(resolver.clone())),
        proof_resolver: resolver,
        ..Network::offline()
    }
}

#[async_trait]
impl Resolver for Names {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let mut state = self.state();
        state.asked.push(name.to_owned());
        let answers = state.addresses.get_mut(name);
        Ok(match answers {
            Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
            Some(answers) => answers.front().unwrap().clone(),
            None => vec![Ipv4Addr::LOCALHOST.into()],
        })
    }

    async fn text(&self, name: &str) -> Result<Vec<String>, LookupError> {
        let mut state = self.state();
        state.asked.push(name.to_owned());
        let texts = state.texts.get(name).cloned();
        texts.ok_or_else(|| LookupError::NotFound {
            name: name.to_owned(),
        })
    }

    async fn alias(&self, _: &str) -> Result<Option<String>, LookupError> {
        Ok(None)
    }

    async fn caa(&self, _: &str) -> Result<Vec<Caa>, LookupError> {
        Ok(Vec::new())
    }

    async fn zone(&self, name: &str) -> Result<Zone, LookupError> {
        Err(LookupError::NotFound {
            name: name.to_owned(),
        })
    }

    async fn text_at(&self, _: &Nameserver, name: &str) -> Result<Vec<String>, LookupError> {
        self.text(name).await
    }
}
