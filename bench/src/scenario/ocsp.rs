//! OCSP: answers that may be repeated against a bare HTTP server, answers with a nonce against the
//! signature that each of them needs; and what revocations do to both.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{Method, StatusCode};
use pki::{CertId, Certificate, HashAlgorithm, IssuerHashes, OcspRequest};

use super::{TOKEN_HEADER, bench, certificate_requests, measure};
use crate::arguments::{Ocsp, Options};
use crate::hello::Hello;
use crate::load::http::{Prepared, Traffic, drive};
use crate::load::{Limit, Measurement, Target};
use crate::peers::OpensslResponder;
use crate::report::{Budget, Line, Ratio, Report};
use crate::server::{Server, Side, pin_load_generator};

/// How near answers without a nonce should come to a bare HTTP server.
const REPEATED_BUDGET: Budget = Budget::AtLeast(0.9);
/// How near answers with a nonce should come to signing alone.
const SIGNED_BUDGET: Budget = Budget::AtLeast(0.7);
/// Octets of a nonce (RFC 9654 section 2.1).
const NONCE: usize = 32;
/// Different nonces for each certificate.
const NONCES: u64 = 4;
const HEADERS: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/ocsp-request")];

/// Measures OCSP.
///
/// # Errors
/// When a server cannot be started, or ends while it is measured.
pub(crate) async fn run(options: &Options, ocsp: &Ocsp) -> anyhow::Result<Report> {
    let signing = tokio::task::block_in_place(|| bench(options).sign_answer())?;
    let answering = tokio::task::block_in_place(|| bench(options).answer())?;
    let server = Server::start(options).await?;
    pin_load_generator(options).await?;
    let questions = issue(options, &server, ocsp.certificates).await?;

    let plain = questions.traffic(Form::Post)?;
    let sample = plain.requests.iter().take(1).cloned().collect();
    let length = body_length(options, server.target, sample).await?;
    let posted = Line::of(&measure(options, &server, plain).await?);
    let fetched = Line::of(&measure(options, &server, questions.traffic(Form::Get)?).await?);
    let signed = questions.traffic(Form::PostWithNonce)?;
    let signed = Line::of(&measure(options, &server, signed).await?);
    let (meanwhile, revoked) = revoke(options, &server, &questions, ocsp.revocations).await?;
    let mut report = Report::new("ocsp");
    report.peak_memory = server.peak_memory()?;
    server.stop().await?;
    let bare = bare(options, &questions, length).await?;
    let bare = Line::of(&bare);
    let openssl = openssl(options, &mut report).await?;

    report.ratios.push(Ratio::new(
        "rate of OCSP by POST without nonce / rate of the bare HTTP server",
        posted.rate,
        bare.rate,
        Some(REPEATED_BUDGET),
    ));
    report.ratios.extend(Ratio::of_cpu(
        "CPU time of the bare HTTP server for a request / that of OCSP by POST without nonce",
        bare.server_cpu,
        posted.server_cpu,
        None,
    ));
    report.ratios.extend(Ratio::of_cpu(
        "CPU time of signing alone / that of the server for an answer with nonce",
        Some(signing.cpu),
        signed.server_cpu,
        Some(SIGNED_BUDGET),
    ));
    report.ratios.extend(openssl.as_ref().map(|openssl| {
        let what = "rate of OCSP by POST without nonce / rate of `openssl ocsp` as a server";
        Ratio::new(what, posted.rate, openssl.rate, None)
    }));
    report.lines.extend([posted, fetched, bare, signed]);
    report.lines.extend([meanwhile, revoked]);
    report.lines.extend(openssl);
    report.lines.push(Line::from(&answering));
    report.lines.push(Line::from(&signing));
    Ok(report)
}

/// How a question is put.
#[derive(Clone, Copy)]
enum Form {
    Get,
    Post,
    PostWithNonce,
}

/// The certificates to ask about.
struct Questions {
    cert_ids: Vec<CertId>,
}

impl Questions {
    fn traffic(&self, form: Form) -> anyhow::Result<Traffic> {
        let name = match form {
            Form::Get => "OCSP by GET, no nonce",
            Form::Post => "OCSP by POST, no nonce",
            Form::PostWithNonce => "OCSP by POST, nonce",
        };
        let mut requests = Vec::new();
        for (number, cert_id) in self.cert_ids.iter().enumerate() {
            let question = |nonce| OcspRequest {
                cert_ids: vec![cert_id.clone()],
                nonce,
            };
            match form {
                Form::Get => {
                    let encoded = STANDARD.encode(question(None).to_der());
                    let target = format!("/api/v1/ocsp/{}", encoded.replace('+', "%2B"));
                    requests.push(Prepared::new(Method::GET, &target, &[], "")?);
                }
                Form::Post => requests.push(post(question(None).to_der())?),
                Form::PostWithNonce => {
                    for variant in 0..NONCES {
                        let question = question(Some(nonce(number as u64 * NONCES + variant)));
                        requests.push(post(question.to_der())?);
                    }
                }
            }
        }
        Ok(Traffic {
            name: name.to_owned(),
            requests,
            expected: StatusCode::OK,
            is_good: is_successful,
        })
    }
}

fn post(question: Vec<u8>) -> anyhow::Result<Prepared> {
    Prepared::new(Method::POST, "/api/v1/ocsp", &HEADERS, question)
}

/// Different for each number; nobody has to be unable to guess it here.
fn nonce(number: u64) -> Vec<u8> {
    let mut nonce = vec![0xa5; NONCE - 8];
    nonce.extend(number.to_be_bytes());
    nonce
}

/// An `OCSPResponse` whose first member, the status, is `successful` (RFC 6960 section 4.2.1).
fn is_successful(der: &[u8]) -> bool {
    let ([0x30, 0x82, _, _, body @ ..] | [0x30, 0x81, _, body @ ..]) = der else {
        return false;
    };
    body.starts_with(&[0x0a, 0x01, 0x00])
}

/// Issues the certificates to ask about.
async fn issue(options: &Options, server: &Server, count: usize) -> anyhow::Result<Questions> {
    let orders = certificate_requests(server, count)?;
    let limit = Limit::Count {
        requests: count as u64,
        keep: true,
    };
    let issued = drive(server.target, options.clients, limit, orders).await?;
    anyhow::ensure!(
        issued.errors.is_empty(),
        "cannot issue: {:?}",
        issued.errors
    );
    let authority = Traffic {
        name: "CA certificate".to_owned(),
        requests: vec![Prepared::new(Method::GET, "/api/v1/ca.cer", &[], "")?],
        expected: StatusCode::OK,
        is_good: |_| true,
    };
    let authority = whole_body(server.target, authority).await?;
    let hashes = IssuerHashes::of(&Certificate::from_der(&authority)?);
    let cert_id = |body: &bytes::Bytes| -> anyhow::Result<CertId> {
        let delivery: serde_json::Value = serde_json::from_slice(body)?;
        let encoded = delivery
            .get("certificate_pem")
            .and_then(serde_json::Value::as_str);
        let der = STANDARD.decode(encoded.context("no certificate in an answer")?)?;
        let leaf = Certificate::from_der(&der)?;
        Ok(CertId::new(HashAlgorithm::Sha1, &hashes, leaf.serial()))
    };
    Ok(Questions {
        cert_ids: issued
            .bodies
            .iter()
            .map(cert_id)
            .collect::<anyhow::Result<_>>()?,
    })
}

/// OCSP by POST without nonce while other certificates are revoked.
async fn revoke(
    options: &Options,
    server: &Server,
    questions: &Questions,
    count: usize,
) -> anyhow::Result<(Line, Line)> {
    let victims = issue(options, server, count).await?;
    let revocation = |cert_id: &CertId| -> anyhow::Result<Prepared> {
        let serial = cert_id.serial().context("a certificate has no serial")?;
        let octets = serial.as_be_bytes().iter();
        let number = octets.fold(0_u128, |number, octet| number << 8 | u128::from(*octet));
        let target = format!("/api/v1/certificate/{number}/revoke");
        let headers = [(TOKEN_HEADER, server.token.as_str())];
        Prepared::new(
            Method::POST,
            &target,
            &headers,
            r#"{"Reason":"superseded"}"#,
        )
    };
    let revocations = Traffic {
        name: format!("{count} revocations, one at a time"),
        requests: victims
            .cert_ids
            .iter()
            .map(revocation)
            .collect::<anyhow::Result<_>>()?,
        expected: StatusCode::OK,
        is_good: <[u8]>::is_empty,
    };
    let limit = Limit::Count {
        requests: count as u64,
        keep: false,
    };
    let plain = Traffic {
        name: "OCSP by POST, no nonce, during revocations".to_owned(),
        ..questions.traffic(Form::Post)?
    };
    let (meanwhile, revoked) = tokio::join!(
        measure(options, server, plain),
        drive(server.target, 1, limit, revocations),
    );
    Ok((Line::of(&meanwhile?), Line::of(&revoked?)))
}

/// `openssl ocsp` under the same kind of question, if there is one here.
async fn openssl(options: &Options, report: &mut Report) -> anyhow::Result<Option<Line>> {
    let responder = match OpensslResponder::start(options).await {
        Ok(responder) => responder,
        Err(error) => {
            report
                .notes
                .push(format!("not compared with openssl: {error:#}"));
            return Ok(None);
        }
    };
    let traffic = Traffic {
        name: "`openssl ocsp` as a server, a connection for each answer".to_owned(),
        requests: vec![post(responder.question.clone())?],
        expected: StatusCode::OK,
        is_good: is_successful,
    };
    let limit = Limit::Time(options.measured());
    let measurement = drive(responder.target, options.clients, limit, traffic).await?;
    Ok(Some(Line::of(&measurement)))
}

/// How long the answers are that the bare server has to match.
async fn body_length(
    options: &Options,
    target: Target,
    requests: Vec<Prepared>,
) -> anyhow::Result<usize> {
    let traffic = Traffic {
        name: format!("OCSP before {} clients come", options.clients),
        requests,
        expected: StatusCode::OK,
        is_good: is_successful,
    };
    Ok(whole_body(target, traffic).await?.len())
}

/// The answer to the one request.
async fn whole_body(target: Target, traffic: Traffic) -> anyhow::Result<bytes::Bytes> {
    let limit = Limit::Count {
        requests: 1,
        keep: true,
    };
    let mut measurement = drive(target, 1, limit, traffic).await?;
    let errors = measurement.errors;
    measurement
        .bodies
        .pop()
        .with_context(|| format!("no answer: {errors:?}"))
}

/// The bare server under the same requests.
async fn bare(
    options: &Options,
    questions: &Questions,
    length: usize,
) -> anyhow::Result<Measurement> {
    let hello = Hello::start(Side::Server, options, length, 0).await?;
    let target = Target {
        address: hello.address,
        process: Some(hello.process),
        database: None,
    };
    let traffic = Traffic {
        name: format!("floor: bare hyper server, {length} octets"),
        is_good: |_| true,
        ..questions.traffic(Form::Post)?
    };
    drive(
        target,
        options.clients,
        Limit::Time(options.measured()),
        traffic,
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_successful_answer_is_a_good_one() {
        assert!(is_successful(&[0x30, 0x82, 1, 0, 0x0a, 1, 0, 0xa0]));
        assert!(is_successful(&[0x30, 0x81, 200, 0x0a, 1, 0, 0xa0]));
        for bad in [
            &[0x30, 0x03, 0x0a, 1, 1][..],
            &[0x30, 0x82, 1, 0, 0x0a, 1, 6],
            b"",
        ] {
            assert!(!is_successful(bad), "{bad:?}");
        }
    }

    #[test]
    fn nonces_differ_and_have_the_usual_length() {
        assert_ne!(nonce(1), nonce(2));
        assert_eq!(nonce(1).len(), NONCE);
    }
}
