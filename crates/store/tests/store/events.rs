//! The audit log as a change feed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{Event, EventId, NewEvent, NewWebhook, Scope, Store, Wanted, WebhookId};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Database, account, event, moment, record};

on_both_databases!(
    an_event_comes_back_as_it_was,
    a_follower_reads_on_where_it_stopped,
    a_follower_misses_nothing_while_many_write,
    a_reader_comes_past_what_it_leaves_out,
    a_stretch_ends_where_its_page_is_full,
    for_webhooks_only_what_their_accounts_wait_for_is_read,
);

async fn an_event_comes_back_as_it_was(database: &Database) {
    let store = database.open().await;
    assert_eq!(store.last_event().await.unwrap(), None);
    let account = account(&store).await;
    let object = Uuid::new_v4();
    let told = NewEvent {
        at: moment(3),
        account_id: Some(account),
        actor: "somebody".to_owned(),
        kind: "thing.done",
        object: Some(object),
        detail: "in detail".to_owned(),
    };
    store.add_event(told).await.unwrap();
    let events = store
        .events_after(Scope::Account(account), None, 10)
        .await
        .unwrap();
    let found = events.last().unwrap();
    assert_eq!(
        *found,
        Event {
            id: found.id,
            at: moment(3),
            account_id: Some(account),
            actor: "somebody".to_owned(),
            kind: "thing.done".to_owned(),
            object: Some(object),
            detail: "in detail".to_owned(),
        }
    );
    assert_eq!(store.last_event().await.unwrap(), Some(found.id));
    assert_eq!(EventId::from_number(found.id.as_number()), found.id);
}

async fn a_follower_reads_on_where_it_stopped(database: &Database) {
    let store = database.open().await;
    let kinds = ["a", "b", "c", "d", "e"];
    for kind in kinds {
        store.add_event(event(None, kind)).await.unwrap();
    }
    let mut position = None;
    let mut found = Vec::new();
    loop {
        let page = store
            .events_after(Scope::Everything, position, 2)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        position = Some(last.id);
        found.extend(page.into_iter().map(|event| event.kind));
    }
    assert_eq!(found, kinds);
}

async fn a_reader_comes_past_what_it_leaves_out(database: &Database) {
    let store = database.open().await;
    let nothing = store.feed(Wanted::AllBut(&["dull"]), None).await.unwrap();
    assert_eq!((nothing.place, nothing.is_last), (None, true));
    for kind in ["dull", "a", "dull", "grey", "b", "dull"] {
        store.add_event(event(None, kind)).await.unwrap();
    }
    let end = store.last_event().await.unwrap();
    let stretch = store
        .feed(Wanted::AllBut(&["dull", "grey"]), None)
        .await
        .unwrap();
    let kinds: Vec<&str> = stretch.events.iter().map(|event| &*event.kind).collect();
    assert_eq!(kinds, ["a", "b"]);
    assert_eq!((stretch.place, stretch.is_last), (end, true));
    store.add_event(event(None, "dull")).await.unwrap();
    let dull = store.feed(Wanted::AllBut(&["dull"]), end).await.unwrap();
    assert_eq!(dull.events, []);
    assert!(dull.place > end);
    let all = store.feed(Wanted::AllBut(&[]), None).await.unwrap();
    assert_eq!(all.events.len(), 7);
    assert_eq!(
        store
            .feed(Wanted::AllBut(&[]), dull.place)
            .await
            .unwrap()
            .events,
        []
    );
}

async fn a_stretch_ends_where_its_page_is_full(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let before = store.last_event().await.unwrap();
    for _ in 0..1_002 {
        store.add_event(event(Some(account), "a")).await.unwrap();
    }
    let first = store.feed(Wanted::AllBut(&["b"]), before).await.unwrap();
    assert_eq!((first.events.len(), first.is_last), (1_000, false));
    assert_eq!(first.events.last().map(|event| event.id), first.place);
    let rest = store
        .feed(Wanted::AllBut(&["b"]), first.place)
        .await
        .unwrap();
    assert_eq!((rest.events.len(), rest.is_last), (2, true));
}

async fn for_webhooks_only_what_their_accounts_wait_for_is_read(database: &Database) {
    let store = database.open().await;
    let (with, without) = (account(&store).await, account(&store).await);
    let webhook = NewWebhook {
        id: WebhookId::random(),
        account_id: with,
        url: "https://hook.test/".to_owned(),
        secret: b"a secret".to_vec().into(),
        kinds: Vec::new(),
        format: "chancery".to_owned(),
        is_trusted: false,
        created_at: moment(0),
    };
    let added = event(Some(with), "webhook.added");
    store.add_webhook(webhook, added).await.unwrap();
    let place = store.last_event().await.unwrap();
    for (account, kind) in [
        (Some(with), "a"),
        (Some(with), "b"),
        (Some(without), "a"),
        (None, "a"),
    ] {
        store.add_event(event(account, kind)).await.unwrap();
    }
    let stretch = store.feed(Wanted::ForWebhooks(&["a", "c"]), place).await;
    let stretch = stretch.unwrap();
    let found: Vec<_> = stretch
        .events
        .iter()
        .map(|event| event.account_id)
        .collect();
    assert_eq!(found, [Some(with)]);
    assert_eq!(stretch.place, store.last_event().await.unwrap());
}

async fn follow(store: Store, done: Arc<AtomicBool>) -> BTreeSet<Uuid> {
    let mut position = None;
    let mut seen = BTreeSet::new();
    loop {
        let finished = done.load(Ordering::Acquire);
        let page = store
            .events_after(Scope::Everything, position, 50)
            .await
            .unwrap();
        if let Some(last) = page.last() {
            position = Some(last.id);
        } else if finished {
            return seen;
        }
        seen.extend(page.into_iter().filter_map(|event| event.object));
        tokio::task::yield_now().await;
    }
}

async fn a_follower_misses_nothing_while_many_write(database: &Database) {
    let store = database.open().await;
    let other_node = database.open().await;
    let account = account(&store).await;
    let done = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn(follow(database.open().await, Arc::clone(&done)));

    let mut writers = JoinSet::new();
    for index in 0..240 {
        let store = if index % 2 == 0 {
            store.clone()
        } else {
            other_node.clone()
        };
        writers.spawn(async move {
            if index % 3 == 0 {
                let object = Uuid::new_v4();
                let told = NewEvent {
                    object: Some(object),
                    ..event(Some(account), "alone")
                };
                store.add_event(told).await.unwrap();
                object
            } else {
                let record = record(account, None);
                let object = record.certificate.id.as_uuid();
                store.add_certificate(record).await.unwrap();
                object
            }
        });
    }
    let expected: BTreeSet<Uuid> = writers.join_all().await.into_iter().collect();
    done.store(true, Ordering::Release);
    assert_eq!(follower.await.unwrap(), expected);
}
