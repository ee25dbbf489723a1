//! What stands in front of a web server and lets not everybody through.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Backend, read_head};

const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
                             Content-Length: 0\r\nConnection: close\r\n\r\n";

impl Backend {
    /// Starts a server that hands requests on to `server` when `admits` says so for host (with its
    /// port, if it was sent) and path, and answers the others with 503. A connection ends with its
    /// first request.
    #[must_use]
    pub fn turnstile(
        server: SocketAddr,
        admits: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::start("turnstile", move |stream, _| {
            let mut answers = stream.try_clone()?;
            let Some(head) = read_head(&mut BufReader::new(&stream))? else {
                return Ok(());
            };
            let head = String::from_utf8_lossy(&head);
            let path = head.split(' ').nth(1).unwrap_or_default();
            if !admits(header(&head, "host").unwrap_or_default(), path) {
                return answers.write_all(TURNED_AWAY);
            }
            let mut onward = TcpStream::connect(server)?;
            let others = head.lines().filter(|line| {
                let name = line.split(':').next().unwrap_or_default();
                !line.is_empty() && !name.eq_ignore_ascii_case("connection")
            });
            for line in others.chain(["Connection: close", ""]) {
                write!(onward, "{line}\r\n")?;
            }
            std::io::copy(&mut onward, &mut answers)?;
            Ok(())
        })
    }
}

/// The value of a header; `name` in lower case.
fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    let mut of_name = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    of_name.next().map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[test]
    fn a_turnstile_lets_through_whom_it_is_told_to() {
        let server = Backend::web("behind");
        let admits = |host: &str, path: &str| host == "good.test" && path != "/closed";
        let turnstile = Backend::turnstile(server.address(), admits);
        let address = turnstile.address().to_string();
        let send = |host: &str, path: &str| {
            let answer = http::send(&address, "GET", path, &[("Host", host)], b"");
            (answer.status, answer.text())
        };
        assert_eq!(send("good.test", "/"), (200, server.greeting()));
        assert_eq!(send("good.test", "/closed").0, 503);
        assert_eq!(send("bad.test", "/").0, 503);
        assert_eq!(server.requests(), 1);
    }
}
