//! Several nodes on one PostgreSQL database are one server.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use serde_json::Value;
use testbed::{Chancery, Cluster, Workdir, eventually, http, openssl};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn nodes_that_start_together_share_one_authority_and_one_inventory() {
    let Cluster { nodes, token, .. } = Cluster::start(2);
    let [first, second] = &nodes[..] else {
        panic!("two nodes were asked for");
    };
    assert_eq!(
        std::fs::read(first.root_certificate()).unwrap(),
        std::fs::read(second.root_certificate()).unwrap()
    );
    let issued = first.cli(&["--token", &token, "issue", "shared.test", "--json"]);
    assert_eq!(issued.code(), Some(0), "{issued:?}");
    let listed: Value =
        serde_json::from_str(&second.cli(&["--token", &token, "ls", "--json"]).text()).unwrap();
    assert_eq!(listed[0]["common_name"], "shared.test");
}

#[test]
fn a_revocation_on_one_node_shows_in_the_answers_of_the_other() {
    let Cluster { nodes, token, .. } = Cluster::start(2);
    let [first, second] = &nodes[..] else {
        panic!("two nodes were asked for");
    };
    let workdir = Workdir::new();
    let out = workdir.path("out");
    let issued = first.cli(&[
        "--token", &token, "issue", "r.test", "--out", &out, "--json",
    ]);
    let issued: Value = serde_json::from_str(&issued.text()).unwrap();
    let chain = format!("{out}/r.test.crt");
    let text = std::fs::read_to_string(&chain).unwrap();
    let issuer = workdir.write(
        "issuer.pem",
        &text[text.match_indices("-----BEGIN").nth(1).unwrap().0..],
    );
    let status = |node: &Chancery| {
        let url = format!("{}/ocsp", node.http());
        openssl(
            &[
                "ocsp",
                "-noverify",
                "-url",
                &url,
                "-issuer",
                &issuer,
                "-cert",
                &chain,
            ],
            b"",
        )
        .text()
    };
    assert!(status(second).contains(": good"));
    let name = issued["name"].as_str().unwrap();
    assert_eq!(
        first.cli(&["--token", &token, "revoke", name]).code(),
        Some(0)
    );
    eventually(SOON, "the other node says revoked", || {
        status(second).contains(": revoked").then_some(())
    });
}

#[test]
fn a_token_deleted_on_one_node_is_refused_by_the_other() {
    let Cluster { nodes, token, .. } = Cluster::start(2);
    let [first, second] = &nodes[..] else {
        panic!("two nodes were asked for");
    };
    let spare = first
        .cli(&["--token", &token, "token", "create", "--name", "spare"])
        .text();
    let spare = spare.trim();
    let status = |node: &Chancery| {
        let bearer = format!("Bearer {spare}");
        http::send(
            &node.http(),
            "GET",
            "/v1/certificates",
            &[("Authorization", &bearer)],
            b"",
        )
        .status
    };
    assert_eq!((status(first), status(second)), (200, 200));
    let tokens: Value = serde_json::from_str(
        &first
            .cli(&["--token", &token, "token", "ls", "--json"])
            .text(),
    )
    .unwrap();
    let found = tokens
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["name"] == "spare")
        .unwrap();
    let uuid = found["uuid"].as_str().unwrap();
    assert_eq!(
        first.cli(&["--token", &token, "token", "rm", uuid]).code(),
        Some(0)
    );
    assert_eq!(status(first), 401);
    eventually(SOON, "the other node refuses the token", || {
        (status(second) == 401).then_some(())
    });
}
