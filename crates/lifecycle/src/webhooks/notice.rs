//! What webhooks are told, in each of the formats: pure functions from an event and its certificate
//! to a body.
//!
//! A body is kept without its time of sending, which is put in front of it at every attempt and
//! signed with it, so that a receiver can refuse what is old.

use serde_json::{Value, json};
use store::{Certificate, Origin, ServiceId, StateKind};
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
    /// An attempt at a version failed.
    Failed,
    /// Its current version ends soon, and nobody has renewed it.
    Expiring,
}

impl NoticeKind {
    /// All kinds, in the order shown to people.
    pub const ALL: [Self; 4] = [Self::Issued, Self::Renewed, Self::Failed, Self::Expiring];

    /// The name used on the command line, in the API and in bodies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => events::CERTIFICATE_ISSUED,
            Self::Renewed => events::CERTIFICATE_RENEWED,
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
        NoticeKind::Issued | NoticeKind::Renewed => {}
    }
    body
}

fn cloud66(notice: &Notice<'_>) -> Value {
    let certificate = notice.certificate;
    let version = certificate.current.as_ref();
    let is_from_directory = certificate.origin == Origin::Issued
        && version.is_none_or(|version| version.authority_id.is_none());
    let is_installed = certificate.state.kind() == StateKind::Valid;
    let kind = match notice.kind {
        NoticeKind::Issued | NoticeKind::Renewed => "ssl_certificate.install.ok",
        NoticeKind::Failed => "ssl_certificate.install.fail",
        NoticeKind::Expiring => "ssl_certificate.expire.soon",
    };
    let mut payload = json!({
        "stack_id": notice.service.map(number),
        "name": certificate.name,
        "server_names": names(certificate).join(","),
        "lets_encrypt": is_from_directory,
        "has_intermediate_cert": notice.has_intermediates,
        // The edge does it for everybody.
        "ssl_termination": true,
        "status": if is_installed { "installed" } else { "failed" },
        "cert_expiry": version.map(|version| text(version.not_after)),
        "created_at": text(certificate.created_at),
        "updated_at": text(notice.at),
    });
    match notice.kind {
        NoticeKind::Failed => set(&mut payload, "error_message", notice.detail.into()),
        NoticeKind::Expiring => set(&mut payload, "days_until_expiry", days_left(notice).into()),
        NoticeKind::Issued | NoticeKind::Renewed => {}
    }
    json!({ "event_type": kind, "ssl_certificate": payload })
}

/// A body must not be as long as the names of a certificate can be.
fn names(certificate: &Certificate) -> &[String] {
    let names = &certificate.identifiers;
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
