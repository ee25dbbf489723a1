//! Certificates made elsewhere: taken in, and replaced by newer ones.
//!
//! An [`Upload`] is a request whose form is right; parsing one touches no stored object. Whether it
//! fits what is stored, or its own key, is decided when it is carried out.

use pki::{Chain, ChainError, DnsName, PrivateKey};
use store::{
    Certificate, CertificateId, CertificateRef, Exportable, NewPrivateKey, NewVersion,
    NewVersionRecord, Origin, PrivateKeyId, Remade, VersionId,
};
use time::format_description::well_known::Rfc3339;

use super::{Certificates, naming};
use crate::{Error, Noun, Principal, Surroundings, events};

/// Draws of a random name before giving up; a second draw is already unlikely.
pub(crate) const NAME_DRAWS: u32 = 8;

/// A well-formed upload.
#[derive(Debug)]
pub struct Upload {
    pub(super) name: Option<String>,
    pub(super) common_name: DnsName,
    pub(super) pair: Pair,
}

/// A well-formed new pair for a certificate that is there already.
#[derive(Debug)]
pub struct Replacement {
    common_name: Option<DnsName>,
    pair: Pair,
}

/// A key, and the chain whose leaf has that key, if there is such a leaf.
#[derive(Debug)]
pub(super) struct Pair {
    key: PrivateKey,
    chain: Option<Chain>,
}

impl Upload {
    /// Reads an upload. Without a common name, the leaf's is taken.
    ///
    /// # Errors
    /// Faults of form alone: [`Error::Invalid`], [`Error::NotFullyQualified`], [`Error::TooLong`].
    pub fn parse(
        name: Option<String>,
        common_name: Option<&str>,
        chain: &str,
        private_key: &str,
    ) -> Result<Self, Error> {
        if let Some(name) = &name {
            naming::check_name(name)?;
        }
        let common_name = common_name.map(fully_qualified).transpose()?;
        let pair = Pair::parse(chain, private_key)?;
        let common_name = match common_name {
            Some(common_name) => common_name,
            None => pair.common_name()?,
        };
        Ok(Self {
            name,
            common_name,
            pair,
        })
    }
}

impl Upload {
    /// The certificate whose key was brought along; `None` if there was none.
    pub(crate) fn leaf(&self) -> Option<&pki::Certificate> {
        self.pair.chain.as_ref().map(|chain| &chain.leaf)
    }
}

impl Replacement {
    /// Reads a replacement. A common name, if given, must be the stored one.
    ///
    /// # Errors
    /// As [`Upload::parse`].
    pub fn parse(common_name: Option<&str>, chain: &str, private_key: &str) -> Result<Self, Error> {
        Ok(Self {
            common_name: common_name.map(fully_qualified).transpose()?,
            pair: Pair::parse(chain, private_key)?,
        })
    }
}

impl Pair {
    fn parse(chain: &str, private_key: &str) -> Result<Self, Error> {
        let key = PrivateKey::from_pem(private_key.as_bytes())
            .map_err(|error| Error::invalid("pkey", error.to_string()))?;
        let chain = match pki::read_chain(chain.as_bytes(), key.public_key()) {
            Ok(chain) => Some(chain),
            Err(ChainError::KeyMismatch) => None,
            Err(error) => return Err(Error::invalid("chain", error.to_string())),
        };
        Ok(Self { key, chain })
    }

    /// The leaf's subject CN if it is fully qualified, else its first DNS name.
    fn common_name(&self) -> Result<DnsName, Error> {
        let leaf = &self.chain.as_ref().ok_or(Error::KeyMismatch)?.leaf;
        let subject = leaf.common_name();
        if let Some(name) = subject.and_then(|name| fully_qualified(&name).ok()) {
            return Ok(name);
        }
        let mut names = leaf.identifiers().into_iter();
        let first = names.find_map(|identifier| match identifier {
            pki::Identifier::Dns(name) => Some(name),
            _ => None,
        });
        first.ok_or_else(|| {
            Error::invalid(
                "cn",
                "the certificate names no fully-qualified domain name; give its cn",
            )
        })
    }

    /// The version that this pair makes for `common_name`, if it has to cover one, or why it cannot.
    pub(super) fn version(
        self,
        certificate_id: CertificateId,
        common_name: Option<&DnsName>,
        surroundings: &Surroundings,
    ) -> Result<(NewVersion, NewPrivateKey, Vec<String>), Error> {
        let now = surroundings.now();
        let chain = self.chain.ok_or(Error::KeyMismatch)?;
        if let Some(common_name) = common_name
            && !chain.leaf.covers(common_name)
        {
            return Err(Error::CommonNameMismatch {
                common_name: common_name.to_string(),
            });
        }
        if chain.leaf.not_after() <= now {
            let not_after = chain.leaf.not_after();
            return Err(Error::Expired {
                not_after: not_after.format(&Rfc3339).unwrap_or_default(),
            });
        }
        for notice in &chain.notices {
            tracing::info!(certificate = %certificate_id, notice, "chain was put in order");
        }
        let identifiers = chain.leaf.identifiers();
        let identifiers = identifiers.iter().map(ToString::to_string).collect();
        let key = NewPrivateKey {
            id: PrivateKeyId::from_time_and_random(now, surroundings.random()),
            key: self.key,
            exportable: Exportable::Never,
        };
        let version = NewVersion {
            id: VersionId::from_time_and_random(now, surroundings.random()),
            authority_id: None,
            crl_shard: 0,
            directory_id: None,
            serial: chain.leaf.serial().as_be_bytes().to_vec(),
            subject: chain.leaf.subject().to_string(),
            issuer: chain.leaf.issuer().to_string(),
            not_before: chain.leaf.not_before(),
            not_after: chain.leaf.not_after(),
            leaf: chain.leaf.der().to_vec(),
            intermediates: chain
                .intermediates
                .iter()
                .map(|certificate| certificate.der().to_vec())
                .collect(),
            private_key_id: Some(key.id),
            created_at: now,
        };
        Ok((version, key, identifiers))
    }
}

impl Certificates {
    /// Takes a certificate in.
    ///
    /// # Errors
    /// [`Error::KeyMismatch`], [`Error::CommonNameMismatch`], [`Error::Expired`],
    /// [`Error::NameTaken`], [`Error::Forbidden`].
    pub async fn upload(
        &self,
        principal: &Principal,
        upload: Upload,
    ) -> Result<Certificate, Error> {
        principal.require_write()?;
        let (name, common_name) = (upload.name.clone(), upload.common_name.to_string());
        let mut record = self.draft_upload(principal, upload)?;
        let id = record.certificate.id;
        for _ in 0..NAME_DRAWS {
            if name.is_none() {
                record.certificate.name = naming::name_after(&common_name, &self.surroundings);
            }
            match self.store.add_certificate(record.clone()).await {
                Ok(()) => return self.find(principal, &CertificateRef::Id(id)).await,
                Err(store::Error::DuplicateName) if name.is_none() => {}
                Err(store::Error::DuplicateName) => break,
                Err(store::Error::UnknownAccount) => return Err(account_gone(principal)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::NameTaken {
            noun: Noun::Certificate,
            name: record.certificate.name,
        })
    }

    /// Gives a certificate that nobody issues here a new pair; everything that refers to it uses the new one.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Managed`], [`Error::KeyMismatch`],
    /// [`Error::CommonNameMismatch`], [`Error::Expired`], [`Error::Forbidden`].
    pub async fn replace(
        &self,
        principal: &Principal,
        reference: &CertificateRef,
        replacement: Replacement,
    ) -> Result<Certificate, Error> {
        principal.require_write()?;
        let certificate = self.find(principal, reference).await?;
        if certificate.origin == Origin::Issued {
            return Err(Error::Managed {
                name: certificate.name,
            });
        }
        // It may be any text: then there is no name that a pair could fail to cover.
        let common_name = DnsName::parse(&certificate.common_name).ok();
        if let Some(given) = replacement.common_name
            && Some(&given) != common_name.as_ref()
        {
            return Err(Error::CommonNameMismatch {
                common_name: certificate.common_name,
            });
        }
        let (version, key, identifiers) =
            replacement
                .pair
                .version(certificate.id, common_name.as_ref(), &self.surroundings)?;
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(certificate.account_id),
            events::CERTIFICATE_REPLACED,
            Some(certificate.id.as_uuid()),
            &certificate.name,
        );
        let added = self
            .store
            .add_version(
                principal.scope(),
                certificate.id,
                NewVersionRecord {
                    version,
                    key: Some(key),
                    identifiers,
                    renew_at: None,
                    next_action_at: None,
                    becomes: Some(Remade {
                        origin: Origin::Uploaded,
                        common_name: certificate.common_name.clone(),
                    }),
                    event,
                },
            )
            .await;
        match added {
            // Somebody deleted it in the meantime.
            Err(store::Error::NotFound) => return Err(super::not_found(reference)),
            added => added?,
        }
        self.find(principal, &CertificateRef::Id(certificate.id))
            .await
    }
}

/// Somebody deleted the caller's account in the meantime.
pub(crate) fn account_gone(principal: &Principal) -> Error {
    Error::not_found(Noun::Account, principal.account_name())
}

/// A common name as users write it, with any number of final dots; `None` if it is no DNS name.
#[must_use]
pub fn parse_common_name(text: &str) -> Option<DnsName> {
    DnsName::parse(text.trim_end_matches('.')).ok()
}

pub(super) fn fully_qualified(text: &str) -> Result<DnsName, Error> {
    let name = parse_common_name(text).ok_or(Error::NotFullyQualified)?;
    // Parsing forgives blanks around the name; users of this rule mean exactly what they send.
    if name.is_fully_qualified() && text.trim() == text {
        Ok(name)
    } else {
        Err(Error::NotFullyQualified)
    }
}

#[cfg(test)]
mod tests {
    use super::fully_qualified;

    #[test]
    fn common_names_lose_final_dots_and_upper_case() {
        for (given, kept) in [
            ("Example.COM.", "example.com"),
            ("example.com..", "example.com"),
            ("*.example.com", "*.example.com"),
        ] {
            assert_eq!(fully_qualified(given).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn names_that_are_not_fully_qualified_are_refused() {
        for bad in [
            "",
            ".",
            "localhost",
            "a..b",
            "-a.b",
            "a-.b",
            "a.*.b",
            "a_b.c",
            "10.0.0.1",
            "exämple.com",
            "a b.c",
            " a.b",
            "a.b\0",
            "*",
        ] {
            assert!(fully_qualified(bad).is_err(), "{bad:?}");
        }
    }
}
