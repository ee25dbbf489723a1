//! `/chancery/v1/targets…` and `/chancery/v1/handshake`

use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use lifecycle::{
    Acknowledgement, CertificateId, Material, Plan, Refusal, ServiceRef, Target, TargetAt,
    TargetCertificate, TargetDirectoryId, TargetView, off_the_reactor,
};
use pki::pem;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::faults::Fault;
use super::{Body, Call, named};
use crate::exchange::{Response, answer, empty, json as json_answer};
use crate::json::{Malformed, Object};
use crate::notation::timestamp;

/// How long somebody waits for a plan who does not say.
const PATIENCE: Duration = Duration::from_secs(30);

/// Signature schemes of TLS (RFC 8446 §4.2.3) that RSA keys do not make: ECDSA and EdDSA.
const NOT_RSA: [u16; 6] = [0x0203, 0x0403, 0x0503, 0x0603, 0x0807, 0x0808];

/// Says which directory somebody delivers into.
const DIRECTORY: &str = "chancery-directory";

struct RegisterBody {
    directory: String,
    services: Option<Vec<String>>,
}

impl Body for RegisterBody {
    const MEMBERS: &'static [&'static str] = &["directory", "services"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            directory: object.require("directory")?,
            services: object.take("services")?,
        })
    }
}

/// What a target says of a certificate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    certificate: String,
    outcome: String,
    version: Option<String>,
    reason: Option<String>,
}

impl crate::json::Value for Vec<Said> {
    const KIND: &'static str = "an array of objects with certificate, outcome, version and reason";
}

struct AcknowledgeBody {
    placements: Vec<Said>,
}

impl Body for AcknowledgeBody {
    const LIMIT: usize = 4 * 1024 * 1024;
    const MEMBERS: &'static [&'static str] = &["placements"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            placements: object.require("placements")?,
        })
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let targets = call.context.house.targets.list(&call.principal).await?;
    let views: Vec<Value> = targets.iter().map(view).collect();
    Ok(json_answer(StatusCode::OK, &json!({ "targets": views })))
}

pub(super) async fn show(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let targets = &call.context.house.targets;
    let TargetView {
        target,
        certificates,
        left_out,
    } = targets.show(&call.principal, name).await?;
    let certificates: Vec<Value> = certificates.iter().map(certificate_view).collect();
    let mut shown = view(&target);
    if let Value::Object(members) = &mut shown {
        members.insert("certificates".to_owned(), certificates.into());
        members.insert("left_out".to_owned(), left_out.into());
    }
    Ok(json_answer(StatusCode::OK, &shown))
}

pub(super) async fn remove(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let targets = &call.context.house.targets;
    targets.remove(&call.principal, name).await?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}

pub(super) async fn register(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, RegisterBody, _) = call.body().await?;
    let services = body
        .services
        .map(|services| services.into_iter().map(named).collect());
    let services: Option<Vec<ServiceRef>> = services;
    let at = TargetAt {
        name,
        directory: identity(&body.directory)?,
    };
    let targets = &context.house.targets;
    let target = targets
        .register(&principal, at, services.as_deref())
        .await?;
    Ok(json_answer(StatusCode::OK, &view(&target)))
}

pub(super) async fn plan(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let seen = call.parameter("seen")?;
    let patience = match call.parameter("wait")? {
        Some(text) => {
            let seconds = text.parse().ok().filter(|seconds| *seconds <= 30);
            let bad = || Fault::new(StatusCode::BAD_REQUEST, "wait is seconds from 0 to 30");
            Duration::from_secs(seconds.ok_or_else(bad)?)
        }
        None => PATIENCE,
    };
    let at = claimed(&call, name)?;
    let targets = &call.context.house.targets;
    let plan = targets
        .plan(&call.principal, at, seen.as_deref(), patience)
        .await?;
    let answer = off_the_reactor(move || json_answer(StatusCode::OK, &plan_view(&plan)));
    Ok(answer.await?)
}

pub(super) async fn material(call: Call<'_>, name: &str, id: &str) -> Result<Response, Fault> {
    let certificate: CertificateId = id.parse().map_err(|_| not_named_by_uuid())?;
    let at = claimed(&call, name)?;
    let targets = &call.context.house.targets;
    let material = targets.material(&call.principal, at, certificate).await?;
    let key = key_of(&material);
    let shown = json!({
        "certificate": material.certificate.to_string(),
        "version": material.version.to_string(),
        "chain": chain_of(&material),
        "private_key": key.as_str(),
    });
    Ok(not_kept(json_answer(StatusCode::OK, &shown)))
}

pub(super) async fn acknowledge(call: Call<'_>, name: &str) -> Result<Response, Fault> {
    let context = call.context;
    let at = claimed(&call, name)?;
    let (principal, body, _room): (_, AcknowledgeBody, _) = call.body().await?;
    let said = body.placements.into_iter().map(acknowledgement);
    let said = said.collect::<Result<Vec<_>, _>>()?;
    let targets = &context.house.targets;
    targets.acknowledge(&principal, at, said).await?;
    Ok(json_answer(StatusCode::OK, &json!({})))
}

/// What Caddy's `get_certificate http` asks: a certificate with its key for a handshake, or 204 for
/// none.
pub(super) async fn handshake(call: Call<'_>) -> Result<Response, Fault> {
    let Some(name) = call.parameter("server_name")? else {
        // A client that sends no SNI; there is no certificate for everything.
        return Ok(empty(StatusCode::NO_CONTENT));
    };
    let schemes = call.parameter("signature_schemes")?;
    let takes_ecdsa = schemes.is_none_or(|schemes| takes_more_than_rsa(&schemes));
    let targets = &call.context.house.targets;
    let found = targets
        .for_handshake(&call.principal, &name, takes_ecdsa)
        .await?;
    let Some(material) = found else {
        return Ok(empty(StatusCode::NO_CONTENT));
    };
    let mut text = Zeroizing::new(chain_of(&material));
    text.push_str(&key_of(&material));
    let response = answer(
        StatusCode::OK,
        "application/x-pem-file",
        text.as_bytes().to_vec(),
    );
    Ok(not_kept(response))
}

/// The target that somebody delivers to, with the directory that they say it has.
fn claimed<'a>(call: &Call<'_>, name: &'a str) -> Result<TargetAt<'a>, Fault> {
    let header = call.request.headers().get(DIRECTORY);
    let directory = header.and_then(|header| header.to_str().ok());
    Ok(TargetAt {
        name,
        directory: identity(directory.unwrap_or_default())?,
    })
}

fn identity(text: &str) -> Result<TargetDirectoryId, Fault> {
    text.parse().map_err(|_| {
        Fault::new(
            StatusCode::BAD_REQUEST,
            "a directory is known by a uuid: the member directory when a target is registered, and \
             then the header chancery-directory",
        )
    })
}

/// Nobody on the way keeps an answer with a key.
fn not_kept(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn chain_of(material: &Material) -> String {
    let blocks = material.chain.iter();
    blocks
        .map(|der| pem::encode("CERTIFICATE", der).to_string())
        .collect()
}

fn key_of(material: &Material) -> Zeroizing<String> {
    pem::encode("PRIVATE KEY", &material.key.pkcs8)
}

/// Whether one of these schemes, hexadecimal and separated by commas, is not for RSA keys. Where
/// none can be read, the client is taken to be like most.
fn takes_more_than_rsa(schemes: &str) -> bool {
    let mut known = schemes
        .split(',')
        .filter_map(|scheme| u16::from_str_radix(scheme.trim(), 16).ok())
        .peekable();
    known.peek().is_none() || known.any(|scheme| NOT_RSA.contains(&scheme))
}

fn acknowledgement(said: Said) -> Result<(CertificateId, Acknowledgement), Fault> {
    let bad = |detail: &str| Fault::new(StatusCode::BAD_REQUEST, detail);
    let certificate = said.certificate.parse();
    let certificate = certificate.map_err(|_| not_named_by_uuid())?;
    let version = said.version.map(|version| version.parse()).transpose();
    let version = version.map_err(|_| bad("a version is named by its uuid"))?;
    let said = match (said.outcome.as_str(), version, said.reason) {
        ("placed", Some(version), None) => Acknowledgement::Placed(version),
        ("refused", version_id, Some(reason)) => {
            Acknowledgement::Refused(Refusal { version_id, reason })
        }
        ("removed", None, None) => Acknowledgement::Removed,
        _ => {
            return Err(bad(
                "an outcome is placed with a version, refused with a reason, or removed",
            ));
        }
    };
    Ok((certificate, said))
}

fn not_named_by_uuid() -> Fault {
    Fault::new(
        StatusCode::BAD_REQUEST,
        "a certificate is named by its uuid",
    )
}

fn view(target: &Target) -> Value {
    let services = target.services.as_ref();
    let services = services.map(|services| {
        let services = services.iter().map(ToString::to_string);
        services.collect::<Vec<String>>()
    });
    json!({
        "uuid": target.id.to_string(),
        "name": target.name,
        "services": services,
        "seen_at": target.seen_at.map(timestamp),
        "created_at": timestamp(target.created_at),
    })
}

fn certificate_view(certificate: &TargetCertificate) -> Value {
    json!({
        "uuid": certificate.certificate.to_string(),
        "name": certificate.name,
        "version": certificate.version.map(|version| version.to_string()),
        "standing": certificate.standing.as_str(),
        "reason": certificate.reason,
        "updated_at": certificate.updated_at.map(timestamp),
    })
}

fn plan_view(plan: &Plan) -> Value {
    let place = plan.place.iter().map(|one| {
        json!({
            "certificate": one.certificate.to_string(),
            "version": one.version.to_string(),
            "name": one.name,
            "acknowledged": one.is_acknowledged,
        })
    });
    let remove = plan
        .remove
        .iter()
        .map(|one| json!({ "certificate": one.certificate.to_string(), "name": one.name }));
    json!({
        "tag": plan.tag,
        "place": place.collect::<Vec<Value>>(),
        "remove": remove.collect::<Vec<Value>>(),
        "left_out": plan.left_out,
    })
}

#[cfg(test)]
mod tests {
    use super::takes_more_than_rsa;

    #[test]
    fn what_a_client_can_verify_is_read_from_its_schemes() {
        for (schemes, takes_more) in [
            ("", true),
            ("nonsense,,", true),
            ("804,805,806,401,501,601", false),
            ("804,403,401", true),
            ("0807", true),
            ("401, 503", true),
            ("201", false),
        ] {
            assert_eq!(takes_more_than_rsa(schemes), takes_more, "{schemes}");
        }
    }
}
