//! The client side of the administration API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lifecycle::TargetDirectoryId;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::arguments::Connection;
use crate::furnishings::DataDirectory;

/// Longest answer that is read.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// Longest time for a request: a record takes up to a minute until all servers of a zone have it.
const DEADLINE: Duration = Duration::from_secs(120);

/// A server, and the right to use it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    url: String,
    token: String,
    /// The directory that is delivered into, for who delivers.
    directory: Option<TargetDirectoryId>,
    ca: PathBuf,
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What a server says that does not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Why, safe for a terminal.
    pub(crate) detail: String,
}

impl Client {
    /// Finds the server by flags and environment, and what they leave open in the data directory.
    pub(crate) fn connect(connection: &Connection) -> anyhow::Result<Self> {
        let path = connection.data.clone().unwrap_or_else(|| "data".into());
        let data = DataDirectory::new(&path);
        let read = |file: PathBuf, flag: &str| {
            let text = std::fs::read_to_string(&file).with_context(|| {
                format!(
                    "no server is known: give --{flag}, or --data with the server's data directory \
                     ({} cannot be read)",
                    file.display()
                )
            });
            text.map(|text| text.trim().to_owned())
        };
        let url = match &connection.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => read(data.address_file(), "url")?,
        };
        let token = match &connection.token {
            Some(token) => token.trim().to_owned(),
            None => read(data.token_file(), "token")?,
        };
        let ca = connection.ca.clone().unwrap_or_else(|| data.root_file());
        let roots = if url.starts_with("https://") {
            roots_in(&ca)?
        } else {
            RootCertStore::empty()
        };
        let configuration =
            ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(configuration)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            url,
            token,
            directory: None,
            ca,
            http: HttpClient::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// The same, for who delivers into this directory.
    pub(crate) fn delivering_into(&self, directory: TargetDirectoryId) -> Self {
        Self {
            directory: Some(directory),
            ..self.clone()
        }
    }

    /// Base URL of the server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The file with the root of the server's private authority, if it is there.
    pub(crate) fn root_file(&self) -> Option<&Path> {
        self.ca.exists().then_some(&self.ca)
    }

    /// A request whose refusal somebody acts on. What is no answer of a server's is an error.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Result<Value, Refusal>> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        self.ask(method, path, body.unwrap_or_default()).await
    }

    /// A request without a body.
    pub(crate) async fn send(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        self.exchange(method, path, Bytes::new()).await
    }

    /// A request with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.exchange(Method::POST, path, body.to_string().into())
            .await
    }

    /// The same, in place of what is there.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.exchange(Method::PUT, path, body.to_string().into())
            .await
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let answer = self.ask(method, path, body).await?;
        answer.map_err(|refusal| anyhow!("{}", refusal.detail))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Result<Value, Refusal>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/chancery/v1/{path}", self.url))
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json");
        if let Some(directory) = self.directory {
            request = request.header("chancery-directory", directory.to_string());
        }
        let request = request
            .body(Full::new(body))
            .with_context(|| format!("'{}' is not a usable server URL or token", self.url))?;
        let exchange = async {
            let response = self.http.request(request).await.with_context(|| {
                format!("cannot reach the server at {}; is it running?", self.url)
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT)
                .collect()
                .await;
            let body = body.map_err(|error| anyhow!("the answer broke off: {error}"))?;
            Ok::<_, anyhow::Error>((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(DEADLINE, exchange)
            .await
            .with_context(|| format!("the server at {} did not answer in time", self.url))??;
        let answer: Value = serde_json::from_slice(&body)
            .with_context(|| format!("{} does not answer like a Chancery server", self.url))?;
        if status.is_success() {
            return Ok(Ok(answer));
        }
        let detail = match answer.get("detail").and_then(Value::as_str) {
            Some(detail) => crate::output::safe(detail),
            None => format!("the server answered {status}"),
        };
        Ok(Err(Refusal { status, detail }))
    }
}

fn roots_in(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).with_context(|| {
        format!(
            "{} cannot be read; give --ca with the server's root certificate",
            path.display()
        )
    })?;
    for certificate in certificates {
        let certificate = certificate.with_context(|| format!("{} is not PEM", path.display()))?;
        roots.add(certificate)?;
    }
    Ok(roots)
}
