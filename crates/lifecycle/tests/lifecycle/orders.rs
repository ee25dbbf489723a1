//! Certificates from directories: ordered, renewed, and never ordered twice.

use std::time::Duration;

use crate::support::directory::{Call, Manners, refused, unreachable};
use crate::support::site::{MAIN, Site, named};
use crate::support::{HOUR, MINUTE, SECOND, eventually};
use acme::ErrorKind;
use lifecycle::{CertificateRef, ManagedRequest, NewIssuer, State, TokenLimits};

#[tokio::test]
async fn a_certificate_is_obtained_from_a_directory_and_renewed_there() {
    let site = Site::new(Manners::default()).await;
    let id = site.request(&["a.test", "b.test", "192.0.2.7"]).await;
    assert_eq!(site.house().obtain_due_now().await.unwrap(), 1);
    let obtained = site.find(id).await;
    assert_eq!(obtained.state, State::Valid);
    assert_eq!(obtained.failure, None);
    let names = site.leaf(id).await.identifiers();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a.test", "b.test", "192.0.2.7"]);
    let first = obtained.current.unwrap();
    assert_eq!(site.directory.calls(Call::NewOrder), 1);
    assert_eq!(site.house().obtain_due_now().await.unwrap(), 0);

    let renew_at = obtained.renew_at.unwrap();
    assert_eq!(obtained.next_action_at, Some(renew_at));
    let left: time::Duration = renew_at - site.fixture.now();
    site.fixture.turn(left.whole_seconds() - SECOND);
    site.house().obtain_due_now().await.unwrap();
    assert_eq!(site.directory.calls(Call::NewOrder), 1);
    site.fixture.turn(2 * SECOND);
    site.house().obtain_due_now().await.unwrap();
    let renewed = site.find(id).await;
    let second = renewed.current.unwrap();
    assert_ne!(second.private_key_id, first.private_key_id);
    assert!(second.not_after > first.not_after);
    assert_eq!(site.versions(id).await, 2);
    assert_eq!(site.directory.calls(Call::NewOrder), 2);
}

#[tokio::test]
async fn an_order_that_takes_its_time_is_waited_for_without_being_held() {
    let site = Site::new(Manners {
        processing: 5,
        ..Manners::default()
    })
    .await;
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    let waiting = site.find(id).await;
    let next = waiting.next_action_at.unwrap();
    assert_eq!(next, site.fixture.now() + time::Duration::SECOND);
    assert_eq!(waiting.attempt, 0);
    // Any node goes on with it.
    site.work(site.fixture.other_node(), &[id], 60).await;
    assert_eq!(site.find(id).await.state, State::Valid);
    assert_eq!(site.directory.orders_for("a.test"), 1);
}

#[tokio::test]
async fn an_order_that_never_ends_is_given_up_and_blamed_on_the_directory() {
    let site = Site::new(Manners {
        processing: u32::MAX,
        ..Manners::default()
    })
    .await;
    let id = site.request(&["a.test"]).await;
    for _ in 0..60 {
        site.house().obtain_due_now().await.unwrap();
        site.fixture.turn(MINUTE);
    }
    let waiting = site.find(id).await;
    assert_eq!(waiting.attempt, 0, "it is not the fault of the name");
    let failure = waiting.failure.unwrap();
    assert!(
        failure.contains("main: the order has not come to an end"),
        "{failure}"
    );
    let orders = site.directory.orders_for("a.test");
    assert!((2..=3).contains(&orders), "{orders}");
    site.directory.manners(|manners| manners.processing = 0);
    site.work(site.house(), &[id], 2 * HOUR).await;
    assert_eq!(site.find(id).await.state, State::Valid);
}

#[tokio::test]
async fn the_next_directory_steps_in_for_one_that_is_down_and_is_left_when_that_recovers() {
    let site = Site::new(Manners::default()).await;
    site.add_issuer("other", None).await;
    site.directory.fail_next(Call::NewOrder, unreachable);
    let id = site.request(&["a.test"]).await;
    site.work(site.house(), &[id], 30).await;
    let obtained = site.find(id).await;
    assert_eq!(obtained.state, State::Valid);
    assert_eq!(obtained.attempt, 0);
    assert_eq!(site.issuer_of(id).await, "other");

    // One failure may be bad luck.
    let next = site.request(&["b.test"]).await;
    site.work(site.house(), &[next], 30).await;
    assert_eq!(site.issuer_of(next).await, MAIN);
}

#[tokio::test]
async fn a_directory_without_another_one_is_waited_for_without_counting() {
    let site = Site::new(Manners::default()).await;
    let id = site.request(&["a.test"]).await;
    site.directory.go_down();
    for _ in 0..48 {
        site.house().obtain_due_now().await.unwrap();
        site.fixture.turn(HOUR);
    }
    let waiting = site.find(id).await;
    assert!(
        matches!(waiting.state, State::Pending { attempt: 0, .. }),
        "{:?}",
        waiting.state
    );
    let failure = waiting.failure.unwrap();
    assert!(
        failure.contains("main: the directory cannot be reached: connection refused"),
        "{failure}"
    );
    assert!(site.directory.calls(Call::Directory) < 60);
    site.directory.recover();
    site.work(site.house(), &[id], 2 * HOUR).await;
    assert_eq!(site.find(id).await.state, State::Valid);
}

#[tokio::test]
async fn a_limit_that_a_directory_tells_of_is_kept_and_does_not_count() {
    for (retry_after, earliest) in [(Some(3 * HOUR), 3 * HOUR), (None, 15 * MINUTE)] {
        let site = Site::new(Manners::default()).await;
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds as u64));
        site.directory.fail_next(Call::NewOrder, move || {
            let detail = "too many new orders (300) from this account in the last 3h0m0s";
            refused(ErrorKind::RateLimited, 429, detail, retry_after)
        });
        let id = site.request(&["a.test"]).await;
        site.house().obtain_due_now().await.unwrap();
        let limited = site.find(id).await;
        assert!(matches!(limited.state, State::Pending { attempt: 0, .. }));
        let failure = limited.failure.unwrap();
        assert!(failure.contains("too many new orders"), "{failure}");
        assert!(failure.contains("waits until "), "{failure}");
        let next = limited.next_action_at.unwrap() - site.fixture.now();
        assert!(next.whole_seconds() >= earliest, "{next}");
        // Others learn of it without asking.
        let other = site.request(&["b.test"]).await;
        site.house().obtain_due_now().await.unwrap();
        assert_eq!(site.directory.calls(Call::NewOrder), 1);
        let failure = site.find(other).await.failure.unwrap();
        assert!(
            failure.contains("the limit of orders is reached"),
            "{failure}"
        );
        site.fixture.turn(earliest);
        site.work(site.house(), &[id, other], 2 * HOUR).await;
        assert_eq!(site.find(id).await.state, State::Valid);
        assert_eq!(site.find(other).await.state, State::Valid);
    }
}

#[tokio::test]
async fn a_renewal_counts_unless_the_directory_is_told_what_it_replaces() {
    for (has_renewal_info, expected) in [(false, 2), (true, 1)] {
        let site = Site::new(Manners {
            has_renewal_info,
            ..Manners::default()
        })
        .await;
        let id = site.request(&["a.test"]).await;
        site.house().obtain_due_now().await.unwrap();
        let certificates = &site.house().certificates;
        let reference = CertificateRef::Id(id);
        certificates
            .renew(site.principal(), &reference)
            .await
            .unwrap();
        site.house().obtain_due_now().await.unwrap();
        assert_eq!(site.versions(id).await, 2);
        let last = site.directory.orders().pop().unwrap();
        assert_eq!(last.replaces.is_some(), has_renewal_info);
        let issuers = &site.house().issuers;
        let shown = issuers.show(site.principal(), MAIN).await.unwrap();
        let mut budgets = shown.budgets.iter();
        let orders = budgets.find(|budget| budget.bucket == "orders").unwrap();
        assert_eq!(orders.burst - orders.left, expected, "{orders:?}");
        let named: Vec<&str> = shown
            .budgets
            .iter()
            .map(|budget| budget.bucket.as_str())
            .collect();
        assert_eq!(named, ["orders", "orders of your account"]);
    }
}

#[tokio::test]
async fn no_more_is_ordered_than_the_directory_allows() {
    let site = Site::new(Manners::default()).await;
    let limits = r#"{"orders":"10/1h","share":100}"#;
    site.add_issuer("limited", Some(limits)).await;
    let mut requested = Vec::new();
    for number in 0..30 {
        let request = ManagedRequest {
            issuer: Some("limited".to_owned()),
            ..named(&format!("d{number}.test"))
        };
        let certificates = &site.house().certificates;
        let made = certificates
            .request_managed(site.principal(), request)
            .await;
        requested.push(made.unwrap().id);
    }
    // It would step in.
    let issuers = &site.house().issuers;
    issuers.rank(site.principal(), MAIN, 0).await.unwrap();
    site.house().obtain_due_now().await.unwrap();
    let shown = issuers.show(site.principal(), "limited").await.unwrap();
    let orders = shown
        .budgets
        .iter()
        .find(|budget| budget.bucket == "orders");
    let orders = orders.unwrap();
    assert_eq!(orders.burst, 10);
    assert!(orders.left < 10, "{orders:?}");
    let mut valid = 0;
    let mut hours = 0;
    while valid < requested.len() && hours < 12 {
        for _ in 0..60 {
            site.house().obtain_due_now().await.unwrap();
            site.fixture.turn(MINUTE);
        }
        hours += 1;
        valid = 0;
        for id in &requested {
            valid += usize::from(site.find(*id).await.state == State::Valid);
        }
    }
    assert_eq!(valid, requested.len());
    assert!(hours <= 5, "{hours}");
    let mut moments: Vec<_> = site
        .directory
        .orders()
        .iter()
        .map(|order| order.at)
        .collect();
    moments.sort_unstable();
    // As many as there are at once, and then one every six minutes.
    for (number, moment) in (0_i32..).zip(&moments) {
        for (earlier, from) in (0_i32..)
            .zip(&moments)
            .take(usize::try_from(number).unwrap())
        {
            let interval = time::Duration::minutes(6);
            let allowed = 10.0 + (*moment - *from) / interval;
            assert!(f64::from(number - earlier) <= allowed, "{moments:?}");
        }
    }
}

#[tokio::test]
async fn what_an_operator_has_to_mend_is_told_and_does_not_count() {
    for (kind, told) in [
        (ErrorKind::Unauthorized, "remove the issuer and add it anew"),
        (ErrorKind::InvalidProfile, "choose a profile"),
        (
            ErrorKind::ExternalAccountRequired,
            "get a new one from the authority",
        ),
        (ErrorKind::UserActionRequired, "terms of service"),
    ] {
        let site = Site::new(Manners::default()).await;
        let excuse = kind.clone();
        site.directory.fail(Call::NewOrder, move || {
            refused(excuse.clone(), 403, "it is over", None)
        });
        let id = site.request(&["a.test"]).await;
        for _ in 0..24 {
            site.house().obtain_due_now().await.unwrap();
            site.fixture.turn(HOUR);
        }
        let waiting = site.find(id).await;
        assert!(
            matches!(waiting.state, State::Pending { attempt: 0, .. }),
            "{kind:?}"
        );
        let failure = waiting.failure.unwrap();
        assert!(failure.contains(told), "{kind:?}: {failure}");
        site.directory.recover();
        site.work(site.house(), &[id], 3 * HOUR).await;
        assert_eq!(site.find(id).await.state, State::Valid, "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_name_is_told_counts_and_ends_in_error() {
    for (kind, told) in [
        (ErrorKind::RejectedIdentifier, "choose another issuer"),
        (ErrorKind::Caa, "CAA record"),
    ] {
        let site = Site::new(Manners::default()).await;
        let excuse = kind.clone();
        site.directory.fail(Call::NewOrder, move || {
            refused(excuse.clone(), 400, "no", None)
        });
        let id = site.request(&["a.test"]).await;
        for (failed, minutes) in (1_u8..).zip([1, 5, 15, 60, 180, 360, 720]) {
            site.house().obtain_due_now().await.unwrap();
            let waiting = site.find(id).await;
            assert_eq!(waiting.attempt, failed, "{kind:?}");
            assert!(waiting.failure.unwrap().contains(told), "{kind:?}");
            site.fixture.turn(minutes * MINUTE);
        }
        site.house().obtain_due_now().await.unwrap();
        let State::Error { reason } = site.find(id).await.state else {
            panic!("not given up");
        };
        assert!(
            reason.starts_with("main: ") && reason.contains(told),
            "{reason}"
        );
        assert_eq!(site.directory.calls(Call::NewOrder), 8);
    }
}

#[tokio::test]
async fn a_certificate_that_was_not_ordered_is_refused_and_blamed_on_the_directory() {
    type Bend = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;
    let bends: [(&str, Bend); 4] = [
        ("it is empty", |_| Vec::new()),
        ("it cannot be read", |_| vec![b"garbage".to_vec()]),
        ("for another key", |chain| chain.into_iter().rev().collect()),
        ("does not hold together", |chain| {
            vec![chain[0].clone(), chain[0].clone()]
        }),
    ];
    for (told, bend) in bends {
        let site = Site::new(Manners::default()).await;
        site.directory.bend(bend);
        let id = site.request(&["a.test"]).await;
        site.house().obtain_due_now().await.unwrap();
        let refused = site.find(id).await;
        assert!(matches!(refused.state, State::Pending { attempt: 0, .. }));
        let failure = refused.failure.unwrap();
        assert!(failure.contains(told), "{failure}");
        assert_eq!(site.versions(id).await, 0);
    }
    let site = Site::new(Manners {
        lifetime: time::Duration::SECOND,
        ..Manners::default()
    })
    .await;
    let id = site.request(&["a.test"]).await;
    let clock = site.fixture.clock.clone();
    site.directory.bend(move |chain| {
        clock.turn(MINUTE);
        chain
    });
    site.house().obtain_due_now().await.unwrap();
    let failure = site.find(id).await.failure.unwrap();
    assert!(failure.contains("has expired"), "{failure}");
}

#[tokio::test]
async fn a_deleted_certificate_takes_its_order_with_it() {
    let site = Site::new(Manners {
        processing: 5,
        ..Manners::default()
    })
    .await;
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    let store = &site.fixture.nodes[0].store;
    assert!(store.order(id).await.unwrap().is_some());
    let certificates = &site.house().certificates;
    let reference = CertificateRef::Id(id);
    certificates
        .delete(site.principal(), &reference)
        .await
        .unwrap();
    site.fixture.turn(MINUTE);
    assert_eq!(site.house().obtain_due_now().await.unwrap(), 0);
    assert!(store.order(id).await.unwrap().is_none());
}

#[tokio::test]
async fn two_nodes_order_each_of_many_names_once() {
    let site = Site::new(Manners {
        processing: 2,
        ..Manners::default()
    })
    .await;
    let mut requested = Vec::new();
    for number in 0..60 {
        requested.push(site.request(&[&format!("d{number}.test")]).await);
    }
    for _ in 0..10 {
        let (one, other) = tokio::join!(
            site.house().obtain_due_now(),
            site.fixture.other_node().obtain_due_now()
        );
        one.unwrap();
        other.unwrap();
        site.fixture.turn(SECOND);
    }
    for (number, id) in requested.iter().enumerate() {
        assert_eq!(site.find(*id).await.state, State::Valid);
        assert_eq!(site.versions(*id).await, 1);
        assert_eq!(site.directory.orders_for(&format!("d{number}.test")), 1);
    }
}

#[tokio::test]
async fn an_account_whose_directory_never_answers_takes_nobody_elses_turn() {
    let site = Site::new(Manners::default()).await;
    let greedy = site.fixture.tenant("greedy", TokenLimits::default()).await;
    let silent = NewIssuer {
        name: "silent".to_owned(),
        url: "https://silent.test/directory".to_owned(),
        agrees_to_terms: true,
        ..NewIssuer::default()
    };
    site.directory.silence(&silent.url);
    let issuers = &site.house().issuers;
    issuers.add(&greedy, silent).await.unwrap();
    let certificates = &site.house().certificates;
    for number in 0..300 {
        let request = ManagedRequest {
            issuer: Some("silent".to_owned()),
            ..named(&format!("d{number}.test"))
        };
        certificates
            .request_managed(&greedy, request)
            .await
            .unwrap();
    }
    let house = site.house().clone();
    let working = tokio::spawn(async move { house.obtain_due().await });
    eventually("the silent directory is asked", async || {
        (site.directory.calls(Call::NewOrder) > 1).then_some(())
    })
    .await;
    let mut ids = Vec::new();
    for number in 0..40 {
        ids.push(site.request(&[&format!("e{number}.test")]).await);
    }
    for id in ids {
        eventually("others get their certificates", async || {
            (site.find(id).await.state == State::Valid).then_some(())
        })
        .await;
    }
    working.abort();
}

#[tokio::test]
async fn a_new_name_is_tried_again_soon_where_there_is_no_other_directory() {
    let site = Site::new(Manners::default()).await;
    site.directory.fail_next(Call::NewOrder, unreachable);
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    let waiting = site.find(id).await;
    let pause = waiting.next_action_at.unwrap() - site.fixture.now();
    assert!(pause <= time::Duration::minutes(2), "{pause}");
    site.fixture.turn(pause.whole_seconds() + SECOND);
    site.house().obtain_due_now().await.unwrap();
    assert_eq!(site.find(id).await.state, State::Valid);
}

#[tokio::test]
async fn a_name_that_the_authority_has_paused_is_told_and_ends_in_error() {
    let site = Site::new(Manners::default()).await;
    site.directory.fail(Call::NewOrder, || {
        let detail = "Your account is temporarily prevented from requesting certificates for \
                      a.test. Please visit: https://portal.test/unpause?jwt=token";
        refused(ErrorKind::RateLimited, 429, detail, None)
    });
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    let waiting = site.find(id).await;
    assert_eq!(waiting.attempt, 1, "it counts");
    let failure = waiting.failure.unwrap();
    assert!(
        failure.contains("https://portal.test/unpause?jwt=token"),
        "{failure}"
    );
    assert!(failure.contains("have the name resumed"), "{failure}");
    // The limits of the directory are as they were.
    let other = site.request(&["b.test"]).await;
    site.directory.recover();
    site.house().obtain_due_now().await.unwrap();
    assert_eq!(site.find(other).await.state, State::Valid);
}

#[tokio::test]
async fn whoever_asks_for_a_renewal_learns_at_once_which_limit_is_in_the_way() {
    for (has_renewal_info, is_told) in [(false, true), (true, false)] {
        let site = Site::new(Manners {
            has_renewal_info,
            ..Manners::default()
        })
        .await;
        site.add_issuer("narrow", Some(r#"{"duplicates":"1/7d"}"#))
            .await;
        site.house()
            .issuers
            .rank(site.principal(), MAIN, 0)
            .await
            .unwrap();
        let request = ManagedRequest {
            issuer: Some("narrow".to_owned()),
            ..named("a.test")
        };
        let certificates = &site.house().certificates;
        let requested = certificates
            .request_managed(site.principal(), request)
            .await;
        let id = requested.unwrap().id;
        site.work(site.house(), &[id], HOUR).await;
        assert_eq!(site.find(id).await.state, State::Valid);
        let reference = CertificateRef::Id(id);
        let wait = certificates.wait_before_renewal(site.principal(), &reference);
        let wait = wait.await.unwrap();
        assert_eq!(wait.is_some(), is_told, "{wait:?}");
        let Some(wait) = wait else { continue };
        assert_eq!(
            (wait.issuer.as_str(), wait.limit.as_str()),
            ("narrow", "duplicates")
        );
        assert!(wait.until > site.fixture.now(), "{wait:?}");
        for part in ["exactly these names", "(1/7d)", "ordered at 2"] {
            assert!(wait.reason.contains(part), "{part}: {}", wait.reason);
        }
        // Asking takes nothing, and what was asked for is done in its time.
        certificates
            .renew(site.principal(), &reference)
            .await
            .unwrap();
        site.house().obtain_due_now().await.unwrap();
        let waiting = site.find(id).await;
        let failure = waiting.failure.unwrap_or_default();
        assert!(failure.contains("exactly these names"), "{failure}");
        let counts = site.house().tally.counts();
        let put_off: u64 = counts.denials.values().sum();
        assert_eq!(put_off, 1, "{counts:?}");
        let standing = site.house().standing().await.unwrap();
        let budget = standing
            .budgets
            .iter()
            .find(|budget| budget.directory == "narrow");
        let budget = budget.unwrap();
        assert_eq!((budget.left, budget.burst), (299, 300));
        // What was the matter before is not told any more once somebody asks again.
        certificates
            .renew(site.principal(), &reference)
            .await
            .unwrap();
        assert_eq!(site.find(id).await.failure, None);
    }
}
