//! Certificate signing requests, and the whole way from a key to a signed certificate.

use super::*;

fn with_accept(server: &Server, path: &str, accept: &str) -> Response {
    let credentials = basic("admin", &server.token);
    let headers = [("Authorization", &*credentials), ("Accept", accept)];
    server.send("GET", path, &headers, "")
}

#[test]
fn a_request_is_signed_by_the_key_for_the_subject() {
    // 15
    let server = server();
    let key = make_key(&server, "k");
    let body = json!({
        "name": "c", "common_name": "demo.example.org", "organization_name": "O",
        "organization_unit": "OU", "locality": "L", "state_province": "ST",
        "country_code": "de", "email": "a@b.test",
    });
    let (certificate, _) = make(&server, &format!("{key}/certificates"), &body);
    let path = format!("{certificate}/csr");
    let shown = get(&server, &path);
    assert_members(&shown, &["csr", "_links"]);
    assert_eq!(rels(&shown), ["self", "certificate"]);
    assert_eq!(path_of(&server, href(&shown, "self")), path);
    assert_eq!(path_of(&server, href(&shown, "certificate")), certificate);
    let request = text(&shown, "csr");
    assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"));
    assert!(request.ends_with("-----END CERTIFICATE REQUEST-----\n"));
    assert!(request.lines().all(|line| line.len() <= 64));
    openssl(&["req", "-noout", "-verify"], request.as_bytes());
    let own = public_key(&["pkey", "-pubout"], text(&get(&server, &key), "key"));
    assert_eq!(public_key(&["req", "-noout", "-pubkey"], request), own);
    let subject = openssl(&["req", "-noout", "-subject"], request.as_bytes()).text();
    let subject = subject.replace(' ', "");
    assert_eq!(
        subject.trim(),
        "subject=C=DE,ST=ST,L=L,O=O,OU=OU,CN=demo.example.org,emailAddress=a@b.test"
    );
    let described = openssl(&["req", "-noout", "-text"], request.as_bytes()).text();
    assert!(described.contains("DNS:demo.example.org"), "{described}");
}

#[test]
fn clients_get_the_form_that_they_list_first() {
    // 16
    let server = server();
    let key = make_key(&server, "k");
    let (certificate, _) = make_certificate(&server, &key, "c");
    let path = format!("{certificate}/csr");
    for content_type in ["text/plain", "application/x-pem-file"] {
        let accept = format!("{content_type};q=0.5, application/json");
        let response = with_accept(&server, &path, &accept);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-type"), Some(content_type));
        assert!(
            response
                .text()
                .starts_with("-----BEGIN CERTIFICATE REQUEST-----\n")
        );
        openssl(&["req", "-noout", "-verify"], &response.body);
    }
    let der = with_accept(&server, &path, "application/pkcs10");
    assert_eq!(der.header("content-type"), Some("application/pkcs10"));
    openssl(&["req", "-inform", "DER", "-noout", "-verify"], &der.body);
    for accept in ["text/html", "*/*", "application/json"] {
        let response = with_accept(&server, &path, accept);
        assert!(response.json()["csr"].is_string(), "{accept}");
    }
}

#[test]
fn the_way_from_the_root_to_a_request_is_found_by_links_alone() {
    // 26
    let server = server();
    let key = make_key(&server, "k");
    make_certificate(&server, &key, "c");
    let follow = |object: &Value, rel: &str| get(&server, &path_of(&server, href(object, rel)));
    let root = get(&server, "/rest");
    let keys = follow(&root, "privatekeys");
    let key = follow(&keys[0], "self");
    let under = follow(&key, "certificates");
    let certificate = follow(&under[0], "self");
    let request = follow(&certificate, "certificate-signing-request");
    assert!(text(&request, "csr").contains("REQUEST"));
    assert_eq!(follow(&request, "certificate"), certificate);
    let all = follow(&root, "certificates");
    assert_eq!(all, under);
}

#[test]
fn a_private_authority_signs_the_request_and_its_certificate_takes_the_place() {
    let server = server();
    let key = make_key(&server, "k");
    let (path, _) = make_certificate(&server, &key, "c");
    let request = get(&server, &format!("{path}/csr"));
    let ordered = server.send(
        "POST",
        "/api/v1/certificate/request-with-csr",
        &[("X-Auth-Token", &server.token)],
        text(&request, "csr"),
    );
    assert_eq!(ordered.status, 201, "{}", ordered.text());
    let obtain = |path: &str| {
        let response = server.send("GET", path, &[("X-Auth-Token", &server.token)], "");
        assert_eq!(response.status, 200, "{}", response.text());
        response.text()
    };
    let location = ordered.header("x-certificate-location").unwrap();
    let signed = obtain(&path_of(&server, location));
    let root = obtain("/api/v1/root-certificate/obtain");
    let put = send(
        &server,
        "PUT",
        &path,
        json!({"ssl_certificate": signed}).to_string(),
    );
    assert_eq!(put.status, 200, "{}", put.text());
    let stored = text(&put.json(), "ssl_certificate").to_owned();
    let files = Workdir::new();
    let (root, leaf) = (
        files.write("root.pem", root),
        files.write("leaf.pem", &stored),
    );
    openssl(&["verify", "-CAfile", &root, &leaf], b"");
    let own = public_key(&["pkey", "-pubout"], text(&get(&server, &key), "key"));
    assert_eq!(public_key(&["x509", "-noout", "-pubkey"], &stored), own);
}
