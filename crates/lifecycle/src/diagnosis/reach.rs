//! Whether a name leads to this server's edge.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use egress::{EgressPolicy, FetchError, LookupError, Ports, Request, Response, Trust};
use store::{AccountId, Role};

use super::examiner::{Examiner, Subject};
use super::{Actor, Finding, Verdict};
use crate::{Error, Probe};

/// How long the edge may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// The answer is shorter than this; longer ones are somebody else's.
const BODY_LIMIT: usize = 1024;
/// As many as authorities follow.
const REDIRECTS: u8 = 10;
/// Addresses of one name that are tried one by one.
const MAX_ADDRESSES: usize = 8;
/// Addresses of the edge that are remembered for an account.
const REMEMBERED: usize = 16;
/// Those that are remembered for all accounts together.
const REMEMBERED_ALL: usize = 4096;

/// Addresses at which the edge was found, the latest first: for whoever has to correct a record.
///
/// Somebody else's server can pass a request on to the edge, so what one account has found is told to
/// no other.
#[derive(Debug, Clone, Default)]
pub(super) struct Landmarks(Arc<Mutex<VecDeque<(AccountId, IpAddr)>>>);

impl Landmarks {
    fn add(&self, account: AccountId, address: IpAddr) {
        let found = (account, address);
        // No code that can panic runs while the lock is held.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| *known != found);
        known.push_front(found);
        let mut left = REMEMBERED;
        known.retain(|(owner, _)| {
            if *owner != account {
                return true;
            }
            let is_kept = left > 0;
            left = left.saturating_sub(1);
            is_kept
        });
        known.truncate(REMEMBERED_ALL);
    }

    /// The addresses as text; `None` when there are none, or one of `others` is among them.
    fn beside(&self, account: AccountId, others: &[IpAddr]) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_account = known.iter().filter(|(owner, _)| *owner == account);
        let known: Vec<IpAddr> = of_account.map(|(_, address)| *address).collect();
        let is_among = known.iter().any(|address| others.contains(address));
        (!known.is_empty() && !is_among).then(|| list(&known))
    }
}

impl Examiner {
    /// The addresses of a name. None when there are none, or when nobody can tell.
    pub(super) async fn addresses(&self, subject: &Subject) -> (Finding, Vec<IpAddr>) {
        const CHECK: &str = "dns";
        let name = &subject.host;
        if let Ok(address) = name.parse::<IpAddr>() {
            let finding = Finding::ok(CHECK, format!("{name} is an address"), "it is");
            return (finding, vec![address]);
        }
        let expected = format!("{name} has an address (A or AAAA record)");
        let error = match self.resolver().addresses(name).await {
            Ok(addresses) => {
                let found = format!("it has {}", list(&addresses));
                return (Finding::ok(CHECK, expected, found), addresses);
            }
            Err(error) => error,
        };
        let known = self.landmarks.beside(subject.account, &[]);
        let at = known.unwrap_or_else(|| "this platform".to_owned());
        let (verdict, acts, remedy) = match &error {
            LookupError::NotFound { .. } => (
                Verdict::Problem,
                Actor::Owner,
                format!("add an A, AAAA or CNAME record for {name} that leads to {at}"),
            ),
            LookupError::Failed { .. } => (
                Verdict::Problem,
                Actor::Owner,
                format!(
                    "see that the name servers of {name} answer, and that its DNSSEC signatures \
                     and the DS record at the registrar belong together"
                ),
            ),
            LookupError::Unreachable { .. } | LookupError::Invalid { .. } => (
                Verdict::Warning,
                Actor::Platform,
                "see that the resolver of this server works (resolver, in its configuration)"
                    .to_owned(),
            ),
        };
        let found = error.to_string();
        let finding = Finding::amiss(CHECK, verdict, expected, found, (acts, remedy));
        (finding, Vec::new())
    }

    /// Whether the edge answers under a name with these addresses, as far as can be seen from here. A
    /// connection that does not come about is a warning only: behind some routers nobody reaches
    /// himself.
    pub(super) async fn reach(
        &self,
        account: AccountId,
        host: &str,
        addresses: &[IpAddr],
    ) -> Finding {
        let port = self.settings.acme.http_port;
        let expected = format!(
            "this server answers at port {port} of {host} ({})",
            list(addresses)
        );
        let policy = match self.probing_policy(account).await {
            Ok(Some(policy)) => policy,
            Ok(None) => return Finding::ok(CHECK_REACH, expected, "it was not looked for"),
            Err(error) => return unknown(expected, error.to_string()),
        };
        let token = match self.answers.probe_token() {
            Ok(token) => token,
            Err(error) => return unknown(expected, error.to_string()),
        };
        let answer = match self.answers.probe_answer(&token).await {
            Ok(answer) => answer,
            Err(error) => return unknown(expected, error.to_string()),
        };
        let authority = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        // Where the name led a moment ago does not count.
        let close = http::HeaderValue::from_static("close");
        let headers = http::HeaderMap::from_iter([(http::header::CONNECTION, close)]);
        let request = Request {
            method: http::Method::GET,
            url: format!("http://{authority}/.well-known/acme-challenge/{token}"),
            headers,
            body: bytes::Bytes::new(),
            policy,
            ports: Ports::Any,
            trust: Trust::System,
            deadline: DEADLINE,
            body_limit: BODY_LIMIT,
            redirects: REDIRECTS,
        };
        match self.surroundings.network().fetch.fetch(request).await {
            Ok(response) if is_ours(&response, &answer) => {
                // Of several, it is not known which one has answered.
                if let [address] = addresses {
                    self.landmarks.add(account, *address);
                }
                Finding::ok(CHECK_REACH, expected, "it does")
            }
            Ok(response) => {
                let status = response.status.as_u16();
                let found = format!("another server answers, with status {status}");
                self.elsewhere((account, host), addresses, expected, found)
            }
            Err(FetchError::TooLarge { .. }) => {
                let found = "another server answers, at length".to_owned();
                self.elsewhere((account, host), addresses, expected, found)
            }
            Err(error) => self.unreached((account, host), addresses, expected, &error),
        }
    }

    /// Whether the edge answers at each of several addresses: authorities take any of them, and IPv6
    /// first.
    pub(super) async fn reach_each(
        &self,
        account: AccountId,
        addresses: &[IpAddr],
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if addresses.len() < 2 {
            return findings;
        }
        for address in addresses.iter().take(MAX_ADDRESSES) {
            findings.push(self.reach(account, &address.to_string(), &[*address]).await);
        }
        findings
    }

    /// What is connected to for an account; `None` when nobody looks. The name is the account's to
    /// choose, and so is where it leads.
    async fn probing_policy(&self, account: AccountId) -> Result<Option<EgressPolicy>, Error> {
        let policy = match self.settings.acme.probe {
            Probe::Public => return Ok(Some(EgressPolicy::PUBLIC)),
            Probe::Any => EgressPolicy::BACKENDS,
            Probe::Off => return Ok(None),
        };
        let found = self.store.account(account).await?;
        let is_administrator = found.is_some_and(|account| account.role == Role::Admin);
        Ok(Some(policy.for_account(is_administrator)))
    }

    fn elsewhere(
        &self,
        (account, name): (AccountId, &str),
        addresses: &[IpAddr],
        expected: String,
        found: String,
    ) -> Finding {
        let remedy = match self.landmarks.beside(account, addresses) {
            Some(known) => format!("let the DNS records of {name} lead to {known}"),
            None => format!(
                "let the DNS records of {name} lead to this platform; a proxy in between has to pass \
                 /.well-known/acme-challenge/ on to it"
            ),
        };
        let advice = (Actor::Owner, remedy);
        Finding::amiss(CHECK_REACH, Verdict::Problem, expected, found, advice)
    }

    fn unreached(
        &self,
        (account, name): (AccountId, &str),
        addresses: &[IpAddr],
        expected: String,
        error: &FetchError,
    ) -> Finding {
        let port = self.settings.acme.http_port;
        let (acts, remedy) = match (error, self.landmarks.beside(account, addresses)) {
            (FetchError::Forbidden { .. }, _) if self.settings.acme.probe == Probe::Any => (
                Actor::Platform,
                "it is not looked for there; if the directory reaches it, nothing is to be done"
                    .to_owned(),
            ),
            (FetchError::Forbidden { .. }, _) => (
                Actor::Platform,
                "authorities on the internet cannot reach it; set [acme] probe = \"any\" if the \
                 directory is in the same network"
                    .to_owned(),
            ),
            (FetchError::Tls { .. }, _) => (
                Actor::Owner,
                format!(
                    "the server at port {port} sends its clients to https; see that the edge \
                         answers there, or let /.well-known/acme-challenge/ through without"
                ),
            ),
            (_, Some(known)) => (
                Actor::Owner,
                format!("let the DNS records of {name} lead to {known}"),
            ),
            (_, None) => (
                Actor::Platform,
                format!(
                    "let port {port} of {} through to the edge; if only this server cannot reach \
                     itself there, nothing is to be done",
                    list(addresses)
                ),
            ),
        };
        let found = error.to_string();
        let advice = (acts, remedy);
        Finding::amiss(CHECK_REACH, Verdict::Warning, expected, found, advice)
    }
}

const CHECK_REACH: &str = "http";

fn is_ours(response: &Response, answer: &str) -> bool {
    response.status == http::StatusCode::OK && response.body == answer.as_bytes()
}

fn unknown(expected: String, found: String) -> Finding {
    let advice = (Actor::Platform, "try again".to_owned());
    Finding::amiss(CHECK_REACH, Verdict::Warning, expected, found, advice)
}

fn list(addresses: &[IpAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_account_found_the_edge_is_told_to_no_other() {
        let landmarks = Landmarks::default();
        let (one, other) = (
            AccountId::from_random([1; 16]),
            AccountId::from_random([2; 16]),
        );
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        landmarks.add(one, address(1));
        landmarks.add(other, address(2));
        assert_eq!(landmarks.beside(one, &[]), Some("192.0.2.1".to_owned()));
        assert_eq!(landmarks.beside(other, &[]), Some("192.0.2.2".to_owned()));
        assert_eq!(landmarks.beside(one, &[address(1)]), None);
        for last in 0..=255 {
            landmarks.add(other, address(last));
        }
        let of_other = landmarks.beside(other, &[]).unwrap();
        assert_eq!(of_other.split(", ").count(), REMEMBERED);
        assert!(
            of_other.starts_with("192.0.2.255, 192.0.2.254, "),
            "{of_other}"
        );
        assert_eq!(landmarks.beside(one, &[]), Some("192.0.2.1".to_owned()));
    }
}
