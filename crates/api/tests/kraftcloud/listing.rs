//! GET without references: lists, cursors and filters.

use lifecycle::Upload;
use tokio::task::JoinSet;

use super::*;

/// Uploads certificates without going through HTTP.
fn fill(server: &Server, count: usize) {
    let pair = Pair::new("example.com", &["example.com"]);
    let principal = server.administrator();
    server.run(async {
        let mut uploads = JoinSet::new();
        for index in 0..count {
            let name = Some(format!("c{index:05}"));
            let upload = Upload::parse(name, None, &pair.chain, &pair.key).unwrap();
            let (certificates, principal) = (server.house.certificates.clone(), principal.clone());
            uploads.spawn(async move { certificates.upload(&principal, upload).await });
        }
        for uploaded in uploads.join_all().await {
            uploaded.unwrap();
        }
    });
}

#[test]
fn the_list_of_older_clients_is_brief_unless_details_are_asked_for() {
    let server = Server::start();
    upload_each(&server, &["c1", "c2"]);
    // 16
    let listed = get(&server, "/v1/certificates/list");
    listed.expect("success");
    assert_eq!(listed.names(), ["c1", "c2"]);
    for item in listed.items() {
        let members: Vec<_> = item
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(members, ["name", "status", "uuid"]);
    }
    let full = get(&server, "/v1/certificates/list?details=1&count=1");
    assert_eq!(full.item()["common_name"], "example.com");
}

#[test]
fn a_body_filters_by_common_name() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    let other = Pair::new("example.org", &["*.example.org"]);
    create(&server, &other.upload("c2", "*.example.org")).item();
    // 17
    for path in ["/v1/certificates/list", CERTIFICATES] {
        for (filter, expected) in [
            (r#"{"common_name":"example.com"}"#, vec!["c1"]),
            (r#"{"common_name":"EXAMPLE.com."}"#, vec!["c1"]),
            (r#"{"common_name":"*.example.org"}"#, vec!["c2"]),
            (r#"{"common_name":"example.org"}"#, vec![]),
            (r#"{"common_name":"a\u0000b"}"#, vec![]),
            (r#"{"common_name":""}"#, vec!["c1", "c2"]),
        ] {
            let listed = send(&server, "GET", path, filter);
            listed.expect("success");
            assert_eq!(listed.names(), expected, "{filter}");
        }
    }
    let both = r#"{"common_name":"example.com"}"#;
    send(&server, "GET", "/v1/certificates?name=c1", both).refused(400, Some(17));
    let both = r#"{"name":"c1","common_name":"example.com"}"#;
    send(&server, "GET", CERTIFICATES, both).refused(400, Some(16));
}

#[test]
fn a_cursor_is_part_of_its_page() {
    let server = Server::start();
    fill(&server, 150);
    let all = get(&server, CERTIFICATES);
    let uuids: Vec<&str> = all
        .items()
        .iter()
        .map(|item| item["uuid"].as_str().unwrap())
        .collect();
    assert_eq!(uuids.len(), 150);
    let page = |path: &str| -> Vec<String> {
        let page = get(&server, path);
        page.expect("success");
        let uuids = page
            .items()
            .iter()
            .map(|item| item["uuid"].as_str().unwrap().to_owned());
        uuids.collect()
    };
    // 19
    let first = page("/v1/certificates?count=100");
    assert_eq!(first, uuids[..100]);
    let second = page(&format!("/v1/certificates?count=101&from={}", first[99]));
    assert_eq!(second, uuids[99..]);
    assert_eq!(second.len(), 51);

    let backwards = page(&format!(
        "/v1/certificates?order=desc&count=3&from={}",
        uuids[9]
    ));
    assert_eq!(backwards, [uuids[9], uuids[8], uuids[7]]);
    let newest = page("/v1/certificates?order=desc&count=1&sortby=create_time");
    assert_eq!(newest, [uuids[149]]);

    for alone in ["", "&count=0"] {
        assert_eq!(
            page(&format!("/v1/certificates?from={}{alone}", uuids[7])),
            [uuids[7]]
        );
    }
    let unknown = "0190163d-8694-439b-aea5-966c26f8ad91";
    for cursor in ["", "&count=7"] {
        assert!(page(&format!("/v1/certificates?from={unknown}{cursor}")).is_empty());
    }
    let filtered = |body: &str| {
        let path = format!("/v1/certificates?from={}", uuids[7]);
        send(&server, "GET", &path, body).items().len()
    };
    assert_eq!(filtered(r#"{"common_name":"example.com"}"#), 1);
    assert_eq!(filtered(r#"{"common_name":"other.example"}"#), 0);
}

#[test]
fn a_time_is_a_cursor_that_includes_what_was_created_then() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    server.advance(std::time::Duration::from_secs(10));
    upload_each(&server, &["c2"]);
    server.advance(std::time::Duration::from_secs(10));
    upload_each(&server, &["c3"]);
    let created = get(&server, "/v1/certificates/c2").item()["created_at"].clone();
    let created = created.as_str().unwrap();
    let from = |order: &str| format!("/v1/certificates/list?from={created}&order={order}");
    assert_eq!(get(&server, &from("asc")).names(), ["c2", "c3"]);
    assert_eq!(get(&server, &from("desc")).names(), ["c2", "c1"]);
    let offset = created.replace('Z', "+00:00");
    assert_eq!(
        get(&server, &format!("/v1/certificates/list?from={offset}")).names(),
        ["c2", "c3"]
    );
    assert_eq!(
        get(&server, "/v1/certificates/list?from=2999-01-01T00:00:00Z")
            .items()
            .len(),
        0
    );
}

#[test]
fn a_long_list_comes_whole_and_in_order() {
    let server = Server::start();
    fill(&server, 2_100);
    let authorization = format!("Bearer {}", server.token);
    let headers = [("Authorization", authorization.as_str())];
    let streamed = server.send("GET", CERTIFICATES, &headers, "");
    assert_eq!(streamed.header("transfer-encoding"), Some("chunked"));
    let all = Answer::of(&streamed);
    all.expect("success");
    let mut uuids: Vec<&str> = all
        .items()
        .iter()
        .map(|item| item["uuid"].as_str().unwrap())
        .collect();
    let times: Vec<&str> = all
        .items()
        .iter()
        .map(|item| item["created_at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted());
    let pages = get(&server, "/v1/certificates?count=1998&details=false");
    let paged: Vec<&str> = pages
        .items()
        .iter()
        .map(|item| item["uuid"].as_str().unwrap())
        .collect();
    assert_eq!(paged, uuids[..1998]);
    for (count, shown) in [(999, 999), (1000, 1000), (1001, 1001), (5000, 2100)] {
        let path = format!("/v1/certificates/list?order=desc&count={count}");
        assert_eq!(get(&server, &path).items().len(), shown);
    }
    uuids.sort_unstable();
    uuids.dedup();
    assert_eq!(uuids.len(), 2_100);
}

#[test]
fn bad_list_parameters_are_refused_and_unknown_ones_ignored() {
    let server = Server::start();
    for bad in [
        "count=-1",
        "count=x",
        "details=maybe",
        "from=yesterday",
        "order=up",
        "sortby=name",
    ] {
        get(&server, &format!("/v1/certificates?{bad}")).refused(400, Some(7));
        get(&server, &format!("/v1/certificates/list?{bad}")).refused(400, Some(7));
    }
    get(
        &server,
        "/v1/certificates?foo=bar&%ff=%ff&count=&details=&&=",
    )
    .expect("success");
}

#[test]
fn services_with_very_many_domains_are_listed_all_and_named_only_a_few_at_a_time() {
    let server = Server::start();
    for service in 0..3 {
        let named = |number| json!({"name": format!("d{service}-{number}")});
        let domains: Vec<Value> = (0..9_000).map(named).collect();
        let name = format!("s{service}");
        serve(
            &server,
            &json!({"name": name, "services": [], "domains": domains}),
        )
        .item();
    }
    let has_all = |item: &Value| {
        item["domains"]
            .as_array()
            .is_some_and(|all| all.len() == 9_000)
    };
    let all = get(&server, SERVICES);
    assert_eq!(all.items().len(), 3);
    assert!(all.items().iter().all(has_all));
    let some = get(&server, &format!("{SERVICES}?count=2&order=desc"));
    assert_eq!(some.items().len(), 2);
    assert_eq!(some.items()[0]["name"], "s2");

    let instance = json!({"image": "app", "service_group": {"name": "s1"}});
    send(&server, "POST", INSTANCES, instance.to_string()).item();
    let uuid = get(&server, INSTANCES).item()["uuid"].clone();
    let named = |reference: Value, count| json!(vec![reference; count]).to_string();
    for (path, reference) in [
        (SERVICES, json!({"name": "s1"})),
        (INSTANCES, json!({"uuid": uuid})),
    ] {
        let few = send(&server, "GET", path, named(reference.clone(), 11));
        assert_eq!(few.items().len(), 11);
        send(&server, "GET", path, named(reference, 12)).refused(400, Some(7));
    }
}
