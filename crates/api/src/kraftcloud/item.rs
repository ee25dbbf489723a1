//! Items: the entries of `data`, one for each object that was asked for.

use serde::Serialize;
use uuid::Uuid;

use super::envelope::Status;
use super::faults::{Code, ItemFault};

/// How much of an object is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Only how to name it.
    Brief,
    /// Everything.
    Full,
}

/// One entry of `data`: an object, or why there is none. `M` is what is shown of it beyond its
/// identity.
#[derive(Debug, Serialize)]
pub(super) struct Item<M> {
    status: Status,
    #[serde(flatten)]
    fault: Option<FaultMembers>,
    #[serde(flatten)]
    identity: Identity,
    #[serde(flatten)]
    members: Option<M>,
}

/// How an object is named: by the client, exactly as sent, or by us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Identity {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
}

impl Identity {
    /// An object of the house.
    pub(super) fn of(id: Uuid, name: &str) -> Self {
        Self {
            uuid: Some(id.as_hyphenated().to_string()),
            name: Some(name.to_owned()),
        }
    }
}

#[derive(Debug, Serialize)]
struct FaultMembers {
    message: String,
    error: Code,
}

impl<M> Item<M> {
    /// An object.
    pub(super) fn of(identity: Identity, members: Option<M>) -> Self {
        Self {
            status: Status::Success,
            fault: None,
            identity,
            members,
        }
    }

    /// What could not be done to the object that the client named so.
    pub(super) fn failed(identity: Identity, fault: ItemFault) -> Self {
        Self {
            status: Status::Error,
            fault: Some(FaultMembers {
                message: fault.message,
                error: fault.code,
            }),
            identity,
            members: None,
        }
    }

    /// The same item with these members, whether it failed or not.
    pub(super) fn with(self, members: M) -> Self {
        Self {
            members: Some(members),
            ..self
        }
    }

    /// Code and message, if this item failed.
    pub(super) fn fault(&self) -> Option<(Code, &str)> {
        let fault = self.fault.as_ref()?;
        Some((fault.error, &fault.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_item_echoes_how_it_was_named_and_nothing_else() {
        let identity = Identity {
            name: Some("Nope".to_owned()),
            uuid: None,
        };
        let fault = ItemFault {
            code: Code::NotFound,
            message: "gone".to_owned(),
        };
        let item: Item<()> = Item::failed(identity, fault);
        assert_eq!(
            serde_json::to_string(&item).unwrap(),
            r#"{"status":"error","message":"gone","error":8,"name":"Nope"}"#
        );
    }
}
