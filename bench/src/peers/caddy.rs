//! Caddy: its own configuration language, which is JSON.

use std::path::Path;

use serde_json::{Value, json};

use super::{Orders, bundle};

pub(super) fn configure(
    directory: &Path,
    port: u16,
    orders: &Orders<'_>,
) -> anyhow::Result<Vec<String>> {
    let Orders {
        names,
        certificates,
        backend,
        tickets,
        cores: _,
    } = orders;
    let certificate = |name: &String| {
        let bundle = bundle(certificates, name);
        json!({ "certificate": bundle, "key": bundle })
    };
    let certificates: Vec<Value> = names.iter().map(certificate).collect();
    let proxy = json!({
        "handler": "reverse_proxy",
        "upstreams": [{ "dial": backend.to_string() }],
    });
    let configuration = json!({
        "admin": { "disabled": true },
        "logging": { "logs": { "default": { "level": "ERROR" } } },
        "storage": { "module": "file_system", "root": directory },
        "apps": {
            "http": { "servers": { "edge": {
                "listen": [format!("127.0.0.1:{port}")],
                "protocols": ["h1"],
                "automatic_https": { "disable": true },
                "tls_connection_policies": [{}],
                "routes": [{ "handle": [proxy] }],
            } } },
            "tls": {
                "certificates": { "load_files": certificates },
                "session_tickets": { "disabled": !tickets },
            },
        },
    });
    let file = directory.join("caddy.json");
    std::fs::write(&file, configuration.to_string())?;
    Ok(vec![
        "run".to_owned(),
        "--config".to_owned(),
        file.to_string_lossy().into_owned(),
    ])
}
