use std::collections::HashMap;

use proptest::prelude::*;

use super::mark::PATIENCE;
use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const HOUR: Duration = Duration::from_secs(3600);
/// One place of 300 in three hours.
const PLACE: Duration = Duration::from_secs(36);

/// The budgets of one directory, as the store keeps them.
#[derive(Default)]
struct Budgets(HashMap<String, OffsetDateTime>);

impl Budgets {
    fn levels(&self, demand: &Demand) -> Vec<Option<OffsetDateTime>> {
        let buckets = demand.buckets().iter();
        buckets.map(|bucket| self.0.get(bucket).copied()).collect()
    }

    fn ask(&mut self, purpose: Purpose<'_>, now: OffsetDateTime) -> Verdict {
        let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose);
        let decision = demand.decide(&self.levels(&demand), now, 1 << 62);
        let changed = demand.buckets().iter().cloned().zip(decision.levels);
        let changed = changed.filter_map(|(bucket, level)| Some((bucket, level?)));
        self.0.extend(changed);
        decision.verdict
    }

    fn mark(&mut self, mark: &Mark, now: OffsetDateTime) {
        let level = mark.level(self.0.get(mark.bucket()).copied(), now);
        self.0.insert(mark.bucket().to_owned(), level);
    }

    /// Orders for so many names of domains of their own, of which so many are admitted.
    fn admitted(&mut self, urgency: Urgency, account: &str, count: usize) -> usize {
        let names = (0..count).map(|place| vec![format!("{urgency:?}{account}{place}.test")]);
        let admitted = names.filter(|name| {
            let purpose = Purpose {
                account: Some(account),
                ..purpose(name, urgency)
            };
            self.ask(purpose, NOW) == Verdict::Admitted
        });
        admitted.count()
    }
}

fn purpose(identifiers: &[String], urgency: Urgency) -> Purpose<'_> {
    Purpose {
        identifiers,
        account: None,
        urgency,
        is_replacement: false,
        since: NOW,
    }
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[track_caller]
fn denied(verdict: Verdict) -> (time::Duration, Reason) {
    match verdict {
        Verdict::Denied { at, by } => (at - NOW, by),
        Verdict::Admitted => panic!("it was admitted"),
    }
}

#[test]
fn the_less_urgent_leave_places_to_the_more_urgent() {
    let mut budgets = Budgets::default();
    let names: Vec<_> = (0..400)
        .map(|place| vec![format!("{place}.test")])
        .collect();
    let mut left = names.iter();
    for (urgency, places) in [
        (Urgency::First, 269),
        (Urgency::Renewal, 15),
        (Urgency::Urgent, 15),
    ] {
        let admitted = left
            .by_ref()
            .take_while(|name| budgets.ask(purpose(name, urgency), NOW) == Verdict::Admitted);
        assert_eq!(admitted.count(), places, "{urgency:?}");
    }
}

#[test]
fn an_account_that_has_had_its_share_gets_what_the_others_leave() {
    let mut budgets = Budgets::default();
    assert_eq!(budgets.admitted(Urgency::First, "one", 400), 149);
    assert_eq!(budgets.admitted(Urgency::First, "two", 400), 120);
    let one = names(["late.test"]);
    let one = Purpose {
        account: Some("one"),
        ..purpose(&one, Urgency::First)
    };
    let three = names(["three.test"]);
    let three = Purpose {
        account: Some("three"),
        ..purpose(&three, Urgency::First)
    };
    assert_eq!(denied(budgets.ask(one, NOW)).1, Reason::Share);
    assert_eq!(denied(budgets.ask(three, NOW)).1, Reason::Orders);
    let soon = NOW + PLACE * 2;
    assert_eq!(budgets.ask(three, soon), Verdict::Admitted);
}

#[test]
fn certificates_are_counted_by_registered_domain() {
    let mut budgets = Budgets::default();
    for place in 0..44 {
        let name = vec![format!("n{place}.example.co.uk")];
        assert_eq!(
            budgets.ask(purpose(&name, Urgency::First), NOW),
            Verdict::Admitted
        );
    }
    let next = names(["other.test", "next.example.co.uk"]);
    let (wait, by) = denied(budgets.ask(purpose(&next, Urgency::First), NOW));
    assert_eq!(by, Reason::Domain);
    assert!(wait >= HOUR && wait < HOUR + HOUR * 168 / 50, "{wait}");
    let other = names(["other.test"]);
    assert_eq!(
        budgets.ask(purpose(&other, Urgency::First), NOW),
        Verdict::Admitted
    );
}

#[test]
fn exactly_the_same_names_in_whatever_order_are_duplicates() {
    let mut budgets = Budgets::default();
    let forms = [["a.test", "B.test."], ["b.test", "A.test"]];
    for form in forms.into_iter().cycle().take(4) {
        let form = names(form);
        assert_eq!(
            budgets.ask(purpose(&form, Urgency::Urgent), NOW),
            Verdict::Admitted
        );
    }
    let fifth = names(["b.test", "a.test", "a.test"]);
    let (_, by) = denied(budgets.ask(purpose(&fifth, Urgency::Urgent), NOW));
    assert_eq!(by, Reason::Duplicates);
    let other = names(["a.test"]);
    assert_eq!(
        budgets.ask(purpose(&other, Urgency::Urgent), NOW),
        Verdict::Admitted
    );
}

#[test]
fn orders_that_come_to_nothing_count_as_orders_but_not_as_certificates() {
    let mut budgets = Budgets::default();
    let name = names(["www.example.test"]);
    let purpose = purpose(&name, Urgency::First);
    let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose);
    for _ in 0..50 {
        assert_eq!(budgets.ask(purpose, NOW), Verdict::Admitted);
        let given_back = demand.give_back(&budgets.levels(&demand), true);
        let given_back = demand.buckets().iter().cloned().zip(given_back);
        budgets
            .0
            .extend(given_back.filter_map(|(bucket, level)| Some((bucket, level?))));
    }
    let orders = Limits::LETS_ENCRYPT.orders.unwrap();
    assert_eq!(orders.left(budgets.0.get(ORDERS).copied(), NOW), 250);
}

#[test]
fn a_wildcard_and_its_name_are_two_names_of_one_domain() {
    let both = names(["*.example.test", "example.test"]);
    let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose(&both, Urgency::First));
    let domains = demand
        .buckets()
        .iter()
        .filter(|bucket| bucket.starts_with("domain "));
    assert_eq!(domains.count(), 1);
}

#[test]
fn failed_validations_of_any_of_the_names_stand_in_the_way_and_orders_do_not_count_as_such() {
    let mut budgets = Budgets::default();
    let bad = names(["bad.test"]);
    for _ in 0..4 {
        let mark = Mark::failure(&Limits::LETS_ENCRYPT, "Bad.test").unwrap();
        budgets.mark(&mark, NOW);
    }
    let (_, by) = {
        let mark = Mark::failure(&Limits::LETS_ENCRYPT, "bad.test").unwrap();
        budgets.mark(&mark, NOW);
        denied(budgets.ask(
            purpose(&names(["good.test", "bad.test"]), Urgency::First),
            NOW,
        ))
    };
    assert_eq!(by, Reason::Failures);
    let later = NOW + HOUR / 2;
    assert_eq!(
        budgets.ask(purpose(&bad, Urgency::First), later),
        Verdict::Admitted
    );
    assert_eq!(Mark::failure(&Limits::NONE, "bad.test"), None);
}

#[test]
fn replacements_count_towards_nothing_but_heed_a_directory_that_is_closed() {
    let mut budgets = Budgets::default();
    let name = names(["a.test"]);
    let replacement = Purpose {
        is_replacement: true,
        ..purpose(&name, Urgency::Renewal)
    };
    for _ in 0..1000 {
        assert_eq!(budgets.ask(replacement, NOW), Verdict::Admitted);
    }
    let until = Some(NOW + HOUR);
    let mark = Mark::refusal(&Limits::LETS_ENCRYPT, &name, "Busy", until, NOW);
    budgets.mark(&mark, NOW);
    let (wait, by) = denied(budgets.ask(replacement, NOW));
    assert_eq!(by, Reason::Refused);
    assert!(wait >= HOUR && wait < HOUR + PLACE, "{wait}");
}

#[test]
fn a_refusal_closes_what_it_speaks_of() {
    let (limits, name) = (Limits::LETS_ENCRYPT, names(["www.example.co.uk"]));
    let bucket = |detail: &str| {
        Mark::refusal(&limits, &name, detail, None, NOW)
            .bucket()
            .to_owned()
    };
    for (detail, expected) in [
        (
            "too many new orders (300) from this account in the last 3h0m0s, retry after 2026",
            "orders",
        ),
        (
            "too many certificates (50) already issued for \"example.co.uk\" in the last 168h0m0s",
            "domain example.co.uk",
        ),
        (
            "too many failed authorizations (5) for \"www.example.co.uk\" in the last 1h0m0s",
            "failures www.example.co.uk",
        ),
        (
            "Your account is temporarily prevented from requesting certificates for \
             www.example.co.uk and possibly others. Please visit: https://ca.test/unpause",
            "failures www.example.co.uk",
        ),
        ("Service busy; retry later.", REFUSED),
        ("too many requests", REFUSED),
        ("", REFUSED),
    ] {
        assert_eq!(bucket(detail), expected, "{detail}");
    }
    let same =
        "too many certificates (5) already issued for this exact set of identifiers in the last";
    assert!(bucket(same).starts_with("set "));
    // Where no such limit is known, there is nothing to close but the directory.
    let mark = Mark::refusal(&Limits::NONE, &name, "too many new orders", None, NOW);
    assert_eq!(mark.bucket(), REFUSED);
    assert_eq!(mark.closed_until(), Some(NOW + PATIENCE));
}

#[test]
fn a_refusal_for_a_century_is_asked_about_after_a_week() {
    let name = names(["a.test"]);
    let until = Some(NOW + HOUR * 24 * 36_500);
    let mut budgets = Budgets::default();
    let mark = Mark::refusal(&Limits::LETS_ENCRYPT, &name, "", until, NOW);
    assert_eq!(mark.closed_until(), Some(NOW + HOUR * 24 * 7));
    budgets.mark(&mark, NOW);
    let (wait, _) = denied(budgets.ask(purpose(&name, Urgency::First), NOW));
    assert!(wait <= HOUR * 24 * 8, "{wait}");
}

#[test]
fn a_name_that_a_directory_makes_up_does_not_make_a_bucket_long() {
    let mark = Mark::failure(&Limits::LETS_ENCRYPT, &"ä".repeat(100_000)).unwrap();
    assert!(mark.bucket().len() <= 1024);
    let name = names(["a.test", "b.test"]);
    let detail = format!("failed authorizations for \"{}\"", "a".repeat(100_000));
    let mark = Mark::refusal(&Limits::LETS_ENCRYPT, &name, &detail, None, NOW);
    assert!(mark.bucket().len() <= 1024);
}

#[test]
fn those_that_wait_come_back_one_for_each_place() {
    let mut budgets = Budgets::default();
    let names: Vec<_> = (0..2269)
        .map(|place| vec![format!("{place}.test")])
        .collect();
    let mut moments = Vec::new();
    for name in &names {
        if let Verdict::Denied { at, .. } = budgets.ask(purpose(name, Urgency::First), NOW) {
            moments.push(at);
        }
    }
    assert_eq!(moments.len(), 2000);
    for (earlier, later) in moments.iter().zip(moments.iter().skip(1)) {
        assert!(earlier < later, "{earlier} {later}");
        assert!(*later - *earlier < PLACE * 2);
    }
    let length = *moments.last().unwrap() - NOW;
    assert!(length > PLACE * 1998 && length < PLACE * 2002, "{length}");
}

#[test]
fn the_urgent_do_not_wait_behind_the_others() {
    let mut budgets = Budgets::default();
    for place in 0..5000 {
        let name = vec![format!("{place}.test")];
        budgets.ask(purpose(&name, Urgency::First), NOW);
    }
    assert_eq!(budgets.admitted(Urgency::Urgent, "urgent", 30), 30);
    let name = names(["urgent.test"]);
    let (wait, _) = denied(budgets.ask(purpose(&name, Urgency::Urgent), NOW));
    assert!(wait < PLACE * 3, "{wait}");
}

#[test]
fn who_lost_a_place_after_waiting_does_not_go_to_the_end_again() {
    let mut budgets = Budgets::default();
    for place in 0..1270 {
        let name = vec![format!("{place}.test")];
        budgets.ask(purpose(&name, Urgency::First), NOW);
    }
    let waited = Purpose {
        since: NOW - HOUR * 100,
        ..purpose(&[], Urgency::First)
    };
    let (old, _) = denied(budgets.ask(waited, NOW));
    let (new, _) = denied(budgets.ask(purpose(&[], Urgency::First), NOW));
    assert!(new > PLACE * 1000);
    // The draw of these tests is a quarter.
    assert!(old > PLACE * 700 && old < PLACE * 800, "{old}");
}

proptest! {
    #[test]
    fn whatever_the_levels_are_there_is_an_answer_in_time(
        levels in proptest::collection::vec(proptest::option::of(any::<i32>()), 0..12),
        now in any::<i32>(),
        since in any::<i32>(),
        draw in any::<u64>(),
        is_replacement in any::<bool>(),
    ) {
        let second = |count| OffsetDateTime::from_unix_timestamp(i64::from(count)).unwrap();
        let levels: Vec<_> = levels.into_iter().map(|level| level.map(second)).collect();
        let (name, now) = (names(["a.test"]), second(now));
        let purpose = Purpose {
            account: Some("one"),
            since: second(since),
            is_replacement,
            ..purpose(&name, Urgency::First)
        };
        let demand = Demand::new(&Limits::LETS_ENCRYPT, purpose);
        let decision = demand.decide(&levels, now, draw);
        prop_assert_eq!(decision.levels.len(), demand.buckets().len());
        if let Verdict::Denied { at, .. } = decision.verdict {
            prop_assert!(at >= now);
            prop_assert!(at - now <= LONGEST_QUEUE + HOUR * 4);
        }
    }
}
