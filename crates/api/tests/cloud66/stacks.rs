//! Stacks, and what hangs on them that is empty.

use serde_json::{Value, json};

use testbed::Authority;

use super::support::Server;
use super::{assert_error, get, manual, post, response_of, send, send_as};

#[test]
fn a_stack_is_made_shown_and_deleted() {
    let server = Server::start();
    let made = post(
        &server,
        "/stacks",
        &json!({"name": "Shop", "environment": "staging"}),
    );
    let uid = made["uid"].as_str().unwrap();
    assert_eq!(uid.len(), 32);
    assert!(uid.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(
        (&made["name"], &made["environment"]),
        (&json!("Shop"), &json!("staging"))
    );
    for text in ["git", "git_branch", "framework", "language"] {
        assert_eq!(made[text], "", "{text}");
    }
    assert_eq!((&made["status"], &made["health"]), (&json!(1), &json!(3)));
    assert_eq!(made["namespaces"], json!([]));
    for time in ["created_at", "updated_at", "last_activity"] {
        let text = made[time].as_str().unwrap();
        let iso = made[format!("{time}_iso")].as_str().unwrap();
        assert_eq!(text, iso.replace('T', " ").replace('Z', " UTC"));
    }
    for path in [
        format!("/stacks/{uid}"),
        format!("/stacks/{uid}.json"),
        format!("/stacks/{}/", uuid::Uuid::parse_str(uid).unwrap()),
    ] {
        assert_eq!(get(&server, &path), made);
    }
    // The same thing through another door.
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let service = server.send("GET", &format!("/chancery/v1/services/{uid}"), &headers, "");
    assert_eq!(service.json()["name"], "Shop");

    let path = format!("/stacks/{uid}");
    assert_eq!(response_of(&send(&server, "DELETE", &path, "")), made);
    assert_error(&send(&server, "DELETE", &path, ""), 404, "not_found");
    assert_error(&send(&server, "GET", &path, ""), 404, "not_found");
}

#[test]
fn a_stack_takes_along_what_was_installed_on_it_alone() {
    let server = Server::start();
    let list = super::stack(&server, "shop");
    let authority = Authority::new();
    let alone = post(
        &server,
        &list,
        &manual(&authority.issue(&["a.example"], 90), ""),
    );
    let shared = authority.issue(&["b.example", "c.example"], 90);
    let shared = post(&server, &list, &manual(&shared, "b.example"));
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let service = json!({
        "name": "blog",
        "services": [{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}],
        "domains": [{"name": "c.example."}],
    });
    let other = server.send("POST", "/v1/services", &headers, service.to_string());
    assert_eq!(other.status, 200, "{}", other.text());
    let inventory = || {
        let found = server.send("GET", "/chancery/v1/certificates", &headers, "");
        found.text()
    };
    let name = |made: &Value| made["name"].as_str().unwrap().to_owned();
    assert!(inventory().contains(&name(&alone)));
    let stack = list.trim_end_matches("/ssl_certificates");
    response_of(&send(&server, "DELETE", stack, ""));
    assert!(!inventory().contains(&name(&alone)));
    assert!(inventory().contains(&name(&shared)));
}

#[test]
fn stacks_are_listed_in_pages_of_thirty() {
    // 20
    let server = Server::start();
    for number in 0..65 {
        post(
            &server,
            "/stacks",
            &json!({"stack": {"name": format!("s{number}")}}),
        );
    }
    let mut names = Vec::new();
    for (page, length, previous, next) in [
        (1, 30, json!(null), json!(2)),
        (2, 30, json!(1), json!(3)),
        (3, 5, json!(2), json!(null)),
        (4, 0, json!(3), json!(null)),
    ] {
        let answer = send(&server, "GET", &format!("/stacks.json?page={page}"), "");
        let answer = answer.json();
        let listed = answer["response"].as_array().unwrap();
        assert_eq!(listed.len(), length);
        assert_eq!(answer["count"], length);
        let pagination = json!({
            "previous": previous, "prev": previous, "next": next, "current": page,
            "per_page": 30, "count": 65, "pages": 3,
        });
        assert_eq!(answer["pagination"], pagination);
        names.extend(listed.iter().map(|stack| stack["name"].clone()));
    }
    let expected: Vec<Value> = (0..65).map(|number| json!(format!("s{number}"))).collect();
    assert_eq!(names, expected);
    for nonsense in [
        "page=0",
        "page=-1",
        "page=x",
        "page=1&per_page=0",
        "per_page=101",
        "page=",
    ] {
        let answer = send(&server, "GET", &format!("/stacks?{nonsense}"), "").json();
        assert_eq!(answer["pagination"]["current"], 1, "{nonsense}");
        assert_eq!(answer["count"], 30, "{nonsense}");
    }
    let far = send(&server, "GET", "/stacks?page=18446744073709551615", "").json();
    assert_eq!(far["response"], json!([]));
    let some = send(&server, "GET", "/stacks?per_page=2&page=2", "").json();
    assert_eq!(some["response"][0]["name"], "s2");
    assert_eq!(some["pagination"]["pages"], 33);
}

#[test]
fn stacks_are_filtered_by_name_and_environment_whatever_the_case() {
    let server = Server::start();
    for (name, environment) in [
        ("Shop", "production"),
        ("shop-2", "Staging"),
        ("blog", "staging"),
    ] {
        post(
            &server,
            "/stacks",
            &json!({"name": name, "environment": environment}),
        );
    }
    for (filter, expected) in [
        ("filter_name=sHOP", vec!["Shop"]),
        ("filter_environment=STAGING", vec!["shop-2", "blog"]),
        ("filter_name=blog&filter_environment=production", vec![]),
        (
            "filter_name=&filter_cloud=x",
            vec!["Shop", "shop-2", "blog"],
        ),
        ("filter_name=%25", vec![]),
    ] {
        let listed = get(&server, &format!("/stacks?{filter}"));
        let listed = listed.as_array().unwrap().iter();
        let names: Vec<_> = listed
            .map(|stack| stack["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected, "{filter}");
    }
}

#[test]
fn what_stacks_do_not_have_is_an_empty_list() {
    let server = Server::start();
    let made = post(&server, "/stacks", &json!({"name": "shop"}));
    let uid = made["uid"].as_str().unwrap();
    let pagination = json!({
        "previous": null, "prev": null, "next": null, "current": 1, "per_page": 30, "count": 0,
        "pages": 0,
    });
    for what in ["servers", "server_groups", "actions"] {
        let answer = send(&server, "GET", &format!("/stacks/{uid}/{what}.json"), "");
        let expected = json!({"response": [], "count": 0, "pagination": pagination});
        assert_eq!(answer.json(), expected, "{what}");
    }
    for missing in ["actions/7", "firewalls", "failover_groups", "logs"] {
        let answer = send(&server, "GET", &format!("/stacks/{uid}/{missing}"), "");
        assert_error(&answer, 404, "not_found");
    }
}

#[test]
fn a_stack_that_cannot_be_made_says_why() {
    let server = Server::start();
    post(&server, "/stacks", &json!({"name": "shop"}));
    for (body, status, code, word) in [
        (json!({}), 400, "bad_request", "name"),
        (json!({"name": ""}), 400, "bad_request", "name"),
        (json!({"name": 7}), 400, "bad_request", "name"),
        (json!({"name": "a/b"}), 400, "bad_request", "name"),
        (
            json!({"name": "b", "environment": "x".repeat(65)}),
            400,
            "bad_request",
            "environment",
        ),
        (
            json!({"name": "b", "environment": "a\nb"}),
            400,
            "bad_request",
            "environment",
        ),
        (json!({"name": "shop"}), 409, "conflict", "shop"),
        (
            json!({"name": "shop", "environment": "staging"}),
            409,
            "conflict",
            "shop",
        ),
    ] {
        let answer = send(&server, "POST", "/stacks", body.to_string());
        let details = assert_error(&answer, status, code);
        assert!(details.contains(word), "{body}: {details}");
    }
}

#[test]
fn nobody_sees_or_changes_the_stacks_of_others() {
    let server = Server::start();
    let stranger = server.account("stranger");
    let made = post(&server, "/stacks", &json!({"name": "shop"}));
    let path = format!("/stacks/{}", made["uid"].as_str().unwrap());
    let listed = send_as(&server, &stranger, "GET", "/stacks", "");
    assert_eq!(response_of(&listed), json!([]));
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/servers")),
        ("GET", format!("{path}/ssl_certificates")),
        ("POST", format!("{path}/ssl_certificates")),
    ] {
        let body = r#"{"type":"lets_encrypt","server_names":"a.example"}"#;
        let answer = send_as(&server, &stranger, method, &path, body);
        assert_error(&answer, 404, "not_found");
    }
    for nonsense in ["x", "%00", "..", &"0".repeat(32), &"0".repeat(4_000)] {
        let answer = send(&server, "GET", &format!("/stacks/{nonsense}"), "");
        assert_error(&answer, 404, "not_found");
    }
}
