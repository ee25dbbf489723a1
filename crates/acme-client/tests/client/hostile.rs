//! Directories that mean harm.

use acme::client::{ChallengeKind, Client, Endpoint, Failure};
use testbed::Directory;
use testbed::directory::{Faults, Options, Resource, Trouble};

use crate::support::account_key;
use crate::support::{
    INSIDE, client, endpoint, house, names, obtain, prove, registration, request, trusted,
};

/// The steps of an order, by the resources they need.
const STEPS: [Resource; 8] = [
    Resource::NewNonce,
    Resource::NewAccount,
    Resource::NewOrder,
    Resource::Order,
    Resource::Authorization,
    Resource::Challenge,
    Resource::Finalize,
    Resource::Certificate,
];

/// Everything from the account to the certificate, with a look at the order in between.
async fn all_steps(directory: &Directory) -> Result<(), Failure> {
    let (client, endpoint, key) = (client(), endpoint(directory), account_key());
    let account_url = client.register(&endpoint, &registration(&key)).await?;
    let login = acme::client::Login {
        endpoint,
        account_url,
        key,
    };
    let order = client.new_order(&login, &names(&["a.test"])).await?;
    client.order(&login, &order.url).await?;
    for url in &order.authorizations {
        let authorization = client.authorization(&login, url).await?;
        let challenge = authorization.challenges.first().unwrap();
        client.answer(&login, challenge).await?;
    }
    let request = request(&["a.test"]);
    client.finalize(&login, &order.url, &request).await?;
    client.certificate(&login, &order.url).await?;
    Ok(())
}

#[tokio::test]
async fn no_url_outside_the_rules_is_followed_at_any_step() {
    let victim = Directory::start(Options {
        tls: true,
        ..Options::default()
    });
    let place = victim.url();
    let port = place.rsplit(':').next().unwrap().split('/').next().unwrap();
    let bases = [
        "http://169.254.169.254".to_owned(),
        "https://10.0.0.1".to_owned(),
        format!("https://127.0.0.1:{port}"),
        format!("https://{INSIDE}:{port}"),
        "http://93.184.216.34".to_owned(),
        "file:///etc/passwd?".to_owned(),
        String::new(),
    ];
    for resource in STEPS {
        for base in &bases {
            let directory = Directory::start(Options::default());
            directory.faults(|faults| faults.elsewhere(resource, base));
            let outcome = all_steps(&directory).await;
            let is_forbidden = matches!(outcome, Err(Failure::Forbidden { .. }));
            assert!(is_forbidden, "{resource:?} at {base:?}: {outcome:?}");
        }
    }
    for resource in STEPS.into_iter().chain([Resource::Directory]) {
        assert_eq!(victim.requests(resource), 0, "{resource:?}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let victim = Directory::start(Options::default());
    for resource in STEPS.into_iter().chain([Resource::Directory]) {
        let directory = Directory::start(Options::default());
        let redirect = Trouble::Redirect(victim.url());
        directory.faults(|faults| faults.at(resource, 100, redirect));
        let outcome = all_steps(&directory).await;
        assert!(
            matches!(outcome, Err(Failure::Forbidden { .. })),
            "{resource:?}: {outcome:?}"
        );
    }
    assert_eq!(victim.requests(Resource::Directory), 0);
}

#[tokio::test]
async fn bodies_that_are_no_acme_or_too_long_are_garbled() {
    let troubles = [
        Trouble::Body("<html>".to_owned()),
        Trouble::Body(String::new()),
        Trouble::Body("[]".to_owned()),
        Trouble::Body("null".to_owned()),
        Trouble::Body("[".repeat(100_000)),
        Trouble::Body("\u{0}\u{1}\u{ff}".to_owned()),
        Trouble::Huge(3 << 20),
    ];
    // What accounts, nonces and challenges are answered with, apart from its head, does not matter.
    let resources = [
        Resource::Directory,
        Resource::NewOrder,
        Resource::Order,
        Resource::Authorization,
        Resource::Finalize,
        Resource::Certificate,
    ];
    for resource in resources {
        for trouble in &troubles {
            let directory = Directory::start(Options::default());
            directory.faults(|faults| faults.at(resource, 100, trouble.clone()));
            let outcome = all_steps(&directory).await;
            assert!(
                matches!(outcome, Err(Failure::Garbled { .. })),
                "{resource:?}, {trouble:?}: {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn endless_bodies_are_cut_where_they_are_not_even_read() {
    for resource in [Resource::NewAccount, Resource::Challenge] {
        let directory = Directory::start(Options::default());
        directory.faults(|faults| faults.at(resource, 100, Trouble::Huge(3 << 20)));
        let outcome = all_steps(&directory).await;
        assert!(
            matches!(outcome, Err(Failure::Garbled { .. })),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn documents_of_the_right_form_with_the_wrong_things_in_them_are_garbled() {
    let order = |members: &str| {
        format!(
            r#"{{"status":"pending","authorizations":[],"finalize":"https://x/f","identifiers":[]{members}}}"#
        )
    };
    let long = "a".repeat(3_000);
    let many = vec!["\"https://x/a\""; 1_000].join(",");
    let documents = [
        order(r#","status":"pending""#),
        order("").replace("pending", "deactivated"),
        order("").replace("pending", "odd"),
        order("").replace(r#""pending""#, "7"),
        order("").replace("[]", "{}"),
        order("").replace(r#""https://x/f""#, "null"),
        order("").replace("https://x/f", &format!("https://x/{long}")),
        order("").replacen("[]", &format!("[\"https://x/{long}\"]"), 1),
        order("").replacen("[]", &format!("[{many}]"), 1),
        order(r#","certificate":7"#),
    ];
    let (directory, client, login) = house(Options::default()).await;
    let placed = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    for document in documents {
        directory.faults(|faults| {
            faults.clear();
            faults.at(Resource::Order, 100, Trouble::Body(document.clone()));
        });
        let outcome = client.order(&login, &placed.url).await;
        assert!(
            matches!(outcome, Err(Failure::Garbled { .. })),
            "{document}: {outcome:?}"
        );
    }
    // What does no harm is passed over.
    let harmless = order(r#","expires":"never","error":7,"replaces":{"a":1},"odd":[[]]"#);
    directory.faults(|faults| {
        faults.clear();
        faults.at(Resource::Order, 100, Trouble::Body(harmless));
    });
    let order = client.order(&login, &placed.url).await.unwrap();
    assert_eq!(order.expires_at, None);
    assert!(
        order
            .error
            .unwrap()
            .detail
            .unwrap()
            .contains("nobody can read")
    );
}

#[tokio::test]
async fn a_token_that_would_be_a_path_makes_a_challenge_without_one() {
    let (directory, client, login) = house(Options::default()).await;
    let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    let document = r#"{"identifier":{"type":"dns","value":"a.test"},"status":"pending",
        "challenges":[{"type":"http-01","url":"https://x/c","status":"pending",
        "token":"../../etc/passwd"}]}"#;
    let trouble = Trouble::Body(document.to_owned());
    directory.faults(|faults| faults.at(Resource::Authorization, 100, trouble));
    let url = order.authorizations.first().unwrap();
    let authorization = client.authorization(&login, url).await.unwrap();
    assert_eq!(authorization.challenges.first().unwrap().token, None);
}

#[tokio::test]
async fn problems_of_odd_types_are_refusals_all_the_same() {
    let (directory, client, login) = house(Options::default()).await;
    let long = format!(r#"{{"detail":"{}"}}"#, "x".repeat(50_000));
    for problem in [
        r#"{"type":7,"detail":[],"status":"x","subproblems":{}}"#,
        r#"{"type":null}"#,
        "[]",
        "garbage",
        "",
        r#"{"detail":"\u001b[2J\u0000\r\n"}"#,
        &long,
    ] {
        for status in [400, 403, 500] {
            directory.faults(|faults| {
                faults.clear();
                let trouble = Trouble::Problem(status, problem.to_owned());
                faults.at(Resource::NewOrder, 100, trouble);
            });
            let failure = client
                .new_order(&login, &names(&["a.test"]))
                .await
                .unwrap_err();
            let text = failure.to_string();
            assert!(
                text.len() < 2_200 && !text.contains(char::is_control),
                "{text}"
            );
            let Failure::Refused { status: told, .. } = failure else {
                panic!("{problem}: {failure:?}");
            };
            assert_eq!(told, status);
        }
    }
}

#[tokio::test]
async fn chains_that_are_none_or_too_long_are_garbled() {
    let (directory, client, login) = house(Options::default()).await;
    let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    prove(&client, &login, &order, &ChallengeKind::Http01).await;
    let request = request(&["a.test"]);
    client.finalize(&login, &order.url, &request).await.unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n";
    let bodies = [
        key,
        cut,
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    ];
    let bodies = bodies.map(|body| Trouble::Body(body.to_owned()));
    let change = |change: &dyn Fn(&mut Faults)| {
        directory.faults(|faults| {
            faults.clear();
            change(faults);
        });
    };
    for trouble in bodies {
        change(&|faults| faults.at(Resource::Certificate, 100, trouble.clone()));
        let outcome = client.certificate(&login, &order.url).await;
        assert!(
            matches!(outcome, Err(Failure::Garbled { .. })),
            "{trouble:?}: {outcome:?}"
        );
    }
    change(&|faults| faults.surplus_certificates = 100);
    let outcome = client.certificate(&login, &order.url).await;
    assert!(
        matches!(outcome, Err(Failure::Garbled { .. })),
        "{outcome:?}"
    );
    change(&|_| {});
    assert_eq!(
        client.certificate(&login, &order.url).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn directories_that_tenants_name_are_public_and_https() {
    let directory = Directory::start(Options {
        tls: true,
        ..Options::default()
    });
    let inside = directory.url().replace("127.0.0.1", INSIDE);
    for url in [
        directory.url(),
        inside,
        directory.url().replace("https", "http"),
        "http://ca.test/directory".to_owned(),
        "https://user@ca.test/directory".to_owned(),
        "nonsense".to_owned(),
    ] {
        let endpoint = Endpoint {
            is_trusted: false,
            ..trusted(url.clone(), Some(&directory.root_pem()))
        };
        let outcome = client().directory(&endpoint).await;
        assert!(
            matches!(outcome, Err(Failure::Forbidden { .. })),
            "{url}: {outcome:?}"
        );
    }
    assert_eq!(directory.requests(Resource::Directory), 0);
}

#[tokio::test]
async fn an_order_without_a_url_is_garbled() {
    let (directory, client, login) = house(Options::default()).await;
    let document = r#"{"status":"pending","authorizations":[],"finalize":"https://x/f"}"#;
    let trouble = Trouble::Body(document.to_owned());
    directory.faults(|faults| faults.at(Resource::NewOrder, 100, trouble));
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert!(
        matches!(outcome, Err(Failure::Garbled { .. })),
        "{outcome:?}"
    );
    directory.faults(Faults::clear);
    obtain(&client, &login, &names(&["a.test"])).await.unwrap();
}
