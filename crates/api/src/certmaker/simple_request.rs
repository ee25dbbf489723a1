//! Orders without a CSR, as JSON: what is asked, and from its spelling, who asks.

use lifecycle::{ProofKind, parse_identifiers};
use pki::{Identifier, SubjectFields};

use super::faults::Fault;
use super::members::{Members, saturating_integer, wrong_type};
use super::orders::Encoding;

/// What the spelling of an order tells about who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// The form of answers that it reads.
    pub(super) encoding: Encoding,
    /// Whether it is the renewal daemon, which takes no other status than 200.
    pub(super) is_bot: bool,
}

/// An order, decoded.
#[derive(Debug)]
pub(super) struct SimpleRequest {
    pub(super) identifiers: Vec<Identifier>,
    pub(super) subject: SubjectFields,
    pub(super) days: Option<i64>,
    /// The kind of challenge that the client would meet.
    pub(super) preferred: Option<ProofKind>,
    pub(super) client: Client,
}

impl SimpleRequest {
    /// Decodes the body of an order.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Fault> {
        let members = Members::parse(body)?;
        let list = |key: &str| -> Result<Vec<String>, Fault> {
            let list = members.decode(key, "an array of strings")?;
            Ok(list.unwrap_or_default())
        };
        let mut emails = list("emailaddresses")?;
        emails.append(&mut list("emails")?);
        let (domains, ips) = (list("domains")?, list("ips")?);
        let preferred = members.decode::<String>("preferredchallenge", "a string")?;
        let days = members
            .raw("days")
            .map(|text| saturating_integer(text).ok_or_else(|| wrong_type("days", "an integer")));
        let encoding = if members.has("emails") && !members.has("emailaddresses") {
            Encoding::Pem
        } else {
            Encoding::Der
        };
        let is_bot = ["CertFile", "KeyFile", "Domains"]
            .iter()
            .any(|key| members.has_exactly(key));
        Ok(Self {
            identifiers: parse_identifiers(texts(&domains), texts(&ips), texts(&emails))?,
            subject: subject(&members.object("subject")?)?,
            days: days.transpose()?,
            preferred: preferred_kind(preferred.as_deref())?,
            client: Client { encoding, is_bot },
        })
    }
}

fn preferred_kind(text: Option<&str>) -> Result<Option<ProofKind>, Fault> {
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    let kind = ProofKind::ALL
        .into_iter()
        .find(|kind| kind.as_str().eq_ignore_ascii_case(text));
    let unknown = || Fault::invalid("'preferred_challenge' must be http-01 or dns-01");
    kind.ok_or_else(unknown).map(Some)
}

fn subject(members: &Members) -> Result<SubjectFields, Fault> {
    let part = |key: &str| members.decode::<String>(key, "a string");
    Ok(SubjectFields {
        common_name: part("commonname")?,
        organization: part("organization")?,
        country: part("country")?,
        province: part("province")?,
        locality: part("locality")?,
        street_address: part("streetaddress")?,
        postal_code: part("postalcode")?,
        ..SubjectFields::default()
    })
}

fn texts(entries: &[String]) -> impl Iterator<Item = &str> {
    entries.iter().map(String::as_str)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(body: &str) -> SimpleRequest {
        SimpleRequest::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn the_spelling_of_the_keys_tells_the_clients_apart() {
        for (body, encoding, is_bot) in [
            (
                r#"{"domains":["a.test"],"email_addresses":null}"#,
                Encoding::Der,
                false,
            ),
            (
                r#"{"domains":["a.test"],"emails":null}"#,
                Encoding::Pem,
                false,
            ),
            (
                r#"{"domains":["a.test"],"Emails":[]}"#,
                Encoding::Pem,
                false,
            ),
            (
                r#"{"domains":[],"emails":[],"email_addresses":[]}"#,
                Encoding::Der,
                false,
            ),
            (
                r#"{"domains":["a.test"],"EmailAddresses":null,"emails":[]}"#,
                Encoding::Der,
                false,
            ),
            (r#"{"domains":["a.test"]}"#, Encoding::Der, false),
            (r#"{"Domains":["a.test"]}"#, Encoding::Der, true),
            (
                r#"{"domains":["a.test"],"CertFile":null}"#,
                Encoding::Der,
                true,
            ),
            (
                r#"{"domains":["a.test"],"KeyFile":""}"#,
                Encoding::Der,
                true,
            ),
            (
                r#"{"domains":["a.test"],"keyfile":""}"#,
                Encoding::Der,
                false,
            ),
            (r#"{"DOMAINS":["a.test"]}"#, Encoding::Der, false),
        ] {
            assert_eq!(parsed(body).client, Client { encoding, is_bot }, "{body}");
        }
    }

    #[test]
    fn every_member_is_read_in_every_spelling() {
        let snake = parsed(
            r#"{"domains":["A.test."],"ips":["[::1]"],"emails":["a@b.test"],"email_addresses":["c@b.test"],
               "subject":{"common_name":"n","organization":"o","country":"DE","province":"p",
               "locality":"l","street_address":"s","postal_code":"1"},"days":9,"unknown":{"x":[1]}}"#,
        );
        let go = parsed(
            r#"{"Domains":["a.test"],"IPs":["::1"],"EmailAddresses":["c@b.test"],"Emails":["a@b.test"],
               "Subject":{"CommonName":"n","Organization":"o","Country":"DE","Province":"p",
               "Locality":"l","StreetAddress":"s","PostalCode":"1"},"Days":9}"#,
        );
        let texts = |order: &SimpleRequest| -> Vec<String> {
            order.identifiers.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&snake), ["a.test", "::1", "c@b.test", "a@b.test"]);
        assert_eq!(texts(&snake), texts(&go));
        assert_eq!(format!("{:?}", snake.subject), format!("{:?}", go.subject));
        assert_eq!((snake.days, go.days), (Some(9), Some(9)));
        assert!(
            !format!("{:?}", snake.subject)
                .replace("organizational_unit: None", "")
                .contains("None")
        );
    }

    #[test]
    fn an_address_among_the_domains_becomes_an_address() {
        let order = parsed(r#"{"domains":["10.0.0.5","[fe80::1]"]}"#);
        assert!(
            order
                .identifiers
                .iter()
                .all(|entry| matches!(entry, Identifier::Ip(_)))
        );
        assert_eq!(order.identifiers.len(), 2);
    }

    #[test]
    fn a_challenge_can_be_preferred() {
        for (body, preferred) in [
            (r#"{}"#, None),
            (r#"{"preferred_challenge":null}"#, None),
            (r#"{"preferred_challenge":""}"#, None),
            (
                r#"{"preferred_challenge":"dns-01"}"#,
                Some(ProofKind::Dns01),
            ),
            (
                r#"{"PreferredChallenge":"HTTP-01"}"#,
                Some(ProofKind::Http01),
            ),
        ] {
            assert_eq!(parsed(body).preferred, preferred, "{body}");
        }
    }

    #[test]
    fn wrong_types_are_refused() {
        for body in [
            r#"{"days":"7"}"#,
            r#"{"days":7.5}"#,
            r#"{"days":true}"#,
            r#"{"domains":"a.test"}"#,
            r#"{"domains":[1]}"#,
            r#"{"domains":[null]}"#,
            r#"{"domains":{"0":"a.test"}}"#,
            r#"{"ips":[["127.0.0.1"]]}"#,
            r#"{"emails":[{}]}"#,
            r#"{"subject":[]}"#,
            r#"{"subject":"CN=x"}"#,
            r#"{"subject":{"common_name":1}}"#,
            r#"{"preferred_challenge":1}"#,
            r#"{"preferred_challenge":"tls-alpn-01"}"#,
            r#"{"preferred_challenge":["dns-01"]}"#,
        ] {
            assert!(SimpleRequest::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
