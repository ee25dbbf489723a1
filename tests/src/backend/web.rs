//! The web server that behaves.

use std::io::{BufRead, BufReader, BufWriter, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::pattern::{Pattern, Tally};
use super::{Shared, read_head, websocket};

/// How often it is looked whether a WebSocket has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// The page of `/page`. Its script tells by the page's content what became of the WebSocket; it has
/// not finished loading before that.
const PAGE: &str = r#"<!doctype html><title>NAME</title><p>GREETING</p><p id="echo">waiting</p><script>
const show = text => { document.getElementById("echo").textContent = text; };
const socket = new WebSocket("wss://" + location.host + "/socket");
socket.onopen = () => socket.send("marco");
socket.onmessage = event => { show("echoed " + event.data); socket.close(); };
socket.onerror = () => show("broken");
</script>
<script async src="/after-socket"></script>
"#;

/// A request's head, read.
struct Request {
    method: String,
    path: String,
    text: String,
}

impl Request {
    /// The first value of a header; `name` in lower case.
    fn header(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    fn says(&self, name: &str, word: &str) -> bool {
        self.header(name)
            .is_some_and(|value| value.to_ascii_lowercase().contains(word))
    }
}

pub(super) fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(65_536, stream);
    let mut writer = BufWriter::with_capacity(65_536, stream);
    while let Some(head) = read_head(&mut reader)? {
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let request = read_request(head)?;
        if request.path == "/socket" && request.says("upgrade", "websocket") {
            let key = request.header("sec-websocket-key").unwrap_or_default();
            let served = websocket::serve(key, &mut reader, &mut writer);
            shared.sockets.fetch_add(1, Ordering::SeqCst);
            return served;
        }
        if request.says("expect", "100-continue") {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            writer.flush()?;
        }
        let mut tally = Tally::new();
        read_body(&request, &mut reader, &mut |bytes| {
            tally.add(bytes);
            let count = bytes.len() as u64;
            shared.received.fetch_add(count, Ordering::SeqCst);
        })?;
        answer(&request, tally, &mut writer, shared)?;
        writer.flush()?;
        if request.says("connection", "close") {
            break;
        }
    }
    Ok(())
}

fn answer(
    request: &Request,
    tally: Tally,
    writer: &mut impl Write,
    shared: &Shared,
) -> std::io::Result<()> {
    let has_body = request.method != "HEAD";
    if let Some(count) = request.path.strip_prefix("/bytes/") {
        let count = count.parse().map_err(|_| malformed("no number"))?;
        write_head(writer, "application/octet-stream", count)?;
        let (mut pattern, mut buffer) = (Pattern::new(count), vec![0; 65_536]);
        loop {
            let read = pattern.read(&mut buffer)?;
            if read == 0 || !has_body {
                return Ok(());
            }
            writer.write_all(&buffer[..read])?;
            shared.sent.fetch_add(read as u64, Ordering::SeqCst);
        }
    }
    let (kind, body) = match request.path.as_str() {
        "/after-socket" => {
            while shared.sockets.load(Ordering::SeqCst) == 0 && !shared.is_stopping() {
                thread::sleep(PAUSE);
            }
            ("text/javascript", String::new())
        }
        "/head" => ("text/plain", request.text.clone()),
        "/digest" => ("text/plain", tally.finish()),
        "/page" => {
            let page = PAGE.replace("GREETING", &shared.greeting());
            ("text/html", page.replace("NAME", &shared.name))
        }
        _ => ("text/plain", shared.greeting()),
    };
    write_head(writer, kind, body.len() as u64)?;
    if has_body {
        writer.write_all(body.as_bytes())?;
    }
    Ok(())
}

fn write_head(writer: &mut impl Write, kind: &str, length: u64) -> std::io::Result<()> {
    // With what a site of today says about itself, which examiners of the edge also look for.
    write!(
        writer,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
         X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\r\n"
    )
}

fn read_request(head: Vec<u8>) -> std::io::Result<Request> {
    let text = String::from_utf8(head).map_err(|_| malformed("a head is not UTF-8"))?;
    let mut words = text.split(' ');
    let mut word = || words.next().map(ToOwned::to_owned);
    match (word(), word()) {
        (Some(method), Some(path)) => Ok(Request { method, path, text }),
        _ => Err(malformed("no request line")),
    }
}

fn read_body(
    request: &Request,
    reader: &mut impl BufRead,
    each: &mut impl FnMut(&[u8]),
) -> std::io::Result<()> {
    if !request.says("transfer-encoding", "chunked") {
        let length = request.header("content-length").unwrap_or("0");
        let length = length.parse().map_err(|_| malformed("no length"))?;
        return read_exactly(reader, length, each);
    }
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| malformed("no chunk size"))?;
        if size == 0 {
            while !read_line(reader)?.is_empty() {}
            return Ok(());
        }
        read_exactly(reader, size, each)?;
        if !read_line(reader)?.is_empty() {
            return Err(malformed("a chunk is longer than its size"));
        }
    }
}

fn read_exactly(
    reader: &mut impl BufRead,
    mut left: u64,
    each: &mut impl FnMut(&[u8]),
) -> std::io::Result<()> {
    while left > 0 {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let count = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        each(&buffer[..count]);
        reader.consume(count);
        left -= count as u64;
    }
    Ok(())
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line
        .strip_suffix("\r\n")
        .ok_or_else(|| malformed("a cut line"))?;
    Ok(line.to_owned())
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
