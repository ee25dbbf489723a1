//! What clients send of a certificate. Some send all fields of their structures, zero values and
//! `null` included; what cannot be changed is passed over.

use lifecycle::{DnsProviderId, InstallationKind, InstallationRequest};

use crate::cloud66::body::Fields;
use crate::cloud66::call::Call;
use crate::cloud66::faults::Fault;

/// Where TLS ends, in the words of the Cloud 66 document.
const TERMINATION: &[(&str, bool)] = &[("haproxy", true), ("nginx", false)];

/// Reads the fields of a certificate.
pub(super) async fn read(call: &mut Call<'_>) -> Result<InstallationRequest, Fault> {
    of_fields(call.fields("ssl_certificate").await?)
}

fn of_fields(mut fields: Fields) -> Result<InstallationRequest, Fault> {
    if fields.number("server_group_id")?.is_some_and(|id| id != 0) {
        let reason = "there is no such server group";
        return Err(Fault::invalid("server_group_id", reason));
    }
    let kind = match fields.filled("type")?.as_ref().map(|kind| kind.as_str()) {
        None => None,
        Some("lets_encrypt") => Some(InstallationKind::Issued),
        Some("manual") => Some(InstallationKind::Uploaded),
        Some(_) => return Err(Fault::invalid("type", "must be lets_encrypt or manual")),
    };
    let server_names = fields.text("server_names")?;
    Ok(InstallationRequest {
        kind,
        server_names: server_names.map(|names| names.to_string()),
        ssl_termination: fields.flag("ssl_termination", TERMINATION)?,
        wildcard: fields.flag("wildcard", &[])?,
        dns_provider: provider(&mut fields)?,
        certificate: fields.filled("certificate")?,
        key: fields.filled("key")?,
        intermediates: fields.filled("intermediate_certificate")?,
    })
}

/// `dp-` and 32 digits, the digits alone, or a UUID.
fn provider(fields: &mut Fields) -> Result<Option<DnsProviderId>, Fault> {
    const FIELD: &str = "dns_provider_uuid";
    let Some(text) = fields.filled(FIELD)? else {
        return Ok(None);
    };
    let digits = ["dp-", "dns-"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix));
    let id = digits.unwrap_or(&text).parse();
    let id = id.map_err(|_| Fault::invalid(FIELD, "there is no such DNS provider"))?;
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(body: &str) -> Result<InstallationRequest, Fault> {
        of_fields(Fields::read(body.as_bytes(), "ssl_certificate")?)
    }

    #[test]
    fn zero_values_are_none() {
        let body = r#"{"ssl_certificate":{"uuid":"","name":"","server_group_id":0,
            "server_names":"a.example,b.example","sha256_fingerprint":null,"ca_name":null,
            "type":"lets_encrypt","wildcard":true,"ssl_termination":true,
            "has_intermediate_cert":false,"certificate":null,"key":null,
            "intermediate_certificate":"","status":0,"created_at":"0001-01-01T00:00:00Z",
            "updated_at":"0001-01-01T00:00:00Z","expires_at":null,"dns_provider_uuid":""}}"#;
        let request = read(body).unwrap();
        assert_eq!(request.kind, Some(InstallationKind::Issued));
        assert_eq!(request.server_names.as_deref(), Some("a.example,b.example"));
        assert_eq!(
            (request.wildcard, request.ssl_termination),
            (Some(true), Some(true))
        );
        assert!(request.certificate.is_none() && request.intermediates.is_none());
        assert_eq!(request.dns_provider, None);
    }

    #[test]
    fn a_provider_is_named_with_and_without_its_prefix() {
        let digits = "00000000000000000000000000000007";
        let expected = DnsProviderId::from_uuid(uuid::Uuid::from_u128(7));
        for text in [
            format!("dp-{digits}"),
            format!("dns-{digits}"),
            digits.to_owned(),
            expected.to_string(),
        ] {
            let request = read(&format!("dns_provider_uuid={text}")).unwrap();
            assert_eq!(request.dns_provider, Some(expected), "{text}");
        }
        assert!(read("dns_provider_uuid=dp-1").is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field) in [
            ("type=foo", "type"),
            ("server_group_id=3", "server_group_id"),
            ("server_group_id=x", "server_group_id"),
            ("wildcard=maybe", "wildcard"),
            ("ssl_termination=apache", "ssl_termination"),
            (r#"{"server_names":["a.example"]}"#, "server_names"),
            (r#"{"certificate":7}"#, "certificate"),
            (r#"{"key":{}}"#, "key"),
        ] {
            match read(body) {
                Err(Fault::Invalid { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}
