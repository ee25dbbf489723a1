//! `/chancery/v1/certificates…`

use std::time::Duration;

use http::StatusCode;
use lifecycle::{
    Certificate, CertificateFilter, CertificateId, CertificateRef, Certificates, Error,
    IssueRequest, KeySource, ManagedRequest, Principal, RevocationTarget, StandingRecord,
    StateKind, Upload, Version, off_the_reactor, parse_identifiers,
};
use pki::{CertificateRequest, Identifier, KeyAlgorithm, RevocationReason, SubjectFields};
use serde::Serialize;
use zeroize::Zeroizing;

use super::faults::Fault;
use super::{Body, Call, paging};
use crate::Context;
use crate::exchange::{Response, UPLOAD_LIMIT, json};
use crate::json::{Malformed, Object};
use crate::notation::{hexadecimal, timestamp};

const STATES: [StateKind; 4] = [
    StateKind::Pending,
    StateKind::Valid,
    StateKind::Error,
    StateKind::Revoked,
];

/// A certificate as this API shows it.
#[derive(Serialize)]
struct View<'a> {
    uuid: String,
    name: &'a str,
    common_name: &'a str,
    identifiers: &'a [String],
    origin: &'static str,
    state: &'static str,
    issuer: Option<&'a str>,
    created_at: String,
    /// Why the last attempt at a version failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// When the house renews it.
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_at: Option<String>,
    /// How many attempts at the next version have failed, while another one is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    current: Option<VersionView>,
}

/// A version as this API shows it; never its key.
#[derive(Serialize)]
struct VersionView {
    uuid: String,
    subject: String,
    issuer: String,
    serial: String,
    not_before: String,
    not_after: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation: Option<RevocationView>,
}

#[derive(Serialize)]
struct RevocationView {
    at: String,
    reason: String,
}

#[derive(Serialize)]
struct PageView<'a> {
    certificates: Vec<View<'a>>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct DetailView<'a> {
    #[serde(flatten)]
    certificate: View<'a>,
    /// What the owner of a domain publishes once so that it can be obtained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records_to_publish: Vec<RecordView>,
    versions: Vec<VersionView>,
    /// The current leaf and what to send after it.
    chain: String,
}

/// A DNS record that proves control for as long as it is there.
#[derive(Serialize)]
struct RecordView {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
    proves: String,
}

#[derive(Serialize)]
struct RenewalView<'a> {
    #[serde(flatten)]
    certificate: View<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<WaitView>,
}

/// Why it is not ordered at once.
#[derive(Serialize)]
struct WaitView {
    issuer: String,
    limit: &'static str,
    until: String,
    reason: String,
}

#[derive(Serialize)]
struct IssuedView {
    uuid: String,
    name: String,
    state: &'static str,
    serial: String,
    not_after: String,
    chain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<Zeroizing<String>>,
}

struct IssueBody {
    names: Vec<String>,
    issuer: Option<String>,
    csr: Option<String>,
    days: Option<i64>,
    name: Option<String>,
    managed: Option<bool>,
}

impl Body for IssueBody {
    // A certificate's greatest number of names, and a request with as many.
    const LIMIT: usize = 1024 * 1024;
    const MEMBERS: &'static [&'static str] = &["csr", "days", "issuer", "managed", "name", "names"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            names: object.take("names")?.unwrap_or_default(),
            issuer: object.take("issuer")?,
            csr: object.take("csr")?,
            days: object.take("days")?,
            name: object.take("name")?,
            managed: object.take("managed")?,
        })
    }
}

struct UploadBody {
    chain: String,
    private_key: Zeroizing<String>,
    name: Option<String>,
    common_name: Option<String>,
}

impl Body for UploadBody {
    const LIMIT: usize = UPLOAD_LIMIT;
    const MEMBERS: &'static [&'static str] = &["chain", "common_name", "name", "private_key"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            chain: object.require("chain")?,
            private_key: object.require("private_key")?,
            name: object.take("name")?,
            common_name: object.take("common_name")?,
        })
    }
}

struct RevokeBody {
    reason: Option<String>,
}

impl Body for RevokeBody {
    const MEMBERS: &'static [&'static str] = &["reason"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            reason: object.take("reason")?,
        })
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let bad = |detail: &str| Fault::new(StatusCode::BAD_REQUEST, detail);
    let within = match call.parameter("expiring_within_seconds")? {
        Some(seconds) => Some(Duration::from_secs(u64::from(
            seconds
                .parse::<u32>()
                .map_err(|_| bad("expiring_within_seconds is a number of seconds"))?,
        ))),
        None => None,
    };
    let state = match call.parameter("state")? {
        Some(state) => Some(
            STATES
                .into_iter()
                .find(|kind| kind.as_str() == state)
                .ok_or_else(|| bad("state is pending, valid, error or revoked"))?,
        ),
        None => None,
    };
    let filter = CertificateFilter {
        state,
        expiring_within: within,
        ..CertificateFilter::default()
    };
    let page = paging::asked(&call, CertificateId::from_uuid)?;
    let certificates = &call.context.house.certificates;
    let mut found = certificates.list(&call.principal, &filter, &page).await?;
    let next = paging::cut(&mut found, &page, |one| (one.created_at, one.id.as_uuid()));
    let view = |certificate| view(certificates, certificate);
    let certificates = found.iter().map(view).collect();
    Ok(json(StatusCode::OK, &PageView { certificates, next }))
}

pub(super) async fn show(call: Call<'_>, reference: &CertificateRef) -> Result<Response, Fault> {
    let certificates = &call.context.house.certificates;
    let certificate = certificates.find(&call.principal, reference).await?;
    let chain = certificates.chain(&certificate).await?;
    let reference = CertificateRef::Id(certificate.id);
    let versions = certificates.versions(&call.principal, &reference).await?;
    let diagnosis = &call.context.house.diagnosis;
    let records = diagnosis.records_to_publish(&call.principal, &certificate);
    let detail = DetailView {
        records_to_publish: records.await?.into_iter().map(record_view).collect(),
        certificate: view(certificates, &certificate),
        versions: versions.iter().map(version_view).collect(),
        chain: chain.iter().map(pki::Certificate::to_pem).collect(),
    };
    Ok(json(StatusCode::OK, &detail))
}

/// Has a private authority sign a certificate at once, or asks for one that the house obtains and
/// renews: always from an ACME directory, from an authority if the body says so.
pub(super) async fn issue(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, IssueBody, _) = call.body().await?;
    let issuer = match &body.issuer {
        Some(issuer) => issuer.clone(),
        None => context.house.issuers.default_name(&principal).await?,
    };
    let is_authority = match context.house.authorities.named(&issuer).await {
        Ok(_) => true,
        // Whether there is such an issuer at all is found out when it is asked.
        Err(Error::NotFound { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    if is_authority && body.managed != Some(true) {
        sign(context, &principal, issuer, body).await
    } else {
        request(context, &principal, issuer, body).await
    }
}

async fn sign(
    context: &Context,
    principal: &Principal,
    authority: String,
    body: IssueBody,
) -> Result<Response, Fault> {
    let key = match &body.csr {
        Some(csr) => {
            let request = CertificateRequest::from_pem_or_der(csr.as_bytes())
                .map_err(|error| Fault::new(StatusCode::BAD_REQUEST, error.to_string()))?;
            KeySource::Request(Box::new(request))
        }
        None => KeySource::Generate(KeyAlgorithm::P256),
    };
    let request = IssueRequest {
        authority,
        subject: SubjectFields::default(),
        identifiers: identifiers(&body.names)?,
        days: body.days,
        key,
        name: body.name,
    };
    let issued = context.house.certificates.issue(principal, request).await?;
    let chain = std::iter::once(&issued.leaf).chain(&issued.intermediates);
    let view = IssuedView {
        uuid: issued.id.to_string(),
        name: issued.name,
        state: StateKind::Valid.as_str(),
        serial: issued.leaf.serial().to_hex(),
        not_after: timestamp(issued.leaf.not_after()),
        chain: chain.map(pki::Certificate::to_pem).collect(),
        private_key: issued.key.as_ref().map(pki::PrivateKey::to_pkcs8_pem),
    };
    Ok(json(StatusCode::OK, &view))
}

async fn request(
    context: &Context,
    principal: &Principal,
    issuer: String,
    body: IssueBody,
) -> Result<Response, Fault> {
    let bad = |detail: &str| Err(Fault::new(StatusCode::BAD_REQUEST, detail));
    if body.csr.is_some() {
        return bad(
            "the server keeps the key of a certificate that it obtains and renews; leave the CSR \
             out, or name a private authority as issuer",
        );
    }
    if body.days.is_some() {
        return bad(
            "how long a certificate of this issuer lasts is the issuer's decision; leave days out",
        );
    }
    let request = ManagedRequest {
        name: body.name,
        names: identifiers(&body.names)?,
        issuer: Some(issuer),
    };
    let certificates = &context.house.certificates;
    let requested = certificates.request_managed(principal, request).await?;
    Ok(json(StatusCode::OK, &view(certificates, &requested)))
}

fn identifiers(names: &[String]) -> Result<Vec<Identifier>, Error> {
    let names = names.iter().map(String::as_str);
    let (emails, hosts): (Vec<&str>, Vec<&str>) = names.partition(|name| name.contains('@'));
    parse_identifiers(hosts, [], emails)
}

/// Has the next version obtained now; the answer does not wait for it.
pub(super) async fn renew(call: Call<'_>, reference: &CertificateRef) -> Result<Response, Fault> {
    let certificates = &call.context.house.certificates;
    // What this request itself takes does not count.
    let wait = certificates.wait_before_renewal(&call.principal, reference);
    let wait = wait.await?;
    let certificate = certificates.renew(&call.principal, reference).await?;
    let renewal = RenewalView {
        certificate: view(certificates, &certificate),
        waiting: wait.map(|wait| WaitView {
            issuer: wait.issuer,
            limit: wait.limit.as_str(),
            until: timestamp(wait.until),
            reason: wait.reason,
        }),
    };
    Ok(json(StatusCode::OK, &renewal))
}

pub(super) async fn upload(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, UploadBody, _) = call.body().await?;
    // Keys and certificates take milliseconds of a processor.
    let parse = move || {
        Upload::parse(
            body.name,
            body.common_name.as_deref(),
            &body.chain,
            &body.private_key,
        )
    };
    let upload = off_the_reactor(parse).await??;
    let certificates = &context.house.certificates;
    let certificate = certificates.upload(&principal, upload).await?;
    Ok(json(StatusCode::OK, &view(certificates, &certificate)))
}

pub(super) async fn revoke(call: Call<'_>, reference: &CertificateRef) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, RevokeBody, _) = call.body().await?;
    let reason = match body.reason.as_deref() {
        None | Some("") => RevocationReason::Unspecified,
        Some(reason) => reason.parse().map_err(|_| {
            Fault::new(
                StatusCode::BAD_REQUEST,
                format!("'{}' is not a revocation reason", reason.escape_debug()),
            )
        })?,
    };
    let target = RevocationTarget::Certificate(reference.clone());
    let version = context
        .house
        .certificates
        .revoke(&principal, &target, reason)
        .await?;
    Ok(json(StatusCode::OK, &version_view(&version)))
}

pub(super) async fn delete(call: Call<'_>, reference: &CertificateRef) -> Result<Response, Fault> {
    let certificates = &call.context.house.certificates;
    let certificate = certificates.delete(&call.principal, reference).await?;
    Ok(json(StatusCode::OK, &view(certificates, &certificate)))
}

fn view<'a>(certificates: &Certificates, certificate: &'a Certificate) -> View<'a> {
    let attempts = certificates.attempts(certificate);
    View {
        uuid: certificate.id.to_string(),
        name: &certificate.name,
        common_name: &certificate.common_name,
        identifiers: &certificate.identifiers,
        origin: certificate.origin.as_str(),
        state: certificate.state.kind().as_str(),
        issuer: certificate.issuer.as_deref(),
        created_at: timestamp(certificate.created_at),
        reason: certificate.failure.as_deref(),
        renew_at: certificate.renew_at.map(timestamp),
        attempt: attempts.map(|attempts| attempts.failed),
        next_attempt_at: attempts.map(|attempts| timestamp(attempts.next)),
        current: certificate.current.as_ref().map(version_view),
    }
}

fn record_view(record: StandingRecord) -> RecordView {
    RecordView {
        name: record.name,
        kind: "TXT",
        value: record.value,
        proves: record.proves,
    }
}

fn version_view(version: &Version) -> VersionView {
    VersionView {
        uuid: version.id.to_string(),
        subject: version.subject.clone(),
        issuer: version.issuer.clone(),
        serial: hexadecimal(&version.serial),
        not_before: timestamp(version.not_before),
        not_after: timestamp(version.not_after),
        revocation: version
            .revocation
            .as_ref()
            .map(|revocation| RevocationView {
                at: timestamp(revocation.at),
                reason: revocation.reason.to_string(),
            }),
    }
}
