//! Traefik: a static configuration, and one of certificates and routes. YAML, as which it also takes
//! JSON.

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
        json!({ "certFile": bundle, "keyFile": bundle })
    };
    let certificates: Vec<Value> = names.iter().map(certificate).collect();
    let dynamic = json!({
        "tls": {
            "certificates": certificates,
            "options": { "default": {
                "minVersion": "VersionTLS12",
                "sniStrict": true,
                "disableSessionTickets": !tickets,
                "alpnProtocols": ["http/1.1"],
            } },
        },
        "http": {
            "routers": { "all": {
                "rule": "PathPrefix(`/`)",
                "entryPoints": ["edge"],
                "service": "backend",
                "tls": {},
            } },
            "services": { "backend": {
                "loadBalancer": { "servers": [{ "url": format!("http://{backend}") }] },
            } },
        },
    });
    let dynamic_file = directory.join("dynamic.yml");
    std::fs::write(&dynamic_file, dynamic.to_string())?;
    let fixed = json!({
        "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
        "log": { "level": "ERROR" },
        "entryPoints": { "edge": { "address": format!("127.0.0.1:{port}") } },
        "providers": { "file": { "filename": dynamic_file, "watch": false } },
    });
    let file = directory.join("traefik.yml");
    std::fs::write(&file, fixed.to_string())?;
    Ok(vec![format!("--configFile={}", file.display())])
}
