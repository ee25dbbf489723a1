//! The proxy between real sockets, with a house that is only said to be there.

mod answers;
mod challenges;
mod hostile;
mod instances;
mod requests;
mod second;
mod streaming;
mod upgrades;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::balancer::Service;
use super::{Directory, Proxy, serve};
use crate::facts::{ConnectionFacts, Entrance, TlsFacts};
use crate::metrics::Metrics;
use crate::settings::Settings;
use lifecycle::{
    Backend, CertificateId, Handlers, InstanceId, Protocol, PublishedPort, Route, ServiceId, Site,
};

/// Longest time for anything in these tests.
const DEADLINE: Duration = Duration::from_secs(20);
/// Time that an instance may take that does not answer.
const ANSWER: Duration = Duration::from_millis(400);

pub(super) fn instance_id(number: u128) -> InstanceId {
    format!("{number:032x}").parse().unwrap()
}

fn service_id(number: u128) -> ServiceId {
    format!("{number:032x}").parse().unwrap()
}

/// A service with an instance at each of these addresses.
pub(super) fn route<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Route {
    let backends = addresses
        .into_iter()
        .zip(0..)
        .map(|(address, number)| Backend {
            instance: instance_id(number),
            address: address.to_owned(),
        });
    Route {
        service: service_id(1),
        ports: Vec::new(),
        soft_limit: 1,
        hard_limit: 65_535,
        backends: backends.collect(),
        policy: lifecycle::EgressPolicy::BACKENDS,
    }
}

/// What a service publishes on `port`, for instances that listen on `destination_port`.
fn published(port: u16, destination_port: u16, redirect: bool) -> PublishedPort {
    PublishedPort {
        port,
        destination_port,
        handlers: Handlers {
            tls: port != 80,
            http: true,
            redirect,
        },
        protocol: Protocol::Tcp,
    }
}

/// A house of some domains.
struct House {
    sites: Mutex<HashMap<String, Arc<Site>>>,
    /// Host, token and answer.
    challenge: [&'static str; 3],
    services: HashMap<ServiceId, Arc<Service>>,
    settings: Settings,
    metrics: Metrics,
    proxy: Proxy,
}

impl House {
    /// A house whose domain `a.test` has instances at these addresses, all listening on `port`.
    fn new<'a>(addresses: impl IntoIterator<Item = &'a str>, port: u16) -> Self {
        let settings = Settings {
            answer: DEADLINE,
            ..Settings::default()
        };
        let metrics = Metrics::new();
        let mut house = Self {
            sites: Mutex::default(),
            challenge: [""; 3],
            services: HashMap::new(),
            proxy: Proxy::new(&settings, &metrics),
            metrics,
            settings,
        };
        let mut route = route(addresses);
        route.ports = vec![published(80, port, false), published(443, port, false)];
        house.add("a.test", route, None);
        house
    }

    fn add(&mut self, domain: &str, route: Route, certificate: Option<CertificateId>) {
        let site = Site {
            domain: domain.to_owned(),
            service: route.service,
            certificate,
            alternate: None,
        };
        self.sites
            .get_mut()
            .unwrap()
            .insert(domain.to_owned(), Arc::new(site));
        let service = Service::new(route, None);
        self.services
            .insert(service.route.service, Arc::new(service));
    }

    fn change(&mut self, change: impl FnOnce(&mut Route)) {
        let service = self.services.get_mut(&service_id(1)).unwrap();
        let mut route = service.route.clone();
        change(&mut route);
        *service = Arc::new(Service::new(route, None));
    }

    fn site(&self, domain: &str) -> Arc<Site> {
        self.sites.lock().unwrap()[domain].clone()
    }

    /// Takes a domain from its service.
    fn remove(&self, domain: &str) {
        self.sites.lock().unwrap().remove(domain);
    }
}

impl Directory for House {
    async fn site(&self, name: &str) -> Result<Option<Arc<Site>>, lifecycle::Error> {
        Ok(self.sites.lock().unwrap().get(name).cloned())
    }

    async fn service(&self, id: ServiceId) -> Result<Option<Arc<Service>>, lifecycle::Error> {
        Ok(self.services.get(&id).cloned())
    }

    async fn challenge(&self, host: &str, token: &str) -> Result<Option<String>, lifecycle::Error> {
        let [own_host, own_token, answer] = self.challenge;
        let is_own = (host, token) == (own_host, own_token);
        Ok(is_own.then(|| answer.to_owned()))
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

/// An edge before a house.
struct Edge {
    address: SocketAddr,
    house: Arc<House>,
    shutdown: watch::Sender<bool>,
    tasks: Arc<Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Edge {
    /// On the plain port.
    async fn plain(house: House) -> Self {
        Self::start(house, Entrance::Http, None).await
    }

    /// As if there had been a handshake for `a.test`.
    async fn secured(house: House, is_http2: bool) -> Self {
        let tls = TlsFacts {
            site: house.site("a.test"),
            is_http2,
            version: "1.3",
        };
        Self::start(house, Entrance::Https, Some(tls)).await
    }

    async fn start(house: House, entrance: Entrance, tls: Option<TlsFacts>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, house, entrance, tls)
    }

    fn start_on(
        listener: TcpListener,
        house: House,
        entrance: Entrance,
        tls: Option<TlsFacts>,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (shutdown, receiver) = watch::channel(false);
        let house = Arc::new(house);
        let served = house.clone();
        let tasks = Arc::new(Mutex::new(Vec::new()));
        let connections = tasks.clone();
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let facts = ConnectionFacts {
                    peer,
                    entrance,
                    tls: tls.clone(),
                    shutdown: receiver.clone(),
                };
                let task = tokio::spawn(serve(stream, facts, served.clone()));
                connections.lock().unwrap().push(task);
            }
        });
        Self {
            address,
            house,
            shutdown,
            tasks,
        }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends this on a connection of its own and reads all that comes.
    async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }

    /// Waits until all connections have ended.
    async fn drained(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        for task in tasks {
            timeout(DEADLINE, task).await.unwrap().unwrap();
        }
    }
}

/// A client's connection.
struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// An answer with a length: its head and its body.
    async fn answer(&mut self) -> (String, String) {
        let head = read_head(&mut self.0).await;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        let read = timeout(DEADLINE, self.0.read_exact(&mut body))
            .await
            .unwrap();
        read.unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    /// All that comes until the connection ends.
    async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = timeout(DEADLINE, self.0.read_to_end(&mut bytes)).await;
        // A reset is an end too.
        let _ = read.expect("the connection stays open");
        String::from_utf8(bytes).unwrap()
    }
}

/// The head of a message, without the empty line.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(DEADLINE, stream.read_u8()).await.unwrap();
        let Ok(byte) = byte else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

/// An instance of a service: what it does on each connection is up to the test.
struct Instance {
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl Instance {
    /// One whose connections are dealt with by `act`, which gets the connection, its number and a
    /// log.
    async fn acting<F>(act: impl Fn(TcpStream, usize, Log) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::at("127.0.0.1:0", act).await
    }

    async fn at<F>(address: &str, act: impl Fn(TcpStream, usize, Log) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let entries = log.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(act(stream, number, Log(entries.clone())));
            }
        });
        Self { port, log }
    }

    /// One that answers every request with these bytes and keeps its connections open. It reads no
    /// bodies.
    async fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::acting(move |mut stream, _, log| {
            let answer = answer.clone();
            async move {
                loop {
                    let head = read_head(&mut stream).await;
                    if head.is_empty() {
                        return;
                    }
                    log.add(head);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        })
        .await
    }

    /// One that says hello.
    async fn polite() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await
    }

    fn house(&self) -> House {
        House::new(["127.0.0.1"], self.port)
    }

    /// What came so far.
    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// What an instance saw.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }
}

/// Waits until something is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    timeout(DEADLINE, async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it never came to be so");
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1);
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
