//! A resolver that has zones of its own.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use egress::{Resolver as _, ResolverSettings, SystemResolver};
use testbed::{Knot, Zone};

fn resolver(knot: &Knot) -> SystemResolver {
    let settings = ResolverSettings {
        server: Some(knot.address().to_string()),
        ..ResolverSettings::default()
    };
    SystemResolver::new(&settings).unwrap()
}

#[tokio::test]
async fn a_resolver_that_is_the_authority_of_a_zone_is_asked_where_it_was_named() {
    let zone = Zone::new("example.com").record("a TXT \"one\"");
    let knot = Knot::start(&[zone]);
    let resolver = resolver(&knot);
    let zone = resolver.zone("a.example.com").await.unwrap();
    assert_eq!(zone.apex, "example.com");
    let [nameserver] = &zone.nameservers[..] else {
        panic!("{zone:?}");
    };
    assert_eq!(nameserver.address, knot.address());
    // As it is now, whatever the resolver has kept.
    for expected in ["one", "two"] {
        let texts = resolver.text_at(nameserver, "a.example.com").await;
        assert_eq!(texts.unwrap(), [expected]);
        knot.remove("example.com", "a.example.com. TXT");
        knot.add("example.com", "a.example.com. 1 TXT \"two\"");
    }
}

#[tokio::test]
async fn other_servers_on_this_machine_are_not_asked() {
    let zone = Zone::new("example.com").record("@ NS second");
    let knot = Knot::start(&[zone.record("second A 127.0.0.2")]);
    let zone = resolver(&knot).zone("a.example.com").await.unwrap();
    let places: Vec<_> = zone
        .nameservers
        .iter()
        .map(|server| server.address)
        .collect();
    assert_eq!(places, [knot.address()]);
}
