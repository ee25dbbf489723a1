//! HAProxy: a list of certificates, and names that are not in them refused.

use std::fmt::Write as _;
use std::path::Path;

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
        cores,
    } = orders;
    let mut list = String::new();
    for name in *names {
        // Writing to a string cannot fail.
        let _ = writeln!(list, "{}", bundle(certificates, name).display());
    }
    let listed = directory.join("certificates");
    std::fs::write(&listed, list)?;
    let listed = listed.display();
    let tickets = if *tickets { "" } else { " no-tls-tickets" };
    let text = format!(
        "global
    nbthread {cores}
    maxconn 4096
    ssl-load-extra-files none
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend edge
    bind 127.0.0.1:{port} ssl crt-list {listed} strict-sni prefer-client-ciphers alpn http/1.1 ssl-min-ver TLSv1.2{tickets}
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend backend
backend backend
    server backend {backend}
"
    );
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, text)?;
    Ok(vec![
        "-db".to_owned(),
        "-f".to_owned(),
        file.to_string_lossy().into_owned(),
    ])
}
