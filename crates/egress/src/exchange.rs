//! One DNS message to one server, and the answer to it: over UDP, and over TCP when the answer does
//! not fit into a datagram or does not come (RFC 7766).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::EgressPolicy;

/// How long each datagram is given to be answered; the last wait is over TCP.
const DATAGRAM_PATIENCE: [Duration; 3] = [
    Duration::from_millis(1000),
    Duration::from_millis(1500),
    Duration::from_millis(2500),
];
/// Longest time for an answer over TCP, connecting included.
const STREAM_PATIENCE: Duration = Duration::from_secs(5);
/// Octets of the header (RFC 1035 section 4.1.1).
const HEADER: usize = 12;
/// Longest message that fits into a datagram.
const LARGEST_DATAGRAM: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The policy does not let the server be asked.
    #[error("{server} may not be asked: {reason}")]
    Forbidden {
        /// Where it is.
        server: SocketAddr,
        /// What kind of address that is.
        reason: &'static str,
    },
    /// The server does not answer in time.
    #[error("{server} does not answer")]
    TimedOut {
        /// Where it is.
        server: SocketAddr,
    },
    /// The server cannot be reached.
    #[error("{server} cannot be reached: {source}")]
    Unreachable {
        /// Where it is.
        server: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
}

/// Sends a message in DNS wire format to a server, and gives the answer with the same number.
/// What it says is for the caller to read, and whether to believe it. A datagram that is not
/// answered is sent again, so the message must be one that can be repeated.
///
/// # Errors
/// [`ExchangeError`].
pub async fn exchange(
    server: SocketAddr,
    policy: EgressPolicy,
    message: &[u8],
) -> Result<Vec<u8>, ExchangeError> {
    policy
        .check(server.ip())
        .map_err(|reason| ExchangeError::Forbidden { server, reason })?;
    // Whatever keeps the datagrams from being answered, a stream may still get through.
    if let Ok(Some(answer)) = by_datagram(server, message).await {
        return Ok(answer);
    }
    match timeout(STREAM_PATIENCE, by_stream(server, message)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(ExchangeError::Unreachable { server, source }),
        Err(_) => Err(ExchangeError::TimedOut { server }),
    }
}

/// The answer, or `None` when it does not come or is cut off.
async fn by_datagram(server: SocketAddr, message: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let local: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    for patience in DATAGRAM_PATIENCE {
        // A new port for each try makes answers harder to forge (RFC 5452 section 9.2).
        let socket = UdpSocket::bind(local).await?;
        socket.connect(server).await?;
        socket.send(message).await?;
        match timeout(patience, matching_datagram(&socket, message)).await {
            Ok(Ok(answer)) if is_truncated(&answer) => return Ok(None),
            Ok(answer) => return answer.map(Some),
            Err(_) => {}
        }
    }
    Ok(None)
}

async fn matching_datagram(socket: &UdpSocket, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        if answers(answer, message) {
            return Ok(answer.to_vec());
        }
    }
}

async fn by_stream(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(server).await?;
    // In one piece: some servers read the length and the message at once.
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, message) {
        Ok(answer)
    } else {
        Err(io::Error::other("the answer is to another question"))
    }
}

/// Whether a message is a response with the number of another (RFC 1035 section 4.1.1).
fn answers(answer: &[u8], question: &[u8]) -> bool {
    answer.len() >= HEADER
        && answer.get(..2) == question.get(..2)
        && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0x02 != 0)
}
