//! Why a name has no certificate, or will get none: what was expected, what is there, and who has to
//! act.
//!
//! The same checks run before an order is spent, and live for people.

pub(crate) mod caa;
mod examiner;
mod finding;
mod issuance;
mod reach;
mod records;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use acme::client::{ChallengeKind, Login};
use store::{CertificateFilter, Order, Page, PageStart, Store};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::examiner::Subject;
use crate::issuers::{IssuerDetails, IssuerKind, Issuers};
use crate::{Error, Principal};

pub(crate) use examiner::Examiner;
pub use finding::{Actor, Finding, Verdict};

/// Checks under way at a time; whoever asks for more waits. Each asks around for some seconds, and
/// for names that the caller chooses.
const AT_A_TIME: usize = 16;

/// Most records that are told to be published for one certificate.
const MOST_RECORDS: usize = 10;
/// How long is looked for which they are.
const PATIENCE: Duration = Duration::from_secs(5);

/// A TXT record that is published once, and proves control over a name from then on
/// (draft-ietf-acme-dns-persist).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingRecord {
    /// Its name.
    pub name: String,
    /// Its text.
    pub value: String,
    /// What it proves: a domain or a wildcard.
    pub proves: String,
}

impl fmt::Display for StandingRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, .. } = self;
        write!(
            formatter,
            "publish the TXT record {name} with the text \"{value}\""
        )
    }
}

/// Live checks of names.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    store: Store,
    issuers: Issuers,
    examiner: Examiner,
    places: Arc<Semaphore>,
}

impl Diagnosis {
    pub(crate) fn new(store: Store, issuers: Issuers, examiner: Examiner) -> Self {
        Self {
            store,
            issuers,
            examiner,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Looks at everything that a certificate for `name` (a domain, a wildcard or an address) hangs
    /// on, as it is now. Takes some seconds.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that cannot be in a certificate; [`Error::Store`].
    pub async fn check(&self, principal: &Principal, name: &str) -> Result<Vec<Finding>, Error> {
        let subject = Subject::of(name, principal.account_id()).ok_or_else(|| {
            Error::invalid(
                "name",
                format!("'{name}' is neither a domain nor an IP address"),
            )
        })?;
        // Nobody closes it.
        let _place = self.places.acquire().await.map_err(Error::signing)?;
        let certificate = self.certificate(principal, &subject.name()).await?;
        let issuer = certificate.as_ref().and_then(|found| found.issuer.clone());
        let issuer = match issuer {
            Some(issuer) => issuer,
            None => self.issuers.default_of(principal.account_id()).await?,
        };
        let details = match self.issuers.show(principal, &issuer).await {
            Ok(details) => Some(details),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let account = principal.account_id();
        let login = self.issuers.login_of(account, &issuer).await?;
        let subject = known_to(subject, details.as_ref(), login.as_ref());
        let mut findings = issuance::issuer(&issuer, details.as_ref());
        findings.extend(self.examine(&subject, details.as_ref()).await?);
        findings.extend(certificate.as_ref().map(issuance::last_attempt));
        Ok(findings)
    }

    /// The records that the owner of a domain has to publish so that a certificate that has failed can
    /// be obtained, if nothing else would do; none while nothing has failed. Takes some seconds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn records_to_publish(
        &self,
        principal: &Principal,
        certificate: &store::Certificate,
    ) -> Result<Vec<StandingRecord>, Error> {
        let (Some(issuer), Some(_)) = (&certificate.issuer, &certificate.failure) else {
            return Ok(Vec::new());
        };
        let account = principal.account_id();
        let mut subjects = certificate.identifiers.iter();
        let is_needed = |subject: &Subject| self.examiner.need_of_records(subject) != Verdict::Ok;
        if !subjects.any(|name| Subject::of(name, account).is_some_and(|name| is_needed(&name))) {
            return Ok(Vec::new());
        }
        let looking = self.missing_records(principal, certificate, issuer);
        // Whoever looks at a certificate is told the rest in any case.
        timeout(PATIENCE, looking).await.unwrap_or(Ok(Vec::new()))
    }

    async fn missing_records(
        &self,
        principal: &Principal,
        certificate: &store::Certificate,
        issuer: &str,
    ) -> Result<Vec<StandingRecord>, Error> {
        let account = principal.account_id();
        let details = match self.issuers.show(principal, issuer).await {
            Ok(details) => details,
            Err(Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let login = self.issuers.login_of(account, issuer).await?;
        let mut missing = Vec::new();
        for name in &certificate.identifiers {
            let Some(subject) = Subject::of(name, account) else {
                continue;
            };
            let subject = known_to(subject, Some(&details), login.as_ref());
            missing.extend(self.examiner.missing_record(&subject).await?);
            if missing.len() == MOST_RECORDS {
                break;
            }
        }
        Ok(missing)
    }

    async fn examine(
        &self,
        subject: &Subject,
        details: Option<&IssuerDetails>,
    ) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        if !subject.is_wildcard {
            let (finding, addresses) = self.examiner.addresses(subject).await;
            findings.push(finding);
            if !addresses.is_empty() {
                let (examiner, account) = (&self.examiner, subject.account);
                findings.push(examiner.reach(account, &subject.host, &addresses).await);
                findings.extend(examiner.reach_each(account, &addresses).await);
            }
        }
        // A private authority asks for no proof.
        let is_private =
            details.is_some_and(|details| matches!(details.issuer.kind, IssuerKind::Authority));
        if is_private || subject.is_address {
            return Ok(findings);
        }
        let (coverage, publishable) = self.examiner.coverage(subject).await?;
        let mut methods = publishable;
        if !subject.is_wildcard {
            methods.extend([ChallengeKind::Http01, ChallengeKind::TlsAlpn01]);
        }
        findings.push(self.examiner.authorization(subject, &methods).await);
        let persistence = match coverage.verdict {
            Verdict::Problem => self.examiner.persistence(subject).await,
            _ => None,
        };
        findings.push(coverage);
        findings.extend(persistence);
        Ok(findings)
    }

    /// The newest certificate of the caller for this name.
    async fn certificate(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<Option<store::Certificate>, Error> {
        let filter = CertificateFilter {
            common_name: Some(name.to_owned()),
            ..CertificateFilter::default()
        };
        let page = Page {
            from: PageStart::Beginning,
            limit: 1,
            order: Order::Descending,
        };
        let scope = principal.scope();
        let found = self.store.list_certificates(scope, &filter, &page).await?;
        Ok(found.into_iter().next())
    }
}

/// The subject with what the directory says that would issue for it.
fn known_to(subject: Subject, details: Option<&IssuerDetails>, login: Option<&Login>) -> Subject {
    let Some(details) = details else {
        return subject;
    };
    if let (Some(Ok(info)), Some(login)) = (&details.directory, login) {
        return subject.at(info, login);
    }
    let identities = match &details.directory {
        Some(Ok(info)) => info.caa_identities.clone(),
        _ => Vec::new(),
    };
    let account_url = match &details.issuer.kind {
        IssuerKind::Directory(directory) => directory.account_url.clone(),
        IssuerKind::Authority => None,
    };
    Subject {
        identities,
        account_url,
        ..subject
    }
}
