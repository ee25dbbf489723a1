//! The section `[certmaker]`.

use std::num::NonZeroU32;

use api::{G1SuccessStatus, UnknownAccountStatus};
use lifecycle::{DEFAULT_AUTHORITY, Switch, SwitchValues, ValidationSettings};
use pki::{KeyAlgorithm, SubjectFields};

use super::file::Section;

/// Name of the authority that is made for this dialect.
const AUTHORITY: &str = "certmaker";

/// Settings of the CertMaker dialect and of the authority behind it.
#[derive(Debug)]
pub(crate) struct CertMaker {
    pub(crate) authority: String,
    pub(crate) root_key_algorithm: KeyAlgorithm,
    pub(crate) root_subject: SubjectFields,
    pub(crate) key_algorithm: KeyAlgorithm,
    pub(crate) validation: ValidationSettings,
    /// The resolver that proofs are looked for with, if it is another.
    pub(crate) resolver: Option<String>,
    pub(crate) g1_success_status: G1SuccessStatus,
    pub(crate) unknown_account_status: UnknownAccountStatus,
    pub(crate) allow_get_revoke: bool,
    pub(crate) allow_email_sans: bool,
    pub(crate) key_window_minutes: u32,
}

impl CertMaker {
    pub(super) fn read(section: &mut Section) -> Self {
        let authority = section
            .text("authority")
            .unwrap_or_else(|| AUTHORITY.to_owned());
        if ![AUTHORITY, DEFAULT_AUTHORITY].contains(&authority.as_str()) {
            section.fault(
                "authority",
                format!("'{authority}' is not {AUTHORITY} or {DEFAULT_AUTHORITY}"),
            );
        }
        let root_key_algorithm =
            algorithm(section, "root_key_algo", &["p256", "rsa4096", "ed25519"]);
        let key_algorithm = algorithm(
            section,
            "key_algo",
            &["p256", "p384", "rsa2048", "rsa3072", "rsa4096", "ed25519"],
        );
        let g1_success_status = match section.text_or_number("g1_success_status").as_deref() {
            None | Some("auto") => G1SuccessStatus::Auto,
            Some("200") => G1SuccessStatus::Ok,
            Some("201") => G1SuccessStatus::Created,
            Some(other) => {
                let reason = format!("'{other}' is not auto, 200 or 201");
                section.fault("g1_success_status", reason);
                G1SuccessStatus::Auto
            }
        };
        let unknown_account_status = match section.number("unknown_account_status") {
            None | Some(404) => UnknownAccountStatus::NotFound,
            Some(401) => UnknownAccountStatus::Unauthorized,
            Some(other) => {
                section.fault(
                    "unknown_account_status",
                    format!("{other} is not 404 or 401"),
                );
                UnknownAccountStatus::NotFound
            }
        };
        let mut subject = section.section("root_cert_subject");
        let root_subject = SubjectFields {
            common_name: Some(
                subject
                    .text("common_name")
                    .unwrap_or_else(|| "CertMaker CA".to_owned()),
            ),
            organization: subject.text("organization"),
            country: subject.text("country"),
            province: subject.text("province"),
            locality: subject.text("locality"),
            street_address: subject.text("street_address"),
            postal_code: subject.text("postal_code"),
            ..SubjectFields::default()
        };
        section.absorb(subject);
        Self {
            authority,
            root_key_algorithm,
            root_subject,
            key_algorithm,
            validation: validation(section),
            resolver: section.text("resolver"),
            g1_success_status,
            unknown_account_status,
            allow_get_revoke: section.boolean("allow_get_revoke").unwrap_or(false),
            allow_email_sans: section.boolean("allow_email_sans").unwrap_or(true),
            key_window_minutes: key_window(section),
        }
    }
}

fn validation(section: &mut Section) -> ValidationSettings {
    let defaults = ValidationSettings::default();
    let mut switch = |switch: Switch| {
        let configured = section.boolean(switch.as_str());
        configured.unwrap_or(defaults.switches.of(switch))
    };
    let switches = SwitchValues {
        simple_request: switch(Switch::SimpleRequest),
        csr: switch(Switch::Csr),
        http01: switch(Switch::Http01),
        dns01: switch(Switch::Dns01),
    };
    let mut limit = |key: &str, default| match section.number(key) {
        None => default,
        Some(number) => NonZeroU32::new(number),
    };
    let orders_per_minute = limit("orders_per_minute", defaults.orders_per_minute);
    let solves_per_minute = limit("solves_per_minute", defaults.solves_per_minute);
    ValidationSettings {
        switches,
        validate_ips: section
            .boolean("validate_ips")
            .unwrap_or(defaults.validate_ips),
        allow_local_targets: section
            .boolean("allow_local_targets")
            .unwrap_or(defaults.allow_local_targets),
        orders_per_minute,
        solves_per_minute,
        patience: defaults.patience,
    }
}

/// Minutes, at most a week: the point of the window is that it closes.
fn key_window(section: &mut Section) -> u32 {
    const WEEK: u32 = 7 * 24 * 60;
    match section.number("key_window_minutes") {
        None => 60,
        Some(minutes) if minutes <= WEEK => minutes,
        Some(minutes) => {
            let reason = format!("{minutes} is more than a week ({WEEK})");
            section.fault("key_window_minutes", reason);
            60
        }
    }
}

/// One of the algorithms in `known`; the first is the default.
fn algorithm(section: &mut Section, key: &str, known: &[&str]) -> KeyAlgorithm {
    let Some(text) = section.text(key) else {
        return KeyAlgorithm::P256;
    };
    let parsed = text.parse().ok();
    match parsed.filter(|_| known.contains(&text.as_str())) {
        Some(algorithm) => algorithm,
        None => {
            section.fault(key, format!("'{text}' is not one of {}", known.join(", ")));
            KeyAlgorithm::P256
        }
    }
}
