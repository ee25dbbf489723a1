//! Ways in which a web server can be broken or malicious.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::read_head;

/// How fast the dribbling one writes, and how soon those that do nothing notice the end.
const DRIP: Duration = Duration::from_millis(50);

/// What goes wrong at every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is read and nothing is ever answered.
    Silence,
    /// Of the request no more than the head is read, and nothing is ever answered.
    Deafness,
    /// The connection is reset before the request is read.
    Reset,
    /// The connection is closed after the request, without an answer.
    Close,
    /// Something is answered that is no HTTP.
    Garbage,
    /// The answer's head has no end: header follows header as fast as they are taken.
    EndlessHead,
    /// The answer's head has no end, and comes a byte at a time.
    Dribble,
    /// The answer announces 1,000 bytes and ends after 10.
    CutBody,
    /// The answer announces its length twice, differently.
    TwoLengths,
}

impl Fault {
    pub(super) fn commit(
        self,
        mut stream: &TcpStream,
        is_stopping: &impl Fn() -> bool,
    ) -> std::io::Result<()> {
        if self == Self::Reset {
            // The kernel resets a connection that is closed with bytes nobody has read. Another
            // byte than the first is not there yet when the client writes slowly: wait for it.
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            stream.peek(&mut byte)?;
            return Ok(());
        }
        if read_head(&mut stream)?.is_none() {
            return Ok(());
        }
        match self {
            Self::Reset | Self::Close => Ok(()),
            Self::Silence => {
                // Until the other side goes away.
                std::io::copy(&mut stream, &mut std::io::sink())?;
                Ok(())
            }
            Self::Deafness => {
                while !is_stopping() {
                    thread::sleep(DRIP);
                }
                Ok(())
            }
            Self::Garbage => stream.write_all(&[0x16, 0x03, 0x01, 0xff, b'\n', 0, b'\r', b'\n']),
            Self::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                let line = format!("X-Filler: {}\r\n", "a".repeat(1_000));
                while !is_stopping() {
                    stream.write_all(line.as_bytes())?;
                }
                Ok(())
            }
            Self::Dribble => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nX-Slow: ")?;
                while !is_stopping() {
                    stream.write_all(b"a")?;
                    thread::sleep(DRIP);
                }
                Ok(())
            }
            Self::CutBody => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789")
            }
            Self::TwoLengths => stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nabcd",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Backend;
    use super::*;
    use crate::http;

    fn answer(fault: Fault) -> Vec<u8> {
        let backend = Backend::faulty("bad", fault);
        http::raw(
            &backend.address().to_string(),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        )
    }

    #[test]
    fn faults_are_what_they_say() {
        assert_eq!(answer(Fault::Close), b"");
        assert_eq!(answer(Fault::Reset), b"");
        assert_eq!(answer(Fault::Garbage)[0], 0x16);
        assert!(answer(Fault::CutBody).ends_with(b"\r\n\r\n0123456789"));
        assert!(answer(Fault::TwoLengths).ends_with(b"\r\n\r\nabcd"));
    }

    #[test]
    fn an_endless_head_goes_on_past_every_limit() {
        let backend = Backend::faulty("bad", Fault::EndlessHead);
        let mut stream = TcpStream::connect(backend.address()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut much = vec![0; 4 << 20];
        stream.read_exact(&mut much).unwrap();
        assert!(!much.windows(4).any(|window| window == b"\r\n\r\n"));
    }
}
