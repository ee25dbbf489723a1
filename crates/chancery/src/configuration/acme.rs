//! The key `resolver` and the section `[acme]`: how certificates of ACME directories are obtained.

use lifecycle::{AcmeSettings, ChallengeKind, EgressPolicy, Probe};

use egress::ResolverSettings;

use super::file::Section;

/// The challenges that can be met.
const CHALLENGES: [ChallengeKind; 5] = [
    ChallengeKind::Dns01,
    ChallengeKind::DnsAccount01,
    ChallengeKind::DnsPersist01,
    ChallengeKind::Http01,
    ChallengeKind::TlsAlpn01,
];

/// Settings of everything that ACME needs of this machine and of its network.
#[derive(Debug)]
pub(crate) struct Acme {
    /// How control over names is proven.
    pub(crate) settings: AcmeSettings,
    /// Who is asked about names.
    pub(crate) resolver: ResolverSettings,
}

impl Acme {
    pub(super) fn read(file: &mut Section) -> Self {
        let server = file.text("resolver");
        let mut section = file.section("acme");
        let defaults = AcmeSettings::default();
        let settings = AcmeSettings {
            http_port: port("http_port", &mut section).unwrap_or(defaults.http_port),
            tls_port: port("tls_port", &mut section).unwrap_or(defaults.tls_port),
            challenges: challenges(&mut section).unwrap_or(defaults.challenges),
            probe: probe(&mut section).unwrap_or(defaults.probe),
        };
        let usual = ResolverSettings::default();
        let resolver = ResolverSettings {
            server,
            nameserver_port: port("nameserver_port", &mut section).unwrap_or(usual.nameserver_port),
            nameservers: match settings.probe {
                // Whoever looks for its edge on this machine has its name servers there, too.
                Probe::Any => EgressPolicy::BACKENDS,
                Probe::Public | Probe::Off => usual.nameservers,
            },
            keeps_answers: true,
        };
        file.absorb(section);
        Self { settings, resolver }
    }
}

fn port(key: &str, section: &mut Section) -> Option<u16> {
    let number = section.number(key)?;
    let port = u16::try_from(number).ok().filter(|port| *port != 0);
    if port.is_none() {
        section.fault(key, format!("{number} is not a port"));
    }
    port
}

/// The kinds of challenges, the most liked first.
fn challenges(section: &mut Section) -> Option<Vec<ChallengeKind>> {
    let names = section.texts("challenges")?;
    let mut kinds = Vec::new();
    for name in &names {
        let kind = ChallengeKind::from(name.as_str());
        if !CHALLENGES.contains(&kind) {
            let known = CHALLENGES.each_ref().map(ChallengeKind::as_str).join(", ");
            section.fault("challenges", format!("'{name}' is not one of {known}"));
        } else if kinds.contains(&kind) {
            section.fault("challenges", format!("'{name}' is named twice"));
        } else {
            kinds.push(kind);
        }
    }
    if names.is_empty() {
        section.fault("challenges", "names no challenge; leave it out for all");
    }
    Some(kinds)
}

fn probe(section: &mut Section) -> Option<Probe> {
    match section.text("probe")?.as_str() {
        "public" => Some(Probe::Public),
        "any" => Some(Probe::Any),
        "off" => Some(Probe::Off),
        other => {
            section.fault("probe", format!("'{other}' is not public, any or off"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Acme, Vec<String>) {
        let mut file = Section::new(text.parse().unwrap());
        let acme = Acme::read(&mut file);
        let faults = file.finish();
        (acme, faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_anything_the_usual_ports_and_the_system_s_resolver_count() {
        let (acme, faults) = read("");
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(acme.settings, AcmeSettings::default());
        assert_eq!(acme.resolver, ResolverSettings::default());
    }

    #[test]
    fn every_key_has_its_effect() {
        let (acme, faults) = read(
            r#"
            resolver = "127.0.0.1:8053"
            [acme]
            http_port = 8081
            tls_port = 8444
            challenges = ["http-01", "dns-01"]
            probe = "any"
            nameserver_port = 5353
            "#,
        );
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(acme.settings.http_port, 8081);
        assert_eq!(acme.settings.tls_port, 8444);
        let kinds = [ChallengeKind::Http01, ChallengeKind::Dns01];
        assert_eq!(acme.settings.challenges, kinds);
        assert_eq!(acme.settings.probe, Probe::Any);
        assert_eq!(acme.resolver.server.as_deref(), Some("127.0.0.1:8053"));
        assert_eq!(acme.resolver.nameserver_port, 5353);
        assert!(acme.resolver.nameservers.loopback);
    }

    #[test]
    fn every_fault_names_its_key() {
        let (_, faults) = read(
            r#"
            resolver = 53
            [acme]
            http_port = 0
            tls_port = 65536
            challenges = ["http-01", "http-01", "tls-sni-01"]
            probe = "yes"
            nameserver_port = -1
            hello = 1
            "#,
        );
        for (key, count) in [
            ("resolver:", 1),
            ("acme.http_port:", 1),
            ("acme.tls_port:", 1),
            ("acme.challenges:", 2),
            ("acme.probe:", 1),
            ("acme.nameserver_port:", 1),
            ("acme.hello:", 1),
        ] {
            let found = faults.iter().filter(|fault| fault.starts_with(key)).count();
            assert_eq!(found, count, "{key} in {faults:?}");
        }
        let (_, faults) = read("[acme]\nchallenges = []");
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
