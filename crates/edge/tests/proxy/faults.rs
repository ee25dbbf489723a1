//! Servers that fail.

use testbed::{Backend, Fault};

use crate::{NAME, curl, https, server_before};

#[test]
fn a_server_that_fails_is_answered_for_and_counted() {
    for (fault, status, reason) in [
        (Fault::Reset, 502, "broken"),
        (Fault::Close, 502, "broken"),
        (Fault::Garbage, 502, "broken"),
        (Fault::EndlessHead, 502, "broken"),
        (Fault::TwoLengths, 502, "broken"),
    ] {
        let backend = Backend::faulty("one", fault);
        let server = server_before(backend.address());
        for version in ["--http1.1", "--http2"] {
            let curl = curl(&server, &[NAME]).args(&[version]);
            let answer = curl.get(&https(&server, "/"));
            assert_eq!(answer.status, status, "{fault:?} {version}");
        }
        let series = format!("edge_instance_failures_total{{reason=\"{reason}\"}}");
        assert_eq!(server.counter(&series), 2, "{fault:?}");
    }
}

#[test]
fn an_answer_that_is_cut_is_seen_to_be_cut() {
    let backend = Backend::faulty("one", Fault::CutBody);
    let server = server_before(backend.address());
    for version in ["--http1.1", "--http2"] {
        let curl = curl(&server, &[NAME]).args(&[version]);
        assert!(curl.try_get(&https(&server, "/")).is_err(), "{version}");
    }
}

#[test]
fn a_server_that_is_not_there_is_answered_for() {
    let backend = Backend::web("one");
    let address = backend.address();
    drop(backend);
    let server = server_before(address);
    let answer = curl(&server, &[NAME]).get(&https(&server, "/"));
    assert_eq!(answer.status, 502);
    let text = answer.text();
    assert!(
        text.contains("No instance accepted the connection."),
        "{text}"
    );
    assert!(!text.contains(&address.port().to_string()), "{text}");
}
