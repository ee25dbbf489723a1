//! curl as a client of the edge.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Workdir;
use crate::process::{self, Output};

/// curl that trusts some roots and finds the names it is told.
#[derive(Clone, Debug, Default)]
pub struct Curl {
    roots: Vec<PathBuf>,
    places: Vec<(String, SocketAddr)>,
    args: Vec<String>,
}

/// What curl got.
#[derive(Clone, Debug)]
pub struct CurlAnswer {
    /// The status code.
    pub status: u16,
    /// The version of HTTP: `1.1` or `2`.
    pub version: String,
    /// Headers: an object from names in lower case to lists of values.
    pub headers: Value,
    /// The body.
    pub body: Vec<u8>,
}

impl CurlAnswer {
    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers[name][0].as_str()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Curl {
    /// Trusts the certificates of these PEM files and no others.
    #[must_use]
    pub fn trusting(roots: &[&Path]) -> Self {
        Self {
            roots: roots.iter().map(|root| root.to_path_buf()).collect(),
            ..Self::default()
        }
    }

    /// Finds `name` at this address; URLs have to name the address's port.
    #[must_use]
    pub fn at(mut self, name: &str, address: SocketAddr) -> Self {
        self.places.push((name.to_owned(), address));
        self
    }

    /// Adds arguments, such as `--http2`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Fetches a URL.
    ///
    /// # Panics
    ///
    /// Shows curl's output when it gets no answer.
    #[must_use]
    #[track_caller]
    pub fn get(&self, url: &str) -> CurlAnswer {
        self.try_get(url)
            .unwrap_or_else(|output| panic!("curl {url}: {output:?}"))
    }

    /// Fetches a URL.
    ///
    /// # Errors
    ///
    /// curl's output when it gets no answer, or not all of it.
    #[track_caller]
    pub fn try_get(&self, url: &str) -> Result<CurlAnswer, Output> {
        let workdir = Workdir::new();
        let mut command = self.command(&workdir, url);
        let format = "%{stderr}{\"status\":%{http_code},\"version\":\"%{http_version}\",\
                      \"headers\":%{header_json}}";
        command.args(["--silent", "--show-error", "--write-out", format]);
        let output = process::finish(command, b"");
        if !output.status.success() {
            return Err(output);
        }
        let facts: Value = serde_json::from_str(&output.stderr)
            .unwrap_or_else(|error| panic!("curl writes no JSON ({error}): {output:?}"));
        Ok(CurlAnswer {
            status: facts["status"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok())
                .expect("curl knows the status"),
            version: facts["version"].as_str().unwrap_or_default().to_owned(),
            headers: facts["headers"].clone(),
            body: output.stdout,
        })
    }

    /// The command that fetches `url`, for a test that wants to read or write as curl does; files
    /// that it needs are made in `workdir`.
    #[must_use]
    #[track_caller]
    pub fn command(&self, workdir: &Workdir, url: &str) -> Command {
        let mut command = Command::new("curl");
        // The configuration of whoever runs the test is left out, and so are proxies.
        command.args(["--disable", "--noproxy", "*"]);
        let bundle: String = self
            .roots
            .iter()
            .map(|root| {
                std::fs::read_to_string(root)
                    .unwrap_or_else(|error| panic!("cannot read {}: {error}", root.display()))
            })
            .collect();
        command.args(["--cacert", &workdir.write("roots.pem", bundle)]);
        for (name, address) in &self.places {
            let place = format!("{name}:{}:{}", address.port(), address.ip());
            command.args(["--resolve", &place]);
        }
        command.args(&self.args).arg(url);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    #[test]
    fn curl_finds_a_name_where_it_is_told_and_says_what_it_got() {
        let backend = Backend::web("one");
        let curl = Curl::default().at("a.test", backend.address());
        let answer = curl.get(&format!("http://a.test:{}/", backend.port()));
        assert_eq!((answer.status, answer.version.as_str()), (200, "1.1"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.text(), "hello from one\n");
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        let backend = Backend::faulty("one", crate::Fault::CutBody);
        let error = Curl::default().try_get(&format!("http://{}/", backend.address()));
        assert_eq!(error.unwrap_err().code(), Some(18));
    }
}
