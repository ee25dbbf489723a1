//! What this dialect does alike with every kind of object: find, list and delete, by whatever means
//! clients name them. A kind says how its objects are had and shown.

use std::time::Instant;

use http::{Method, StatusCode};
use lifecycle::{Error, House, Noun, Page, Principal, off_the_reactor};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::body::{Document, Members, missing_reference};
use super::envelope::{Reach, carried_out};
use super::faults::{Code, Fault, Refusal, word};
use super::item::{Detail, Identity, Item};
use super::listing::{self, Question};
use super::outcomes::{Outcomes, settle};
use super::query;
use super::references::{Reference, Target, merge};
use crate::exchange::{DECODED_AT_ONCE, Response};

/// Most objects that one request creates.
const MAX_NEW: usize = 16;

/// A kind of objects of the house.
pub(super) trait Kind: Sized + Send + Sync + 'static {
    /// The key in `data`.
    const KEY: &'static str;
    /// What the house calls it.
    const NOUN: Noun;
    /// The status of an answer when the object that the path names does not exist.
    const ABSENT: StatusCode;
    /// Whether even a short object takes a processor for milliseconds.
    const IS_HEAVY: bool = false;
    /// The methods of the collection.
    const METHODS: &'static str;
    /// The methods of one object.
    const METHODS_OF_ONE: &'static str;

    /// How the house tells its objects apart.
    type Id: Copy + Send + Sync;
    /// The objects in bodies.
    type Members: Members;
    /// A well-formed wish for a new object.
    type Order: Send;
    /// An object, as the house hands it out.
    type Object: Send;
    /// What is shown of it beyond its identity.
    type Shown: Serialize + Send;

    /// How an object is named and ordered.
    fn head(object: &Self::Object) -> Head<'_, Self::Id>;

    /// Whether a list with this filter shows the object.
    fn is_shown(_: &Filter, _: &Self::Object) -> bool {
        true
    }

    /// The object of the caller that each target names.
    fn find_each(
        house: &House,
        principal: &Principal,
        targets: Vec<Target>,
    ) -> impl Future<Output = Result<Vec<Option<Self::Object>>, Error>> + Send;

    /// A page of the caller's objects, of which no more need be known than how they are named.
    fn list(
        house: &House,
        principal: &Principal,
        filter: &Filter,
        page: &Page<Self::Id>,
    ) -> impl Future<Output = Result<Vec<Self::Object>, Error>> + Send;

    /// As many objects of a page, from the first one on, as can be held in full at a time.
    fn fill(
        house: &House,
        principal: &Principal,
        objects: Vec<Self::Object>,
    ) -> impl Future<Output = Result<Filled<Self::Object>, Error>> + Send;

    /// Deletes one; answers what it was called.
    fn delete(
        house: &House,
        principal: &Principal,
        target: &Target,
    ) -> impl Future<Output = Result<Identity, Error>> + Send;

    /// Everything that is shown of these objects, in their order.
    fn show_each(
        house: &House,
        objects: Vec<Self::Object>,
    ) -> impl Future<Output = Result<Vec<Self::Shown>, Error>> + Send;

    /// Reads what an object of a POST asks for, and the name that it gives.
    fn order(
        house: &House,
        members: Self::Members,
    ) -> Result<(Option<String>, Self::Order), Refusal>;

    /// Makes what was asked for.
    fn make(
        house: &House,
        principal: &Principal,
        order: Self::Order,
    ) -> impl Future<Output = Result<Self::Object, Fault>> + Send;

    /// Carries out a change of the objects that the body names.
    fn update(call: Call<'_, Self>) -> impl Future<Output = Result<Response, Refusal>> + Send;

    /// Carries out a change of the object that the path names.
    fn update_one(
        call: Call<'_, Self>,
        own: Reference,
    ) -> impl Future<Output = Result<Response, Refusal>> + Send;
}

/// Which objects a list shows; all by default.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) common_name: Option<String>,
}

/// The objects of a page that can be held in full at a time.
pub(super) struct Filled<T> {
    pub(super) objects: Vec<T>,
    /// The first one for which there was no room.
    pub(super) rest: Option<T>,
}

/// How an object is named, and its place in a list.
pub(super) struct Head<'a, Id> {
    pub(super) id: Id,
    pub(super) uuid: Uuid,
    pub(super) name: &'a str,
    pub(super) created_at: OffsetDateTime,
}

/// What can be asked about the objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Create,
    Delete,
    DeleteOne(Reference),
    Find(Detail),
    FindOne(Reference),
    Update,
    UpdateOne(Reference),
}

impl Endpoint {
    /// The endpoint at these segments after the collection's, which are still encoded.
    pub(super) fn of<K: Kind>(method: &Method, segments: &[&str]) -> Result<Self, Refusal> {
        let allowed = match segments {
            [] => K::METHODS,
            ["list"] => "GET, HEAD",
            [_] => K::METHODS_OF_ONE,
            _ => return Err(Refusal::no_such_endpoint()),
        };
        if !allowed.split(", ").any(|name| name == method.as_str()) {
            return Err(Refusal::wrong_method(allowed));
        }
        Ok(match (method.as_str(), segments) {
            ("GET" | "HEAD", []) => Self::Find(Detail::Full),
            ("GET" | "HEAD", ["list"]) => Self::Find(Detail::Brief),
            ("GET" | "HEAD", [segment, ..]) => Self::FindOne(named_by(segment)),
            ("POST", _) => Self::Create,
            ("DELETE", []) => Self::Delete,
            ("DELETE", [segment, ..]) => Self::DeleteOne(named_by(segment)),
            (_, []) => Self::Update,
            (_, [segment, ..]) => Self::UpdateOne(named_by(segment)),
        })
    }
}

/// What a segment of a path names.
pub(super) fn named_by(segment: &str) -> Reference {
    Reference::segment(percent_decode_str(segment).decode_utf8_lossy().into_owned())
}

/// An authenticated request.
pub(super) struct Call<'a, K: Kind> {
    pub(super) house: &'a House,
    pub(super) principal: Principal,
    pub(super) query: &'a str,
    pub(super) started: Instant,
    body: Document<K::Members>,
    /// Whether it takes a processor so long to read that others would wait.
    is_long: bool,
}

impl<'a, K: Kind> Call<'a, K> {
    /// Reads the body.
    pub(super) async fn read(
        house: &'a House,
        principal: Principal,
        query: &'a str,
        octets: impl AsRef<[u8]> + Send + 'static,
        started: Instant,
    ) -> Result<Self, Refusal> {
        let is_long = octets.as_ref().len() > DECODED_AT_ONCE;
        let body = if is_long {
            off_the_reactor(move || Document::read(octets.as_ref())).await??
        } else {
            Document::read(octets.as_ref())?
        };
        Ok(Self {
            house,
            principal,
            query,
            started,
            body,
            is_long,
        })
    }

    /// Carries the request out.
    pub(super) async fn respond(self, endpoint: Endpoint) -> Result<Response, Refusal> {
        match endpoint {
            Endpoint::Create => self.create().await,
            Endpoint::Delete => self.delete().await,
            Endpoint::DeleteOne(own) => self.delete_one(own).await,
            Endpoint::Find(detail) => self.find(detail).await,
            Endpoint::FindOne(own) => self.find_one(own).await,
            Endpoint::Update => K::update(self).await,
            Endpoint::UpdateOne(own) => K::update_one(self, own).await,
        }
    }

    /// Takes the objects of the body out.
    pub(super) fn take_objects(&mut self) -> Vec<K::Members> {
        self.take_body().into_objects()
    }

    fn take_body(&mut self) -> Document<K::Members> {
        std::mem::replace(&mut self.body, Document::Empty)
    }

    /// Reads objects of the body, where that delays nobody. The first fault of form refuses all.
    pub(super) async fn read_each<O: Send + 'static, T: Send + 'static>(
        &self,
        objects: Vec<O>,
        read: impl Fn(&House, O) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<Vec<T>, Refusal> {
        let house = self.house.clone();
        let read = move || {
            objects
                .into_iter()
                .map(|object| read(&house, object))
                .collect()
        };
        if self.is_long || K::IS_HEAVY {
            off_the_reactor(read).await?
        } else {
            read()
        }
    }

    /// Makes what the body asks for, after all of it was read.
    async fn create(mut self) -> Result<Response, Refusal> {
        let objects = self.take_objects();
        if objects.is_empty() {
            let message = format!("send the {} as a JSON object", word(K::NOUN));
            return Err(Refusal::form(Code::Malformed, message));
        }
        if objects.len() > MAX_NEW {
            let message = format!("at most {MAX_NEW} can be created in one request");
            return Err(Refusal::form(Code::TooMany, message));
        }
        let mut outcomes = Outcomes::<K>::new();
        for (name, order) in self.read_each(objects, K::order).await? {
            let made = K::make(self.house, &self.principal, order).await;
            outcomes.push(Identity { uuid: None, name }, made)?;
        }
        outcomes
            .answer(self.house, Detail::Full, Reach::Global, self.started)
            .await
    }

    /// Refuses what names another object than the path does. One that does not exist is left to
    /// the call itself.
    pub(super) async fn require_same(
        &self,
        own: &Reference,
        others: &[Reference],
    ) -> Result<(), Refusal> {
        if others.iter().all(|other| other == own) {
            return Ok(());
        }
        let targets = vec![own.target().clone()];
        let mut found = K::find_each(self.house, &self.principal, targets).await?;
        let Some(Some(found)) = found.pop() else {
            return Ok(());
        };
        let Head { uuid, name, .. } = K::head(&found);
        if others.iter().all(|other| other.names(uuid, name)) {
            return Ok(());
        }
        Err(Refusal::form(
            Code::NotBoth,
            "the path names one object, query or body another one",
        ))
    }

    /// The list, or the objects that query and body name.
    async fn find(mut self, default: Detail) -> Result<Response, Refusal> {
        let parameters = query::listing(self.query)?;
        let detail = parameters.detail.unwrap_or(default);
        let named = query::references(self.query)?;
        let (filter, references) = match self.take_body() {
            Document::One(members) if !members.is_reference() => {
                (members.into_filter()?, Vec::new())
            }
            body => (Filter::default(), references_of(body)?),
        };
        let references = merge(named, references);
        if references.is_empty() {
            let question = Question {
                house: self.house.clone(),
                principal: self.principal,
                filter,
                detail,
                started: self.started,
            };
            return listing::respond::<K>(question, &parameters).await;
        }
        if filter != Filter::default() {
            let message = "name objects or filter them, not both";
            return Err(Refusal::form(Code::NotBoth, message));
        }
        self.show(&references, detail, Reach::Global).await
    }

    async fn find_one(mut self, own: Reference) -> Result<Response, Refusal> {
        let detail = query::listing(self.query)?.detail.unwrap_or(Detail::Full);
        self.require_nothing_else(&own).await?;
        self.show(&[own], detail, Reach::Local).await
    }

    async fn show(
        &self,
        references: &[Reference],
        detail: Detail,
        reach: Reach,
    ) -> Result<Response, Refusal> {
        let targets = references.iter().map(|one| one.target().clone()).collect();
        let found = K::find_each(self.house, &self.principal, targets).await?;
        let mut outcomes = Outcomes::<K>::new();
        for (reference, found) in references.iter().zip(found) {
            let found = found.ok_or_else(|| Fault::Item(reference.not_found(K::NOUN)));
            outcomes.push(reference.identity(), found)?;
        }
        outcomes
            .answer(self.house, detail, reach, self.started)
            .await
    }

    async fn delete(mut self) -> Result<Response, Refusal> {
        let named = query::references(self.query)?;
        let references = merge(named, references_of(self.take_body())?);
        if references.is_empty() {
            return Err(missing_reference());
        }
        self.delete_each(&references, Reach::Global).await
    }

    async fn delete_one(mut self, own: Reference) -> Result<Response, Refusal> {
        self.require_nothing_else(&own).await?;
        self.delete_each(&[own], Reach::Local).await
    }

    async fn delete_each(
        &self,
        references: &[Reference],
        reach: Reach,
    ) -> Result<Response, Refusal> {
        let mut items: Vec<Item<()>> = Vec::with_capacity(references.len());
        for reference in references {
            let deleted = K::delete(self.house, &self.principal, reference.target()).await;
            items.push(match deleted {
                Ok(identity) => Item::of(identity, None),
                Err(error) => {
                    let nothing_changed = items.iter().all(|item| item.fault().is_some());
                    let fault = settle(reference.fault(K::NOUN, error), nothing_changed)?;
                    Item::failed(reference.identity(), fault)
                }
            });
        }
        Ok(carried_out::<K, _>(&items, reach, self.started))
    }

    /// Refuses a query or body that says more than which object the path names.
    pub(super) async fn require_nothing_else(&mut self, own: &Reference) -> Result<(), Refusal> {
        let mut others = query::references(self.query)?;
        for mut members in self.take_objects() {
            members.require_bare_reference()?;
            others.extend(members.take_references()?);
        }
        self.require_same(own, &others).await
    }
}

/// These objects as items, with as much of each as is asked for.
pub(super) async fn items<K: Kind>(
    house: &House,
    objects: Vec<K::Object>,
    detail: Detail,
) -> Result<Vec<Item<K::Shown>>, Error> {
    let identities: Vec<Identity> = objects
        .iter()
        .map(|object| {
            let Head { uuid, name, .. } = K::head(object);
            Identity::of(uuid, name)
        })
        .collect();
    let shown: Vec<Option<K::Shown>> = match detail {
        Detail::Brief => identities.iter().map(|_| None).collect(),
        Detail::Full => {
            let shown = K::show_each(house, objects).await?;
            shown.into_iter().map(Some).collect()
        }
    };
    let items = identities.into_iter().zip(shown);
    Ok(items
        .map(|(identity, shown)| Item::of(identity, shown))
        .collect())
}

/// The objects that a body names.
fn references_of<M: Members>(body: Document<M>) -> Result<Vec<Reference>, Refusal> {
    body.into_objects()
        .into_iter()
        .map(|mut members| {
            let reference = members.take_reference()?;
            members.require_bare_reference()?;
            Ok(reference)
        })
        .collect()
}
