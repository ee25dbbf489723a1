//! Certificates that other CAs sign for tiers of ours: first the request, then what comes back.

use pki::{Certificate, CertificateRequest, KeyAlgorithm, PublicKey, SigningKey};
use store::{CaRole, KeyPlace, NewCaKey, PrivateKeyId};

use super::changing::unfit;
use super::tier_maker::renamed;
use super::{Authorities, Authority, AuthorityView, Tier};
use crate::ceremony::{self, new_member};
use crate::{Error, Principal, events, off_the_reactor};

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
            let requesting =
                off_the_reactor(move || issuing.signer()?.request().map_err(ceremony::unsigned));
            requesting.await.map_err(Error::signing)??
        };
        self.change_now(change).await?;
        Ok(CertificateRequest::to_pem(&request))
    }

    /// Puts a certificate into service that another CA has signed for the issuing CA. `chain` is PEM:
    /// that certificate, its issuer, and so on; with the root or without it. Certificates are
    /// issued, and sent with the new chain, from then on. What was certified before stays known.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`]; [`Error::KeyMismatch`] when none of the
    /// certificates has a key of this authority; [`Error::Invalid`] when it cannot sign leaves, or
    /// the chain is broken.
    pub async fn install_certificate(
        &self,
        principal: &Principal,
        name: &str,
        chain: &str,
    ) -> Result<AuthorityView, Error> {
        let authority = self.to_change(principal, name).await?;
        let given = pki::read_certificates(chain.as_bytes())
            .map_err(|error| Error::invalid("chain", error.to_string()))?;
        let (certificate, key) = self.certified(&authority, &given).await?;
        let now = self.surroundings.now();
        let above = path_above(&certificate, &given, now)?;
        let fresh_key = key.id() != authority.issuing.key_id;
        if !fresh_key && certificate.subject() != authority.issuing_certificate().subject() {
            let wanted = authority.issuing_certificate().subject();
            let reason = format!(
                "the certificate is for '{}' and was requested for '{wanted}'",
                certificate.subject()
            );
            return Err(Error::invalid("chain", reason));
        }
        let is_known = authority
            .tiers()
            .any(|tier| tier.certificate() == &certificate);
        if is_known || certificate.is_self_issued() {
            return Err(unfit(
                "none of the certificates is a new one, by another CA, for a key of the authority",
            ));
        }
        let mut member = new_member(CaRole::Issuing, &certificate, key, &self.surroundings);
        if !authority.has_two_tiers() {
            member.role = CaRole::Root;
        }
        let superiors = above.iter().filter(|one| !one.is_self_issued());
        member.superiors = Some(superiors.map(Certificate::to_pem).collect());
        if member.superiors.as_deref() == Some("") {
            member.superiors = None;
        }
        if !fresh_key {
            // Its lists carry on, since they are signed with the same key.
            member.crl_number = self.store.crl_number(authority.issuing.id).await?;
        }
        let kind = events::AUTHORITY_CERTIFIED;
        let detail = format!("by {}", certificate.issuer());
        let mut change = self.change(&authority, principal.account_name(), kind, &detail);
        change.issuing_id = member.id;
        if fresh_key {
            change.next_key_id = None;
        }
        change.certificates = vec![member];
        self.change_now(change).await?;
        tracing::info!(authority = name, issuer = %certificate.issuer(), "installed a certificate");
        self.view_of(name).await
    }

    /// The certificate among `given` that has a key of this authority, and that key.
    async fn certified(
        &self,
        authority: &Authority,
        given: &[Certificate],
    ) -> Result<(Certificate, NewCaKey), Error> {
        let is_known = |one: &Certificate| authority.tiers().any(|tier| tier.certificate() == one);
        let with_key = |key: &[u8]| {
            let mut found: Vec<_> = given.iter().filter(|one| one.spki_der() == key).collect();
            // The file may hold what was there before, too.
            found.sort_by_key(|one| is_known(one));
            found.first().map(|found| (*found).clone())
        };
        let issuing = &authority.issuing;
        if let Some(found) = with_key(issuing.certificate().spki_der()) {
            let key = NewCaKey::At(issuing.key_place(), issuing.key_id);
            return Ok((found, key));
        }
        let next = authority.row.next_key_id.ok_or(Error::KeyMismatch)?;
        if issuing.key_place() == KeyPlace::Device {
            // The device is asked for a signature, which is then verified: so it has the key.
            for candidate in given {
                if let Ok(public) = candidate.public_key()
                    && self.is_in_device(next, public).await?
                {
                    return Ok((candidate.clone(), NewCaKey::At(KeyPlace::Device, next)));
                }
            }
            return Err(Error::KeyMismatch);
        }
        let key = self.ca_key(next).await?;
        let found = with_key(key.public_key().spki_der()).ok_or(Error::KeyMismatch)?;
        Ok((found, NewCaKey::At(KeyPlace::Store, next)))
    }

    async fn is_in_device(&self, id: PrivateKeyId, public: PublicKey) -> Result<bool, Error> {
        let key: SigningKey = self.device_key(id, public);
        let signing = off_the_reactor(move || key.sign(b"chancery").is_ok());
        signing.await.map_err(Error::signing)
    }
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

/// The certificates above `certificate` out of `given`, its issuer first. Every signature is
/// verified, and that every one of them may sign the next: validity, CA, path length, and name
/// constraints that can be obeyed.
pub(super) fn path_above(
    certificate: &Certificate,
    given: &[Certificate],
    now: time::OffsetDateTime,
) -> Result<Vec<Certificate>, Error> {
    let wrong = |one: &Certificate, what: &str| {
        Error::invalid(
            "chain",
            format!("the certificate of '{}' {what}", one.subject()),
        )
    };
    let mut above: Vec<Certificate> = Vec::new();
    loop {
        let last = above.last().unwrap_or(certificate);
        if !last.is_ca() {
            return Err(wrong(last, "is not one of a CA"));
        }
        if now < last.not_before() || last.not_after() < now {
            return Err(wrong(last, "is not valid now"));
        }
        let below = u8::try_from(above.len()).unwrap_or(u8::MAX);
        if last.path_length().is_some_and(|most| most < below) {
            return Err(wrong(last, "does not allow that many CAs below"));
        }
        if last.subject_key_identifier().is_none() {
            return Err(wrong(last, "has no subject key identifier"));
        }
        if last.understood_name_constraints().is_none() {
            return Err(wrong(
                last,
                "has name constraints of a kind that is not supported",
            ));
        }
        let key = last
            .public_key()
            .map_err(|error| wrong(last, &format!("has a key that is not supported: {error}")))?;
        if last.is_self_issued() && last.verify_signature_by(&key) {
            return Ok(above);
        }
        let issuer = given.iter().find(|candidate| {
            candidate.subject() == last.issuer()
                && candidate.der() != last.der()
                && candidate
                    .public_key()
                    .is_ok_and(|key| last.verify_signature_by(&key))
        });
        match issuer {
            Some(issuer) if !above.contains(issuer) => above.push(issuer.clone()),
            // Who relies on it has the root, and it is left out at times.
            _ if !above.is_empty() => return Ok(above),
            _ => {
                let issuer = last.issuer();
                return Err(wrong(
                    last,
                    &format!("is not signed by any of the others; add that of '{issuer}'"),
                ));
            }
        }
    }
}
