//! The operator's decisions, gathered from flags, environment and `chancery.toml`, in this order of
//! precedence. Every fault is reported at once, each with the key it belongs to.

mod acme;
mod certmaker;
mod cloud66;
mod d9t;
mod edge;
mod file;
mod pkcs11;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use store::DatabaseUrl;

use crate::arguments::ServeFlags;
pub(crate) use acme::Acme;
pub(crate) use certmaker::CertMaker;
pub(crate) use cloud66::Cloud66;
pub(crate) use d9t::D9t;
pub(crate) use edge::Edge;
use file::Section;
use lifecycle::DEFAULT_METRO_DOMAIN;
pub(crate) use pkcs11::Pkcs11;
use pki::DnsName;

/// The configuration file that is read when none is named.
const DEFAULT_FILE: &str = "chancery.toml";

/// A configuration without faults.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) data: PathBuf,
    pub(crate) database: DatabaseUrl,
    pub(crate) listen: Vec<ListenAddress>,
    pub(crate) public_url: Option<String>,
    pub(crate) master_key_command: Option<String>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) edge: Edge,
    pub(crate) metro_domain: DnsName,
    pub(crate) certmaker: CertMaker,
    pub(crate) cloud66: Cloud66,
    pub(crate) d9t: D9t,
    pub(crate) acme: Acme,
    pub(crate) pkcs11: Option<Pkcs11>,
}

/// Where an API listener is to be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    pub(crate) is_tls: bool,
    pub(crate) address: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Json,
    Text,
}

/// A fault of the configuration, with the key it belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    key: String,
    reason: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.key, self.reason)
    }
}

impl Fault {
    pub(crate) fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

impl Configuration {
    /// Gathers the configuration, or all that is wrong with it.
    pub(crate) fn gather(flags: ServeFlags) -> Result<Self, Vec<Fault>> {
        let table = read_file(flags.config.as_deref()).map_err(|fault| vec![fault])?;
        Self::merge(flags, table)
    }

    fn merge(flags: ServeFlags, table: toml::Table) -> Result<Self, Vec<Fault>> {
        let mut file = Section::new(table);
        let data = file.text("data").map(PathBuf::from);
        let data = flags.data.or(data);
        let data = data.unwrap_or_else(|| PathBuf::from("data"));
        let database_text = file.text_unless(flags.database, "database");
        let database = database_url(database_text, &data, &mut file);
        let listen_texts = file.texts_unless(flags.listen, "listen");
        let allow_plaintext = file.boolean_unless(flags.allow_plaintext, "allow_plaintext");
        let allow_plaintext = allow_plaintext.unwrap_or(false);
        let listen = listen_addresses(listen_texts, allow_plaintext, &mut file);
        let public_url = file.text_unless(flags.public_url, "public_url");
        let public_url = public_url.and_then(|url| checked_public_url(&url, &mut file));
        let master_key_command = file.text_unless(flags.master_key_command, "master_key_command");
        let log = file.text_unless(flags.log, "log");
        let log = log.unwrap_or_else(|| "info".to_owned());
        let log_format = file.text_unless(flags.log_format, "log_format");
        let log_format = match log_format.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                file.fault("log_format", format!("'{other}' is not text or json"));
                LogFormat::Text
            }
        };
        let acme = Acme::read(&mut file);
        let pkcs11 = Pkcs11::read(&mut file);
        let given = edge::Given {
            http: flags.edge_http,
            https: flags.edge_https,
            listen: flags.edge_listen,
        };
        let edge = Edge::read(given, &mut file);
        let mut kraftcloud = file.section("kraftcloud");
        let metro_domain = metro_domain(&mut kraftcloud);
        file.absorb(kraftcloud);
        let mut section = file.section("certmaker");
        let certmaker = CertMaker::read(&mut section);
        file.absorb(section);
        let mut section = file.section("cloud66");
        let cloud66 = Cloud66::read(&mut section);
        file.absorb(section);
        let mut section = file.section("d9t");
        let d9t = D9t::read(&mut section);
        file.absorb(section);
        let faults = file.finish();
        match (database, metro_domain) {
            (Some(database), Some(metro_domain)) if faults.is_empty() => Ok(Self {
                data,
                database,
                listen,
                public_url,
                master_key_command,
                log,
                log_format,
                edge,
                metro_domain,
                certmaker,
                cloud66,
                d9t,
                acme,
                pkcs11,
            }),
            _ => Err(faults),
        }
    }
}

fn read_file(named: Option<&Path>) -> Result<toml::Table, Fault> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            return Ok(toml::Table::new());
        }
        Err(error) => {
            return Err(Fault::new("config", format!("{}: {error}", path.display())));
        }
    };
    let parsed = text.parse();
    parsed.map_err(|error: toml::de::Error| {
        Fault::new("config", format!("{}: {error}", path.display()))
    })
}

fn database_url(text: Option<String>, data: &Path, file: &mut Section) -> Option<DatabaseUrl> {
    let text = text.unwrap_or_else(|| format!("sqlite:{}", data.join("chancery.db").display()));
    match text.parse() {
        Ok(url) => Some(url),
        Err(error) => {
            let error: store::DatabaseUrlError = error;
            file.fault("database", error.to_string());
            None
        }
    }
}

/// A name that every subdomain can be put before.
fn metro_domain(section: &mut Section) -> Option<DnsName> {
    let text = section.text("metro_domain");
    let text = text.as_deref().unwrap_or(DEFAULT_METRO_DOMAIN);
    match DnsName::parse(text) {
        Ok(name) if name.is_fully_qualified() && !name.is_wildcard() => Some(name),
        _ => {
            let reason = format!("'{text}' is not a domain such as metro.example.com");
            section.fault("metro_domain", reason);
            None
        }
    }
}

fn listen_addresses(
    texts: Option<Vec<String>>,
    allow_plaintext: bool,
    file: &mut Section,
) -> Vec<ListenAddress> {
    let texts = texts.unwrap_or_else(|| {
        vec![
            "http://127.0.0.1:8080".to_owned(),
            "https://127.0.0.1:8443".to_owned(),
        ]
    });
    if texts.is_empty() {
        file.fault("listen", "name at least one address");
    }
    let mut addresses = Vec::new();
    for text in texts {
        match listen_address(&text, allow_plaintext) {
            Ok(address) => addresses.push(address),
            Err(reason) => file.fault("listen", reason),
        }
    }
    addresses
}

fn listen_address(text: &str, allow_plaintext: bool) -> Result<ListenAddress, String> {
    let (is_tls, authority) = if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err(format!("'{text}' begins with neither http:// nor https://"));
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let with_numbers = authority
        .strip_prefix("localhost:")
        .map_or_else(|| authority.to_owned(), |port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = with_numbers
        .parse()
        .map_err(|_| format!("'{text}' is not http(s)://ADDRESS:PORT"))?;
    if !is_tls && !address.ip().is_loopback() && !allow_plaintext {
        return Err(format!(
            "'{text}' would send tokens in the clear; use https, or set allow_plaintext behind \
             a proxy that terminates TLS"
        ));
    }
    Ok(ListenAddress { is_tls, address })
}

/// An absolute http(s) URL without query, fragment and credentials; the final slash is dropped.
fn checked_public_url(url: &str, file: &mut Section) -> Option<String> {
    let parsed = url.parse::<http::Uri>().ok();
    let fits = parsed.is_some_and(|uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().map(http::uri::Authority::as_str);
        let has_host = authority.is_some_and(|text| !text.is_empty() && !text.contains('@'));
        is_http && has_host && uri.query().is_none() && url.is_ascii() && !url.contains('#')
    });
    if fits {
        return Some(url.trim_end_matches('/').to_owned());
    }
    file.fault(
        "public_url",
        format!("'{url}' is not a URL such as https://certificates.example.com"),
    );
    None
}

/// The hosts that a listener's certificate must name for local use.
pub(crate) fn host_of(url: &str) -> Option<String> {
    let uri = url.parse::<http::Uri>().ok()?;
    let host = uri.host()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Some(
        bare.parse::<IpAddr>()
            .map_or_else(|_| bare.to_owned(), |address| address.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> Result<Configuration, Vec<Fault>> {
        Configuration::merge(ServeFlags::default(), text.parse().unwrap())
    }

    #[test]
    fn without_anything_the_contract_s_defaults_hold() {
        let configuration = merged("").unwrap();
        assert_eq!(configuration.data, Path::new("data"));
        let listen: Vec<_> = configuration
            .listen
            .iter()
            .map(|listen| (listen.is_tls, listen.address.to_string()))
            .collect();
        assert_eq!(
            listen,
            [
                (false, "127.0.0.1:8080".to_owned()),
                (true, "127.0.0.1:8443".to_owned())
            ]
        );
    }

    #[test]
    fn every_fault_is_reported_at_once_with_its_key() {
        let faults = merged(
            r#"
            data = 5
            listen = ["ftp://127.0.0.1:1", "http://0.0.0.0:80"]
            databse = "sqlite:x"
            database = "mysql://x"
            public_url = "example.com"
            log_format = "xml"
            edge_http = "somewhere"
            [kraftcloud]
            metro_domain = "*.example.com"
            [certmaker]
            root_key_algo = "rsa512"
            csr = "yes"
            key_window_minutes = 4294967295
            hello = 1
            [cloud66]
            ca_name = ""
            [d9t]
            key_type = "p384"
            challenge_401 = 1
            hello = 1
            [nonsense]
            "#,
        )
        .unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        for key in [
            "data",
            "listen",
            "databse",
            "database",
            "public_url",
            "log_format",
            "edge_http",
            "kraftcloud.metro_domain",
            "certmaker.root_key_algo",
            "certmaker.csr",
            "certmaker.key_window_minutes",
            "certmaker.hello",
            "cloud66.ca_name",
            "d9t.key_type",
            "d9t.challenge_401",
            "d9t.hello",
            "nonsense",
        ] {
            assert!(keys.contains(&key), "{key} is not among {keys:?}");
        }
        assert_eq!(keys.iter().filter(|key| **key == "listen").count(), 2);
    }

    #[test]
    fn each_flag_wins_over_its_key_in_the_file() {
        let text = |text: &str| Some(text.to_owned());
        let flags = ServeFlags {
            config: None,
            data: Some(PathBuf::from("here")),
            database: text("sqlite:here.db"),
            listen: vec!["http://0.0.0.0:1".to_owned()],
            edge_http: text("127.0.0.1:2"),
            edge_https: text("none"),
            edge_listen: vec!["90=127.0.0.1:3".to_owned()],
            public_url: text("https://here.example"),
            allow_plaintext: Some(true),
            master_key_command: text("here"),
            log: text("debug"),
            log_format: text("json"),
        };
        let table = r#"
            data = "there"
            database = "sqlite:there.db"
            listen = "http://127.0.0.1:9"
            edge_http = "127.0.0.1:9"
            edge_https = "127.0.0.1:9"
            edge_listen = "91=127.0.0.1:9"
            public_url = "https://there.example"
            allow_plaintext = false
            master_key_command = "there"
            log = "info"
            log_format = "text"
        "#;
        let merged = Configuration::merge(flags, table.parse().unwrap()).unwrap();
        assert_eq!(merged.data, Path::new("here"));
        assert_eq!(merged.database.sqlite_path(), Some(Path::new("here.db")));
        assert_eq!(merged.listen.len(), 1);
        assert_eq!(merged.listen[0].address.port(), 1);
        assert_eq!(merged.edge.http.map(|address| address.port()), Some(2));
        assert_eq!(merged.edge.https, None);
        assert_eq!(merged.edge.ports, [(90, "127.0.0.1:3".parse().unwrap())]);
        assert_eq!(merged.public_url.as_deref(), Some("https://here.example"));
        assert_eq!(merged.master_key_command.as_deref(), Some("here"));
        assert_eq!(merged.log, "debug");
        assert_eq!(merged.log_format, LogFormat::Json);
    }

    #[test]
    fn a_key_of_the_wrong_type_is_a_fault_though_a_flag_overrules_it() {
        let flags = ServeFlags {
            log: Some("debug".to_owned()),
            ..ServeFlags::default()
        };
        let faults = Configuration::merge(flags, "log = 5".parse().unwrap()).unwrap_err();
        assert_eq!(
            faults,
            [Fault::new("log", "is integer but must be a string")]
        );
    }

    #[test]
    fn plain_http_beyond_loopback_needs_consent() {
        assert!(listen_address("http://0.0.0.0:80", false).is_err());
        assert!(listen_address("http://0.0.0.0:80", true).is_ok());
        assert!(listen_address("https://0.0.0.0:443", false).is_ok());
        assert!(listen_address("http://[::1]:80/", false).is_ok());
    }
}
