//! Requests about services and instances as the clients of spec/kraftcloud.md section 5 send them.

use super::*;

fn with_headers(server: &Server, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let authorization = format!("Bearer {}", server.token);
    let own = [("Authorization", authorization.as_str())];
    let all = own.iter().chain(headers);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Sends what a client sends, with its headers.
#[track_caller]
fn send_with(
    server: &Server,
    headers: &[(&str, &str)],
    method: &str,
    path: &str,
    body: &str,
) -> Answer {
    let headers = with_headers(server, headers);
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    Answer::of(&server.send(method, path, &headers, body))
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn kraft_deploys_and_removes_a_service() {
    let server = Server::start();
    upload_each(&server, &["c1"]);
    let headers = [JSON, ("Connection", "close")];
    let kraft =
        |method: &str, path: &str, body: &str| send_with(&server, &headers, method, path, body);
    // It appends a dot to whatever it was given, and no handlers were given.
    let body = r#"{"name":"web","image":"nginx:latest","memory_mb":64,"autostart":true,"args":null,
        "env":{},"features":null,"restart_policy":"never","replicas":0,"wait_timeout_ms":60000,
        "service_group":{"services":[
            {"port":443,"destination_port":8080,"handlers":["http","tls"]},
            {"port":80,"destination_port":443,"handlers":["http","redirect"]}],
        "domains":[{"name":"example.com..","certificate":{"uuid":"","name":"c1"}}]}}"#;
    let instance = kraft("POST", "/v1/instances", body);
    let item = instance.item();
    let domain = &item["service_group"]["domains"][0];
    assert_eq!(
        (text(domain, "fqdn"), text(&domain["certificate"], "name")),
        ("example.com", "c1")
    );
    let service = text(&item["service_group"], "uuid").to_owned();

    let found = kraft(
        "GET",
        "/v1/services",
        &format!(r#"[{{"uuid":"{service}"}}]"#),
    );
    assert_eq!(found.item()["fqdn"], "example.com");
    let listed = kraft("GET", "/v1/services", "");
    let created = text(listed.item(), "created_at");
    assert_eq!((created.len(), &created[19..]), (20, "Z"));

    let attached = kraft(
        "DELETE",
        "/v1/services",
        &format!(r#"[{{"uuid":"{service}"}}]"#),
    );
    attached.failed(200, 15, 409);
    kraft("DELETE", "/v1/instances", r#"[{"name":"web"}]"#).item();
    // It asks until the code says that the service is gone.
    let gone = kraft(
        "GET",
        "/v1/services",
        &format!(r#"[{{"uuid":"{service}"}}]"#),
    );
    assert!(gone.failed(200, 8, 404)["error"].is_u64());
}

#[test]
fn the_oldest_go_client_makes_a_service_with_one_name() {
    let server = Server::start();
    let headers = [JSON, ("Connection", "close")];
    let body = r#"{"dns_name":"old.example.","services":[{"port":443,"destination_port":8080,"handlers":["tls","http"]}]}"#;
    let made = send_with(&server, &headers, "POST", "/v1/services/", body);
    assert_eq!(made.key(), "service_groups");
    assert_eq!(made.item()["fqdn"], "old.example");
    let listed = send_with(&server, &headers, "GET", "/v1/services/list", "");
    let uuid = text(listed.item(), "uuid");
    let one = send_with(
        &server,
        &headers,
        "GET",
        &format!("/v1/services/{uuid}"),
        "",
    );
    assert_eq!(one.item()["fqdn"], "old.example");
    send_with(
        &server,
        &headers,
        "DELETE",
        &format!("/v1/services/{uuid}"),
        "",
    )
    .item();
}

#[test]
fn the_python_client_makes_reads_changes_and_deletes() {
    let server = Server::start();
    let body = r#"{"services":[{"port":443,"destination_port":8080,"handlers":["tls","http"]}],"domains":[{"name":"py"}]}"#;
    let made = send_with(&server, &[JSON], "POST", "/v1/services", body);
    let uuid = text(made.item(), "uuid").to_owned();
    let read = send_with(
        &server,
        &[],
        "GET",
        &format!("/v1/services?uuid={uuid}&details=true"),
        "",
    );
    assert_eq!(read.item()["domains"][0]["fqdn"], "py.metro.internal");
    let first = send_with(&server, &[], "GET", "/v1/services?count=100", "");
    assert_eq!(first.items().len(), 1);
    let operations = format!(
        r#"[{{"uuid":"{uuid}","prop":"hard_limit","op":"set","value":10}},{{"uuid":"{uuid}","prop":"autokill","op":"set"}}]"#
    );
    let changed = send_with(&server, &[JSON], "PATCH", "/v1/services", &operations);
    assert_eq!(changed.codes(), [0, 0]);
    assert_eq!(changed.items()[0]["uuid"], uuid.as_str());
    let quotas = send_with(&server, &[], "GET", "/v1/users/quotas", "");
    assert!(quotas.item()["used"].is_object());
    let delete = format!(r#"[{{"uuid":"{uuid}"}}]"#);
    send_with(&server, &[JSON], "DELETE", "/v1/services", &delete).item();
    let gone = send_with(
        &server,
        &[],
        "GET",
        &format!("/v1/services?uuid={uuid}&details=true"),
        "",
    );
    gone.failed(200, 8, 404);
}

#[test]
fn the_newer_go_and_javascript_clients_list_and_name_in_their_ways() {
    let server = Server::start();
    for name in ["s1", "s2"] {
        serve(&server, &json!({"name": name, "services": []})).item();
    }
    let go = send_with(&server, &[JSON], "GET", "/v1/services?details=true", "");
    assert_eq!(go.names(), ["s1", "s2"]);
    assert!(go.items().iter().all(|item| item["status"] == "success"));
    let sorted = "/v1/services?count=1&order=desc&sortby=create_time&details=true";
    assert_eq!(
        send_with(&server, &[JSON], "GET", sorted, "").names(),
        ["s2"]
    );
    let body = r#"[{"name":"s2"},{"name":"s1"}]"#;
    assert_eq!(
        send_with(&server, &[JSON], "GET", "/v1/services", body).names(),
        ["s2", "s1"]
    );
    let repeated = "/v1/services?name=s1&name=s2&count=100";
    assert_eq!(
        send_with(&server, &[], "GET", repeated, "").names(),
        ["s1", "s2"]
    );
    // curl, as the document shows it, says nothing of JSON.
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let curl = send_with(
        &server,
        &[form],
        "DELETE",
        "/v1/services",
        r#"[{"name":"s1"}]"#,
    );
    curl.item();
}

#[test]
fn a_terraform_provider_learns_that_a_service_is_gone() {
    let server = Server::start();
    let made = serve(&server, &json!({"services": []}));
    let path = format!("{SERVICES}/{}", text(made.item(), "uuid"));
    send(&server, "DELETE", &path, "").item();
    let gone = get(&server, &path);
    assert_eq!(gone.http, 404);
    gone.failed(404, 8, 404);
}
