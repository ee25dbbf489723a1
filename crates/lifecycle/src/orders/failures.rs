//! What a failure means: whose fault it is, and the words for those who have to act. Pure.

use acme::client::{ChallengeKind, Failure};
use acme::{ErrorKind, Problem};

use super::step::Complaint;
pub(super) use crate::issuers::WAITING;
use crate::schedule::Cause;

/// Nobody has to do anything.
const TRIED_AGAIN: &str = "; it is tried again, or at another directory";
/// What stands before the moment until which a limit is kept.
pub(super) const WAITS: &str = "; waits until ";

/// What is made of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Whose it is, except a limit.
    Of(Cause),
    /// A limit of the directory was reached.
    Limit,
    /// The order is not there any more.
    Gone,
}

/// What a request was for: the same answer means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Something about the account.
    Account,
    /// A new order.
    NewOrder,
    /// The state of an order or of an authorization.
    Look,
    /// The last step of an order.
    Finalize,
}

/// Whose fault it is that a directory did not do what it was asked.
pub(super) fn fault(failure: &Failure, request: Request) -> Fault {
    match failure {
        Failure::Unreachable { .. }
        | Failure::Insecure { .. }
        | Failure::Garbled { .. }
        | Failure::Forbidden { .. } => Fault::Of(Cause::Directory),
        Failure::Refused {
            problem, status, ..
        } => refusal(problem, *status, request),
    }
}

/// The same for what a directory says of an order or of a name.
pub(super) fn fault_of(problem: &Problem) -> Fault {
    match kind(problem) {
        ErrorKind::RateLimited if is_pause(problem) => Fault::Of(Cause::Name),
        ErrorKind::RateLimited => Fault::Limit,
        ErrorKind::ServerInternal => Fault::Of(Cause::Directory),
        ErrorKind::InvalidProfile
        | ErrorKind::UserActionRequired
        | ErrorKind::ExternalAccountRequired => Fault::Of(Cause::Account),
        _ => Fault::Of(Cause::Name),
    }
}

/// What went wrong at a directory and what to do about it.
pub(super) fn told(directory: &str, failure: &Failure, request: Request) -> String {
    match failure {
        Failure::Refused { problem, .. } => {
            let remedy = match (fault(failure, request), kind(problem)) {
                (Fault::Of(Cause::Account), ErrorKind::InvalidProfile) => {
                    "; choose a profile that the directory offers (`chancery issuer show` names \
                     them) and add the issuer anew"
                }
                (Fault::Of(Cause::Account), ErrorKind::UserActionRequired) => {
                    "; the operator has to agree to the directory's terms of service"
                }
                (Fault::Of(Cause::Account), ErrorKind::ExternalAccountRequired) => {
                    "; the external account has ended: get a new one from the authority and add the \
                     issuer anew"
                }
                (Fault::Of(Cause::Account), _) => {
                    "; the account with the directory was revoked or has ended: remove the issuer and \
                     add it anew"
                }
                (Fault::Of(Cause::Directory), _) => TRIED_AGAIN,
                _ => remedy(problem, None),
            };
            format!(
                "{directory}: {}{remedy}",
                without_period(&problem.to_string())
            )
        }
        Failure::Insecure { .. } => format!(
            "{directory}: {failure}; if an authority of your own has signed its certificate, remove \
             the issuer and add it anew with that authority's root (--acme-ca){TRIED_AGAIN}"
        ),
        _ => format!("{directory}: {failure}{TRIED_AGAIN}"),
    }
}

/// What a directory says of names that failed, and what to do about each.
pub(super) fn told_of(directory: &str, complaints: &[Complaint]) -> String {
    if complaints.is_empty() {
        return format!("{directory}: the order failed, and the directory does not say why");
    }
    let told = complaints.iter().map(|complaint| {
        let Complaint {
            name,
            challenge,
            problem,
        } = complaint;
        let said = without_period(&problem.to_string()).to_owned();
        let remedy = remedy(problem, challenge.as_ref());
        if name.is_empty() {
            format!("{said}{remedy}")
        } else {
            format!("{name}: {said}{remedy}")
        }
    });
    format!("{directory}: {}", told.collect::<Vec<_>>().join("; "))
}

/// Whether an order was refused because of what it says to replace.
pub(super) fn is_about_replacing(failure: &Failure) -> bool {
    let Failure::Refused {
        problem, status, ..
    } = failure
    else {
        return false;
    };
    match problem.kind {
        ErrorKind::AlreadyReplaced => true,
        ErrorKind::Malformed | ErrorKind::Other(_) => matches!(status, 400 | 404 | 409),
        _ => false,
    }
}

/// Whether a directory may have refused a request for the key that it was signed with. Some call that
/// malformed.
pub(super) fn may_be_about_key(failure: &Failure) -> bool {
    let Failure::Refused { problem, .. } = failure else {
        return false;
    };
    matches!(
        problem.kind,
        ErrorKind::AccountDoesNotExist | ErrorKind::Unauthorized | ErrorKind::Malformed
    )
}

/// Whether a failure that does not count is worth telling, after what was told `before` of the
/// certificate. That it is still waited for the same, or for the next place within a limit, is not.
pub(super) fn is_news(cause: Cause, before: Option<&str>, reason: &str) -> bool {
    let Some(before) = before else {
        return true;
    };
    match cause {
        Cause::Limited { .. } => !before.starts_with(WAITING) && !before.contains(WAITS),
        Cause::Directory | Cause::Account | Cause::Name => {
            before.strip_prefix(WAITING).unwrap_or(before) != reason
        }
    }
}

fn refusal(problem: &Problem, status: u16, request: Request) -> Fault {
    match kind(problem) {
        ErrorKind::RateLimited if is_pause(problem) => Fault::Of(Cause::Name),
        ErrorKind::RateLimited => Fault::Limit,
        ErrorKind::ServerInternal | ErrorKind::BadNonce => Fault::Of(Cause::Directory),
        ErrorKind::AccountDoesNotExist
        | ErrorKind::ExternalAccountRequired
        | ErrorKind::InvalidProfile
        | ErrorKind::UserActionRequired
        | ErrorKind::BadPublicKey
        | ErrorKind::BadSignatureAlgorithm => Fault::Of(Cause::Account),
        ErrorKind::Unauthorized if request != Request::Finalize => Fault::Of(Cause::Account),
        ErrorKind::Malformed | ErrorKind::Other(_) if request == Request::Account => {
            Fault::Of(Cause::Account)
        }
        _ if status == 429 => Fault::Limit,
        _ if status >= 500 => Fault::Of(Cause::Directory),
        _ if request == Request::Look => Fault::Gone,
        _ => Fault::Of(Cause::Name),
    }
}

/// The kind of a problem; of several, that of the first.
fn kind(problem: &Problem) -> &ErrorKind {
    match (&problem.kind, problem.subproblems.first()) {
        (ErrorKind::Compound, Some(first)) => &first.kind,
        (kind, _) => kind,
    }
}

/// Whether a directory takes no orders for a name until somebody asks for it, as Let's Encrypt does
/// after very many failures. It calls that a limit, but no time ends it.
fn is_pause(problem: &Problem) -> bool {
    let text = problem.to_string().to_ascii_lowercase();
    ["unpause", "paused", "temporarily prevented from requesting"]
        .iter()
        .any(|word| text.contains(word))
}

/// What whoever owns a name can do, where it was proven by `challenge`.
fn remedy(problem: &Problem, challenge: Option<&ChallengeKind>) -> &'static str {
    let kind = kind(problem);
    match kind {
        ErrorKind::RateLimited if is_pause(problem) => {
            "; the authority has paused the name after many failures: correct what they told of, then \
             open the address in its message and have the name resumed"
        }
        ErrorKind::Connection
        | ErrorKind::Dns
        | ErrorKind::IncorrectResponse
        | ErrorKind::Unauthorized
        | ErrorKind::Tls => remedy_of_proof(kind, challenge),
        ErrorKind::Caa => {
            "; add a CAA record that allows this authority, or remove the records that forbid it"
        }
        ErrorKind::RejectedIdentifier | ErrorKind::UnsupportedIdentifier => {
            "; this authority does not issue for the name: choose another issuer"
        }
        ErrorKind::RateLimited => "; it is tried again when the limit allows it",
        ErrorKind::ServerInternal | ErrorKind::BadNonce => {
            "; it is tried again, or at another directory"
        }
        ErrorKind::BadCsr => "; choose another issuer",
        _ => "",
    }
}

/// The same for a proof that the directory has not accepted.
fn remedy_of_proof(kind: &ErrorKind, challenge: Option<&ChallengeKind>) -> &'static str {
    let is_answered = matches!(kind, ErrorKind::IncorrectResponse | ErrorKind::Unauthorized);
    match (challenge, kind) {
        (Some(ChallengeKind::DnsPersist01), _) if is_answered => {
            "; let the TXT record at _validation-persist of the name be the one that `chancery show` \
             and `chancery check` tell"
        }
        (Some(ChallengeKind::Dns01 | ChallengeKind::DnsAccount01), _) if is_answered => {
            "; the directory sees other records than this server: let all name servers of the zone \
             have the same, and try it (chancery dns test)"
        }
        (
            Some(ChallengeKind::Dns01 | ChallengeKind::DnsAccount01 | ChallengeKind::DnsPersist01),
            _,
        ) => {
            "; let the name servers of the zone answer the world, and its DNSSEC signatures be valid"
        }
        (_, ErrorKind::Dns) => "; correct the DNS records of the name",
        (Some(ChallengeKind::TlsAlpn01), _) | (_, ErrorKind::Tls) => {
            "; let port 443 of the name lead to this server without a proxy in between"
        }
        (_, ErrorKind::Connection) => {
            "; open the port that is named, and let the name lead to this server"
        }
        _ => "; let the name lead to this server, and look for a proxy or a redirect in between",
    }
}

fn without_period(text: &str) -> &str {
    text.trim_end_matches(['.', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: ErrorKind, status: u16) -> Failure {
        Failure::Refused {
            problem: Box::new(Problem::new(kind, "so it says.")),
            status,
            retry_after: None,
        }
    }

    #[test]
    fn each_refusal_is_somebodys_fault() {
        use ErrorKind as Kind;
        let name = Fault::Of(Cause::Name);
        let account = Fault::Of(Cause::Account);
        let directory = Fault::Of(Cause::Directory);
        for (kind, status, request, fault_of_it) in [
            (Kind::RateLimited, 429, Request::NewOrder, Fault::Limit),
            (
                Kind::Other("about:blank".to_owned()),
                429,
                Request::Look,
                Fault::Limit,
            ),
            (
                Kind::ServerInternal,
                500,
                Request::Finalize,
                directory.clone(),
            ),
            (
                Kind::Other("about:blank".to_owned()),
                503,
                Request::NewOrder,
                directory.clone(),
            ),
            (Kind::BadNonce, 400, Request::NewOrder, directory),
            (Kind::Unauthorized, 403, Request::NewOrder, account.clone()),
            (Kind::Unauthorized, 403, Request::Finalize, name.clone()),
            (
                Kind::AccountDoesNotExist,
                400,
                Request::Look,
                account.clone(),
            ),
            (
                Kind::InvalidProfile,
                400,
                Request::NewOrder,
                account.clone(),
            ),
            (Kind::Malformed, 400, Request::Account, account),
            (Kind::Malformed, 404, Request::Look, Fault::Gone),
            (
                Kind::RejectedIdentifier,
                400,
                Request::NewOrder,
                name.clone(),
            ),
            (Kind::Caa, 403, Request::NewOrder, name.clone()),
            (Kind::BadCsr, 400, Request::Finalize, name),
        ] {
            let failure = refused(kind.clone(), status);
            assert_eq!(
                fault(&failure, request),
                fault_of_it,
                "{kind:?} {request:?}"
            );
        }
    }

    #[test]
    fn a_name_that_was_paused_waits_for_somebody_and_not_for_a_limit() {
        let detail = "Your account is temporarily prevented from requesting certificates for \
                      www.example.com and possibly others. Please visit: \
                      https://portal.letsencrypt.test/sfe/v1/unpause?jwt=token";
        let paused = Problem::new(ErrorKind::RateLimited, detail);
        assert_eq!(fault_of(&paused), Fault::Of(Cause::Name));
        let failure = Failure::Refused {
            problem: Box::new(paused),
            status: 429,
            retry_after: None,
        };
        assert_eq!(fault(&failure, Request::NewOrder), Fault::Of(Cause::Name));
        let text = told("main", &failure, Request::NewOrder);
        assert!(
            text.contains("unpause?jwt=token; the authority has paused"),
            "{text}"
        );
        assert!(text.ends_with("have the name resumed"), "{text}");
    }

    #[test]
    fn what_is_still_waited_for_is_no_news() {
        let until = time::OffsetDateTime::UNIX_EPOCH;
        let limited = |before| is_news(Cause::Limited { until }, before, "main: too many");
        assert!(limited(None));
        assert!(limited(Some("main: connection refused")));
        assert!(!limited(Some(
            "main: too many; waits until 1970-01-01 00:00 UTC"
        )));
        assert!(!limited(Some(
            "waiting for main: the limit of orders is reached"
        )));
        let down = |before| is_news(Cause::Directory, Some(before), "main: down");
        assert!(down("main: too many"));
        assert!(!down("main: down"));
        assert!(!down("waiting for main: down"));
    }

    #[test]
    fn whoever_reads_of_a_failure_learns_what_to_do() {
        for (kind, request, remedy) in [
            (
                ErrorKind::InvalidProfile,
                Request::NewOrder,
                "choose a profile",
            ),
            (ErrorKind::Unauthorized, Request::NewOrder, "add it anew"),
            (
                ErrorKind::ExternalAccountRequired,
                Request::Account,
                "get a new one",
            ),
            (
                ErrorKind::UserActionRequired,
                Request::NewOrder,
                "terms of service",
            ),
            (ErrorKind::ServerInternal, Request::Finalize, "tried again"),
            (ErrorKind::BadNonce, Request::NewOrder, "tried again"),
            (ErrorKind::Caa, Request::NewOrder, "CAA record"),
            (ErrorKind::ServerInternal, Request::Finalize, "tried again"),
        ] {
            let text = told("main", &refused(kind, 403), request);
            assert!(text.starts_with("main: "), "{text}");
            assert!(text.contains("so it says; "), "{text}");
            assert!(text.contains(remedy), "{text}");
        }
        let text = told_of(
            "main",
            &[complaint(ErrorKind::Connection, ChallengeKind::Http01)],
        );
        assert!(
            text.starts_with("main: a.test: connection: so it says; open the port"),
            "{text}"
        );
    }

    #[test]
    fn a_proof_that_failed_gets_the_remedy_of_its_own_kind() {
        use ChallengeKind as Proof;
        for (challenge, kind, told, other) in [
            (Proof::Http01, ErrorKind::Unauthorized, "redirect", "TXT"),
            (Proof::TlsAlpn01, ErrorKind::Unauthorized, "port 443", "TXT"),
            (Proof::TlsAlpn01, ErrorKind::Connection, "port 443", "TXT"),
            (Proof::Dns01, ErrorKind::Unauthorized, "dns test", "lead to"),
            (
                Proof::Dns01,
                ErrorKind::IncorrectResponse,
                "dns test",
                "lead to",
            ),
            (Proof::DnsAccount01, ErrorKind::Dns, "name servers", "port"),
            (Proof::Dns01, ErrorKind::Connection, "name servers", "port"),
            (
                Proof::DnsPersist01,
                ErrorKind::Unauthorized,
                "_validation-persist",
                "lead to",
            ),
        ] {
            let text = told_of("main", &[complaint(kind, challenge)]);
            assert!(text.contains(told) && !text.contains(other), "{text}");
        }
    }

    #[test]
    fn a_directory_that_is_not_trusted_is_told_with_the_option_that_trusts_it() {
        let failure = Failure::Insecure {
            reason: "of no authority".to_owned(),
        };
        let text = told("main", &failure, Request::Look);
        assert!(
            text.contains("of no authority; ") && text.contains("--acme-ca"),
            "{text}"
        );
        assert_eq!(fault(&failure, Request::Look), Fault::Of(Cause::Directory));
    }

    fn complaint(kind: ErrorKind, challenge: ChallengeKind) -> Complaint {
        Complaint {
            name: "a.test".to_owned(),
            challenge: Some(challenge),
            problem: Problem::new(kind, "so it says."),
        }
    }

    #[test]
    fn what_several_names_failed_of_is_judged_by_the_first() {
        let mut compound = Problem::new(ErrorKind::Compound, "several");
        let caa = Problem::new(ErrorKind::Caa, "forbidden");
        compound.subproblems.push(caa);
        assert_eq!(fault_of(&compound), Fault::Of(Cause::Name));
        let whole = Complaint {
            name: String::new(),
            challenge: None,
            problem: compound,
        };
        assert!(told_of("main", &[whole]).contains("CAA record"));
    }
}
