//! Looking for the token where control over a name is to be proven.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use egress::{EgressPolicy, FetchError, LookupError, Ports, Request, Trust};
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use pki::Identifier;
use store::AccountId;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::places::Places;
use super::requirement::ProofKind;
use crate::settings::{Patience, ValidationSettings};
use crate::{Error, Network};

/// Names of one order that are looked at at the same time.
const AT_A_TIME: usize = 10;
/// Longest answer of a web server that is read, in octets.
const LONGEST_ANSWER: usize = 1024;
/// Redirects that are followed.
const REDIRECTS: u8 = 5;
/// Where the token is on a web server.
const FOLDER: &str = "/.well-known/certmaker-challenge";
/// What clients put before a name in DNS, and what the first server looked for.
const RECORDS: [&str; 2] = ["_certmaker_challenge", "__certmaker_challenge"];
/// The port of a web server when nobody names one.
const HTTP_PORT: u16 = 80;

/// How a proof is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// At the web server of each name.
    Http {
        /// Its port; 0 for the usual one.
        port: u16,
    },
    /// The same as the first generation of servers did: by an older path first, and then over TLS.
    Located {
        /// Its port; 0 for the usual one.
        port: u16,
    },
    /// In the zone of each name.
    Dns,
}

impl Way {
    /// The kind of challenge that is met so.
    #[must_use]
    pub const fn kind(self) -> ProofKind {
        match self {
            Self::Http { .. } | Self::Located { .. } => ProofKind::Http01,
            Self::Dns => ProofKind::Dns01,
        }
    }

    /// The same way with the usual port named.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a port where no web server of everybody is.
    pub(super) fn checked(self) -> Result<Self, Error> {
        let check = |port: u16| match port {
            0 => Ok(HTTP_PORT),
            port if Ports::Web.contain(port) => Ok(port),
            port => Err(Error::invalid(
                "challenge_port",
                format!("port {port} is not 80, 443 or 1024 to 65535"),
            )),
        };
        Ok(match self {
            Self::Http { port } => Self::Http { port: check(port)? },
            Self::Located { port } => Self::Located { port: check(port)? },
            Self::Dns => Self::Dns,
        })
    }

    /// Where it is looked for a proof of control over `identifier`, as a host.
    fn target(self, identifier: &Identifier) -> String {
        match (self, identifier) {
            (Self::Dns, Identifier::Dns(name)) => name.without_wildcard().to_owned(),
            (_, Identifier::Ip(IpAddr::V6(address))) => format!("[{address}]"),
            _ => identifier.to_string(),
        }
    }

    /// The URLs of the token, the most likely one first.
    fn urls(self, host: &str) -> Vec<String> {
        let url = |scheme: &str, port: u16, file: &str| {
            let usual = if scheme == "https" { 443 } else { HTTP_PORT };
            let place = if port == usual {
                host.to_owned()
            } else {
                format!("{host}:{port}")
            };
            format!("{scheme}://{place}{FOLDER}/{file}")
        };
        match self {
            Self::Http { port } => vec![url("http", port, "token")],
            Self::Located { port } => [
                ("http", "token.txt"),
                ("http", "token"),
                ("https", "token.txt"),
                ("https", "token"),
            ]
            .map(|(scheme, file)| url(scheme, port, file))
            .to_vec(),
            Self::Dns => Vec::new(),
        }
    }
}

/// Why there is no proof. Nobody outside learns more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It must not be looked there.
    Forbidden,
    /// There is no answer.
    NoAnswer,
    /// There is an answer, but not the token.
    WrongAnswer,
}

/// Looks for proofs.
#[derive(Debug, Clone)]
pub(super) struct Prover {
    network: Network,
    policy: EgressPolicy,
    patience: Patience,
    places: Arc<Places>,
}

impl Prover {
    pub(super) fn new(network: &Network, settings: &ValidationSettings) -> Self {
        Self {
            network: network.clone(),
            policy: EgressPolicy {
                private: true,
                loopback: settings.allow_local_targets,
            },
            patience: settings.patience,
            places: Arc::default(),
        }
    }

    /// Looks for `token` at all of `identifiers`; one outcome for each, in their order, within the
    /// patience of all.
    pub(super) async fn prove(
        &self,
        account: AccountId,
        token: &str,
        way: Way,
        identifiers: &[Identifier],
    ) -> Vec<Result<(), Failure>> {
        let targets: Vec<String> = identifiers.iter().map(|name| way.target(name)).collect();
        let mut distinct = targets.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let workers_wanted = distinct.len().min(AT_A_TIME);
        let run = Arc::new(Run {
            waiting: Mutex::new(distinct.into()),
            outcomes: Mutex::default(),
        });
        let token: Arc<str> = token.into();
        let mut workers = JoinSet::new();
        for _ in 0..workers_wanted {
            let (prover, run, token) = (self.clone(), run.clone(), token.clone());
            workers.spawn(async move {
                while let Some(target) = run.next() {
                    let outcome = prover.prove_one(account, &token, way, &target).await;
                    run.settle(target, outcome);
                }
            });
        }
        let all = async { while workers.join_next().await.is_some() {} };
        // What is not settled by then is not proven; dropping the workers ends them.
        let _ = timeout(self.patience.total, all).await;
        drop(workers);
        let outcomes = run.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = |target: &String| outcomes.get(target).copied();
        let outcomes = targets.iter().map(outcome);
        outcomes
            .map(|outcome| outcome.unwrap_or(Err(Failure::NoAnswer)))
            .collect()
    }

    async fn prove_one(
        &self,
        account: AccountId,
        token: &str,
        way: Way,
        target: &str,
    ) -> Result<(), Failure> {
        let mut failure = Failure::NoAnswer;
        for attempt in 0..self.patience.attempts {
            if attempt > 0 {
                sleep(self.patience.pause).await;
            }
            let Ok(_place) = self.places.take(account).await else {
                return Err(Failure::NoAnswer);
            };
            let asked = timeout(self.patience.attempt, self.ask(token, way, target)).await;
            failure = match asked.unwrap_or(Err(Failure::NoAnswer)) {
                Ok(()) => return Ok(()),
                // It will not be allowed the next time.
                Err(Failure::Forbidden) => return Err(Failure::Forbidden),
                Err(failure) => failure,
            };
        }
        Err(failure)
    }

    async fn ask(&self, token: &str, way: Way, target: &str) -> Result<(), Failure> {
        if way == Way::Dns {
            return self.ask_dns(token, target).await;
        }
        let mut failure = Failure::Forbidden;
        for url in way.urls(target) {
            match self.ask_web(token, url).await {
                Ok(()) => return Ok(()),
                Err(other) => failure = worse(failure, other),
            }
        }
        Err(failure)
    }

    async fn ask_web(&self, token: &str, url: String) -> Result<(), Failure> {
        // A connection of its own: it goes where the name leads now.
        let close = (CONNECTION, HeaderValue::from_static("close"));
        let request = Request {
            method: Method::GET,
            url,
            headers: HeaderMap::from_iter([close]),
            body: Bytes::new(),
            policy: self.policy,
            ports: Ports::Web,
            // What is looked for is the token; who has no certificate yet cannot show a good one.
            trust: Trust::Anyone,
            deadline: self.patience.attempt,
            body_limit: LONGEST_ANSWER,
            redirects: REDIRECTS,
        };
        match self.network.proof_fetch.fetch(request).await {
            Ok(answer) if answer.status == StatusCode::OK && is_token(&answer.body, token) => {
                Ok(())
            }
            Ok(_) => Err(Failure::WrongAnswer),
            Err(FetchError::Forbidden { .. } | FetchError::Invalid { .. }) => {
                Err(Failure::Forbidden)
            }
            Err(_) => Err(Failure::NoAnswer),
        }
    }

    async fn ask_dns(&self, token: &str, target: &str) -> Result<(), Failure> {
        let resolver = &self.network.proof_resolver;
        let [own, first] = RECORDS.map(|record| format!("{record}.{target}"));
        let (own, first) = tokio::join!(resolver.text(&own), resolver.text(&first));
        let has_token = |texts: &Result<Vec<String>, LookupError>| {
            texts.iter().flatten().any(|text| text == token)
        };
        let is_answer = |texts: &Result<Vec<String>, LookupError>| {
            matches!(texts, Ok(_) | Err(LookupError::NotFound { .. }))
        };
        if has_token(&own) || has_token(&first) {
            Ok(())
        } else if is_answer(&own) || is_answer(&first) {
            Err(Failure::WrongAnswer)
        } else {
            Err(Failure::NoAnswer)
        }
    }
}

/// The targets of one run that wait, and what became of the others.
struct Run {
    waiting: Mutex<VecDeque<String>>,
    outcomes: Mutex<HashMap<String, Result<(), Failure>>>,
}

impl Run {
    fn next(&self) -> Option<String> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    }

    fn settle(&self, target: String, outcome: Result<(), Failure>) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.insert(target, outcome);
    }
}

/// Of two failures the one that says more.
const fn worse(one: Failure, other: Failure) -> Failure {
    match (one, other) {
        (Failure::WrongAnswer, _) | (_, Failure::WrongAnswer) => Failure::WrongAnswer,
        (Failure::NoAnswer, _) | (_, Failure::NoAnswer) => Failure::NoAnswer,
        (Failure::Forbidden, Failure::Forbidden) => Failure::Forbidden,
    }
}

/// Whether a file holds the token, perhaps as a line.
fn is_token(body: &[u8], token: &str) -> bool {
    let line = body.strip_suffix(b"\n").unwrap_or(body);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line == token.as_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn identifier(text: &str) -> Identifier {
        Identifier::parse_host(text).unwrap()
    }

    #[test]
    fn a_file_with_one_end_of_line_holds_the_token() {
        for body in ["abc", "abc\n", "abc\r\n", "abc\r"] {
            assert!(is_token(body.as_bytes(), "abc"), "{body:?}");
        }
        for body in [
            "", "ab", "abcd", " abc", "abc ", "abc\n\n", "\nabc", "ABC", "abc\0",
        ] {
            assert!(!is_token(body.as_bytes(), "abc"), "{body:?}");
        }
    }

    #[test]
    fn ports_of_web_servers_are_asked_and_no_others() {
        for port in [80, 443, 1024, 65535] {
            assert!(Way::Http { port }.checked().is_ok(), "{port}");
        }
        for port in [1, 22, 25, 79, 81, 442, 444, 1023] {
            assert!(Way::Http { port }.checked().is_err(), "{port}");
            assert!(Way::Located { port }.checked().is_err(), "{port}");
        }
        let usual = Way::Http { port: 0 }.checked().unwrap();
        assert_eq!(usual, Way::Http { port: 80 });
    }

    #[test]
    fn urls_name_the_very_host_and_port() {
        for (name, port, url) in [
            ("a.test", 80, "http://a.test"),
            ("a.test", 8080, "http://a.test:8080"),
            ("10.0.0.5", 443, "http://10.0.0.5:443"),
            ("fd00::1", 80, "http://[fd00::1]"),
            ("::ffff:10.0.0.5", 8080, "http://[::ffff:10.0.0.5]:8080"),
        ] {
            let way = Way::Http { port };
            let urls = way.urls(&way.target(&identifier(name)));
            let token = format!("{url}/.well-known/certmaker-challenge/token");
            assert_eq!(urls, [token]);
        }
        let way = Way::Located { port: 8080 };
        let urls = way.urls("a.test");
        assert_eq!(urls.len(), 4);
        assert!(urls[0].starts_with("http://a.test:8080/") && urls[0].ends_with("/token.txt"));
        assert!(urls[3].starts_with("https://a.test:8080/") && urls[3].ends_with("/token"));
    }

    #[test]
    fn a_record_stands_at_the_name_without_its_wildcard() {
        assert_eq!(Way::Dns.target(&identifier("*.a.test")), "a.test");
        assert_eq!(Way::Dns.target(&identifier("a.test")), "a.test");
    }
}
