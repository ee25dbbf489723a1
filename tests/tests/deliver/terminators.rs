//! Real servers that take renewals while clients are at them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pki::PrivateKey;
use testbed::{Chancery, OnDrop, Terminator, TlsClient, Workdir, eventually, serial};

use crate::{DEADLINE, certificate, is_at_work, managed, renew, standing, wait_for};

const NAME: &str = "busy.example.com";
const RENEWALS: usize = 30;
/// After each so many renewals those who deliver are killed in the middle of it.
const KILLED_EACH: usize = 5;
const CLIENTS: usize = 4;

/// Reads what a server would read, over and over, and finds what no server may find.
struct Reader<'a> {
    directory: &'a Path,
    name: &'a str,
    reads: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Reader<'_> {
    fn read(&self, form: &[&str]) -> Result<(), String> {
        let link = self.directory.join(".chancery/current").join(self.name);
        let stamp = || {
            let link = fs::symlink_metadata(&link).map_err(|error| error.to_string())?;
            Ok::<_, String>((link.ino(), link.ctime(), link.ctime_nsec()))
        };
        let before = stamp()?;
        let read = |ending: &&str| {
            let path = self.directory.join(format!("{}.{ending}", self.name));
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let files: Vec<String> = form.iter().map(read).collect::<Result<_, _>>()?;
        // Two files cannot be opened at once; of what was replaced in between nothing is said.
        if form.len() > 1 && before != stamp()? {
            return Ok(());
        }
        let key = files.last().unwrap();
        let key = &key[key.find("-----BEGIN PRIVATE KEY").ok_or("no key")?..];
        let key = PrivateKey::from_pem(key.as_bytes()).map_err(|error| error.to_string())?;
        let chain = pki::read_chain(files[0].as_bytes(), key.public_key());
        let chain = chain.map_err(|error| error.to_string())?;
        if chain.intermediates.len() != 1 {
            return Err("the chain is not whole".to_owned());
        }
        Ok(())
    }

    fn read_until(&self, form: &[&str], is_over: &AtomicBool) {
        while !is_over.load(Ordering::SeqCst) {
            if let Err(fault) = self.read(form) {
                self.faults.lock().unwrap().push(fault);
            }
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn check(self) {
        let faults = self.faults.into_inner().unwrap();
        assert!(
            faults.is_empty(),
            "{} faults: {:?}",
            faults.len(),
            &faults[..1]
        );
        assert!(self.reads.into_inner() > RENEWALS);
    }
}

#[test]
fn nginx_and_haproxy_take_thirty_renewals_under_load_and_nobody_notices() {
    let server = Chancery::start();
    managed(&server, NAME);
    let (name, _) = certificate(&server, NAME);
    let (pairs, whole) = (Workdir::new(), Workdir::new());
    // The servers start with what is delivered first.
    for (target, directory, args) in [
        ("nginx", &pairs, [].as_slice()),
        ("haproxy", &whole, ["--combined"].as_slice()),
    ] {
        let first = server
            .delivery(target, directory.root())
            .args(args)
            .once("");
        assert_eq!(first.code(), Some(0), "{first:?}");
    }
    let nginx = Terminator::nginx(pairs.root(), &name);
    let haproxy = Terminator::haproxy(whole.root(), &name);
    let deliver = |target: &str, directory: &Workdir, reload: &str| {
        let delivery = server.delivery(target, directory.root());
        delivery.args(&["--reload", reload])
    };
    let mut deliverers = [
        deliver("nginx", &pairs, nginx.reload()).start(),
        deliver("haproxy", &whole, haproxy.reload())
            .args(&["--combined"])
            .start(),
    ];
    let client = TlsClient::trusting(&[&server.root_certificate()]);
    let servers = [&nginx, &haproxy];
    let visit = |number: usize| {
        let stream = client.connect(servers[number].address(), NAME)?;
        Ok::<String, String>(serial(&stream.certificate()))
    };
    let (failures, handshakes) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    let reader = |directory| Reader {
        directory,
        name: &name,
        reads: AtomicUsize::new(0),
        faults: Mutex::default(),
    };
    let (of_pairs, of_whole) = (reader(pairs.root()), reader(whole.root()));
    let mut killed = 0;
    std::thread::scope(|scope| {
        let over = OnDrop(&is_over);
        for number in 0..CLIENTS {
            let (failures, handshakes, is_over, visit) = (&failures, &handshakes, &is_over, &visit);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    if let Err(error) = visit(number % 2) {
                        failures.lock().unwrap().push(error);
                    }
                    handshakes.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| of_pairs.read_until(&["crt", "key"], &is_over));
        scope.spawn(|| of_whole.read_until(&["pem"], &is_over));
        for number in 1..=RENEWALS {
            let (_, before) = certificate(&server, NAME);
            renew(&server, &name);
            if number.is_multiple_of(KILLED_EACH) {
                for (deliverer, directory) in deliverers.iter_mut().zip([&pairs, &whole]) {
                    let caught = testbed::within(DEADLINE / 9, || {
                        is_at_work(directory.root()).then_some(())
                    });
                    killed += usize::from(caught.is_some());
                    deliverer.kill_and_restart();
                }
            }
            let renewed = eventually(DEADLINE, "the certificate is renewed", || {
                let (_, serial) = certificate(&server, NAME);
                (serial != before).then_some(serial)
            });
            for server in 0..2 {
                eventually(DEADLINE, "it is served", || {
                    let served = visit(server).ok()?;
                    served.eq_ignore_ascii_case(&renewed).then_some(())
                });
            }
        }
        drop(over);
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {handshakes:?}: {:?}",
        failures.len(),
        &failures[..1]
    );
    of_pairs.check();
    of_whole.check();
    assert!(killed > 0, "nobody was ever killed in the middle");
    for target in ["nginx", "haproxy"] {
        wait_for(&server, target, &name, "placed");
        assert_eq!(standing(&server, target, &name).unwrap().1, "");
    }
    for deliverer in &mut deliverers {
        assert_eq!(deliverer.terminate().code(), Some(0), "{}", deliverer.log());
    }
    let taken = server.events("certificate.key_taken");
    assert!(taken.len() >= 2 * RENEWALS, "{}", taken.len());
}

#[test]
fn caddy_serves_what_it_is_answered_and_follows_a_renewal_at_the_next_handshake() {
    let server = Chancery::start();
    managed(&server, "a.example.com");
    let (name, first) = certificate(&server, "a.example.com");
    let made = server.cli(&["token", "create", "--deliver"]);
    let token = made.text().trim().replace('=', "%3D");
    let url = server
        .http()
        .replacen("://", &format!("://deliver:{token}@"), 1);
    let caddy = Terminator::caddy(&format!("{url}/chancery/v1/handshake"));
    let client = TlsClient::trusting(&[&server.root_certificate()]);
    let served = || {
        let stream = client.connect(caddy.address(), "a.example.com").ok()?;
        Some(serial(&stream.certificate()).to_lowercase())
    };
    let serves = |expected: &str| {
        let expected = expected.to_lowercase();
        eventually(DEADLINE, "it is served", || {
            (served()? == expected).then_some(())
        });
    };
    serves(&first);
    renew(&server, &name);
    let renewed = eventually(DEADLINE, "the certificate is renewed", || {
        let (_, serial) = certificate(&server, "a.example.com");
        (serial != first).then_some(serial)
    });
    serves(&renewed);
    assert_eq!(
        server.events("certificate.key_taken").len(),
        2,
        "one for each version"
    );
}
