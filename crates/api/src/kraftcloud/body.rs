//! Bodies under `/v1/certificates`: one object or an array of objects, all with the same members.
//!
//! The content type says nothing. JSON is strict; unknown and repeated members are refused, and no
//! refusal repeats a value, because it could be a key.

use zeroize::Zeroizing;

use super::faults::{Code, Refusal};
use super::json::Bounded;
use super::references::Reference;

/// Longest chain or key, in characters.
const PEM_LIMIT: usize = 8_388_608;

/// The body of a request.
pub(super) enum Document {
    /// Blank, or `null`.
    Empty,
    One(Box<Members>),
    Many(Vec<Members>),
}

/// The members of one object. What is `null` or `""` counts as absent.
#[derive(Default)]
pub(super) struct Members {
    pub(super) uuid: Option<String>,
    pub(super) name: Option<String>,
    cn: Option<String>,
    common_name: Option<String>,
    pub(super) chain: Option<String>,
    pub(super) pkey: Option<Zeroizing<String>>,
    /// What the object holds, also where its value counts as absent.
    pub(super) present: Vec<&'static str>,
}

/// The members with a meaning to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Chain,
    Cn,
    CommonName,
    Name,
    Pkey,
    Uuid,
}

impl Member {
    const ALL: [Self; 6] = [
        Self::Chain,
        Self::Cn,
        Self::CommonName,
        Self::Name,
        Self::Pkey,
        Self::Uuid,
    ];

    /// The member of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|member| member.as_str() == name)
    }

    /// Its name on the wire.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Cn => "cn",
            Self::CommonName => "common_name",
            Self::Name => "name",
            Self::Pkey => "pkey",
            Self::Uuid => "uuid",
        }
    }
}

impl Document {
    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::Empty);
        }
        let read: Result<Bounded, _> = serde_json::from_slice(body);
        match read {
            Ok(Bounded(Some(document))) => Ok(document),
            Ok(Bounded(None)) => {
                let limit = lifecycle::MAX_REFERENCES;
                let message = format!("at most {limit} objects fit into one request");
                Err(Refusal::form(Code::TooMany, message))
            }
            Err(error) if error.is_data() => Err(Refusal::form(Code::Malformed, error.to_string())),
            Err(error) => {
                let message = format!("the body is not valid JSON: {error}");
                Err(Refusal::form(Code::Malformed, message))
            }
        }
    }

    /// The objects, whatever the shape.
    pub(super) fn into_objects(self) -> Vec<Members> {
        match self {
            Self::Empty => Vec::new(),
            Self::One(members) => vec![*members],
            Self::Many(objects) => objects,
        }
    }
}

impl Members {
    /// The common name, which has two names.
    pub(super) fn take_common_name(&mut self) -> Result<Option<String>, Refusal> {
        match (self.cn.take(), self.common_name.take()) {
            (Some(one), Some(other)) if normal_name(&one) != normal_name(&other) => {
                let message = "cn and common_name differ; send one of them";
                Err(Refusal::form(Code::NotBoth, message))
            }
            (one, other) => Ok(one.or(other)),
        }
    }

    /// Whether the object is meant to name a certificate, even if it fails to.
    pub(super) fn is_reference(&self) -> bool {
        self.has("uuid") || self.has("name")
    }

    /// Whether the object has this member, be it empty.
    pub(super) fn has(&self, member: &str) -> bool {
        self.present.contains(&member)
    }

    /// The certificate that the object names: by UUID or by name, not both, not neither.
    pub(super) fn take_reference(&mut self) -> Result<Reference, Refusal> {
        match (self.uuid.take(), self.name.take()) {
            (Some(uuid), None) => Reference::uuid(uuid),
            (None, Some(name)) => Ok(Reference::name(name)),
            (Some(_), Some(_)) => Err(Refusal::form(
                Code::NotBoth,
                "name a certificate by uuid or by name, not by both",
            )),
            (None, None) => Err(missing_reference()),
        }
    }

    /// All that the object says about which certificate it means, for requests whose path names it
    /// already.
    pub(super) fn take_references(&mut self) -> Result<Vec<Reference>, Refusal> {
        let uuid = self.uuid.take().map(Reference::uuid).transpose()?;
        Ok(uuid
            .into_iter()
            .chain(self.name.take().map(Reference::name))
            .collect())
    }

    /// Refuses an object that holds more than a reference.
    pub(super) fn require_bare_reference(&self) -> Result<(), Refusal> {
        let others = [
            ("cn", self.cn.is_some()),
            ("common_name", self.common_name.is_some()),
            ("chain", self.chain.is_some()),
            ("pkey", self.pkey.is_some()),
        ];
        match others.iter().find(|(_, is_given)| *is_given) {
            Some((member, _)) => {
                let message = format!("member '{member}' has no meaning in this request");
                Err(Refusal::form(Code::Malformed, message))
            }
            None => Ok(()),
        }
    }

    /// Refuses PEM texts that are longer than any chain or key.
    pub(super) fn check_lengths(&self) -> Result<(), Refusal> {
        let pkey = self.pkey.as_ref().map(|text| text.as_str());
        for (member, value) in [("chain", self.chain.as_deref()), ("pkey", pkey)] {
            // Characters are counted only where there are at least as many octets.
            let is_long =
                |text: &str| text.len() > PEM_LIMIT && text.chars().nth(PEM_LIMIT).is_some();
            if value.is_some_and(is_long) {
                let message = format!("{member} is longer than {PEM_LIMIT} characters");
                return Err(Refusal::form(Code::TooLong, message));
            }
        }
        Ok(())
    }

    /// Keeps a member.
    pub(super) fn put(&mut self, member: Member, text: Option<String>) {
        match member {
            Member::Chain => self.chain = text,
            Member::Cn => self.cn = text,
            Member::CommonName => self.common_name = text,
            Member::Name => self.name = text,
            Member::Pkey => self.pkey = text.map(Zeroizing::new),
            Member::Uuid => self.uuid = text,
        }
        self.present.push(member.as_str());
    }
}

/// That an object should name a certificate and does not.
pub(super) fn missing_reference() -> Refusal {
    let message = "name the certificates that are meant, by uuid or by name";
    Refusal::form(Code::MissingId, message)
}

/// A common name as it is stored: lower case, without final dots. What is no DNS name stays.
pub(super) fn normal_name(text: &str) -> String {
    match lifecycle::parse_common_name(text) {
        Some(name) => name.as_str().to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(body: &str) -> Refusal {
        match Document::read(body.as_bytes()) {
            Ok(_) => panic!("accepted: {body}"),
            Err(refusal) => refusal,
        }
    }

    #[test]
    fn blank_bodies_and_null_are_no_body() {
        for body in ["", " \r\n\t", "null", " null "] {
            assert!(
                matches!(Document::read(body.as_bytes()), Ok(Document::Empty)),
                "{body:?}"
            );
        }
    }

    #[test]
    fn empty_members_count_as_absent_but_are_remembered() {
        let body = br#"[{"uuid":"","name":null,"metro":{"a":[1]},"cn":"x.y"}]"#;
        let mut objects = Document::read(body).ok().unwrap().into_objects();
        let members = objects.first_mut().unwrap();
        assert!(members.is_reference() && members.has("metro"));
        assert_eq!(
            members.take_reference().unwrap_err().code,
            Some(Code::MissingId)
        );
        assert_eq!(members.take_common_name().unwrap().as_deref(), Some("x.y"));
    }

    #[test]
    fn two_common_names_must_be_the_same() {
        let common_name = |body: &str| {
            let mut objects = Document::read(body.as_bytes()).ok().unwrap().into_objects();
            objects.first_mut().unwrap().take_common_name()
        };
        let same = common_name(r#"{"cn":"A.b.","common_name":"a.b"}"#);
        assert_eq!(same.unwrap().as_deref(), Some("A.b."));
        let refusal = common_name(r#"{"cn":"a.b","common_name":"a.c"}"#).unwrap_err();
        assert_eq!(refusal.code, Some(Code::NotBoth));
    }

    #[test]
    fn more_objects_than_any_request_may_have_are_refused() {
        let body = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        let most = Document::read(body(lifecycle::MAX_REFERENCES).as_bytes());
        assert_eq!(
            most.ok().unwrap().into_objects().len(),
            lifecycle::MAX_REFERENCES
        );
        let refusal = refusal(&body(lifecycle::MAX_REFERENCES + 2));
        assert_eq!(refusal.code, Some(Code::TooMany));
    }

    #[test]
    fn pem_texts_are_bounded_in_characters() {
        let members = |text: String| Members {
            chain: Some(text),
            ..Members::default()
        };
        assert!(members("x".repeat(PEM_LIMIT)).check_lengths().is_ok());
        assert!(members("é".repeat(PEM_LIMIT)).check_lengths().is_ok());
        let refusal = members("x".repeat(PEM_LIMIT + 1))
            .check_lengths()
            .unwrap_err();
        assert_eq!(refusal.code, Some(Code::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Document::read(&body);
        }

        #[test]
        fn members_come_back_as_they_were(name in ".+", chain in ".+", pkey in ".+") {
            let body = serde_json::json!([{"name": name, "chain": chain, "pkey": pkey}]);
            let mut objects = Document::read(body.to_string().as_bytes()).ok().unwrap().into_objects();
            let members = objects.pop().unwrap();
            prop_assert!(objects.is_empty());
            prop_assert_eq!(members.name, Some(name));
            prop_assert_eq!(members.chain, Some(chain));
            prop_assert_eq!(members.pkey, Some(Zeroizing::new(pkey)));
        }
    }
}
