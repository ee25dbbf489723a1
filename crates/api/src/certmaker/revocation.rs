//! Revocation by serial number, in full or by its low 64 bits.

use http::StatusCode;
use hyper::body::Incoming;
use lifecycle::{Principal, RevocationTarget, SerialReference};
use pki::{RevocationReason, RevocationReasonError};

use super::body_of;
use super::faults::Fault;
use super::members::Members;
use crate::Context;
use crate::exchange::{Response, empty};

/// `POST /certificate/revoke` with `SerialNumber` and `Reason` in the body.
pub(super) async fn named_in_body(
    context: &Context,
    principal: &Principal,
    body: Incoming,
) -> Result<Response, Fault> {
    context.house.inbound_orders.admit_revocation(principal)?;
    let members = Members::parse(&body_of(context, body).await?)?;
    let serial = serial(&members)?;
    revoke(context, principal, serial, reason(&members)?).await
}

/// `POST` or `GET /certificate/{sn}/revoke`, optionally with `Reason` in the body.
pub(super) async fn named_in_path(
    context: &Context,
    principal: &Principal,
    serial: &str,
    body: Incoming,
) -> Result<Response, Fault> {
    context.house.inbound_orders.admit_revocation(principal)?;
    let body = body_of(context, body).await?;
    let serial = SerialReference::from_decimal(serial).ok_or_else(not_a_serial)?;
    let reason = if body.trim_ascii().is_empty() {
        RevocationReason::Unspecified
    } else {
        reason(&Members::parse(&body)?)?
    };
    revoke(context, principal, serial, reason).await
}

async fn revoke(
    context: &Context,
    principal: &Principal,
    serial: SerialReference,
    reason: RevocationReason,
) -> Result<Response, Fault> {
    let target = RevocationTarget::Serial(serial);
    let certificates = &context.house.certificates;
    certificates.revoke(principal, &target, reason).await?;
    Ok(empty(StatusCode::OK))
}

/// The serial number, a JSON number or a string. Its digits are read as they were written: a
/// floating-point number in between would name another certificate.
fn serial(members: &Members) -> Result<SerialReference, Fault> {
    let raw = members.raw("serialnumber").ok_or_else(not_a_serial)?;
    let digits = match serde_json::from_str::<String>(raw) {
        Ok(text) => text,
        Err(_) => raw.to_owned(),
    };
    SerialReference::from_decimal(&digits).ok_or_else(not_a_serial)
}

/// The reason; a text that is none of RFC 5280's reasons tells nothing.
fn reason(members: &Members) -> Result<RevocationReason, Fault> {
    let text: Option<String> = members.decode("reason", "a string")?;
    match text.unwrap_or_default().trim().parse() {
        Ok(reason) => Ok(reason),
        Err(RevocationReasonError::Unknown) => Ok(RevocationReason::Unspecified),
        Err(error @ RevocationReasonError::RemoveFromCrl) => Err(Fault::invalid(error.to_string())),
    }
}

fn not_a_serial() -> Fault {
    Fault::invalid("the serial number must have 1 to 49 decimal digits and nothing else")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn members(body: &str) -> Members {
        Members::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn serial_numbers_are_read_digit_by_digit() {
        for digits in [
            "9223372036854775809",
            "18446744073709551615",
            "170141183460469231731687303715884105727",
        ] {
            for body in [
                format!(r#"{{"SerialNumber":{digits}}}"#),
                format!(r#"{{"serial_number": "{digits}" }}"#),
            ] {
                let read = serial(&members(&body)).unwrap();
                assert_eq!(read.to_string(), digits, "{body}");
            }
        }
    }

    #[test]
    fn what_is_no_serial_number_is_refused() {
        for value in [
            "null",
            "true",
            "-1",
            "1.0",
            "1e3",
            "[1]",
            "\"\"",
            "\" 1\"",
            "\"+1\"",
            "\"0x1F\"",
            &"9".repeat(50),
        ] {
            let body = format!(r#"{{"SerialNumber":{value}}}"#);
            assert!(serial(&members(&body)).is_err(), "{body}");
        }
        assert!(serial(&members("{}")).is_err());
    }

    #[test]
    fn unknown_reasons_say_nothing_and_impossible_ones_are_refused() {
        for (body, expected) in [
            ("{}", RevocationReason::Unspecified),
            (r#"{"Reason":null}"#, RevocationReason::Unspecified),
            (r#"{"Reason":""}"#, RevocationReason::Unspecified),
            (r#"{"Reason":"because"}"#, RevocationReason::Unspecified),
            (
                r#"{"reason":"KEYCOMPROMISE"}"#,
                RevocationReason::KeyCompromise,
            ),
        ] {
            assert_eq!(reason(&members(body)).unwrap(), expected, "{body}");
        }
        for body in [r#"{"Reason":1}"#, r#"{"Reason":"removeFromCRL"}"#] {
            assert!(reason(&members(body)).is_err(), "{body}");
        }
    }
}
