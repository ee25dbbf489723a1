//! Bodies of this dialect: one object or an array of objects, all with the same members.
//!
//! The content type says nothing. JSON is strict, and no refusal repeats a value, because it could
//! be a key.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::faults::{Code, Refusal};
use super::kind::Filter;
use super::references::Reference;

/// The body of a request.
pub(super) enum Document<M> {
    /// Blank, or `null`.
    Empty,
    One(Box<M>),
    Many(Vec<M>),
}

/// One object of a body: it can name an object of the house, and hold more.
pub(super) trait Members: DeserializeOwned + Send + 'static {
    /// The values of `uuid` and `name`, taken out. What is `null` or `""` counts as absent.
    fn take_identity(&mut self) -> Result<(Option<String>, Option<String>), Refusal>;

    /// Whether the object is meant to name something, even if it fails to.
    fn is_reference(&self) -> bool;

    /// Refuses an object that holds more than a reference, where that matters.
    fn require_bare_reference(&self) -> Result<(), Refusal>;

    /// What a list is filtered by, for an object that names nothing.
    fn into_filter(self) -> Result<Filter, Refusal> {
        Ok(Filter::default())
    }

    /// The object that is named: by UUID or by name, not both, not neither.
    fn take_reference(&mut self) -> Result<Reference, Refusal> {
        self.take_optional_reference()?
            .ok_or_else(missing_reference)
    }

    /// The object that is named, if one is.
    fn take_optional_reference(&mut self) -> Result<Option<Reference>, Refusal> {
        match self.take_identity()? {
            (Some(uuid), None) => Reference::uuid(uuid).map(Some),
            (None, Some(name)) => Ok(Some(Reference::name(name))),
            (Some(_), Some(_)) => Err(Refusal::form(
                Code::NotBoth,
                "name an object by uuid or by name, not by both",
            )),
            (None, None) => Ok(None),
        }
    }

    /// All that the object says about which object it means, for requests whose path names it
    /// already.
    fn take_references(&mut self) -> Result<Vec<Reference>, Refusal> {
        let (uuid, name) = self.take_identity()?;
        let uuid = uuid.map(Reference::uuid).transpose()?;
        Ok(uuid.into_iter().chain(name.map(Reference::name)).collect())
    }
}

impl<M: DeserializeOwned> Document<M> {
    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::Empty);
        }
        let read: Result<Bounded<M>, _> = serde_json::from_slice(body);
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
}

impl<M> Document<M> {
    /// The objects, whatever the shape.
    pub(super) fn into_objects(self) -> Vec<M> {
        match self {
            Self::Empty => Vec::new(),
            Self::One(members) => vec![*members],
            Self::Many(objects) => objects,
        }
    }
}

/// That an object should be named and is not.
pub(super) fn missing_reference() -> Refusal {
    let message = "name the objects that are meant, by uuid or by name";
    Refusal::form(Code::MissingId, message)
}

/// A document, or `None` if it has more objects than any request may have.
struct Bounded<M>(Option<Document<M>>);

impl<'de, M: Deserialize<'de>> Deserialize<'de> for Bounded<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = DocumentVisitor(PhantomData);
        deserializer.deserialize_any(visitor).map(Self)
    }
}

struct DocumentVisitor<M>(PhantomData<M>);

impl<'de, M: Deserialize<'de>> Visitor<'de> for DocumentVisitor<M> {
    type Value = Option<Document<M>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or an array of objects")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Some(Document::Empty))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let members = M::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Some(Document::One(Box::new(members))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut objects = Vec::new();
        while let Some(members) = sequence.next_element()? {
            if objects.len() == lifecycle::MAX_REFERENCES {
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            objects.push(members);
        }
        Ok(Some(Document::Many(objects)))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom(
            "the body must be an object or an array of objects, not a string",
        ))
    }
}
