//! Certificates under a private key: self-signed until a CA has signed the request that is made for
//! them, and then what the CA made of it. They are certificates of the inventory like all others.

use std::time::Duration;

use pki::{ChainError, LeafProfile, PrivateKey, Urls, Usages, Validity};
use store::{
    CertificateId, CertificateLabel, LabelledCertificate, LabelledKey, NewCertificate, NewRecord,
    NewVersion, NewVersionRecord, Origin, PAGE_LIMIT, PrivateKeyId, Remade, State, VersionId,
};

use super::{PrivateKeys, subject};
use crate::certificates::{NAME_DRAWS, account_gone, name_after};
use crate::{Error, Noun, Principal, ceremony, events, off_the_reactor};

/// Lifetime of a certificate that signs itself, to the second.
const LIFETIME: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// A leaf and what its owner sent after it.
struct Signed {
    leaf: pki::Certificate,
    above: Vec<pki::Certificate>,
    origin: Origin,
}

impl PrivateKeys {
    /// The caller's certificates under one private key, or under all, after the number `after`, in the
    /// order of their numbers, at most [`PAGE_LIMIT`]. From the beginning, those that have no number
    /// yet are given one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn certificates(
        &self,
        principal: &Principal,
        key: Option<&LabelledKey>,
        after: u64,
    ) -> Result<Vec<LabelledCertificate>, Error> {
        let scope = principal.scope();
        let key = key.map(|key| key.id);
        if after == 0 {
            if key.is_none() {
                self.store.label_private_keys(scope).await?;
            }
            self.store.label_certificates(scope, key).await?;
        }
        let listed = self
            .store
            .labelled_certificates(scope, key, after, PAGE_LIMIT);
        Ok(listed.await?)
    }

    /// The caller's certificate of this number under the private key of that number.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn certificate(
        &self,
        principal: &Principal,
        key: u64,
        number: u64,
    ) -> Result<LabelledCertificate, Error> {
        let key = self.find(principal, key).await?;
        self.certificate_under(principal, &key, number).await
    }

    /// Adds a certificate under a private key: the given one (PEM, the leaf first), or one that signs
    /// itself.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the key; [`Error::Invalid`] and [`Error::TooLong`];
    /// [`Error::KeyMismatch`]; [`Error::NameTaken`]; [`Error::Unfit`] when the key has too many;
    /// [`Error::Forbidden`].
    pub async fn add_certificate(
        &self,
        principal: &Principal,
        key: u64,
        label: CertificateLabel,
        chain: Option<&str>,
    ) -> Result<LabelledCertificate, Error> {
        principal.require_write()?;
        let key = self.find(principal, key).await?;
        let label = subject::checked(label)?;
        let signed = match chain {
            Some(chain) => self.brought(principal, &key, chain).await?,
            None => {
                let identifiers = subject::identifier_of(&label.common_name);
                let subject = subject::subject_of_label(&label)?;
                let identifiers = identifiers.into_iter().collect();
                self.sign_itself(principal, &key, subject, identifiers)
                    .await?
            }
        };
        let now = self.surroundings.now();
        let id = CertificateId::from_random(self.surroundings.random());
        let kind = match signed.origin {
            Origin::SelfSigned => events::CERTIFICATE_SELF_SIGNED,
            Origin::Issued | Origin::Uploaded => events::CERTIFICATE_UPLOADED,
        };
        let mut record = NewRecord {
            certificate: NewCertificate {
                id,
                account_id: principal.account_id(),
                name: String::new(),
                common_name: subject::listed_as(&signed.leaf, &label.common_name),
                identifiers: names_of(&signed.leaf),
                origin: signed.origin,
                state: State::Valid,
                issuer: None,
                created_at: now,
            },
            version: Some(self.version(&signed, key.id)),
            key: None,
            event: events::of(
                &self.surroundings,
                principal.account_name(),
                Some(principal.account_id()),
                kind,
                Some(id.as_uuid()),
                &label.common_name,
            ),
        };
        for _ in 0..NAME_DRAWS {
            record.certificate.name = name_after(&label.common_name, &self.surroundings);
            let added = self
                .store
                .add_certificate_under(key.id, &label, record.clone());
            match added.await {
                Ok(number) => return self.certificate_under(principal, &key, number).await,
                Err(store::Error::DuplicateName) => {}
                Err(store::Error::Duplicate) => {
                    return Err(Error::NameTaken {
                        noun: Noun::Certificate,
                        name: label.name,
                    });
                }
                Err(store::Error::Full) => {
                    return Err(Error::Unfit {
                        reason: format!(
                            "a private key has at most {} certificates",
                            store::CERTIFICATES_PER_KEY_LIMIT
                        ),
                    });
                }
                Err(store::Error::NotFound) => {
                    return Err(Error::not_found(Noun::PrivateKey, key.number));
                }
                Err(store::Error::UnknownAccount) => return Err(account_gone(principal)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::NameTaken {
            noun: Noun::Certificate,
            name: record.certificate.name,
        })
    }

    /// Gives a certificate a new version for the same key: the given one (PEM, the leaf first), or one
    /// that signs itself. Whoever obtained it so far does so no more.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`]; [`Error::KeyMismatch`]; [`Error::Forbidden`].
    pub async fn replace_certificate(
        &self,
        principal: &Principal,
        key: u64,
        number: u64,
        chain: Option<&str>,
    ) -> Result<LabelledCertificate, Error> {
        principal.require_write()?;
        let key = self.find(principal, key).await?;
        let known = self.certificate_under(principal, &key, number).await?;
        let signed = match chain {
            Some(chain) => self.brought(principal, &key, chain).await?,
            None => {
                let identifiers = subject::identifiers_of(&known);
                let subject = subject::subject_of(&known)?;
                self.sign_itself(principal, &key, subject, identifiers)
                    .await?
            }
        };
        let certificate = &known.certificate;
        let wanted = known
            .label
            .as_ref()
            .map_or(&certificate.common_name, |label| &label.common_name);
        let record = NewVersionRecord {
            version: self.version(&signed, key.id),
            key: None,
            identifiers: names_of(&signed.leaf),
            renew_at: None,
            next_action_at: None,
            becomes: Some(Remade {
                origin: signed.origin,
                common_name: subject::listed_as(&signed.leaf, wanted),
            }),
            event: events::of(
                &self.surroundings,
                principal.account_name(),
                Some(principal.account_id()),
                events::CERTIFICATE_REPLACED,
                Some(certificate.id.as_uuid()),
                &certificate.name,
            ),
        };
        let scope = principal.scope();
        match self.store.add_version(scope, certificate.id, record).await {
            // Somebody deleted it, or its key, in the meantime.
            Err(store::Error::NotFound) => {
                return Err(Error::not_found(Noun::Certificate, number));
            }
            added => added?,
        }
        self.certificate_under(principal, &key, number).await
    }

    /// Deletes a certificate. Its key goes with it if it came with it and no other has it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Attached`] while a domain is served with it or it is installed
    /// on a service; [`Error::Forbidden`].
    pub async fn delete_certificate(
        &self,
        principal: &Principal,
        key: u64,
        number: u64,
    ) -> Result<(), Error> {
        principal.require_write()?;
        let key = self.find(principal, key).await?;
        let known = self.certificate_under(principal, &key, number).await?;
        let certificate = known.certificate;
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(certificate.account_id),
            events::CERTIFICATE_DELETED,
            Some(certificate.id.as_uuid()),
            &certificate.name,
        );
        let scope = principal.scope();
        let deleted = self
            .store
            .delete_certificate_under(scope, key.id, certificate.id, event);
        match deleted.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::not_found(Noun::Certificate, number)),
            Err(store::Error::Attached) => Err(Error::Attached {
                name: certificate.name,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// What a server sends for a certificate: its leaf, and what stands above it.
    ///
    /// # Errors
    /// As [`Certificates::chain`](crate::Certificates::chain).
    pub async fn chain(&self, known: &LabelledCertificate) -> Result<Vec<pki::Certificate>, Error> {
        self.certificates.chain(&known.certificate).await
    }

    /// A request (PKCS #10, DER) with which a CA can certify the key for what the certificate is
    /// about; made anew each time.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Signing`].
    pub async fn request(
        &self,
        principal: &Principal,
        key: u64,
        number: u64,
    ) -> Result<Vec<u8>, Error> {
        let key = self.find(principal, key).await?;
        let known = self.certificate_under(principal, &key, number).await?;
        let (subject, identifiers) = (
            subject::subject_of(&known)?,
            subject::identifiers_of(&known),
        );
        let key = self.open(principal, &key).await?;
        let built =
            off_the_reactor(move || pki::CertificateRequest::build(&key, &subject, &identifiers));
        built.await.map_err(Error::signing)?.map_err(Error::signing)
    }

    async fn certificate_under(
        &self,
        principal: &Principal,
        key: &LabelledKey,
        number: u64,
    ) -> Result<LabelledCertificate, Error> {
        let found = self
            .store
            .labelled_certificate(principal.scope(), key.id, number);
        found
            .await?
            .ok_or_else(|| Error::not_found(Noun::Certificate, number))
    }

    /// The key, to be used in the house.
    async fn open(&self, principal: &Principal, key: &LabelledKey) -> Result<PrivateKey, Error> {
        let stored = self.store.private_key(principal.scope(), key.id).await?;
        let stored = stored.ok_or_else(|| Error::not_found(Noun::PrivateKey, key.number))?;
        Ok(stored.key)
    }

    /// Reads a leaf of this key and what is sent after it.
    async fn brought(
        &self,
        principal: &Principal,
        key: &LabelledKey,
        chain: &str,
    ) -> Result<Signed, Error> {
        let invalid = |error: ChainError| Error::invalid("ssl_certificate", error.to_string());
        let mut chain = pki::read_certificates(chain.as_bytes()).map_err(invalid)?;
        let key = self.open(principal, key).await?;
        let above = chain.split_off(1);
        let leaf = chain.pop().ok_or(Error::KeyMismatch)?;
        if leaf.spki_der() != key.public_key().spki_der() {
            return Err(Error::KeyMismatch);
        }
        Ok(Signed {
            leaf,
            above,
            origin: Origin::Uploaded,
        })
    }

    /// Has the key certify itself.
    async fn sign_itself(
        &self,
        principal: &Principal,
        key: &LabelledKey,
        subject: pki::DistinguishedName,
        identifiers: Vec<pki::Identifier>,
    ) -> Result<Signed, Error> {
        let key = self.open(principal, key).await?;
        let now = self.surroundings.now();
        let profile = LeafProfile {
            subject,
            identifiers,
            public_key: key.public_key().clone(),
            validity: Validity::new(now, now + LIFETIME).map_err(Error::signing)?,
            usages: Usages::Server,
            urls: Urls::default(),
        };
        let serial = ceremony::serial(&self.surroundings);
        let signed = off_the_reactor(move || ceremony::sign_itself(profile, &serial, &key));
        Ok(Signed {
            leaf: signed.await.map_err(Error::signing)??,
            above: Vec::new(),
            origin: Origin::SelfSigned,
        })
    }

    fn version(&self, signed: &Signed, key: PrivateKeyId) -> NewVersion {
        let now = self.surroundings.now();
        let leaf = &signed.leaf;
        NewVersion {
            id: VersionId::from_time_and_random(now, self.surroundings.random()),
            authority_id: None,
            crl_shard: 0,
            directory_id: None,
            serial: leaf.serial().as_be_bytes().to_vec(),
            subject: leaf.subject().to_string(),
            issuer: leaf.issuer().to_string(),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            leaf: leaf.der().to_vec(),
            intermediates: signed.above.iter().map(|ca| ca.der().to_vec()).collect(),
            private_key_id: Some(key),
            created_at: now,
        }
    }
}

/// The names that a leaf covers, as the inventory keeps them.
fn names_of(leaf: &pki::Certificate) -> Vec<String> {
    let identifiers = leaf.identifiers();
    identifiers.iter().map(ToString::to_string).collect()
}
