//! What comes next for an order, from what its directory says of it. Pure.

use std::time::Duration;

use acme::Problem;
use acme::client::{Authorization, AuthorizationStatus, ChallengeKind, Order, OrderStatus};
use time::OffsetDateTime;

/// Shortest and longest time between two looks at an order.
const SHORTEST_LOOK: Duration = Duration::from_secs(1);
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// Longest time that a directory can put off a look.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Control over some names is to be proven.
    Prove,
    /// The request for the certificate is to be sent.
    Finalize,
    /// The directory is at work.
    Wait,
    /// The certificate is there.
    Download,
    /// The order has failed for good.
    Fail(Vec<Complaint>),
}

/// What a directory says of a name that failed, or of the order as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The name; empty for the order.
    pub(super) name: String,
    /// How it was to be proven.
    pub(super) challenge: Option<ChallengeKind>,
    pub(super) problem: Problem,
}

/// What comes next for an order. Of one that is pending or invalid, its authorizations are looked
/// at.
pub(super) fn next_step(order: &Order, authorizations: &[Authorization]) -> Step {
    match order.status {
        OrderStatus::Ready => Step::Finalize,
        OrderStatus::Processing => Step::Wait,
        OrderStatus::Valid => Step::Download,
        OrderStatus::Invalid => Step::Fail(faults(order, authorizations)),
        OrderStatus::Pending => {
            let has = |wanted: fn(AuthorizationStatus) -> bool| {
                let mut states = authorizations
                    .iter()
                    .map(|authorization| authorization.status);
                states.any(wanted)
            };
            if has(has_failed) {
                Step::Fail(faults(order, authorizations))
            } else if has(|status| status == AuthorizationStatus::Pending) {
                Step::Prove
            } else {
                Step::Wait
            }
        }
    }
}

/// When an order is looked at again that was placed at `placed` and is being worked on by the
/// directory at `now`: soon at first, then less and less often, and not before the directory said.
pub(super) fn look_again(
    placed: OffsetDateTime,
    retry_after: Option<Duration>,
    now: OffsetDateTime,
) -> OffsetDateTime {
    let age = Duration::try_from(now - placed).unwrap_or(Duration::ZERO);
    let pause = (age / 8).clamp(SHORTEST_LOOK, LONGEST_LOOK);
    let asked = retry_after
        .unwrap_or(Duration::ZERO)
        .min(LONGEST_RETRY_AFTER);
    now + pause.max(asked)
}

fn has_failed(status: AuthorizationStatus) -> bool {
    match status {
        AuthorizationStatus::Pending | AuthorizationStatus::Valid => false,
        AuthorizationStatus::Invalid
        | AuthorizationStatus::Deactivated
        | AuthorizationStatus::Expired
        | AuthorizationStatus::Revoked => true,
    }
}

/// What the directory says of each name that failed, or of the order as a whole.
fn faults(order: &Order, authorizations: &[Authorization]) -> Vec<Complaint> {
    let failed = authorizations
        .iter()
        .filter(|authorization| has_failed(authorization.status));
    let faults: Vec<_> = failed
        .filter_map(|authorization| {
            let mut challenges = authorization.challenges.iter();
            let (challenge, problem) = challenges
                .find_map(|challenge| Some((&challenge.kind, challenge.error.clone()?)))?;
            Some(Complaint {
                name: authorization.identifier.value.clone(),
                challenge: Some(challenge.clone()),
                problem,
            })
        })
        .collect();
    if !faults.is_empty() {
        return faults;
    }
    let whole = order.error.clone().map(|problem| Complaint {
        name: String::new(),
        challenge: None,
        problem,
    });
    whole.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use acme::client::{Challenge, ChallengeStatus};
    use acme::{ErrorKind, Identifier};

    use super::*;

    fn order(status: OrderStatus) -> Order {
        Order {
            url: "https://directory.test/order/1".to_owned(),
            status,
            authorizations: Vec::new(),
            error: None,
            retry_after: None,
            expires_at: None,
        }
    }

    fn authorization(name: &str, status: AuthorizationStatus) -> Authorization {
        let error = (status == AuthorizationStatus::Invalid)
            .then(|| Problem::new(ErrorKind::Connection, "nobody there"));
        Authorization {
            url: format!("https://directory.test/authorization/{name}"),
            identifier: Identifier {
                kind: "dns".to_owned(),
                value: name.to_owned(),
            },
            is_wildcard: false,
            status,
            challenges: vec![Challenge {
                kind: ChallengeKind::Http01,
                url: "https://directory.test/challenge".to_owned(),
                status: ChallengeStatus::Pending,
                token: None,
                error,
                issuer_domain_names: Vec::new(),
            }],
            expires_at: None,
        }
    }

    #[test]
    fn each_state_has_its_next_step() {
        use AuthorizationStatus as Is;
        for (status, authorizations, step) in [
            (
                OrderStatus::Pending,
                vec![Is::Valid, Is::Pending],
                Step::Prove,
            ),
            (OrderStatus::Pending, vec![Is::Valid, Is::Valid], Step::Wait),
            (OrderStatus::Ready, vec![], Step::Finalize),
            (OrderStatus::Processing, vec![], Step::Wait),
            (OrderStatus::Valid, vec![], Step::Download),
            (
                OrderStatus::Pending,
                vec![Is::Expired],
                Step::Fail(Vec::new()),
            ),
            (
                OrderStatus::Pending,
                vec![Is::Pending, Is::Deactivated],
                Step::Fail(Vec::new()),
            ),
            (
                OrderStatus::Pending,
                vec![Is::Revoked],
                Step::Fail(Vec::new()),
            ),
            (OrderStatus::Invalid, vec![], Step::Fail(Vec::new())),
        ] {
            let authorizations: Vec<_> = authorizations
                .into_iter()
                .map(|status| authorization("a.test", status))
                .collect();
            assert_eq!(
                next_step(&order(status), &authorizations),
                step,
                "{status:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_told_rather_than_that_the_order_failed() {
        let problem = Problem::new(ErrorKind::Unauthorized, "an authorization failed");
        let failed = Order {
            error: Some(problem.clone()),
            ..order(OrderStatus::Invalid)
        };
        let whole = next_step(&failed, &[]);
        let complaint = |name: &str, challenge, problem| Complaint {
            name: name.to_owned(),
            challenge,
            problem,
        };
        assert_eq!(whole, Step::Fail(vec![complaint("", None, problem)]));
        let names = ["good.test", "bad.test"];
        let states = [AuthorizationStatus::Valid, AuthorizationStatus::Invalid];
        let authorizations: Vec<_> = names
            .into_iter()
            .zip(states)
            .map(|(name, status)| authorization(name, status))
            .collect();
        let expected = Problem::new(ErrorKind::Connection, "nobody there");
        assert_eq!(
            next_step(&failed, &authorizations),
            Step::Fail(vec![complaint(
                "bad.test",
                Some(ChallengeKind::Http01),
                expected
            )])
        );
    }

    #[test]
    fn looks_grow_apart_and_wait_as_long_as_asked_within_bounds() {
        let placed = OffsetDateTime::UNIX_EPOCH;
        let seconds = Duration::from_secs;
        for (age, retry_after, pause) in [
            (0, None, 1),
            (80, None, 10),
            (1000, None, 30),
            (0, Some(7), 7),
            (1000, Some(7), 30),
            (0, Some(1_000_000), 300),
        ] {
            let now = placed + seconds(age);
            let again = look_again(placed, retry_after.map(seconds), now);
            assert_eq!(again - now, seconds(pause), "{age} {retry_after:?}");
        }
    }
}
