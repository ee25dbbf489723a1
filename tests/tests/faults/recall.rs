//! An authority calls all of its certificates back: it moves the windows for their renewal (RFC 9773)
//! to now, and revokes at their end. `make drill` does it with many more of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::directory::{Issued, Limit, Limits, Resource};
use testbed::{Directory, TlsClient, Workdir, eventually, serial};
use time::OffsetDateTime;

use crate::house::{DAY, HOUR, House, moment, serial as serial_of};

/// How many certificates there are.
const CERTIFICATES: &str = "DRILL_CERTIFICATES";
const FEW: usize = 400;
/// Domains made in one call.
const AT_ONCE: usize = 200;
/// How long a window is that is moved to now.
const WINDOW: Duration = DAY;
/// What a certificate may take of the time of this machine.
const EACH: Duration = Duration::from_millis(250);

#[test]
fn certificates_that_are_called_back_are_all_replaced_in_time_within_the_limits() {
    let count = std::env::var(CERTIFICATES).map_or(FEW, |text| text.parse().expect("a number"));
    let deadline = Duration::from_secs(60) + EACH * u32::try_from(count).unwrap();
    let house = House::start();
    let limit = u32::try_from(count).unwrap() * 10 / 9 + 10;
    let directory = house.directory(|options| {
        // What remains after the first orders is not enough for as many again.
        options.limits = Some(Limits {
            orders: Limit::new(limit, 7 * 24 * 60 * 60),
            per_domain: Limit::new(limit, 7 * 24 * 60 * 60),
            ..Limits::LETS_ENCRYPT
        });
    });
    let limits = json!({ "orders": format!("{limit}/7d"), "domain": format!("{limit}/7d"),
                         "share": 100 });
    let members = json!({ "default": true, "limits": limits });
    house.add_issuer("drilled", &directory, &members);
    let names: Vec<String> = (0..count).map(|n| format!("n{n}.example.com")).collect();
    serve(&house, &names);
    eventually(deadline, "all have certificates", || {
        (directory.certificates().len() == count).then_some(())
    });
    let first = directory.certificates();
    eventually(deadline, "all are valid", || {
        (house.count("pending") == 0).then_some(())
    });

    let start = house.watch.now();
    directory.pull_windows(start, start + WINDOW);
    // By then each has been looked at again.
    house.watch.forward(7 * HOUR);
    let old = first
        .iter()
        .map(|issued| issued.serial.to_ascii_lowercase());
    let old: HashSet<String> = old.collect();
    eventually(deadline, "all windows are known", || {
        let to_renew = to_renew(&house, &old);
        let are_known = to_renew.iter().all(|at| *at <= start + WINDOW);
        are_known.then_some(())
    });
    assert!(directory.requests(Resource::RenewalInfo) >= u64::try_from(count).unwrap());
    while house.watch.now() + HOUR < start + WINDOW {
        eventually(deadline, "all that are due are replaced", || {
            let now = house.watch.now();
            let is_due = to_renew(&house, &old).iter().any(|at| *at <= now);
            (!is_due).then_some(())
        });
        house.watch.forward(HOUR);
    }
    eventually(deadline, "all are replaced", || {
        (replaced(&directory, count) == count).then_some(())
    });
    assert!(house.watch.now() < start + WINDOW);
    assert_eq!(directory.violations(), 0);
    assert_eq!(directory.orders().values().sum::<usize>(), 2 * count);
    assert!(house.chancery.events("certificate.failed").is_empty());

    expect_revoked(&directory, &first, deadline);
    let second = directory.certificates().split_off(count);
    expect_replaced(&house, &first, &second);
    expect_served(&house, &directory, &second, deadline);
}

/// Makes domains of a service.
fn serve(house: &House, names: &[String]) {
    let api = house.chancery.kraftcloud();
    for (number, some) in names.chunks(AT_ONCE).enumerate() {
        let domains: Vec<Value> = some
            .iter()
            .map(|name| json!({ "name": format!("{name}.") }))
            .collect();
        let ports = json!([{ "port": 443, "destination_port": 80, "handlers": ["tls", "http"] }]);
        let body = json!({ "name": format!("s{number}"), "services": ports, "domains": domains });
        api.call("POST", "/v1/services", &body);
    }
}

/// When those certificates are renewed whose serial numbers are among these.
fn to_renew(house: &House, old: &HashSet<String>) -> Vec<OffsetDateTime> {
    let all = house.certificates().into_iter();
    let old = all.filter(|certificate| old.contains(&serial_of(certificate)));
    let moments =
        old.map(|certificate| moment(certificate["renew_at"].as_str().expect("it is renewed")));
    moments.collect()
}

fn replaced(directory: &Directory, count: usize) -> usize {
    directory.certificates().len() - count
}

/// The old ones are revoked at the directory, as superseded.
fn expect_revoked(directory: &Directory, first: &[Issued], deadline: Duration) {
    const SUPERSEDED: u64 = 4;
    eventually(deadline, "the old ones are revoked", || {
        let all = directory.certificates();
        let mut old = all.iter().take(first.len());
        old.all(|issued| issued.revoked == Some(SUPERSEDED))
            .then_some(())
    });
    let all = directory.certificates();
    let mut new = all.iter().skip(first.len());
    assert!(new.all(|issued| issued.revoked.is_none()));
}

/// Each names the one that it replaces, and Chancery has the old version as revoked.
fn expect_replaced(house: &House, first: &[Issued], second: &[Issued]) {
    let old: HashMap<&str, &Issued> = first
        .iter()
        .map(|issued| (issued.identifier.as_str(), issued))
        .collect();
    for issued in second {
        let replaces = issued
            .replaces
            .as_deref()
            .expect("it says what it replaces");
        let replaced = old.get(replaces).expect("that is an old one");
        assert_eq!(replaced.names, issued.names);
        assert!(issued.not_before < replaced.not_after);
    }
    let admin = house.admin();
    let certificates = house.certificates();
    assert_eq!(house.count("valid"), certificates.len().min(999));
    // All of them would be as many requests again.
    for certificate in certificates
        .iter()
        .step_by(certificates.len().div_ceil(100))
    {
        if certificate["issuer"] != "drilled" {
            continue;
        }
        let certificate = house.certificate(&admin, certificate["uuid"].as_str().unwrap());
        let versions = certificate["versions"].as_array().expect("a list");
        assert_eq!(versions.len(), 2, "{certificate}");
        let revocations = versions
            .iter()
            .map(|version| &version["revocation"]["reason"]);
        let revocations: Vec<&Value> = revocations.filter(|reason| !reason.is_null()).collect();
        assert_eq!(revocations, ["superseded"], "{certificate}");
        assert!(
            certificate["current"]["revocation"].is_null(),
            "{certificate}"
        );
    }
}

/// The edge serves the new ones.
fn expect_served(house: &House, directory: &Directory, second: &[Issued], deadline: Duration) {
    let workdir = Workdir::new();
    let root = workdir.write("root.pem", directory.root_pem());
    let client = TlsClient::trusting(&[root.as_ref()]);
    for issued in second.iter().step_by(second.len().div_ceil(1_000)) {
        let name = &issued.names[0];
        eventually(deadline, &format!("{name} is served"), || {
            let stream = client.connect(house.chancery.edge_https(), name).ok()?;
            (serial(&stream.certificate()) == issued.serial).then_some(())
        });
    }
}
