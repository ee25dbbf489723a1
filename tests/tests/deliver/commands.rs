//! What people see of it on the command line.

use std::fs;

use serde_json::json;
use testbed::{Chancery, Workdir};

use crate::{certificate, managed};

#[test]
fn a_machine_gets_its_certificates_with_one_command() {
    let server = Chancery::start();
    managed(&server, "a.example.com");
    managed(&server, "b.example.com");
    let (a, _) = certificate(&server, "a.example.com");
    let (b, _) = certificate(&server, "b.example.com");
    let domain =
        json!({ "name": "web", "domains": ["a.example.com"], "upstreams": ["10.0.0.1:80"] });
    let made = server.administer(&server.token(), "POST", "/chancery/v1/services", &domain);
    assert_eq!(made.status, 200, "{}", made.text());
    let empty = server.cli(&["target", "ls"]);
    assert_eq!(
        (empty.code(), empty.text().lines().count()),
        (Some(0), 1),
        "{empty:?}"
    );

    let (all, some) = (Workdir::new(), Workdir::new());
    let done = server.delivery("all", all.root()).once("umask 0");
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert_eq!(done.text(), "", "stdout is for nothing");
    assert!(done.stderr.contains("2 certificates in place"), "{done:?}");
    let narrow = server
        .delivery("some", some.root())
        .args(&["--service", "web"]);
    let done = narrow.once("");
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert!(done.stderr.contains("1 certificate in place"), "{done:?}");
    let again = narrow.once("");
    assert!(
        !again.stderr.contains("in place"),
        "nothing is new: {again:?}"
    );
    for (directory, name, is_there) in [
        (&all, &a, true),
        (&all, &b, true),
        (&some, &a, true),
        (&some, &b, false),
    ] {
        for ending in ["crt", "key"] {
            let path = directory.path(&format!("{name}.{ending}"));
            assert_eq!(fs::exists(&path).unwrap(), is_there, "{path}");
        }
    }
    let chain = all.path(&format!("{a}.crt"));
    let root = server.root_certificate().display().to_string();
    testbed::openssl(
        &["verify", "-CAfile", &root, "-untrusted", &chain, &chain],
        b"",
    );

    let listed = server.cli(&["target", "ls"]).text();
    assert!(
        listed.contains("all services") && listed.contains("1 service"),
        "{listed}"
    );
    let shown = server.cli(&["target", "show", "some"]).text();
    assert!(
        shown.contains(&a) && shown.contains("placed") && !shown.contains(&b),
        "{shown}"
    );
    let gone = server.cli(&["target", "rm", "some"]);
    assert_eq!(gone.code(), Some(0), "{gone:?}");
    let unknown = server.cli(&["target", "show", "some"]);
    assert_eq!(unknown.code(), Some(1));
    assert!(unknown.stderr.contains("no target 'some'"), "{unknown:?}");
}

#[test]
fn what_is_wrong_at_the_start_is_said_with_its_remedy() {
    let server = Chancery::start();
    let directory = Workdir::new();
    let delivery = server.delivery("web", directory.root());
    let wrong = delivery.clone().token(&server.token()).once("");
    assert_eq!(wrong.code(), Some(1), "{wrong:?}");
    assert!(
        wrong.stderr.contains("chancery token create --deliver"),
        "{wrong:?}"
    );
    assert!(!wrong.stderr.contains(&server.token()));
    let wrong = delivery.clone().args(&["--service", "no-such"]).once("");
    assert_eq!(wrong.code(), Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("no service 'no-such'"), "{wrong:?}");
    let wrong = server.delivery("a/b", directory.root()).once("");
    assert_eq!(wrong.code(), Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("the name of a target"), "{wrong:?}");
    let listed = server.cli(&["target", "ls", "--json"]);
    assert_eq!(listed.text().trim(), "[]", "nothing has begun");
    let running = delivery.clone().start();
    crate::hear(&running, "delivering");
    let second = delivery.once("");
    assert_eq!(second.code(), Some(1), "{second:?}");
    assert!(
        second.stderr.contains("another chancery deliver"),
        "{second:?}"
    );
    let mixed = server.cli(&["token", "create", "--deliver", "--read-only"]);
    assert_eq!(mixed.code(), Some(2), "{mixed:?}");
}

#[test]
fn a_directory_is_that_of_one_target() {
    let server = Chancery::start();
    managed(&server, "a.example.com");
    let (name, _) = certificate(&server, "a.example.com");
    let service = json!({ "name": "empty", "domains": [], "upstreams": ["10.0.0.1:80"] });
    let made = server.administer(&server.token(), "POST", "/chancery/v1/services", &service);
    assert_eq!(made.status, 200, "{}", made.text());
    let (directory, second) = (Workdir::new(), Workdir::new());
    let delivery = server.delivery("one", directory.root());
    let first = delivery.once("");
    assert_eq!(first.code(), Some(0), "{first:?}");
    let other = server.delivery("other", directory.root());
    let refused = other.once("");
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("chancery target rm one"),
        "{refused:?}"
    );
    // Nor is the target that of another directory, whoever wants what of it.
    let listed = || server.cli(&["target", "ls", "--json"]).text();
    let before = listed();
    let claimed = server
        .delivery("one", second.root())
        .args(&["--service", "empty"])
        .once("");
    assert_eq!(claimed.code(), Some(1), "{claimed:?}");
    assert!(
        claimed.stderr.contains("that of another directory"),
        "{claimed:?}"
    );
    assert_eq!(listed(), before);
    let again = delivery.once("");
    assert_eq!(again.code(), Some(0), "{again:?}");
    let chain = directory.path(&format!("{name}.crt"));
    assert!(fs::exists(&chain).unwrap(), "all of it is still there");

    // Removed, it is made again by itself, or free for another one.
    for delivery in [&delivery, &other] {
        let gone = server.cli(&["target", "rm", "one"]);
        assert_eq!(gone.code(), Some(0), "{gone:?}");
        let done = delivery.once("");
        assert_eq!(done.code(), Some(0), "{done:?}");
    }
    assert!(fs::exists(&chain).unwrap());
}
