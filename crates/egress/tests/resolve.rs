//! DNS questions to a real server.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::net::SocketAddr;

use egress::{
    Caa, EgressPolicy, LookupError, Nameserver, Resolver as _, ResolverSettings, SystemResolver,
};
use testbed::{Knot, Zone, free_port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// Servers of zones may be on this machine, at the port of `knot`.
fn resolver(knot: &Knot) -> SystemResolver {
    resolver_at(knot.address())
}

fn resolver_at(address: SocketAddr) -> SystemResolver {
    let settings = ResolverSettings {
        server: Some(address.to_string()),
        nameserver_port: address.port(),
        nameservers: EgressPolicy::BACKENDS,
        ..ResolverSettings::default()
    };
    SystemResolver::new(&settings).unwrap()
}

fn nameserver(address: SocketAddr) -> Nameserver {
    Nameserver {
        name: "ns.example.com".to_owned(),
        address,
    }
}

#[tokio::test]
async fn addresses_are_found_behind_aliases() {
    let zone = Zone::new("example.com")
        .record("a A 127.0.0.2")
        .record("a AAAA ::1")
        .record("b CNAME a")
        .record("c CNAME b");
    let knot = Knot::start(&[zone]);
    let resolver = resolver(&knot);
    for name in ["a.example.com", "c.example.com.", "C.Example.COM"] {
        let mut addresses = resolver.addresses(name).await.unwrap();
        addresses.sort();
        let found: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.2", "::1"], "{name}");
    }
}

#[tokio::test]
async fn there_being_nothing_is_told_from_dns_being_broken() {
    let zone = Zone::new("example.com").record("only TXT \"text\"");
    let knot = Knot::start(&[
        zone.bare().record("only TXT \"text\""),
        Zone::new("b.test").broken(),
    ]);
    let resolver = resolver(&knot);
    let not_found = |name: &str| LookupError::NotFound {
        name: name.to_owned(),
    };
    // It exists, without an address.
    let name = "only.example.com";
    assert_eq!(resolver.addresses(name).await, Err(not_found(name)));
    assert_eq!(resolver.text(name).await.unwrap(), ["text"]);
    assert!(resolver.caa(name).await.unwrap().is_empty());
    assert!(resolver.alias(name).await.unwrap().is_none());

    let name = "no.example.com";
    assert_eq!(resolver.addresses(name).await, Err(not_found(name)));
    assert_eq!(resolver.text(name).await, Err(not_found(name)));
    assert!(resolver.caa(name).await.unwrap().is_empty());
    assert!(resolver.alias(name).await.unwrap().is_none());

    let name = "a.b.test";
    let failed = |error: &LookupError| matches!(error, LookupError::Failed { .. });
    assert!(failed(&resolver.addresses(name).await.unwrap_err()));
    assert!(failed(&resolver.text(name).await.unwrap_err()));
    assert!(failed(&resolver.caa(name).await.unwrap_err()));
    assert!(failed(&resolver.alias(name).await.unwrap_err()));
    assert!(failed(&resolver.zone(name).await.unwrap_err()));
}

#[tokio::test]
async fn a_resolver_that_does_not_answer_is_called_unreachable() {
    let resolver = resolver_at(([127, 0, 0, 1], free_port()).into());
    let lost = resolver.addresses("a.example.com").await;
    assert!(
        matches!(lost, Err(LookupError::Unreachable { .. })),
        "{lost:?}"
    );
}

#[tokio::test]
async fn texts_come_whole_and_aliases_in_steps() {
    let long = "x".repeat(255);
    let zone = Zone::new("example.com")
        .record("a TXT \"one\"")
        .record(&format!("a TXT \"{long}\" \"yz\""))
        .record("b CNAME a")
        .record("c CNAME b");
    let knot = Knot::start(&[zone]);
    let resolver = resolver(&knot);
    let mut texts = resolver.text("c.example.com").await.unwrap();
    texts.sort();
    assert_eq!(texts, ["one".to_owned(), format!("{long}yz")]);
    let step = resolver.alias("c.example.com").await.unwrap();
    assert_eq!(step.as_deref(), Some("b.example.com"));
    assert_eq!(resolver.alias("a.example.com").await.unwrap(), None);
}

#[tokio::test]
async fn caa_records_are_read_as_they_are() {
    let zone = Zone::new("example.com")
        .record("@ CAA 0 issue \"ca.example; accounturi=https://ca.example/1\"")
        .record("@ CAA 128 ISSUEWILD \";\"")
        .record("@ CAA 128 tbs \"unknown\"")
        .record("a CNAME @");
    let knot = Knot::start(&[zone]);
    let resolver = resolver(&knot);
    let caa = |is_critical, tag: &str, value: &str| Caa {
        is_critical,
        tag: tag.to_owned(),
        value: value.to_owned(),
    };
    for name in ["example.com", "a.example.com"] {
        let mut found = resolver.caa(name).await.unwrap();
        found.sort_by(|one, other| one.tag.cmp(&other.tag));
        let expected = [
            caa(
                false,
                "issue",
                "ca.example; accounturi=https://ca.example/1",
            ),
            caa(true, "issuewild", ";"),
            caa(true, "tbs", "unknown"),
        ];
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn a_name_is_in_the_closest_zone_above_it() {
    let parent = Zone::new("example.com")
        .record("alias CNAME a.sub.example.com.")
        .record("top CNAME @");
    let child = Zone::new("sub.example.com");
    let knot = Knot::start(&[
        parent.record("sub NS ns.sub").record("ns.sub A 127.0.0.1"),
        child.record("up CNAME example.com."),
    ]);
    let resolver = resolver(&knot);
    for (name, apex) in [
        ("example.com", "example.com"),
        ("www.example.com.", "example.com"),
        ("_acme-challenge.not.there.example.com", "example.com"),
        ("alias.example.com", "example.com"),
        ("top.example.com", "example.com"),
        ("sub.example.com", "sub.example.com"),
        ("_acme-challenge.A.sub.Example.com", "sub.example.com"),
        ("up.sub.example.com", "sub.example.com"),
        ("_acme-challenge.up.sub.example.com", "sub.example.com"),
    ] {
        let zone = resolver.zone(name).await.unwrap();
        assert_eq!(zone.apex, apex, "{name}");
        let [server] = &zone.nameservers[..] else {
            panic!("{name}: {zone:?}");
        };
        assert_eq!(server.name, format!("ns.{apex}"));
        assert_eq!(server.address, knot.address());
    }
}

#[tokio::test]
async fn a_zone_whose_servers_may_not_be_asked_is_no_use() {
    let zone = Zone::new("example.com").bare().record("@ NS far");
    // Only `far` is at an address of its own.
    let knot = Knot::start(&[zone.record("far A 127.0.0.9")]);
    let settings = ResolverSettings {
        server: Some(knot.address().to_string()),
        ..ResolverSettings::default()
    };
    let resolver = SystemResolver::new(&settings).unwrap();
    let far: Nameserver = nameserver(([127, 0, 0, 9], knot.address().port()).into());
    let refused = resolver.text_at(&far, "a.example.com").await;
    let Err(LookupError::Unreachable { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("it is a loopback address"), "{reason}");
    let zone = resolver.zone("a.example.com").await.unwrap();
    assert!(
        zone.nameservers
            .iter()
            .all(|server| server.address == knot.address())
    );
}

#[tokio::test]
async fn a_server_says_at_once_what_it_has_however_long() {
    let knot = Knot::start(&[Zone::new("example.com").bare()]);
    let resolver = resolver(&knot);
    let server = nameserver(knot.address());
    let name = "_acme-challenge.example.com";
    assert!(resolver.text_at(&server, name).await.unwrap().is_empty());
    let mut expected = Vec::new();
    // Too many for a datagram.
    for number in 10..40 {
        let text = format!("{number}{}", "x".repeat(41));
        knot.add("example.com", &format!("{name}. 1 TXT \"{text}\""));
        expected.push(text);
        if number % 10 == 0 {
            let texts = resolver.text_at(&server, name).await.unwrap();
            assert_eq!(texts.len(), expected.len());
        }
    }
    let mut texts = resolver.text_at(&server, name).await.unwrap();
    texts.sort();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn a_server_that_does_not_have_the_zone_is_told_from_one_that_has_no_record() {
    let parent = Zone::new("example.com").record("sub NS ns.elsewhere.test.");
    let knot = Knot::start(&[parent, Zone::new("b.test").broken()]);
    let resolver = resolver(&knot);
    let server = nameserver(knot.address());
    for name in ["a.sub.example.com", "a.b.test"] {
        let failed = resolver.text_at(&server, name).await;
        assert!(
            matches!(failed, Err(LookupError::Failed { .. })),
            "{name}: {failed:?}"
        );
    }
    let gone = nameserver(([127, 0, 0, 1], free_port()).into());
    let lost = resolver.text_at(&gone, "a.example.com").await;
    assert!(
        matches!(lost, Err(LookupError::Unreachable { .. })),
        "{lost:?}"
    );
}

/// The answer to a question: the same, with the bits of an answer (RFC 1035 section 4.1.1).
fn answer(question: &[u8], bits: u8) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x84 | bits;
    answer
}

#[tokio::test]
async fn a_server_that_answers_no_datagrams_is_asked_over_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut question).await.unwrap();
        stream.write_u16(question.len() as u16).await.unwrap();
        stream.write_all(&answer(&question, 0)).await.unwrap();
    });
    let resolver = resolver_at(address);
    let texts = resolver
        .text_at(&nameserver(address), "a.example.com")
        .await;
    assert!(texts.unwrap().is_empty());
}

#[tokio::test]
async fn datagrams_that_are_no_answer_are_passed_over() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let question = &buffer[..length];
        let mut forged = answer(question, 0);
        forged[1] ^= 1;
        // SERVFAIL would be believed if the number was.
        forged[3] |= 2;
        for datagram in [&forged[..], question, b"", b"short", &answer(question, 0)] {
            socket.send_to(datagram, client).await.unwrap();
        }
    });
    let resolver = resolver_at(address);
    let texts = resolver
        .text_at(&nameserver(address), "a.example.com")
        .await;
    assert!(texts.unwrap().is_empty());
}

#[tokio::test]
async fn names_that_are_none_are_not_asked_for() {
    let resolver = resolver_at(([127, 0, 0, 1], free_port()).into());
    let server = nameserver(([127, 0, 0, 1], 1).into());
    for name in ["", "a..b", "a b", "ä.example"] {
        let invalid = |error: &LookupError| matches!(error, LookupError::Invalid { .. });
        assert!(
            invalid(&resolver.addresses(name).await.unwrap_err()),
            "{name}"
        );
        assert!(invalid(&resolver.zone(name).await.unwrap_err()), "{name}");
        assert!(
            invalid(&resolver.text_at(&server, name).await.unwrap_err()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn who_keeps_no_answers_sees_at_once_what_has_come_and_gone() {
    let knot = Knot::start(&[Zone::new("example.com").record("a 30 TXT first")]);
    let settings = ResolverSettings {
        server: Some(knot.address().to_string()),
        keeps_answers: false,
        ..ResolverSettings::default()
    };
    let resolver = SystemResolver::new(&settings).unwrap();
    let (there, missing) = ("a.example.com", "b.c.example.com");
    assert_eq!(resolver.text(there).await.unwrap(), ["first"]);
    assert!(resolver.text(missing).await.unwrap_or_default().is_empty());
    knot.remove("example.com", "a.example.com. TXT");
    knot.add("example.com", "a.example.com. 30 TXT second");
    knot.add("example.com", "b.c.example.com. 30 TXT third");
    assert_eq!(resolver.text(there).await.unwrap(), ["second"]);
    assert_eq!(resolver.text(missing).await.unwrap(), ["third"]);
}
