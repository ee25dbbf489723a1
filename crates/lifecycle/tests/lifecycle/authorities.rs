//! Administering authorities: two nodes on one embedded database, with a clock that the tests turn.

use crate::support::authorities::{
    PASSPHRASE, is_good, is_signed_by, leads_to, new_authority, passphrase, tier,
};
use crate::support::{DAY, Fixture, HOUR, SECOND};
use lifecycle::{
    CaMaterial, DEFAULT_AUTHORITY, DueKind, Error, ImportRequest, NewAuthorityRequest, Tiers,
    TokenLimits,
};
use pki::{KeyAlgorithm, PrivateKey};
use store::{KeyPlace, Scope};
use zeroize::Zeroizing;

const YEAR: i64 = 365 * DAY;

#[tokio::test]
async fn an_authority_certifies_only_the_names_that_it_is_made_for() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let request = NewAuthorityRequest {
        permitted: vec!["plant.test".to_owned(), "10.20.0.0/16".to_owned()],
        excluded: vec!["safe.plant.test".to_owned()],
        days: Some(400),
        ..new_authority("plant", Tiers::Two)
    };
    let made = authorities
        .create(&fixture.principal, request.clone())
        .await
        .unwrap();
    assert_eq!(made.permitted, ["plant.test", "10.20.0.0/16"]);
    assert_eq!(made.excluded, ["safe.plant.test", "::/0"]);
    let issuing = &tier(&made, "issuing").certificate;
    assert!(is_signed_by(issuing, &tier(&made, "root").certificate));
    let life = issuing.not_after() - fixture.now();
    assert_eq!(life.whole_days(), 400);

    // The other node knows it, too.
    for house in [fixture.house(), fixture.other_node()] {
        let issued = fixture.sign(house, "plant", &["a.plant.test", "10.20.3.4"]);
        let issued = issued.await.unwrap();
        assert!(is_signed_by(&issued.leaf, issuing));
        for name in ["plant.example", "10.21.0.1", "::1", "x.safe.plant.test"] {
            let refused = fixture.sign(house, "plant", &[name]).await.unwrap_err();
            assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
            assert!(
                refused.to_string().contains("name_constraints"),
                "{refused}"
            );
        }
    }
    let again = authorities.create(&fixture.principal, request).await;
    assert!(matches!(again, Err(Error::NameTaken { .. })), "{again:?}");
}

#[tokio::test]
async fn only_administrators_see_and_change_authorities() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let tenant = fixture.tenant("tenant", TokenLimits::default()).await;
    let name = DEFAULT_AUTHORITY;
    let import = ImportRequest {
        name: "new".to_owned(),
        material: CaMaterial::Pkcs12(Zeroizing::new(Vec::new())),
        passphrase: passphrase(),
    };
    let tries = [
        authorities.all(&tenant).await.map(drop),
        authorities.show(&tenant, name).await.map(drop),
        authorities
            .create(&tenant, new_authority("new", Tiers::Two))
            .await
            .map(drop),
        authorities.import(&tenant, import).await.map(drop),
        authorities
            .export_root_key(&tenant, name, passphrase())
            .await
            .map(drop),
        authorities
            .remove_root_key(&tenant, name, b"", passphrase(), None)
            .await
            .map(drop),
        authorities
            .return_root_key(&tenant, name, b"", passphrase())
            .await
            .map(drop),
        authorities
            .request_certificate(&tenant, name, false)
            .await
            .map(drop),
        authorities
            .install_certificate(&tenant, name, "")
            .await
            .map(drop),
        authorities.make_successor(&tenant, name).await.map(drop),
        authorities.switch_root(&tenant, name).await.map(drop),
    ];
    for refused in tries {
        assert!(
            matches!(refused, Err(Error::Forbidden { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_issues_goes_on_while_the_key_of_the_root_is_away() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, other) = (fixture.house(), fixture.other_node());
    let exported = fixture.exported(DEFAULT_AUTHORITY).await;
    assert!(!exported.contains("BEGIN PRIVATE KEY"), "it is in clear");
    let wrong = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let wrong = wrong.to_encrypted_pem(PASSPHRASE).unwrap();
    let refused = fixture.remove_root_key(DEFAULT_AUTHORITY, &wrong).await;
    assert!(matches!(refused, Err(Error::KeyMismatch)), "{refused:?}");
    assert_eq!(
        tier(&fixture.shown(DEFAULT_AUTHORITY).await, "root").key_place,
        "store"
    );

    let without = fixture.remove_root_key(DEFAULT_AUTHORITY, &exported).await;
    let without = without.unwrap();
    assert_eq!(tier(&without, "root").key_place, "elsewhere");
    let (root, issuing) = (
        tier(&without, "root").certificate.clone(),
        tier(&without, "issuing").certificate.clone(),
    );
    // For most of the year that it was prepared for.
    for _ in 0..2 {
        fixture.turn(170 * DAY);
        for house in [house, other] {
            let issued = fixture.sign(house, DEFAULT_AUTHORITY, &["a.test"]).await;
            assert!(is_signed_by(&issued.unwrap().leaf, &issuing));
            assert!(is_good(house, &root, &issuing).await);
            assert!(fixture.is_listed(house, &root).await);
        }
    }
    let view = fixture.shown(DEFAULT_AUTHORITY).await;
    let due = view.due.first().unwrap();
    assert_eq!((due.kind, due.is_now), (DueKind::RootList, true));
    assert!(due.advice.contains("import-root"), "{}", due.advice);
    let refused = house
        .authorities
        .make_successor(&fixture.principal, DEFAULT_AUTHORITY)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("import-root"), "{refused}");

    assert!(matches!(
        fixture.return_root_key(&wrong).await,
        Err(Error::KeyMismatch)
    ));
    let returned = fixture.return_root_key(&exported).await.unwrap();
    assert_eq!(tier(&returned, "root").key_place, "store");
}

#[tokio::test]
async fn the_only_tier_keeps_its_key() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let authorities = &fixture.house().authorities;
    let request = new_authority("single", Tiers::One);
    authorities
        .create(&fixture.principal, request)
        .await
        .unwrap();
    let exported = fixture.exported("single").await;
    let refused = fixture.remove_root_key("single", &exported).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    let short = Zeroizing::new("short".to_owned());
    let refused = authorities.export_root_key(&fixture.principal, "single", short);
    assert!(matches!(refused.await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn an_issuing_ca_is_renewed_once_and_the_one_before_answers_on() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, other) = (fixture.house(), fixture.other_node());
    let before = fixture.shown(DEFAULT_AUTHORITY).await;
    let old = tier(&before, "issuing").certificate.clone();
    let due = before.due.first().unwrap();
    assert_eq!(due.kind, DueKind::Issuing);
    assert_eq!(house.authorities.renew_due().await.unwrap(), 0);

    fixture.turn((due.by - fixture.now()).whole_seconds() - DAY);
    assert_eq!(house.authorities.renew_due().await.unwrap(), 0);
    let early = fixture.sign(house, DEFAULT_AUTHORITY, &["old.test"]).await;
    let early = early.unwrap();
    assert!(early.leaf.not_after() - fixture.now() >= time::Duration::days(182));
    fixture.turn(DAY);
    let (one, two) = tokio::join!(house.authorities.renew_due(), other.authorities.renew_due());
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(house.authorities.renew_due().await.unwrap(), 0);

    fixture.turn(2 * SECOND);
    let after = fixture.shown(DEFAULT_AUTHORITY).await;
    let new = tier(&after, "issuing").certificate.clone();
    assert_ne!(new.spki_der(), old.spki_der());
    assert_ne!(new.subject(), old.subject());
    assert_eq!(tier(&after, "former").certificate, old);
    for house in [house, other] {
        let late = fixture.sign(house, DEFAULT_AUTHORITY, &["new.test"]).await;
        let late = late.unwrap();
        assert!(is_signed_by(&late.leaf, &new));
        assert!(late.leaf.not_after() - fixture.now() >= time::Duration::days(182));
        assert!(is_good(house, &new, &late.leaf).await);
        assert!(is_good(house, &old, &early.leaf).await);
        // Neither speaks for what the other one signed.
        assert!(!is_good(house, &old, &late.leaf).await);
        assert!(!is_good(house, &new, &early.leaf).await);
        for ca in [&old, &new] {
            assert!(fixture.is_listed(house, ca).await);
        }
        // What was issued before is sent with what signed it.
        let authority = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
        for (leaf, issuer) in [(&early.leaf, &old), (&late.leaf, &new)] {
            let sent = authority.intermediates_of(leaf);
            assert_eq!(sent, std::slice::from_ref(issuer));
        }
    }
}

#[tokio::test]
async fn nothing_is_renewed_without_the_key_of_the_root_and_people_are_told() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let exported = fixture.exported(DEFAULT_AUTHORITY).await;
    let removed = fixture.remove_root_key(DEFAULT_AUTHORITY, &exported).await;
    let removed = removed.unwrap();
    let due = removed
        .due
        .iter()
        .find(|due| due.kind == DueKind::IssuingWithoutRootKey);
    let by = due.unwrap().by;
    fixture.turn((by - fixture.now()).whole_seconds() - DAY);
    let count = || async {
        let events = fixture.nodes[0]
            .store
            .events_after(Scope::Everything, None, 1000)
            .await;
        let events = events.unwrap();
        let due = events.iter().filter(|event| event.kind == "authority.due");
        due.count()
    };
    for house in [fixture.house(), fixture.other_node(), fixture.house()] {
        assert_eq!(house.authorities.renew_due().await.unwrap(), 0);
    }
    assert_eq!(count().await, 1);
    let issued = fixture.sign(fixture.house(), DEFAULT_AUTHORITY, &["a.test"]);
    assert!(issued.await.is_ok());

    let authorities = &fixture.house().authorities;
    fixture.return_root_key(&exported).await.unwrap();
    fixture.turn(DAY);
    assert_eq!(authorities.renew_due().await.unwrap(), 1);
}

#[tokio::test]
async fn a_root_gets_a_successor_that_takes_over_when_people_say_so() {
    for tiers in [Tiers::One, Tiers::Two] {
        let fixture = Fixture::new(KeyAlgorithm::P256).await;
        let (house, other) = (fixture.house(), fixture.other_node());
        let authorities = &house.authorities;
        let request = NewAuthorityRequest {
            days: Some(15 * 365),
            ..new_authority("old", tiers)
        };
        let made = authorities
            .create(&fixture.principal, request)
            .await
            .unwrap();
        let is_single = tiers == Tiers::One;
        let role = if is_single {
            "root and issuing"
        } else {
            "root"
        };
        let old = tier(&made, role).certificate.clone();
        let none = authorities.switch_root(&fixture.principal, "old").await;
        assert!(matches!(none, Err(Error::Unfit { .. })), "{none:?}");

        fixture.turn(13 * YEAR + HOUR);
        let (one, two) = tokio::join!(authorities.renew_due(), other.authorities.renew_due());
        assert!(one.unwrap() + two.unwrap() >= 1);
        let view = fixture.shown("old").await;
        assert_eq!(tier(&view, role).certificate, old);
        let successors: Vec<_> = view
            .tiers
            .iter()
            .filter(|tier| tier.role == "successor")
            .collect();
        // Itself, and what the present root says of it.
        assert_eq!(successors.len(), 2, "{view:?}");
        let before = fixture.sign(house, "old", &["a.test"]).await.unwrap();
        assert!(leads_to(&before.leaf, &before.intermediates, &old));

        let switched = authorities.switch_root(&fixture.principal, "old").await;
        let new = tier(&switched.unwrap(), role).certificate.clone();
        assert!(new.not_after() > old.not_after());
        fixture.turn(2 * SECOND);
        for house in [house, other] {
            let after = fixture.sign(house, "old", &["b.test"]).await.unwrap();
            for anchor in [&old, &new] {
                assert!(leads_to(&after.leaf, &after.intermediates, anchor));
            }
            let issuer = if is_single {
                &old
            } else {
                &made.tiers[0].certificate
            };
            assert!(is_good(house, issuer, &before.leaf).await);
        }
    }
}

#[tokio::test]
async fn with_the_key_of_the_root_go_those_that_could_stand_in_for_it() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, other) = (fixture.house(), fixture.other_node());
    let authorities = &house.authorities;
    let name = "old";
    let request = new_authority(name, Tiers::Two);
    let made = authorities.create(&fixture.principal, request);
    let old = tier(&made.await.unwrap(), "root").certificate.clone();
    let id = authorities.named(name).await.unwrap().id;
    let succeed = async || {
        let made = authorities.make_successor(&fixture.principal, name);
        made.await.unwrap();
    };
    // Where the keys of roots are, and how many of them the store has.
    let roots = async || {
        let store = &fixture.nodes[0].store;
        let mut stored = store.ca_certificates(id).await.unwrap();
        stored.retain(|one| one.role == store::CaRole::Root);
        let mut kept = 0;
        for one in &stored {
            let key = store.private_key(Scope::Everything, one.private_key_id);
            kept += usize::from(key.await.unwrap().is_some());
        }
        let places: Vec<KeyPlace> = stored.iter().map(|one| one.key_place).collect();
        (places, kept)
    };
    let lists = async || fixture.events_of("authority.list_signed").await.len();

    // A successor is what ends later.
    fixture.turn(DAY);
    succeed().await;
    let exported = fixture.exported(name).await;
    let keys: Vec<_> = exported.match_indices("-----BEGIN ENC").collect();
    assert_eq!(keys.len(), 2);
    let part = fixture.remove_root_key(name, &exported[..keys[1].0]).await;
    assert!(matches!(part, Err(Error::KeyMismatch)), "{part:?}");
    let before = lists().await;
    fixture.remove_root_key(name, &exported).await.unwrap();
    // The root, its successor, and what the one says of the other.
    assert_eq!(roots().await, (vec![KeyPlace::Elsewhere; 3], 0));
    assert_eq!(lists().await, before + 2);
    let refused = authorities.switch_root(&fixture.principal, name).await;
    assert!(
        matches!(refused, Err(Error::KeyUnavailable { .. })),
        "{refused:?}"
    );

    let again =
        authorities.return_root_key(&fixture.principal, name, exported.as_bytes(), passphrase());
    again.await.unwrap();
    assert_eq!(roots().await, (vec![KeyPlace::Store; 3], 3));
    let switched = authorities.switch_root(&fixture.principal, name).await;
    let issuing = tier(&switched.unwrap(), "issuing").certificate.clone();
    let exported = fixture.exported(name).await;
    fixture.remove_root_key(name, &exported).await.unwrap();
    assert_eq!(roots().await, (vec![KeyPlace::Elsewhere; 3], 0));
    fixture.turn(300 * DAY);
    for house in [house, other] {
        assert!(fixture.is_listed(house, &old).await);
        let issued = fixture.sign(house, name, &["a.test"]).await.unwrap();
        assert!(is_signed_by(&issued.leaf, &issuing));
    }
}
