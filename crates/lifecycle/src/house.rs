//! The house as a whole: its parts over one store, its first start, and its housekeeping.

use std::sync::Arc;
use std::time::Duration;

use pki::{Identifier, KeyAlgorithm, PrivateKey, SubjectFields};
use store::{CertificateFilter, EventId, Order, Page, PageStart, Role, Scope, Store};
use tokio::sync::OnceCell;

use crate::accounts::{FIRST_ADMINISTRATOR, HOUSE_ACCOUNT};
use crate::certificates::{IssueRequest, KeySource};
use crate::challenges::Solvers;
use crate::diagnosis::Examiner;
use crate::installations::Around;
use crate::notices::Notices;
use crate::orders::Orders;
use crate::scheduler::Scheduler;
use crate::settings::{DEFAULT_AUTHORITY, Settings};
use crate::standing::{Standing, Watch};
use crate::tokens::TokenLimits;
use crate::validation::Requirement;
use crate::{
    Accounts, Answers, Audit, Authorities, Certificates, Change, Diagnosis, DnsAccounts,
    DnsProviders, Error, Grants, InboundOrders, Installations, Instances, Issuers, Logins,
    Policies, Preauthorizations, Principal, PrivateKeys, RegisteredClients, Routing, Services,
    Surroundings, Switches, Tally, Targets, Tokens, Webhooks, feed,
};

/// Subject CN of the certificates of the house's own API listener.
const LISTENER: &str = "Chancery API";
/// Lifetime of such a certificate, in days; it is replaced at a third of it left.
const LISTENER_DAYS: i64 = 90;
/// How often expired things are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// For how long what was spent of a directory's limits is kept after it has come back: the directory
/// may have counted it later.
const BUDGETS_KEPT: Duration = Duration::from_secs(60 * 60);

/// All operations of the house, by noun.
#[derive(Debug, Clone)]
pub struct House {
    /// What was done, by whom, and the chain that proves it.
    pub audit: Audit,
    /// Tenants.
    pub accounts: Accounts,
    /// What each account may have certified by private authorities.
    pub policies: Policies,
    /// Credentials; the way to a [`Principal`].
    pub tokens: Tokens,
    /// What people allow programs to do with their accounts.
    pub grants: Grants,
    /// Programs that may ask for that.
    pub clients: RegisteredClients,
    /// What accounts need not prove.
    pub preauthorizations: Preauthorizations,
    /// Credentials with the names of their accounts, as people type them.
    pub logins: Logins,
    /// The inventory.
    pub certificates: Certificates,
    /// Private keys of tenants, and what is known of certificates under them.
    pub private_keys: PrivateKeys,
    /// Orders that are placed here, and the proofs that some of them wait for.
    pub inbound_orders: InboundOrders,
    /// What administrators switch on and off while the house is open.
    pub switches: Switches,
    /// Private authorities, their OCSP answers and revocation lists.
    pub authorities: Authorities,
    /// Private authorities and ACME directories: what obtains certificates.
    pub issuers: Issuers,
    /// Published ports and domains.
    pub services: Services,
    /// Certificates on services, with what is said of them.
    pub installations: Installations,
    /// Where the workloads of services listen.
    pub instances: Instances,
    /// What the edge serves.
    pub routing: Routing,
    /// What listeners answer to a directory that looks.
    pub answers: Answers,
    /// Zones with the right to write their records.
    pub dns_providers: DnsProviders,
    /// Credentials for whatever zones there are at one place.
    pub dns_accounts: DnsAccounts,
    /// Live checks of names.
    pub diagnosis: Diagnosis,
    solvers: Solvers,
    /// Machines' directories that certificates are delivered to.
    pub targets: Targets,
    /// Where accounts want to be told what happens.
    pub webhooks: Webhooks,
    /// What this node has done since it started.
    pub tally: Tally,
    notices: Notices,
    watch: Watch,
    scheduler: Scheduler,
    store: Store,
    surroundings: Surroundings,
    /// The place in the change feed from which on the edge has to be told.
    beginning: Arc<OnceCell<Option<EventId>>>,
}

/// A certificate chain, leaf first, with its key: what a TLS listener needs.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    /// Leaf and intermediates, DER.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key.
    pub key: PrivateKey,
}

impl House {
    /// A house over `store`.
    #[must_use]
    pub fn new(store: Store, surroundings: Surroundings, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let authorities = Authorities::new(store.clone(), surroundings.clone(), settings.clone());
        let dns_providers = DnsProviders::new(store.clone(), surroundings.clone());
        let issuers = Issuers::new(
            store.clone(),
            surroundings.clone(),
            settings.clone(),
            authorities.clone(),
            dns_providers.clone(),
        );
        let accounts = Accounts::new(store.clone(), surroundings.clone());
        let policies = Policies::new(store.clone(), surroundings.clone(), accounts.clone());
        let switches = Switches::new(
            store.clone(),
            surroundings.clone(),
            settings.validation.switches,
        );
        let requirement = Requirement::new(store.clone(), switches.clone(), settings.clone());
        let certificates = Certificates::new(
            store.clone(),
            surroundings.clone(),
            settings.clone(),
            authorities.clone(),
            issuers.clone(),
            policies.clone(),
            requirement.clone(),
        );
        let inbound_orders = InboundOrders::new(
            store.clone(),
            surroundings.clone(),
            settings.clone(),
            certificates.clone(),
            requirement,
            switches.clone(),
        );
        let services = Services::new(
            store.clone(),
            surroundings.clone(),
            settings.clone(),
            certificates.clone(),
        );
        let instances = Instances::new(
            store.clone(),
            surroundings.clone(),
            settings.clone(),
            services.clone(),
        );
        let routing = Routing::new(
            store.clone(),
            surroundings.clone(),
            settings.clone(),
            authorities.clone(),
            services.clone(),
        );
        let targets = Targets::new(store.clone(), surroundings.clone(), routing.clone());
        let dns_accounts =
            DnsAccounts::new(store.clone(), surroundings.clone(), dns_providers.clone());
        let installations = Installations::new(
            Around {
                store: store.clone(),
                surroundings: surroundings.clone(),
                settings: settings.clone(),
            },
            certificates.clone(),
            issuers.clone(),
            dns_accounts.clone(),
            services.clone(),
            targets.clone(),
        );
        let answers = Answers::new(store.clone(), surroundings.clone());
        let examiner = Examiner::new(
            store.clone(),
            surroundings.clone(),
            settings.clone(),
            answers.clone(),
            dns_providers.clone(),
        );
        let diagnosis = Diagnosis::new(store.clone(), issuers.clone(), examiner.clone());
        let solvers = Solvers::new(
            store.clone(),
            surroundings.clone(),
            settings,
            dns_providers.clone(),
            examiner,
        );
        let watch = Watch::new(store.clone(), surroundings.clone(), issuers.clone());
        let tally = Tally::default();
        let notices = Notices::new(
            store.clone(),
            surroundings.clone(),
            certificates.clone(),
            tally.clone(),
        );
        let orders = Orders::new(
            store.clone(),
            surroundings.clone(),
            issuers.clone(),
            solvers.clone(),
            certificates.clone(),
            tally.clone(),
        );
        let scheduler = Scheduler::new(
            store.clone(),
            surroundings.clone(),
            certificates.clone(),
            authorities.clone(),
            issuers.clone(),
            orders,
        );
        let tokens = Tokens::new(store.clone(), surroundings.clone());
        let clients = RegisteredClients::new(store.clone(), surroundings.clone());
        let logins = Logins::new(tokens.clone(), surroundings.clone());
        let grants = Grants::new(
            store.clone(),
            surroundings.clone(),
            tokens.clone(),
            logins.clone(),
            clients.clone(),
        );
        Self {
            audit: Audit::new(store.clone(), surroundings.clone()),
            policies,
            preauthorizations: Preauthorizations::new(
                store.clone(),
                surroundings.clone(),
                accounts.clone(),
            ),
            accounts,
            inbound_orders,
            switches,
            grants,
            clients,
            logins,
            tokens,
            private_keys: PrivateKeys::new(
                store.clone(),
                surroundings.clone(),
                certificates.clone(),
            ),
            certificates,
            authorities,
            issuers,
            services,
            installations,
            instances,
            targets,
            routing,
            answers,
            dns_accounts,
            dns_providers,
            diagnosis,
            solvers,
            webhooks: Webhooks::new(store.clone(), surroundings.clone()),
            tally,
            notices,
            watch,
            scheduler,
            beginning: Arc::default(),
            store,
            surroundings,
        }
    }

    /// Makes what every house has: the account of the house, the first administrator with a token,
    /// the default authority, and the request for the certificate of the metro domain. Before administrator and token are stored, `keep` is called with
    /// the token's text, so that none is ever in force that nobody was told; if another node turns
    /// out to have been faster, that token never comes into force.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Signing`], or what `keep` returned, as [`Error::Invalid`].
    pub async fn furnish(
        &self,
        keep: impl FnOnce(&str) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        self.accounts.ensure(HOUSE_ACCOUNT, Role::User).await?;
        self.make_administrator(keep).await?;
        self.authorities.named(DEFAULT_AUTHORITY).await?;
        self.certificates.look_after_metro().await?;
        let now = || self.store.last_event();
        self.beginning.get_or_try_init(now).await?;
        Ok(())
    }

    /// A certificate of the default authority for the house's own API listener: the newest one
    /// that names exactly `identifiers` and has more than a third of its life left, or a new one.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Signing`].
    pub async fn listener_identity(
        &self,
        identifiers: &[Identifier],
    ) -> Result<ServerIdentity, Error> {
        let account = self.accounts.named(HOUSE_ACCOUNT).await?;
        if let Some(identity) = self.kept_identity(account.id, identifiers).await? {
            return Ok(identity);
        }
        let request = IssueRequest {
            authority: DEFAULT_AUTHORITY.to_owned(),
            subject: SubjectFields {
                common_name: Some(LISTENER.to_owned()),
                ..SubjectFields::default()
            },
            identifiers: identifiers.to_vec(),
            days: Some(LISTENER_DAYS),
            key: KeySource::Keep(KeyAlgorithm::P256),
            name: None,
        };
        let issued = self
            .certificates
            .issue(&Principal::house(&account), request)
            .await?;
        let chain = std::iter::once(&issued.leaf).chain(&issued.intermediates);
        Ok(ServerIdentity {
            chain: chain
                .map(|certificate| certificate.der().to_vec())
                .collect(),
            key: issued
                .key
                .ok_or_else(|| Error::signing("the listener's key is missing"))?,
        })
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn check(&self) -> Result<(), Error> {
        Ok(self.store.ping().await?)
    }

    /// How the house as a whole stands, as of now or of some seconds ago.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn standing(&self) -> Result<Standing, Error> {
        self.watch.standing().await
    }

    /// Erases what has had its time and sees to it that the house has its own certificates, for
    /// ever. Faults are logged and tried again.
    pub async fn keep_house(&self) {
        let mut interval = tokio::time::interval(HOUSEKEEPING);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            match self.certificates.erase_expired_keys().await {
                Ok(0) => {}
                Ok(erased) => tracing::info!(erased, "erased private keys after their time"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not erase expired private keys"
                ),
            }
            if let Err(error) = self.inbound_orders.sweep().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not forget old orders"
                );
            }
            if let Err(error) = self.grants.sweep().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not forget old grants"
                );
            }
            if let Err(error) = self.installations.sweep().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not forget certificates that were taken off services"
                );
            }
            let swept = self.surroundings.now() - BUDGETS_KEPT;
            if let Err(error) = self.store.sweep_budgets(swept).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not forget budgets of directories"
                );
            }
            if let Err(error) = self.authorities.renew_due().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look after authorities"
                );
            }
            if let Err(error) = self.certificates.look_after_metro().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look after the certificate of the metro domain"
                );
            }
        }
    }

    /// Obtains and renews managed certificates when they are due, until [`Self::retire`] is called.
    /// Each node does; they share the work. Faults are logged and tried again.
    pub async fn obtain_due(&self) {
        self.scheduler.run().await;
    }

    /// Has [`Self::obtain_due`] come to its end within a few seconds: nothing more is taken on, and
    /// what is under way is finished or left to others. Nobody who waits for what a target is to
    /// have waits any longer.
    pub fn retire(&self) {
        self.targets.retire();
        self.scheduler.retire();
    }

    /// Makes one attempt for each managed certificate that is due now. Returns how many that were.
    ///
    /// # Errors
    /// [`Error::Store`] when what is due cannot be claimed; an attempt that fails is none.
    pub async fn obtain_due_now(&self) -> Result<usize, Error> {
        self.scheduler.obtain_due().await
    }

    /// Withdraws the DNS records of challenges that are over, for ever. Each node does; they share
    /// the work. Faults are logged and tried again.
    pub async fn withdraw_records(&self) {
        self.solvers.withdraw().await;
    }

    /// Tries to withdraw the records that are due now, at most 32. Returns how many that were.
    ///
    /// # Errors
    /// [`Error::Store`] when what is due cannot be claimed; a provider that refuses is none.
    pub async fn withdraw_records_now(&self) -> Result<usize, Error> {
        self.solvers.withdraw_due().await
    }

    /// Tells webhooks what happens to certificates, and tells of certificates that end soon, for
    /// ever. Each node does; they share the work. Faults are logged and tried again.
    pub async fn send_notices(&self) {
        self.notices.run().await;
    }

    /// Links events into the audit chain, about a second after they were written, for ever. Each
    /// node does; one at a time succeeds. Faults are logged and tried again.
    pub async fn link_events(&self) {
        self.audit.link().await;
    }

    /// Posts each delivery that is due now. Returns how many attempts that were.
    ///
    /// # Errors
    /// [`Error::Store`] when what is due cannot be claimed; an attempt that fails is none.
    pub async fn send_due_notices(&self) -> Result<usize, Error> {
        self.notices.send_due().await
    }

    /// Tells of all certificates that have come to end soon. Returns of how many.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tell_of_ends(&self) -> Result<usize, Error> {
        self.notices.tell_of_ends().await
    }

    /// Follows the change feed for ever: calls `notify` with what the edge has to know since
    /// [`Self::furnish`], on each node, within a fraction of a second; and selects the certificates
    /// of domains again when the inventory has changed. Faults are logged and tried again.
    pub async fn follow_changes(&self, notify: impl Fn(Change)) {
        let (store, services) = (self.store.clone(), self.services.clone());
        let hearing = self.authorities.memory.hearing.clone();
        let news = self.targets.news.clone();
        let beginning = self.beginning.clone();
        feed::follow(store, services, hearing, news, beginning, notify).await;
    }

    async fn make_administrator(
        &self,
        keep: impl FnOnce(&str) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        let name = FIRST_ADMINISTRATOR;
        if self.store.account_by_name(name).await?.is_some() {
            return Ok(());
        }
        let (account, made) = self.accounts.draft(HOUSE_ACCOUNT, name, Role::Admin)?;
        let limits = TokenLimits {
            name: "first start".to_owned(),
            ..TokenLimits::default()
        };
        let (minted, minting) = self
            .tokens
            .draw(HOUSE_ACCOUNT, (account.id, name), limits)?;
        keep(&minted.text).map_err(|error| {
            Error::invalid("data", format!("cannot write the first token: {error}"))
        })?;
        let stored = self
            .store
            .create_account_with_token((account, made), (minted.record(), minting))
            .await;
        match stored {
            // Another node was faster.
            Err(store::Error::Duplicate | store::Error::DuplicateName) => Ok(()),
            stored => Ok(stored?),
        }
    }

    async fn kept_identity(
        &self,
        account: store::AccountId,
        identifiers: &[Identifier],
    ) -> Result<Option<ServerIdentity>, Error> {
        let scope = Scope::Account(account);
        let filter = CertificateFilter {
            common_name: Some(LISTENER.to_owned()),
            ..CertificateFilter::default()
        };
        let page = Page {
            from: PageStart::Beginning,
            limit: 16,
            order: Order::Descending,
        };
        let wanted: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
        let now = self.surroundings.now();
        for certificate in self.store.list_certificates(scope, &filter, &page).await? {
            let Some(version) = certificate.current else {
                continue;
            };
            let lifetime = version.not_after - version.not_before;
            let is_fresh = now + lifetime / 3 < version.not_after;
            let is_usable = is_fresh && version.revocation.is_none();
            let (Some(key_id), Some(issuer)) = (version.private_key_id, &certificate.issuer) else {
                continue;
            };
            if !is_usable || certificate.identifiers != wanted {
                continue;
            }
            let key = self.store.private_key(scope, key_id).await?;
            let chain = self.store.chain(scope, version.id).await?;
            let (Some(key), Some(chain)) = (key, chain) else {
                continue;
            };
            let leaf = pki::Certificate::from_der(&chain.leaf).map_err(Error::signing)?;
            let authority = self.authorities.named(issuer).await?;
            let intermediates = authority.intermediates_of(&leaf);
            let intermediates = intermediates.iter().map(|issuer| issuer.der().to_vec());
            return Ok(Some(ServerIdentity {
                chain: std::iter::once(chain.leaf).chain(intermediates).collect(),
                key: key.key,
            }));
        }
        Ok(None)
    }
}
