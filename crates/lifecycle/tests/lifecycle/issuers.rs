//! Issuers: directories that are added, chosen, given up, and whose account keys are changed.

use crate::support::directory::{Call, Manners, refused, unreachable};
use crate::support::site::{MAIN, Site, named};
use lifecycle::{
    CertificateRef, DEFAULT_AUTHORITY, Error, ExternalAccount, IssuerKind, ManagedRequest,
    NewIssuer, Noun, Principal, State, TokenLimits,
};

fn issuer(name: &str) -> NewIssuer {
    NewIssuer {
        name: name.to_owned(),
        url: format!("https://{name}.test/directory"),
        agrees_to_terms: true,
        ..NewIssuer::default()
    }
}

impl Site {
    async fn add(&self, principal: &Principal, issuer: NewIssuer) -> Result<(), Error> {
        self.house().issuers.add(principal, issuer).await.map(drop)
    }

    async fn names(&self, principal: &Principal) -> Vec<String> {
        let listed = self.house().issuers.list(principal).await.unwrap();
        listed.into_iter().map(|issuer| issuer.name).collect()
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_directory_is_told_to_whoever_adds_it() {
    let site = Site::new(Manners {
        terms: Some("https://directory.test/terms".to_owned()),
        requires_external_account: true,
        profiles: vec!["shortlived".to_owned()],
        ..Manners::default()
    })
    .await;
    let principal = site.principal().clone();
    let external_account = Some(ExternalAccount {
        key_id: "kid".to_owned(),
        hmac_key: vec![7; 32].into(),
    });
    let good = NewIssuer {
        external_account,
        ..issuer("good")
    };
    let named = |name: &str| NewIssuer {
        name: name.to_owned(),
        ..good.clone()
    };
    let reached = |contact: &str| NewIssuer {
        contact: Some(contact.to_owned()),
        ..good.clone()
    };
    let wrong = [
        (
            named("Let's Encrypt"),
            "name",
            "letters of A-Z and a-z, digits",
        ),
        (named("my issuer"), "name", "letters of A-Z and a-z, digits"),
        (named("-"), "name", "begins with a letter"),
        (named(""), "name", "1 to 64"),
        (reached("ops@localhost"), "contact", "such as ops@"),
        (
            reached("a@b.test,c@d.test"),
            "contact",
            "one e-mail address",
        ),
        (
            NewIssuer {
                agrees_to_terms: false,
                ..good.clone()
            },
            "agrees_to_terms",
            "https://directory.test/terms",
        ),
        (issuer("good"), "external_account", "web site"),
        (
            NewIssuer {
                profile: Some("tlsserver".to_owned()),
                ..good.clone()
            },
            "profile",
            "it offers: shortlived",
        ),
        (
            NewIssuer {
                url: "directory.test".to_owned(),
                ..good.clone()
            },
            "url",
            "https URL",
        ),
        (
            NewIssuer {
                contact: Some("nobody".to_owned()),
                ..good.clone()
            },
            "contact",
            "nobody",
        ),
        (
            NewIssuer {
                limits: Some(r#"{"orders":"many"}"#.to_owned()),
                ..good.clone()
            },
            "limits",
            "300/3h",
        ),
        (
            NewIssuer {
                roots: Some("no certificate".to_owned()),
                ..good.clone()
            },
            "roots",
            "",
        ),
    ];
    for (wrong, expected, told) in wrong {
        let Err(Error::Invalid { field, reason }) = site.add(&principal, wrong).await else {
            panic!("{expected} was accepted");
        };
        assert_eq!(field, expected);
        assert!(reason.contains(told), "{reason}");
    }
    for name in [DEFAULT_AUTHORITY, MAIN] {
        let taken = NewIssuer {
            name: name.to_owned(),
            ..good.clone()
        };
        let taken = site.add(&principal, taken).await;
        assert!(
            matches!(
                taken,
                Err(Error::NameTaken {
                    noun: Noun::Issuer,
                    ..
                })
            ),
            "{name}"
        );
    }
    assert_eq!(
        site.directory.calls(Call::Register),
        1,
        "that of the first one"
    );
    site.directory.fail_next(Call::Register, || {
        refused(
            acme::ErrorKind::Unauthorized,
            403,
            "unknown key identifier",
            None,
        )
    });
    let expired = site.add(&principal, good.clone()).await;
    let Err(Error::Invalid { field, reason }) = expired else {
        panic!("{expired:?}");
    };
    assert_eq!(field, "external_account");
    assert!(
        reason.contains("get a new one from the authority"),
        "{reason}"
    );
    site.directory.fail_next(Call::Directory, unreachable);
    let down = site.add(&principal, good.clone()).await;
    assert!(matches!(down, Err(Error::Directory { .. })));
    assert_eq!(
        site.names(&principal).await,
        [DEFAULT_AUTHORITY, "spare", MAIN]
    );
    site.add(&principal, good).await.unwrap();
    assert_eq!(
        site.names(&principal).await,
        [DEFAULT_AUTHORITY, "spare", MAIN, "good"]
    );
}

#[tokio::test]
async fn tenants_add_their_own_directories_and_use_shared_ones() {
    let site = Site::new(Manners::default()).await;
    let administrator = site.principal().clone();
    let tenant = site.fixture.tenant("tenant", TokenLimits::default()).await;
    let stranger = site
        .fixture
        .tenant("stranger", TokenLimits::default())
        .await;
    site.add(&tenant, issuer("own")).await.unwrap();
    let shared = [DEFAULT_AUTHORITY, "spare", MAIN];
    assert_eq!(site.names(&tenant).await, [&shared[..], &["own"]].concat());
    assert_eq!(site.names(&stranger).await, shared);
    let issuers = &site.house().issuers;
    for refused in [
        issuers.remove(&tenant, MAIN, None).await.map(drop),
        issuers.rank(&tenant, MAIN, 1).await,
        issuers.change_key(&tenant, MAIN).await,
        issuers.make_default(&tenant, "own", true).await,
        site.add(
            &tenant,
            NewIssuer {
                url: "http://plain.test/directory".to_owned(),
                ..issuer("plain")
            },
        )
        .await,
        site.add(
            &tenant,
            NewIssuer {
                account: Some("stranger".to_owned()),
                ..issuer("gift")
            },
        )
        .await,
    ] {
        assert!(
            matches!(refused, Err(Error::Forbidden { .. })),
            "{refused:?}"
        );
    }
    for refused in [
        issuers.remove(&stranger, "own", None).await.map(drop),
        issuers.make_default(&stranger, "own", false).await,
        issuers.show(&stranger, "own").await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(Error::NotFound { .. })),
            "{refused:?}"
        );
    }
    let plain = NewIssuer {
        url: "http://127.0.0.1:14000/dir".to_owned(),
        account: Some("tenant".to_owned()),
        ..issuer("gift")
    };
    site.add(&administrator, plain).await.unwrap();
    assert!(site.names(&tenant).await.contains(&"gift".to_owned()));
    assert!(!site.names(&stranger).await.contains(&"gift".to_owned()));
}

#[tokio::test]
async fn the_default_is_the_accounts_choice_then_the_operators_then_the_settings() {
    let site = Site::new(Manners::default()).await;
    let administrator = site.principal().clone();
    let tenant = site.fixture.tenant("tenant", TokenLimits::default()).await;
    let issuers = &site.house().issuers;
    let certificates = &site.house().certificates;
    let of = async |principal: Principal| {
        let request = ManagedRequest {
            issuer: None,
            ..named("a.test")
        };
        let requested = certificates.request_managed(&principal, request).await;
        requested.unwrap().issuer.unwrap()
    };
    assert_eq!(of(tenant.clone()).await, DEFAULT_AUTHORITY);
    issuers
        .make_default(&administrator, MAIN, true)
        .await
        .unwrap();
    assert_eq!(of(tenant.clone()).await, MAIN);
    issuers.make_default(&tenant, "spare", false).await.unwrap();
    assert_eq!(of(tenant.clone()).await, "spare");
    assert_eq!(of(administrator.clone()).await, MAIN);
    let listed = issuers.list(&tenant).await.unwrap();
    let defaults = listed.iter().filter(|issuer| issuer.is_default);
    let defaults: Vec<&str> = defaults.map(|issuer| issuer.name.as_str()).collect();
    assert_eq!(defaults, ["spare"]);
    let unknown = issuers.make_default(&tenant, "nowhere", false).await;
    assert!(matches!(
        unknown,
        Err(Error::NotFound {
            noun: Noun::Issuer,
            ..
        })
    ));
}

#[tokio::test]
async fn a_directory_that_is_given_up_leaves_its_certificates_to_another_issuer() {
    let site = Site::new(Manners::default()).await;
    site.add_issuer("other", None).await;
    let id = site.request(&["a.test"]).await;
    let issuers = &site.house().issuers;
    let refused = issuers.remove(site.principal(), MAIN, None).await;
    let Err(Error::Unfit { reason }) = refused else {
        panic!("{refused:?}");
    };
    let told = format!("'{MAIN}' obtains 1 certificates");
    assert!(reason.contains(&told), "{reason}");
    assert!(
        reason.contains(&format!("issuer rm {MAIN} --successor")),
        "{reason}"
    );
    assert_eq!(site.find(id).await.issuer.as_deref(), Some(MAIN));
    let moved = issuers.remove(site.principal(), MAIN, Some("other")).await;
    assert_eq!(moved.unwrap(), 1);
    assert_eq!(site.find(id).await.issuer.as_deref(), Some("other"));
    site.house().obtain_due_now().await.unwrap();
    assert_eq!(site.issuer_of(id).await, "other");
    issuers
        .make_default(site.principal(), "other", true)
        .await
        .unwrap();
    let refused = issuers.remove(site.principal(), "other", None).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    let kept = issuers
        .remove(site.principal(), DEFAULT_AUTHORITY, None)
        .await;
    assert!(matches!(kept, Err(Error::Unsupported { .. })), "{kept:?}");
    issuers
        .remove(site.principal(), "other", Some(DEFAULT_AUTHORITY))
        .await
        .unwrap();
    assert_eq!(
        site.find(id).await.issuer.as_deref(),
        Some(DEFAULT_AUTHORITY)
    );
    // Its renewal is the authority's then, in its own time.
    let certificates = &site.house().certificates;
    let reference = CertificateRef::Id(id);
    certificates
        .renew(site.principal(), &reference)
        .await
        .unwrap();
    site.house().obtain_due_now().await.unwrap();
    let renewed = site.find(id).await;
    assert_eq!(renewed.state, State::Valid);
    assert!(renewed.current.unwrap().authority_id.is_some());
}

#[tokio::test]
async fn an_account_gets_a_new_key_and_a_change_that_broke_off_is_finished() {
    let site = Site::new(Manners::default()).await;
    let issuers = &site.house().issuers;
    for is_lost in [false, true] {
        site.directory.lose_next_key_change(is_lost);
        let changed = issuers.change_key(site.principal(), MAIN).await;
        if is_lost {
            // The directory has the new key, and nobody here knows.
            assert!(
                matches!(changed, Err(Error::Directory { .. })),
                "{changed:?}"
            );
            issuers.change_key(site.principal(), MAIN).await.unwrap();
        } else {
            changed.unwrap();
        }
        let id = site.request(&["a.test"]).await;
        site.house().obtain_due_now().await.unwrap();
        assert_eq!(
            site.find(id).await.state,
            State::Valid,
            "{:?}",
            site.find(id).await.failure
        );
    }
    site.directory.fail_next(Call::ChangeKey, || {
        refused(acme::ErrorKind::BadPublicKey, 400, "not this one", None)
    });
    let refused = issuers.change_key(site.principal(), MAIN).await;
    assert!(
        matches!(refused, Err(Error::Directory { .. })),
        "{refused:?}"
    );
    issuers.change_key(site.principal(), MAIN).await.unwrap();
}

#[tokio::test]
async fn what_takes_over_for_everybody_is_what_everybody_can_use() {
    let site = Site::new(Manners::default()).await;
    let administrator = site.principal().clone();
    let tenant = site.fixture.tenant("tenant", TokenLimits::default()).await;
    let own = NewIssuer {
        account: Some(administrator.account_name().to_owned()),
        ..issuer("own")
    };
    site.add(&administrator, own).await.unwrap();
    site.add(&tenant, issuer("theirs")).await.unwrap();
    let certificates = &site.house().certificates;
    let requested = certificates.request_managed(&tenant, named("a.test")).await;
    let requested = requested.unwrap();
    let issuers = &site.house().issuers;
    for successor in ["own", "theirs", "nowhere"] {
        let refused = issuers.remove(&administrator, MAIN, Some(successor)).await;
        assert!(
            matches!(refused, Err(Error::NotFound { .. })),
            "{successor}"
        );
    }
    let refused = issuers.remove(&administrator, MAIN, Some(MAIN)).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    // A tenant's own may be succeeded by what the tenant can use, and needs no successor when
    // nothing names it.
    assert_eq!(issuers.remove(&tenant, "theirs", None).await.unwrap(), 0);
    let moved = issuers
        .remove(&administrator, MAIN, Some(DEFAULT_AUTHORITY))
        .await;
    assert_eq!(moved.unwrap(), 1);
    let reference = CertificateRef::Id(requested.id);
    let found = certificates.find(&tenant, &reference).await.unwrap();
    assert_eq!(found.issuer.as_deref(), Some(DEFAULT_AUTHORITY));
}

#[tokio::test]
async fn a_change_of_key_that_a_crash_cut_is_finished_by_the_next_order() {
    for refusal in [acme::ErrorKind::Unauthorized, acme::ErrorKind::Malformed] {
        let site = Site::new(Manners::default()).await;
        let issuers = &site.house().issuers;
        site.directory.lose_next_key_change(true);
        let cut = issuers.change_key(site.principal(), MAIN).await;
        assert!(matches!(cut, Err(Error::Directory { .. })), "{cut:?}");
        site.directory.fail_next(Call::NewOrder, move || {
            refused(refusal.clone(), 400, "no such key", None)
        });
        let id = site.request(&["a.test"]).await;
        site.work(site.house(), &[id], 5).await;
        let found = site.find(id).await;
        assert_eq!(found.state, State::Valid, "{:?}", found.failure);
        let shown = issuers.show(site.principal(), MAIN).await.unwrap();
        let orders = shown
            .budgets
            .iter()
            .find(|budget| budget.bucket == "orders");
        assert_eq!(orders.unwrap().left, 299, "what was refused is given back");
    }
}

#[tokio::test]
async fn what_is_shown_of_a_directory_names_its_limits_and_what_it_says() {
    let site = Site::new(Manners {
        has_renewal_info: true,
        ..Manners::default()
    })
    .await;
    let issuers = &site.house().issuers;
    let id = site.request(&["a.test"]).await;
    site.house().obtain_due_now().await.unwrap();
    assert_eq!(site.find(id).await.state, State::Valid);
    let shown = issuers.show(site.principal(), MAIN).await.unwrap();
    let orders = shown
        .budgets
        .iter()
        .find(|budget| budget.bucket == "orders");
    let orders = orders.unwrap();
    assert_eq!((orders.left, orders.burst), (299, 300));
    assert!(shown.directory.unwrap().unwrap().has_renewal_info);
    let IssuerKind::Directory(directory) = shown.issuer.kind else {
        panic!("no directory");
    };
    assert_eq!(directory.health.down_until, None);
    assert_eq!(directory.rank, 1);
    site.directory.go_down();
    let shown = issuers.show(site.principal(), MAIN).await.unwrap();
    let silence = shown.directory.unwrap().unwrap_err();
    assert!(silence.contains("connection refused"), "{silence}");
    let shown = issuers
        .show(site.principal(), DEFAULT_AUTHORITY)
        .await
        .unwrap();
    assert_eq!(shown.issuer.kind, IssuerKind::Authority);
    assert!(shown.issuer.is_default);
}

#[tokio::test]
async fn an_administrator_reaches_what_is_an_account_s_own_and_nothing_of_everybody_s() {
    let site = Site::new(Manners::default()).await;
    let administrator = site.principal().clone();
    let tenant = site.fixture.tenant("tenant", TokenLimits::default()).await;
    let gift = NewIssuer {
        account: Some("tenant".to_owned()),
        is_default: true,
        ..issuer("gift")
    };
    site.add(&administrator, gift).await.unwrap();
    let (issuers, accounts) = (&site.house().issuers, &site.house().accounts);
    let hidden = issuers.show(&administrator, "gift").await;
    assert!(matches!(hidden, Err(Error::NotFound { .. })), "{hidden:?}");
    let standing_in = accounts.stand_in(&administrator, "tenant").await.unwrap();
    assert!(site.names(&standing_in).await.contains(&"gift".to_owned()));
    let shown = issuers.show(&standing_in, "gift").await.unwrap();
    assert!(shown.issuer.is_default && !shown.issuer.is_shared);
    issuers.change_key(&standing_in, "gift").await.unwrap();
    issuers.rank(&standing_in, "gift", 7).await.unwrap();
    let spared = issuers.remove(&standing_in, MAIN, None).await;
    assert!(matches!(spared, Err(Error::NotFound { .. })), "{spared:?}");
    let default = DEFAULT_AUTHORITY;
    issuers
        .make_default(&standing_in, default, false)
        .await
        .unwrap();
    let of_tenant = issuers.default_name(&tenant).await.unwrap();
    assert_eq!(of_tenant, default);
    issuers.remove(&standing_in, "gift", None).await.unwrap();
    assert!(!site.names(&tenant).await.contains(&"gift".to_owned()));
    let refused = accounts
        .stand_in(&tenant, administrator.account_name())
        .await;
    assert!(
        matches!(refused, Err(Error::Forbidden { .. })),
        "{refused:?}"
    );
    // For oneself, too, it means what is one's own.
    let own = accounts.stand_in(&tenant, "tenant").await.unwrap();
    let spared = issuers.remove(&own, MAIN, None).await;
    assert!(matches!(spared, Err(Error::NotFound { .. })), "{spared:?}");
}

#[tokio::test]
async fn a_wildcard_without_a_provider_is_told_what_to_add_or_which_record_to_publish() {
    let site = Site::new(Manners::default()).await;
    let certificates = &site.house().certificates;
    let refused = certificates.request_managed(site.principal(), named("*.shop.a.test"));
    let refused = refused.await.unwrap_err();
    assert!(
        matches!(refused, Error::NoCertificate { .. }),
        "{refused:?}"
    );
    for part in [
        "chancery dns add a.test --provider",
        "_acme-challenge.shop.a.test",
        "_validation-persist.shop.a.test with the text \"directory.test; accounturi=https://",
        "policy=wildcard",
    ] {
        assert!(refused.to_string().contains(part), "{part}: {refused}");
    }

    // This one says that such a record will do.
    let site = Site::new(Manners {
        has_standing_records: true,
        ..Manners::default()
    })
    .await;
    let (certificates, diagnosis) = (&site.house().certificates, &site.house().diagnosis);
    let request = certificates.request_managed(site.principal(), named("*.a.test"));
    let requested = request.await.unwrap();
    let records = diagnosis.records_to_publish(site.principal(), &requested);
    assert_eq!(records.await.unwrap(), []);
    site.house().obtain_due_now().await.unwrap();
    let failed = site.find(requested.id).await;
    assert_eq!(site.directory.calls(Call::NewOrder), 0);
    let records = diagnosis.records_to_publish(site.principal(), &failed);
    let records = records.await.unwrap();
    let [record] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!(record.name, "_validation-persist.a.test");
    assert_eq!(record.proves, "*.a.test");
    let start = "directory.test; accounturi=https://directory.test/hash/sha-256/";
    let hash = record.value.strip_prefix(start).unwrap();
    assert_eq!(hash.strip_suffix("; policy=wildcard").unwrap().len(), 43);
    let reason = failed.failure.unwrap();
    assert!(reason.contains(&record.value), "{reason}");
}
