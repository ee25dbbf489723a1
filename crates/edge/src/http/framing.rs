//! Refuses HTTP/1.1 requests that give the length of their body in two ways.
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is how one request is hidden in
//! another (RFC 9112 section 11.2). hyper reads such a request by its coding, drops the other field
//! before anybody sees it and closes the connection afterwards, as section 6.1 allows. That leaves
//! nothing to read in two ways, but a client that sends such a request is not mistaken, it attacks:
//! so it is to be told off. For that the heads of requests are looked at on their way to hyper, and
//! the second of the two fields is made into a line that hyper answers with 400.
//!
//! Where a head begins depends on how long the body before it is. Should this ever disagree with
//! hyper about that, then what hyper does by itself remains.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long what a client still sends is read after it was answered.
const LINGERING: Duration = Duration::from_secs(5);

const LENGTH: &[u8] = b"content-length";
const CODING: &[u8] = b"transfer-encoding";
const UPGRADE: &[u8] = b"upgrade";

/// A stream on which a client sends HTTP/1.1 requests.
///
/// When it is shut down while the client still sends, what comes is read for a while and thrown away:
/// the system would otherwise tell the client that nobody wants it, and with that destroy the answer
/// that says why (RFC 9112 section 9.6).
#[derive(Debug)]
pub(super) struct Guarded<S> {
    inner: S,
    scanner: Scanner,
    /// Runs after the shutdown.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    /// Looks at what is read from `inner`.
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            scanner: Scanner::default(),
            lingering: None,
        }
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(LINGERING)));
        let mut bytes = [0; 8 * 1024];
        while deadline.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Some(bytes) = buffer.filled_mut().get_mut(before..) {
            self.scanner.scan(bytes);
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(context))?;
            if self.scanner.is_between_requests() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(context).map(Ok)
    }
}

/// Where in a stream of requests the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the name of a header field, so many bytes in; also in the request line.
    Name(usize),
    /// In the value of this field, or in a line that is none of those that matter.
    Value(Field),
    /// In a body, with so many bytes left of it.
    Body(u64),
    /// In the size of a chunk.
    Size(u64),
    /// Behind the size of a chunk, up to the end of the line.
    Extension(u64),
    /// In a chunk or the line end after it, with so many bytes left.
    Chunk(u64),
    /// In a line after the last chunk, so many bytes in.
    Trailer(usize),
    /// Where nothing is looked at any more.
    Beyond,
}

/// A header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Length,
    Other,
}

#[derive(Debug)]
struct Scanner {
    place: Place,
    /// Which of the names that matter the name could still be.
    candidates: [bool; 3],
    /// Whether the request line was seen: empty lines may stand before it.
    has_begun: bool,
    length: Option<u64>,
    has_coding: bool,
    has_upgrade: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            place: Place::Name(0),
            candidates: [true; 3],
            has_begun: false,
            length: None,
            has_coding: false,
            has_upgrade: false,
        }
    }
}

impl Scanner {
    /// Whether nothing of a request has come that is not wholly there.
    fn is_between_requests(&self) -> bool {
        self.place == Place::Name(0) && !self.has_begun
    }

    fn scan(&mut self, mut bytes: &mut [u8]) {
        while let Some((first, rest)) = bytes.split_first_mut() {
            bytes = rest;
            let skipped = match self.place {
                Place::Beyond => return,
                // The first of what is left is gone already.
                Place::Body(left) => {
                    let skipped = within(left - 1, bytes);
                    match left - 1 - skipped as u64 {
                        0 => self.begin_head(),
                        left => self.place = Place::Body(left),
                    }
                    skipped
                }
                Place::Chunk(left) => {
                    let skipped = within(left - 1, bytes);
                    self.place = match left - 1 - skipped as u64 {
                        0 => Place::Size(0),
                        left => Place::Chunk(left),
                    };
                    skipped
                }
                Place::Value(Field::Other) if *first != b'\n' => {
                    // Most bytes of a head are here.
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    end.unwrap_or(bytes.len())
                }
                _ => {
                    self.step(first);
                    0
                }
            };
            bytes = bytes.get_mut(skipped..).unwrap_or_default();
        }
    }

    fn step(&mut self, byte: &mut u8) {
        self.place = match self.place {
            Place::Name(at) => self.name(at, byte),
            Place::Value(field) => self.value(field, *byte),
            Place::Size(size) => match *byte {
                b'\n' => Self::after_size(size),
                digit => match (digit as char).to_digit(16) {
                    Some(digit) if size >> 60 == 0 => Place::Size(size << 4 | u64::from(digit)),
                    Some(_) => Place::Beyond,
                    None => Place::Extension(size),
                },
            },
            Place::Extension(size) if *byte == b'\n' => Self::after_size(size),
            Place::Trailer(at) => match *byte {
                b'\n' if at == 0 => {
                    self.begin_head();
                    self.place
                }
                b'\n' => Place::Trailer(0),
                b'\r' => Place::Trailer(at),
                _ => Place::Trailer(1),
            },
            place => place,
        };
    }

    fn begin_head(&mut self) {
        *self = Self::default();
    }

    fn after_size(size: u64) -> Place {
        match size {
            0 => Place::Trailer(0),
            // With the line end after it.
            _ => Place::Chunk(size.saturating_add(2)),
        }
    }

    fn name(&mut self, at: usize, byte: &mut u8) -> Place {
        match *byte {
            b'\n' => {
                let is_empty_line = at == 0;
                self.candidates = [true; 3];
                match (is_empty_line, self.has_begun) {
                    (true, true) => self.after_head(),
                    (true, false) => Place::Name(0),
                    (false, _) => {
                        self.has_begun = true;
                        Place::Name(0)
                    }
                }
            }
            b'\r' => Place::Name(at),
            b':' => self.named(at, byte),
            other => {
                let lower = other.to_ascii_lowercase();
                let names = [LENGTH, CODING, UPGRADE];
                for (candidate, name) in self.candidates.iter_mut().zip(names) {
                    *candidate &= name.get(at) == Some(&lower);
                }
                if self.candidates == [false; 3] {
                    Place::Value(Field::Other)
                } else {
                    Place::Name(at + 1)
                }
            }
        }
    }

    /// The name of a field ended before this colon.
    fn named(&mut self, at: usize, colon: &mut u8) -> Place {
        let [length, coding, upgrade] = self.candidates;
        // What looks like a field in the place of the request line is none.
        let is_field = self.has_begun;
        if is_field && length && at == LENGTH.len() {
            if self.has_coding {
                return Self::refuse(colon);
            }
            self.length = Some(0);
            return Place::Value(Field::Length);
        }
        if is_field && coding && at == CODING.len() {
            if self.length.is_some() {
                return Self::refuse(colon);
            }
            self.has_coding = true;
        }
        if is_field && upgrade && at == UPGRADE.len() {
            self.has_upgrade = true;
        }
        Place::Value(Field::Other)
    }

    /// A name with a blank behind it is no field to hyper, which then answers 400 and closes.
    fn refuse(colon: &mut u8) -> Place {
        *colon = b' ';
        Place::Beyond
    }

    fn value(&mut self, field: Field, byte: u8) -> Place {
        match (byte, field) {
            (b'\n', _) => {
                self.has_begun = true;
                self.candidates = [true; 3];
                Place::Name(0)
            }
            (b'0'..=b'9', Field::Length) => {
                let digit = u64::from(byte - b'0');
                let longer = self.length.and_then(|length| length.checked_mul(10));
                self.length = longer.and_then(|length| length.checked_add(digit));
                match self.length {
                    Some(_) => Place::Value(field),
                    None => Place::Beyond,
                }
            }
            (b' ' | b'\t' | b'\r', _) | (_, Field::Other) => Place::Value(field),
            // No length: hyper refuses it.
            (_, Field::Length) => Place::Beyond,
        }
    }

    fn after_head(&mut self) -> Place {
        if self.has_upgrade {
            // What follows may be no HTTP. If it is, the connection ends after this answer.
            return Place::Beyond;
        }
        if self.has_coding {
            return Place::Size(0);
        }
        match self.length {
            Some(length) if length > 0 => Place::Body(length),
            _ => {
                self.begin_head();
                self.place
            }
        }
    }
}

/// How many of so many bytes are here.
fn within(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [&str; 4] = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\nCONTENT-LENGTH:5\nHost: a\ntransfer-encoding:x\n\n",
        "\r\n\r\nPOST / HTTP/1.1\r\ncontent-length: 0\r\ntRANSFER-eNCODING:\r\n\r\n",
    ];

    const CLEAR: [&str; 8] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /transfer-encoding:content-length: HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 19\r\n\r\nTransfer-Encoding:\n\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
         14;a=\"b\"\r\n\nContent-Length: 10\n\r\n3 \r\n\n\n\n\r\n0\r\n\
         Content-Length: 1\r\nTransfer-Encoding: x\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nX: Content-Length: 5\r\nContent-Lengths: 5\r\nTransfer: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n",
    ];

    /// What comes out when bytes arrive in parts of this size.
    fn scanned(text: &str, part: usize) -> String {
        let mut scanner = Scanner::default();
        let mut bytes = text.as_bytes().to_vec();
        for part in bytes.chunks_mut(part.min(1 << 20)) {
            scanner.scan(part);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_head_with_both_lengths_is_made_one_that_is_refused() {
        for text in BOTH {
            for part in [1, 2, 7, 1000] {
                let changed = scanned(text, part);
                let differing: Vec<_> = text
                    .bytes()
                    .zip(changed.bytes())
                    .filter(|(a, b)| a != b)
                    .collect();
                assert_eq!(differing, [(b':', b' ')], "{text} in parts of {part}");
            }
        }
    }

    #[test]
    fn other_heads_and_all_bodies_pass_unchanged() {
        for text in CLEAR {
            for part in [1, 3, 1000] {
                assert_eq!(scanned(text, part), text, "in parts of {part}");
            }
        }
    }

    #[test]
    fn it_is_found_in_any_request_of_a_connection() {
        for first in CLEAR.iter().take(7) {
            for second in BOTH {
                for part in [1, 5, 1000] {
                    let text = format!("{first}{second}");
                    assert_ne!(scanned(&text, part), text, "in parts of {part}");
                }
            }
        }
    }

    #[test]
    fn what_follows_a_request_for_another_protocol_is_left_alone() {
        let text = format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n{}", BOTH[0]);
        assert_eq!(scanned(&text, 1000), text);
    }

    #[test]
    fn what_cannot_be_followed_is_left_to_the_parser() {
        for first in [
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ] {
            let text = format!("{first}{}", BOTH[0]);
            assert_eq!(scanned(&text, 1000), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn how_bytes_arrive_makes_no_difference(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..30),
            part in 1_usize..40,
        ) {
            let text = pieces.concat();
            let whole = scanned(&text, usize::MAX);
            proptest::prop_assert_eq!(scanned(&text, part), whole.clone());
            // At most the one colon is gone, and nothing after that is looked at.
            let changed = text.bytes().zip(whole.bytes()).filter(|(a, b)| a != b);
            proptest::prop_assert!(changed.count() <= 1);
        }
    }

    const PIECES: &[&str] = &[
        "POST / HTTP/1.1\r\n",
        "Content-Length: 3\r\n",
        "content-length:12\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding",
        "Upgrade: x\r\n",
        "\r\n",
        "\n",
        ":",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "a",
        "f;x\r\n",
    ];
}
