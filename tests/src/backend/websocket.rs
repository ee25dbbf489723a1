//! The server side of a WebSocket (RFC 6455) that sends back every message as it came.

use std::io::{ErrorKind, Read, Write};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// RFC 6455 section 1.3.
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The largest frame that is taken.
const LARGEST: u64 = 16 << 20;

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

pub(super) fn serve(
    key: &str,
    reader: &mut impl Read,
    writer: &mut impl Write,
) -> std::io::Result<()> {
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(key)
    )?;
    writer.flush()?;
    loop {
        let (first, payload) = read_frame(reader)?;
        let first = match first & 0x0f {
            PING => first & 0xf0 | PONG,
            PONG => continue,
            _ => first,
        };
        write_frame(writer, first, &payload)?;
        if first & 0x0f == CLOSE {
            return Ok(());
        }
    }
}

/// What proves that the server speaks the protocol.
fn accept(key: &str) -> String {
    let digest = digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{SUFFIX}").as_bytes(),
    );
    BASE64_STANDARD.encode(digest)
}

/// The first octet (final bit and kind) and the payload, unmasked.
fn read_frame(reader: &mut impl Read) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    reader.read_exact(&mut head)?;
    let [first, second] = head;
    let length = match second & 0x7f {
        126 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            reader.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        length => u64::from(length),
    };
    // Section 5.1: frames of clients are masked.
    if second & 0x80 == 0 || length > LARGEST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut mask = [0; 4];
    reader.read_exact(&mut mask)?;
    let mut payload = Vec::new();
    reader.take(length).read_to_end(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((first, payload))
}

fn write_frame(writer: &mut impl Write, first: u8, payload: &[u8]) -> std::io::Result<()> {
    writer.write_all(&[first])?;
    // Section 5.2: in the fewest octets.
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => writer.write_all(&[length])?,
        (_, Ok(length)) => {
            writer.write_all(&[126])?;
            writer.write_all(&length.to_be_bytes())?;
        }
        _ => {
            writer.write_all(&[127])?;
            writer.write_all(&(payload.len() as u64).to_be_bytes())?;
        }
    }
    writer.write_all(payload)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standards_example_is_accepted_as_it_says() {
        // RFC 6455 section 1.3.
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn frames_come_back_and_a_ping_is_answered() {
        let masked = |first: u8, text: &[u8]| {
            let mut frame = vec![first, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 1];
            let bytes = text.iter().enumerate();
            frame.extend(bytes.map(|(index, byte)| byte ^ u8::from(index % 4 == 3)));
            frame
        };
        let input = [
            masked(0x81, b"hello"),
            masked(0x80 | PING, b"?"),
            masked(0x80 | CLOSE, b""),
        ]
        .concat();
        let mut output = Vec::new();
        serve("x", &mut &input[..], &mut output).unwrap();
        let end = output
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        assert_eq!(&output[end + 4..], b"\x81\x05hello\x8a\x01?\x88\x00");
    }
}
