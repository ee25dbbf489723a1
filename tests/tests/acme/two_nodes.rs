//! Several nodes on one PostgreSQL database share the work.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{
    Cluster, Knot, KraftCloud, Pebble, TlsClient, Zone, acme_node, add_issuer, eventually,
    free_port,
};

const SOON: Duration = Duration::from_secs(60);
/// A killed node's work is due again when its lease is over.
const DEADLINE: Duration = Duration::from_secs(180);
const NAMES: usize = 24;

#[test]
fn two_nodes_share_the_orders_and_one_finishes_what_the_other_leaves() {
    let knot = Knot::start(&[Zone::new("example.com")]);
    let world = (free_port(), free_port());
    // The world reaches the first node: it answers for the orders of both.
    let node = acme_node(&knot, world, &[]);
    let second = node.clone().edge_ports(free_port(), free_port());
    let Cluster {
        mut nodes, token, ..
    } = Cluster::of(vec![node, second]);
    let pebble = Pebble::options()
        .resolver(&knot)
        .validation_ports(world.0, world.1)
        .start();
    let added = add_issuer(&nodes[0], &token, "pebble", &pebble, &Value::Null);
    assert_eq!(added.status, 200, "{}", added.text());

    let names: Vec<String> = (0..NAMES).map(|n| format!("n{n}.example.com")).collect();
    let apis: Vec<KraftCloud> = nodes
        .iter()
        .map(|node| KraftCloud::new(&node.http(), &token))
        .collect();
    for (number, name) in names.iter().enumerate() {
        let ports = json!([{ "port": 443, "destination_port": 80, "handlers": ["tls", "http"] }]);
        let body = json!({ "services": ports, "domains": [{ "name": format!("{name}.") }] });
        apis[number % 2].call("POST", "/v1/services", &body);
    }
    eventually(SOON, "some are done", || {
        (pebble.certificates() > NAMES / 4).then_some(())
    });
    nodes.truncate(1);
    eventually(DEADLINE, "all names are valid", || {
        let all = apis[0].call("GET", "/v1/certificates", &Value::Null);
        assert_eq!(all.len(), NAMES);
        all.iter().all(|one| one["state"] == "valid").then_some(())
    });
    let client = TlsClient::trusting(&[&pebble.root()]);
    for name in &names {
        eventually(SOON, &format!("{name} is served"), || {
            client.connect(nodes[0].edge_https(), name).ok()
        });
    }
    assert_eq!(pebble.certificates(), NAMES);
    // One may have been placed in the very moment of the kill.
    assert!(pebble.orders() <= NAMES + 1, "{}", pebble.orders());
}
