//! Other servers that end TLS: where they are, and how they are told to do the same as the edge.
//!
//! Each gets the smallest configuration that serves the names it is given with the certificates it
//! is given, refuses other names, passes requests on to the backend, and logs nothing. And another OCSP
//! responder.

mod caddy;
mod haproxy;
mod nginx;
mod openssl;
mod traefik;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub(crate) use openssl::OpensslResponder;

use crate::arguments::{Edge, Options};
use crate::standing::{Standing, Start, free_port};

/// A program that was found.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    kind: Kind,
    program: PathBuf,
    /// What it is called in reports: with its version, and that of its TLS library if it has one
    /// that matters.
    pub(crate) label: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Nginx,
    Haproxy,
    Caddy,
    Traefik,
}

/// What a server is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders<'a> {
    /// The names to serve.
    pub(crate) names: &'a [String],
    /// Holds for each name a file, [`bundle`], with its chain and key.
    pub(crate) certificates: &'a Path,
    /// Where requests are passed on to.
    pub(crate) backend: SocketAddr,
    /// Whether session tickets are sent.
    pub(crate) tickets: bool,
    /// How many workers or threads there are, if that must be told.
    pub(crate) cores: usize,
}

/// The file with the chain and the key of a name.
pub(crate) fn bundle(certificates: &Path, name: &str) -> PathBuf {
    certificates.join(format!("{name}.pem"))
}

/// Finds what `arguments` ask for; the texts tell of what is not there.
///
/// # Errors
/// When something unknown is asked for.
pub(crate) fn find(arguments: &Edge) -> anyhow::Result<(Vec<Peer>, Vec<String>)> {
    let (mut peers, mut missing) = (Vec::new(), Vec::new());
    for wanted in arguments.peers.iter().filter(|name| *name != "none") {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.program() == wanted)
            .with_context(|| format!("no server '{wanted}' is known here"))?;
        let found = installed(kind, arguments.peers_directory.as_deref());
        if found.is_empty() {
            missing.push(format!(
                "{wanted} is not installed and was left out: `make bench-peers` installs it"
            ));
        }
        peers.extend(found);
    }
    Ok((peers, missing))
}

/// All versions of a program, each once.
fn installed(kind: Kind, directory: Option<&Path>) -> Vec<Peer> {
    let beside = || {
        let target = std::env::current_exe().ok()?;
        Some(target.parent()?.parent()?.join("bench-peers/bin"))
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = directory.map(Path::to_owned).or_else(beside);
    let usual = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut found = BTreeMap::new();
    for program in first.into_iter().chain(usual) {
        let program = program.join(kind.program());
        // Some shells wrap programs that are not there.
        if let Some(label) = program.is_file().then(|| kind.label(&program)).flatten() {
            found.entry(label).or_insert(program);
        }
    }
    let peer = |(label, program)| Peer {
        kind,
        program,
        label,
    };
    found.into_iter().map(peer).collect()
}

impl Kind {
    const ALL: [Self; 4] = [Self::Nginx, Self::Haproxy, Self::Caddy, Self::Traefik];

    fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
        }
    }

    /// Asks a program what it is.
    fn label(self, program: &Path) -> Option<String> {
        let arguments = match self {
            Self::Nginx => "-V",
            Self::Haproxy => "-vv",
            Self::Caddy | Self::Traefik => "version",
        };
        let output = std::process::Command::new(program)
            .arg(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .ok()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        let version = match self {
            Self::Nginx => after(&text, "nginx/"),
            Self::Haproxy => after(&text, "HAProxy version "),
            Self::Caddy => text.split_whitespace().next(),
            Self::Traefik => after(&text, "Version:"),
        }?;
        let library = after(&text, "running with OpenSSL ")
            .or_else(|| after(&text, "Running on OpenSSL version : OpenSSL "))
            .or_else(|| after(&text, "built with OpenSSL "));
        let version = version.trim_start_matches('v');
        let version = version.split_once('-').map_or(version, |(first, _)| first);
        let name = self.program();
        Some(match library {
            Some(library) => format!("{name} {version} (OpenSSL {library})"),
            None => format!("{name} {version}"),
        })
    }
}

/// The word that comes after a label.
fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace().next()
}

impl Peer {
    /// Whether it is the one that everybody knows.
    pub(crate) fn is_nginx(&self) -> bool {
        self.kind == Kind::Nginx
    }

    /// Starts it, and waits until it serves the first of the names.
    ///
    /// # Errors
    /// When it does not start; the end of its log is part of the error.
    pub(crate) async fn start(
        &self,
        options: &Options,
        orders: &Orders<'_>,
    ) -> anyhow::Result<Standing> {
        let directory = tempfile::Builder::new()
            .prefix("chancery-bench-peer-")
            .tempdir()?;
        let port = free_port()?;
        let configure = match self.kind {
            Kind::Nginx => nginx::configure,
            Kind::Haproxy => haproxy::configure,
            Kind::Caddy => caddy::configure,
            Kind::Traefik => traefik::configure,
        };
        let arguments = configure(directory.path(), port, orders)?;
        let name = orders.names.first().context("no name to serve")?;
        Start {
            label: &self.label,
            program: &self.program,
            arguments: &arguments,
            port,
            name,
        }
        .run(options, directory)
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_called_by_its_version() {
        let printed = "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.22 25 Aug 2026 \
                       (running with OpenSSL 3.0.19 27 Jan 2026)";
        assert_eq!(after(printed, "nginx/"), Some("1.22.1"));
        assert_eq!(after(printed, "running with OpenSSL "), Some("3.0.19"));
        assert_eq!(after(printed, "HAProxy version "), None);
    }

    #[test]
    fn what_is_no_program_has_no_label() {
        assert_eq!(Kind::Caddy.label(Path::new("/nowhere/caddy")), None);
        assert_eq!(Kind::Nginx.label(Path::new("/bin/true")), None);
    }

    #[test]
    fn every_configuration_names_port_backend_and_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let names = ["a.example", "b.example"].map(str::to_owned);
        let orders = Orders {
            names: &names,
            certificates: Path::new("/certificates"),
            backend: "127.0.0.1:2000".parse().unwrap(),
            tickets: false,
            cores: 1,
        };
        for configure in [
            nginx::configure,
            haproxy::configure,
            caddy::configure,
            traefik::configure,
        ] {
            let inside = tempfile::tempdir_in(&directory).unwrap();
            configure(inside.path(), 1000, &orders).unwrap();
            let files = std::fs::read_dir(inside.path()).unwrap();
            let text: String = files
                .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
                .collect();
            for expected in ["127.0.0.1:1000", "127.0.0.1:2000", "/certificates"] {
                assert!(text.contains(expected), "{expected} in {text}");
            }
        }
    }
}
