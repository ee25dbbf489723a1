//! Certification Authority Authorization (RFC 8659) with the parameters of RFC 8657: whether an
//! authority may issue for a name. What an authority would refuse is refused here first.

use acme::client::ChallengeKind;
use egress::{Caa, LookupError, Resolver};

use crate::challenges::delegation::climb;

/// The tags that authorities know; a critical record with another one forbids everything
/// (RFC 8659 section 4.1). The contacts are those of the CA/Browser Forum; `issuemail` is of
/// RFC 9495, `issuevmc` of mark certificates.
const KNOWN_TAGS: [&str; 7] = [
    "issue",
    "issuewild",
    "iodef",
    "issuemail",
    "issuevmc",
    "contactemail",
    "contactphone",
];

/// The records that decide about a name, and where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelevantSet {
    /// The name that has them: the one asked for or one above it.
    pub(crate) name: String,
    /// The records.
    pub(crate) records: Vec<Caa>,
}

/// Who wants to issue what, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand<'a> {
    /// The names that the authority goes by.
    pub(crate) identities: &'a [String],
    /// Whether the certificate is for a wildcard.
    pub(crate) is_wildcard: bool,
    /// The account that orders, if it is known.
    pub(crate) account_url: Option<&'a str>,
    /// The kinds of challenges that could be used; one that is allowed is enough.
    pub(crate) methods: &'a [ChallengeKind],
}

/// Why an authority may not issue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A critical record that authorities do not understand.
    #[error("a critical record has the unknown tag '{tag}'")]
    Unknown {
        /// Its tag.
        tag: String,
    },
    /// Nobody may issue.
    #[error("no authority may issue")]
    Nobody,
    /// Others may issue.
    #[error("only {} may issue", .issuers.join(", "))]
    Others {
        /// Who may.
        issuers: Vec<String>,
    },
    /// Other accounts of the authority may order.
    #[error("only the account {account_url} may order")]
    Account {
        /// The account that may.
        account_url: String,
    },
    /// Other challenges may be used.
    #[error("only the challenges {} may be used", .methods.join(", "))]
    Method {
        /// Which ones may.
        methods: Vec<String>,
    },
}

/// The value of an `issue` property (RFC 8659 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssueValue {
    /// The authority, in lower case; empty when none is meant.
    pub(crate) issuer: String,
    parameters: Vec<(String, String)>,
}

impl IssueValue {
    /// Reads a value; `None` for one that breaks the grammar.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const BLANKS: [char; 2] = [' ', '\t'];
        let (issuer, rest) = match text.split_once(';') {
            Some((issuer, rest)) => (issuer, rest.trim_matches(BLANKS)),
            None => (text, ""),
        };
        let issuer = issuer.trim_matches(BLANKS).to_ascii_lowercase();
        let is_in_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !issuer.bytes().all(is_in_names) {
            return None;
        }
        let mut parameters = Vec::new();
        if !rest.is_empty() {
            for parameter in rest.split(';') {
                let (tag, value) = parameter.split_once('=')?;
                let (tag, value) = (tag.trim_matches(BLANKS), value.trim_matches(BLANKS));
                let is_tag = !tag.is_empty()
                    && tag
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                let is_value = value.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_tag || !is_value {
                    return None;
                }
                parameters.push((tag.to_ascii_lowercase(), value.to_owned()));
            }
        }
        Some(Self { issuer, parameters })
    }

    /// The value of a parameter whose tag is given in lower case.
    pub(crate) fn parameter(&self, tag: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(name, _)| name == tag);
        found.map(|(_, value)| value.as_str())
    }
}

/// The records that decide about a domain (without `*.`): its own, or those of the closest name
/// above it that has any (RFC 8659 section 3). `None` when there are none at all.
///
/// # Errors
/// When a name on the way cannot be asked about: an authority would refuse then.
pub(crate) async fn relevant_set(
    resolver: &dyn Resolver,
    domain: &str,
) -> Result<Option<RelevantSet>, LookupError> {
    for name in climb(domain) {
        let records = resolver.caa(name).await?;
        if !records.is_empty() {
            let name = name.to_owned();
            return Ok(Some(RelevantSet { name, records }));
        }
    }
    Ok(None)
}

/// Whether a set of records lets an authority issue.
///
/// # Errors
/// [`Refusal`].
pub(crate) fn permits(records: &[Caa], demand: &Demand<'_>) -> Result<(), Refusal> {
    let unknown = |record: &&Caa| {
        let tag = record.tag.to_ascii_lowercase();
        record.is_critical && !KNOWN_TAGS.contains(&tag.as_str())
    };
    if let Some(record) = records.iter().find(unknown) {
        return Err(Refusal::Unknown {
            tag: record.tag.clone(),
        });
    }
    let tagged = |tag: &str| -> Vec<&Caa> {
        let records = records.iter();
        records
            .filter(|record| record.tag.eq_ignore_ascii_case(tag))
            .collect()
    };
    let mut properties = tagged("issuewild");
    if !demand.is_wildcard || properties.is_empty() {
        properties = tagged("issue");
    }
    if properties.is_empty() {
        return Ok(());
    }
    // One that cannot be read names nobody.
    let values = properties
        .iter()
        .filter_map(|record| IssueValue::parse(&record.value));
    let (ours, others): (Vec<IssueValue>, Vec<IssueValue>) =
        values.partition(|value| is_named(value, demand.identities));
    let mut refusal = None;
    for value in &ours {
        match allows(value, demand) {
            Ok(()) => return Ok(()),
            Err(refused) => refusal = refusal.or(Some(refused)),
        }
    }
    Err(refusal.unwrap_or_else(|| {
        let named = others.into_iter().map(|value| value.issuer);
        let issuers: Vec<String> = named.filter(|issuer| !issuer.is_empty()).collect();
        if issuers.is_empty() {
            Refusal::Nobody
        } else {
            Refusal::Others { issuers }
        }
    }))
}

/// Whether the records speak of anybody in particular, so that who issues matters.
pub(crate) fn restricts(records: &[Caa]) -> bool {
    let mut records = records.iter();
    records.any(|record| {
        record.tag.eq_ignore_ascii_case("issue") || record.tag.eq_ignore_ascii_case("issuewild")
    })
}

fn is_named(value: &IssueValue, identities: &[String]) -> bool {
    let mut identities = identities.iter();
    !value.issuer.is_empty()
        && identities.any(|identity| {
            let identity = identity.strip_suffix('.').unwrap_or(identity);
            let issuer = value.issuer.strip_suffix('.').unwrap_or(&value.issuer);
            identity.eq_ignore_ascii_case(issuer)
        })
}

/// RFC 8657 sections 3 and 4.
fn allows(value: &IssueValue, demand: &Demand<'_>) -> Result<(), Refusal> {
    if let (Some(bound), Some(account)) = (value.parameter("accounturi"), demand.account_url)
        && bound != account
    {
        return Err(Refusal::Account {
            account_url: bound.to_owned(),
        });
    }
    let Some(methods) = value.parameter("validationmethods") else {
        return Ok(());
    };
    let methods: Vec<String> = methods.split(',').map(str::to_owned).collect();
    let is_allowed = |kind: &ChallengeKind| methods.iter().any(|method| method == kind.as_str());
    if demand.methods.is_empty() || demand.methods.iter().any(is_allowed) {
        Ok(())
    } else {
        Err(Refusal::Method { methods })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://ca.test/account/1";

    fn records(texts: &[&str]) -> Vec<Caa> {
        let read = |text: &&str| {
            let mut parts = text.splitn(3, ' ');
            Caa {
                is_critical: parts.next() == Some("128"),
                tag: parts.next().unwrap().to_owned(),
                value: parts.next().unwrap_or_default().to_owned(),
            }
        };
        texts.iter().map(read).collect()
    }

    fn judged(texts: &[&str], is_wildcard: bool) -> Result<(), Refusal> {
        let demand = Demand {
            identities: &["ca.test".to_owned()],
            is_wildcard,
            account_url: Some(ACCOUNT),
            methods: &[ChallengeKind::Http01],
        };
        permits(&records(texts), &demand)
    }

    fn others(issuers: &[&str]) -> Result<(), Refusal> {
        let issuers = issuers.iter().map(|issuer| (*issuer).to_owned());
        Err(Refusal::Others {
            issuers: issuers.collect(),
        })
    }

    #[test]
    fn who_is_named_may_issue() {
        for set in [
            &["0 issue ca.test"][..],
            &["0 issue CA.Test."],
            &["0 issue  \tca.test ; "],
            &["0 issue other.test", "0 issue ca.test"],
            &["0 ISSUE ca.test"],
            &["128 issue ca.test"],
            &["0 iodef mailto:a@ca.test"],
            &["0 issuewild other.test"],
            &["0 tbs unknown but not critical"],
            &[],
        ] {
            assert_eq!(judged(set, false), Ok(()), "{set:?}");
        }
    }

    #[test]
    fn who_is_not_named_may_not() {
        assert_eq!(
            judged(&["0 issue other.test"], false),
            others(&["other.test"])
        );
        assert_eq!(
            judged(&["0 issue sub.ca.test"], false),
            others(&["sub.ca.test"])
        );
        for nobody in ["0 issue ;", "0 issue ", "0 issue %%%", "0 issue ca.test; x"] {
            assert_eq!(judged(&[nobody], false), Err(Refusal::Nobody), "{nobody}");
        }
    }

    #[test]
    fn records_for_wildcards_decide_about_wildcards_alone() {
        let set = &["0 issue ca.test", "0 issuewild other.test"];
        assert_eq!(judged(set, false), Ok(()));
        assert_eq!(judged(set, true), others(&["other.test"]));
        let set = &["0 issue ;", "0 issuewild ca.test"];
        assert_eq!(judged(set, false), Err(Refusal::Nobody));
        assert_eq!(judged(set, true), Ok(()));
        assert_eq!(
            judged(&["0 issue other.test"], true),
            others(&["other.test"])
        );
    }

    #[test]
    fn a_critical_record_that_nobody_understands_forbids_everything() {
        let set = &["128 tbs anything", "0 issue ca.test"];
        let refused = Err(Refusal::Unknown {
            tag: "tbs".to_owned(),
        });
        assert_eq!(judged(set, false), refused);
        assert_eq!(judged(set, true), refused);
        assert_eq!(
            judged(&["128 iodef mailto:a@b.test", "0 issue ca.test"], false),
            Ok(())
        );
    }

    #[test]
    fn parameters_bind_account_and_method() {
        let bound = format!("0 issue ca.test; accounturi={ACCOUNT}");
        assert_eq!(judged(&[&bound], false), Ok(()));
        let other = &["0 issue ca.test; accounturi=https://ca.test/account/2"];
        assert_eq!(
            judged(other, false),
            Err(Refusal::Account {
                account_url: "https://ca.test/account/2".to_owned()
            })
        );
        let both = &["0 issue ca.test;validationmethods=dns-01,http-01 ; accounturi=x"];
        assert!(matches!(judged(both, false), Err(Refusal::Account { .. })));
        let method = &["0 issue ca.test; validationmethods=dns-01"];
        assert_eq!(
            judged(method, false),
            Err(Refusal::Method {
                methods: vec!["dns-01".to_owned()]
            })
        );
        let either = &[
            "0 issue ca.test; validationmethods=dns-01",
            "0 issue ca.test; ValidationMethods=http-01",
        ];
        assert_eq!(judged(either, false), Ok(()));
        assert_eq!(judged(&["0 issue ca.test; unknown=1"], false), Ok(()));
    }

    #[test]
    fn an_account_that_is_not_open_yet_is_not_held_against_it() {
        let demand = Demand {
            identities: &["ca.test".to_owned()],
            is_wildcard: false,
            account_url: None,
            methods: &[],
        };
        let set = records(&["0 issue ca.test; accounturi=x; validationmethods=dns-01"]);
        assert_eq!(permits(&set, &demand), Ok(()));
    }
}
