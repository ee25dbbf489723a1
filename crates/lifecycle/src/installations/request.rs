//! What callers ask of installations.

use store::{DnsProviderId, Origin};
use zeroize::Zeroizing;

use crate::certificates::Upload;
use crate::{Error, off_the_reactor};

/// How the certificate of an installation comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallationKind {
    /// By an issuer, which renews it.
    Issued,
    /// Somebody brought it along.
    Uploaded,
}

impl From<Origin> for InstallationKind {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Issued => Self::Issued,
            Origin::SelfSigned | Origin::Uploaded => Self::Uploaded,
        }
    }
}

/// What an installation is to be; what is `None` stays as it is, or has its usual value.
#[derive(Clone, Default)]
pub struct InstallationRequest {
    /// How its certificate comes to be; has to be said of a new one.
    pub kind: Option<InstallationKind>,
    /// The names that it is for, separated by commas. Empty is as good as nothing, except that the
    /// names of a new pair are taken from it.
    pub server_names: Option<String>,
    /// Whether TLS ends before the workloads; usually it does.
    pub ssl_termination: Option<bool>,
    /// Whether the names below each name are to be covered, too; usually not.
    pub wildcard: Option<bool>,
    /// What writes the records that prove control over the names.
    pub dns_provider: Option<DnsProviderId>,
    /// PEM of the leaf, perhaps with what stands above it.
    pub certificate: Option<Zeroizing<String>>,
    /// PEM of the leaf's key, not encrypted.
    pub key: Option<Zeroizing<String>>,
    /// PEM of what stands above the leaf.
    pub intermediates: Option<Zeroizing<String>>,
}

/// Shows nothing of the key.
impl std::fmt::Debug for InstallationRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("InstallationRequest")
            .field("kind", &self.kind)
            .field("server_names", &self.server_names)
            .field("wildcard", &self.wildcard)
            .finish_non_exhaustive()
    }
}

impl InstallationRequest {
    /// Whether it brings anything of a pair.
    pub(super) fn brings_material(&self) -> bool {
        self.certificate.is_some() || self.key.is_some() || self.intermediates.is_some()
    }

    /// The pair of a certificate that was not brought along before.
    ///
    /// # Errors
    /// As [`pair`]; [`Error::Invalid`] when a half of it is missing.
    pub(super) async fn whole_pair(&self, name: Option<String>) -> Result<Upload, Error> {
        let missing = |field| Error::invalid(field, "a certificate that is brought along needs it");
        let certificate = self
            .certificate
            .clone()
            .ok_or_else(|| missing("certificate"))?;
        let key = self.key.clone().ok_or_else(|| missing("key"))?;
        pair(name, certificate, key, self.intermediates.clone()).await
    }
}

/// Reads a pair. The leaf is the first certificate.
///
/// # Errors
/// [`Error::Invalid`] names the field at fault; [`Error::KeyMismatch`].
pub(super) async fn pair(
    name: Option<String>,
    certificate: Zeroizing<String>,
    key: Zeroizing<String>,
    intermediates: Option<Zeroizing<String>>,
) -> Result<Upload, Error> {
    let work = move || {
        let above = intermediates.as_ref().map_or("", |text| text.as_str());
        let upload = Upload::parse(
            name,
            None,
            &format!("{}\n{above}", certificate.as_str()),
            &key,
        )
        .map_err(renamed)?;
        let first = pki::read_certificates(certificate.as_bytes());
        let first = first.map_err(|error| Error::invalid("certificate", error.to_string()))?;
        if first.first() != upload.leaf() {
            return Err(Error::KeyMismatch);
        }
        Ok(upload)
    };
    off_the_reactor(work).await.map_err(Error::signing)?
}

/// The same fault in the words of installations.
fn renamed(error: Error) -> Error {
    let Error::Invalid { field, reason } = error else {
        return error;
    };
    let field = match field {
        "pkey" => "key",
        "chain" | "cn" => "certificate",
        other => other,
    };
    Error::Invalid { field, reason }
}
