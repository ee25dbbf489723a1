//! The memory of Chancery: certificates, private keys, services, accounts, authorities and events,
//! in SQLite or PostgreSQL behind one [`Store`].
//!
//! Invariants:
//! - What a function reports as done is on disk. What was interrupted has not happened; nothing
//!   needs repair after a crash.
//! - Every function on rows of tenants takes a [`Scope`]; rows outside it do not exist for it.
//! - Private keys are sealed before they reach the database and appear in no error and no `Debug`.
//! - Every list is bounded ([`PAGE_LIMIT`]) and continues by key, not by count.
//!
//! What this crate does not do: decide. It knows no policy, looks at no clock, and talks to nobody
//! but its database.

mod account_keys;
mod accounts;
mod attachments;
mod audit;
mod authorities;
mod authority_changes;
mod backend;
mod budgets;
mod certificate_labels;
mod certificates;
mod challenges;
mod cursors;
mod default_issuers;
mod deliveries;
mod directories;
mod dns_accounts;
mod dns_providers;
mod domains;
mod error;
mod event_search;
mod events;
mod expiring;
mod expiry_places;
mod feed;
mod grants;
mod ids;
mod inbound_orders;
mod installations;
mod installing;
mod instances;
mod inventory;
mod leases;
mod migrate;
mod names;
mod new_versions;
mod numbers;
mod orders;
mod page;
mod placements;
#[cfg(test)]
mod plans;
mod policies;
mod ports;
mod preauthorizations;
mod private_key_labels;
mod private_keys;
mod recorder;
mod references;
mod registered_clients;
mod removals;
mod renewals;
mod requests;
mod responders;
mod revocations;
mod scope;
mod seal;
mod secret;
mod served;
mod service_changes;
mod services;
mod shards;
mod sql;
mod store;
mod stretches;
mod switches;
mod targets;
mod ticket_keys;
mod tokens;
mod url;
mod versions;
mod webhooks;

pub use account_keys::DirectoryKeys;
pub use accounts::{ACCOUNT_NAME_LIMIT, Account, AccountBar, AccountStatus, NewAccount, Role};
pub use attachments::Attachment;
pub use audit::{
    AuditLink, ChainBreak, ChainHead, ChainHeadParseError, CoveredEvents, Late, Linking,
    VerifiedStretch,
};
pub use authorities::{
    Authority, CaCertificate, CaRole, CrlSeries, KeyPlace, NewAuthority, NewCaCertificate, NewCaKey,
};
pub use authority_changes::AuthorityChange;
pub use budgets::BUCKET_LIMIT;
pub use certificate_labels::{
    CERTIFICATES_PER_KEY_LIMIT, CertificateLabel, LABEL_TEXT_LIMIT, LabelledCertificate,
};
pub use certificates::{Certificate, CertificateFilter, NewCertificate, Origin, State, StateKind};
pub use challenges::{CHALLENGE_TEXT_LIMIT, ChallengeRecord, ChallengeState, PendingChallenge};
pub use deliveries::{DELIVERY_LIMIT, Delivery, NewDelivery};
pub use directories::{
    DIRECTORIES_LIMIT, DIRECTORY_TEXT_LIMIT, Directory, ExternalAccount, NewDirectory, ROOTS_LIMIT,
    Removal,
};
pub use dns_accounts::{DNS_ACCOUNT_NAME_LIMIT, DNS_ACCOUNTS_LIMIT, DnsAccount, NewZone};
pub use dns_providers::{
    CREDENTIALS_LIMIT, DNS_PROVIDER_KIND_LIMIT, DNS_PROVIDERS_LIMIT, DnsProvider, NewDnsProvider,
};
pub use domains::{DOMAIN_NAME_LIMIT, DOMAIN_NAMES_LIMIT, DOMAINS_LIMIT, Domain, NewDomain};
pub use error::Error;
pub use event_search::{EventFilter, EventPage};
pub use events::{ACTOR_LIMIT, DETAIL_LIMIT, Event, NewEvent};
pub use expiry_places::ExpiryPlace;
pub use feed::{Stretch, Wanted};
pub use grants::{GRANT_TEXT_LIMIT, GRANTS_LIMIT, Grant};
pub use ids::{
    AccountId, AuthorityId, CaCertificateId, CertificateId, ChallengeId, DeliveryId, DirectoryId,
    DnsProviderId, EventId, IdParseError, InstanceId, PrivateKeyId, ServiceId, TargetDirectoryId,
    TargetId, TokenId, VersionId, WebhookId,
};
pub use inbound_orders::{
    INBOUND_CONTENT_LIMIT, INBOUND_TEXT_LIMIT, InboundContent, InboundOrder, NewInboundOrder,
};
pub use installations::{INSTALLATIONS_BYTES_LIMIT, INSTALLATIONS_LIMIT, Installation};
pub use installing::{Installing, Material};
pub use instances::{
    INSTANCE_TEXT_LIMIT, INSTANCES_LIMIT, Instance, InstanceOfService, InstanceRemoval, NewInstance,
};
pub use inventory::{CHAIN_LIMIT, IDENTIFIERS_LIMIT, NAME_LIMIT, NewRecord};
pub use leases::{Claimable, Owners, Superseded};
pub use names::Covering;
pub use new_versions::{NewVersionRecord, Remade};
pub use orders::{DirectoryOrder, NewDirectoryOrder, ORDER_TEXT_LIMIT};
pub use page::{Order, Page, PageStart};
pub use placements::{Acknowledgement, Placement, REASON_LIMIT, Refusal};
pub use policies::POLICY_LIMIT;
pub use ports::{Handlers, Protocol, PublishedPort};
pub use preauthorizations::{PREAUTHORIZATION_LIMIT, PREAUTHORIZATIONS_LIMIT};
pub use private_key_labels::LabelledKey;
pub use private_keys::{Exportable, NewPrivateKey, StoredKey};
pub use references::{CertificateRef, InstanceRef, Reference, ServiceRef};
pub use registered_clients::{REDIRECTS_LIMIT, REGISTERED_CLIENTS_LIMIT, RegisteredClient};
pub use removals::CertificateRemoval;
pub use renewals::Setback;
pub use requests::Renewed;
pub use revocations::PendingRevocation;
pub use scope::{PAGE_LIMIT, Scope};
pub use seal::{MasterKey, MasterKeyId, Purpose, SealError, Sealer};
pub use secret::Secret;
pub use served::{ServedKey, ServedVersion};
pub use service_changes::{PORTS_LIMIT, ServiceChange};
pub use services::{DEFAULT_ENVIRONMENT, NewService, Service};
pub use shards::ShardStanding;
pub use store::Store;
pub use stretches::ServiceFilter;
pub use switches::SWITCH_NAME_LIMIT;
pub use targets::{
    Among, Deliverable, Registration, TARGET_NAME_LIMIT, TARGET_SERVICES_LIMIT, TARGETS_LIMIT,
    Target,
};
pub use ticket_keys::{TICKET_SECRET_LENGTH, TicketKey};
pub use tokens::{NewToken, Token};
pub use url::{DatabaseUrl, DatabaseUrlError};
pub use versions::{IssuedStatus, NewVersion, RevokeOutcome, RevokedVersion, StoredChain, Version};
pub use webhooks::{NewWebhook, WEBHOOK_TEXT_LIMIT, WEBHOOKS_LIMIT, Webhook};
