//! Changing authorities: looked at afresh, changed as a whole, and only if nobody else has meanwhile.

use std::sync::Arc;

use store::AuthorityChange;

use super::{Authorities, Authority};
use crate::{Error, Principal, events};

impl Authorities {
    /// The authority `name` as it is in the store now, for an administrator who is about to change
    /// it.
    pub(super) async fn to_change(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<Arc<Authority>, Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        self.afresh(name).await
    }

    /// The authority `name` as it is in the store now.
    pub(super) async fn afresh(&self, name: &str) -> Result<Arc<Authority>, Error> {
        match self.store.authority(name).await? {
            Some(row) => self.open(&row).await,
            // It may have a template.
            None => self.named(name).await,
        }
    }

    /// The change that changes nothing yet but says that `actor` did `kind`.
    pub(super) fn change(
        &self,
        authority: &Authority,
        actor: &str,
        kind: &'static str,
        detail: &str,
    ) -> AuthorityChange {
        let row = &authority.row;
        AuthorityChange {
            id: row.id,
            seen: row.changes,
            root_id: row.root_id,
            issuing_id: row.issuing_id,
            next_key_id: row.next_key_id,
            certificates: Vec::new(),
            keys: Vec::new(),
            placed: Vec::new(),
            erased_keys: Vec::new(),
            event: events::of(
                &self.surroundings,
                actor,
                None,
                kind,
                Some(row.id.as_uuid()),
                &format!("{}: {detail}", row.name),
            ),
        }
    }

    /// Changes an authority, and knows it as it is then. Whether nobody else has changed it since it
    /// was looked at.
    pub(super) async fn change_if_unchanged(&self, change: AuthorityChange) -> Result<bool, Error> {
        let id = change.id;
        let is_done = self.store.change_authority(change).await?;
        let rows = self.store.authorities().await?;
        if let Some(row) = rows.iter().find(|row| row.id == id) {
            self.open(row).await?;
        }
        Ok(is_done)
    }

    /// Changes an authority for somebody who has looked at it a moment ago.
    pub(super) async fn change_now(&self, change: AuthorityChange) -> Result<(), Error> {
        if self.change_if_unchanged(change).await? {
            return Ok(());
        }
        Err(Error::Unfit {
            reason:
                "somebody else has changed the authority at the same time; look at it, and try \
                     again"
                    .to_owned(),
        })
    }
}

/// An authority that cannot be what is asked of it.
pub(super) fn unfit(reason: impl Into<String>) -> Error {
    Error::Unfit {
        reason: reason.into(),
    }
}
