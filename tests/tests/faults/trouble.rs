//! What can be wrong with a directory, and what is said of it.

use std::time::Duration;

use testbed::directory::{Faults, Resource, Trouble, http_date};
use time::OffsetDateTime;

use crate::house::HOUR;

/// A directory that fails.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What goes wrong, at this moment.
    pub(crate) faults: fn(&mut Faults, OffsetDateTime),
    /// Where it is noticed.
    pub(crate) noticed_at: Resource,
    /// For how long a directory that has the order is waited for.
    pub(crate) patience: Duration,
    /// What is said of it: the cause and the remedy.
    pub(crate) words: &'static [&'static str],
}

/// Longer than an order is kept that its directory fails at.
const LOYALTY: Duration = Duration::from_secs(4 * 60);
/// Longer than a directory may work on an order.
const LONGEST: Duration = Duration::from_secs(31 * 60);
/// All of them.
pub(crate) const PATIENCES: [Duration; 3] = [Duration::ZERO, LOYALTY, LONGEST];

const AGAIN: &str = "it is tried again";

/// Everything that makes a directory useless.
pub(crate) const CASES: [Case; 17] = [
    Case {
        name: "limited-for-seconds",
        faults: |faults, _| limited(faults, Some("7200".to_owned())),
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["too many requests", "tried again when the limit allows it"],
    },
    Case {
        name: "limited-until-a-date",
        faults: |faults, now| limited(faults, Some(http_date(now + 2 * HOUR))),
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["too many requests", "tried again when the limit allows it"],
    },
    Case {
        name: "limited-for-unknown-time",
        faults: |faults, _| limited(faults, None),
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["too many requests", "tried again when the limit allows it"],
    },
    Case {
        name: "refuses-every-nonce",
        faults: |faults, _| faults.bad_nonces = 100,
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["nonce", AGAIN],
    },
    Case {
        name: "breaks-at-new-order",
        faults: |faults, _| faults.at(Resource::NewOrder, 100, Trouble::Status(503)),
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["503", AGAIN],
    },
    Case {
        name: "breaks-at-finalize",
        faults: |faults, _| {
            let problem = r#"{"type":"urn:ietf:params:acme:error:serverInternal","detail":"oops"}"#;
            let trouble = Trouble::Problem(500, problem.to_owned());
            faults.at(Resource::Finalize, 100, trouble);
        },
        noticed_at: Resource::Finalize,
        patience: LOYALTY,
        words: &["oops", AGAIN],
    },
    Case {
        name: "never-gets-beyond-processing",
        faults: |faults, _| faults.is_stuck = true,
        noticed_at: Resource::Finalize,
        patience: LONGEST,
        words: &["30 minutes", "it is placed again"],
    },
    Case {
        name: "talks-garbage",
        faults: |faults, _| {
            let page = "<!doctype html><title>Welcome to our captive portal</title>";
            faults.at(Resource::NewOrder, 100, Trouble::Body(page.to_owned()));
        },
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["order", AGAIN],
    },
    Case {
        name: "talks-garbage-of-orders",
        faults: |faults, _| {
            let order = r#"{"status":"splendid","authorizations":7,"finalize":[]}"#;
            faults.at(Resource::Order, 100, Trouble::Body(order.to_owned()));
            faults.at(Resource::Finalize, 100, Trouble::Body(order.to_owned()));
        },
        noticed_at: Resource::Order,
        patience: LOYALTY,
        words: &["order", AGAIN],
    },
    Case {
        name: "talks-garbage-of-certificates",
        faults: |faults, _| {
            let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
            faults.at(Resource::Certificate, 100, Trouble::Body(pem.to_owned()));
        },
        noticed_at: Resource::Certificate,
        patience: Duration::ZERO,
        words: &["malformed", "tell its operator"],
    },
    Case {
        name: "never-stops-talking",
        faults: |faults, _| {
            faults.at(Resource::Authorization, 100, Trouble::Huge(64 << 20));
        },
        noticed_at: Resource::Authorization,
        patience: LOYALTY,
        words: &["1048576", AGAIN],
    },
    Case {
        name: "sends-endless-chains",
        faults: |faults, _| faults.surplus_certificates = 400,
        noticed_at: Resource::Certificate,
        patience: LOYALTY,
        words: &["the chain is too long", AGAIN],
    },
    Case {
        name: "is-of-an-expired-authority",
        faults: |faults, _| faults.has_expired_chain = true,
        noticed_at: Resource::Certificate,
        patience: Duration::ZERO,
        words: &["has expired at 2021", "tell its operator"],
    },
    Case {
        name: "certifies-other-keys",
        faults: |faults, _| faults.swaps_keys = true,
        noticed_at: Resource::Certificate,
        patience: Duration::ZERO,
        words: &["it is for another key", "tell its operator"],
    },
    Case {
        name: "cuts-connections",
        faults: |faults, _| faults.at(Resource::NewOrder, 100, Trouble::Cut),
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["127.0.0.1", AGAIN],
    },
    Case {
        name: "loses-its-answers-to-orders",
        faults: |faults, _| faults.at(Resource::NewOrder, 100, Trouble::Lost),
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["127.0.0.1", AGAIN],
    },
    Case {
        name: "leads-astray",
        faults: |faults, _| {
            let trouble = Trouble::Redirect("http://127.0.0.1:1/order".to_owned());
            faults.at(Resource::NewOrder, 100, trouble);
        },
        noticed_at: Resource::NewOrder,
        patience: Duration::ZERO,
        words: &["redirects to", AGAIN],
    },
];

impl Case {
    /// Whether somebody who reads this knows what is wrong and what to do.
    pub(crate) fn is_told(&self, text: &str) -> bool {
        self.words.iter().all(|word| text.contains(word))
    }
}

fn limited(faults: &mut Faults, retry_after: Option<String>) {
    faults.at(Resource::NewOrder, 100, Trouble::RateLimited(retry_after));
}
