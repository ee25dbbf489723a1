//! Deliveries to webhooks.

use std::collections::BTreeSet;

use store::{
    AccountId, Delivery, DeliveryId, Error, EventId, NewDelivery, Scope, Store, Webhook, WebhookId,
};
use tokio::task::JoinSet;

use crate::support::{Database, account, event, moment};
use crate::webhooks::{add, webhook};

on_both_databases!(
    a_delivery_is_claimed_with_all_that_it_takes,
    a_stretch_of_the_feed_is_delivered_once,
    of_several_nodes_one_makes_the_deliveries,
    deliveries_to_removed_webhooks_are_left_out,
    a_delivery_that_failed_is_due_again,
    no_two_nodes_claim_the_same_delivery,
    no_account_waits_behind_what_another_has_waiting,
    what_is_to_be_delivered_goes_with_its_webhook,
    overlong_bodies_are_refused,
);

fn place(number: u64) -> EventId {
    EventId::from_number(number)
}

fn delivery(webhook: WebhookId, event: u64, due: i64) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::at(moment(due)),
        webhook_id: webhook,
        event_id: place(event),
        body: format!("{{\"event\":{event}}}"),
        next_attempt_at: moment(due),
        created_at: moment(5),
    }
}

/// Makes deliveries to a webhook for events, due at the numbers of the events.
async fn make(store: &Store, webhook: &Webhook, events: impl Iterator<Item = u64>) {
    let deliveries: Vec<_> = events
        .map(|event| delivery(webhook.id, event, event.try_into().unwrap()))
        .collect();
    let made = store.add_deliveries("notifier", None, place(1_000), deliveries);
    assert!(made.await.unwrap());
}

async fn claim(store: &Store, now: i64, until: i64) -> Vec<Delivery> {
    let claimed = store.claim_deliveries(moment(now), moment(until), (100, 10), &[]);
    let claimed = claimed.await;
    let mut claimed = claimed.unwrap();
    claimed.sort_by_key(|delivery| delivery.event_id);
    claimed
}

async fn a_delivery_is_claimed_with_all_that_it_takes(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let made = webhook(account);
    let added = store.add_webhook(made.clone(), event(None, "webhook.added"));
    added.await.unwrap();
    let found = store.webhook(Scope::Account(account), made.id).await;
    let found = found.unwrap().unwrap();
    let delivery = delivery(made.id, 7, 20);
    let written = store.add_deliveries("notifier", None, place(7), vec![delivery.clone()]);
    assert!(written.await.unwrap());
    assert_eq!(claim(&store, 19, 60).await, []);
    let claimed = claim(&store, 20, 60).await;
    let expected = Delivery {
        id: delivery.id,
        webhook: found,
        secret: made.secret,
        event_id: place(7),
        body: delivery.body,
        attempt: 0,
        created_at: moment(5),
    };
    assert_eq!(claimed, [expected]);
    assert_eq!(claim(&store, 59, 90).await, []);
    assert!(store.end_delivery(delivery.id).await.unwrap());
    assert!(!store.end_delivery(delivery.id).await.unwrap());
    assert_eq!(claim(&store, 60, 90).await, []);
}

async fn a_stretch_of_the_feed_is_delivered_once(database: &Database) {
    let store = database.open().await;
    let webhook = add(&store, account(&store).await).await;
    let mut from = None;
    for (to, made) in [(3, vec![1, 2]), (4, vec![]), (9, vec![9])] {
        let deliveries = || {
            let made = made.iter().map(|event| delivery(webhook.id, *event, 5));
            made.collect::<Vec<_>>()
        };
        let written = store.add_deliveries("notifier", from, place(to), deliveries());
        assert!(written.await.unwrap());
        let again = store.add_deliveries("notifier", from, place(to), deliveries());
        assert!(!again.await.unwrap(), "another node was faster");
        assert_eq!(store.cursor("notifier").await.unwrap(), Some(place(to)));
        from = Some(place(to));
    }
    let events: Vec<_> = claim(&store, 5, 60)
        .await
        .into_iter()
        .map(|delivery| delivery.event_id)
        .collect();
    assert_eq!(events, [1, 2, 9].map(place));
}

async fn of_several_nodes_one_makes_the_deliveries(database: &Database) {
    let store = database.open().await;
    let webhook = add(&store, account(&store).await).await;
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let store = database.open().await;
        let id = webhook.id;
        tasks.spawn(async move {
            let mut made = 0;
            for event in 1..=5_u64 {
                let from = (event > 1).then(|| place(event - 1));
                let deliveries = vec![delivery(id, event, 5)];
                let written = store.add_deliveries("notifier", from, place(event), deliveries);
                made += usize::from(written.await.unwrap());
            }
            made
        });
    }
    let made: usize = tasks.join_all().await.into_iter().sum();
    assert_eq!(made, 5);
    assert_eq!(claim(&store, 5, 60).await.len(), 5);
}

async fn deliveries_to_removed_webhooks_are_left_out(database: &Database) {
    let store = database.open().await;
    let webhook = add(&store, account(&store).await).await;
    let gone = WebhookId::random();
    let deliveries = vec![delivery(gone, 1, 5), delivery(webhook.id, 1, 5)];
    let written = store.add_deliveries("notifier", None, place(1), deliveries);
    assert!(written.await.unwrap());
    assert_eq!(claim(&store, 5, 60).await.len(), 1);
}

async fn a_delivery_that_failed_is_due_again(database: &Database) {
    let store = database.open().await;
    let webhook = add(&store, account(&store).await).await;
    make(&store, &webhook, 1..=1).await;
    let id = claim(&store, 1, 50).await[0].id;
    let late = store.put_off_delivery(id, moment(49), 1, moment(70)).await;
    assert!(!late.unwrap());
    let put_off = store.put_off_delivery(id, moment(50), 1, moment(70)).await;
    assert!(put_off.unwrap());
    assert_eq!(claim(&store, 69, 90).await, []);
    assert_eq!(claim(&store, 70, 90).await[0].attempt, 1);
    // Whoever claimed it went away.
    assert_eq!(claim(&store, 90, 120).await[0].attempt, 1);
}

async fn no_two_nodes_claim_the_same_delivery(database: &Database) {
    let store = database.open().await;
    let other_node = database.open().await;
    let webhook = add(&store, account(&store).await).await;
    make(&store, &webhook, 1..=60).await;
    let mut tasks = JoinSet::new();
    for index in 0..6 {
        let store = [&store, &other_node][index % 2].clone();
        tasks.spawn(async move {
            let mut all = Vec::new();
            for _ in 0..30 {
                all.extend(claim(&store, 100, 200).await);
            }
            all
        });
    }
    let claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 60, "each once");
    let events: BTreeSet<_> = claimed.iter().map(|delivery| delivery.event_id).collect();
    assert_eq!(events, (1..=60).map(place).collect());
}

async fn no_account_waits_behind_what_another_has_waiting(database: &Database) {
    let store = database.open().await;
    let busy = add(&store, account(&store).await).await;
    let second = add(&store, busy.account_id).await;
    let idle = add(&store, account(&store).await).await;
    let mut deliveries: Vec<_> = (1..=20).map(|event| delivery(busy.id, event, 5)).collect();
    deliveries.push(delivery(second.id, 21, 6));
    deliveries.push(delivery(idle.id, 22, 7));
    let made = store.add_deliveries("notifier", None, place(22), deliveries);
    assert!(made.await.unwrap());
    let webhooks = [busy.id, second.id, idle.id, WebhookId::random()];
    let waiting = store.waiting_deliveries(&webhooks).await.unwrap();
    assert_eq!(
        waiting,
        [(busy.id, 20), (second.id, 1), (idle.id, 1)].into()
    );

    let claim = async |except: &[AccountId]| {
        let claimed = store.claim_deliveries(moment(10), moment(60), (100, 3), except);
        let claimed = claimed.await.unwrap().into_iter();
        let mut accounts: Vec<_> = claimed
            .map(|delivery| delivery.webhook.account_id == busy.account_id)
            .collect();
        accounts.sort_unstable();
        accounts
    };
    assert_eq!(claim(&[]).await, [false, true, true, true]);
    assert_eq!(claim(&[busy.account_id]).await, [false; 0]);
    assert_eq!(claim(&[idle.account_id]).await, [true, true, true]);
}

async fn what_is_to_be_delivered_goes_with_its_webhook(database: &Database) {
    let store = database.open().await;
    let webhook = add(&store, account(&store).await).await;
    make(&store, &webhook, 1..=5).await;
    let removed = event(None, "webhook.removed");
    let gone = store.remove_webhook(Scope::Everything, webhook.id, removed);
    assert!(gone.await.unwrap());
    assert_eq!(claim(&store, 10, 60).await, []);
    assert_eq!(database.count("deliveries").await, 0);
}

async fn overlong_bodies_are_refused(database: &Database) {
    let store = database.open().await;
    let webhook = add(&store, account(&store).await).await;
    let mut long = delivery(webhook.id, 1, 5);
    long.body = "x".repeat(100_000);
    let refused = store.add_deliveries("notifier", None, place(1), vec![long]);
    let refused = refused.await;
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    assert_eq!(store.cursor("notifier").await.unwrap(), None);
}
