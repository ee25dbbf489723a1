//! What webhooks are told, in each of the formats: pure functions from an event and its certificate
//! to a body.
//!
//! A body is kept without its time of sending, which is put in front of it at every attempt and
//! signed with it, so that a receiver can refuse what is old.

use serde_json::{Value, json};
use store::{Certificate, Installation, Origin, ServiceId, StateKind};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::events;

const DAY: i64 = 24 * 60 * 60;
/// The most names that a body tells of.
const NAMES: usize = 100;
/// The longest name of an authority that a body repeats, in characters.
const LONGEST_ISSUER: usize = 1000;

/// What happened to a certificate, as far as webhooks are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeKind {
    /// It has its first version.
    Issued,
    /// It has a next version.
    Renewed,
    /// Somebody brought a version along, the first or a next one.
    Uploaded,
    /// An attempt at a version failed.
    Failed,
    /// Its current version ends soon, and nobody has renewed it.
    Expiring,
}

impl NoticeKind {
    /// All kinds, in the order shown to people.
    pub const ALL: [Self; 5] = [
        Self::Issued,
        Self::Renewed,
        Self::Uploaded,
        Self::Failed,
        Self::Expiring,
    ];

    /// The name used on the command line, in the API and in bodies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => events::CERTIFICATE_ISSUED,
            Self::Renewed => events::CERTIFICATE_RENEWED,
            Self::Uploaded => events::CERTIFICATE_UPLOADED,
            Self::Failed => events::CERTIFICATE_FAILED,
            Self::Expiring => events::CERTIFICATE_EXPIRING,
        }
    }

    /// What an event of this kind is told as.
    pub(crate) fn of_event(kind: &str) -> Option<Self> {
        // To its owner it is the same who has the key.
        if kind == events::CERTIFICATE_SIGNED {
            return Some(Self::Issued);
        }
        if kind == events::CERTIFICATE_REPLACED {
            return Some(Self::Uploaded);
        }
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }
}

/// The vocabulary of a webhook's bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum WebhookFormat {
    /// Chancery's own.
    #[default]
    Chancery,
    /// That of Cloud 66's `ssl_certificate.…` events.
    Cloud66,
}

impl WebhookFormat {
    /// All formats, in the order shown to people.
    pub const ALL: [Self; 2] = [Self::Chancery, Self::Cloud66];

    /// The name used on the command line and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chancery => "chancery",
            Self::Cloud66 => "cloud66",
        }
    }

    /// The format of this name. What is stored was one when it was added; what no version knows any
    /// more is told in the house's own words.
    pub(crate) fn named(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|format| format.as_str() == name);
        known.unwrap_or_default()
    }

    /// The body that tells of a notice, without the time of sending.
    pub(crate) fn body(self, notice: &Notice<'_>) -> String {
        match self {
            Self::Chancery => chancery(notice),
            Self::Cloud66 => cloud66(notice),
        }
        .to_string()
    }

    /// Whether bodies tell of the service that is served with a certificate, and of its chain.
    pub(crate) fn tells_of_service(self) -> bool {
        self == Self::Cloud66
    }

    /// The body of a delivery that only tries whether deliveries arrive.
    pub(super) fn trial(self) -> String {
        let name = match self {
            Self::Chancery => "event",
            Self::Cloud66 => "event_type",
        };
        json!({ name: TRIAL }).to_string()
    }
}

/// What a trial calls itself.
const TRIAL: &str = "webhook.test";

/// Something that a webhook is told.
#[derive(Debug)]
pub(crate) struct Notice<'a> {
    pub(crate) kind: NoticeKind,
    /// When it happened.
    pub(crate) at: OffsetDateTime,
    /// What the event says besides: why an attempt failed.
    pub(crate) detail: &'a str,
    pub(crate) account: &'a str,
    pub(crate) certificate: &'a Certificate,
    /// Whether something is to be sent after the leaf.
    pub(crate) has_intermediates: bool,
    /// The first service that is served with it.
    pub(crate) service: Option<ServiceId>,
    /// What was said of it on a service.
    pub(crate) installation: Option<&'a Installation>,
}

/// A kept body as it is sent at `now`.
pub(super) fn stamped(body: &str, now: OffsetDateTime) -> String {
    let seconds = now.unix_timestamp();
    match body.strip_prefix('{') {
        Some(members) => format!("{{\"timestamp\":{seconds},{members}"),
        None => body.to_owned(),
    }
}

fn chancery(notice: &Notice<'_>) -> Value {
    let certificate = notice.certificate;
    let version = certificate.current.as_ref().map(|version| {
        json!({
            "serial": hexadecimal(&version.serial),
            "issuer": version.issuer.chars().take(LONGEST_ISSUER).collect::<String>(),
            "not_before": text(version.not_before),
            "not_after": text(version.not_after),
        })
    });
    let mut body = json!({
        "event": notice.kind.as_str(),
        "at": text(notice.at),
        "account": notice.account,
        "certificate": {
            "uuid": certificate.id.to_string(),
            "name": certificate.name,
            "common_name": certificate.common_name,
            "identifiers": names(certificate),
            "origin": certificate.origin.as_str(),
            "state": certificate.state.kind().as_str(),
            "issuer": certificate.issuer,
            "current": version,
        },
    });
    match notice.kind {
        NoticeKind::Failed => set(&mut body, "reason", notice.detail.into()),
        NoticeKind::Expiring => set(&mut body, "days_left", days_left(notice).into()),
        NoticeKind::Issued | NoticeKind::Renewed | NoticeKind::Uploaded => {}
    }
    body
}

fn cloud66(notice: &Notice<'_>) -> Value {
    let certificate = notice.certificate;
    let version = certificate.current.as_ref();
    let is_installed = certificate.state.kind() == StateKind::Valid;
    let kind = match notice.kind {
        NoticeKind::Issued | NoticeKind::Renewed | NoticeKind::Uploaded => {
            "ssl_certificate.install.ok"
        }
        NoticeKind::Failed => "ssl_certificate.install.fail",
        NoticeKind::Expiring => "ssl_certificate.expire.soon",
    };
    let installation = notice.installation;
    let service = installation.map(|one| one.service_id).or(notice.service);
    let written = installation.map_or(names(certificate), |one| few(&one.server_names));
    let mut payload = json!({
        "stack_id": service.map(number),
        "name": certificate.name,
        "server_names": written.join(","),
        // As everywhere in this vocabulary, whoever the issuer is.
        "lets_encrypt": certificate.origin == Origin::Issued,
        "has_intermediate_cert": notice.has_intermediates,
        // The edge does it for everybody of whom nothing else was said.
        "ssl_termination": installation.is_none_or(|one| one.ssl_termination),
        "status": if is_installed { "installed" } else { "failed" },
        "cert_expiry": version.map(|version| text(version.not_after)),
        "created_at": text(certificate.created_at),
        "updated_at": text(notice.at),
    });
    match notice.kind {
        NoticeKind::Failed => set(&mut payload, "error_message", notice.detail.into()),
        NoticeKind::Expiring => set(&mut payload, "days_until_expiry", days_left(notice).into()),
        NoticeKind::Issued | NoticeKind::Renewed | NoticeKind::Uploaded => {}
    }
    json!({ "event_type": kind, "ssl_certificate": payload })
}

/// A body must not be as long as the names of a certificate can be.
fn names(certificate: &Certificate) -> &[String] {
    few(&certificate.identifiers)
}

fn few(names: &[String]) -> &[String] {
    names.get(..NAMES).unwrap_or(names)
}

fn set(object: &mut Value, member: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(member.to_owned(), value);
    }
}

/// Whole days from the event to the end of the current version, as a person counts them: what is
/// left of a day is one.
fn days_left(notice: &Notice<'_>) -> i64 {
    let end = notice.certificate.current.as_ref();
    end.map_or(0, |version| {
        let seconds = (version.not_after - notice.at).whole_seconds().max(0);
        seconds.saturating_add(DAY - 1) / DAY
    })
}

/// A number that stands for a service where a vocabulary has no other names: small enough for any
/// reader of JSON to keep exactly.
fn number(service: ServiceId) -> u64 {
    let (high, _) = service.as_uuid().as_u64_pair();
    high >> 12
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// RFC 3339 in whole seconds.
fn text(moment: OffsetDateTime) -> String {
    let seconds = moment.replace_nanosecond(0).unwrap_or(moment);
    seconds.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use store::{AccountId, CertificateId, State, Version, VersionId};
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00:00.5 UTC);

    fn certificate(left: Duration) -> Certificate {
        let version = Version {
            id: VersionId::at(NOW),
            certificate_id: CertificateId::random(),
            account_id: AccountId::random(),
            authority_id: None,
            directory_id: None,
            private_key_id: None,
            serial: vec![0x0a, 0xff],
            subject: "CN=a.test".to_owned(),
            issuer: "CN=Somebody".repeat(1_000),
            not_before: NOW - Duration::days(60),
            not_after: NOW + left,
            revocation: None,
            created_at: NOW - Duration::days(60),
        };
        Certificate {
            id: CertificateId::random(),
            account_id: AccountId::random(),
            name: "shop".to_owned(),
            common_name: "a.test".to_owned(),
            identifiers: (0..1_000).map(|number| format!("{number}.test")).collect(),
            origin: Origin::Issued,
            state: State::Valid,
            issuer: Some("le".to_owned()),
            attempt: 1,
            failure: Some("CAA".to_owned()),
            next_action_at: None,
            renew_at: None,
            created_at: NOW - Duration::days(60),
            current: Some(version),
        }
    }

    fn told(format: WebhookFormat, kind: NoticeKind, certificate: &Certificate) -> Value {
        let service = ServiceId::from_uuid(uuid::Uuid::max());
        let body = format.body(&Notice {
            kind,
            at: NOW,
            detail: "attempt 1 of 8: CAA",
            account: "shop",
            certificate,
            has_intermediates: true,
            service: Some(service),
            installation: None,
        });
        assert!(body.len() < 16 * 1024, "{} octets", body.len());
        serde_json::from_str(&stamped(&body, NOW)).unwrap()
    }

    #[test]
    fn a_failure_says_why_in_both_vocabularies() {
        let certificate = certificate(Duration::days(3));
        let body = told(WebhookFormat::Chancery, NoticeKind::Failed, &certificate);
        assert_eq!(body["event"], "certificate.failed");
        assert_eq!(body["reason"], "attempt 1 of 8: CAA");
        assert_eq!(body["timestamp"], 1_772_366_400);
        assert_eq!(body["certificate"]["current"]["serial"], "0aff");
        assert_eq!(
            body["certificate"]["identifiers"].as_array().unwrap().len(),
            NAMES
        );
        let body = told(WebhookFormat::Cloud66, NoticeKind::Failed, &certificate);
        assert_eq!(body["event_type"], "ssl_certificate.install.fail");
        let payload = &body["ssl_certificate"];
        assert_eq!(payload["error_message"], "attempt 1 of 8: CAA");
        // What is served goes on being served.
        assert_eq!(payload["status"], "installed");
        assert_eq!(payload["lets_encrypt"], true);
        assert!(payload["stack_id"].as_u64().unwrap() < 1 << 53);
        assert_eq!(payload["cert_expiry"], "2026-03-04T12:00:00Z");
    }

    #[test]
    fn days_are_counted_as_people_do() {
        for (left, days) in [
            (Duration::days(30), 30),
            (Duration::days(6) + Duration::seconds(1), 7),
            (Duration::hours(1), 1),
            (Duration::hours(-1), 0),
        ] {
            let certificate = certificate(left);
            let body = told(WebhookFormat::Chancery, NoticeKind::Expiring, &certificate);
            assert_eq!(body["days_left"], days);
            let body = told(WebhookFormat::Cloud66, NoticeKind::Expiring, &certificate);
            assert_eq!(body["event_type"], "ssl_certificate.expire.soon");
            assert_eq!(body["ssl_certificate"]["days_until_expiry"], days);
        }
    }

    #[test]
    fn every_kind_of_notice_is_found_by_the_name_of_its_event() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::of_event(kind.as_str()), Some(kind));
        }
        let signed = NoticeKind::of_event(events::CERTIFICATE_SIGNED);
        assert_eq!(signed, Some(NoticeKind::Issued));
        let replaced = NoticeKind::of_event(events::CERTIFICATE_REPLACED);
        assert_eq!(replaced, Some(NoticeKind::Uploaded));
        assert_eq!(NoticeKind::of_event(events::CERTIFICATE_REVOKED), None);
    }
}
