//! Names and texts of the TXT records that prove control over a domain.

use acme::client::Challenge;
use aws_lc_rs::digest::{SHA256, digest};

use crate::diagnosis::caa::IssueValue;

/// The label of `dns-01` (RFC 8555 section 8.4).
const CHALLENGE_LABEL: &str = "_acme-challenge";
/// The label of records that stay (draft-ietf-acme-dns-persist).
const PERSIST_LABEL: &str = "_validation-persist";
/// How much of the digest of an account's URL names it (draft-ietf-acme-dns-account-label
/// section 3.1), in octets.
const ACCOUNT_OCTETS: usize = 10;

/// Where the record for `dns-01` is.
pub(crate) fn dns_01_name(domain: &str) -> String {
    format!("{CHALLENGE_LABEL}.{domain}")
}

/// Where the record for `dns-account-01` is: different accounts do not share it.
pub(crate) fn dns_account_01_name(domain: &str, account_url: &str) -> String {
    let digest = digest(&SHA256, account_url.as_bytes());
    let start = digest.as_ref().get(..ACCOUNT_OCTETS).unwrap_or_default();
    let account = base32(start);
    format!("_{account}.{CHALLENGE_LABEL}.{domain}")
}

/// Where the record for `dns-persist-01` is.
pub(crate) fn persist_name(domain: &str) -> String {
    format!("{PERSIST_LABEL}.{domain}")
}

/// The text of a record that lets an account prove control again and again; over all names below
/// the domain, too, when it is about a wildcard. `None` when the challenge names no authority.
pub(crate) fn persist_value(
    challenge: &Challenge,
    account_url: &str,
    is_wildcard: bool,
) -> Option<String> {
    let issuer = challenge.issuer_domain_names.first()?;
    let policy = if is_wildcard { "; policy=wildcard" } else { "" };
    let value = format!("{issuer}; accounturi={account_url}{policy}");
    // What a directory says must not smuggle a parameter in.
    let read = IssueValue::parse(&value)?;
    (read.issuer.eq_ignore_ascii_case(issuer) && read.parameter("accounturi") == Some(account_url))
        .then_some(value)
}

/// Whether a record that is there does for a challenge at `now`, in seconds of Unix time.
pub(crate) fn persists(
    record: &str,
    challenge: &Challenge,
    account_url: &str,
    is_wildcard: bool,
    now: i64,
) -> bool {
    let Some(value) = IssueValue::parse(record) else {
        return false;
    };
    let mut issuers = challenge.issuer_domain_names.iter();
    let is_in_time = value
        .parameter("persistuntil")
        .is_none_or(|end| end.parse::<i64>().is_ok_and(|end| now < end));
    let covers_wildcards = value
        .parameter("policy")
        .is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard"));
    issuers.any(|issuer| issuer.eq_ignore_ascii_case(&value.issuer))
        && value.parameter("accounturi") == Some(account_url)
        && is_in_time
        && (covers_wildcards || !is_wildcard)
}

/// RFC 4648 section 6 in lower case, for a multiple of five octets.
fn base32(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(octets.len().div_ceil(5) * 8);
    for portion in octets.chunks(5) {
        let mut bits = [0; 8];
        for (place, octet) in bits.iter_mut().skip(3).zip(portion) {
            *place = *octet;
        }
        let bits = u64::from_be_bytes(bits);
        for shift in (0..8).rev() {
            let index = usize::try_from(bits >> (5 * shift) & 31).unwrap_or_default();
            text.extend(ALPHABET.get(index).map(|letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use acme::client::{ChallengeKind, ChallengeStatus};

    use super::*;

    const ACCOUNT: &str = "https://ca.test/account/1";

    fn challenge(issuers: &[&str]) -> Challenge {
        Challenge {
            kind: ChallengeKind::DnsPersist01,
            url: "https://ca.test/challenge/1".to_owned(),
            status: ChallengeStatus::Pending,
            token: None,
            error: None,
            issuer_domain_names: issuers.iter().map(|issuer| (*issuer).to_owned()).collect(),
        }
    }

    #[test]
    fn the_name_for_an_account_is_that_of_the_draft() {
        // The example of draft-ietf-acme-dns-account-label section 3.2.
        let account = "https://example.com/acme/acct/ExampleAccount";
        assert_eq!(
            dns_account_01_name("www.example.org", account),
            "_ujmmovf2vn55tgye._acme-challenge.www.example.org"
        );
        assert_eq!(base32(b"fooba"), "mzxw6ytb");
    }

    #[test]
    fn a_record_that_stays_names_authority_account_and_policy() {
        let challenge = challenge(&["ca.test", "other.test"]);
        let single = persist_value(&challenge, ACCOUNT, false).unwrap();
        assert_eq!(single, "ca.test; accounturi=https://ca.test/account/1");
        let wildcard = persist_value(&challenge, ACCOUNT, true).unwrap();
        assert_eq!(wildcard, format!("{single}; policy=wildcard"));
        assert!(persists(&single, &challenge, ACCOUNT, false, 0));
        assert!(!persists(&single, &challenge, ACCOUNT, true, 0));
        for is_wildcard in [true, false] {
            assert!(persists(&wildcard, &challenge, ACCOUNT, is_wildcard, 0));
        }
    }

    #[test]
    fn a_record_of_others_or_of_the_past_does_not_do() {
        let challenge = challenge(&["ca.test"]);
        let found = |text: &str| persists(text, &challenge, ACCOUNT, false, 1_000);
        let start = format!("ca.test; accounturi={ACCOUNT}");
        assert!(found(&format!("{start}; persistUntil=1001")));
        assert!(found(&format!("{start}; unknown=1")));
        assert!(found(&format!(
            "CA.test;accounturi={ACCOUNT};policy=WILDCARD"
        )));
        for text in [
            &format!("{start}; persistUntil=1000"),
            &format!("{start}; persistUntil=soon"),
            &format!("other.test; accounturi={ACCOUNT}"),
            "ca.test",
            "ca.test; accounturi=https://ca.test/account/2",
            &format!("{start};"),
            "",
            "v=spf1 -all",
        ] {
            assert!(!found(text), "{text}");
        }
    }

    #[test]
    fn an_authority_that_lies_gets_no_parameter_in() {
        for issuer in ["ca.test; accounturi=x", "", "a b", "ca.test;"] {
            let lying = challenge(&[issuer]);
            let value = persist_value(&lying, ACCOUNT, false);
            assert!(
                value.is_none_or(|value| value.starts_with(';')),
                "{issuer:?}"
            );
        }
        assert_eq!(persist_value(&challenge(&[]), ACCOUNT, false), None);
    }
}
