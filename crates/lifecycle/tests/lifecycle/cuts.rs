//! Nodes that die while they order certificates: whatever they were at, another one goes on, and no
//! order is placed twice.

use crate::support::SECOND;
use crate::support::directory::Manners;
use crate::support::site::Site;
use lifecycle::{CertificateId, House, State};

/// Moments at which nodes are cut off, spread over the life of an order.
const CUTS: u32 = 100;

/// Manners of a directory that wants proof, and takes its time.
fn exacting() -> Manners {
    Manners {
        trusts: false,
        processing: 1,
        ..Manners::default()
    }
}

/// What must hold after a node died that had to obtain a certificate for `name`.
async fn assert_finished(site: &Site, id: CertificateId, name: &str, what: &str) {
    let lost = site.fixture.now();
    site.work(site.fixture.other_node(), &[id], 240).await;
    let finished = site.find(id).await;
    assert_eq!(
        finished.state,
        State::Valid,
        "{what}: {:?}",
        finished.failure
    );
    assert_eq!(finished.attempt, 0, "{what}");
    assert_eq!(site.versions(id).await, 1, "{what}");
    let took: time::Duration = site.fixture.now() - lost;
    assert!(took <= time::Duration::minutes(4), "{what}: {took}");
    // Where the answer to a new order was lost, nobody can know of the order: it is placed again, but
    // not before a minute is over.
    let orders = site.directory.orders();
    let of_name = orders.iter().filter(|order| order.names == [name]);
    let moments: Vec<_> = of_name.map(|order| order.at).collect();
    assert!(moments.len() <= 2, "{what}: {moments:?}");
    for pair in moments.windows(2) {
        assert!(
            pair[1] - pair[0] >= time::Duration::MINUTE,
            "{what}: {moments:?}"
        );
    }
    // Nothing is left behind.
    let store = &site.fixture.nodes[0].store;
    assert!(store.order(id).await.unwrap().is_none(), "{what}");
    assert!(store.challenges_of(id).await.unwrap().is_empty(), "{what}");
}

/// Obtains what is due on a node until `dies`, which ends what it is at, or until there is nothing
/// left to do. Whether it died.
async fn work_until(
    site: &Site,
    house: &House,
    id: CertificateId,
    mut dies: impl FnMut() -> bool,
) -> bool {
    for _ in 0..8 {
        let house = house.clone();
        let working = tokio::spawn(async move { house.obtain_due_now().await });
        while !working.is_finished() {
            if dies() {
                working.abort();
                drop(working.await);
                return true;
            }
            tokio::task::yield_now().await;
        }
        if site.find(id).await.state == State::Valid {
            return false;
        }
        site.fixture.turn(SECOND);
    }
    false
}

#[tokio::test]
async fn a_node_that_dies_at_any_request_leaves_an_order_that_another_finishes() {
    let site = Site::new(exacting()).await;
    for after in [false, true] {
        for request in 0.. {
            let name = format!("r{request}-{after}.test");
            let what = format!("cut at request {request}, after its effect: {after}");
            let id = site.request(&[&name]).await;
            site.directory.cut_at(request, after);
            let was_cut = work_until(&site, site.house(), id, || site.directory.is_cut()).await;
            site.directory.mend();
            assert_finished(&site, id, &name, &what).await;
            if !was_cut {
                // Directory, new order, authorization, answer, order twice, finalize, certificate.
                assert!(request >= 8, "there are more requests than {request}");
                break;
            }
        }
    }
}

/// What is cut here is whatever happens at that moment: a request, a transaction, or the way from one
/// to the other.
#[tokio::test]
async fn a_node_that_dies_at_any_moment_leaves_an_order_that_another_finishes() {
    let site = Site::new(exacting()).await;
    // How long it takes is found out first, in turns of the runtime.
    let mut turns = 0_u32;
    let id = site.request(&["whole.test"]).await;
    let whole = work_until(&site, site.house(), id, || {
        turns += 1;
        false
    });
    assert!(!whole.await);
    let mut cuts = 0;
    for moment in 0..CUTS {
        let name = format!("m{moment}.test");
        let what = format!("cut at moment {moment}");
        let id = site.request(&[&name]).await;
        let mut left = turns / CUTS * moment;
        let dies = || match left.checked_sub(1) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        };
        if work_until(&site, site.house(), id, dies).await {
            cuts += 1;
        } else {
            // It was faster than what was measured, and so may others be.
            turns = turns / 4 * 3;
        }
        assert_finished(&site, id, &name, &what).await;
    }
    assert!(cuts >= CUTS / 2, "only {cuts} of them were cut off");
}
