//! Importing authorities that were run by something else before.

use pki::{Certificate, PrivateKey, pkcs12};
use store::{CaRole, KeyPlace, NewCaCertificate, NewCaKey, PrivateKeyId};
use zeroize::Zeroizing;

use super::changing::unfit;
use super::fitness::{check_signer, path_above};
use super::making::taken;
use super::{Authorities, AuthorityView};
use crate::ceremony::{new_key, new_member};
use crate::issuers::check_name;
use crate::{Error, Principal, Surroundings, events, off_the_reactor};

/// An authority that is to be taken over.
#[derive(Debug)]
pub struct ImportRequest {
    /// Its name here.
    pub name: String,
    /// Its key and certificates.
    pub material: CaMaterial,
    /// What key or file are encrypted with; empty if they are not.
    pub passphrase: Zeroizing<String>,
}

/// The key of a CA and its certificates, as they come.
pub enum CaMaterial {
    /// PEM texts.
    Pem {
        /// PKCS#8, which may be encrypted, PKCS#1 or SEC 1.
        key: Zeroizing<String>,
        /// The CA certificate and those above it, up to the root.
        certificates: String,
    },
    /// A PKCS#12 file.
    Pkcs12(Zeroizing<Vec<u8>>),
}

/// Shows nothing of the key.
impl std::fmt::Debug for CaMaterial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Pem { .. } => "Pem",
            Self::Pkcs12(_) => "Pkcs12",
        })
    }
}

impl Authorities {
    /// Takes an authority over: one tier if its certificate is self-signed, or an issuing CA below a
    /// root whose key is elsewhere. What it has issued and revoked before is not known here.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NameTaken`]; [`Error::Invalid`] when key or certificates
    /// cannot be read, do not belong together, are not those of a CA, or could not sign a leaf as
    /// they are made here; [`Error::Unfit`] when an authority of the server has the same CA with its
    /// key.
    pub async fn import(
        &self,
        principal: &Principal,
        request: ImportRequest,
    ) -> Result<AuthorityView, Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        check_name(&request.name)?;
        self.check_unused(&request.name).await?;
        let name = request.name.clone();
        let surroundings = self.surroundings.clone();
        let members = off_the_reactor(move || {
            let (key, certificates) = read(request)?;
            members(key, &certificates, &surroundings)
        });
        let (certificate, members) = members.await.map_err(Error::signing)??;
        self.check_foreign(&certificate).await?;
        let kind = events::AUTHORITY_IMPORTED;
        if !self
            .record(principal.account_name(), &name, members, kind)
            .await?
        {
            return Err(taken(&name));
        }
        tracing::info!(authority = name, "imported an authority");
        self.view_of(&name).await
    }

    /// Sees to it that no authority of the server signs as this CA: of two, each would deny what the
    /// other one has signed.
    async fn check_foreign(&self, certificate: &Certificate) -> Result<(), Error> {
        for row in self.store.authorities().await? {
            // Of one that cannot be opened nothing is signed.
            let Ok(authority) = self.open(&row).await else {
                continue;
            };
            let mut tiers = authority.tiers();
            if tiers.any(|tier| tier.is_ca_of(certificate) && tier.can_sign()) {
                return Err(unfit(format!("'{}' has this CA and its key", row.name)));
            }
        }
        Ok(())
    }
}

fn read(request: ImportRequest) -> Result<(PrivateKey, Vec<Certificate>), Error> {
    let passphrase = &request.passphrase;
    match request.material {
        CaMaterial::Pem { key, certificates } => {
            let key = PrivateKey::from_pem_with_passphrase(key.as_bytes(), passphrase)
                .map_err(|error| Error::invalid("key", error.to_string()))?;
            let certificates = pki::read_certificates(certificates.as_bytes())
                .map_err(|error| Error::invalid("chain", error.to_string()))?;
            Ok((key, certificates))
        }
        CaMaterial::Pkcs12(file) => {
            let bundle = pkcs12::read(&file, passphrase)
                .map_err(|error| Error::invalid("pkcs12", error.to_string()))?;
            Ok((bundle.key, bundle.certificates))
        }
    }
}

/// The CA certificate for this key, and the tiers of an authority with it.
fn members(
    key: PrivateKey,
    certificates: &[Certificate],
    surroundings: &Surroundings,
) -> Result<(Certificate, Vec<NewCaCertificate>), Error> {
    let now = surroundings.now();
    let spki = key.public_key().spki_der();
    let mut own = certificates.iter().filter(|one| one.spki_der() == spki);
    let certificate = own.next().ok_or(Error::KeyMismatch)?;
    let above = path_above(certificate, certificates, now)?;
    check_signer(certificate, &key, &above, surroundings)?;
    let member = |role, certificate: &Certificate, key| {
        let mut member = new_member(role, certificate, key, surroundings);
        // Whoever ran it before has numbered lists, too, and these must be seen as newer. Few have
        // published one a second since 1970.
        member.crl_number = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        member
    };
    let kept = NewCaKey::Kept(new_key(key, surroundings));
    if certificate.is_self_issued() {
        let root = member(CaRole::Root, certificate, kept);
        return Ok((certificate.clone(), vec![root]));
    }
    let root = above.last().filter(|top| top.is_self_issued());
    let root = root.ok_or_else(|| {
        let reason = "the chain does not reach a root; add the self-signed certificate at its top";
        Error::invalid("chain", reason)
    })?;
    let elsewhere = PrivateKeyId::from_time_and_random(now, surroundings.random());
    let elsewhere = NewCaKey::At(KeyPlace::Elsewhere, elsewhere);
    let mut issuing = member(CaRole::Issuing, certificate, kept);
    let between = above.iter().filter(|one| *one != root);
    let between: String = between.map(Certificate::to_pem).collect();
    issuing.superiors = Some(between).filter(|between| !between.is_empty());
    let members = vec![member(CaRole::Root, root, elsewhere), issuing];
    Ok((certificate.clone(), members))
}
