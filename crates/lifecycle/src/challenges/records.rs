//! Names and texts of the TXT records that prove control over a domain.

use acme::UnusableKey;
use acme::client::{DirectoryInfo, Login};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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

/// What an account goes by in such a record at `domain`: a hash that tells nobody which account that
/// is (draft-ietf-acme-dns-persist-02), or its URL at directories that know no hashes.
///
/// # Errors
/// [`UnusableKey`].
pub(crate) fn account_uri(
    info: &DirectoryInfo,
    login: &Login,
    domain: &str,
) -> Result<String, UnusableKey> {
    let Some(prefix) = &info.account_hash_prefix else {
        return Ok(login.account_url.clone());
    };
    let thumbprint = URL_SAFE_NO_PAD.encode(login.key.jwk()?.thumbprint());
    let hash = account_hash(domain, &thumbprint, &login.account_url);
    Ok(format!("{prefix}sha-256/{hash}"))
}

fn account_hash(domain: &str, thumbprint: &str, account_url: &str) -> String {
    // No domain is longer than 253 octets.
    let length = u8::try_from(domain.len()).unwrap_or(u8::MAX);
    let mut hashed = vec![length];
    for part in [domain, thumbprint, account_url] {
        hashed.extend_from_slice(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &hashed))
}

/// The text of a record that lets an account prove control again and again to an authority of these
/// names; over all names below the domain, too, when it is about a wildcard. `None` when there is no
/// name.
pub(crate) fn persist_value(
    issuers: &[String],
    account_uri: &str,
    is_wildcard: bool,
) -> Option<String> {
    let issuer = issuers.first()?;
    let policy = if is_wildcard { "; policy=wildcard" } else { "" };
    let value = format!("{issuer}; accounturi={account_uri}{policy}");
    // What a directory says must not smuggle a parameter in.
    let read = IssueValue::parse(&value)?;
    (read.issuer.eq_ignore_ascii_case(issuer) && read.parameter("accounturi") == Some(account_uri))
        .then_some(value)
}

/// Whether a record that is there does for an authority of these names at `now`, in seconds of Unix
/// time.
pub(crate) fn persists(
    record: &str,
    issuers: &[String],
    account_uri: &str,
    is_wildcard: bool,
    now: i64,
) -> bool {
    let Some(value) = IssueValue::parse(record) else {
        return false;
    };
    let mut issuers = issuers.iter();
    let is_in_time = value
        .parameter("persistuntil")
        .is_none_or(|end| end.parse::<i64>().is_ok_and(|end| now < end));
    let covers_wildcards = value
        .parameter("policy")
        .is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard"));
    issuers.any(|issuer| issuer.eq_ignore_ascii_case(&value.issuer))
        && value.parameter("accounturi") == Some(account_uri)
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
    use super::*;

    const ACCOUNT: &str = "https://ca.test/account/1";

    fn issuers(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_account_is_hashed_as_in_the_draft() {
        // The example of draft-ietf-acme-dns-persist-02 section 10.2.
        let hash = account_hash(
            "example.com",
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            "https://ca.example/acct/123",
        );
        assert_eq!(hash, "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw");
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
        let issuers = issuers(&["ca.test", "other.test"]);
        let single = persist_value(&issuers, ACCOUNT, false).unwrap();
        assert_eq!(single, "ca.test; accounturi=https://ca.test/account/1");
        let wildcard = persist_value(&issuers, ACCOUNT, true).unwrap();
        assert_eq!(wildcard, format!("{single}; policy=wildcard"));
        assert!(persists(&single, &issuers, ACCOUNT, false, 0));
        assert!(!persists(&single, &issuers, ACCOUNT, true, 0));
        for is_wildcard in [true, false] {
            assert!(persists(&wildcard, &issuers, ACCOUNT, is_wildcard, 0));
        }
    }

    #[test]
    fn a_record_of_others_or_of_the_past_does_not_do() {
        let issuers = issuers(&["ca.test"]);
        let found = |text: &str| persists(text, &issuers, ACCOUNT, false, 1_000);
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
            let lying = issuers(&[issuer]);
            let value = persist_value(&lying, ACCOUNT, false);
            assert!(
                value.is_none_or(|value| value.starts_with(';')),
                "{issuer:?}"
            );
        }
        assert_eq!(persist_value(&[], ACCOUNT, false), None);
    }
}
