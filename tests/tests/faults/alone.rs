//! A directory that fails and is the only one: everybody who looks is told why and what to do, and
//! the directory is not pestered meanwhile.

use serde_json::Value;
use testbed::directory::{Faults, Resource};
use testbed::{Directory, eventually, within};

use crate::house::{Account, HOUR, House, SOON, moment};
use crate::trouble::{CASES, Case, PATIENCES};

/// Hours that a directory fails for.
const HOURS: u32 = 8;
/// Requests that a directory may get in that time for one name: with every failure, the next attempt
/// is later.
const MOST_REQUESTS: u64 = 500;
/// The same where every nonce is refused, and each attempt sends its request 66 times: the first
/// attempt, one after each of the two waits that tell, one each hour, and one more for time that passes
/// while the test looks; with what asks for the directory, a nonce and the account.
const MOST_REFUSED: u64 = (HOURS as u64 + 4) * 66 + 3;
/// Orders of them.
const MOST_ORDERS: usize = 16;

/// Everything that a directory is asked.
const RESOURCES: [Resource; 12] = [
    Resource::Directory,
    Resource::NewNonce,
    Resource::NewAccount,
    Resource::Account,
    Resource::NewOrder,
    Resource::Order,
    Resource::Authorization,
    Resource::Challenge,
    Resource::Finalize,
    Resource::Certificate,
    Resource::Alternate,
    Resource::RenewalInfo,
];

struct Unlucky<'a> {
    case: &'a Case,
    directory: Directory,
    account: Account,
    uuid: String,
}

impl Unlucky<'_> {
    fn name(&self) -> String {
        name_of(self.case)
    }

    /// Waits until the API says what is wrong and what to do about it, and `chancery show` with it.
    fn expect_told(&self, house: &House) {
        let mut last = Value::Null;
        let told = within(SOON, || {
            last = house.certificate(&self.account, &self.uuid);
            self.case
                .is_told(last["reason"].as_str().unwrap_or_default())
                .then_some(())
        });
        assert!(told.is_some(), "{}: {last}", self.case.name);
        assert_eq!(last["state"], "pending", "{last}");
        let name = last["name"].as_str().expect("it has a name");
        for form in [&["show", name][..], &["show", name, "--json"]] {
            let token = ["--token", &self.account.token];
            let shown = house.chancery.cli(&[&token[..], form].concat()).text();
            assert!(self.case.is_told(&shown), "{}: {shown}", self.case.name);
        }
    }

    fn requests(&self) -> u64 {
        RESOURCES
            .iter()
            .map(|resource| self.directory.requests(*resource))
            .sum()
    }

    /// What the API says of the certificate, once an attempt has failed and the next is planned.
    fn set_back(&self, house: &House) -> Option<Value> {
        let certificate = house.certificate(&self.account, &self.uuid);
        let now = house.watch.now();
        let next = certificate["next_attempt_at"].as_str();
        let next = next.map(moment);
        let is_planned = next.is_some_and(|next| next > now);
        (is_planned && certificate["reason"].is_string()).then_some(certificate)
    }
}

fn name_of(case: &Case) -> String {
    format!("{}.example.com", case.name)
}

#[test]
fn whoever_has_no_other_directory_is_told_what_is_wrong_and_the_directory_sees_few_requests() {
    let house = House::start();
    let all: Vec<Unlucky<'_>> = CASES
        .iter()
        .map(|case| {
            let directory = house.directory(|_| ());
            let account = house.open_account(case.name);
            house.add_own_issuer(&account, &directory);
            directory.faults(|faults| (case.faults)(faults, house.watch.now()));
            let uuid = house.request(&account, &name_of(case), None);
            Unlucky {
                case,
                directory,
                account,
                uuid,
            }
        })
        .collect();
    for unlucky in &all {
        eventually(SOON, unlucky.case.name, || {
            (unlucky.directory.requests(unlucky.case.noticed_at) > 0).then_some(())
        });
    }
    for patience in PATIENCES {
        house.watch.forward(patience);
        for unlucky in all.iter().filter(|one| one.case.patience == patience) {
            unlucky.expect_told(&house);
        }
    }
    for _ in 0..HOURS {
        for unlucky in &all {
            let what = format!("{} is set back", unlucky.case.name);
            eventually(SOON, &what, || unlucky.set_back(&house));
        }
        house.watch.forward(HOUR);
    }
    let events = house.chancery.events("certificate.failed");
    for unlucky in &all {
        let case = unlucky.case;
        let told = events.iter().any(|event| case.is_told(event));
        assert!(told, "{}: {events:#?}", case.name);
        let orders = unlucky.directory.orders_of(&unlucky.name());
        assert!(orders <= MOST_ORDERS, "{}: {orders}", case.name);
        let requests = unlucky.requests();
        let most = match case.name {
            "refuses-every-nonce" => MOST_REFUSED,
            _ => MOST_REQUESTS,
        };
        assert!(requests <= most, "{}: {requests}", case.name);
    }
    // Nobody has to do anything once it works again.
    for unlucky in &all {
        unlucky.directory.faults(Faults::clear);
    }
    house.watch.forward(12 * HOUR);
    for unlucky in &all {
        house.wait_until_valid(&unlucky.account, &unlucky.uuid);
    }
}
