//! A world of DNS, DNS providers and web servers that does what a test says.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use dns::{Account, ProviderError, Records, TextRecord};
use egress::{Caa, Fetch, FetchError, LookupError, Nameserver, Request, Resolver, Response, Zone};

use crate::{Answers, Network};

/// Servers of each zone. Records are published at the first, and come to the others when a test says
/// so.
const SERVERS: usize = 2;

/// What is behind an address.
#[derive(Debug, Clone)]
pub(crate) enum Site {
    /// The edge of the house under test.
    Edge,
    /// Somebody else's web server.
    Other,
    /// Nobody.
    Nobody,
    /// Something that must not be looked at.
    Forbidden,
}

/// The world; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    zones: Vec<String>,
    /// Texts by server and name.
    texts: HashMap<(usize, String), Vec<String>>,
    silent: Vec<usize>,
    aliases: HashMap<String, String>,
    caa: HashMap<String, Vec<Caa>>,
    addresses: HashMap<String, Vec<IpAddr>>,
    /// Names about which every question fails.
    broken: Vec<String>,
    sites: HashMap<String, Site>,
    edge: Option<Answers>,
    refusal: Option<ProviderError>,
    calls: Vec<String>,
    questions: Vec<String>,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn network(&self) -> Network {
        Network {
            resolver: Arc::new(self.clone()),
            records: Arc::new(self.clone()),
            fetch: Arc::new(self.clone()),
            ..Network::offline()
        }
    }

    /// Adds a zone with its servers.
    pub(crate) fn zone(&self, apex: &str) {
        self.state().zones.push(apex.to_owned());
    }

    pub(crate) fn alias(&self, name: &str, target: &str) {
        let mut state = self.state();
        state.aliases.insert(name.to_owned(), target.to_owned());
    }

    pub(crate) fn caa(&self, name: &str, tag: &str, value: &str) {
        let record = Caa {
            is_critical: false,
            tag: tag.to_owned(),
            value: value.to_owned(),
        };
        let mut state = self.state();
        state.caa.entry(name.to_owned()).or_default().push(record);
    }

    pub(crate) fn address(&self, name: &str, addresses: &[&str], site: Site) {
        let mut state = self.state();
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        state.addresses.insert(name.to_owned(), addresses.collect());
        state.sites.insert(name.to_owned(), site);
    }

    /// What is behind an address, as a host of its own.
    pub(crate) fn site(&self, host: &str, site: Site) {
        self.state().sites.insert(host.to_owned(), site);
    }

    /// Has every question about a name fail.
    pub(crate) fn break_name(&self, name: &str) {
        self.state().broken.push(name.to_owned());
    }

    /// Puts a text at all servers.
    pub(crate) fn text(&self, name: &str, text: &str) {
        let mut state = self.state();
        for server in 0..SERVERS {
            let texts = state.texts.entry((server, name.to_owned())).or_default();
            texts.push(text.to_owned());
        }
    }

    /// Brings all servers to what the first one has.
    pub(crate) fn spread(&self) {
        let mut state = self.state();
        state.texts.retain(|(server, _), _| *server == 0);
        let first: Vec<(String, Vec<String>)> = state
            .texts
            .iter()
            .map(|((_, name), texts)| (name.clone(), texts.clone()))
            .collect();
        for server in 1..SERVERS {
            for (name, texts) in &first {
                state.texts.insert((server, name.clone()), texts.clone());
            }
        }
    }

    /// What the first server has under a name.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let texts = state.texts.get(&(0, name.to_owned()));
        texts.cloned().unwrap_or_default()
    }

    /// Has a server not answer.
    pub(crate) fn silence(&self, server: usize) {
        self.state().silent.push(server);
    }

    /// Has all providers refuse, or none.
    pub(crate) fn refuse(&self, refusal: Option<ProviderError>) {
        self.state().refusal = refusal;
    }

    pub(crate) fn edge(&self, answers: Answers) {
        self.state().edge = Some(answers);
    }

    /// What providers were asked to do, such as `publish NAME`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// What the resolver was asked.
    pub(crate) fn questions(&self) -> Vec<String> {
        self.state().questions.clone()
    }

    fn ask(&self, question: &str, name: &str) -> Result<MutexGuard<'_, State>, LookupError> {
        let mut state = self.state();
        state.questions.push(format!("{question} {name}"));
        if state.broken.iter().any(|broken| broken == name) {
            return Err(LookupError::Failed {
                name: name.to_owned(),
                reason: "SERVFAIL".to_owned(),
            });
        }
        Ok(state)
    }
}

#[async_trait]
impl Resolver for World {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let state = self.ask("addresses", name)?;
        let found = state.addresses.get(name).cloned();
        found.ok_or_else(|| LookupError::NotFound {
            name: name.to_owned(),
        })
    }

    async fn text(&self, name: &str) -> Result<Vec<String>, LookupError> {
        drop(self.ask("text", name)?);
        Ok(self.texts(name))
    }

    async fn alias(&self, name: &str) -> Result<Option<String>, LookupError> {
        Ok(self.ask("alias", name)?.aliases.get(name).cloned())
    }

    async fn caa(&self, name: &str) -> Result<Vec<Caa>, LookupError> {
        let found = self.ask("caa", name)?.caa.get(name).cloned();
        Ok(found.unwrap_or_default())
    }

    async fn zone(&self, name: &str) -> Result<Zone, LookupError> {
        let state = self.ask("zone", name)?;
        let above = |apex: &&String| name == apex.as_str() || name.ends_with(&format!(".{apex}"));
        let apex = state
            .zones
            .iter()
            .filter(above)
            .max_by_key(|apex| apex.len());
        let apex = apex.cloned().ok_or_else(|| LookupError::NotFound {
            name: name.to_owned(),
        })?;
        let server = |number: usize| Nameserver {
            name: format!("ns{number}.{apex}"),
            address: SocketAddr::from(([192, 0, 2, u8::try_from(number).unwrap()], 53)),
        };
        Ok(Zone {
            nameservers: (0..SERVERS).map(server).collect(),
            apex,
        })
    }

    async fn text_at(&self, server: &Nameserver, name: &str) -> Result<Vec<String>, LookupError> {
        let state = self.ask("text-at", name)?;
        let number = usize::from(match server.address.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        });
        if state.silent.contains(&number) {
            return Err(LookupError::Unreachable {
                name: name.to_owned(),
                reason: "no answer".to_owned(),
            });
        }
        let found = state.texts.get(&(number, name.to_owned())).cloned();
        Ok(found.unwrap_or_default())
    }
}

#[async_trait]
impl Records for World {
    async fn publish(&self, _: &Account, record: &TextRecord) -> Result<(), ProviderError> {
        let mut state = self.state();
        state.calls.push(format!("publish {}", record.name));
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        let texts = state.texts.entry((0, record.name.clone())).or_default();
        if !texts.contains(&record.value) {
            texts.push(record.value.clone());
        }
        Ok(())
    }

    async fn withdraw(&self, _: &Account, record: &TextRecord) -> Result<(), ProviderError> {
        let mut state = self.state();
        state.calls.push(format!("withdraw {}", record.name));
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        if let Some(texts) = state.texts.get_mut(&(0, record.name.clone())) {
            texts.retain(|text| *text != record.value);
        }
        Ok(())
    }
}

#[async_trait]
impl Fetch for World {
    async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        let uri: http::Uri = request.url.parse().unwrap();
        let host = uri.host().unwrap().trim_matches(['[', ']']).to_owned();
        let (site, edge, addresses) = {
            let state = self.state();
            let addresses = state.addresses.get(&host).cloned().unwrap_or_default();
            (
                state.sites.get(&host).cloned(),
                state.edge.clone(),
                addresses,
            )
        };
        // Those of documentation, which tests have, are public.
        let mut verdicts = addresses
            .iter()
            .map(|address| request.policy.check(*address));
        if let Some(reason) = verdicts.find_map(Result::err) {
            return Err(FetchError::Forbidden { host, reason });
        }
        let answer = |status, body: String| {
            Ok(Response {
                status,
                headers: http::HeaderMap::new(),
                body: Bytes::from(body),
            })
        };
        match site.unwrap_or(Site::Nobody) {
            Site::Edge => {
                let token = uri.path().rsplit('/').next().unwrap();
                let found = edge.unwrap().http(&host, token).await.unwrap();
                answer(http::StatusCode::OK, found.unwrap_or_default())
            }
            Site::Other => answer(http::StatusCode::OK, "welcome".to_owned()),
            Site::Nobody => Err(FetchError::Unreachable {
                host,
                reason: "connection refused".to_owned(),
            }),
            Site::Forbidden => Err(FetchError::Forbidden {
                host,
                reason: "it is a private address",
            }),
        }
    }
}
