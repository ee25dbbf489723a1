//! References: how callers point at certificates, services and instances.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::backend::Backend;
use crate::error::Error;
use crate::ids::{CertificateId, InstanceId, ServiceId};
use crate::scope::Scope;
use crate::sql::{Row, Statement};

/// How many rows are looked up with one query.
pub(crate) const LOOKUP_PORTION: usize = 256;

/// How a caller points at something that has an identifier and, in its account, a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference<Id> {
    /// By identifier.
    Id(Id),
    /// By the name it has in its account.
    Name(String),
}

/// How a caller points at a certificate.
pub type CertificateRef = Reference<CertificateId>;

/// How a caller points at a service.
pub type ServiceRef = Reference<ServiceId>;

/// How a caller points at an instance.
pub type InstanceRef = Reference<InstanceId>;

/// Something that references point at.
pub(crate) trait Named {
    type Id: Copy + Eq + Hash;

    fn id(&self) -> Self::Id;
    fn name(&self) -> &str;
}

/// How things of one kind are looked up.
pub(crate) struct Lookup<Thing: Named> {
    pub(crate) by_ids: fn(Scope, &[Thing::Id]) -> Statement,
    pub(crate) by_names: fn(Scope, &[&str]) -> Statement,
    pub(crate) read: fn(Row) -> Result<Thing, Error>,
}

impl<Thing: Named> Lookup<Thing> {
    /// What references point at, in the order of the references. Takes one query for every 256
    /// identifiers and one for every 256 names. Repeated references share one answer.
    pub(crate) async fn resolve(
        &self,
        backend: &Backend,
        scope: Scope,
        references: &[Reference<Thing::Id>],
    ) -> Result<Vec<Option<Arc<Thing>>>, Error> {
        let mut ids = Vec::new();
        let mut names = Vec::new();
        for reference in references {
            match reference {
                Reference::Id(id) => ids.push(*id),
                // No stored name has a NUL.
                Reference::Name(name) if name.contains('\0') => {}
                Reference::Name(name) => names.push(name.as_str()),
            }
        }
        let mut by_id = HashMap::with_capacity(ids.len());
        for portion in ids.chunks(LOOKUP_PORTION) {
            for row in backend.rows((self.by_ids)(scope, portion)).await? {
                let thing = (self.read)(row)?;
                by_id.insert(thing.id(), Arc::new(thing));
            }
        }
        let mut by_name = HashMap::with_capacity(names.len());
        for portion in names.chunks(LOOKUP_PORTION) {
            for row in backend.rows((self.by_names)(scope, portion)).await? {
                let thing = (self.read)(row)?;
                let id = thing.id();
                match by_name.insert(thing.name().to_owned(), Arc::new(thing)) {
                    Some(other) if other.id() != id => return Err(Error::AmbiguousName),
                    _ => {}
                }
            }
        }
        Ok(references
            .iter()
            .map(|reference| match reference {
                Reference::Id(id) => by_id.get(id).cloned(),
                Reference::Name(name) => by_name.get(name).cloned(),
            })
            .collect())
    }
}
