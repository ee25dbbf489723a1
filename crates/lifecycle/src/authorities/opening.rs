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

    /// The tier that is `wanted`; of several the same one each time.
    pub(super) async fn open_tier(
        &self,
        wanted: impl Fn(&Tier) -> bool,
    ) -> Option<(Arc<Authority>, Arc<Tier>)> {
        let open = self.open.read().await;
        let found = open.values().filter_map(|authority| {
            let tier = authority.tiers().find(|tier| wanted(tier))?;
            Some((authority, tier))
        });
        // An authority may have the CA of another one as its root, without the key: then that one
        // knows what was signed.
        let (authority, tier) = found.min_by_key(|(_, tier)| {
            let (signs, has_key) = (tier.signs_leaves, tier.can_sign());
            (!(signs && has_key), !has_key, tier.id)
        })?;
        Some((authority.clone(), tier.clone()))
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
    /// their lists and responders; not one that comes back into service, whose lists are old. A
    /// former tier that cannot be read takes nothing from the others.
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
            let comes_back = |before: &Authority| {
                one.id == row.issuing_id && before.issuing.id != row.issuing_id
            };
            let before = before.filter(|before| !comes_back(before));
            let known = before.and_then(|before| before.tiers().find(|tier| tier.is_of(one)));
            let signs_leaves = one.role == CaRole::Issuing || !has_issuing;
            let opened = match known {
                Some(tier) => Ok(tier.clone()),
                None => {
                    let unsealed = self.unseal_tier(one, signs_leaves, &root).await;
                    unsealed.map(Arc::new)
                }
            };
            match opened {
                Ok(tier) => tiers.push(tier),
                Err(error) if is_current || matches!(error, Error::Store(_)) => return Err(error),
                Err(error) => tracing::error!(
                    authority = row.name,
                    certificate = %one.id,
                    error = &error as &dyn std::error::Error,
                    "could not open a former tier of an authority"
                ),
            }
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
        // Of a chain that was given, the root is among them.
        let mut limits = superiors.clone();
        let top = limits.last().unwrap_or(&certificate);
        if top.issuer() == root.subject() && !top.is_self_issued() {
            limits.push(root.clone());
        }
        let key = if stored.key_place == KeyPlace::Elsewhere {
            let last_list = stored.last_list.clone().map(Into::into);
            TierKey::Absent { last_list }
        } else {
            let key = self.signing_key(stored.key_place, stored.private_key_id, &certificate);
            let signer = match key.await {
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => Err(error.to_string()),
                Ok(key) => Signer::below(certificate.clone(), key, &limits)
                    .map_err(|error| error.to_string()),
            };
            match signer {
                Ok(signer) if signer.signs_outside() => TierKey::InDevice(signer),
                Ok(signer) => TierKey::Present(signer),
                // Commands have to reach the authority, for somebody to mend it.
                Err(reason) => {
                    let subject = certificate.subject();
                    tracing::error!(%subject, reason, "a tier of an authority cannot sign");
                    TierKey::Unfit(stored.key_place, reason)
                }
            }
        };
        Tier::new(stored, signs_leaves, certificate, superiors, key)
    }

    /// The key of a tier, wherever it is.
    ///
    /// # Errors
    /// [`Error::KeyUnavailable`] when it is not within reach, [`Error::Signing`] when it is missing.
    pub(super) async fn key_of(&self, tier: &Tier) -> Result<SigningKey, Error> {
        self.signing_key(tier.key_place(), tier.key_id, tier.certificate())
            .await
    }

    /// The same of one that is to be, for its certificate.
    pub(super) async fn signing_key(
        &self,
        place: KeyPlace,
        id: PrivateKeyId,
        certificate: &Certificate,
    ) -> Result<SigningKey, Error> {
        match place {
            KeyPlace::Store => Ok(self.ca_key(id).await?.into()),
            KeyPlace::Device => {
                let public = certificate.public_key().map_err(Error::signing)?;
                Ok(self.device_key(id, public))
            }
            KeyPlace::Elsewhere => Err(Error::KeyUnavailable {
                reason: format!("the key of '{}' is not here", certificate.subject()),
            }),
        }
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
