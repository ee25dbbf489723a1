//! A certificate that is replaced is replaced everywhere at once, and nobody notices.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testbed::{
    Authority, Backend, Cluster, KraftCloud, OnDrop, Pair, TlsClient, eventually, openssl, serial,
};

const SOON: Duration = Duration::from_secs(20);
const NAME: &str = "busy.example.com";
const REPLACEMENTS: usize = 8;
const CLIENTS: usize = 8;
/// Connections that have to come between one replacement and the next.
const CONNECTIONS: usize = 300;

/// The certificates, in the order in which they come into service, and how far each node is.
struct Generations {
    leaves: Vec<Vec<u8>>,
    /// The newest generation that the node is known to serve.
    settled: [AtomicUsize; 2],
}

impl Generations {
    fn of(pairs: &[Pair]) -> Self {
        let der = |pair: &Pair| openssl(&["x509", "-outform", "DER"], pair.chain.as_bytes()).stdout;
        Self {
            leaves: pairs.iter().map(der).collect(),
            settled: [AtomicUsize::new(0), AtomicUsize::new(0)],
        }
    }

    /// Opens a connection to a node and says which generation was served.
    fn visit(&self, client: &TlsClient, cluster: &Cluster, node: usize) -> Result<usize, String> {
        let settled = self.settled[node].load(Ordering::SeqCst);
        let mut stream = client.connect(cluster.nodes[node].edge_https(), NAME)?;
        let leaf = stream.certificate();
        let found = self.leaves.iter().position(|known| *known == leaf);
        let found = found.ok_or_else(|| format!("an unknown certificate: {}", serial(&leaf)))?;
        if found < settled {
            return Err(format!("node {node} went back from {settled} to {found}"));
        }
        let answer = stream.request("GET", "/", &[("Host", NAME)], b"")?;
        if answer.status == 200 {
            Ok(found)
        } else {
            Err(format!("{} {}", answer.status, answer.text()))
        }
    }
}

#[test]
fn replacing_a_certificate_under_load_fails_no_handshake_on_any_node() {
    let cluster = Cluster::start(2);
    let backend = Backend::web("busy");
    let elsewhere = Authority::new();
    let pairs: Vec<Pair> = (0..=REPLACEMENTS)
        .map(|_| elsewhere.issue(&[NAME], 90))
        .collect();
    let apis: Vec<KraftCloud> = cluster
        .nodes
        .iter()
        .map(|node| KraftCloud::new(&node.http(), &cluster.token))
        .collect();
    apis[0].upload("busy", NAME, &pairs[0]);
    apis[0].serve("busy", &[&format!("{NAME}.")], &backend);

    let client = TlsClient::trusting(&[&elsewhere.root()]);
    let generations = Generations::of(&pairs);
    for node in 0..2 {
        eventually(SOON, "the first certificate is served", || {
            generations.visit(&client, &cluster, node).ok()
        });
    }
    let failures = Mutex::new(Vec::new());
    let (connections, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (client, cluster, generations) = (&client, &cluster, &generations);
            let (failures, connections, is_over) = (&failures, &connections, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    if let Err(error) = generations.visit(client, cluster, number % 2) {
                        failures.lock().unwrap().push(error);
                    }
                    connections.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let _end = OnDrop(&is_over);
        for (number, pair) in pairs.iter().enumerate().skip(1) {
            let object = apis[number % 2].replace("busy", pair);
            assert_eq!(object["serial_number"], pair.serial);
            for node in 0..2 {
                eventually(SOON, "the node serves the new certificate", || {
                    let served = generations.visit(&client, &cluster, node);
                    (served == Ok(number)).then_some(())
                });
                generations.settled[node].store(number, Ordering::SeqCst);
            }
            let enough = connections.load(Ordering::SeqCst) + CONNECTIONS;
            eventually(SOON * 3, "more connections", || {
                (connections.load(Ordering::SeqCst) >= enough).then_some(())
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
}
