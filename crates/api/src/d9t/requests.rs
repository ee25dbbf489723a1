//! Certificate signing requests, in the form that the client can take.

use http::StatusCode;
use http::header::{ACCEPT, HeaderMap};
use pki::CertificateRequest;
use serde::Serialize;

use super::Call;
use super::faults::Fault;
use super::links::Link;
use crate::exchange::{Response, answer, json};

/// `GET /privatekeys/{id}/certificates/{cid}/csr`.
pub(super) async fn show(
    call: Call<'_>,
    key: u64,
    number: u64,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let keys = &call.context.house.private_keys;
    let request = keys.request(call.principal, key, number).await?;
    let pem = |content_type| {
        let pem = CertificateRequest::to_pem(&request);
        answer(StatusCode::OK, content_type, pem)
    };
    Ok(match Form::wanted(headers) {
        Form::Json => {
            let shown = Shown {
                csr: CertificateRequest::to_pem(&request),
                links: [
                    call.links.request(key, number, "self"),
                    call.links.certificate(key, number, "certificate"),
                ],
            };
            json(StatusCode::OK, &shown)
        }
        Form::Pem => pem("application/x-pem-file"),
        Form::Text => pem("text/plain"),
        Form::Der => answer(StatusCode::OK, "application/pkcs10", request),
    })
}

#[derive(Serialize)]
struct Shown {
    csr: String,
    #[serde(rename = "_links")]
    links: [Link; 2],
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Der,
    Json,
    Pem,
    Text,
}

impl Form {
    /// The first that the client lists and that is known, whatever weight it gives it.
    fn wanted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).into_iter();
        let accepted = accepted.filter_map(|value| value.to_str().ok());
        let mut kinds = accepted.flat_map(|value| value.split(','));
        let known = kinds.find_map(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            match kind.to_ascii_lowercase().as_str() {
                "application/json" | "*/*" => Some(Self::Json),
                "application/pkcs10" => Some(Self::Der),
                "application/x-pem-file" => Some(Self::Pem),
                "text/plain" => Some(Self::Text),
                _ => None,
            }
        });
        known.unwrap_or(Self::Json)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_known_type_decides() {
        for (accept, form) in [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("text/html", Form::Json),
            ("text/plain", Form::Text),
            ("TEXT/Plain;q=0.1, application/json", Form::Text),
            ("text/html, application/x-pem-file;q=0.9, */*", Form::Pem),
            ("application/pkcs10", Form::Der),
            ("application/pkcs10x,,;", Form::Json),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::wanted(&headers), form, "{accept}");
        }
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Json);
    }
}
