//! A tiny HTTP/1.1 client that sends exactly the bytes a test means, one request per connection.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long the other side may keep silent.
const SILENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case and values, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// Shows the answer when its body is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }
}

/// Sends one request and reads its answer. `server` is `http://HOST:PORT` or `HOST:PORT`; `path`
/// goes out as it is. `Host`, `Connection: close` and `Content-Length` are added unless `headers`
/// has them (`Content-Length` also not beside `Transfer-Encoding`).
///
/// # Panics
///
/// When the server cannot be reached, keeps silent for a minute or answers no HTTP.
#[track_caller]
pub fn send(
    server: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    try_send(server, method, path, headers, body)
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// [`send`], but the answer may fail to come.
///
/// # Errors
///
/// What went wrong, when the server cannot be reached, breaks off, keeps silent for a minute or
/// answers no HTTP.
pub fn try_send(
    server: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response, String> {
    let address = address(server);
    let mut stream = connect(address)?;
    let has_host = headers
        .iter()
        .any(|(key, _)| key.eq_ignore_ascii_case("host"));
    let host = [("Host", address)];
    let own = if has_host { &host[..0] } else { &host };
    exchange(&mut stream, method, path, &[own, headers].concat(), body)
}

/// [`try_send`] over a connection that is open; `Host` is not added.
///
/// # Errors
///
/// What went wrong, when the server breaks off or answers no HTTP.
pub fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response, String> {
    let given = |name: &str| {
        headers
            .iter()
            .any(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let mut request = format!("{method} {path} HTTP/1.1\r\n");
    let mut add = |name: &str, value: &str| request += &format!("{name}: {value}\r\n");
    let (hosts, others): (Vec<_>, Vec<_>) = headers
        .iter()
        .partition(|(key, _)| key.eq_ignore_ascii_case("host"));
    for (name, value) in hosts {
        add(name, value);
    }
    if !given("connection") {
        add("Connection", "close");
    }
    let has_body = !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH");
    if has_body && !given("content-length") && !given("transfer-encoding") {
        add("Content-Length", &body.len().to_string());
    }
    for (name, value) in others {
        add(name, value);
    }
    request += "\r\n";
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    // A server may answer and close before it has read all; its answer is what counts.
    let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
    let mut reader = BufReader::new(stream);
    loop {
        let response = read_response(&mut reader, method)
            .map_err(|error| format!("no HTTP answer: {error}"))?;
        // Interim answers such as 100 Continue come before the one that counts.
        if response.status >= 200 {
            return Ok(response);
        }
    }
}

/// Sends bytes and returns all that comes back until the server closes the connection; a reset
/// counts as a close. `server` is `http://HOST:PORT` or `HOST:PORT`.
///
/// # Panics
///
/// When the server cannot be reached, or keeps the connection open in silence for a minute.
#[must_use]
#[track_caller]
pub fn raw(server: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address(server)).expect("the server can be reached");
    // A server may answer and close before it has read all; its answer is what counts.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert!(
            error.kind() == ErrorKind::ConnectionReset,
            "{error} after {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    answer
}

fn address(server: &str) -> &str {
    server
        .strip_prefix("http://")
        .unwrap_or(server)
        .trim_end_matches('/')
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address)
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    stream
        .set_read_timeout(Some(SILENCE))
        .expect("a timeout can be set");
    stream
        .set_write_timeout(Some(SILENCE))
        .expect("a timeout can be set");
    Ok(stream)
}

fn read_response(reader: &mut impl BufRead, method: &str) -> Result<Response, String> {
    let status_line = read_line(reader)?;
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| format!("{status_line:?} is no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("{line:?} is no header"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    if method != "HEAD" && status >= 200 && status != 204 && status != 304 {
        response.body = read_body(reader, &response)?;
    }
    Ok(response)
}

fn read_body(reader: &mut impl BufRead, head: &Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    if head
        .header("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        loop {
            let line = read_line(reader)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(size, 16).map_err(|_| format!("{line:?} is no chunk size"))?;
            if size == 0 {
                while !read_line(reader)?.is_empty() {}
                return Ok(body);
            }
            read_exactly(reader, size, &mut body)?;
            if !read_line(reader)?.is_empty() {
                return Err("a chunk is longer than its size".to_owned());
            }
        }
    } else if let Some(length) = head.header("content-length") {
        let length = length
            .parse()
            .map_err(|_| format!("{length:?} is no length"))?;
        read_exactly(reader, length, &mut body)?;
    } else {
        reader
            .read_to_end(&mut body)
            .map_err(|error| error.to_string())?;
    }
    Ok(body)
}

fn read_exactly(reader: &mut impl Read, count: u64, into: &mut Vec<u8>) -> Result<(), String> {
    let read = reader
        .take(count)
        .read_to_end(into)
        .map_err(|error| error.to_string())?;
    if read as u64 == count {
        Ok(())
    } else {
        Err(format!("the body ends after {read} of {count} bytes"))
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<String, String> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    let line = line
        .strip_suffix('\n')
        .ok_or("the connection ends inside the head")?;
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    /// Answers one connection with `answer` once it has read up to `until`; gives what it read.
    fn serve(until: &'static [u8], answer: &'static [u8]) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut read, mut byte) = (Vec::new(), [0]);
            while !read.ends_with(until) {
                stream.read_exact(&mut byte).unwrap();
                read.push(byte[0]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(read).unwrap()
        });
        (url, server)
    }

    #[test]
    fn a_request_goes_out_as_written_and_a_sized_body_comes_back() {
        let (url, server) = serve(
            b"body",
            b"HTTP/1.1 201 Made\r\nX-A: 1\r\ncontent-length: 2\r\n\r\n{}!",
        );
        let response = send(&url, "POST", "/a%2Fb/../c?x", &[("X-Token", "t")], b"body");
        assert_eq!((response.status, response.header("x-a")), (201, Some("1")));
        assert_eq!(response.json(), serde_json::json!({}));
        let host = url.strip_prefix("http://").unwrap();
        assert_eq!(
            server.join().unwrap(),
            format!(
                "POST /a%2Fb/../c?x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
                 Content-Length: 4\r\nX-Token: t\r\n\r\nbody"
            )
        );
    }

    #[test]
    fn chunks_are_joined_and_interim_answers_skipped() {
        let (url, _server) = serve(
            b"\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
              3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n",
        );
        assert_eq!(send(&url, "GET", "/", &[], b"").text(), "abc0123456789");
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let (url, _server) = serve(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nall of it");
        assert_eq!(send(&url, "GET", "/", &[], b"").text(), "all of it");
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let (url, _server) = serve(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        let response = send(&url, "HEAD", "/", &[], b"");
        assert_eq!(
            (response.header("content-length"), response.body.len()),
            (Some("9"), 0)
        );
    }

    #[test]
    #[should_panic(expected = "the body ends after 3 of 9 bytes")]
    fn a_cut_body_is_noticed() {
        let (url, _server) = serve(
            b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        );
        let _ = send(&url, "GET", "/", &[], b"");
    }

    #[test]
    fn raw_bytes_go_out_untouched() {
        let (url, server) = serve(b"!", b"so be it");
        assert_eq!(raw(&url, b"\x00\x01!"), b"so be it");
        assert_eq!(server.join().unwrap(), "\u{0}\u{1}!");
    }
}
