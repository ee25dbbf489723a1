//! Bad backends hurt their own service and nobody else; bad clients hurt nobody.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use testbed::{Backend, Chancery, Fault, eventually};

const DEADLINE: Duration = Duration::from_secs(60);
/// Connections that are opened and left half done, of each kind.
const HALF_DONE: usize = 70;

/// What a client is told about a fault.
const STATUSES: [(Fault, u16); 7] = [
    (Fault::Silence, 504),
    (Fault::Dribble, 504),
    (Fault::Reset, 502),
    (Fault::Close, 502),
    (Fault::Garbage, 502),
    (Fault::EndlessHead, 502),
    (Fault::TwoLengths, 502),
];

fn fetch(server: &Chancery, name: &str, flag: &str) -> (u16, String) {
    let curl = server.edge_curl(&[name]).args(&[flag]);
    let answer = curl.get(&server.edge_url(name, "/"));
    (answer.status, answer.text())
}

#[test]
fn a_bad_backend_is_named_as_such_while_other_services_go_on() {
    let server = Chancery::options()
        .config("[edge]\nanswer_timeout_seconds = 5\n")
        .start();
    let api = server.kraftcloud();
    let good = Backend::web("good");
    api.serve("good", &["good.example.com."], &good);
    let mut bad = Vec::new();
    for (fault, status) in STATUSES {
        let backend = Backend::faulty("bad", fault);
        let name = format!("{fault:?}").to_lowercase();
        let domain = format!("{name}.example.com");
        api.serve(&name, &[&format!("{domain}.")], &backend);
        bad.push((fault, status, domain, backend));
    }
    server.wait_for_edge(&["good.example.com"]);
    for (_, _, domain, _) in &bad {
        server.wait_for_edge(&[domain]);
    }
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let before = server.peak_memory();
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                for flag in ["--http1.1", "--http2"] {
                    let answer = fetch(&server, "good.example.com", flag);
                    assert_eq!(answer, (200, good.greeting()));
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let asked: Vec<_> = bad
            .iter()
            .map(|(fault, status, domain, _)| {
                let server = &server;
                scope.spawn(move || {
                    for flag in ["--http1.1", "--http2"] {
                        let (found, page) = fetch(server, domain, flag);
                        assert_eq!(found, *status, "{fault:?} {flag}: {page}");
                        assert!(page.contains(&status.to_string()), "{fault:?}: {page}");
                        // The page says nothing of what stands behind the edge.
                        assert!(!page.contains("127.0.0.1"), "{fault:?}: {page}");
                    }
                })
            })
            .collect();
        let results: Vec<_> = asked
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        is_over.store(true, Ordering::SeqCst);
        others.join().unwrap();
        for result in results {
            result.unwrap();
        }
    });
    assert!(answered.load(Ordering::SeqCst) > 0);
    let grown = server.peak_memory() - before;
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_on_as_if_it_were_whole() {
    let server = Chancery::start();
    let backend = Backend::faulty("cut", Fault::CutBody);
    server
        .kraftcloud()
        .serve("cut", &["cut.example.com."], &backend);
    server.wait_for_edge(&["cut.example.com"]);
    for flag in ["--http1.1", "--http2"] {
        let curl = server.edge_curl(&["cut.example.com"]).args(&[flag]);
        let cut = curl.try_get(&server.edge_url("cut.example.com", "/"));
        let cut = cut.expect_err("curl notices");
        // 18: part of a file; 56: the connection broke; 92: an error of an HTTP/2 stream.
        assert!(matches!(cut.code(), Some(18 | 56 | 92)), "{flag}: {cut:?}");
    }
}

#[test]
fn a_refused_connection_is_tried_on_the_next_instance_and_no_instance_is_a_bad_gateway() {
    let server = Chancery::start();
    let backend = Backend::web("second");
    let api = server.kraftcloud();
    let instance = |name: &str, address: &str| {
        let body = json!({ "name": name, "image": "web", "private_ip": address,
                           "service_group": { "name": "two" } });
        api.call_one("POST", "/v1/instances", &body);
    };
    api.serve("two", &["two.example.com."], &backend);
    // Where the whole network is one machine, nobody listens at this address.
    instance("deaf", "127.0.0.2");
    server.wait_for_edge(&["two.example.com"]);
    for _ in 0..6 {
        let answer = fetch(&server, "two.example.com", "--http2");
        assert_eq!(answer, (200, backend.greeting()));
    }
    drop(backend);
    assert_eq!(fetch(&server, "two.example.com", "--http2").0, 502);
    for name in ["deaf", "two-1"] {
        api.call("DELETE", "/v1/instances", &json!([{ "name": name }]));
    }
    eventually(DEADLINE, "no instance is left to ask", || {
        (fetch(&server, "two.example.com", "--http2").0 == 503).then_some(())
    });
}

#[test]
fn connections_that_are_left_half_done_stop_nobody_and_are_ended() {
    let server = Chancery::start();
    let backend = Backend::web("calm");
    server
        .kraftcloud()
        .serve("calm", &["calm.example.com."], &backend);
    server.wait_for_edge(&["calm.example.com"]);
    let connect = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(server.edge_https()).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    // Nothing at all, and the beginning of a handshake.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut shaking = Vec::new();
    for _ in 0..HALF_DONE {
        shaking.push(connect(b""));
        shaking.push(connect(&hello));
    }
    // The beginning of a request, over both versions of HTTP.
    let client = server.edge_client();
    let mut asking = Vec::new();
    for number in 0..HALF_DONE {
        let (protocol, bytes): (_, &[u8]) = if number % 2 == 0 {
            (
                "http/1.1",
                b"GET / HTTP/1.1\r\nHost: calm.example.com\r\nX-Slow",
            )
        } else {
            ("h2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0")
        };
        let client = client.clone().offering(&[protocol]);
        let stream = client.connect(server.edge_https(), "calm.example.com");
        let mut stream = stream.unwrap();
        assert_eq!(stream.protocol().as_deref(), Some(protocol));
        stream.write_all(bytes).unwrap();
        stream.flush().unwrap();
        asking.push(stream);
    }
    for flag in ["--http1.1", "--http2"] {
        for _ in 0..5 {
            let answer = fetch(&server, "calm.example.com", flag);
            assert_eq!(answer, (200, backend.greeting()));
        }
    }
    for mut stream in shaking {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut rest = Vec::new();
        // A reset is an end, too.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "still open");
        }
    }
}
