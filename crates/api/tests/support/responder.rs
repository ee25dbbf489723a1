//! A web server on this machine that answers as a test says, well or badly.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How a request is answered.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// With these octets, and the end.
    Raw(String),
    /// With the first of these, and then with the second again and again, without end.
    Endless(String, String, Duration),
    /// Not at all, with the connection left open.
    Silence,
}

type Answers = dyn Fn(&str) -> Reply + Send + Sync;

/// The server; it goes on until the process ends.
pub(crate) struct Responder {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Arc<Answers>>>,
}

impl Responder {
    /// A server that has nothing yet.
    pub(crate) fn start() -> Self {
        Self::listen(None)
    }

    /// The same with TLS alone.
    pub(crate) fn start_with_tls(configuration: ServerConfig) -> Self {
        Self::listen(Some(Arc::new(configuration)))
    }

    fn listen(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nothing: Arc<Answers> = Arc::new(|_: &str| Reply::Raw(status("404 Not Found")));
        let responder = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            answers: Arc::new(Mutex::new(nothing)),
        };
        let (asked, answers) = (responder.asked.clone(), responder.answers.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, answers) = (asked.clone(), answers.clone());
                let tls = tls.clone();
                thread::spawn(move || serve(stream, tls, &asked, &answers));
            }
        });
        responder
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers by path from now on.
    pub(crate) fn answer(&self, answers: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Arc::new(answers);
    }

    /// Answers every request with this body from now on.
    pub(crate) fn has(&self, body: &str) {
        let answer = ok(body);
        self.answer(move |_| Reply::Raw(answer.clone()));
    }

    /// The host and path of each request so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A good answer.
pub(crate) fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// An answer without a body.
pub(crate) fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n")
}

/// A redirect.
pub(crate) fn to(target: &str) -> Reply {
    Reply::Raw(format!(
        "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
    ))
}

fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    asked: &Mutex<Vec<String>>,
    answers: &Mutex<Arc<Answers>>,
) {
    match tls {
        None => answer(stream, asked, answers),
        Some(configuration) => {
            let connection = ServerConnection::new(configuration).unwrap();
            answer(StreamOwned::new(connection, stream), asked, answers)
        }
    }
    // Whoever went away before the answer has what it wants.
    .unwrap_or_default();
}

fn answer(
    mut stream: impl std::io::Read + std::io::Write,
    asked: &Mutex<Vec<String>>,
    answers: &Mutex<Arc<Answers>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut stream);
    let (mut request, mut line, mut host) = (String::new(), String::new(), String::new());
    reader.read_line(&mut request)?;
    while reader.read_line(&mut line)? > 2 {
        if let Some(("host", value)) = line.to_ascii_lowercase().trim().split_once(": ") {
            value.clone_into(&mut host);
        }
        line.clear();
    }
    let Some(path) = request.split(' ').nth(1) else {
        return Ok(());
    };
    asked.lock().unwrap().push(format!("{host}{path}"));
    let answers = answers.lock().unwrap().clone();
    match answers(path) {
        Reply::Raw(answer) => stream.write_all(answer.as_bytes())?,
        Reply::Endless(beginning, more, pause) => {
            stream.write_all(beginning.as_bytes())?;
            loop {
                stream.write_all(more.as_bytes())?;
                stream.flush()?;
                thread::sleep(pause);
            }
        }
        Reply::Silence => loop {
            thread::park();
        },
    }
    stream.flush()
}
