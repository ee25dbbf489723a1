//! The KraftCloud API as a test speaks it when it is about something else.

use serde_json::{Value, json};

use crate::http::{self, Response};
use crate::{Backend, Chancery, Pair};

/// A caller with a token.
#[derive(Clone, Debug)]
pub struct KraftCloud {
    base: String,
    authorization: String,
}

impl Chancery {
    /// The KraftCloud API of this server, with the admin's token.
    #[must_use]
    #[track_caller]
    pub fn kraftcloud(&self) -> KraftCloud {
        KraftCloud::new(&self.http(), &self.token())
    }
}

impl KraftCloud {
    /// The API of the server at `base`, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn new(base: &str, token: &str) -> Self {
        Self {
            base: base.to_owned(),
            authorization: format!("Bearer {token}"),
        }
    }

    /// Sends a request; `null` is no body.
    ///
    /// # Errors
    ///
    /// What went wrong, when there is no answer.
    pub fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Response, String> {
        let headers = [("Authorization", self.authorization.as_str())];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        http::try_send(&self.base, method, path, &headers, body.as_bytes())
    }

    /// Sends a request that has to succeed, and returns the objects that it is answered with.
    ///
    /// # Panics
    ///
    /// Shows the answer when it is no success.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Vec<Value> {
        let answer = self
            .try_call(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let envelope = answer.json();
        assert_eq!(
            (answer.status, &envelope["status"]),
            (200, &json!("success")),
            "{method} {path} {body}: {envelope}"
        );
        let lists = envelope["data"].as_object().expect("data is an object");
        let list = lists.values().next().and_then(Value::as_array);
        list.expect("data has one list").clone()
    }

    /// [`KraftCloud::call`] for the answer's only object.
    #[track_caller]
    pub fn call_one(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut objects = self.call(method, path, body);
        assert_eq!(objects.len(), 1, "{method} {path}: {objects:?}");
        objects.remove(0)
    }

    /// Uploads a certificate under a name; returns the object.
    #[track_caller]
    pub fn upload(&self, name: &str, common_name: &str, pair: &Pair) -> Value {
        let body =
            json!({ "name": name, "cn": common_name, "chain": pair.chain, "pkey": pair.key });
        self.call_one("POST", "/v1/certificates", &body)
    }

    /// Replaces an uploaded certificate; returns the object.
    #[track_caller]
    pub fn replace(&self, name: &str, pair: &Pair) -> Value {
        let body = json!([{ "name": name, "chain": pair.chain, "pkey": pair.key }]);
        self.call_one("PUT", "/v1/certificates", &body)
    }

    /// Makes a service that has these domains at ports 80 and 443, and this backend behind both;
    /// returns the object.
    #[track_caller]
    pub fn serve(&self, name: &str, domains: &[&str], backend: &Backend) -> Value {
        let domains: Vec<Value> = domains.iter().map(|name| json!({ "name": name })).collect();
        let port = backend.port();
        let ports = json!([
            { "port": 80, "destination_port": port, "handlers": ["http"] },
            { "port": 443, "destination_port": port, "handlers": ["tls", "http"] },
        ]);
        let body = json!({ "name": name, "services": ports, "domains": domains });
        let service = self.call_one("POST", "/v1/services", &body);
        self.attach(name, &format!("{name}-1"));
        service
    }

    /// Makes an instance of a service at 127.0.0.1, so that the service's destination ports are
    /// those of backends.
    #[track_caller]
    pub fn attach(&self, service: &str, instance: &str) -> Value {
        let body = json!({ "name": instance, "image": "web:latest", "private_ip": "127.0.0.1",
                           "service_group": { "name": service } });
        self.call_one("POST", "/v1/instances", &body)
    }

    /// The certificate that a domain of a service is served with, as the service shows it.
    #[must_use]
    #[track_caller]
    pub fn certificate_of(&self, service: &str, domain: &str) -> Value {
        let path = format!("/v1/services?name={service}");
        let service = self.call_one("GET", &path, &Value::Null);
        let domains = service["domains"].as_array().expect("a list");
        let found = domains.iter().find(|found| found["fqdn"] == domain);
        let found = found.unwrap_or_else(|| panic!("{domain} is not in {service}"));
        let uuid = found["certificate"]["uuid"].as_str();
        let uuid = uuid.unwrap_or_else(|| panic!("{domain} has no certificate: {service}"));
        self.call_one("GET", &format!("/v1/certificates/{uuid}"), &Value::Null)
    }
}
