//! A receiver of webhooks, which takes everything and keeps it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::eventually;

/// How long a notice may take from what it tells of.
const SOON: Duration = Duration::from_secs(30);
/// How long a sender may pause within a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A delivery as it came.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Fields of the head, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The very octets of the body.
    pub body: Vec<u8>,
}

impl Posted {
    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a notice is JSON")
    }

    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// An HTTP server on loopback that answers every request with 204.
pub struct Receiver {
    url: String,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    /// Starts one on a free port. It ends with the process.
    ///
    /// # Panics
    ///
    /// If nothing can be bound.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let posted: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let kept = posted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(delivery) = receive(stream) {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(delivery);
                }
            }
        });
        Self {
            url: format!("http://{address}/hook"),
            posted,
        }
    }

    /// Where it takes deliveries.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What has come so far.
    #[must_use]
    pub fn posted(&self) -> Vec<Posted> {
        self.posted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a delivery with this value at `member`.
    ///
    /// # Panics
    ///
    /// When none comes within half a minute.
    #[track_caller]
    pub fn wait_for(&self, member: &str, value: &str) -> Posted {
        eventually(SOON, &format!("a notice with {member} {value}"), || {
            let posted = self.posted().into_iter();
            posted.into_iter().find(|one| one.json()[member] == value)
        })
    }
}

/// Takes one request and answers it.
fn receive(stream: TcpStream) -> Option<Posted> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    let mut fields = Vec::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        fields.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let length: usize = length?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).ok()?;
    Some(Posted { fields, body })
}
