//! What a certificate is served with: the bytes of its current version and its private key, read
//! with one query, because a node that serves a million certificates reads them all the time.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::ids::{CertificateId, PrivateKeyId};
use crate::seal::Purpose;
use crate::sql::Statement;
use crate::store::Store;
use crate::versions::{self, StoredChain, Version};

/// A version that can be served.
pub struct ServedVersion {
    /// The version.
    pub version: Version,
    /// The issuer of its certificate, by name.
    pub issuer: Option<String>,
    /// Its leaf and what was stored of its chain.
    pub chain: StoredChain,
    /// Its private key.
    pub key: ServedKey,
}

/// A private key as TLS libraries want it.
#[derive(Clone)]
pub struct ServedKey {
    /// The key, PKCS#8 DER.
    pub pkcs8: Zeroizing<Vec<u8>>,
    /// Whether it is an RSA key, which takes long to check.
    pub is_rsa: bool,
}

/// Shows nothing of the key but its kind.
impl fmt::Debug for ServedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServedKey")
            .field("is_rsa", &self.is_rsa)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The current version of a certificate of any account. `None` if there is no such certificate,
    /// it has no version, none with a stored key, or its version was revoked.
    ///
    /// # Errors
    ///
    /// [`Error::Seal`] as in [`Store::private_key`].
    pub async fn served_version(
        &self,
        certificate: CertificateId,
    ) -> Result<Option<ServedVersion>, Error> {
        let Some(mut row) = self.backend().row(served(certificate)).await? else {
            return Ok(None);
        };
        let version = versions::read(&mut row)?;
        let issuer = row.take()?;
        let chain = versions::read_chain(&mut row)?;
        let id: PrivateKeyId = row.take()?;
        let algorithm: String = row.take()?;
        let sealed: Vec<u8> = row.take()?;
        let pkcs8 = self
            .sealer()
            .open(Purpose::PrivateKey, id.as_uuid(), &sealed)?;
        Ok(Some(ServedVersion {
            version,
            issuer,
            chain,
            key: ServedKey {
                pkcs8,
                is_rsa: algorithm.starts_with("rsa"),
            },
        }))
    }
}

pub(crate) fn served(certificate: CertificateId) -> Statement {
    Statement::new(format!(
        "select {}, c.issuer, v.leaf, v.intermediates, k.id, k.algorithm, k.sealed \
         from certificates c join versions v on v.id = c.current_version_id \
         join private_keys k on k.id = v.private_key_id \
         where c.id = ? and v.revoked_at is null",
        versions::COLUMNS
    ))
    .bind(certificate)
}
