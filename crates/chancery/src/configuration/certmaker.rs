//! The section `[certmaker]`.

use api::{G1SuccessStatus, UnknownAccountStatus};
use lifecycle::DEFAULT_AUTHORITY;
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
    pub(crate) simple_request: bool,
    pub(crate) csr: bool,
    pub(crate) http01: bool,
    pub(crate) dns01: bool,
    pub(crate) g1_success_status: G1SuccessStatus,
    pub(crate) unknown_account_status: UnknownAccountStatus,
    pub(crate) allow_get_revoke: bool,
    pub(crate) allow_email_sans: bool,
    pub(crate) key_window_minutes: u32,
}

impl CertMaker {
    pub(super) fn read(section: &mut Section, without_effect: &mut Vec<&'static str>) -> Self {
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
        for key in ["orders_per_minute", "solves_per_minute"] {
            if section.number(key).is_some() {
                without_effect.push(match key {
                    "orders_per_minute" => "certmaker.orders_per_minute",
                    _ => "certmaker.solves_per_minute",
                });
            }
        }
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
            simple_request: section.boolean("simple_request").unwrap_or(true),
            csr: section.boolean("csr").unwrap_or(true),
            http01: section.boolean("http01").unwrap_or(false),
            dns01: section.boolean("dns01").unwrap_or(false),
            g1_success_status,
            unknown_account_status,
            allow_get_revoke: section.boolean("allow_get_revoke").unwrap_or(false),
            allow_email_sans: section.boolean("allow_email_sans").unwrap_or(true),
            key_window_minutes: key_window(section),
        }
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
