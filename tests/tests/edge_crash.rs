//! What is served survives the end of the program, however it ends.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use testbed::{Authority, Backend, Chancery, KraftCloud};

const ROUNDS: usize = 6;
const CLIENTS: usize = 16;
/// Services that are made before the kill; it differs from round to round.
const BASE_ANSWERS: usize = 10;

/// Everything that a caller can read of services, instances and certificates.
fn everything(api: &KraftCloud) -> Vec<Vec<Value>> {
    ["/v1/services", "/v1/instances", "/v1/certificates"]
        .map(|path| api.call("GET", path, &Value::Null))
        .to_vec()
}

#[test]
fn services_domains_instances_and_certificates_are_after_a_kill_as_they_were() {
    let mut server = Chancery::start();
    let backend = Backend::web("kept");
    let elsewhere = Authority::new();
    let api = server.kraftcloud();
    let pair = elsewhere.issue(&["own.example.com"], 90);
    api.upload("own", "own.example.com", &pair);
    api.serve(
        "kept",
        &["kept.example.com.", "own.example.com.", "my-project"],
        &backend,
    );
    api.serve("other", &["*.other.example.com."], &backend);
    let one = ["kept.example.com", "a.other.example.com"];
    server.wait_for_edge(&one);

    let before = everything(&api);
    server.restart();
    assert_eq!(everything(&server.kraftcloud()), before);
    server.wait_for_edge(&one);
    for name in one {
        let answer = server.edge_curl(&[name]).get(&server.edge_url(name, "/"));
        assert_eq!((answer.status, answer.text()), (200, backend.greeting()));
    }
    let served = testbed::served_serial(server.edge_https(), "own.example.com", &[]);
    assert_eq!(served, Some(pair.serial));
}

#[test]
fn every_service_that_a_client_was_told_of_survives_a_kill_and_is_served() {
    let mut server = Chancery::start();
    let backend = Backend::web("told");
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        let enough = BASE_ANSWERS + 3 * round;
        told.push(create_until_killed(&mut server, &backend, round, enough));
        server.restart();
        let api = server.kraftcloud();
        let services = api.call("GET", "/v1/services", &Value::Null);
        for name in told.iter().flatten() {
            let kept = services.iter().find(|service| service["name"] == **name);
            let kept = kept.unwrap_or_else(|| panic!("service {name} is lost"));
            assert_eq!(kept["domains"][0]["fqdn"], domain_of(name));
            assert_eq!(kept["instances"][0]["name"], instance_of(name), "{kept}");
        }
        // Also those whose answers were lost are whole or not there at all.
        for service in &services {
            let name = service["name"].as_str().unwrap();
            assert_eq!(service["domains"][0]["fqdn"], domain_of(name));
        }
    }
    for name in told.iter().flatten().step_by(7) {
        let domain = domain_of(name);
        // A request that the killed program was working on is taken up again after a while.
        server.wait_for_edge(&[&domain]);
        let curl = server.edge_curl(&[&domain]);
        let answer = curl.get(&server.edge_url(&domain, "/"));
        assert_eq!((answer.status, answer.text()), (200, backend.greeting()));
    }
}

fn domain_of(service: &str) -> String {
    format!("{service}.example.com")
}

fn instance_of(service: &str) -> String {
    format!("{service}-instance")
}

/// Lets 16 clients make services at once, kills the server in the middle, and returns the names of
/// those whose makers had been told of service and instance until then.
fn create_until_killed(
    server: &mut Chancery,
    backend: &Backend,
    round: usize,
    enough: usize,
) -> Vec<String> {
    let told = Mutex::new(Vec::new());
    let answers = AtomicUsize::new(0);
    let api = server.kraftcloud();
    let server = Mutex::new(server);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (told, answers, api, server) = (&told, &answers, &api, &server);
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("r{round}-c{client}-n{number}");
                    if create(api, &name, backend.port()).is_err() {
                        break;
                    }
                    told.lock().unwrap().push(name);
                    if answers.fetch_add(1, Ordering::SeqCst) + 1 == enough {
                        server.lock().unwrap().kill();
                        break;
                    }
                }
            });
        }
    });
    told.into_inner().unwrap()
}

fn create(api: &KraftCloud, name: &str, port: u16) -> Result<(), String> {
    let service = json!({
        "name": name,
        "services": [{ "port": 443, "destination_port": port, "handlers": ["tls", "http"] }],
        "domains": [{ "name": format!("{}.", domain_of(name)) }],
    });
    let instance = json!({
        "name": instance_of(name),
        "image": "web",
        "private_ip": "127.0.0.1",
        "service_group": { "name": name },
    });
    for (path, body) in [("/v1/services", service), ("/v1/instances", instance)] {
        let answer = api.try_call("POST", path, &body)?;
        let envelope = answer.json();
        assert_eq!(envelope["status"], "success", "{path}: {envelope}");
    }
    Ok(())
}
