//! Whether a service has room for a certificate beside those that are installed on it.
//!
//! Only those count that somebody has installed, or has changed as if they were: what else serves a
//! domain of the service was requested by the house, or attached by other ways, and gives way.

use std::collections::HashSet;

use pki::DnsName;
use store::{Certificate, Domain, PAGE_LIMIT, ServiceId};

use super::changing::Outcome;
use super::names::ServerName;
use super::view::Installed;
use super::{InstallationKind, Installations};
use crate::{Error, Principal};

/// The kinds that cannot stand beside each other on one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    External,
    Standard,
    Wildcard,
}

impl Kind {
    pub(super) fn of(kind: InstallationKind, wildcard: bool) -> Self {
        match (kind, wildcard) {
            (InstallationKind::Uploaded, _) => Self::External,
            (InstallationKind::Issued, false) => Self::Standard,
            (InstallationKind::Issued, true) => Self::Wildcard,
        }
    }

    pub(super) fn of_installed(installed: &Installed) -> Self {
        Self::of(installed.kind(), installed.row.wildcard)
    }
}

/// Refuses a kind beside another one, and names that another installation has. What a change leaves
/// as it is gets passed over: `kind` is `None` then, and `names` are those that are new.
///
/// # Errors
/// [`Error::Unfit`].
pub(super) fn require_room<'a>(
    others: &[Installed],
    kind: Option<Kind>,
    names: impl IntoIterator<Item = &'a ServerName>,
) -> Result<(), Error> {
    let names: HashSet<&str> = names.into_iter().map(|name| name.name.as_str()).collect();
    for other in others.iter().filter(|other| other.is_written) {
        let reason = if kind.is_some_and(|kind| kind != Kind::of_installed(other)) {
            "it is of another kind".to_owned()
        } else {
            let same = other.row.server_names.iter().find(|name| {
                let name = DnsName::parse(name);
                name.is_ok_and(|name| names.contains(name.as_str()))
            });
            match same {
                Some(name) => format!("it is for {name}, too"),
                None => continue,
            }
        };
        let name = &other.certificate.name;
        return Err(Error::Unfit {
            reason: format!("SSL certificate already exists for this stack: {name}; {reason}"),
        });
    }
    Ok(())
}

impl Outcome {
    /// Whether what the certificate becomes is good for a name that it is served with.
    pub(super) fn keeps(&self, name: &DnsName) -> bool {
        match self {
            Self::Kept | Self::Renewed(_) => true,
            Self::Requested(names) => names.iter().any(|own| own.covers(name)),
            Self::Replaced(upload, _) => upload.leaf().is_some_and(|leaf| leaf.covers(name)),
        }
    }
}

impl Installations {
    /// Refuses to take a certificate from another service that is served with it, be it as an
    /// alternate, by a name for which it is not kept.
    ///
    /// # Errors
    /// [`Error::Unfit`] names the service.
    pub(super) async fn require_none_elsewhere(
        &self,
        principal: &Principal,
        service: ServiceId,
        certificate: &Certificate,
        is_kept: impl Fn(&DnsName) -> bool + Send,
    ) -> Result<(), Error> {
        let is_in_need = |domain: &&Domain| {
            domain.service_id != service
                && DnsName::parse(&domain.name).is_ok_and(|name| !is_kept(&name))
        };
        let mut last: Option<Domain> = None;
        loop {
            let page = self
                .store
                .domains_of_certificate(certificate.id, last.as_ref(), PAGE_LIMIT)
                .await?;
            if let Some(domain) = page.iter().find(is_in_need) {
                let user = self.store.service(principal.scope(), domain.service_id);
                let user = user.await?.map_or_else(
                    || domain.service_id.as_uuid().simple().to_string(),
                    |user| user.name,
                );
                return Err(Error::Unfit {
                    reason: format!(
                        "certificate '{}' is attached to the stack '{user}', too; remove it there \
                         first",
                        certificate.name
                    ),
                });
            }
            let is_last = page.len() < PAGE_LIMIT;
            last = page.into_iter().next_back();
            if is_last || last.is_none() {
                return Ok(());
            }
        }
    }
}
