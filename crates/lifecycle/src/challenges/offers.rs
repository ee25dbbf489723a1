//! What a directory offers for each name of a certificate. A directory may say anything: what it
//! asks about has to be what was ordered.

use std::net::IpAddr;

use acme::client::{Authorization, AuthorizationStatus, Challenge, ChallengeKind};
use store::Certificate;
use time::OffsetDateTime;

use super::ChallengeError;

/// The challenges that are offered for one name.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// The domain or address, in its usual form; of a wildcard, what is under it.
    pub(super) domain: String,
    pub(super) is_wildcard: bool,
    pub(super) is_address: bool,
    /// Those that are complete.
    pub(super) challenges: Vec<Challenge>,
    /// When the directory forgets about it.
    pub(super) expires_at: Option<OffsetDateTime>,
}

impl Offer {
    /// The name as people write it.
    pub(super) fn name(&self) -> String {
        if self.is_wildcard {
            format!("*.{}", self.domain)
        } else {
            self.domain.clone()
        }
    }
}

/// The offers for the names that are not proven yet.
///
/// # Errors
/// [`ChallengeError::NotProvable`] when an authorization is about something else, or has no
/// challenge that is complete.
pub(super) fn pending(
    certificate: &Certificate,
    authorizations: &[Authorization],
) -> Result<Vec<Offer>, ChallengeError> {
    let pending = authorizations
        .iter()
        .filter(|authorization| authorization.status == AuthorizationStatus::Pending);
    pending
        .map(|authorization| read(certificate, authorization))
        .collect()
}

fn read(certificate: &Certificate, authorization: &Authorization) -> Result<Offer, ChallengeError> {
    let value = &authorization.identifier.value;
    let (domain, is_address) = match value.parse::<IpAddr>() {
        Ok(address) if authorization.identifier.kind == "ip" => (address.to_string(), true),
        _ => {
            let name = value.strip_suffix('.').unwrap_or(value);
            (name.to_ascii_lowercase(), false)
        }
    };
    let (domain, is_wildcard) = match domain.strip_prefix("*.") {
        Some(domain) => (domain.to_owned(), true),
        None => (domain, authorization.is_wildcard),
    };
    let offer = Offer {
        domain,
        is_wildcard,
        is_address,
        challenges: authorization
            .challenges
            .iter()
            .filter(|challenge| is_complete(challenge))
            .cloned()
            .collect(),
        expires_at: authorization.expires_at,
    };
    let name = offer.name();
    if !certificate.identifiers.contains(&name) {
        return Err(ChallengeError::NotProvable {
            reason: "the directory asks about it, but the certificate is not for it".to_owned(),
            name,
        });
    }
    Ok(offer)
}

/// Whether there is all that an answer is made of.
fn is_complete(challenge: &Challenge) -> bool {
    match challenge.kind {
        ChallengeKind::DnsPersist01 => !challenge.issuer_domain_names.is_empty(),
        _ => challenge.token.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use acme::Identifier;
    use acme::client::ChallengeStatus;
    use store::{CertificateId, Origin, State};

    use super::*;

    fn certificate(names: &[&str]) -> Certificate {
        Certificate {
            id: CertificateId::from_random([1; 16]),
            account_id: store::AccountId::from_random([2; 16]),
            name: "test".to_owned(),
            common_name: names[0].to_owned(),
            identifiers: names.iter().map(|name| (*name).to_owned()).collect(),
            origin: Origin::Issued,
            state: State::Valid,
            issuer: None,
            attempt: 0,
            next_action_at: None,
            renew_at: None,
            failure: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            current: None,
        }
    }

    fn authorization(kind: &str, value: &str, is_wildcard: bool) -> Authorization {
        let challenge = |kind, token: Option<&str>| Challenge {
            kind,
            url: "https://ca.test/1".to_owned(),
            status: ChallengeStatus::Pending,
            token: token.map(|token| token.parse().unwrap()),
            error: None,
            issuer_domain_names: Vec::new(),
        };
        Authorization {
            url: "https://ca.test/2".to_owned(),
            identifier: Identifier {
                kind: kind.to_owned(),
                value: value.to_owned(),
            },
            is_wildcard,
            status: AuthorizationStatus::Pending,
            challenges: vec![
                challenge(ChallengeKind::Http01, Some("token")),
                challenge(ChallengeKind::Dns01, None),
                challenge(ChallengeKind::DnsPersist01, None),
            ],
            expires_at: None,
        }
    }

    #[test]
    fn what_is_pending_is_read_with_what_is_complete() {
        let certificate = certificate(&["example.com", "*.example.com", "2001:db8::1"]);
        let mut valid = authorization("dns", "example.com", false);
        valid.status = AuthorizationStatus::Valid;
        let authorizations = [
            valid,
            authorization("dns", "Example.com", true),
            authorization("ip", "2001:DB8:0::1", false),
        ];
        let offers = pending(&certificate, &authorizations).unwrap();
        let names: Vec<String> = offers.iter().map(Offer::name).collect();
        assert_eq!(names, ["*.example.com", "2001:db8::1"]);
        assert!(offers[1].is_address && !offers[0].is_address);
        let kinds = offers[0].challenges.iter().map(|it| it.kind.clone());
        assert_eq!(kinds.collect::<Vec<_>>(), [ChallengeKind::Http01]);
    }

    #[test]
    fn a_directory_that_asks_about_something_else_is_not_answered() {
        let certificate = certificate(&["example.com"]);
        for authorization in [
            authorization("dns", "other.example.com", false),
            authorization("dns", "example.com", true),
            authorization("ip", "192.0.2.1", false),
            authorization("dns", "", false),
        ] {
            let refused = pending(&certificate, &[authorization]);
            assert!(
                matches!(refused, Err(ChallengeError::NotProvable { .. })),
                "{refused:?}"
            );
        }
    }
}
