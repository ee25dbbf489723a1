//! The audit log as an operator sees it: who did what, and whether somebody changed the record.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use serde_json::Value;
use testbed::{Chancery, Cluster, Postgres, Workdir, eventually, run};

const SOON: Duration = Duration::from_secs(20);

/// Waits until all events are linked; answers with the head.
fn linked(server: &Chancery, token: &str) -> String {
    eventually(SOON, "all events are linked", || {
        let verified = server.cli(&["--token", token, "audit", "verify", "--json"]);
        assert_eq!(verified.code(), Some(0), "{verified:?}");
        let verified: Value = serde_json::from_str(&verified.text()).unwrap();
        let head = &verified["head"];
        let is_all = head["last_event"] == verified["newest_event"];
        let link = head["link"].as_str().filter(|_| is_all);
        link.map(ToOwned::to_owned)
    })
}

#[test]
fn an_operator_sees_who_did_what() {
    let server = Chancery::start();
    let issued = server.cli(&["issue", "a.test", "--json"]);
    let issued: Value = serde_json::from_str(&issued.text()).unwrap();
    let name = issued["name"].as_str().unwrap();
    assert_eq!(server.cli(&["revoke", name]).code(), Some(0));
    let listed = server.cli(&["audit", "ls", "--kind", "certificate", "--since", "1h"]);
    assert_eq!(listed.code(), Some(0), "{listed:?}");
    let text = listed.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("EVENT"), "{text}");
    assert!(
        lines[1].contains("certificate.revoked") && lines[1].contains("admin"),
        "{text}"
    );
    let uuid = issued["uuid"].as_str().unwrap();
    let of_it = server.cli(&["audit", "ls", "--object", uuid, "--limit", "1", "--json"]);
    let of_it: Value = serde_json::from_str(&of_it.text()).unwrap();
    assert_eq!(of_it[0]["kind"], "certificate.revoked");
    assert_eq!(of_it.as_array().unwrap().len(), 1);
}

#[test]
fn an_event_that_is_changed_in_the_database_is_found() {
    let mut server = Chancery::start();
    let token = server.token();
    let head = linked(&server, &token);
    let verified = server.cli(&["audit", "verify", "--expect", &head]);
    assert_eq!(verified.code(), Some(0), "{verified:?}");
    assert!(
        verified.text().contains(&format!("--expect {head}")),
        "{verified:?}"
    );
    // Also what happened last is linked when the server ends.
    assert_eq!(server.cli(&["issue", "a.test"]).code(), Some(0));
    assert!(server.terminate().success());
    let database = server.data().join("chancery.db");
    let database = database.to_str().unwrap();
    let sqlite = |sql: &str| run("sqlite3", &[database, sql], b"").text();
    assert_eq!(
        sqlite("select (select max(id) from events) = (select max(last_event) from audit_links)"),
        "1\n"
    );
    sqlite("update events set actor = 'somebody' where kind = 'certificate.issued'");
    let place = sqlite("select min(id) from events where actor = 'somebody'");
    server.restart();
    let broken = server.cli(&["audit", "verify"]);
    assert_eq!(broken.code(), Some(1), "{broken:?}");
    let said = broken.stderr.clone();
    assert!(said.contains("was changed"), "{said}");
    let place: u64 = place.trim().parse().unwrap();
    let words: Vec<u64> = said
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(words[0] <= place && place <= words[1], "{place}: {said}");
}

#[test]
fn an_event_that_is_removed_from_a_shared_database_is_named_by_every_node() {
    let Cluster {
        nodes,
        token,
        database,
    } = Cluster::start(2);
    let head = linked(&nodes[0], &token);
    Postgres::shared().psql(&database, "delete from events where id = 2");
    for node in &nodes {
        let broken = node.cli(&["--token", &token, "audit", "verify"]);
        assert_eq!(broken.code(), Some(1), "{broken:?}");
        let said = broken.stderr.clone();
        assert!(said.contains("event 2 was removed"), "{said}");
    }
    // With all its links taken away, the rest is linked anew. The head that was kept tells, and so
    // do the nodes, which saw it happen.
    Postgres::shared().psql(&database, "delete from audit_links");
    eventually(SOON, "a node tells", || {
        let told = nodes[0].cli(&["--token", &token, "audit", "ls", "--kind", "audit.cut"]);
        told.text().contains(&head).then_some(())
    });
    let cut = nodes[1].cli(&["--token", &token, "audit", "verify", "--expect", &head]);
    assert_eq!(cut.code(), Some(1), "{cut:?}");
}

#[test]
fn a_head_is_in_the_log_of_the_server() {
    let workdir = Workdir::new();
    let server = Chancery::options().data(workdir.path("data")).start();
    let token = server.token();
    let logged = eventually(SOON, "the head is logged", || {
        let logs = server.logs();
        let line = logs
            .lines()
            .find(|line| line.contains("head of the audit chain"))?;
        Some(line.to_owned())
    });
    let head = logged.split("head=").nth(1).unwrap_or(&logged);
    let head: String = head.trim_matches('"').split(' ').next().unwrap().to_owned();
    linked(&server, &token);
    let verified = server.cli(&["audit", "verify", "--expect", &head]);
    assert_eq!(verified.code(), Some(0), "{logged}: {verified:?}");
}
