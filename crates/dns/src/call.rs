//! Requests to providers that have an API over HTTP, and what becomes of them.

use std::time::Duration;

use bytes::Bytes;
use egress::{EgressPolicy, Fetch, FetchError, Ports, Request, Response, Trust};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::presentable::presentable;
use crate::{Account, ProviderError};

/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read, in octets.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A request to a provider.
pub(crate) struct Call<'a> {
    pub(crate) account: &'a Account,
    pub(crate) policy: EgressPolicy,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    /// The body, which is sent by POST. Without one, it is a GET.
    pub(crate) body: Option<serde_json::Value>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(account: &'a Account, url: String) -> Self {
        Self {
            account,
            policy: account.policy,
            url,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    /// Adds a field, which is shown to nobody.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, ProviderError> {
        let value = HeaderValue::from_str(value);
        let mut value = value.map_err(|_| ProviderError::Credentials {
            reason: "a field has characters that cannot be sent".to_owned(),
        })?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(crate) fn authorization(self, value: &str) -> Result<Self, ProviderError> {
        self.header(AUTHORIZATION, value)
    }

    pub(crate) fn json(mut self, body: serde_json::Value) -> Self {
        let kind = HeaderValue::from_static("application/json");
        self.headers.insert(CONTENT_TYPE, kind);
        self.body = Some(body);
        self
    }

    /// Sends it. Only an answer of success is one.
    pub(crate) async fn send(self, fetch: &dyn Fetch) -> Result<Response, ProviderError> {
        let body = self.body.map(|body| Bytes::from(body.to_string()));
        let request = Request {
            method: body.as_ref().map_or(Method::GET, |_| Method::POST),
            url: self.url,
            headers: self.headers,
            body: body.unwrap_or_default(),
            policy: self.policy,
            ports: Ports::Any,
            trust: Trust::System,
            deadline: PATIENCE,
            body_limit: LONGEST_ANSWER,
            redirects: 0,
        };
        let Account {
            kind, credentials, ..
        } = self.account;
        let response = fetch.fetch(request).await.map_err(|error| {
            let reason = match error {
                // It may have credentials in it.
                FetchError::Invalid { .. } => "its URL is invalid".to_owned(),
                error => presentable(&error.to_string(), kind, credentials),
            };
            ProviderError::Unreachable { reason }
        })?;
        if response.status.is_success() {
            return Ok(response);
        }
        let said = String::from_utf8_lossy(&response.body);
        let reason = format!("HTTP status {}: {said}", response.status.as_u16());
        let reason = presentable(reason.trim_end_matches([' ', ':']), kind, credentials);
        Err(match response.status.as_u16() {
            401 | 403 => ProviderError::Credentials { reason },
            408 | 429 | 500.. => ProviderError::Unreachable { reason },
            _ => ProviderError::Refused { reason },
        })
    }
}
