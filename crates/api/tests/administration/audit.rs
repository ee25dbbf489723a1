//! Events and the chain over them, as this API shows them.

use serde_json::{Value, json};

use super::support::Server;
use crate::call;

fn get(server: &Server, path: &str) -> Value {
    let path = format!("/chancery/v1/audit/{path}");
    let answer = call(server, &server.token, "GET", &path, &Value::Null);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[test]
fn events_are_listed_newest_first_and_page_by_page() {
    let server = Server::start();
    for name in ["one", "two", "three"] {
        let body = json!({ "name": name });
        let made = call(
            &server,
            &server.token,
            "POST",
            "/chancery/v1/accounts",
            &body,
        );
        assert_eq!(made.status, 200, "{}", made.text());
    }
    let page = get(&server, "events?kind=account.created&limit=2");
    let details = |page: &Value| -> Vec<String> {
        let events = page["events"].as_array().unwrap();
        let details = events.iter().map(|event| event["detail"].as_str().unwrap());
        details.map(ToOwned::to_owned).collect()
    };
    assert_eq!(details(&page), ["three", "two"]);
    let event = &page["events"][0];
    assert_eq!(
        (&event["actor"], &event["kind"]),
        (&json!("admin"), &json!("account.created"))
    );
    let next = page["next"].as_str().unwrap();
    let rest = get(&server, &format!("events?kind=account.created&from={next}"));
    assert_eq!(details(&rest)[0], "one");

    let object = event["object"].as_str().unwrap();
    let of_object = get(&server, &format!("events?object={object}"));
    assert_eq!(of_object["events"].as_array().unwrap().len(), 1);
    let now = get(&server, "events?within_seconds=60&kind=account");
    assert_eq!(details(&now)[0], "three");
    let future = get(&server, "events?since=2126-01-01T00:00:00Z");
    assert_eq!(
        (&future["events"], &future["next"]),
        (&json!([]), &Value::Null)
    );
}

#[test]
fn the_chain_is_verified_with_the_head_that_was_kept() {
    let server = Server::start();
    let nothing = get(&server, "verify");
    assert_eq!(
        (&nothing["intact"], &nothing["head"]),
        (&json!(true), &Value::Null)
    );
    server.run(server.house.audit.link_now()).unwrap();
    let verified = get(&server, "verify");
    assert_eq!(
        (&verified["intact"], &verified["next"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(verified["head"]["last_event"], verified["newest_event"]);
    let head = verified["head"]["link"].as_str().unwrap();
    assert_eq!(
        get(&server, &format!("verify?expect={head}"))["intact"],
        true
    );
    assert_eq!(get(&server, &format!("verify?after={head}"))["links"], 0);

    let other = format!("1:{}", "0".repeat(64));
    let broken = get(&server, &format!("verify?expect={other}"));
    assert_eq!(broken["intact"], false);
    assert!(
        broken["broken"].as_str().unwrap().contains("link 1"),
        "{broken}"
    );
    let later = head.replacen('1', "9", 1);
    let broken = get(&server, &format!("verify?expect={later}"));
    assert!(
        broken["broken"].as_str().unwrap().contains("cut off"),
        "{broken}"
    );
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let server = Server::start();
    for (path, words) in [
        ("events?limit=0", "limit"),
        ("events?limit=1000", "limit"),
        ("events?limit=x", "limit"),
        ("events?object=x", "uuid"),
        ("events?since=yesterday", "since"),
        ("events?within_seconds=-1", "within_seconds"),
        ("events?from=x", "from"),
        ("verify?after=1", "after"),
        ("verify?expect=1:00", "expect"),
    ] {
        let path = format!("/chancery/v1/audit/{path}");
        let refused = call(&server, &server.token, "GET", &path, &Value::Null);
        assert_eq!(refused.status, 400, "{path}");
        assert!(refused.text().contains(words), "{path}: {}", refused.text());
    }
    let shop = server.account("shop");
    let path = "/chancery/v1/audit/verify";
    let refused = call(&server, &shop, "GET", path, &Value::Null);
    assert_eq!(refused.status, 403, "{}", refused.text());
}
