//! Certificates that other CAs sign for tiers of ours: first the request, then what comes back.

use std::sync::Arc;

use pki::{Certificate, CertificateRequest, KeyAlgorithm, PublicKey, SigningKey};
use store::{CaRole, KeyPlace, NewCaCertificate, NewCaKey, PrivateKeyId};

use super::changing::unfit;
use super::fitness::{check_signer, path_above};
use super::tier_maker::renamed;
use super::{Authorities, Authority, AuthorityView, Tier};
use crate::ceremony::{self, new_member};
use crate::{Error, Principal, events, off_the_reactor};

/// What a chain brings into service.
enum Certified {
    /// A certificate that is new here, for a key of the authority.
    Anew(Certificate, NewCaKey),
    /// A tier that signed leaves before.
    Before(Arc<Tier>),
}

impl Authorities {
    /// A request (PKCS#10, PEM) for a certificate of the issuing CA, for another CA to sign: for the
    /// key that it has, or for a new one that waits for its certificate.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`], [`Error::KeyUnavailable`].
    pub async fn request_certificate(
        &self,
        principal: &Principal,
        name: &str,
        for_new_key: bool,
    ) -> Result<String, Error> {
        let authority = self.to_change(principal, name).await?;
        let issuing = authority.issuing.clone();
        let actor = principal.account_name();
        let subject = issuing.certificate().subject().clone();
        let mut change = self.change(
            &authority,
            actor,
            events::AUTHORITY_REQUESTED,
            &subject.to_string(),
        );
        let request = if for_new_key {
            let maker = self.tier_maker();
            let label = format!("chancery {name} issuing");
            let key = off_the_reactor(move || {
                let algorithm = algorithm_like(&issuing);
                let in_device = issuing.key_place() == KeyPlace::Device;
                let key = maker.key(algorithm, in_device, &label)?;
                let subject = renamed(issuing.certificate(), &key.signing)?;
                let request = CertificateRequest::build_for_authority(&key.signing, &subject);
                Ok::<_, Error>((key.record, request.map_err(ceremony::unsigned)?))
            });
            let (record, request) = key.await.map_err(Error::signing)??;
            change.erased_keys = change.next_key_id.into_iter().collect();
            change.next_key_id = Some(record.id());
            if let NewCaKey::Kept(key) = record {
                change.keys = vec![key];
            }
            request
        } else {
            let key = self.key_of(&issuing).await?;
            let requesting = off_the_reactor(move || {
                let subject = issuing.certificate().subject();
                let request = CertificateRequest::build_for_authority(&key, subject);
                request.map_err(ceremony::unsigned)
            });
            requesting.await.map_err(Error::signing)??
        };
        self.change_now(change).await?;
        Ok(CertificateRequest::to_pem(&request))
    }

    /// Puts a certificate into service that another CA has signed for the issuing CA, or one that was
    /// in service before. `chain` is PEM: that certificate, its issuer, and so on; with the root or
    /// without it, and without what is known here. Certificates are issued, and sent with the new
    /// chain, from then on. What was certified before stays known.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`]; [`Error::KeyMismatch`] when none of the
    /// certificates has a key of this authority; [`Error::Invalid`] when it cannot sign leaves and
    /// lists, or the chain is broken; [`Error::Unfit`] when it is in service.
    pub async fn install_certificate(
        &self,
        principal: &Principal,
        name: &str,
        chain: &str,
    ) -> Result<AuthorityView, Error> {
        let authority = self.to_change(principal, name).await?;
        let mut given = pki::read_certificates(chain.as_bytes())
            .map_err(|error| Error::invalid("chain", error.to_string()))?;
        let certified = self.certified(&authority, &given).await?;
        for tier in all_tiers(&authority) {
            given.push(tier.certificate().clone());
            given.extend(tier.superiors().iter().cloned());
        }
        let kind = events::AUTHORITY_CERTIFIED;
        let change = |certificate: &Certificate| {
            let detail = format!("by {}", certificate.issuer());
            self.change(&authority, principal.account_name(), kind, &detail)
        };
        let (change, issuer) = match certified {
            Certified::Anew(certificate, key) => {
                let is_for_next = key.id() != authority.issuing.key_id;
                let member = self.anew(&authority, certificate.clone(), key, &given);
                let member = member.await?;
                let mut change = change(&certificate);
                change.issuing_id = member.id;
                if is_for_next {
                    change.next_key_id = None;
                }
                change.certificates = vec![member];
                (change, certificate)
            }
            Certified::Before(tier) => {
                let certificate = tier.certificate();
                let above = path_above(certificate, &given, self.surroundings.now())?;
                let key = self.key_of(&tier).await?;
                check_signer(certificate, key, &above, &self.surroundings)?;
                let mut change = change(certificate);
                change.issuing_id = tier.id;
                (change, certificate.clone())
            }
        };
        self.change_now(change).await?;
        let issuer = issuer.issuer();
        tracing::info!(authority = name, %issuer, "installed a certificate");
        self.view_of(name).await
    }

    /// The tier that a certificate of another CA makes, if it can sign as all of ours do.
    async fn anew(
        &self,
        authority: &Authority,
        certificate: Certificate,
        key: NewCaKey,
        given: &[Certificate],
    ) -> Result<NewCaCertificate, Error> {
        if certificate.is_self_issued() {
            return Err(not_new());
        }
        let above = path_above(&certificate, given, self.surroundings.now())?;
        let wanted = authority.issuing_certificate().subject();
        if key.id() == authority.issuing.key_id && certificate.subject() != wanted {
            let reason = format!(
                "the certificate is for '{}' and was requested for '{wanted}'",
                certificate.subject()
            );
            return Err(Error::invalid("chain", reason));
        }
        let place = authority.issuing.key_place();
        let signing = self.signing_key(place, key.id(), &certificate).await?;
        check_signer(&certificate, signing, &above, &self.surroundings)?;
        let mut member = new_member(CaRole::Issuing, &certificate, key, &self.surroundings);
        if !authority.has_two_tiers() {
            member.role = CaRole::Root;
        }
        // The root, too: it is not sent along, but its constraints and its end count.
        let superiors: String = above.iter().map(Certificate::to_pem).collect();
        member.superiors = Some(superiors).filter(|superiors| !superiors.is_empty());
        Ok(member)
    }

    /// What is to be put into service out of `given`: what is new here rather than what is known,
    /// since the file may hold what was there before, too.
    async fn certified(
        &self,
        authority: &Authority,
        given: &[Certificate],
    ) -> Result<Certified, Error> {
        let is_known = |one: &&Certificate| {
            let mut tiers = all_tiers(authority);
            tiers.any(|tier| tier.certificate() == *one)
        };
        let new: Vec<&Certificate> = given.iter().filter(|one| !is_known(one)).collect();
        let issuing = &authority.issuing;
        if let Some(found) = with_key(&new, issuing.certificate().spki_der()) {
            let key = NewCaKey::At(issuing.key_place(), issuing.key_id);
            return Ok(Certified::Anew(found, key));
        }
        if let Some(next) = authority.row.next_key_id
            && let Some(found) = self.for_next_key(next, issuing.key_place(), &new).await?
        {
            let key = NewCaKey::At(issuing.key_place(), next);
            return Ok(Certified::Anew(found, key));
        }
        let before = all_tiers(authority).find(|tier| {
            tier.id != issuing.id && tier.signs_leaves && given.contains(tier.certificate())
        });
        match before {
            Some(tier) => Ok(Certified::Before(tier.clone())),
            None if new.len() < given.len() => Err(not_new()),
            None => Err(Error::KeyMismatch),
        }
    }

    /// The certificate among `given` for the key that waits for one.
    async fn for_next_key(
        &self,
        next: PrivateKeyId,
        place: KeyPlace,
        given: &[&Certificate],
    ) -> Result<Option<Certificate>, Error> {
        if place != KeyPlace::Device {
            let key = self.ca_key(next).await?;
            return Ok(with_key(given, key.public_key().spki_der()));
        }
        // The device is asked for a signature, which is then verified: so it has the key.
        for candidate in given {
            if let Ok(public) = candidate.public_key()
                && self.is_in_device(next, public).await?
            {
                return Ok(Some((*candidate).clone()));
            }
        }
        Ok(None)
    }

    async fn is_in_device(&self, id: PrivateKeyId, public: PublicKey) -> Result<bool, Error> {
        let key: SigningKey = self.device_key(id, public);
        let signing = off_the_reactor(move || key.sign(b"chancery").is_ok());
        signing.await.map_err(Error::signing)
    }
}

/// All tiers, also the root of one tier that another CA has certified since.
fn all_tiers(authority: &Authority) -> impl Iterator<Item = &Arc<Tier>> {
    authority.tiers().chain(std::iter::once(&authority.root))
}

fn with_key(given: &[&Certificate], key: &[u8]) -> Option<Certificate> {
    let found = given.iter().find(|one| one.spki_der() == key);
    found.map(|found| (*found).clone())
}

fn not_new() -> Error {
    unfit(
        "none of the certificates is one by another CA, or one from before, for a key of the \
         authority",
    )
}

/// The algorithm of a tier's key, or the nearest that keys are made with.
pub(super) fn algorithm_like(tier: &Tier) -> KeyAlgorithm {
    let kind = tier.key_kind.to_string();
    kind.parse().unwrap_or(if tier.key_kind.is_rsa() {
        KeyAlgorithm::Rsa4096
    } else {
        KeyAlgorithm::P256
    })
}
