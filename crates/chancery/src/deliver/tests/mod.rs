//! Plans, sites and passes without a real server.
#![allow(clippy::unwrap_used)]

mod passing;
mod planning;
mod sites;
mod wire;

use std::path::Path;

use lifecycle::CertificateId;

use super::directory::{Directory, Form, Held, Material};
use super::plan::{Change, Plan, Wanted, changes, sayings};
use super::reload::Reload;
use super::site::Site;

fn held(certificate: u8, version: u8) -> Held {
    Held {
        certificate: CertificateId::from_random([certificate; 16]),
        version: format!("0190163d-8694-739b-aea5-966c26f8ad{version:02x}")
            .parse()
            .unwrap(),
    }
}

fn wanted(name: &str, held: Held) -> Wanted {
    Wanted {
        name: name.to_owned(),
        held,
        is_acknowledged: false,
    }
}

fn change(name: &str, to: Option<Held>) -> Change {
    Change {
        name: name.to_owned(),
        to,
    }
}
