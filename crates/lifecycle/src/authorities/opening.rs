//! Opening authorities: from rows of the store to tiers that sign, kept up to date with what other
//! nodes change.

use std::sync::Arc;
use std::time::Duration;

use pki::{Certificate, OutsideKey, PrivateKey, PublicKey, Signer, SigningKey, Urls};
use store::{CaCertificate, CaRole, KeyPlace, PrivateKeyId, Scope};
use time::OffsetDateTime;

use super::{Authorities, Authority, Tier, TierKey};
use crate::Error;
use crate::ceremony::{hex_key_identifier, urls_by_key_identifier};
use crate::device::NoDevice;
use crate::publication::is_younger;
use crate::settings::Addresses;

/// How long the authorities that were found in the store are taken for all there are.
const KNOWN: Duration = Duration::from_secs(1);
/// How long a tier answers after its certificate has ended. Nobody should ask any more.
const ENDED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Authorities {
    pub(super) async fn opened(&self, name: &str) -> Option<Arc<Authority>> {
        self.open.read().await.get(name).cloned()
    }

    pub(super) async fn open_tier(
        &self,
        wanted: impl Fn(&Tier) -> bool,
    ) -> Option<(Arc<Authority>, Arc<Tier>)> {
        let open = self.open.read().await;
        open.values().find_map(|authority| {
            let tier = authority.tiers().find(|tier| wanted(tier))?;
            Some((authority.clone(), tier.clone()))
        })
    }

    /// Opens what the store has and this node has not, or not as it is now, unless that was done a
    /// moment ago.
    pub(super) async fn open_all(&self) -> Result<(), Error> {
        let mut looked_at = self.looked_at.lock().await;
        self.open_all_since(&mut looked_at).await
    }

    /// The same for those who have something already that was right a moment ago: nobody waits for
    /// somebody else who looks, and a store that fails takes nothing away.
    pub(super) async fn refresh(&self) {
        let Ok(mut looked_at) = self.looked_at.try_lock() else {
            return;
        };
        if let Err(error) = self.open_all_since(&mut looked_at).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not see whether authorities have changed"
            );
        }
    }

    async fn open_all_since(&self, looked_at: &mut Option<OffsetDateTime>) -> Result<(), Error> {
        let now = self.surroundings.now();
        if looked_at.is_some_and(|then| is_younger(then, KNOWN, now)) {
            return Ok(());
        }
        for row in self.store.authorities().await? {
            // One that cannot be opened takes nothing from the others.
            if let Err(error) = self.open(&row).await {
                tracing::error!(
                    authority = row.name,
                    error = &error as &dyn std::error::Error,
                    "could not open an authority"
                );
            }
        }
        *looked_at = Some(now);
        Ok(())
    }

    /// The authority as `row` says, opened if that was not done yet.
    pub(super) async fn open(&self, row: &store::Authority) -> Result<Arc<Authority>, Error> {
        let before = self.opened(&row.name).await;
        if let Some(authority) = &before
            && authority.is_at_least(row)
        {
            return Ok(authority.clone());
        }
        let authority = Arc::new(self.unseal(row, before.as_deref()).await?);
        let mut open = self.open.write().await;
        // Of two that opened it at the same time, the later one takes what the other has: lists
        // and responders are kept there.
        if let Some(other) = open.get(&row.name)
            && other.is_at_least(row)
        {
            return Ok(other.clone());
        }
        open.insert(row.name.clone(), authority.clone());
        Ok(authority)
    }

    /// The authority of this row. Tiers that are as they were in `before` are taken from there, with
    /// their lists and responders.
    async fn unseal(
        &self,
        row: &store::Authority,
        before: Option<&Authority>,
    ) -> Result<Authority, Error> {
        let mut stored = self.store.ca_certificates(row.id).await?;
        stored.retain(|one| one.role != CaRole::Responder);
        let root = stored.iter().find(|one| one.id == row.root_id);
        let root = root.ok_or_else(|| Error::signing("the authority has no root certificate"))?;
        let root = Certificate::from_der(&root.certificate).map_err(Error::signing)?;
        let has_issuing = stored.iter().any(|one| one.role == CaRole::Issuing);
        let now = self.surroundings.now();
        let mut tiers: Vec<Arc<Tier>> = Vec::new();
        for one in &stored {
            let is_current = [row.root_id, row.issuing_id].contains(&one.id);
            if !is_current && one.not_after + ENDED < now {
                continue;
            }
            let known = before.and_then(|before| before.tiers().find(|tier| tier.is_of(one)));
            tiers.push(match known {
                Some(tier) => tier.clone(),
                None => {
                    let signs_leaves = one.role == CaRole::Issuing || !has_issuing;
                    Arc::new(self.unseal_tier(one, signs_leaves, &root).await?)
                }
            });
        }
        let with_id = |id| {
            let tier = tiers.iter().find(|tier| tier.id == id);
            let missing = || Error::signing("a tier of the authority is missing");
            tier.cloned().ok_or_else(missing)
        };
        let (root, issuing) = (with_id(row.root_id)?, with_id(row.issuing_id)?);
        tiers.retain(|tier| tier.id != root.id && tier.id != issuing.id);
        tiers.reverse();
        let mut authority = Authority {
            id: row.id,
            name: row.name.clone(),
            root,
            issuing,
            others: tiers,
            row: row.clone(),
            leaf_urls: Urls::default(),
            places: before.map_or_else(Arc::default, |before| before.places.clone()),
        };
        authority.leaf_urls = self.leaf_urls(&authority, &authority.issuing);
        Ok(authority)
    }

    async fn unseal_tier(
        &self,
        stored: &CaCertificate,
        signs_leaves: bool,
        root: &Certificate,
    ) -> Result<Tier, Error> {
        let certificate = Certificate::from_der(&stored.certificate).map_err(Error::signing)?;
        let superiors = match &stored.superiors {
            Some(pem) => pki::read_certificates(pem.as_bytes()).map_err(Error::signing)?,
            None => Vec::new(),
        };
        let mut limits = superiors.clone();
        if certificate.issuer() == root.subject() && !certificate.is_self_issued() {
            limits.push(root.clone());
        }
        let open = |key: SigningKey| {
            Signer::below(certificate.clone(), key, &limits).map_err(Error::signing)
        };
        let key = match stored.key_place {
            KeyPlace::Store => {
                TierKey::Present(open(self.ca_key(stored.private_key_id).await?.into())?)
            }
            KeyPlace::Elsewhere => TierKey::Absent {
                last_list: stored.last_list.clone().map(Into::into),
            },
            KeyPlace::Device => {
                let public = certificate.public_key().map_err(Error::signing)?;
                TierKey::InDevice(open(self.device_key(stored.private_key_id, public))?)
            }
        };
        Tier::new(stored, signs_leaves, certificate, superiors, key)
    }

    pub(crate) async fn ca_key(&self, id: PrivateKeyId) -> Result<PrivateKey, Error> {
        let stored = self.store.private_key(Scope::Everything, id).await?;
        let stored =
            stored.ok_or_else(|| Error::signing("an authority's key is not in the store"))?;
        Ok(stored.key)
    }

    /// A key in the device of this node, whether that is there or not.
    pub(super) fn device_key(&self, id: PrivateKeyId, public: PublicKey) -> SigningKey {
        let key: Arc<dyn OutsideKey> = match self.surroundings.device() {
            Some(device) => device.key(id.as_uuid().into_bytes(), public),
            None => Arc::new(NoDevice(public)),
        };
        SigningKey::Outside(key)
    }

    /// What leaves of the first shard that `tier` signs say about where to ask.
    pub(crate) fn leaf_urls(&self, authority: &Authority, tier: &Tier) -> Urls {
        let template = self.settings.authorities.get(&authority.name);
        let template = template.filter(|_| authority.addressed().has_key_of(tier));
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
                let key_identifier = hex_key_identifier(tier.certificate());
                urls_by_key_identifier(&self.settings.public_url, &key_identifier)
            }
        }
    }
}
