//! Servers that refuse, disks that are full, and a server of certificates that goes away.

use std::fs;

use serde_json::{Value, json};
use testbed::{Chancery, Workdir, eventually, free_port};

use crate::{DEADLINE, certificate, hear, managed, renew, standing, wait_for};

fn crt(directory: &Workdir, name: &str) -> Option<String> {
    fs::read_to_string(directory.path(&format!("{name}.crt"))).ok()
}

#[test]
fn what_a_server_refuses_is_told_and_taken_back_and_tried_again() {
    let server = Chancery::start();
    managed(&server, "a.example.com");
    let (name, _) = certificate(&server, "a.example.com");
    let (directory, outside) = (Workdir::new(), Workdir::new());
    let obstacle = outside.path("obstacle");
    let reload = format!("! cat {obstacle} >&2");
    let delivery = server.delivery("web", directory.root());
    let mut deliverer = delivery.args(&["--reload", &reload]).start();
    wait_for(&server, "web", &name, "placed");
    let good = crt(&directory, &name).unwrap();

    fs::write(&obstacle, "line 7: I do not like it").unwrap();
    renew(&server, &name);
    let reason = wait_for(&server, "web", &name, "refused");
    assert!(reason.contains("line 7: I do not like it"), "{reason}");
    assert_eq!(
        crt(&directory, &name),
        Some(good.clone()),
        "the old files are back"
    );
    let shown = server.cli(&["target", "show", "web"]);
    assert!(shown.text().contains("refused"), "{shown:?}");
    assert!(shown.text().contains("I do not like it"), "{shown:?}");
    assert!(
        deliverer.log().contains("I do not like it"),
        "{}",
        deliverer.log()
    );

    fs::remove_file(&obstacle).unwrap();
    wait_for(&server, "web", &name, "placed");
    assert_ne!(crt(&directory, &name), Some(good));
    assert_eq!(deliverer.terminate().code(), Some(0));
    let refused = server.events("placement.refused");
    assert!(refused[0].starts_with("web: "), "{refused:?}");
    let taken = server.events("certificate.key_taken");
    assert_eq!(taken.len(), 2, "trying again takes no key again: {taken:?}");
}

#[test]
fn a_service_that_is_made_anew_is_supplied_again() {
    let server = Chancery::start();
    managed(&server, "a.example.com");
    let (name, _) = certificate(&server, "a.example.com");
    let create = || {
        let service =
            json!({ "name": "web", "domains": ["a.example.com"], "upstreams": ["10.0.0.1:80"] });
        let made = server.administer(&server.token(), "POST", "/chancery/v1/services", &service);
        assert_eq!(made.status, 200, "{}", made.text());
    };
    create();
    let directory = Workdir::new();
    let delivery = server.delivery("web", directory.root());
    let deliverer = delivery.args(&["--service", "web"]).start();
    wait_for(&server, "web", &name, "placed");
    let removed = server.cli(&["service", "rm", "web"]);
    assert_eq!(removed.code(), Some(0), "{removed:?}");
    eventually(DEADLINE, "its files are taken away", || {
        crt(&directory, &name).is_none().then_some(())
    });
    hear(&deliverer, "no service 'web'");
    create();
    wait_for(&server, "web", &name, "placed");
    assert!(crt(&directory, &name).is_some());
}

#[test]
fn what_is_deleted_is_taken_away_and_said_to_be() {
    let server = Chancery::start();
    for name in ["a.example.com", "b.example.com"] {
        managed(&server, name);
    }
    let (gone, _) = certificate(&server, "a.example.com");
    let (stays, _) = certificate(&server, "b.example.com");
    let directory = Workdir::new();
    fs::write(directory.path("precious.txt"), "not from chancery").unwrap();
    let delivery = server
        .delivery("web", directory.root())
        .args(&["--combined"]);
    let deliverer = delivery.start();
    wait_for(&server, "web", &gone, "placed");
    wait_for(&server, "web", &stays, "placed");
    let removed = server.cli(&["rm", &gone]);
    assert_eq!(removed.code(), Some(0), "{removed:?}");
    eventually(DEADLINE, "nothing of it is left", || {
        let is_said = standing(&server, "web", &gone).is_none();
        let file = directory.path(&format!("{gone}.pem"));
        (is_said && !fs::exists(file).unwrap()).then_some(())
    });
    assert_eq!(server.events("placement.removed"), ["web"]);
    let versions = fs::read_dir(directory.path(".chancery/versions")).unwrap();
    assert_eq!(versions.count(), 1, "its key is gone");
    assert!(fs::exists(directory.path(&format!("{stays}.pem"))).unwrap());
    assert!(fs::exists(directory.path("precious.txt")).unwrap());
    drop(deliverer);
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let server = Chancery::start();
    let full = Workdir::new();
    let delivery = server.delivery("full", full.root());
    let refused = delivery.once("trap '' XFSZ; ulimit -f 0");
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("File too large"), "{refused:?}");
    let begun = delivery.once("");
    assert_eq!(begun.code(), Some(0), "{begun:?}");
    managed(&server, "a.example.com");
    let (name, _) = certificate(&server, "a.example.com");
    let directory = Workdir::new();
    fs::write(directory.path("file"), "").unwrap();
    let inside = directory.root().join("file/below");
    let refused = server.delivery("file", &inside).once("");
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("cannot write into"), "{refused:?}");

    // As on a full disk, files can be made and nothing be written to them.
    let refused = delivery.once("trap '' XFSZ; ulimit -f 0");
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    let (found, reason) = standing(&server, "full", &name).unwrap();
    assert_eq!(found, "refused");
    assert!(reason.contains("File too large"), "{reason}");
    assert_eq!(crt(&full, &name), None);
    let done = delivery.once("");
    assert_eq!(done.code(), Some(0), "{done:?}");
    assert_eq!(
        standing(&server, "full", &name).unwrap(),
        ("placed".to_owned(), String::new())
    );

    // Somebody else's file in the way.
    let taken = Workdir::new();
    let path = taken.path(&format!("{name}.key"));
    fs::write(&path, "precious").unwrap();
    let refused = server.delivery("taken", taken.root()).once("");
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("is not from chancery"),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_server_that_goes_away_is_waited_for() {
    let port = free_port();
    let address = format!("http://127.0.0.1:{port}");
    let mut server = Chancery::options().args(&["--listen", &address]).start();
    managed(&server, "a.example.com");
    let (name, first) = certificate(&server, "a.example.com");
    let directory = Workdir::new();
    let delivery = server.delivery("web", directory.root()).url(&address);
    let mut deliverer = delivery.start();
    wait_for(&server, "web", &name, "placed");
    let status = server.terminate();
    assert_eq!(
        status.code(),
        Some(0),
        "nobody holds it up by waiting for a change"
    );
    hear(&deliverer, "trying again");
    server.restart();
    renew(&server, &name);
    eventually(DEADLINE, "the renewed certificate is placed", || {
        let is_new = certificate(&server, "a.example.com").1 != first;
        let is_placed = standing(&server, "web", &name)?.0 == "placed";
        (is_new && is_placed).then_some(())
    });
    assert_eq!(deliverer.terminate().code(), Some(0));
    assert!(deliverer.log().contains("ended"), "{}", deliverer.log());
}

#[test]
fn two_machines_with_one_name_are_told_of_each_other() {
    let server = Chancery::start();
    managed(&server, "a.example.com");
    let (one, other) = (Workdir::new(), Workdir::new());
    let first = server.delivery("web", one.root()).start();
    hear(&first, "in place");
    let second = server.delivery("web", other.root()).start();
    eventually(DEADLINE, "one of them hears of the other", || {
        [&first, &second]
            .iter()
            .any(|deliverer| deliverer.log().contains("that of another directory"))
            .then_some(())
    });
    let removed = server.cli(&["target", "rm", "web"]);
    assert_eq!(removed.code(), Some(0), "{removed:?}");
    drop((first, second));
    let listed = server.administer(&server.token(), "GET", "/chancery/v1/targets", &Value::Null);
    assert_eq!(listed.status, 200);
}
