//! nginx: a server block for each name, and one that refuses all others.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
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
    let here = directory.display();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    // The workers of a server that root starts would not get into the directory otherwise.
    let user = if is_root { "user root;" } else { "" };
    let tickets = if *tickets { "on" } else { "off" };
    let mut text = format!(
        "daemon off;
worker_processes {cores};
{user}
pid {here}/pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    server_names_hash_max_size 1048576;
    server_names_hash_bucket_size 128;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_tickets {tickets};
    keepalive_requests 1000000000;
    upstream backend {{
        server {backend};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto https;
    proxy_set_header X-Forwarded-Host $host;
    server {{
        listen 127.0.0.1:{port} ssl default_server backlog=4096;
        ssl_reject_handshake on;
    }}
"
    );
    for name in *names {
        let bundle = bundle(certificates, name);
        let bundle = bundle.display();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "    server {{ listen 127.0.0.1:{port} ssl; server_name {name}; \
             ssl_certificate {bundle}; ssl_certificate_key {bundle}; \
             location / {{ proxy_pass http://backend; }} }}"
        );
    }
    text.push_str("}\n");
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text)?;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    Ok(vec![
        "-e".to_owned(),
        "stderr".to_owned(),
        "-p".to_owned(),
        path(directory),
        "-c".to_owned(),
        path(&file),
    ])
}
