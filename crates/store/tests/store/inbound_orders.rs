//! Orders that were placed with us and wait for a proof of control.

use store::{
    AccountId, Error, Exportable, INBOUND_TEXT_LIMIT, InboundContent, InboundOrder,
    NewInboundOrder, Scope, Store, VersionId,
};
use tokio::task::JoinSet;

use crate::support::{
    Database, account, authority, event, moment, record, record_with_key, unique,
};

on_both_databases!(
    an_order_comes_back_as_it_was_kept,
    an_order_is_found_by_its_account_alone,
    names_are_proven_once_and_for_good,
    an_order_is_completed_by_one_of_many,
    an_order_that_cannot_be_completed_leaves_no_certificate,
    orders_that_are_completed_together_do_not_hold_each_other_up,
    an_account_has_so_many_waiting_orders_and_no_more,
    what_has_had_its_time_is_forgotten,
    texts_that_are_too_long_are_refused,
);

const LIMIT: usize = 100;

fn order(account: AccountId) -> NewInboundOrder {
    NewInboundOrder {
        id: format!("{:040x}", unique()),
        account_id: account,
        token: "the token".to_owned(),
        kinds: vec!["dns-01".to_owned(), "http-01".to_owned()],
        form: "pem".to_owned(),
        authority: "certmaker".to_owned(),
        content: InboundContent {
            subject: vec![0x30, 0],
            identifiers: vec!["a.example.com".to_owned(), "fd00::1".to_owned()],
            days: 7,
            key_algorithm: Some("p256".to_owned()),
            public_key: None,
        },
        created_at: moment(10),
        expires_at: moment(20),
    }
}

async fn add(store: &Store, order: &NewInboundOrder) {
    store.add_inbound_order(order.clone(), LIMIT).await.unwrap();
}

async fn find(store: &Store, id: &str) -> Option<InboundOrder> {
    store.inbound_order(Scope::Everything, id).await.unwrap()
}

async fn an_order_comes_back_as_it_was_kept(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut kept = order(account);
    for (key_algorithm, public_key) in [(Some("p256".to_owned()), None), (None, Some(vec![1, 2]))] {
        kept.id = format!("{:040x}", unique());
        kept.content.key_algorithm = key_algorithm;
        kept.content.public_key = public_key;
        add(&store, &kept).await;
        let expected = InboundOrder {
            id: kept.id.clone(),
            account_id: account,
            token: kept.token.clone(),
            kinds: kept.kinds.clone(),
            form: kept.form.clone(),
            authority: kept.authority.clone(),
            content: Some(kept.content.clone()),
            proven: Vec::new(),
            completion: None,
            created_at: moment(10),
            expires_at: moment(20),
        };
        assert_eq!(find(&store, &kept.id).await, Some(expected));
    }
    let again = store.add_inbound_order(kept, LIMIT).await;
    assert!(matches!(again, Err(Error::Duplicate)), "{again:?}");
    let stranger = store
        .add_inbound_order(order(AccountId::random()), LIMIT)
        .await;
    assert!(
        matches!(stranger, Err(Error::UnknownAccount)),
        "{stranger:?}"
    );
}

async fn an_order_is_found_by_its_account_alone(database: &Database) {
    let store = database.open().await;
    let (owner, other) = (account(&store).await, account(&store).await);
    let kept = order(owner);
    add(&store, &kept).await;
    for (scope, is_found) in [(owner, true), (other, false)] {
        let found = store.inbound_order(Scope::Account(scope), &kept.id).await;
        assert_eq!(found.unwrap().is_some(), is_found);
    }
    for id in ["", "x", "' or '1'='1", &kept.id[1..]] {
        assert_eq!(find(&store, id).await, None);
    }
}

async fn names_are_proven_once_and_for_good(database: &Database) {
    let store = database.open().await;
    let kept = order(account(&store).await);
    add(&store, &kept).await;
    let names = kept.content.identifiers.clone();
    for _ in 0..2 {
        let proven = store.prove_inbound(&kept.id, &names[..1], moment(11)).await;
        proven.unwrap();
        assert_eq!(find(&store, &kept.id).await.unwrap().proven, names[..1]);
    }
    store
        .prove_inbound(&kept.id, &names, moment(12))
        .await
        .unwrap();
    let mut proven = find(&store, &kept.id).await.unwrap().proven;
    proven.sort();
    assert_eq!(proven, names);
    let gone = store.prove_inbound("gone", &names, moment(12)).await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
}

async fn an_order_is_completed_by_one_of_many(database: &Database) {
    let (store, elsewhere) = (database.open().await, database.open().await);
    let (account, authority) = (account(&store).await, authority(&store).await);
    let kept = order(account);
    add(&store, &kept).await;
    let mut completing = JoinSet::new();
    for number in 0..16 {
        let store = [&store, &elsewhere][number % 2].clone();
        let (id, until) = (kept.id.clone(), Exportable::Until(moment(99)));
        completing.spawn(async move {
            let record = record_with_key(account, Some(authority), until);
            let version = record.version.as_ref().unwrap().id;
            (version, store.complete_inbound_order(&id, record).await)
        });
    }
    let (mut completed, mut late) = (Vec::new(), 0);
    for (version, outcome) in completing.join_all().await {
        match outcome {
            Ok(()) => completed.push(version),
            Err(Error::Completed) => late += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((completed.len(), late), (1, 15));
    let found = find(&store, &kept.id).await.unwrap();
    assert_eq!(found.content, None);
    assert_eq!(found.completion, Some((completed[0], moment(0))));
    for table in ["certificates", "versions", "private_keys"] {
        assert_eq!(database.count(table).await, 1, "{table}");
    }
}

async fn an_order_that_cannot_be_completed_leaves_no_certificate(database: &Database) {
    let store = database.open().await;
    let (owner, other) = (account(&store).await, account(&store).await);
    let kept = order(owner);
    add(&store, &kept).await;
    for (id, account) in [("gone", owner), (kept.id.as_str(), other)] {
        let refused = store
            .complete_inbound_order(id, record(account, None))
            .await;
        assert!(matches!(refused, Err(Error::Completed)), "{refused:?}");
    }
    let mut taken = record(owner, None);
    store.add_certificate(taken.clone()).await.unwrap();
    taken.certificate.id = store::CertificateId::random();
    taken.version.as_mut().unwrap().id = VersionId::at(moment(0));
    let refused = store.complete_inbound_order(&kept.id, taken).await;
    assert!(matches!(refused, Err(Error::DuplicateName)), "{refused:?}");
    assert_eq!(find(&store, &kept.id).await.unwrap().completion, None);
    assert_eq!(database.count("certificates").await, 1);
}

async fn orders_that_are_completed_together_do_not_hold_each_other_up(database: &Database) {
    let (store, elsewhere) = (database.open().await, database.open().await);
    let account = account(&store).await;
    let mut orders = Vec::new();
    for _ in 0..24 {
        let kept = order(account);
        add(&store, &kept).await;
        orders.push(kept.id);
    }
    let mut completing = JoinSet::new();
    for (place, id) in orders.iter().chain(orders.iter().rev()).enumerate() {
        let one = [&store, &elsewhere][usize::from(place >= 24)].clone();
        let id = id.clone();
        completing
            .spawn(async move { one.complete_inbound_order(&id, record(account, None)).await });
        // Others go on meanwhile.
        let other = [&store, &elsewhere][place % 2].clone();
        completing.spawn(async move { other.add_certificate(record(account, None)).await });
    }
    for outcome in completing.join_all().await {
        assert!(matches!(outcome, Ok(()) | Err(Error::Completed)));
    }
    assert_eq!(database.count("certificates").await, 24 + 48);
    for id in orders {
        assert!(find(&store, &id).await.unwrap().completion.is_some());
    }
}

async fn an_account_has_so_many_waiting_orders_and_no_more(database: &Database) {
    let store = database.open().await;
    let (account, other) = (account(&store).await, account(&store).await);
    let first = order(account);
    for kept in [&first, &order(account)] {
        store.add_inbound_order(kept.clone(), 2).await.unwrap();
    }
    let full = store.add_inbound_order(order(account), 2).await;
    assert!(matches!(full, Err(Error::Full)), "{full:?}");
    store.add_inbound_order(order(other), 2).await.unwrap();
    // Completed ones wait no more, and neither do those that are too late.
    store
        .complete_inbound_order(&first.id, record(account, None))
        .await
        .unwrap();
    store.add_inbound_order(order(account), 2).await.unwrap();
    let mut later = order(account);
    later.created_at = moment(20);
    store.add_inbound_order(later, 2).await.unwrap();
}

async fn what_has_had_its_time_is_forgotten(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut kept = Vec::new();
    for age in [0, 1, 2] {
        let mut order = order(account);
        (order.created_at, order.expires_at) = (moment(age), moment(100 + age));
        add(&store, &order).await;
        let names = &order.content.identifiers;
        store
            .prove_inbound(&order.id, names, moment(age))
            .await
            .unwrap();
        kept.push(order.id);
    }
    let swept = store.sweep_inbound_orders(moment(101), moment(0)).await;
    assert_eq!(swept.unwrap(), 1);
    assert_eq!(find(&store, &kept[0]).await, None);
    let expired = find(&store, &kept[1]).await.unwrap();
    assert_eq!((expired.content, expired.completion), (None, None));
    assert!(find(&store, &kept[2]).await.unwrap().content.is_some());
    let swept = store.sweep_inbound_orders(moment(200), moment(200)).await;
    assert_eq!(swept.unwrap(), 2);
    for table in ["inbound_orders", "inbound_proofs"] {
        assert_eq!(database.count(table).await, 0, "{table}");
    }
    // What belongs to an account goes with it.
    add(&store, &order(account)).await;
    let deleted = store
        .delete_account(account, event(None, "account.deleted"))
        .await;
    assert!(deleted.unwrap());
    assert_eq!(database.count("inbound_orders").await, 0);
}

async fn texts_that_are_too_long_are_refused(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let long = "x".repeat(INBOUND_TEXT_LIMIT + 1);
    let changes: [fn(&mut NewInboundOrder, String); 4] = [
        |order, long| order.id = long,
        |order, long| order.token = long,
        |order, long| order.kinds = vec![long],
        |order, long| order.form = long,
    ];
    for change in changes {
        let mut order = order(account);
        change(&mut order, long.clone());
        let refused = store.add_inbound_order(order, LIMIT).await;
        assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    }
}
