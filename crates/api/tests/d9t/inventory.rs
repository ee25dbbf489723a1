//! One inventory: what other dialects make is seen here, and what is done here is seen there.

use std::time::Duration;

use testbed::Authority;

use super::*;

/// Sends a request to the KraftCloud API.
#[track_caller]
fn kraftcloud(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let bearer = format!("Bearer {}", server.token);
    let headers = [("Authorization", bearer.as_str())];
    let response = server.send(method, path, &headers, body.to_string());
    response.json()
}

/// The only item of a KraftCloud answer.
#[track_caller]
fn item(envelope: &Value) -> Value {
    let data = envelope["data"].as_object();
    let items = data.and_then(|data| data.values().next()?.as_array());
    let items = items.unwrap_or_else(|| panic!("{envelope}"));
    assert_eq!(items.len(), 1, "{envelope}");
    items[0].clone()
}

#[track_caller]
fn upload(server: &Server, name: &str, names: &[&str]) -> Value {
    let pair = Authority::new().issue(names, 30);
    let body = json!({"name": name, "cn": names[0], "chain": pair.chain, "pkey": pair.key});
    let uploaded = kraftcloud(server, "POST", "/v1/certificates", &body);
    assert_eq!(uploaded["status"], "success", "{uploaded}");
    item(&uploaded)
}

#[track_caller]
fn found(server: &Server, name: &str) -> Value {
    let path = format!("/v1/certificates/{name}");
    item(&kraftcloud(server, "GET", &path, &Value::Null))
}

/// The path and the object of the only certificate under the key of that name.
#[track_caller]
fn only_under(server: &Server, key_name: &str) -> (String, String, Value) {
    let keys = get(server, KEYS);
    let key = keys
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == key_name);
    let key = key.unwrap_or_else(|| panic!("no {key_name}: {keys}"));
    let key = path_of(server, href(key, "self"));
    let under = get(server, &format!("{key}/certificates"));
    assert_eq!(under.as_array().unwrap().len(), 1, "{under}");
    let path = path_of(server, href(&under[0], "self"));
    let certificate = get(server, &path);
    (key, path, certificate)
}

#[test]
fn what_was_uploaded_elsewhere_is_here_without_its_key() {
    let server = server();
    upload(&server, "uploaded", &["a.example", "b.example"]);
    let (key, path, certificate) = only_under(&server, "uploaded");
    let shown = get(&server, &key);
    assert_members(&shown, &["id", "name", "key", "_links"]);
    assert_eq!(
        (&shown["key"], text(&shown, "name")),
        (&Value::Null, "uploaded")
    );
    assert_eq!(text(&certificate, "name"), "uploaded");
    assert_eq!(text(&certificate, "common_name"), "a.example");
    assert_eq!(certificate["organization_name"], "");
    assert_eq!(
        get(&server, KEYS),
        get(&server, KEYS),
        "asking changes nothing"
    );

    // The server signs with the key that it gives to nobody.
    let request = get(&server, &format!("{path}/csr"));
    let signed = Ca::new().sign(text(&request, "csr"));
    assert!(described(&signed).contains("DNS:a.example, DNS:b.example"));
    let put = send(
        &server,
        "PUT",
        &path,
        json!({"ssl_certificate": signed}).to_string(),
    );
    assert_eq!(put.status, 200, "{}", put.text());
    let there = found(&server, "uploaded");
    assert!(text(&there, "issuer").contains("Elsewhere"), "{there}");
    let put = send(&server, "PUT", &path, "");
    assert_eq!(put.status, 200, "{}", put.text());
    let itself = put.json();
    let described = described(text(&itself, "ssl_certificate"));
    assert!(
        described.contains("DNS:a.example, DNS:b.example"),
        "{described}"
    );
    assert_eq!(get(&server, &key)["key"], Value::Null);
    // A certificate of its own under that key, and the key stays as long as either does.
    let (own, _) = make_certificate(&server, &key, "own");
    let gone = kraftcloud(
        &server,
        "DELETE",
        "/v1/certificates",
        &json!([{"name": "uploaded"}]),
    );
    assert_eq!(gone["status"], "success", "{gone}");
    assert_error(&send(&server, "GET", &path, ""), 404);
    assert_eq!(text(&get(&server, &own), "name"), "own");
    assert_eq!(send(&server, "PUT", &own, "").status, 200);
    assert_eq!(send(&server, "DELETE", &own, "").status, 204);
    assert_error(&send(&server, "GET", &key, ""), 404);
    assert_eq!(get(&server, KEYS), json!([]));
}

#[test]
fn what_is_made_here_is_there_under_a_name_of_its_own() {
    let server = server();
    let key = make_key(&server, "k");
    let (path, made) = make_certificate(&server, &key, "a/b");
    let listed = kraftcloud(&server, "GET", "/v1/certificates", &Value::Null);
    let name = text(&item(&listed), "name").to_owned();
    assert!(name.starts_with("demo.example.org-"), "{name}");
    let there = found(&server, &name);
    assert_eq!(text(&there, "common_name"), "demo.example.org");
    // Replaced there, it is under another key here, with its number and its label.
    let pair = Authority::new().issue(&["demo.example.org"], 30);
    let body = json!({"name": name, "chain": pair.chain, "pkey": pair.key});
    let replaced = kraftcloud(&server, "PUT", "/v1/certificates", &body);
    assert_eq!(replaced["status"], "success", "{replaced}");
    assert_error(&send(&server, "GET", &path, ""), 404);
    assert_eq!(get(&server, &format!("{key}/certificates")), json!([]));
    let all = get(&server, CERTIFICATES);
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(
        (&all[0]["id"], &all[0]["name"]),
        (&made["id"], &json!("a/b"))
    );
    let moved = get(&server, &path_of(&server, href(&all[0], "self")));
    assert_eq!(text(&moved, "ssl_certificate"), pair.chain);
}

#[test]
fn a_common_name_that_is_no_host_can_be_listed_and_replaced_elsewhere() {
    let server = server();
    let key = make_key(&server, "k");
    let body = json!({"name": "c", "common_name": "Jane Doe (CEO)"});
    make(&server, &format!("{key}/certificates"), &body);
    let listed = kraftcloud(&server, "GET", "/v1/certificates?details=1", &Value::Null);
    let there = item(&listed);
    assert_eq!(text(&there, "common_name"), "Jane Doe (CEO)");
    let name = text(&there, "name").to_owned();
    let pair = Authority::new().issue(&["other.example"], 30);
    let body = json!({"name": name, "chain": pair.chain, "pkey": pair.key});
    let replaced = kraftcloud(&server, "PUT", "/v1/certificates", &body);
    assert_eq!(replaced["status"], "success", "{replaced}");
    let bearer = format!("Bearer {}", server.token);
    let headers = [("Authorization", bearer.as_str())];
    let shown = server.send("GET", "/chancery/v1/certificates", &headers, "");
    assert_eq!(shown.status, 200, "{}", shown.text());
}

#[test]
fn a_certificate_of_the_wrong_name_is_not_listed_for_the_right_one() {
    let server = server();
    let key = make_key(&server, "k");
    let (path, _) = make_certificate(&server, &key, "c");
    let (_, other) = make(
        &server,
        &format!("{key}/certificates"),
        &json!({"name": "other", "common_name": "other.example"}),
    );
    let body = json!({"ssl_certificate": other["ssl_certificate"]}).to_string();
    let put = send(&server, "PUT", &path, body);
    assert_eq!(text(&put.json(), "common_name"), "demo.example.org");
    let listed = kraftcloud(&server, "GET", "/v1/certificates?details=1", &Value::Null);
    let listed = listed["data"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone();
    for there in listed.as_array().unwrap() {
        assert_eq!(text(there, "common_name"), "other.example", "{there}");
    }
}

#[test]
fn what_is_in_use_anywhere_cannot_be_deleted_here() {
    let server = server();
    let key = make_key(&server, "k");
    let (free, _) = make_certificate(&server, &key, "free");
    let (used, _) = make_certificate(&server, &key, "used");
    let listed = kraftcloud(&server, "GET", "/v1/certificates", &Value::Null);
    let listed = listed["data"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .clone();
    let newest = |listed: &Value| {
        let mut names = listed.as_array().unwrap().iter();
        names
            .next()
            .map(|item| text(item, "uuid").to_owned())
            .unwrap()
    };
    let uuid = newest(&listed);
    let body = json!({
        "services": [{"port": 443, "handlers": ["tls", "http"]}],
        "domains": [{"name": "demo.example.org.", "certificate": {"uuid": uuid}}],
    });
    let service = kraftcloud(&server, "POST", "/v1/services", &body);
    assert_eq!(service["status"], "success", "{service}");
    let (mut refused, mut gone) = (Vec::new(), Vec::new());
    for path in [&free, &used] {
        let response = send(&server, "DELETE", path, "");
        match response.status {
            204 => gone.push(path.clone()),
            _ => {
                let message = assert_error(&response, 400);
                assert!(message.contains("in use"), "{message}");
                refused.push(path.clone());
            }
        }
    }
    assert_eq!((refused.len(), gone.len()), (1, 1));
    assert_error(&send(&server, "DELETE", &key, ""), 400);
    let left = get(&server, &format!("{key}/certificates"));
    assert_eq!(path_of(&server, href(&left[0], "self")), refused[0]);
    // Detached, both go.
    let service = text(&item(&service), "uuid").to_owned();
    kraftcloud(
        &server,
        "DELETE",
        "/v1/services",
        &json!([{ "uuid": service }]),
    );
    assert_eq!(send(&server, "DELETE", &key, "").status, 204);
    assert_eq!(get(&server, CERTIFICATES), json!([]));
}

#[test]
fn a_key_of_an_order_is_shown_for_as_long_as_it_is_given_out() {
    let server = server();
    let ordered = server.send(
        "POST",
        "/api/v1/certificate/request-with-simplerequest",
        &[("X-Auth-Token", &server.token)],
        json!({"domains": ["a.test"]}).to_string(),
    );
    assert_eq!(ordered.status, 201, "{}", ordered.text());
    let keys = get(&server, KEYS);
    let key = path_of(&server, href(&keys[0], "self"));
    let pem = text(&get(&server, &key), "key").to_owned();
    let (certificate, _) = make_certificate(&server, &key, "c");
    // It would be erased, if nothing had been made with it here.
    server.advance(Duration::from_secs(2 * 60 * 60));
    assert_eq!(get(&server, &key)["key"], Value::Null);
    server
        .run(server.house.certificates.erase_expired_keys())
        .unwrap();
    let request = get(&server, &format!("{certificate}/csr"));
    let own = public_key(&["pkey", "-pubout"], &pem);
    let asked = public_key(&["req", "-noout", "-pubkey"], text(&request, "csr"));
    assert_eq!(asked, own);
}

#[test]
fn what_the_house_issued_is_its_owners_after_it_was_replaced() {
    let server = server();
    let bearer = format!("Bearer {}", server.token);
    let headers = [("Authorization", bearer.as_str())];
    let path = "/chancery/v1/certificates";
    let body = json!({"names": ["managed.example"], "name": "managed"}).to_string();
    let response = server.send("POST", path, &headers, body);
    assert!(response.status < 300, "{}", response.text());
    let look = |path: &str| {
        let response = server.send("GET", path, &headers, "");
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    };
    let shown = look(&format!("{path}/managed"));
    assert_eq!(shown["origin"], "issued", "{shown}");
    let keys = get(&server, KEYS);
    let Some(key) = keys.as_array().unwrap().first() else {
        panic!("no key: {shown}");
    };
    let key = path_of(&server, href(key, "self"));
    let under = get(&server, &format!("{key}/certificates"));
    let certificate = path_of(&server, href(&under[0], "self"));
    let put = send(&server, "PUT", &certificate, "");
    assert_eq!(put.status, 200, "{}", put.text());
    let shown = look(&format!("{path}/managed"));
    assert_eq!(shown["origin"], "self-signed", "{shown}");
    let renewed = server.send("POST", &format!("{path}/managed/renew"), &headers, "");
    assert!(renewed.status >= 400, "{}", renewed.text());
}

#[test]
fn long_lists_come_whole() {
    let server = server();
    let account = server.administrator();
    let key = make_key(&server, "k");
    let mut numbers = Vec::new();
    for number in 0..1_050 {
        let event = store::NewEvent {
            at: server.house_time(),
            account_id: Some(account.account_id()),
            actor: "a test".to_owned(),
            kind: "private_key.created",
            object: None,
            detail: String::new(),
        };
        let new = store::NewPrivateKey {
            id: store::PrivateKeyId::at(server.house_time()),
            key: pki::PrivateKey::generate(KeyAlgorithm::P256).unwrap(),
            exportable: store::Exportable::Always,
        };
        let name = format!("key {number}");
        let added = server
            .store
            .add_private_key(account.account_id(), &name, &new, event);
        numbers.push(json!(server.run(added).unwrap()));
    }
    let listed = get(&server, KEYS);
    let listed: Vec<Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["id"].clone())
        .collect();
    assert_eq!(listed[1..], numbers);
    assert_eq!(format!("{KEYS}/{}", listed[0]), key);
}
