//! What an issuer and the last attempt say.

use store::{Certificate, State};

use super::{Actor, Finding, Verdict};
use crate::issuers::{IssuerDetails, IssuerKind};

const ISSUER: &str = "issuer";

/// Whether an issuer can issue now, and what is left of its limits.
pub(super) fn issuer(name: &str, details: Option<&IssuerDetails>) -> Vec<Finding> {
    let expected = format!("the issuer {name} can be ordered from");
    let Some(details) = details else {
        let remedy = format!("add the issuer {name}, or choose another one");
        let advice = (Actor::Platform, remedy);
        let found = "there is no such issuer";
        let finding = Finding::amiss(ISSUER, Verdict::Problem, expected, found, advice);
        return vec![finding];
    };
    let directory = match &details.issuer.kind {
        IssuerKind::Authority => {
            return vec![Finding::ok(
                ISSUER,
                expected,
                "it is an authority of this server",
            )];
        }
        IssuerKind::Directory(directory) => directory,
    };
    let mut findings = Vec::new();
    findings.push(match (&details.directory, directory.health.down_until) {
        (Some(Err(error)), _) => {
            let remedy = format!("see that {} can be reached from this server", directory.url);
            let advice = (Actor::Platform, remedy);
            Finding::amiss(ISSUER, Verdict::Problem, expected, error.clone(), advice)
        }
        (_, Some(until)) => {
            let found = format!("it failed lately, and is asked again at {until}");
            let advice = (Actor::Platform, "wait, or add another issuer".to_owned());
            Finding::amiss(ISSUER, Verdict::Warning, expected, found, advice)
        }
        _ => Finding::ok(ISSUER, expected, format!("{} answers", directory.url)),
    });
    let exhausted = details.budgets.iter().filter(|budget| budget.left == 0);
    findings.extend(exhausted.map(|budget| {
        let expected = format!(
            "something is left of the limit '{}' of {name}",
            budget.bucket
        );
        let found = format!("all {} are used", budget.burst);
        let advice = (
            Actor::Platform,
            "wait: what was asked for is spread; or add another issuer".to_owned(),
        );
        Finding::amiss("limits", Verdict::Warning, expected, found, advice)
    }));
    findings
}

/// How the last attempt for a certificate ended.
pub(super) fn last_attempt(certificate: &Certificate) -> Finding {
    const CHECK: &str = "last-attempt";
    let expected = format!("the certificate {} was obtained", certificate.name);
    let failure = match (&certificate.failure, &certificate.state) {
        (Some(failure), _) => Some(failure.clone()),
        (None, State::Error { reason }) => Some(reason.clone()),
        _ => None,
    };
    let Some(failure) = failure else {
        let found = match certificate.current {
            Some(_) => "it was",
            None => "it is being obtained",
        };
        return Finding::ok(CHECK, expected, found);
    };
    let (verdict, remedy) = match certificate.state {
        State::Error { .. } => (
            Verdict::Problem,
            format!(
                "correct what is named here, then chancery renew {}",
                certificate.name
            ),
        ),
        _ => (
            Verdict::Warning,
            "correct what is named here; it is tried again".to_owned(),
        ),
    };
    Finding::amiss(CHECK, verdict, expected, failure, (Actor::Owner, remedy))
}
