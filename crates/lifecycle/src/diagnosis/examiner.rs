//! The checks themselves, for orders and for people.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use acme::client::{ChallengeKind, DirectoryInfo, Login};
use egress::Resolver;
use pki::Identifier;
use store::{AccountId, Role, Scope, Store};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::reach::Landmarks;
use super::{Finding, Verdict};
use crate::accounts::HOUSE_ACCOUNT;
use crate::challenges::{Answers, Assignment, ChallengeError, Circumstances, records};
use crate::schedule::registered_domain;
use crate::zones::DnsProviders;
use crate::{Error, Settings, Surroundings};

/// How long an order waits for the checks before it.
const PREFLIGHT: Duration = Duration::from_secs(15);
/// Names that are looked at together.
const AT_A_TIME: usize = 8;

/// Who looks.
#[derive(Debug, Clone)]
pub(crate) struct Examiner {
    pub(super) store: Store,
    pub(super) surroundings: Surroundings,
    pub(super) settings: Arc<Settings>,
    pub(super) answers: Answers,
    pub(super) providers: DnsProviders,
    pub(super) landmarks: Landmarks,
}

/// A name, and for whom a certificate for it is to be had from whom.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) account: AccountId,
    /// A domain without `*.`, or an address.
    pub(super) host: String,
    pub(super) is_wildcard: bool,
    pub(super) is_address: bool,
    /// Names of the authority in CAA records.
    pub(super) identities: Vec<String>,
    /// The account with the directory.
    pub(super) account_url: Option<String>,
    /// Names of the authority in records that stay.
    pub(super) persistent_issuers: Vec<String>,
    /// What the account goes by in them.
    pub(super) persistent_uri: Option<String>,
}

impl Subject {
    /// The same with what a directory says of itself, where we have an account.
    pub(super) fn at(self, info: &DirectoryInfo, login: &Login) -> Self {
        let issuers = match info.persistent_issuers.as_slice() {
            [] => &info.caa_identities,
            issuers => issuers,
        };
        Self {
            identities: info.caa_identities.clone(),
            account_url: Some(login.account_url.clone()),
            persistent_issuers: issuers.to_vec(),
            persistent_uri: records::account_uri(info, login, &self.host).ok(),
            ..self
        }
    }

    /// The name as people write it.
    pub(super) fn name(&self) -> String {
        if self.is_wildcard {
            format!("*.{}", self.host)
        } else {
            self.host.clone()
        }
    }

    /// What is to be proven for `name`; `None` for what cannot be in a certificate.
    pub(super) fn of(name: &str, account: AccountId) -> Option<Self> {
        let (host, is_wildcard, is_address) = match Identifier::parse_host(name).ok()? {
            Identifier::Dns(name) => match name.as_str().strip_prefix("*.") {
                Some(host) => (host.to_owned(), true, false),
                None => (name.to_string(), false, false),
            },
            Identifier::Ip(address) => (address.to_string(), false, true),
            Identifier::Email(_) => return None,
        };
        Some(Self {
            account,
            host,
            is_wildcard,
            is_address,
            identities: Vec::new(),
            account_url: None,
            persistent_issuers: Vec::new(),
            persistent_uri: None,
        })
    }
}

impl Examiner {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        settings: Arc<Settings>,
        answers: Answers,
        providers: DnsProviders,
    ) -> Self {
        Self {
            store,
            surroundings,
            settings,
            answers,
            providers,
            landmarks: Landmarks::default(),
        }
    }

    /// Looks for what an order would fail of. What cannot be told, and what may look different from
    /// elsewhere, is passed.
    ///
    /// # Errors
    /// [`ChallengeError::Misconfigured`], [`ChallengeError::NotProvable`].
    pub(crate) async fn preflight(
        &self,
        assignment: &Assignment<'_>,
    ) -> Result<(), ChallengeError> {
        let certificate = assignment.certificate;
        self.check_ownership(certificate.account_id, &certificate.identifiers)
            .await?;
        let subjects = certificate.identifiers.iter().filter_map(|name| {
            let subject = Subject::of(name, certificate.account_id)?;
            Some(subject.at(assignment.info, assignment.login))
        });
        let subjects: Vec<Subject> = subjects.collect();
        let looking = self.preflight_all(subjects, certificate.attempt);
        match timeout(PREFLIGHT, looking).await {
            Ok(looked) => looked,
            // Whoever is that slow is not known to be wrong.
            Err(_) => Ok(()),
        }
    }

    async fn preflight_all(
        &self,
        subjects: Vec<Subject>,
        failed: u8,
    ) -> Result<(), ChallengeError> {
        let mut subjects = subjects.into_iter().peekable();
        while subjects.peek().is_some() {
            let mut looking = JoinSet::new();
            for subject in subjects.by_ref().take(AT_A_TIME) {
                let examiner = self.clone();
                looking.spawn(async move { examiner.preflight_one(&subject, failed).await });
            }
            while let Some(looked) = looking.join_next().await {
                looked.map_err(Error::signing)??;
            }
        }
        Ok(())
    }

    async fn preflight_one(&self, subject: &Subject, failed: u8) -> Result<(), ChallengeError> {
        let (coverage, publishable) = self.coverage(subject).await?;
        let circumstances = Circumstances {
            allowed: &self.settings.acme.challenges,
            failed,
            is_wildcard: subject.is_wildcard,
            is_address: subject.is_address,
            publishable: &publishable,
            persists: self.may_persist(subject).await,
        };
        let usable = circumstances.usable();
        let turn = usize::from(failed).checked_rem(usable.len());
        let Some(first) = turn.and_then(|turn| usable.get(turn)) else {
            let reason = if coverage.verdict == Verdict::Ok {
                "none of [acme] challenges suits it; allow http-01 or tls-alpn-01".to_owned()
            } else {
                let record = self
                    .persistent_record(subject)
                    .map_or_else(String::new, |record| {
                        format!(", or {record}, if the directory offers dns-persist-01")
                    });
                format!("{}; {}{record}", coverage.found, coverage.remedy)
            };
            return Err(ChallengeError::NotProvable {
                name: subject.name(),
                reason,
            });
        };
        let methods: Vec<ChallengeKind> = usable.iter().map(|kind| (*kind).clone()).collect();
        let mut findings = vec![self.authorization(subject, &methods).await];
        if matches!(first, ChallengeKind::Http01 | ChallengeKind::TlsAlpn01) {
            let (finding, addresses) = self.addresses(subject).await;
            findings.push(finding);
            if **first == ChallengeKind::Http01 && !addresses.is_empty() {
                findings.push(self.reach(subject.account, &subject.host, &addresses).await);
            }
        }
        let problem = findings
            .iter()
            .find(|finding| finding.verdict == Verdict::Problem);
        match problem {
            None => Ok(()),
            Some(finding) => Err(ChallengeError::Misconfigured {
                reason: finding.sentence(&subject.name()),
            }),
        }
    }

    /// Nobody gets a certificate for what another account serves: a name that it has, a name that its
    /// wildcard covers and the account does not serve itself, or a wildcard over its names. The last
    /// is for those only who own the names above, the house and its administrators.
    async fn check_ownership(
        &self,
        account: AccountId,
        names: &[String],
    ) -> Result<(), ChallengeError> {
        let wildcards: Vec<Option<String>> = names.iter().map(|name| wildcard_over(name)).collect();
        let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        wanted.extend(wildcards.iter().flatten().map(String::as_str));
        let domains = self.store.domains_named(Scope::Everything, &wanted).await?;
        let owner = |name: &str| {
            let mut domains = domains.iter();
            let domain = domains.find(|domain| domain.name == name);
            domain.map(|domain| domain.account_id)
        };
        let mut is_house = None;
        for (name, wildcard) in names.iter().zip(&wildcards) {
            let above = wildcard.as_deref().and_then(owner);
            let foreign = match (owner(name), above) {
                (Some(owner), _) => (owner != account).then(|| name.clone()),
                (None, Some(owner)) if owner != account => wildcard.clone(),
                _ => None,
            };
            if let Some(foreign) = foreign {
                return Err(taken(name, &foreign));
            }
            let Some(parent) = name.strip_prefix("*.") else {
                continue;
            };
            let under = self.store.foreign_domain_under(account, parent).await?;
            let Some(under) = under else {
                continue;
            };
            let is_house = match is_house {
                Some(is_house) => is_house,
                None => *is_house.insert(self.is_house(account).await?),
            };
            if !is_house {
                return Err(taken(name, &under.name));
            }
        }
        Ok(())
    }

    /// Whether an account is the house's own or an administrator's.
    async fn is_house(&self, account: AccountId) -> Result<bool, ChallengeError> {
        let account = self.store.account(account).await?;
        Ok(account
            .is_some_and(|account| account.role == Role::Admin || account.name == HOUSE_ACCOUNT))
    }

    pub(super) fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.surroundings.network().resolver
    }
}

/// The wildcard that covers a name. There is none over a whole public suffix: whoever has such a domain
/// owns nothing under it.
fn wildcard_over(name: &str) -> Option<String> {
    if name.starts_with("*.") || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    let (_, parent) = name.split_once('.')?;
    (registered_domain(name) != name).then(|| format!("*.{parent}"))
}

fn taken(name: &str, foreign: &str) -> ChallengeError {
    let what = if name == foreign {
        "this domain".to_owned()
    } else {
        format!("the domain '{foreign}'")
    };
    ChallengeError::NotProvable {
        name: name.to_owned(),
        reason: format!("a service of another account has {what}; remove it there first"),
    }
}

/// A finding of a check that does not concern addresses.
pub(super) fn not_for_addresses(check: &'static str) -> Finding {
    Finding::ok(
        check,
        "DNS records do not matter to an address",
        "it is an address",
    )
}
