//! What the parts of the program are told of the configuration, each in its own terms.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use api::{CertMakerSettings, Cloud66Settings, D9tSettings};
use lifecycle::{
    Addresses, AuthorityTemplate, DEFAULT_AUTHORITY, EgressPolicy, InstallationSettings, Settings,
    Tiers,
};
use pki::{KeyAlgorithm, SubjectFields};

use crate::configuration::Configuration;

/// What the house is told of the configuration.
pub(crate) fn of_house(configuration: &Configuration, public_url: &str) -> Settings {
    let certmaker = &configuration.certmaker;
    let common_name = |text: &str| SubjectFields {
        common_name: Some(text.to_owned()),
        ..SubjectFields::default()
    };
    let mut authorities = HashMap::from([(
        DEFAULT_AUTHORITY.to_owned(),
        AuthorityTemplate {
            tiers: Tiers::Two,
            key_algorithm: KeyAlgorithm::P256,
            subject: common_name("Chancery"),
            addresses: Addresses::ByKeyIdentifier,
        },
    )]);
    if certmaker.authority != DEFAULT_AUTHORITY {
        let template = AuthorityTemplate {
            tiers: Tiers::One,
            key_algorithm: certmaker.root_key_algorithm,
            subject: certmaker.root_subject.clone(),
            addresses: Addresses::At {
                ocsp: "/api/v1/ocsp",
                ca_issuers: "/api/v1/ca.cer",
                crl: "/api/v1/crl",
            },
        };
        authorities.insert(certmaker.authority.clone(), template);
    }
    Settings {
        public_url: public_url.to_owned(),
        authorities,
        key_window: Duration::from_secs(60 * u64::from(certmaker.key_window_minutes)),
        allow_email_identifiers: certmaker.allow_email_sans,
        validation: certmaker.validation.clone(),
        metro_domain: configuration.metro_domain.clone(),
        default_issuer: DEFAULT_AUTHORITY.to_owned(),
        backends: EgressPolicy::BACKENDS,
        acme: configuration.acme.settings.clone(),
        installations: InstallationSettings {
            issuer: configuration.cloud66.issuer.clone(),
            ..InstallationSettings::default()
        },
    }
}

/// What the API is told of it.
pub(crate) fn of_api(
    configuration: &Configuration,
    public_url: &str,
    edge_https: Option<SocketAddr>,
) -> api::Settings {
    let certmaker = &configuration.certmaker;
    api::Settings {
        public_url: public_url.to_owned(),
        edge_https,
        certmaker: CertMakerSettings {
            authority: certmaker.authority.clone(),
            key_algorithm: certmaker.key_algorithm,
            g1_success_status: certmaker.g1_success_status,
            unknown_account_status: certmaker.unknown_account_status,
            allow_get_revoke: certmaker.allow_get_revoke,
        },
        cloud66: Cloud66Settings {
            ca_name: match &configuration.cloud66.ca_name {
                Some(name) => name.clone(),
                None => Cloud66Settings::default().ca_name,
            },
            requests_per_hour: configuration.cloud66.requests_per_hour,
        },
        d9t: D9tSettings {
            key_algorithm: configuration.d9t.key_algorithm,
            challenge_401: configuration.d9t.challenge_401,
            base_url: configuration.public_url.clone(),
        },
    }
}
