//! Certificates: fetching (RFC 8555 section 7.4.2), revoking (section 7.6), when to renew (RFC 9773).

use serde_json::json;

use super::answer::{Answer, Outcome, refuse};
use super::faults::Resource;
use super::jws::{Jws, decode};
use super::state::{Server, State, moment};

const PEM: &str = "application/pem-certificate-chain";

pub(super) fn fetch(server: &Server, id: usize, account: usize, is_alternate: bool) -> Outcome {
    let state = server.state();
    let certificate = own(&state, id, account)?;
    let issuer = if is_alternate {
        server.authority.crossed_pem()
    } else if state.faults.has_expired_chain {
        server.authority.expired_pem()
    } else {
        server.authority.issuer_pem()
    };
    let surplus = issuer.repeat(state.faults.surplus_certificates);
    let answer = Answer::new(
        200,
        PEM,
        format!("{}{issuer}{surplus}", certificate.leaf.pem),
    );
    let (resource, path) = if is_alternate {
        (Resource::Certificate, format!("/certificate/{id}"))
    } else {
        (Resource::Alternate, format!("/certificate/{id}/alternate"))
    };
    let other = server.url(&state, resource, &path);
    let index = server.url(&state, Resource::Directory, "/directory");
    Ok(answer
        .header("Link", format!("<{index}>;rel=\"index\""))
        .header("Link", format!("<{other}>;rel=\"alternate\"")))
}

pub(super) fn revoke(server: &Server, jws: &Jws, account: usize) -> Outcome {
    let wish = jws.document()?;
    let der = decode(wish["certificate"].as_str().unwrap_or_default())?;
    let mut state = server.state();
    let mut certificates = state.certificates.iter();
    let id = certificates.position(|certificate| certificate.leaf.der == der);
    let id = id.ok_or_else(|| refuse(404, "malformed", "there is no such certificate"))?;
    let certificate = &mut state.certificates[id];
    if certificate.account != account {
        return Err(refuse(
            403,
            "unauthorized",
            "the certificate is another account's",
        ));
    }
    if certificate.revoked.is_some() {
        return Err(refuse(400, "alreadyRevoked", "the certificate is revoked"));
    }
    let reason = wish["reason"].as_u64().unwrap_or_default();
    if ![0, 1, 3, 4, 5, 9].contains(&reason) {
        let detail = format!("{reason} is not for subscribers");
        return Err(refuse(400, "badRevocationReason", &detail));
    }
    certificate.revoked = Some(reason);
    Ok(Answer::empty(200))
}

pub(super) fn renewal_info(server: &Server, identifier: &str) -> Outcome {
    let Some(retry_after) = server.options.renewal_info else {
        return Err(refuse(404, "malformed", "there is no renewal information"));
    };
    let state = server.state();
    let id = state.certificate_named(identifier);
    let id = id.ok_or_else(|| refuse(404, "malformed", "there is no such certificate"))?;
    let (start, end) = state.certificates[id].window;
    let document = json!({
        "suggestedWindow": { "start": moment(start), "end": moment(end) },
        "explanationURL": format!("{}/renewal", server.base),
    });
    let answer = Answer::json(200, &document);
    Ok(answer.header("Retry-After", retry_after.as_secs().to_string()))
}

fn own(state: &State, id: usize, account: usize) -> Result<&super::state::Certificate, Answer> {
    let certificate = state.certificates.get(id);
    let certificate = certificate.filter(|certificate| certificate.account == account);
    certificate.ok_or_else(|| refuse(404, "malformed", "there is no such certificate"))
}
