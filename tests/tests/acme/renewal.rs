//! Renewal happens in time, on its own, and nobody notices.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testbed::{AcmeSite, OnDrop, TlsClient, eventually, serial};

const SOON: Duration = Duration::from_secs(120);
const NAME: &str = "busy.example.com";
const CLIENTS: usize = 4;
/// Renewals that are asked for; with the first one, fewer than the five orders for the same names that a
/// directory without renewal information is taken to allow.
const RENEWALS: usize = 3;
/// How long a certificate is good for that has to be renewed on its own.
const SHORT_SECONDS: u64 = 60;

/// Opens connections until `work` is done, verifying every certificate, and returns what failed.
fn under_load(site: &AcmeSite, work: impl FnOnce(&AtomicUsize)) -> Vec<String> {
    let client = site.client();
    let failures = Mutex::new(Vec::new());
    let (connections, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    if let Err(error) = visit(site, &client) {
                        failures.lock().unwrap().push(error);
                    }
                    connections.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let _end = OnDrop(&is_over);
        work(&connections);
    });
    failures.into_inner().unwrap()
}

/// Asks for a page over a connection of its own.
fn visit(site: &AcmeSite, client: &TlsClient) -> Result<(), String> {
    let mut stream = client.connect(site.chancery.edge_https(), NAME)?;
    let answer = stream.request("GET", "/", &[("Host", NAME)], b"")?;
    if answer.status == 200 {
        Ok(())
    } else {
        Err(format!("{} {}", answer.status, answer.text()))
    }
}

/// The serial number of the certificate that is served.
fn served(site: &AcmeSite) -> String {
    let stream = site.client().connect(site.chancery.edge_https(), NAME);
    serial(&stream.unwrap().certificate())
}

#[test]
fn renewing_under_load_fails_no_handshake() {
    let site = AcmeSite::start();
    site.serve("busy", &[&format!("{NAME}.")]);
    let certificate = site.wait_until_valid("busy", NAME);
    site.expect_served(NAME);
    let first = served(&site);
    let failures = under_load(&site, |connections| {
        let mut before = first.clone();
        for _ in 0..RENEWALS {
            site.renew(&certificate);
            before = eventually(SOON, "another certificate is served", || {
                let now = served(&site);
                (now != before).then_some(now)
            });
            let enough = connections.load(Ordering::SeqCst) + 50;
            eventually(SOON, "more connections", || {
                (connections.load(Ordering::SeqCst) >= enough).then_some(())
            });
        }
    });
    assert!(failures.is_empty(), "{failures:#?}");
    let now = site.certificate("busy", NAME);
    assert_eq!(now["serial_number"], served(&site));
    assert_eq!(
        (&now["uuid"], &now["state"]),
        (&certificate["uuid"], &"valid".into())
    );
}

#[test]
fn a_short_certificate_is_renewed_on_its_own_before_it_ends() {
    let site = AcmeSite::options()
        .pebble(|pebble| pebble.lifetime(SHORT_SECONDS))
        .start();
    site.serve("busy", &[&format!("{NAME}.")]);
    site.wait_until_valid("busy", NAME);
    site.expect_served(NAME);
    let first = served(&site);
    // A certificate past its end would fail the handshakes.
    let failures = under_load(&site, |_| {
        eventually(SOON, "another certificate is served", || {
            (served(&site) != first).then_some(())
        });
    });
    assert!(failures.is_empty(), "{failures:#?}");
}
