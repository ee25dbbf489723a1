//! What became of the objects of a request, one after the other.

use std::time::Instant;

use lifecycle::House;

use super::envelope::{Reach, carried_out};
use super::faults::{Code, Fault, ItemFault, Refusal};
use super::item::{Detail, Identity, Item};
use super::kind::{Kind, items};
use crate::exchange::Response;

/// For each object of a request, in order, the object or why there is none.
pub(super) struct Outcomes<K: Kind>(Vec<Result<K::Object, (Identity, ItemFault)>>);

impl<K: Kind> Outcomes<K> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds the next one, which the client named so. A fault of the whole request comes back as
    /// long as nothing has been changed.
    pub(super) fn push(
        &mut self,
        named: Identity,
        outcome: Result<K::Object, Fault>,
    ) -> Result<(), Refusal> {
        let outcome = match outcome {
            Ok(object) => Ok(object),
            Err(fault) => Err((named, settle(fault, self.0.iter().all(Result::is_err))?)),
        };
        self.0.push(outcome);
        Ok(())
    }

    /// The answer.
    pub(super) async fn answer(
        self,
        house: &House,
        detail: Detail,
        reach: Reach,
        started: Instant,
    ) -> Result<Response, Refusal> {
        let mut objects = Vec::new();
        let failed: Vec<Option<(Identity, ItemFault)>> = self
            .0
            .into_iter()
            .map(|outcome| outcome.map(|object| objects.push(object)).err())
            .collect();
        let mut shown = items::<K>(house, objects, detail).await?.into_iter();
        let items: Vec<Item<K::Shown>> = failed
            .into_iter()
            .filter_map(|failed| match failed {
                Some((named, fault)) => Some(Item::failed(named, fault)),
                None => shown.next(),
            })
            .collect();
        Ok(carried_out::<K, _>(&items, reach, started))
    }
}

/// What a fault means for an item: the request can be refused as a whole only while
/// `nothing_changed`.
pub(super) fn settle(fault: Fault, nothing_changed: bool) -> Result<ItemFault, Refusal> {
    match fault {
        Fault::Item(fault) => Ok(fault),
        Fault::Request(refusal) if nothing_changed => Err(refusal),
        Fault::Request(refusal) => Ok(ItemFault {
            code: refusal.code.unwrap_or(Code::Unknown),
            message: refusal.message,
        }),
    }
}
