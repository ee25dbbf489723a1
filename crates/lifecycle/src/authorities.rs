//! Private authorities: making them, finding them, and what they publish.
//!
//! An authority has one CA certificate per tier. Its keys are sealed in the store and opened once
//! per process. Which certificates it signed, and which of them are revoked, is the store's
//! knowledge alone, so that any number of nodes can sign, answer OCSP and publish CRLs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use pki::{Certificate, KeyKind, PrivateKey, Serial, Signer, Urls};
use store::{AuthorityId, CaCertificateId, CaRole, NewAuthority, PrivateKeyId, Scope, Store};
use time::OffsetDateTime;
use tokio::sync::{Mutex, RwLock};

use crate::accounts::HOUSE_ACCOUNT;
use crate::ceremony::{hex_key_identifier, new_tiers, urls_by_key_identifier};
use crate::publication::{ListSlot, ResponderSlot, SigningQueue, is_younger};
use crate::settings::{Addresses, Settings};
use crate::{Error, Noun, Surroundings, events};

/// How long the authorities that were found in the store are taken for all there are.
const KNOWN: Duration = Duration::from_secs(1);

/// One CA certificate of an authority with its key: something that can sign, answer and publish.
pub(crate) struct Tier {
    pub(crate) id: CaCertificateId,
    pub(crate) signer: Signer,
    pub(crate) key_kind: KeyKind,
    pub(crate) responder: ResponderSlot,
    pub(crate) list: ListSlot,
}

impl Tier {
    /// The CA certificate.
    #[must_use]
    pub(crate) fn certificate(&self) -> &Certificate {
        self.signer.certificate()
    }
}

/// An authority whose keys are open.
pub struct Authority {
    /// Its id in the store.
    pub id: AuthorityId,
    /// Its name, unique on the server.
    pub name: String,
    /// The trust anchor; the issuing tier itself when there is only one.
    pub(crate) root: Arc<Tier>,
    /// What signs leaves.
    pub(crate) issuing: Arc<Tier>,
    /// What leaves say about where to ask.
    pub(crate) leaf_urls: Urls,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The trust anchor that relying parties install.
    #[must_use]
    pub fn root_certificate(&self) -> &Certificate {
        self.root.certificate()
    }

    /// The direct issuer of all leaves.
    #[must_use]
    pub fn issuing_certificate(&self) -> &Certificate {
        self.issuing.certificate()
    }

    /// What a server sends after a leaf: every CA certificate but the root.
    #[must_use]
    pub fn intermediates(&self) -> Vec<Certificate> {
        if self.has_two_tiers() {
            vec![self.issuing_certificate().clone()]
        } else {
            Vec::new()
        }
    }

    pub(crate) fn has_two_tiers(&self) -> bool {
        self.root.id != self.issuing.id
    }

    /// All tiers, the issuing one first.
    pub(crate) fn tiers(&self) -> impl Iterator<Item = &Arc<Tier>> {
        let root = self.has_two_tiers().then_some(&self.root);
        std::iter::once(&self.issuing).chain(root)
    }
}

/// The authorities of the server.
#[derive(Clone)]
pub struct Authorities {
    pub(crate) store: Store,
    pub(crate) surroundings: Surroundings,
    settings: Arc<Settings>,
    pub(crate) slow_signatures: Arc<SigningQueue>,
    open: Arc<RwLock<HashMap<String, Arc<Authority>>>>,
    /// When all that the store has were last opened.
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
        let is_named = |tier: &Tier| {
            hex_key_identifier(tier.certificate()).eq_ignore_ascii_case(key_identifier)
        };
        let found = self.tier(is_named).await?;
        found.ok_or_else(|| Error::not_found(Noun::Authority, key_identifier))
    }

    async fn opened(&self, name: &str) -> Option<Arc<Authority>> {
        self.open.read().await.get(name).cloned()
    }

    async fn open_tier(
        &self,
        wanted: impl Fn(&Tier) -> bool,
    ) -> Option<(Arc<Authority>, Arc<Tier>)> {
        let open = self.open.read().await;
        open.values().find_map(|authority| {
            let tier = authority.tiers().find(|tier| wanted(tier))?;
            Some((authority.clone(), tier.clone()))
        })
    }

    /// Opens what the store has and this node has not, unless that was done a moment ago.
    async fn open_all(&self) -> Result<(), Error> {
        let mut looked_at = self.looked_at.lock().await;
        let now = self.surroundings.now();
        if looked_at.is_some_and(|then| is_younger(then, KNOWN, now)) {
            return Ok(());
        }
        for row in self.store.authorities().await? {
            if self.opened(&row.name).await.is_none() {
                self.open(&row).await?;
            }
        }
        *looked_at = Some(now);
        Ok(())
    }

    async fn open(&self, row: &store::Authority) -> Result<Arc<Authority>, Error> {
        let authority = Arc::new(self.unseal(row).await?);
        // Of two that opened it at the same time, the later one takes what the other has: lists
        // and responders are kept there.
        let mut open = self.open.write().await;
        Ok(open.entry(row.name.clone()).or_insert(authority).clone())
    }

    async fn make(&self, name: &str) -> Result<store::Authority, Error> {
        let template = self
            .settings
            .authorities
            .get(name)
            .cloned()
            .ok_or_else(|| Error::not_found(Noun::Authority, name))?;
        let now = self.surroundings.now();
        let serials = [self.serial(), self.serial()];
        let public_url = self.settings.public_url.clone();
        // RSA keys take up to a second of CPU each.
        let surroundings = self.surroundings.clone();
        let made = tokio::task::spawn_blocking(move || {
            new_tiers(&template, &public_url, &surroundings, &serials)
        });
        let ca_certificates = made.await.map_err(Error::signing)??;
        let id = AuthorityId::from_random(self.surroundings.random());
        let event = events::of(
            &self.surroundings,
            HOUSE_ACCOUNT,
            None,
            events::AUTHORITY_CREATED,
            Some(id.as_uuid()),
            name,
        );
        let record = NewAuthority {
            id,
            name: name.to_owned(),
            created_at: now,
            ca_certificates,
            event,
        };
        match self.store.create_authority(record).await {
            Ok(()) => tracing::info!(authority = name, "made an authority"),
            // Another node was faster; its authority is the one.
            Err(store::Error::DuplicateName) => {}
            Err(error) => return Err(error.into()),
        }
        let row = self.store.authority(name).await?;
        row.ok_or_else(|| Error::not_found(Noun::Authority, name))
    }

    async fn unseal(&self, row: &store::Authority) -> Result<Authority, Error> {
        let mut root = None;
        let mut issuing = None;
        for ca_certificate in self.store.ca_certificates(row.id).await? {
            let slot = match ca_certificate.role {
                CaRole::Root => &mut root,
                CaRole::Issuing => &mut issuing,
                CaRole::Responder => continue,
            };
            let certificate =
                Certificate::from_der(&ca_certificate.certificate).map_err(Error::signing)?;
            let key = self.ca_key(ca_certificate.private_key_id).await?;
            let key_kind = key.algorithm();
            *slot = Some(Arc::new(Tier {
                id: ca_certificate.id,
                signer: Signer::new(certificate, key).map_err(Error::signing)?,
                key_kind,
                responder: ResponderSlot::default(),
                list: ListSlot::default(),
            }));
        }
        let root = root.ok_or_else(|| Error::signing("the authority has no root certificate"))?;
        let issuing = issuing.unwrap_or_else(|| root.clone());
        let leaf_urls = self.leaf_urls(&row.name, issuing.certificate());
        Ok(Authority {
            id: row.id,
            name: row.name.clone(),
            root,
            issuing,
            leaf_urls,
        })
    }

    pub(crate) async fn ca_key(&self, id: PrivateKeyId) -> Result<PrivateKey, Error> {
        let stored = self.store.private_key(Scope::Everything, id).await?;
        let stored =
            stored.ok_or_else(|| Error::signing("an authority's key is not in the store"))?;
        Ok(stored.key)
    }

    fn leaf_urls(&self, name: &str, issuing: &Certificate) -> Urls {
        let template = self.settings.authorities.get(name);
        match template.map(|template| &template.addresses) {
            Some(Addresses::At {
                ocsp,
                ca_issuers,
                crl,
            }) => {
                let at = |path: &str| Some(format!("{}{path}", self.settings.public_url));
                Urls {
                    ocsp: at(ocsp),
                    ca_issuers: at(ca_issuers),
                    crl: at(crl),
                }
            }
            Some(Addresses::ByKeyIdentifier) | None => {
                urls_by_key_identifier(&self.settings.public_url, &hex_key_identifier(issuing))
            }
        }
    }

    /// A fresh random serial number: 127 bits, the low 64 of them not zero.
    pub(crate) fn serial(&self) -> Serial {
        loop {
            if let Some(serial) = Serial::from_random(self.surroundings.random()) {
                return serial;
            }
        }
    }
}
