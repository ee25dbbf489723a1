//! The objects in bodies under `/v1/certificates`. Unknown and repeated members are refused, and no
//! refusal repeats a value, because it could be a key.

use zeroize::Zeroizing;

use crate::kraftcloud::body::Members;
use crate::kraftcloud::faults::{Code, Refusal};
use crate::kraftcloud::kind::Filter;

/// Longest chain or key, in characters.
const PEM_LIMIT: usize = 8_388_608;

/// The members of one object. What is `null` or `""` counts as absent.
#[derive(Default)]
pub(in crate::kraftcloud) struct CertificateMembers {
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

impl CertificateMembers {
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

    /// Whether the object has this member, be it empty.
    pub(super) fn has(&self, member: &str) -> bool {
        self.present.contains(&member)
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

impl Members for CertificateMembers {
    fn into_filter(mut self) -> Result<Filter, Refusal> {
        let common_name = self.take_common_name()?;
        self.require_bare_reference()?;
        Ok(Filter {
            common_name: common_name.map(|name| normal_name(&name)),
        })
    }

    fn take_identity(&mut self) -> Result<(Option<String>, Option<String>), Refusal> {
        Ok((self.uuid.take(), self.name.take()))
    }

    fn is_reference(&self) -> bool {
        self.has("uuid") || self.has("name")
    }

    fn require_bare_reference(&self) -> Result<(), Refusal> {
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
}

/// A common name as it is stored: lower case, without final dots. What is no DNS name stays.
fn normal_name(text: &str) -> String {
    match lifecycle::parse_common_name(text) {
        Some(name) => name.as_str().to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Document = crate::kraftcloud::body::Document<CertificateMembers>;

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
        let members = |text: String| CertificateMembers {
            chain: Some(text),
            ..CertificateMembers::default()
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
