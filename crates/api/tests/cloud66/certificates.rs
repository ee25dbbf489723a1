//! Certificates on stacks: making, listing and removing them.

use lifecycle::TokenLimits;
use serde_json::{Value, json};
use testbed::{Authority, Workdir, openssl};

use super::support::Server;
use super::{
    assert_error, domains, get, lets_encrypt, manual, path_of, post, response_of, send, send_as,
    stack, start, uuids, with_status,
};

#[test]
fn without_a_token_the_answer_says_so() {
    // 1
    let server = Server::start();
    let list = stack(&server, "shop");
    let answer = server.send("GET", &format!("/api/3{list}.json"), &[], "");
    let details = assert_error(&answer, 401, "unauthenticated");
    assert!(details.contains("token"), "{details}");
}

#[test]
fn an_empty_list_is_whole() {
    // 2, 3
    let server = Server::start();
    let list = stack(&server, "shop");
    let expected = json!({
        "response": [],
        "count": 0,
        "pagination": {
            "previous": null, "prev": null, "next": null, "current": 1, "per_page": 30,
            "count": 0, "pages": 0,
        },
    });
    for path in [list.clone(), format!("{list}.json"), format!("{list}/")] {
        let authorization = format!("bearer {}", server.token);
        let path = format!("/api/3{path}");
        let answer = server.send("GET", &path, &[("authorization", &authorization)], "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), expected, "{path}");
    }
}

#[test]
fn an_uploaded_certificate_gets_its_names_from_itself() {
    // 6
    let server = Server::start();
    let list = stack(&server, "My Shop");
    let pair = Authority::new().issue(&["a.example", "*.b.example"], 90);
    let made = post(&server, &format!("{list}.json"), &manual(&pair, ""));
    let files = Workdir::new();
    files.write("leaf.pem", &pair.chain);
    let arguments = [
        "x509",
        "-in",
        &files.path("leaf.pem"),
        "-noout",
        "-fingerprint",
        "-sha256",
    ];
    let fingerprint = openssl(&arguments, b"").text();
    let fingerprint = fingerprint
        .trim()
        .split('=')
        .nth(1)
        .unwrap()
        .replace(':', "");
    let name = made["name"].as_str().unwrap();
    assert_eq!(
        name.strip_prefix("my-shop-production-").unwrap().len(),
        5,
        "{name}"
    );
    let uuid = made["uuid"].as_str().unwrap();
    assert_eq!(uuid.strip_prefix("ssl-").unwrap().len(), 32);
    for (key, value) in [
        ("server_group_id", Value::Null),
        ("server_names", json!("a.example,*.b.example")),
        ("sha256_fingerprint", json!(fingerprint.to_lowercase())),
        ("ca_name", Value::Null),
        ("type", json!("manual")),
        ("wildcard", json!(false)),
        ("dns_provider_uuid", Value::Null),
        ("ssl_termination", json!(true)),
        ("has_intermediate_cert", json!(false)),
        ("status", json!(1)),
        ("certificate", Value::Null),
        ("key", Value::Null),
        ("intermediate_certificate", Value::Null),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    for time in ["created_at", "updated_at", "expires_at"] {
        let text = made[time].as_str().unwrap();
        assert_eq!((text.len(), &text[19..]), (20, "Z"), "{time}: {text}");
    }
    // The order of the keys is the documents'.
    let shown = send(&server, "GET", &path_of(&list, &made), "").text();
    let places: Vec<usize> = [
        "uuid",
        "name",
        "server_group_id",
        "server_names",
        "sha256_fingerprint",
        "ca_name",
        "\"type",
        "wildcard",
        "dns_provider_uuid",
        "ssl_termination",
        "has_intermediate_cert",
        "status",
        "created_at",
        "updated_at",
        "expires_at",
        "\"certificate",
        "\"key",
        "intermediate_certificate",
    ]
    .iter()
    .map(|key| {
        shown
            .find(&format!("{key}\""))
            .unwrap_or_else(|| panic!("{key}: {shown}"))
    })
    .collect();
    assert!(places.is_sorted(), "{shown}");
    assert_eq!(get(&server, &path_of(&list, &made))["status"], 3);
    assert_eq!(domains(&server, &list), ["a.example", "*.b.example"]);
}

#[test]
fn a_certificate_is_found_by_all_its_names() {
    // 13
    let server = Server::start();
    let list = stack(&server, "shop");
    let pair = Authority::new().issue(&["a.example"], 90);
    let made = post(&server, &list, &manual(&pair, "a.example"));
    let digits = made["uuid"].as_str().unwrap().strip_prefix("ssl-").unwrap();
    let dashed = uuid::Uuid::parse_str(digits)
        .unwrap()
        .hyphenated()
        .to_string();
    let shown = get(&server, &format!("{list}/ssl-{digits}"));
    for name in [
        digits.to_owned(),
        dashed.clone(),
        format!("ssl-{dashed}"),
        format!("{digits}.json"),
    ] {
        assert_eq!(get(&server, &format!("{list}/{name}")), shown, "{name}");
        assert_eq!(get(&server, &format!("{list}/{name}/")), shown, "{name}");
    }
    for nonsense in [
        "x",
        "ssl-",
        &digits[1..],
        &"0".repeat(32),
        &format!("ssl-ssl-{digits}"),
    ] {
        let answer = send(&server, "GET", &format!("{list}/{nonsense}"), "");
        assert_error(&answer, 404, "not_found");
    }
    let elsewhere = stack(&server, "blog");
    let answer = send(&server, "GET", &format!("{elsewhere}/{digits}"), "");
    assert_error(&answer, 404, "not_found");
}

#[test]
fn forms_and_flat_json_are_as_good_as_the_wrapper() {
    // 8, 9, 24
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut certificates = Vec::new();
    for (number, wrapped) in [true, false].into_iter().enumerate() {
        let name = format!("f{number}.example");
        let pair = authority.issue(&[&name], 90);
        let fields = [
            ("type", "manual"),
            ("certificate", &pair.chain),
            ("key", &pair.key),
            ("ssl_termination", "nginx"),
        ];
        let form: Vec<String> = fields
            .iter()
            .map(|(key, value)| match wrapped {
                true => format!("ssl_certificate[{key}]={}", encoded(value)),
                false => format!("{key}={}", encoded(value)),
            })
            .collect();
        certificates.push((name, form.join("&")));
    }
    let name = "j.example".to_owned();
    let pair = authority.issue(&[&name], 90);
    let flat = json!({"type": "manual", "certificate": pair.chain, "key": pair.key,
        "ssl_termination": "nginx", "colour": "red"});
    certificates.push((name, format!(" \n{flat}")));
    for (name, body) in certificates {
        let headers = [
            ("Authorization", format!("Bearer {}", server.token)),
            (
                "Content-Type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
        ];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = server.send("POST", &format!("/api/3{list}"), &headers, body);
        let made = response_of(&answer);
        assert_eq!(made["server_names"], name);
        assert_eq!(made["ssl_termination"], false);
    }
}

#[test]
fn several_certificates_of_one_kind_stand_beside_each_other_in_the_order_of_their_making() {
    // 11, 12
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let mut made = Vec::new();
    for names in [["a.example", "b.example"], ["c.example", "d.example"]] {
        let pair = authority.issue(&names, 90);
        let names = names.join(" , ");
        made.push(post(&server, &list, &manual(&pair, &names)));
    }
    assert_eq!(made[0]["server_names"], "a.example,b.example");
    let listed = get(&server, &list);
    for (listed, made) in listed.as_array().unwrap().iter().zip(&made) {
        assert_eq!(listed["uuid"], made["uuid"]);
        assert_eq!(listed["sha256_fingerprint"].as_str().unwrap().len(), 64);
    }
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let page = send(&server, "GET", &format!("{list}?per_page=1&page=2"), "").json();
    assert_eq!(page["response"][0]["uuid"], made[1]["uuid"]);
    assert_eq!(
        (&page["count"], &page["pagination"]["count"]),
        (&json!(1), &json!(2))
    );
}

#[test]
fn kinds_exclude_each_other_and_so_do_names() {
    // 10
    let server = start();
    let (external, standard) = (stack(&server, "external"), stack(&server, "standard"));
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"], 90);
    post(&server, &external, &manual(&pair, ""));
    post(&server, &standard, &lets_encrypt("b.example"));
    let again = authority.issue(&["A.Example", "x.example"], 90);
    let wildcard = json!({"type": "lets_encrypt", "wildcard": true, "server_names": "w.example",
        "dns_provider_uuid": provider(&server)});
    for (list, body) in [
        (&external, lets_encrypt("y.example")),
        (&external, manual(&again, "")),
        (&standard, manual(&again, "")),
        (&standard, lets_encrypt("z.example,B.example")),
        (&standard, wildcard),
    ] {
        let answer = send(&server, "POST", list, body.to_string());
        let details = assert_error(&answer, 409, "conflict");
        assert!(
            details.contains("already exists for this stack"),
            "{details}"
        );
    }
    for list in [&external, &standard] {
        assert_eq!(uuids(&server, list).len(), 1);
    }
    // Nothing that was refused is left in the inventory.
    let headers = [("Authorization", format!("Bearer {}", server.token))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let inventory = server
        .send("GET", "/chancery/v1/certificates", &headers, "")
        .json();
    assert_eq!(
        inventory["certificates"].as_array().unwrap().len(),
        2,
        "{inventory}"
    );
}

#[test]
fn a_domain_of_another_stack_is_not_taken_away() {
    let server = start();
    let (first, second) = (stack(&server, "first"), stack(&server, "second"));
    post(&server, &first, &lets_encrypt("a.example"));
    let pair = Authority::new().issue(&["a.example"], 90);
    for body in [lets_encrypt("a.example"), manual(&pair, "")] {
        let answer = send(&server, "POST", &second, body.to_string());
        let details = assert_error(&answer, 409, "conflict");
        assert!(details.contains("a.example"), "{details}");
    }
    assert!(uuids(&server, &second).is_empty());
}

#[test]
fn a_certificate_is_obtained_and_says_how_far_it_is() {
    let server = start();
    let list = stack(&server, "shop");
    let made = post(&server, &list, &lets_encrypt("A.example, b.example"));
    assert_eq!(made["status"], 1);
    assert_eq!(made["server_names"], "A.example,b.example");
    assert_eq!(made["ca_name"], "Let's Encrypt");
    // An authority of the house is waited for.
    assert_eq!(made["sha256_fingerprint"].as_str().unwrap().len(), 64);
    let shown = with_status(&server, &path_of(&list, &made), 3);
    assert_eq!(shown["has_intermediate_cert"], true);
    assert!(shown["expires_at"].is_string());
    assert_eq!(domains(&server, &list), ["a.example", "b.example"]);
}

#[test]
fn what_is_not_obtained_yet_has_no_fingerprint_but_a_text() {
    // Nothing is obtained here.
    let server = Server::with(|options| {
        options.house.installations.patience = std::time::Duration::ZERO;
    });
    let list = stack(&server, "shop");
    let made = post(&server, &list, &lets_encrypt("a.example"));
    for shown in [made.clone(), get(&server, &list)[0].clone()] {
        assert_eq!(shown["sha256_fingerprint"], "");
        assert_eq!(shown["expires_at"], Value::Null);
        assert_eq!(shown["has_intermediate_cert"], false);
        assert_eq!(shown["status"], 1);
    }
    // It can be deleted meanwhile.
    let gone = response_of(&send(&server, "DELETE", &path_of(&list, &made), ""));
    assert_eq!(gone["status"], 4);
    assert!(uuids(&server, &list).is_empty());
    assert!(domains(&server, &list).is_empty());
}

/// The `dp-…` of a DNS provider of the administrator's.
fn provider(server: &Server) -> String {
    let provider = lifecycle::NewDnsProvider {
        zone: "example".to_owned(),
        kind: "rfc2136".to_owned(),
        credentials: [
            ("server", "127.0.0.1"),
            ("name", "k"),
            ("secret", "c2VjcmV0c2VjcmV0c2VjcmV0"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect(),
        account: None,
    };
    let administrator = server.administrator();
    let adding = server.house.dns_providers.add(&administrator, provider);
    server.run(adding).unwrap();
    let listing = server
        .store
        .dns_providers(store::Scope::Everything, None, 10);
    let listed = server.run(listing).unwrap();
    format!("dp-{}", listed[0].id.as_uuid().simple())
}

#[test]
fn the_body_that_real_clients_send_makes_a_wildcard() {
    // 4
    let server = start();
    let list = stack(&server, "shop");
    let body = |provider: &str| {
        json!({"ssl_certificate": {
            "uuid": "", "name": "", "server_group_id": 0,
            "server_names": "a.example,b.example", "sha256_fingerprint": null, "ca_name": null,
            "type": "lets_encrypt", "wildcard": true, "ssl_termination": true,
            "has_intermediate_cert": false, "certificate": null, "key": null,
            "intermediate_certificate": null, "status": 0,
            "created_at": "0001-01-01T00:00:00Z", "updated_at": "0001-01-01T00:00:00Z",
            "expires_at": null, "dns_provider_uuid": provider,
        }})
    };
    let unknown = send(&server, "POST", &list, body("dp-1").to_string());
    let details = assert_error(&unknown, 400, "bad_request");
    assert!(details.contains("dns_provider_uuid"), "{details}");
    let provider = provider(&server);
    let made = post(&server, &list, &body(&provider));
    assert!(made["uuid"].as_str().unwrap().starts_with("ssl-"));
    assert_eq!(made["status"], 1);
    assert_eq!(made["server_names"], "a.example,b.example");
    assert_eq!(made["wildcard"], true);
    assert_eq!(made["dns_provider_uuid"], provider);
    let expected = ["a.example", "*.a.example", "b.example", "*.b.example"];
    assert_eq!(domains(&server, &list), expected);
    with_status(&server, &path_of(&list, &made), 3);
}

#[test]
fn names_that_a_certificate_does_not_cover_are_kept_with_a_warning() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let pair = Authority::new().issue(&["a.example"], 90);
    let body = manual(&pair, "a.example,other.example").to_string();
    let answer = send(&server, "POST", &list, body);
    let made = response_of(&answer);
    assert_eq!(made["server_names"], "a.example,other.example");
    let warning = answer.header("x-cloud66-warning").unwrap();
    assert!(warning.contains("other.example"), "{warning}");
    assert_eq!(domains(&server, &list), ["a.example"]);
}

#[test]
fn a_certificate_that_ends_soon_comes_with_a_warning() {
    let server = Server::start();
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let late = post(
        &server,
        &list,
        &manual(&authority.issue(&["late.example"], 31), ""),
    );
    let path = path_of(&list, &late);
    assert_eq!(
        send(&server, "GET", &path, "").header("x-cloud66-warning"),
        None
    );
    server.advance(std::time::Duration::from_secs(2 * 86_400));
    for path in [&path, &list] {
        let answer = send(&server, "GET", path, "");
        let warning = answer.header("x-cloud66-warning").unwrap_or_default();
        assert!(warning.contains("expires on 20"), "{warning}");
    }
    server.advance(std::time::Duration::from_secs(40 * 86_400));
    let answer = send(&server, "GET", &path, "");
    assert!(
        answer
            .header("x-cloud66-warning")
            .unwrap()
            .contains("expired on")
    );
    assert_eq!(response_of(&answer)["status"], 3, "it stays installed");
    let model = get(&server, &format!("{path}?representation=model"));
    assert_eq!(model["status"], "expired");
}

#[test]
fn a_deleted_certificate_is_shown_once_more_and_gone() {
    // 18
    let server = Server::start();
    let list = stack(&server, "shop");
    let pair = Authority::new().issue(&["a.example"], 90);
    let made = post(&server, &list, &manual(&pair, ""));
    let path = path_of(&list, &made);
    let shown = get(&server, &path);
    let deleted = response_of(&send(&server, "DELETE", &format!("{path}.json"), ""));
    assert_eq!(deleted["status"], 4);
    for key in [
        "uuid",
        "name",
        "server_names",
        "sha256_fingerprint",
        "expires_at",
    ] {
        assert_eq!(deleted[key], shown[key], "{key}");
    }
    for method in ["GET", "DELETE", "PUT"] {
        let answer = send(&server, method, &path, "{}");
        let details = assert_error(&answer, 404, "not_found");
        assert!(!details.is_empty());
    }
    assert!(domains(&server, &list).is_empty());
    // Its place is free.
    post(&server, &list, &manual(&pair, ""));
}

#[test]
fn a_token_without_the_scope_is_refused() {
    // 19
    let server = Server::start();
    let list = stack(&server, "shop");
    let scoped = |scope: &str, read_only| {
        server.token_with(TokenLimits {
            scopes: Some(vec![scope.to_owned()]),
            read_only,
            ..TokenLimits::default()
        })
    };
    let public = scoped("public", false);
    for (method, path) in [
        ("GET", list.clone()),
        ("POST", list.clone()),
        ("GET", format!("{list}/x")),
        ("PUT", format!("{list}/x")),
        ("PATCH", format!("{list}/x")),
        ("DELETE", format!("{list}/x")),
        ("POST", "/stacks".to_owned()),
        ("DELETE", "/stacks/x".to_owned()),
    ] {
        let answer = send_as(&server, &public, method, &path, "{}");
        let details = assert_error(&answer, 403, "forbidden");
        assert!(details.contains("admin"), "{details}");
    }
    for path in ["/stacks", "/ping/auth"] {
        assert_eq!(send_as(&server, &public, "GET", path, "").status, 200);
    }
    let admin = scoped("admin", false);
    assert_eq!(send_as(&server, &admin, "GET", &list, "").status, 200);
    let reader = scoped("admin", true);
    assert_eq!(send_as(&server, &reader, "GET", &list, "").status, 200);
    let answer = send_as(
        &server,
        &reader,
        "POST",
        &list,
        lets_encrypt("a.example").to_string(),
    );
    assert_error(&answer, 403, "forbidden");
}

#[test]
fn the_model_is_shown_to_those_who_ask_for_it() {
    // 23
    let server = Server::start();
    let list = stack(&server, "shop");
    let pair = Authority::new().issue(&["a.example", "b.example"], 90);
    let made = post(&server, &list, &manual(&pair, ""));
    let answer = send(&server, "GET", &format!("{list}?representation=model"), "").json();
    let shown = &answer["response"][0];
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["ssl_termination"], "haproxy");
    assert_eq!(shown["name"], "a.example");
    let digits = made["uuid"].as_str().unwrap().strip_prefix("ssl-").unwrap();
    assert_eq!(shown["uuid"].as_str().unwrap().replace('-', ""), digits);
    assert_eq!(shown["uuid"].as_str().unwrap().len(), 36);
    let fingerprint = shown["sha256_fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint.len(), 95);
    let plain = made["sha256_fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint.replace(':', ""), plain.to_uppercase());
    let pagination = json!({"prev": null, "next": null, "current": 1, "count": 1, "pages": 1});
    assert_eq!(answer["pagination"], pagination);

    let authorization = format!("Bearer {}", server.token);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Accept", "application/json; representation=model"),
    ];
    let path = format!("/api/3{}", path_of(&list, &made));
    let one = server.send("GET", &path, &headers, "");
    assert_eq!(response_of(&one), *shown);
}
