//! `chancery serve`: wiring, first start, readiness, and shutdown.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use api::{Api, CertMakerSettings, Listener, Metrics, Security};
use lifecycle::{
    Addresses, AuthorityTemplate, DEFAULT_AUTHORITY, DEFAULT_METRO_DOMAIN, Dialect, EgressPolicy,
    House, Settings, Surroundings, Tiers,
};
use pki::{DnsName, KeyAlgorithm, SubjectFields};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::configuration::{Configuration, LogFormat};
use crate::furnishings::DataDirectory;
use crate::listener_certificate::ListenerCertificate;

/// A bound listener, and whether it speaks TLS.
struct Bound {
    listener: Listener,
    is_tls: bool,
}

/// Runs the server until SIGTERM or SIGINT.
pub(crate) async fn serve(configuration: Configuration) -> anyhow::Result<()> {
    // Listen for signals before anything else, so that an early one ends the process in order.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for key in &configuration.without_effect {
        tracing::warn!(key, "this setting has no effect in this version");
    }
    let certmaker = &configuration.certmaker;
    if !certmaker.http01 && !certmaker.dns01 {
        tracing::warn!(
            "CertMaker challenges are off (certmaker.http01, certmaker.dns01): every account can \
             get a certificate for any name from the private authority"
        );
    }
    let data = DataDirectory::new(&configuration.data);
    data.make()?;
    let surroundings = Surroundings::default();
    let master_key = data
        .master_key(
            configuration.master_key_command.as_deref(),
            configuration.database.sqlite_path(),
            &surroundings,
        )
        .await?;
    let store = Store::open(&configuration.database, &master_key)
        .await
        .context("cannot open the database")?;
    let listeners = bind(&configuration).await?;
    let public_url = configuration
        .public_url
        .clone()
        .unwrap_or_else(|| local_url(&listeners));
    let house = House::new(
        store.clone(),
        surroundings,
        house_settings(&configuration, &public_url)?,
    );
    furnish(&house, &data).await?;

    let api = Api::new(
        house.clone(),
        api_settings(&configuration, &public_url),
        Metrics::new(),
    );
    let (shutdown, watching) = watch::channel(false);
    let certificate = listener_certificate(&house, &listeners, &public_url).await?;
    let summary = summary(&listeners);
    data.keep_address(&local_url(&listeners))?;
    let mut serving = JoinSet::new();
    for Bound { listener, is_tls } in listeners {
        let security = match &certificate {
            Some(certificate) if is_tls => Security::Tls(certificate.configuration()?),
            _ => Security::Plain,
        };
        serving.spawn(api::serve(
            listener,
            security,
            api.clone(),
            watching.clone(),
        ));
    }
    let housekeeping = tokio::spawn(async move { house.keep_house().await });
    let renewal = tokio::spawn(async move {
        if let Some(certificate) = certificate {
            certificate.look_after().await;
        }
    });

    println!("chancery ready {summary}");
    if configuration.log_format == LogFormat::Text {
        eprint!("{}", advice(&configuration));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down; requests in flight may finish");
    housekeeping.abort();
    renewal.abort();
    shutdown.send_replace(true);
    while serving.join_next().await.is_some() {}
    store.close().await;
    Ok(())
}

async fn bind(configuration: &Configuration) -> anyhow::Result<Vec<Bound>> {
    let mut listeners = Vec::new();
    for listen in &configuration.listen {
        listeners.push(Bound {
            listener: Listener::bind(listen.address).await?,
            is_tls: listen.is_tls,
        });
    }
    Ok(listeners)
}

async fn furnish(house: &House, data: &DataDirectory) -> anyhow::Result<()> {
    house
        .furnish(|token| data.keep_pending_token(token))
        .await
        .context("cannot set up the accounts and the default authority")?;
    for (file, token) in data.pending_tokens()? {
        let tokens = &house.tokens;
        if tokens.authenticate(&token, Dialect::Chancery).await.is_ok() {
            data.settle_token(&file)?;
        } else {
            data.drop_pending_token(&file)?;
        }
    }
    let authority = house.authorities.named(DEFAULT_AUTHORITY).await?;
    data.keep_root(&authority.root_certificate().to_pem())
}

async fn listener_certificate(
    house: &House,
    listeners: &[Bound],
    public_url: &str,
) -> anyhow::Result<Option<std::sync::Arc<ListenerCertificate>>> {
    let tls = listeners.iter().filter(|bound| bound.is_tls);
    let addresses: Vec<SocketAddr> = tls.map(|bound| bound.listener.address()).collect();
    if addresses.is_empty() {
        return Ok(None);
    }
    let certificate = ListenerCertificate::new(house.clone(), &addresses, public_url).await?;
    Ok(Some(certificate))
}

fn house_settings(configuration: &Configuration, public_url: &str) -> anyhow::Result<Settings> {
    let certmaker = &configuration.certmaker;
    let common_name = |text: &str| SubjectFields {
        common_name: Some(text.to_owned()),
        ..SubjectFields::default()
    };
    let mut authorities = HashMap::from([(
        DEFAULT_AUTHORITY.to_owned(),
        AuthorityTemplate {
            tiers: Tiers::Two,
            key_algorithm: KeyAlgorithm::P256,
            subject: common_name("Chancery"),
            addresses: Addresses::ByKeyIdentifier,
        },
    )]);
    if certmaker.authority != DEFAULT_AUTHORITY {
        let template = AuthorityTemplate {
            tiers: Tiers::One,
            key_algorithm: certmaker.root_key_algorithm,
            subject: certmaker.root_subject.clone(),
            addresses: Addresses::At {
                ocsp: "/api/v1/ocsp",
                ca_issuers: "/api/v1/ca.cer",
                crl: "/api/v1/crl",
            },
        };
        authorities.insert(certmaker.authority.clone(), template);
    }
    Ok(Settings {
        public_url: public_url.to_owned(),
        authorities,
        key_window: Duration::from_secs(60 * u64::from(certmaker.key_window_minutes)),
        allow_email_identifiers: certmaker.allow_email_sans,
        demand_validation: certmaker.http01 || certmaker.dns01,
        metro_domain: DnsName::parse(DEFAULT_METRO_DOMAIN)?,
        default_issuer: DEFAULT_AUTHORITY.to_owned(),
        backends: EgressPolicy::BACKENDS,
    })
}

fn api_settings(configuration: &Configuration, public_url: &str) -> api::Settings {
    let certmaker = &configuration.certmaker;
    api::Settings {
        public_url: public_url.to_owned(),
        edge_https: None,
        certmaker: CertMakerSettings {
            authority: certmaker.authority.clone(),
            simple_request: certmaker.simple_request,
            csr: certmaker.csr,
            key_algorithm: certmaker.key_algorithm,
            g1_success_status: certmaker.g1_success_status,
            unknown_account_status: certmaker.unknown_account_status,
            allow_get_revoke: certmaker.allow_get_revoke,
        },
    }
}

/// A URL that reaches this process from this machine; a plain listener if there is one.
fn local_url(listeners: &[Bound]) -> String {
    let plain = listeners.iter().find(|bound| !bound.is_tls);
    let Some(bound) = plain.or(listeners.first()) else {
        return String::new();
    };
    let scheme = if bound.is_tls { "https" } else { "http" };
    let mut address = bound.listener.address();
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{address}")
}

/// The listeners as `key=value` pairs.
fn summary(listeners: &[Bound]) -> String {
    let pairs = listeners.iter().map(|bound| {
        let key = if bound.is_tls {
            "api_https"
        } else {
            "api_http"
        };
        format!("{key}={}", bound.listener.address())
    });
    pairs.collect::<Vec<_>>().join(" ")
}

fn advice(configuration: &Configuration) -> String {
    let data = configuration.data.display();
    let option = if configuration.data.as_os_str() == "data" {
        String::new()
    } else {
        format!(" --data {data}")
    };
    // As it was called, so that the lines work when copied.
    let program = std::env::args().next();
    let program = program.as_deref().unwrap_or("chancery");
    format!(
        "\nTry next, in another terminal:\n  \
         {program} issue app.example.com --out .{option}   # a certificate and its key, signed by {data}/root.pem\n  \
         {program} ls{option}                              # what is in the inventory\n  \
         {program} show REF{option}                        # all about one of them (REF: a name or uuid of the list)\n\n"
    )
}
