//! The kinds of audit events, and how they are made.

use store::{AccountId, NewEvent};
use uuid::Uuid;

use crate::Surroundings;

pub(crate) const ACCOUNT_CREATED: &str = "account.created";
pub(crate) const ACCOUNT_DELETED: &str = "account.deleted";
pub(crate) const ACCOUNT_DISABLED: &str = "account.disabled";
pub(crate) const ACCOUNT_ENABLED: &str = "account.enabled";
pub(crate) const ACCOUNT_LOCKED: &str = "account.locked";
pub(crate) const ACCOUNT_LOGIN_ALLOWED: &str = "account.login_allowed";
pub(crate) const ACCOUNT_LOGIN_FORBIDDEN: &str = "account.login_forbidden";
pub(crate) const ACCOUNT_PREAUTHORIZED: &str = "account.preauthorized";
pub(crate) const ACCOUNT_UNLOCKED: &str = "account.unlocked";
/// That the end of the audit chain, as a node knew it, is gone.
pub(crate) const AUDIT_CUT: &str = "audit.cut";
/// That an own tier was certified by another CA.
pub(crate) const AUTHORITY_CERTIFIED: &str = "authority.certified";
pub(crate) const AUTHORITY_CREATED: &str = "authority.created";
/// That somebody has to do something for an authority.
pub(crate) const AUTHORITY_DUE: &str = "authority.due";
pub(crate) const AUTHORITY_IMPORTED: &str = "authority.imported";
pub(crate) const AUTHORITY_KEY_EXPORTED: &str = "authority.key_exported";
pub(crate) const AUTHORITY_KEY_REMOVED: &str = "authority.key_removed";
pub(crate) const AUTHORITY_KEY_RETURNED: &str = "authority.key_returned";
pub(crate) const AUTHORITY_LIST_SIGNED: &str = "authority.list_signed";
pub(crate) const AUTHORITY_RENEWED: &str = "authority.renewed";
pub(crate) const AUTHORITY_REQUESTED: &str = "authority.requested";
pub(crate) const AUTHORITY_SUCCESSOR_MADE: &str = "authority.successor_made";
pub(crate) const AUTHORITY_SWITCHED: &str = "authority.switched";
pub(crate) const CERTIFICATE_DELETED: &str = "certificate.deleted";
/// That a certificate ends soon and nobody has renewed it.
pub(crate) const CERTIFICATE_EXPIRING: &str = "certificate.expiring";
pub(crate) const CERTIFICATE_FAILED: &str = "certificate.failed";
pub(crate) const CERTIFICATE_ISSUED: &str = "certificate.issued";
/// That the key of a certificate was handed to its owner, to a target, or to a server for its
/// handshakes.
pub(crate) const CERTIFICATE_KEY_TAKEN: &str = "certificate.key_taken";
pub(crate) const CERTIFICATE_RENEWED: &str = "certificate.renewed";
pub(crate) const CERTIFICATE_REPLACED: &str = "certificate.replaced";
pub(crate) const CERTIFICATE_REQUESTED: &str = "certificate.requested";
pub(crate) const CERTIFICATE_REVOKED: &str = "certificate.revoked";
/// As [`CERTIFICATE_ISSUED`], for a key that the house does not have. No domain can be served with
/// such a certificate, and who follows the feed for the domains' sake leaves these events out.
pub(crate) const CERTIFICATE_SIGNED: &str = "certificate.signed";
/// That a certificate was made that signs itself. No domain comes to be served with it unless
/// somebody chooses it.
pub(crate) const CERTIFICATE_SELF_SIGNED: &str = "certificate.self_signed";
pub(crate) const CERTIFICATE_SUPERSEDED: &str = "certificate.superseded";
pub(crate) const CERTIFICATE_UPLOADED: &str = "certificate.uploaded";
pub(crate) const CLIENT_REGISTERED: &str = "client.registered";
pub(crate) const CLIENT_REMOVED: &str = "client.removed";
pub(crate) const DNS_ACCOUNT_ADDED: &str = "dns_account.added";
pub(crate) const DNS_ACCOUNT_REMOVED: &str = "dns_account.removed";
pub(crate) const DNS_PROVIDER_ADDED: &str = "dns_provider.added";
pub(crate) const DNS_PROVIDER_REMOVED: &str = "dns_provider.removed";
pub(crate) const DOMAIN_ADDED: &str = "domain.added";
pub(crate) const DOMAIN_REMOVED: &str = "domain.removed";
pub(crate) const DOMAIN_SWITCHED: &str = "domain.switched";
/// That somebody allowed a client to act for an account.
pub(crate) const GRANT_GIVEN: &str = "grant.given";
/// That a code came twice, and its token was deleted.
pub(crate) const GRANT_REPLAYED: &str = "grant.replayed";
pub(crate) const INSTANCE_CREATED: &str = "instance.created";
pub(crate) const INSTANCE_DELETED: &str = "instance.deleted";
pub(crate) const ISSUER_ADDED: &str = "issuer.added";
pub(crate) const ISSUER_CHOSEN: &str = "issuer.chosen";
pub(crate) const ISSUER_KEY_CHANGED: &str = "issuer.key_changed";
pub(crate) const ISSUER_RANKED: &str = "issuer.ranked";
pub(crate) const ISSUER_REMOVED: &str = "issuer.removed";
pub(crate) const PLACEMENT_MADE: &str = "placement.made";
pub(crate) const PLACEMENT_REFUSED: &str = "placement.refused";
pub(crate) const PLACEMENT_REMOVED: &str = "placement.removed";
pub(crate) const POLICY_CHANGED: &str = "policy.changed";
pub(crate) const PRIVATE_KEY_CREATED: &str = "private_key.created";
pub(crate) const PRIVATE_KEY_DELETED: &str = "private_key.deleted";
/// That a private key was handed to its owner.
pub(crate) const PRIVATE_KEY_TAKEN: &str = "private_key.taken";
pub(crate) const RESPONDER_RENEWED: &str = "authority.responder_renewed";
pub(crate) const SERVICE_CHANGED: &str = "service.changed";
pub(crate) const SERVICE_CREATED: &str = "service.created";
pub(crate) const SERVICE_DELETED: &str = "service.deleted";
pub(crate) const SWITCHES_SET: &str = "switches.set";
pub(crate) const TARGET_ADDED: &str = "target.added";
pub(crate) const TARGET_CHANGED: &str = "target.changed";
/// That there are more certificates than a target can have.
pub(crate) const TARGET_OVERFULL: &str = "target.overfull";
pub(crate) const TARGET_REMOVED: &str = "target.removed";
pub(crate) const TOKEN_CREATED: &str = "token.created";
pub(crate) const TOKEN_DELETED: &str = "token.deleted";
pub(crate) const WEBHOOK_ADDED: &str = "webhook.added";
pub(crate) const WEBHOOK_REMOVED: &str = "webhook.removed";

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
