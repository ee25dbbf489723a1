//! What an account may have certified by private authorities. Pure: whether a wish breaks a rule, and
//! how a policy is written down.

use pki::{EmailAddress, Identifier, IdentifierError, KeyAlgorithm, KeyKind, Subtree, Usages};
use serde_json::{Value, json};

use crate::Error;

/// Most entries of a list of a policy.
const MAX_ENTRIES: usize = 1000;

/// The rules of an account. What is `None` is free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Where names have to lie. Then a common name has to be one of them, too.
    pub names: Option<Vec<Subtree>>,
    /// Kinds of keys. One of RSA allows larger ones.
    pub keys: Option<Vec<KeyAlgorithm>>,
    /// Longest lifetime, in days.
    pub max_days: Option<u32>,
    /// What the certificates may be used for; both, unless something else is said.
    pub usages: Option<Usages>,
}

/// A policy as people write it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyText {
    /// `example.com` (it and all below), `*` (all domains), `10.0.0.0/8`, `@example.com`.
    pub names: Option<Vec<String>>,
    /// `p256`, `rsa3072` and so on.
    pub keys: Option<Vec<String>>,
    /// At least 1.
    pub max_days: Option<u32>,
    /// `server`, `client` or `both`.
    pub usages: Option<String>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what to write instead.
    pub fn parse(text: &PolicyText) -> Result<Self, Error> {
        let read_name = |name: &String| {
            name.parse::<Subtree>()
                .map_err(|error| Error::invalid("names", error.to_string()))
        };
        let read_key = |key: &String| {
            key.parse::<KeyAlgorithm>().map_err(|error| {
                Error::invalid("keys", format!("'{}': {error}", key.escape_debug()))
            })
        };
        if text.max_days == Some(0) {
            return Err(Error::invalid("max_days", "max_days must be at least 1"));
        }
        Ok(Self {
            names: list("names", text.names.as_deref(), read_name)?,
            keys: list("keys", text.keys.as_deref(), read_key)?,
            max_days: text.max_days,
            usages: text.usages.as_deref().map(usages).transpose()?,
        })
    }

    /// How people write it.
    #[must_use]
    pub fn text(&self) -> PolicyText {
        PolicyText {
            names: self.names.as_deref().map(texts),
            keys: self.keys.as_deref().map(texts),
            max_days: self.max_days,
            usages: self.usages.map(|usages| word(usages).to_owned()),
        }
    }

    /// Whether certificates may have these names and common names.
    ///
    /// # Errors
    /// [`Error::Policy`] for the first that they may not have.
    pub(crate) fn check_names(
        &self,
        identifiers: &[Identifier],
        common_names: &[String],
    ) -> Result<(), Error> {
        let Some(allowed) = &self.names else {
            return Ok(());
        };
        let is_allowed = |name: &Identifier| allowed.iter().any(|set| set.contains(name));
        if let Some(name) = identifiers.iter().find(|name| !is_allowed(name)) {
            return Err(broken(
                "names",
                format!("'{name}' is not among {}", texts(allowed).join(", ")),
            ));
        }
        let is_named = |common_name: &&String| {
            let same = |name: &Identifier| name.to_string().eq_ignore_ascii_case(common_name);
            identifiers.iter().any(same)
        };
        match common_names.iter().find(|name| !is_named(name)) {
            None => Ok(()),
            Some(name) => Err(broken(
                "names",
                format!(
                    "the common name '{}' is none of the certificate's names",
                    name.escape_debug()
                ),
            )),
        }
    }

    /// Whether certificates may have a subject with these e-mail addresses. One that cannot be read
    /// lies nowhere.
    ///
    /// # Errors
    /// [`Error::Policy`] for the first that they may not have.
    pub(crate) fn check_emails(
        &self,
        emails: &[Result<EmailAddress, IdentifierError>],
    ) -> Result<(), Error> {
        if self.names.is_none() {
            return Ok(());
        }
        for email in emails {
            let email = email.as_ref();
            let email = email.map_err(|error| broken("names", error.to_string()))?;
            self.check_names(&[Identifier::Email(email.clone())], &[])?;
        }
        Ok(())
    }

    /// Whether keys of this kind may be certified.
    ///
    /// # Errors
    /// [`Error::Policy`].
    pub(crate) fn check_key(&self, kind: KeyKind) -> Result<(), Error> {
        let Some(allowed) = &self.keys else {
            return Ok(());
        };
        let matches = |algorithm: &KeyAlgorithm| match (KeyKind::from(*algorithm), kind) {
            (KeyKind::Rsa { bits: least }, KeyKind::Rsa { bits }) => bits >= least,
            (allowed, kind) => allowed == kind,
        };
        if allowed.iter().any(matches) {
            return Ok(());
        }
        Err(broken(
            "keys",
            format!("a {kind} key is not among {}", texts(allowed).join(", ")),
        ))
    }

    /// How many days a certificate lives: those that were asked for, else the usual ones as far as
    /// they are allowed.
    ///
    /// # Errors
    /// [`Error::Policy`] when more was asked for than is allowed.
    pub(crate) fn days(&self, asked: Option<u32>, usual: u32) -> Result<u32, Error> {
        let most = self.max_days.unwrap_or(u32::MAX);
        match asked {
            None => Ok(usual.min(most)),
            Some(days) if days <= most => Ok(days),
            Some(days) => Err(broken(
                "max_days",
                format!("{days} days are more than {most}"),
            )),
        }
    }

    /// As it is stored.
    pub(crate) fn to_json(&self) -> String {
        let PolicyText {
            names,
            keys,
            max_days,
            usages,
        } = self.text();
        json!({ "names": names, "keys": keys, "max_days": max_days, "usages": usages }).to_string()
    }

    /// What was stored; `None` for something else.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let strings = |member: &str| match &value[member] {
            Value::Null => Some(None),
            Value::Array(list) => {
                let texts = list.iter().map(|text| text.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<_>>>().map(Some)
            }
            _ => None,
        };
        let max_days = match &value["max_days"] {
            Value::Null => None,
            days => Some(u32::try_from(days.as_u64()?).ok()?),
        };
        let usages = match &value["usages"] {
            Value::Null => None,
            usages => Some(usages.as_str()?.to_owned()),
        };
        let text = PolicyText {
            names: strings("names")?,
            keys: strings("keys")?,
            max_days,
            usages,
        };
        Self::parse(&text).ok()
    }
}

fn list<T>(
    field: &'static str,
    texts: Option<&[String]>,
    read: impl Fn(&String) -> Result<T, Error>,
) -> Result<Option<Vec<T>>, Error> {
    let Some(texts) = texts else {
        return Ok(None);
    };
    if texts.is_empty() {
        return Err(Error::invalid(
            field,
            format!("{field} allows nothing; name something, or leave it out"),
        ));
    }
    if texts.len() > MAX_ENTRIES {
        return Err(Error::invalid(
            field,
            format!("{field} has more than {MAX_ENTRIES} entries"),
        ));
    }
    texts.iter().map(read).collect::<Result<_, _>>().map(Some)
}

fn usages(text: &str) -> Result<Usages, Error> {
    [Usages::Client, Usages::Server, Usages::ServerAndClient]
        .into_iter()
        .find(|usages| word(*usages) == text)
        .ok_or_else(|| {
            let text = text.escape_debug();
            Error::invalid("usages", format!("'{text}' is not server, client or both"))
        })
}

const fn word(usages: Usages) -> &'static str {
    match usages {
        Usages::Client => "client",
        Usages::Server => "server",
        Usages::ServerAndClient => "both",
    }
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn broken(rule: &'static str, reason: String) -> Error {
    Error::Policy { rule, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_identifiers;

    fn policy(names: &[&str], keys: &[&str], max_days: Option<u32>) -> Policy {
        let some = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            (!list.is_empty()).then_some(list)
        };
        let text = PolicyText {
            names: some(names),
            keys: some(keys),
            max_days,
            usages: None,
        };
        Policy::parse(&text).unwrap()
    }

    fn rule(outcome: Result<impl Sized, Error>) -> Option<&'static str> {
        match outcome.err()? {
            Error::Policy { rule, .. } => Some(rule),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn names_lie_within_what_is_allowed() {
        let policy = policy(&["example.com", "10.0.0.0/8", "@example.org"], &[], None);
        let check = |domains: &[&str], emails: &[&str], common_names: &[&str]| {
            let names = domains.iter().copied();
            let names = parse_identifiers(names, [], emails.iter().copied()).unwrap();
            let common_names: Vec<String> = common_names.iter().map(ToString::to_string).collect();
            rule(policy.check_names(&names, &common_names))
        };
        assert_eq!(
            check(&["example.com", "*.a.example.com", "10.1.2.3"], &[], &[]),
            None
        );
        assert_eq!(check(&[], &["me@example.org"], &[]), None);
        assert_eq!(check(&["a.example.com"], &[], &["A.example.com"]), None);
        for (domains, emails, common_names) in [
            (&["example.org"][..], &[][..], &[][..]),
            (&["a.example.com", "badexample.com"], &[], &[]),
            (&["192.0.2.1"], &[], &[]),
            (&["::1"], &[], &[]),
            (&[], &["me@example.com"], &[]),
            (&[], &["me@sub.example.org"], &[]),
            (&["a.example.com"], &[], &["b.example.com"]),
            (&["a.example.com"], &[], &["administrator"]),
            (&[], &[], &["administrator"]),
        ] {
            let broken = check(domains, emails, common_names);
            assert_eq!(
                broken,
                Some("names"),
                "{domains:?} {emails:?} {common_names:?}"
            );
        }
        let free = Policy::default();
        let names = parse_identifiers(["any.test"], [], []).unwrap();
        assert!(free.check_names(&names, &["anybody".to_owned()]).is_ok());
    }

    #[test]
    fn addresses_in_a_subject_lie_within_what_is_allowed() {
        let with_hosts = policy(&["@example.org"], &[], None);
        let check =
            |policy: &Policy, email: &str| rule(policy.check_emails(&[EmailAddress::parse(email)]));
        assert_eq!(check(&with_hosts, "me@example.org"), None);
        for email in ["me@example.com", "me@a.example.org", "nobody", ""] {
            assert_eq!(check(&with_hosts, email), Some("names"), "{email}");
            assert_eq!(check(&Policy::default(), email), None, "{email}");
        }
        assert_eq!(with_hosts.check_emails(&[]).ok(), Some(()));
    }

    #[test]
    fn keys_are_of_the_kinds_that_are_allowed_and_rsa_of_that_size_at_least() {
        let policy = policy(&[], &["p256", "rsa3072"], None);
        for allowed in [
            KeyKind::P256,
            KeyKind::Rsa { bits: 3072 },
            KeyKind::Rsa { bits: 4096 },
        ] {
            assert_eq!(rule(policy.check_key(allowed)), None, "{allowed}");
        }
        for refused in [KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa { bits: 2048 }] {
            assert_eq!(rule(policy.check_key(refused)), Some("keys"), "{refused}");
        }
        assert!(Policy::default().check_key(KeyKind::Ed25519).is_ok());
    }

    #[test]
    fn the_usual_lifetime_gives_way_and_a_wish_for_more_is_refused() {
        let policy = policy(&[], &[], Some(5));
        assert_eq!(policy.days(None, 7).unwrap(), 5);
        assert_eq!(policy.days(None, 3).unwrap(), 3);
        assert_eq!(policy.days(Some(5), 7).unwrap(), 5);
        assert_eq!(rule(policy.days(Some(6), 7)), Some("max_days"));
        assert_eq!(Policy::default().days(Some(182), 7).unwrap(), 182);
    }

    #[test]
    fn what_is_stored_is_read_back_and_nothing_else() {
        let mut full = policy(
            &["example.com", "*", "::/0"],
            &["rsa2048", "ed25519"],
            Some(90),
        );
        for usages in [
            None,
            Some(Usages::Client),
            Some(Usages::Server),
            Some(Usages::ServerAndClient),
        ] {
            full.usages = usages;
            assert_eq!(Policy::from_json(&full.to_json()).as_ref(), Some(&full));
        }
        let free = Policy::default();
        assert_eq!(Policy::from_json(&free.to_json()), Some(free));
        for other in [
            "",
            "[]x",
            r#"{"names":"a"}"#,
            r#"{"names":[1]}"#,
            r#"{"max_days":-1}"#,
        ] {
            assert_eq!(Policy::from_json(other), None, "{other}");
        }
    }

    #[test]
    fn a_policy_that_cannot_be_meant_is_refused() {
        let refused = |text: PolicyText| match Policy::parse(&text).unwrap_err() {
            Error::Invalid { field, .. } => field,
            other => panic!("{other}"),
        };
        let some = |text: &str| Some(vec![text.to_owned()]);
        let none = PolicyText::default;
        assert_eq!(
            refused(PolicyText {
                names: some("a b"),
                ..none()
            }),
            "names"
        );
        assert_eq!(
            refused(PolicyText {
                names: Some(vec![]),
                ..none()
            }),
            "names"
        );
        let many = Some(vec!["a.test".to_owned(); MAX_ENTRIES + 1]);
        assert_eq!(
            refused(PolicyText {
                names: many,
                ..none()
            }),
            "names"
        );
        assert_eq!(
            refused(PolicyText {
                keys: some("dsa"),
                ..none()
            }),
            "keys"
        );
        assert_eq!(
            refused(PolicyText {
                max_days: Some(0),
                ..none()
            }),
            "max_days"
        );
        let usages = Some("all".to_owned());
        assert_eq!(refused(PolicyText { usages, ..none() }), "usages");
    }
}
