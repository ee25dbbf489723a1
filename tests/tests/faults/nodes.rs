//! Nodes that are killed again and again while they obtain many certificates.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Cluster, Knot, KraftCloud, Postgres, Watch, Zone, eventually};

use crate::house::{DAY, MINUTE, directory, issuer, node, patiently};

/// Half of them are proven by http-01 or tls-alpn-01, half by dns-01.
const NAMES: usize = 300;
/// Kills, of one node and the other by turns.
const KILLS: usize = 8;
/// Requests for certificates in one call.
const AT_ONCE: usize = 16;
const DEADLINE: Duration = Duration::from_secs(150);
/// For how long nobody orders a name again whose order may have been lost.
const RETRY_WINDOW: Duration = MINUTE;

#[test]
fn nodes_that_are_killed_by_turns_order_no_name_twice_and_leave_nothing_behind() {
    let watch = Watch::slow_by(DAY);
    let zones = [Zone::new("example.com"), Zone::new("dns.test").updatable()];
    let knot = Knot::start_by(&watch, &zones);
    let Cluster {
        mut nodes,
        token,
        database,
    } = Cluster::of(vec![node(&knot, &watch); 2]);
    let directory = directory(&watch, |_| ());
    let post = |path: &str, body: &Value| {
        let answer = nodes[0].administer(&token, "POST", path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    };
    let members = json!({ "default": true });
    post(
        "/chancery/v1/issuers",
        &issuer("main", &directory, &members),
    );
    let provider = json!({ "zone": "dns.test", "kind": "rfc2136",
                           "credentials": knot.credentials() });
    post("/chancery/v1/dns", &provider);
    let names: Vec<String> = (0..NAMES)
        .map(|n| {
            let zone = if n % 2 == 0 {
                "example.com"
            } else {
                "dns.test"
            };
            format!("n{n}.{zone}")
        })
        .collect();
    for (number, some) in names.chunks(AT_ONCE).enumerate() {
        let api = KraftCloud::new(&nodes[number % 2].http(), &token);
        let wanted = some.iter().map(|name| json!({ "cn": name })).collect();
        api.call("POST", "/v1/certificates", &Value::Array(wanted));
    }

    for kill in 0..KILLS {
        let enough = NAMES * (kill + 1) / (KILLS + 2);
        patiently(&watch, RETRY_WINDOW, "more certificates", || {
            let count = directory.certificates().len();
            (count, count >= enough)
        });
        nodes[kill % 2].restart();
    }
    let api = KraftCloud::new(&nodes[0].http(), &token);
    patiently(&watch, RETRY_WINDOW, "all names are valid", || {
        let all = api.call("GET", "/v1/certificates?count=1000", &Value::Null);
        assert_eq!(all.len(), NAMES);
        let valid = all.iter().filter(|one| one["state"] == "valid").count();
        (valid, valid == NAMES)
    });

    for name in &names {
        let ordered = directory.ordered(name);
        let too_early = ordered
            .windows(2)
            .any(|pair| pair[1] - pair[0] < RETRY_WINDOW);
        assert!(!too_early, "{name} was ordered at {ordered:?}");
    }
    let orders: usize = directory.orders().values().sum();
    // At most one for each attempt that a node may have under way when it is killed.
    assert!(orders <= NAMES + NAMES / 10, "{orders} orders");
    assert_eq!(directory.certificates().len(), NAMES);
    assert!(knot.logs().contains("[dns.test.] DDNS, finished"));
    eventually(DEADLINE, "no record is left", || {
        knot.texts("dns.test").is_empty().then_some(())
    });
    eventually(DEADLINE, "no row is left", || {
        let count = "select (select count(*) from orders) + (select count(*) from challenges)";
        (Postgres::shared().psql(&database, count).trim() == "0").then_some(())
    });
}
