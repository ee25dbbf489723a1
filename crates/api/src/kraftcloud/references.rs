//! How clients name objects: by UUID or by name, in path, query and body.

use std::collections::HashSet;

use lifecycle::{Error, Noun};
use uuid::Uuid;

use super::faults::{Code, Fault, ItemFault, Refusal, is_missing, missing};
use super::item::Identity;

/// What a reference points at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Name(String),
    Uuid(Uuid),
}

impl Target {
    /// What the house calls it.
    pub(super) fn reference<Id>(&self, id: fn(Uuid) -> Id) -> lifecycle::Reference<Id> {
        match self {
            Self::Name(name) => lifecycle::Reference::Name(name.clone()),
            Self::Uuid(uuid) => lifecycle::Reference::Id(id(*uuid)),
        }
    }
}

/// An object as a client named it. Two references are equal when they name the same object in the
/// same way, however they are spelled.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    sent: String,
    target: Target,
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

impl Eq for Reference {}

impl Reference {
    /// By UUID: hyphenated, any case.
    pub(super) fn uuid(sent: String) -> Result<Self, Refusal> {
        match parse_uuid(&sent) {
            Some(id) => Ok(Self {
                target: Target::Uuid(id),
                sent,
            }),
            None => {
                let message = format!("Invalid uuid '{sent}'");
                Err(Refusal::form(Code::Invalid, message))
            }
        }
    }

    /// By name.
    pub(super) fn name(sent: String) -> Self {
        Self {
            target: Target::Name(sent.clone()),
            sent,
        }
    }

    /// From a segment of a path, decoded: a UUID, or else a name.
    pub(super) fn segment(sent: String) -> Self {
        match parse_uuid(&sent) {
            Some(id) => Self {
                target: Target::Uuid(id),
                sent,
            },
            None => Self::name(sent),
        }
    }

    /// What it points at.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it names the object with this UUID and this name.
    pub(super) fn names(&self, id: Uuid, name: &str) -> bool {
        match &self.target {
            Target::Name(given) => given == name,
            Target::Uuid(given) => *given == id,
        }
    }

    /// What failed items echo.
    pub(super) fn identity(&self) -> Identity {
        let sent = Some(self.sent.clone());
        match self.target {
            Target::Name(_) => Identity {
                uuid: None,
                name: sent,
            },
            Target::Uuid(_) => Identity {
                uuid: sent,
                name: None,
            },
        }
    }

    /// That there is no such object of this kind.
    pub(super) fn not_found(&self, noun: Noun) -> ItemFault {
        missing(noun, &self.sent)
    }

    /// What a fault of the house means for this object.
    pub(super) fn fault(&self, noun: Noun, error: Error) -> Fault {
        if is_missing(noun, &error) {
            Fault::Item(self.not_found(noun))
        } else {
            Fault::from(error)
        }
    }
}

/// The references of a request: those of the query first, then those of the body that the query
/// does not name. Repetitions within one source stay, each is answered.
pub(super) fn merge(query: Vec<Reference>, body: Vec<Reference>) -> Vec<Reference> {
    let named: HashSet<Target> = query.iter().map(|one| one.target.clone()).collect();
    let mut merged = query;
    merged.extend(body.into_iter().filter(|one| !named.contains(&one.target)));
    merged
}

/// A hyphenated UUID in any case.
pub(super) fn parse_uuid(text: &str) -> Option<Uuid> {
    const HYPHENATED: usize = 36;
    (text.len() == HYPHENATED).then(|| Uuid::try_parse(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

    #[test]
    fn a_uuid_is_recognised_in_any_case_but_only_with_hyphens() {
        let upper = Reference::uuid(ID.to_uppercase()).unwrap();
        assert_eq!(upper, Reference::uuid(ID.to_owned()).unwrap());
        assert_eq!(upper.identity().uuid, Some(ID.to_uppercase()));
        let refusal = Reference::uuid(ID.replace('-', "")).unwrap_err();
        assert_eq!(refusal.code, Some(Code::Invalid));
        assert!(
            Reference::uuid("nonsense".to_owned()).unwrap_err().message
                == "Invalid uuid 'nonsense'"
        );
    }

    #[test]
    fn a_segment_that_is_no_uuid_is_a_name() {
        let name = Reference::segment("c1".to_owned());
        assert_eq!(
            name.not_found(Noun::Certificate).message,
            "No certificate with name 'c1'"
        );
        let id = Reference::segment(ID.to_owned());
        assert_eq!(
            id.not_found(Noun::Certificate).message,
            format!("No certificate with uuid '{ID}'")
        );
    }

    #[test]
    fn what_the_query_names_is_not_answered_again_for_the_body() {
        let name = |text: &str| Reference::name(text.to_owned());
        let merged = merge(
            vec![name("a"), name("b"), name("a")],
            vec![name("b"), name("c"), name("c")],
        );
        assert_eq!(merged, ["a", "b", "a", "c", "c"].map(name));
    }
}
