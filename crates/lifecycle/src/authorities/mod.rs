//! Private authorities: making them, finding them, changing them, and what they publish.
//!
//! An authority has a CA certificate per tier. Its keys are sealed in the store, kept in a device, or
//! out of reach; those in the store are opened once per process. Which certificates it signed, and
//! which of them are revoked, is the store's knowledge alone, so that any number of nodes can sign,
//! answer OCSP and publish CRLs. What a node knows of an authority itself is a second old at most.

mod authority;
mod certifying;
mod changing;
mod constraints;
mod due;
mod fitness;
mod importing;
mod making;
mod opening;
mod renewing;
mod root_key;
mod tier;
mod tier_maker;
mod views;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pki::{Certificate, Serial};
use store::Store;
use time::OffsetDateTime;
use tokio::sync::{Mutex, RwLock};

use crate::publication::{Memory, SigningQueue};
use crate::settings::Settings;
use crate::{Error, Noun, Surroundings, ceremony};

pub use authority::Authority;
pub use due::DueKind;
pub use importing::{CaMaterial, ImportRequest};
pub use making::NewAuthorityRequest;
pub(crate) use tier::{Tier, TierKey};
pub use views::{AuthorityView, DueView, TierView};

/// The authorities of the server.
#[derive(Clone)]
pub struct Authorities {
    pub(crate) store: Store,
    pub(crate) surroundings: Surroundings,
    settings: Arc<Settings>,
    pub(crate) slow_signatures: Arc<SigningQueue>,
    pub(crate) memory: Arc<Memory>,
    open: Arc<RwLock<HashMap<String, Arc<Authority>>>>,
    /// When all that the store has were last seen.
    looked_at: Arc<Mutex<Option<OffsetDateTime>>>,
    /// Only one task at a time makes an authority: it can cost a second of CPU.
    making: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authorities")
    }
}

impl Authorities {
    pub(crate) fn new(store: Store, surroundings: Surroundings, settings: Arc<Settings>) -> Self {
        Self {
            store,
            surroundings,
            settings,
            slow_signatures: Arc::default(),
            memory: Arc::default(),
            open: Arc::default(),
            looked_at: Arc::default(),
            making: Arc::default(),
        }
    }

    /// The authority `name`, made from its template if it is not there yet. One without a template
    /// that another node has made is found after a second at the latest.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it neither exists nor has a template.
    pub async fn named(&self, name: &str) -> Result<Arc<Authority>, Error> {
        if self.opened(name).await.is_some() {
            self.refresh().await;
        }
        if let Some(authority) = self.opened(name).await {
            return Ok(authority);
        }
        if !self.settings.authorities.contains_key(name) {
            self.open_all().await?;
            let authority = self.opened(name).await;
            return authority.ok_or_else(|| Error::not_found(Noun::Authority, name));
        }
        if let Some(row) = self.store.authority(name).await? {
            return self.open(&row).await;
        }
        let _alone = self.making.lock().await;
        let row = match self.store.authority(name).await? {
            Some(row) => row,
            None => self.make(name).await?,
        };
        self.open(&row).await
    }

    /// The names of all authorities, also of those that will be made on first use. One that another
    /// node has made is among them after a second at the latest.
    pub(crate) async fn names(&self) -> Result<Vec<String>, Error> {
        self.open_all().await?;
        let open = self.open.read().await;
        let made = open.keys().cloned();
        let names: HashSet<String> = self
            .settings
            .authorities
            .keys()
            .cloned()
            .chain(made)
            .collect();
        Ok(names.into_iter().collect())
    }

    /// The tier that is `wanted`. One that another node has made is found after a second at the
    /// latest: anybody may ask for what is not ours, and the store must not hear of it each time.
    pub(crate) async fn tier(
        &self,
        wanted: impl Fn(&Tier) -> bool,
    ) -> Result<Option<(Arc<Authority>, Arc<Tier>)>, Error> {
        if self.open_tier(&wanted).await.is_some() {
            self.refresh().await;
        }
        if let Some(found) = self.open_tier(&wanted).await {
            return Ok(Some(found));
        }
        self.open_all().await?;
        Ok(self.open_tier(&wanted).await)
    }

    /// The CA certificate whose subject key identifier is `key_identifier` (hex, any case).
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn certificate_by_key_identifier(
        &self,
        key_identifier: &str,
    ) -> Result<Certificate, Error> {
        let (_, tier) = self.tier_by_key_identifier(key_identifier).await?;
        Ok(tier.certificate().clone())
    }

    pub(crate) async fn tier_by_key_identifier(
        &self,
        key_identifier: &str,
    ) -> Result<(Arc<Authority>, Arc<Tier>), Error> {
        let found = self.tier(|tier| tier.is_named(key_identifier)).await?;
        found.ok_or_else(|| Error::not_found(Noun::Authority, key_identifier))
    }

    /// A fresh random serial number: 127 bits, the low 64 of them not zero.
    pub(crate) fn serial(&self) -> Serial {
        ceremony::serial(&self.surroundings)
    }
}
