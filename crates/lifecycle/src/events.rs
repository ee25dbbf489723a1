//! The kinds of audit events, and how they are made.

use store::{AccountId, NewEvent};
use uuid::Uuid;

use crate::Surroundings;

pub(crate) const ACCOUNT_CREATED: &str = "account.created";
pub(crate) const ACCOUNT_DELETED: &str = "account.deleted";
pub(crate) const ACCOUNT_DISABLED: &str = "account.disabled";
pub(crate) const ACCOUNT_ENABLED: &str = "account.enabled";
pub(crate) const ACCOUNT_LOCKED: &str = "account.locked";
pub(crate) const ACCOUNT_UNLOCKED: &str = "account.unlocked";
pub(crate) const AUTHORITY_CREATED: &str = "authority.created";
pub(crate) const CERTIFICATE_DELETED: &str = "certificate.deleted";
pub(crate) const CERTIFICATE_ISSUED: &str = "certificate.issued";
pub(crate) const CERTIFICATE_REPLACED: &str = "certificate.replaced";
pub(crate) const CERTIFICATE_REVOKED: &str = "certificate.revoked";
pub(crate) const CERTIFICATE_UPLOADED: &str = "certificate.uploaded";
pub(crate) const RESPONDER_RENEWED: &str = "authority.responder_renewed";
pub(crate) const TOKEN_CREATED: &str = "token.created";
pub(crate) const TOKEN_DELETED: &str = "token.deleted";

/// The record that `actor` did `kind` to `object` of `account` now.
pub(crate) fn of(
    surroundings: &Surroundings,
    actor: &str,
    account: Option<AccountId>,
    kind: &'static str,
    object: Option<Uuid>,
    detail: &str,
) -> NewEvent {
    NewEvent {
        at: surroundings.now(),
        account_id: account,
        actor: actor.to_owned(),
        kind,
        object,
        detail: detail.to_owned(),
    }
}
