//! DNS questions over UDP (RFC 1035), as many as a validation needs.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use aws_lc_rs::rand;

/// How long an answer may take, and how often is asked.
const PATIENCE: (Duration, u32) = (Duration::from_secs(2), 3);
/// How many aliases are followed.
const MAX_ALIASES: u32 = 8;

const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;

/// The TXT records of a name, the strings of each joined, aliases followed.
pub(super) fn texts(server: SocketAddr, name: &str) -> Result<Vec<String>, String> {
    let records = follow(server, name, TXT)?;
    let text = |record: Vec<u8>| {
        let (mut text, mut rest) = (Vec::new(), record.as_slice());
        while let [length, more @ ..] = rest {
            let (string, after) = more.split_at(usize::from(*length).min(more.len()));
            text.extend_from_slice(string);
            rest = after;
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    Ok(records.into_iter().map(text).collect())
}

/// The IPv4 addresses of a name, aliases followed.
pub(super) fn addresses(server: SocketAddr, name: &str) -> Result<Vec<Ipv4Addr>, String> {
    let records = follow(server, name, A)?;
    let octets = records
        .into_iter()
        .filter_map(|record| <[u8; 4]>::try_from(record).ok());
    Ok(octets.map(Ipv4Addr::from).collect())
}

/// The records of one type, where aliases lead. An authoritative server does not follow them itself.
fn follow(server: SocketAddr, name: &str, kind: u16) -> Result<Vec<Vec<u8>>, String> {
    let mut name = name.to_owned();
    for _ in 0..MAX_ALIASES {
        let reply = ask(server, &name, kind)?;
        let records = read(&reply).ok_or("the answer is cut")?;
        let of_kind = |wanted: u16| {
            let records = records.iter().filter(move |record| record.kind == wanted);
            records
                .map(|record| record.data.clone())
                .collect::<Vec<_>>()
        };
        let found = of_kind(kind);
        let alias = records.iter().rfind(|record| record.kind == CNAME);
        match alias {
            Some(alias) if found.is_empty() => {
                name = read_name(&reply, alias.place).ok_or("an alias is cut")?;
            }
            _ => return Ok(found),
        }
    }
    Err("the aliases have no end".to_owned())
}

struct Record {
    kind: u16,
    data: Vec<u8>,
    /// Where the data is in the message.
    place: usize,
}

fn ask(server: SocketAddr, name: &str, kind: u16) -> Result<Vec<u8>, String> {
    let fail = |error: std::io::Error| format!("{server}: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fail)?;
    socket.connect(server).map_err(fail)?;
    socket.set_read_timeout(Some(PATIENCE.0)).map_err(fail)?;
    let question = question(name, kind);
    let mut reply = vec![0; 4_096];
    for _ in 0..PATIENCE.1 {
        socket.send(&question).map_err(fail)?;
        let Ok(length) = socket.recv(&mut reply) else {
            continue;
        };
        if length >= 12 && reply[..2] == question[..2] {
            reply.truncate(length);
            return match reply[3] & 0x0f {
                0 => Ok(reply),
                3 => Err("NXDOMAIN".to_owned()),
                code => Err(format!("response code {code}")),
            };
        }
    }
    Err(format!("{server} does not answer"))
}

/// A question that wants recursion and takes answers of 4,096 octets (RFC 6891).
fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0; 2];
    rand::fill(&mut message).expect("the system has randomness");
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("a label has at most 63 octets"));
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    message
}

/// The records of the answer section.
fn read(message: &[u8]) -> Option<Vec<Record>> {
    let number = |place: usize| {
        let octets = message.get(place..place + 2)?;
        Some(u16::from_be_bytes([octets[0], octets[1]]))
    };
    let (questions, answers) = (number(4)?, number(6)?);
    let mut place = 12;
    for _ in 0..questions {
        place = skip_name(message, place)? + 4;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        place = skip_name(message, place)?;
        let (kind, length) = (number(place)?, usize::from(number(place + 8)?));
        place += 10;
        let data = message.get(place..place + length)?.to_vec();
        records.push(Record { kind, data, place });
        place += length;
    }
    Some(records)
}

fn skip_name(message: &[u8], mut place: usize) -> Option<usize> {
    loop {
        match *message.get(place)? {
            0 => return Some(place + 1),
            length if length >= 0xc0 => return Some(place + 2),
            length => place += 1 + usize::from(length),
        }
    }
}

fn read_name(message: &[u8], mut place: usize) -> Option<String> {
    let mut labels = Vec::new();
    for _ in 0..128 {
        match *message.get(place)? {
            0 => return Some(labels.join(".")),
            length if length >= 0xc0 => {
                let low = usize::from(*message.get(place + 1)?);
                place = usize::from(length & 0x3f) << 8 | low;
            }
            length => {
                let label = message.get(place + 1..place + 1 + usize::from(length))?;
                labels.push(String::from_utf8_lossy(label).into_owned());
                place += 1 + usize::from(length);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Knot, Zone};

    #[test]
    fn records_are_found_where_aliases_lead() {
        let knot = Knot::start(&[Zone::new("example.test")
            .bare()
            .record("www 60 A 127.0.0.7")
            .record("_acme-challenge 60 TXT \"one \" \"two\"")
            .record("_acme-challenge 60 TXT three")
            .record("alias 60 CNAME _acme-challenge")]);
        let server = knot.address();
        let mut texts_of_alias = texts(server, "alias.example.test").unwrap();
        texts_of_alias.sort();
        assert_eq!(texts_of_alias, ["one two", "three"]);
        assert_eq!(
            addresses(server, "www.example.test").unwrap(),
            [Ipv4Addr::new(127, 0, 0, 7)]
        );
        assert!(texts(server, "www.example.test").unwrap().is_empty());
        assert_eq!(texts(server, "no.example.test").unwrap_err(), "NXDOMAIN");
    }
}
