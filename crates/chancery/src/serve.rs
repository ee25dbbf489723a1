//! `chancery serve`: wiring, first start, readiness, and shutdown.

use std::net::SocketAddr;

use anyhow::Context as _;
use api::{Api, Listener, Metrics, Security};
use edge::Edge;
use lifecycle::{DEFAULT_AUTHORITY, Dialect, House, Surroundings};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::configuration::{Configuration, LogFormat, Pkcs11};
use crate::edge_listeners::EdgeListeners;
use crate::furnishings::DataDirectory;
use crate::listener_certificate::ListenerCertificate;
use crate::network::network;
use crate::settings;

/// A bound listener, and whether it speaks TLS.
struct Bound {
    listener: Listener,
    is_tls: bool,
}

impl Bound {
    fn is_beyond_loopback(&self) -> bool {
        !self.listener.address().ip().is_loopback()
    }
}

/// Runs the server until SIGTERM or SIGINT.
pub(crate) async fn serve(configuration: Configuration) -> anyhow::Result<()> {
    // Listen for signals before anything else, so that an early one ends the process in order.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let data = DataDirectory::new(&configuration.data);
    data.make()?;
    let network = tokio::task::block_in_place(|| network(&configuration))?;
    let surroundings = Surroundings::default().with_network(network);
    let surroundings = match &configuration.pkcs11 {
        Some(pkcs11) => with_device(surroundings, pkcs11)?,
        None => surroundings,
    };
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
    let edge_listeners = EdgeListeners::bind(&configuration.edge).await?;
    let public_url = configuration
        .public_url
        .clone()
        .unwrap_or_else(|| local_url(&listeners));
    if configuration.public_url.is_none() && listeners.iter().any(Bound::is_beyond_loopback) {
        tracing::warn!(
            "public_url is not set: certificates will say that OCSP and CRL are at {public_url}, \
             which others do not reach; set it before you issue, since what is signed stays as it is"
        );
    }
    let house = House::new(
        store.clone(),
        surroundings.clone(),
        settings::of_house(&configuration, &public_url),
    );
    furnish(&house, &data).await?;
    if !house.switches.current().await?.demand_proof() {
        tracing::warn!(
            "CertMaker challenges are off (certmaker.http01, certmaker.dns01): every account can \
             get a certificate for any name from the private authority; \
             chancery certmaker set http01=on dns01=on switches them on"
        );
    }

    let edge_metrics = edge::Metrics::default();
    let metrics = Metrics::with(|registry| edge_metrics.register(registry));
    let edge = Edge::new(
        (house.routing.clone(), house.answers.clone()),
        surroundings,
        edge_listeners.settings(&configuration.edge),
        edge_metrics,
    )?;
    edge.prepare().await?;
    let api = Api::new(
        house.clone(),
        settings::of_api(&configuration, &public_url, edge_listeners.https()),
        metrics,
    );
    let (shutdown, watching) = watch::channel(false);
    let certificate = listener_certificate(&house, &listeners, &public_url).await?;
    let summary = summary(&listeners) + &edge_listeners.summary();
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
    edge_listeners.serve(&edge, &mut serving, &watching);
    let obtainer = house.clone();
    let obtaining = tokio::spawn(async move { obtainer.obtain_due().await });
    let mut upkeep = upkeep(&house, &edge);
    if let Some(certificate) = certificate {
        upkeep.spawn(async move { certificate.look_after().await });
    }

    println!("chancery ready {summary}");
    if configuration.log_format == LogFormat::Text {
        eprint!("{}", advice(&configuration));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down; requests in flight may finish");
    upkeep.abort_all();
    house.retire();
    shutdown.send_replace(true);
    while serving.join_next().await.is_some() {}
    // What it has claimed is finished, or given back to other nodes.
    obtaining
        .await
        .context("obtaining certificates ended badly")?;
    // Nobody else may be there to do it.
    if let Err(error) = house.audit.link_now().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the last events are not in the audit chain yet"
        );
    }
    store.close().await;
    Ok(())
}

/// The token that keeps keys of authorities, asked for nothing yet.
#[cfg(feature = "pkcs11")]
fn with_device(surroundings: Surroundings, pkcs11: &Pkcs11) -> anyhow::Result<Surroundings> {
    let settings = hsm::Settings {
        module: pkcs11.module.clone(),
        token: pkcs11.token.clone(),
        pin: pkcs11.pin()?,
    };
    Ok(surroundings.with_device(std::sync::Arc::new(hsm::Hsm::new(settings))))
}

#[cfg(not(feature = "pkcs11"))]
fn with_device(_: Surroundings, _: &Pkcs11) -> anyhow::Result<Surroundings> {
    anyhow::bail!("this program was built without PKCS#11; remove the section [pkcs11]")
}

/// What goes on beside requests and connections, for as long as the process serves.
fn upkeep(house: &House, edge: &Edge) -> JoinSet<()> {
    let mut upkeep = JoinSet::new();
    let keeper = house.clone();
    upkeep.spawn(async move { keeper.keep_house().await });
    let cleaner = house.clone();
    upkeep.spawn(async move { cleaner.withdraw_records().await });
    let notifier = house.clone();
    upkeep.spawn(async move { notifier.send_notices().await });
    let linker = house.clone();
    upkeep.spawn(async move { linker.link_events().await });
    let (follower, told) = (house.clone(), edge.clone());
    upkeep.spawn(async move {
        follower
            .follow_changes(|change| told.changed(&change))
            .await;
    });
    let edge = edge.clone();
    upkeep.spawn(async move { match edge.look_after().await {} });
    upkeep
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
         {program} service create app.example.com --upstream 127.0.0.1:3000{option}   # serve a local program over TLS\n  \
         {program} ls{option}                              # what is in the inventory\n  \
         {program} show REF{option}                        # all about one of them (REF: a name or uuid of the list)\n\n"
    )
}
