//! DNS questions to the resolver of the system, or to the one that the operator names, and to the
//! servers of a zone themselves.
//!
//! Answers are kept for a short time only: whoever repairs a record wants to see the difference.
//! What the servers of a zone say themselves is never kept.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use async_trait::async_trait;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::{DnsError, NetError};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{CAA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};

use crate::exchange::{ExchangeError, exchange};
use crate::{Caa, EgressPolicy, LookupError, Nameserver, Resolver, Zone};

/// Answers that are kept.
const CACHED_ANSWERS: u64 = 4096;
/// Longest time that an answer is kept, whatever it allows.
const LONGEST_CACHED: Duration = Duration::from_secs(30);
/// Longest time that it is kept that there is nothing.
const LONGEST_CACHED_NOTHING: Duration = Duration::from_secs(5);
/// Longest time for one try.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a question is tried again.
const RETRIES: usize = 1;
/// Servers of a zone that are looked at; a zone has at most 13 that a root hint would list.
const MOST_NAMESERVERS: usize = 13;
/// Addresses of one server that are looked at.
const MOST_ADDRESSES: usize = 4;
/// Longest name, in characters and without final dot (RFC 1035 section 3.1).
const LONGEST_NAME: usize = 253;

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// The resolver that is asked, `host:port` or `host`; the system's if there is none.
    pub server: Option<String>,
    /// Port that the servers of zones answer on.
    pub nameserver_port: u16,
    /// Which servers of zones may be asked. Whoever owns a zone names them, so it should not let
    /// this machine be reached.
    pub nameservers: EgressPolicy,
    /// Whether answers are kept for a while. Who looks whether a record has come wants to see it at
    /// once.
    pub keeps_answers: bool,
}

impl Default for ResolverSettings {
    /// The system's resolver, port 53, servers at public and private addresses.
    fn default() -> Self {
        Self {
            server: None,
            nameserver_port: 53,
            nameservers: EgressPolicy::BACKENDS.for_account(false),
            keeps_answers: true,
        }
    }
}

/// Why there is no resolver to ask.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// The setting names no address.
    #[error("{server} is no address of a resolver; give host:port")]
    Address {
        /// The setting.
        server: String,
    },
    /// The system does not say which resolver to ask.
    #[error("the system names no DNS resolver")]
    System(#[source] NetError),
}

/// A resolver that asks over the network.
pub struct SystemResolver {
    resolver: TokioResolver,
    /// The servers of the setting. Where they are the servers of a zone as well, they are asked
    /// as such at the very same place: whoever runs this machine has named it.
    configured: Vec<SocketAddr>,
    nameserver_port: u16,
    nameservers: EgressPolicy,
}

impl SystemResolver {
    /// A resolver by these settings. A name in them is looked up now, which blocks.
    ///
    /// # Errors
    /// [`ResolverError`].
    pub fn new(settings: &ResolverSettings) -> Result<Self, ResolverError> {
        let provider = TokioRuntimeProvider::default();
        let configured = settings.server.as_deref().map(addresses).transpose()?;
        let mut builder = match &configured {
            Some(addresses) => {
                let servers = addresses.iter().copied().map(server).collect();
                let config = ResolverConfig::from_name_servers(servers);
                let mut builder = TokioResolver::builder_with_config(config, provider);
                builder.options_mut().use_hosts_file = ResolveHosts::Never;
                builder
            }
            None => TokioResolver::builder(provider).map_err(ResolverError::System)?,
        };
        set_options(builder.options_mut(), settings.keeps_answers);
        Ok(Self {
            resolver: builder.build().map_err(ResolverError::System)?,
            configured: configured.unwrap_or_default(),
            nameserver_port: settings.nameserver_port,
            nameservers: settings.nameservers,
        })
    }

    /// Where a zone's server at this address is asked, if it may be.
    fn place(&self, address: IpAddr) -> Result<SocketAddr, &'static str> {
        let mut configured = self.configured.iter();
        if let Some(place) = configured.find(|place| place.ip() == address) {
            return Ok(*place);
        }
        self.nameservers.check(address)?;
        Ok(SocketAddr::new(address, self.nameserver_port))
    }

    /// The records of a type at a name, aliases followed. Empty when there are none.
    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, LookupError> {
        match self.resolver.lookup(parse(name)?, kind).await {
            Ok(lookup) => {
                let answers = lookup.answers().iter();
                let of_kind = answers.filter(|record| record.record_type() == kind);
                Ok(of_kind.cloned().collect())
            }
            Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Ok(Vec::new()),
            Err(error) => Err(failure(name, &error)),
        }
    }

    /// The same, but nothing is at a name that does not exist either.
    async fn records_if_any(
        &self,
        name: &str,
        kind: RecordType,
    ) -> Result<Vec<Record>, LookupError> {
        match self.records(name, kind).await {
            Err(LookupError::NotFound { .. }) => Ok(Vec::new()),
            records => records,
        }
    }

    async fn nameservers(&self, apex: &str) -> Result<Vec<Nameserver>, LookupError> {
        let mut nameservers = Vec::new();
        let mut last = None;
        let records = self.records_if_any(apex, RecordType::NS).await?;
        for record in records.iter().take(MOST_NAMESERVERS) {
            let RData::NS(server) = &record.data else {
                continue;
            };
            let name = without_dot(&server.0);
            match self.addresses(&name).await {
                Ok(addresses) => {
                    for address in addresses.into_iter().take(MOST_ADDRESSES) {
                        match self.place(address) {
                            Ok(address) => nameservers.push(Nameserver {
                                name: name.clone(),
                                address,
                            }),
                            Err(reason) => {
                                last = Some(format!("{name} may not be asked: {reason}"));
                            }
                        }
                    }
                }
                Err(error) => last = Some(error.to_string()),
            }
        }
        if nameservers.is_empty() {
            let reason = last.unwrap_or_else(|| "it has no name servers".to_owned());
            return Err(LookupError::Failed {
                name: apex.to_owned(),
                reason,
            });
        }
        Ok(nameservers)
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SystemResolver")
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let lookup = self.resolver.lookup_ip(parse(name)?).await;
        let lookup = lookup.map_err(|error| failure(name, &error))?;
        let addresses: Vec<IpAddr> = lookup.iter().collect();
        if addresses.is_empty() {
            return Err(LookupError::NotFound {
                name: name.to_owned(),
            });
        }
        Ok(addresses)
    }

    async fn text(&self, name: &str) -> Result<Vec<String>, LookupError> {
        let records = self.records(name, RecordType::TXT).await?;
        Ok(texts(&records))
    }

    async fn alias(&self, name: &str) -> Result<Option<String>, LookupError> {
        let records = self.records_if_any(name, RecordType::CNAME).await?;
        Ok(records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) => Some(without_dot(&target.0)),
            _ => None,
        }))
    }

    async fn caa(&self, name: &str) -> Result<Vec<Caa>, LookupError> {
        let records = self.records_if_any(name, RecordType::CAA).await?;
        let caa = records.iter().filter_map(|record| match &record.data {
            RData::CAA(caa) => Some(read_caa(caa)),
            _ => None,
        });
        Ok(caa.collect())
    }

    async fn zone(&self, name: &str) -> Result<Zone, LookupError> {
        let mut top = parse(name)?;
        while !top.is_root() {
            let apex = without_dot(&top);
            let records = self.records_if_any(&apex, RecordType::SOA).await?;
            // Where an alias leads, other zones begin.
            if records.iter().any(|record| record.name == top) {
                let nameservers = self.nameservers(&apex).await?;
                return Ok(Zone { apex, nameservers });
            }
            top = top.base_name();
        }
        Err(LookupError::NotFound {
            name: name.to_owned(),
        })
    }

    async fn text_at(
        &self,
        nameserver: &Nameserver,
        name: &str,
    ) -> Result<Vec<String>, LookupError> {
        let owner = parse(name)?;
        let failed = |reason: String| LookupError::Failed {
            name: name.to_owned(),
            reason,
        };
        let mut question = Message::query();
        question.metadata.recursion_desired = false;
        question.add_query(Query::query(owner.clone(), RecordType::TXT));
        let question = question.to_vec().map_err(|_| LookupError::Invalid {
            name: name.to_owned(),
        })?;
        let policy = if self.configured.contains(&nameserver.address) {
            EgressPolicy::BACKENDS
        } else {
            self.nameservers
        };
        let answer = exchange(nameserver.address, policy, &question).await;
        let answer = answer.map_err(|error| unreachable(name, nameserver, &error))?;
        let server = &nameserver.name;
        let answer = Message::from_vec(&answer)
            .map_err(|error| failed(format!("{server} does not answer in DNS: {error}")))?;
        let records: Vec<Record> = answer
            .answers
            .iter()
            .filter(|record| record.name == owner && record.record_type() == RecordType::TXT)
            .cloned()
            .collect();
        match answer.metadata.response_code {
            ResponseCode::NoError if !records.is_empty() => Ok(texts(&records)),
            ResponseCode::NoError | ResponseCode::NXDomain if answer.metadata.authoritative => {
                Ok(Vec::new())
            }
            ResponseCode::NoError | ResponseCode::NXDomain => Err(failed(format!(
                "{server} is named as a server of the zone, but does not have it"
            ))),
            code => Err(failed(format!("{server} answers {code}"))),
        }
    }
}

fn addresses(server: &str) -> Result<Vec<SocketAddr>, ResolverError> {
    let invalid = || ResolverError::Address {
        server: server.to_owned(),
    };
    let addresses: Vec<SocketAddr> = if let Ok(address) = server.parse::<IpAddr>() {
        vec![SocketAddr::new(address, 53)]
    } else if server.contains(':') {
        server.to_socket_addrs().map_err(|_| invalid())?.collect()
    } else {
        let addresses = (server, 53).to_socket_addrs();
        addresses.map_err(|_| invalid())?.collect()
    };
    if addresses.is_empty() {
        return Err(invalid());
    }
    Ok(addresses)
}

fn server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

fn set_options(options: &mut ResolverOpts, keeps_answers: bool) {
    options.cache_size = CACHED_ANSWERS;
    options.positive_max_ttl = Some(LONGEST_CACHED);
    options.negative_max_ttl = Some(LONGEST_CACHED_NOTHING);
    if !keeps_answers {
        options.cache_size = 0;
        options.positive_max_ttl = Some(Duration::ZERO);
        options.negative_max_ttl = Some(Duration::ZERO);
    }
    options.timeout = PATIENCE;
    options.attempts = RETRIES;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.try_tcp_on_error = true;
    // Aliases would hide behind what they lead to.
    options.preserve_intermediates = true;
}

/// A name to ask for, from its root: no search list is tried.
fn parse(name: &str) -> Result<Name, LookupError> {
    let invalid = || LookupError::Invalid {
        name: name.to_owned(),
    };
    let bare = name.strip_suffix('.').unwrap_or(name);
    let is_plain = |octet: u8| octet.is_ascii_graphic() && octet != b'\\';
    if bare.is_empty() || bare.len() > LONGEST_NAME || !bare.bytes().all(is_plain) {
        return Err(invalid());
    }
    let mut name = Name::from_ascii(bare).map_err(|_| invalid())?;
    name.set_fqdn(true);
    Ok(name)
}

fn without_dot(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_ascii_lowercase()
}

fn texts(records: &[Record]) -> Vec<String> {
    let text = |text: &TXT| String::from_utf8_lossy(&text.txt_data.concat()).into_owned();
    let texts = records.iter().filter_map(|record| match &record.data {
        RData::TXT(strings) => Some(text(strings)),
        _ => None,
    });
    texts.collect()
}

fn read_caa(caa: &CAA) -> Caa {
    Caa {
        is_critical: caa.issuer_critical,
        tag: caa.tag.to_ascii_lowercase(),
        value: String::from_utf8_lossy(&caa.value).into_owned(),
    }
}

fn failure(name: &str, error: &NetError) -> LookupError {
    let name = name.to_owned();
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => LookupError::NotFound { name },
        NetError::Dns(error) => LookupError::Failed {
            name,
            reason: error.to_string(),
        },
        error => LookupError::Unreachable {
            name,
            reason: error.to_string(),
        },
    }
}

fn unreachable(name: &str, nameserver: &Nameserver, error: &ExchangeError) -> LookupError {
    LookupError::Unreachable {
        name: name.to_owned(),
        reason: format!("{}: {error}", nameserver.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_dns_does_not_have_are_not_asked_for() {
        let long = "a.".repeat(128);
        for name in ["", ".", "a..b", "a b", "a\\.b", "ä.example", &long] {
            assert!(
                matches!(parse(name), Err(LookupError::Invalid { .. })),
                "{name}"
            );
        }
        for name in ["example.com", "example.com.", "_acme-challenge.a.b", "*.a"] {
            assert!(parse(name).unwrap().is_fqdn(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_resolver_is_named_by_its_address_with_or_without_port() {
        for server in [
            "127.0.0.1",
            "127.0.0.1:5353",
            "::1",
            "[::1]:53",
            "localhost:53",
        ] {
            let settings = ResolverSettings {
                server: Some(server.to_owned()),
                ..ResolverSettings::default()
            };
            assert!(SystemResolver::new(&settings).is_ok(), "{server}");
        }
        for server in ["", "127.0.0.1:", "127.0.0.1:port", "[::1"] {
            let settings = ResolverSettings {
                server: Some(server.to_owned()),
                ..ResolverSettings::default()
            };
            let refused = SystemResolver::new(&settings);
            assert!(
                matches!(refused, Err(ResolverError::Address { .. })),
                "{server}"
            );
        }
    }
}
