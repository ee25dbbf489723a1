//! nginx and haproxy, which end TLS with certificates from a directory, and Caddy, which asks for
//! them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::daemon::Daemon;
use crate::{Workdir, free_port};

/// How often another port is tried when somebody else was quicker to take the free one.
const ATTEMPTS: u32 = 5;

/// A running server; killed when dropped.
pub struct Terminator {
    address: SocketAddr,
    reload: String,
    _daemon: Daemon,
    _workdir: Workdir,
}

impl Terminator {
    /// nginx, with `directory/name.crt` and `directory/name.key`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn nginx(directory: &Path, name: &str) -> Self {
        let base = directory.join(name).display().to_string();
        Self::start(|workdir, port| {
            let configuration = format!(
                "daemon off; worker_processes 2; pid {root}/nginx.pid; error_log stderr notice;\n\
                 events {{ worker_connections 512; }}\n\
                 http {{\n access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b;\n\
                 fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n\
                 server {{\n listen 127.0.0.1:{port} ssl; ssl_session_tickets off;\n\
                 ssl_certificate {base}.crt; ssl_certificate_key {base}.key;\n\
                 location / {{ return 200 nginx; }}\n }}\n}}\n",
                root = workdir.root().display(),
            );
            let file = workdir.write("nginx.conf", configuration);
            let program = format!("/usr/sbin/nginx -c {file}");
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-c").arg(&file);
            Start {
                name: "nginx",
                command,
                ready: "start worker process ",
                // The syntax is tested first, because the signal alone always succeeds.
                reload: format!("{program} -t && {program} -s reload"),
            }
        })
    }

    /// haproxy, with `directory/name.pem`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn haproxy(directory: &Path, name: &str) -> Self {
        let file = directory.join(format!("{name}.pem")).display().to_string();
        Self::start(|workdir, port| {
            let configuration = format!(
                "global\n maxconn 512\n\
                 defaults\n mode http\n timeout client 30s\n timeout server 30s\n \
                 timeout connect 30s\n\
                 frontend tls\n bind 127.0.0.1:{port} ssl crt {file} no-tls-tickets\n \
                 http-request return status 200 content-type text/plain string haproxy\n"
            );
            let file = workdir.write("haproxy.cfg", configuration);
            let pid = workdir.path("haproxy.pid");
            let mut command = Command::new("/usr/sbin/haproxy");
            command.args(["-W", "-db", "-p", &pid, "-f"]).arg(&file);
            Start {
                name: "haproxy",
                command,
                ready: "Loading success",
                reload: format!("/usr/sbin/haproxy -c -q -f {file} && kill -USR2 $(cat {pid})"),
            }
        })
    }

    /// Caddy, which asks `url` for the certificate of each handshake. What it gets no answer for it
    /// would sign itself.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn caddy(url: &str) -> Self {
        Self::start(|workdir, port| {
            let configuration = format!(
                "{{\n admin off\n auto_https disable_redirects\n skip_install_trust\n \
                 storage file_system {root}/store\n}}\n\
                 https://:{port} {{\n bind 127.0.0.1\n tls {{\n \
                 get_certificate http {url}\n issuer internal\n }}\n respond caddy\n}}\n",
                root = workdir.root().display(),
            );
            let file = workdir.write("Caddyfile", configuration);
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config", &file]);
            command.env("HOME", workdir.root());
            Start {
                name: "caddy",
                command,
                ready: "serving initial configuration",
                reload: String::new(),
            }
        })
    }

    /// Where it takes TLS.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The shell command that has it read its files again.
    #[must_use]
    pub fn reload(&self) -> &str {
        &self.reload
    }

    #[track_caller]
    fn start(configure: impl Fn(&Workdir, u16) -> Start) -> Self {
        let mut complaint = String::new();
        for _ in 0..ATTEMPTS {
            let (workdir, port) = (Workdir::new(), free_port());
            let start = configure(&workdir, port);
            match Daemon::start(start.name, start.command, start.ready) {
                Ok(daemon) => {
                    return Self {
                        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                        reload: start.reload,
                        _daemon: daemon,
                        _workdir: workdir,
                    };
                }
                Err(log) => complaint = log,
            }
        }
        panic!("it does not start:\n{complaint}");
    }
}

struct Start {
    name: &'static str,
    command: Command,
    ready: &'static str,
    reload: String,
}
