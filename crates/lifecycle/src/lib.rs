//! The life of a certificate: all rules of Chancery live here and only here.
//!
//! Dialects decode a request, authenticate it into a [`Principal`], call one operation of a part of
//! the [`House`], and encode its answer. Operations authorise, decide, and commit before they
//! return. This crate knows no wire format and no SQL.

mod accounts;
mod audit;
mod authorities;
mod ceremony;
mod certificates;
mod challenges;
mod device;
mod diagnosis;
mod error;
mod events;
mod feed;
mod grants;
mod house;
mod installations;
mod instances;
mod issuers;
mod labour;
mod logins;
mod network;
mod notices;
mod orders;
mod places;
mod policies;
mod principal;
mod private_keys;
mod publication;
mod publishing;
mod routing;
pub mod schedule;
mod scheduler;
mod selection;
mod services;
mod settings;
mod standing;
mod surroundings;
mod tally;
mod targets;
#[cfg(test)]
mod testing;
mod throttle;
mod tickets;
mod tokens;
mod validation;
mod webhooks;
mod zones;

pub use ::acme::client::ChallengeKind;
pub use ::dns::{Kind as DnsKind, kinds as dns_kinds};
pub use ::egress::EgressPolicy;
pub use accounts::{AccountChange, Accounts, FIRST_ADMINISTRATOR, HOUSE_ACCOUNT};
pub use audit::Audit;
pub use authorities::{
    Authorities, Authority, AuthorityView, CaMaterial, DueKind, DueView, ImportRequest,
    NewAuthorityRequest, TierView,
};
pub use certificates::{
    Attempts, CertificateFilter, Certificates, IssueRequest, Issued, KeySource, MAX_REFERENCES,
    ManagedRequest, Replacement, RevocationTarget, SerialReference, Upload, parse_common_name,
    parse_identifiers,
};
pub use challenges::{Answers, ChallengeError};
pub use diagnosis::{Actor, Diagnosis, Finding, StandingRecord, Verdict};
pub use error::{Error, Noun};
pub use grants::{
    CX_CLIENT, ClientView, ConsentError, GrantRequest, Grants, MintedClient, NewClient,
    OUT_OF_BAND, Question, Redemption, RedemptionError, Redirect, RegisteredClients,
};
pub use house::{House, ServerIdentity};
pub use installations::{
    InstallationKind, InstallationRequest, InstallationStatus, InstallationView, Installations,
};
pub use instances::{InstanceView, Instances, NewInstanceRequest, ServiceChoice};
pub use issuers::{
    Budget, DirectoryInfo, DirectoryView, ExternalAccount, HealthView, IssuerDetails, IssuerKind,
    IssuerView, Issuers, NewIssuer, Wait,
};
pub use labour::{Unfinished, off_the_reactor};
pub use logins::{LoginError, Logins};
pub use network::Network;
pub use policies::{Policies, Policy, PolicyText};
pub use principal::{Dialect, Principal};
pub use private_keys::{KeyOrigin, PrivateKeys};
pub use publication::{OcspAnswer, Repeatable};
pub use routing::{Backend, Change, Credentials, Route, Routing, Site, Staple, TicketSecret};
pub use services::{
    DomainRequest, DomainView, Edit, MAX_DOMAINS, MAX_PORTS, NewServiceRequest, PortRequest,
    ServiceChange, ServiceView, Services,
};
pub use settings::{
    AcmeSettings, Addresses, AuthorityTemplate, DEFAULT_AUTHORITY, DEFAULT_METRO_DOMAIN,
    InstallationSettings, Patience, Probe, Settings, Tiers, ValidationSettings,
};
pub use standing::{DirectoryBudget, Standing};
pub use store::{
    Account, AccountId, Acknowledgement, AuditLink, Certificate, CertificateId, CertificateLabel,
    CertificateRef, ChainBreak, ChainHead, DnsProviderId, Event, EventFilter, EventId, EventPage,
    Handlers, Instance, InstanceId, InstanceRef, LabelledCertificate, LabelledKey, Late, Order,
    Origin, PAGE_LIMIT, Page, PageStart, Placement, Protocol, PublishedPort, Reference, Refusal,
    Role, ServedKey, Service, ServiceFilter, ServiceId, ServiceRef, State, StateKind, Target,
    TargetDirectoryId, TargetId, Token, TokenId, VerifiedStretch, Version, VersionId, Webhook,
    WebhookId,
};
pub use surroundings::{Clock, Randomness, Surroundings, SystemClock, SystemRandomness};
pub use tally::{Counts, DeliveryOutcome, OrderOutcome, Tally};
pub use targets::{
    Material, OnTargets, PlacementStanding, Plan, PlannedPlacement, PlannedRemoval, TargetAt,
    TargetCertificate, TargetView, Targets,
};
pub use tokens::{AuthenticationError, MintedToken, TokenLimits, Tokens};
pub use validation::{
    Completed, InboundOrders, InboundRequest, Placed, Preauthorizations, ProofKind, Switch,
    SwitchState, SwitchValues, Switches, WaitingOrder, Way,
};
pub use webhooks::{MintedWebhook, NewWebhook, NoticeKind, Trial, WebhookFormat, Webhooks};
pub use zones::{
    DnsAccounts, DnsProvider, DnsProviders, NewDnsAccount, NewDnsProvider, RecordWriter,
};
