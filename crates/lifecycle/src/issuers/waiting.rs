//! Which limit is in the way of a certificate, and when the next place is free: for people who ask for
//! it now, and for those who wait.

use std::time::Duration;

use store::{Certificate, State};
use time::OffsetDateTime;
use tokio::time::timeout;

use super::{Directory, Issuer, Issuers};
use crate::Error;
use crate::schedule::{Demand, Limits, Purpose, Reason, Urgency, Verdict};

/// What a text begins with that tells what a name waits for.
pub(crate) const WAITING: &str = "waiting for ";
/// How long a directory may take to say whether it counts renewals.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a certificate is not ordered now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The directory that takes it first.
    pub issuer: String,
    /// The limit in its way there.
    pub limit: Reason,
    /// When the next place is free.
    pub until: OffsetDateTime,
    /// All that in words.
    pub reason: String,
}

impl Issuers {
    /// What keeps a certificate from being ordered at `now`; `None` if nothing does, or it is being
    /// ordered already. Nothing is taken of any limit.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn wait_of(&self, certificate: &Certificate) -> Result<Option<Wait>, Error> {
        let account = certificate.account_id;
        let Some(name) = &certificate.issuer else {
            return Ok(None);
        };
        let named = match self.resolve(account, name).await {
            Ok(Issuer::Directory(directory)) => *directory,
            Ok(Issuer::Authority) | Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.store.order(certificate.id).await?.is_some() {
            return Ok(None);
        }
        let mut first: Option<Wait> = None;
        for directory in self.candidates(account, named).await? {
            let Some(wait) = self.wait_at(certificate, &directory).await? else {
                return Ok(None);
            };
            if first.as_ref().is_none_or(|first| wait.until < first.until) {
                first = Some(wait);
            }
        }
        Ok(first)
    }

    async fn wait_at(
        &self,
        certificate: &Certificate,
        directory: &Directory,
    ) -> Result<Option<Wait>, Error> {
        let now = self.surroundings.now();
        let renewed = match certificate.state {
            State::Valid => certificate.current.as_ref(),
            _ => None,
        };
        let is_of_directory = renewed.is_some_and(|it| it.directory_id == Some(directory.row.id));
        let account = certificate.account_id.to_string();
        let purpose = Purpose {
            identifiers: &certificate.identifiers,
            account: directory.is_shared().then_some(account.as_str()),
            urgency: renewed.map_or(Urgency::First, |version| {
                Urgency::of_renewal(version.not_before, version.not_after, None, now)
            }),
            is_replacement: is_of_directory && self.knows_replacing(directory).await,
            since: renewed.map_or(certificate.created_at, |_| now),
        };
        let demand = Demand::new(&directory.limits, purpose);
        let levels = self.store.levels(directory.row.id, demand.buckets());
        match demand.decide(&levels.await?, now, 0).verdict {
            Verdict::Admitted => Ok(None),
            Verdict::Denied { at, by } => Ok(Some(Wait {
                issuer: directory.row.name.clone(),
                limit: by,
                until: at,
                reason: waiting_for(directory, by, at),
            })),
        }
    }

    /// Whether a directory counts renewals that say what they replace towards nothing.
    async fn knows_replacing(&self, directory: &Directory) -> bool {
        let (client, endpoint) = (
            &self.surroundings.network().directories,
            directory.endpoint(),
        );
        let said = timeout(PATIENCE, client.directory(&endpoint)).await;
        said.is_ok_and(|said| said.is_ok_and(|info| info.has_renewal_info))
    }
}

/// What a certificate waits for at a directory.
pub(crate) fn waiting_for(directory: &Directory, by: Reason, until: OffsetDateTime) -> String {
    let (name, limits) = (&directory.row.name, &directory.limits);
    let limit = match by {
        Reason::Refused => "it takes no orders now",
        Reason::Orders => "the limit of orders is reached",
        Reason::Share => "the account's share of its orders is used up",
        Reason::Domain => "the limit of certificates for the registered domain is reached",
        Reason::Duplicates => "the limit of certificates for exactly these names is reached",
        Reason::Failures => "the limit of failed validations of the name is reached",
    };
    let size = size(limits, by).map_or_else(String::new, |size| format!(" ({size})"));
    format!(
        "{WAITING}{name}: {limit}{size}; ordered at {}",
        moment(until)
    )
}

/// How great a limit is.
fn size(limits: &Limits, by: Reason) -> Option<String> {
    let limit = match by {
        Reason::Refused => None,
        Reason::Share => return Some(format!("{} %", limits.share)),
        Reason::Orders => limits.orders,
        Reason::Domain => limits.domain,
        Reason::Duplicates => limits.duplicates,
        Reason::Failures => limits.failures,
    };
    limit.map(|limit| limit.to_string())
}

/// A moment as people read it.
pub(crate) fn moment(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    at.format(format).unwrap_or_default()
}
