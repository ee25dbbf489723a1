//! URLs by which a directory points at other hosts: none is followed to where this machine or its
//! network can be reached, whoever named the directory.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;
use testbed::directory::{Faults, Resource, Trouble};
use testbed::{Directory, eventually};

use crate::house::{Account, HOUR, House, MINUTE, SOON, moment};

/// What can be named by a URL of another document.
const NAMED: [Resource; 6] = [
    Resource::NewOrder,
    Resource::Order,
    Resource::Authorization,
    Resource::Challenge,
    Resource::Finalize,
    Resource::Certificate,
];

/// Something that must not be reached.
struct Trap {
    listener: TcpListener,
    port: u16,
}

impl Trap {
    fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// The ways to name it, and other places that nobody outside may reach.
    fn bases(&self) -> Vec<String> {
        let port = self.port;
        vec![
            format!("https://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port}"),
            format!("https://localhost:{port}"),
            format!("https://[::ffff:127.0.0.1]:{port}"),
            format!("https://2130706433:{port}"),
            // This one leads to 127.0.0.1.
            format!("https://inside.example.com:{port}"),
            format!("https://user@127.0.0.1:{port}"),
            "https://10.0.0.1".to_owned(),
            "http://169.254.169.254/latest".to_owned(),
            "https://[fd00::1]".to_owned(),
            "file:///etc".to_owned(),
        ]
    }

    fn expect_unseen(&self) {
        match self.listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("somebody came: {other:?}"),
        }
    }
}

struct Lured {
    what: String,
    account: Account,
    uuid: String,
    _directory: Directory,
}

/// Requests a certificate of a directory that is about to lie.
fn lure(house: &House, number: usize, what: String, lie: impl FnOnce(&mut Faults)) -> Lured {
    let directory = house.directory(|_| ());
    let account = house.open_account(&format!("a{number}"));
    // Its own object is remembered for an hour: what that says wrong is wrong from the beginning.
    directory.faults(lie);
    house.add_own_issuer(&account, &directory);
    let uuid = house.request(&account, &format!("n{number}.example.com"), None);
    Lured {
        what,
        account,
        uuid,
        _directory: directory,
    }
}

#[test]
fn no_url_of_a_directory_leads_into_this_machine_or_its_network() {
    let house = House::start();
    let trap = Trap::set();
    let mut lured = Vec::new();
    for (number, base) in trap.bases().iter().enumerate() {
        // Each resource meets several of the ways, and each way several resources.
        for offset in [0, 1, 3] {
            let resource = NAMED[(number + offset) % NAMED.len()];
            let what = format!("{resource:?} at {base}");
            let lie = |faults: &mut Faults| faults.elsewhere(resource, base);
            lured.push(lure(&house, lured.len(), what, lie));
        }
    }
    for resource in [
        Resource::NewOrder,
        Resource::Authorization,
        Resource::Challenge,
        Resource::Finalize,
        Resource::Certificate,
    ] {
        let url = format!("https://127.0.0.1:{}/", trap.port);
        let what = format!("{resource:?} redirected");
        let lie = |faults: &mut Faults| faults.at(resource, 100, Trouble::Redirect(url));
        lured.push(lure(&house, lured.len(), what, lie));
    }
    for one in &lured {
        eventually(SOON, &one.what, || {
            let certificate = house.certificate(&one.account, &one.uuid);
            assert_eq!(certificate["state"], "pending", "{}", one.what);
            let told = certificate["reason"].as_str()?;
            let is_told = ["not followed", "does not exist in DNS"]
                .iter()
                .any(|words| told.contains(words));
            assert!(is_told, "{}: {told}", one.what);
            Some(())
        });
    }
    // What an order names is asked for again, until the order is given up.
    house.watch.forward(4 * MINUTE);
    for one in &lured {
        eventually(SOON, &one.what, || {
            let certificate = house.certificate(&one.account, &one.uuid);
            let next = certificate["next_attempt_at"].as_str()?;
            (moment(next) > house.watch.now()).then_some(())
        });
    }
    trap.expect_unseen();
}

#[test]
fn a_directory_whose_own_object_points_into_this_machine_does_not_become_an_issuer() {
    let house = House::start();
    let trap = Trap::set();
    for (number, base) in trap.bases().iter().enumerate() {
        for resource in [Resource::NewNonce, Resource::NewAccount] {
            let directory = house.directory(|_| ());
            directory.faults(|faults| faults.elsewhere(resource, base));
            let name = format!("{resource:?}-{number}").to_ascii_lowercase();
            let answer = house.try_add_issuer(&name, &directory, &json!({}));
            // Some look like names that nobody has heard of.
            let is_refused = matches!(answer.status, 400 | 502);
            assert!(is_refused, "{resource:?} at {base}: {}", answer.text());
        }
    }
    trap.expect_unseen();
}

#[test]
fn renewal_information_and_other_chains_are_not_looked_for_elsewhere() {
    let house = House::start();
    let trap = Trap::set();
    let port = trap.port;
    let lured = lure(&house, 0, "others".to_owned(), |faults| {
        faults.elsewhere(Resource::Alternate, &format!("https://127.0.0.1:{port}"));
        faults.elsewhere(Resource::RenewalInfo, &format!("https://localhost:{port}"));
    });
    house.wait_until_valid(&lured.account, &lured.uuid);
    house.watch.forward(8 * HOUR);
    eventually(SOON, "it is looked for in vain", || {
        let logs = house.chancery.logs();
        logs.contains("does not say when to renew").then_some(())
    });
    let certificate = house.wait_until_valid(&lured.account, &lured.uuid);
    assert_eq!(certificate["versions"].as_array().map(Vec::len), Some(1));
    trap.expect_unseen();
}
