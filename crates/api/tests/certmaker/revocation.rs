//! Revocation, as clients that know four status codes see it.

use serde_json::json;

use crate::support::Server;
use crate::{Leaf, REVOKE, SIMPLE, assert_error, post, send, send_as};

/// A leaf whose low 64 bits are beyond what a signed integer holds.
fn leaf_with_a_large_serial(server: &Server) -> Leaf {
    loop {
        let leaf = Leaf::order(server);
        if leaf.low() > 1 << 63 {
            return leaf;
        }
    }
}

#[test]
fn the_low_64_bits_revoke_once() {
    // Row 21.
    let server = Server::start();
    let leaf = leaf_with_a_large_serial(&server);
    let body = json!({"SerialNumber": leaf.low(), "Reason": "keyCompromise"});
    let stranger = server.account("stranger");
    assert_error(
        &send_as(&server, &stranger, "POST", REVOKE, body.to_string()),
        403,
    );
    let unknown = json!({"SerialNumber": leaf.low() - 1});
    assert_error(&post(&server, REVOKE, &unknown), 400);

    let response = post(&server, REVOKE, &body);
    assert_eq!((response.status, response.body.len()), (200, 0));
    assert_error(&post(&server, REVOKE, &body), 410);
    assert_error(
        &send_as(&server, &stranger, "POST", REVOKE, body.to_string()),
        403,
    );
}

#[test]
fn the_full_serial_in_the_path_revokes() {
    // Row 22.
    let server = Server::start();
    for body in [
        "",
        " \n",
        "{}",
        r#"{"Reason":"superseded"}"#,
        r#"{"REASON":null}"#,
    ] {
        let leaf = Leaf::order(&server);
        let path = format!("/api/v1/certificate/{}/revoke", leaf.serial());
        assert_error(&send(&server, "GET", &path, ""), 405);
        let response = send(&server, "POST", &path, body);
        assert_eq!((response.status, response.body.len()), (200, 0), "{body}");
        assert_error(&send(&server, "POST", &path, body), 410);
    }
    let leaf = Leaf::order(&server);
    let path = format!("/api/v1/certificate/{}/revoke/", leaf.low());
    assert_eq!(send(&server, "POST", &path, "").status, 200);
}

#[test]
fn revoking_by_get_is_for_those_who_ask_for_it() {
    let server = Server::with(|options| options.api.certmaker.allow_get_revoke = true);
    let leaf = Leaf::order(&server);
    let path = format!("/api/v1/certificate/{}/revoke", leaf.serial());
    assert_error(&server.send("GET", &path, &[], ""), 401);
    let refused = send(&server, "PUT", &path, "");
    assert_error(&refused, 405);
    assert_eq!(refused.header("allow"), Some("GET, POST"));
    assert_eq!(send(&server, "GET", &path, "").status, 200);
    assert_error(&send(&server, "GET", &path, ""), 410);
}

#[test]
fn serial_numbers_are_numbers_or_texts_of_digits() {
    let server = Server::start();
    for spelling in ["number", "text"] {
        for full in [true, false] {
            let leaf = leaf_with_a_large_serial(&server);
            let digits = if full {
                leaf.serial().to_string()
            } else {
                leaf.low().to_string()
            };
            let value = if spelling == "text" {
                format!("\"{digits}\"")
            } else {
                digits
            };
            let body = format!(r#"{{"serial_number": {value} }}"#);
            assert_eq!(send(&server, "POST", REVOKE, &body).status, 200, "{body}");
        }
    }
}

#[test]
fn nothing_but_the_named_certificate_is_revoked() {
    let server = Server::start();
    let leaf = leaf_with_a_large_serial(&server);
    let (low, full) = (leaf.low(), leaf.serial());
    for value in [
        (low - 1).to_string(),
        (low + 1).to_string(),
        (full - 1).to_string(),
        (full + (1 << 64)).to_string(),
        (full + (1 << 100)).to_string(),
        format!("{low}.0"),
        format!("-{low}"),
        format!("{:e}", low as f64),
        format!("\"{low} \""),
        format!("\"0x{low:x}\""),
        format!("[{low}]"),
        "9".repeat(50),
        format!("\"{}\"", "0".repeat(100_000)),
        "0".to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "\"\"".to_owned(),
    ] {
        let body = format!(r#"{{"SerialNumber":{value}}}"#);
        assert_error(&send(&server, "POST", REVOKE, &body), 400);
    }
    for body in [
        "",
        "{}",
        "[]",
        "{",
        "null",
        &format!(r#"{{"SerialNumber":{low},"Reason":1}}"#),
        &format!(r#"{{"SerialNumber":{low},"Reason":"removeFromCRL"}}"#),
        &format!(r#"{{"SerialNumber":{low}}} x"#),
    ] {
        assert_error(&send(&server, "POST", REVOKE, body), 400);
    }
    for serial in ["x", "-1", "%31", "1.0", &"9".repeat(50), "request"] {
        let path = format!("/api/v1/certificate/{serial}/revoke");
        assert_error(&send(&server, "POST", &path, ""), 400);
    }
    let path = format!("/api/v1/certificate/{full}/revoke");
    for body in ["x", "null", "[]", r#"{"Reason":{}}"#, &" ".repeat(70_000)] {
        assert_error(&send(&server, "POST", &path, body), 400);
    }
    assert_eq!(
        send(
            &server,
            "POST",
            REVOKE,
            format!(r#"{{"SerialNumber":{low}}}"#)
        )
        .status,
        200
    );
}

#[test]
fn an_administrator_revokes_what_others_own() {
    let server = Server::start();
    let owner = server.account("owner");
    for token in [&owner, &server.token] {
        let order = json!({"domains": ["a.test"]}).to_string();
        let leaf = Leaf::of(&server, &send_as(&server, &owner, "POST", SIMPLE, order));
        let body = json!({"SerialNumber": leaf.low()}).to_string();
        assert_eq!(send_as(&server, token, "POST", REVOKE, body).status, 200);
    }
}

#[test]
fn revocation_erases_the_stored_key_at_once() {
    let server = Server::start();
    let leaf = Leaf::order(&server);
    let obtain = |kind: &str| {
        let path = format!("/api/v1/{kind}/{}/obtain", leaf.serial());
        send(&server, "GET", &path, "").status
    };
    assert_eq!((obtain("certificate"), obtain("privatekey")), (200, 200));
    assert_eq!(
        post(&server, REVOKE, &json!({"SerialNumber": leaf.low()})).status,
        200
    );
    assert_eq!((obtain("certificate"), obtain("privatekey")), (200, 404));
}
