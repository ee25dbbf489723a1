//! What callers ask of instances, and the form that it must have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pki::DnsName;
use store::ServiceRef;

use crate::certificates::check_name;
use crate::services::Plan;
use crate::{EgressPolicy, Error, NewServiceRequest, Surroundings};

/// Longest name of an image, in characters.
const MAX_IMAGE: usize = 1024;
/// Most memory of an instance, in MiB: a pebibyte.
const MAX_MEMORY: i64 = 1 << 30;
/// Most arguments, or variables, of an instance.
const MAX_ENTRIES: usize = 1_000;
/// Most octets of arguments and variables together.
const MAX_ARGUMENTS: usize = 64 * 1024;
/// Longest name that is drawn, in characters.
const MAX_NAME: usize = 255;
/// Length of the random end of a drawn name.
const SUFFIX: usize = 5;

/// An instance to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewInstanceRequest {
    /// Its name in the account; chosen after the image if `None`.
    pub name: Option<String>,
    /// What it runs, for whoever runs it.
    pub image: String,
    /// Its memory in MiB, for whoever runs it.
    pub memory_mb: Option<i64>,
    /// Its arguments, for whoever runs it.
    pub args: Vec<String>,
    /// Its environment, for whoever runs it.
    pub env: BTreeMap<String, String>,
    /// Where its workload listens: an IP address or a host name, without a port. Nothing is
    /// forwarded to an instance without one.
    pub address: Option<String>,
    /// The service that it works for.
    pub service: Option<ServiceChoice>,
}

/// The service of a new instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceChoice {
    /// One that is there.
    Existing(ServiceRef),
    /// One that comes, and goes, with its instances.
    New(NewServiceRequest),
}

/// A [`NewInstanceRequest`] whose form is right.
#[derive(Debug)]
pub(super) struct InstancePlan {
    pub(super) name: Option<String>,
    pub(super) stem: String,
    pub(super) image: String,
    pub(super) memory_mb: Option<u32>,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) address: Option<String>,
    pub(super) service: Option<PlannedService>,
}

#[derive(Debug)]
pub(super) enum PlannedService {
    Existing(ServiceRef),
    New(Box<Plan>),
}

impl NewInstanceRequest {
    pub(super) fn plan(self, metro: &DnsName) -> Result<InstancePlan, Error> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        check_image(&self.image)?;
        check_arguments(&self.args, &self.env)?;
        let service = match self.service {
            None => None,
            Some(ServiceChoice::Existing(reference)) => Some(PlannedService::Existing(reference)),
            Some(ServiceChoice::New(request)) => {
                let request = NewServiceRequest {
                    is_persistent: false,
                    ..request
                };
                Some(PlannedService::New(Box::new(request.plan(metro)?)))
            }
        };
        Ok(InstancePlan {
            name: self.name,
            stem: stem_of(&self.image),
            image: self.image,
            memory_mb: self.memory_mb.map(memory).transpose()?,
            args: self.args,
            env: self.env,
            address: self.address.as_deref().map(address).transpose()?,
            service,
        })
    }
}

impl InstancePlan {
    /// The name that was given, or `<stem>-<5 random letters or digits>`.
    pub(super) fn name(&self, surroundings: &Surroundings) -> String {
        match &self.name {
            Some(name) => name.clone(),
            None => format!("{}-{}", self.stem, surroundings.random_suffix(SUFFIX)),
        }
    }
}

/// Refuses an address that the policy forbids as it stands. A host name is looked up, and judged,
/// when it is connected to.
pub(super) fn check_address(address: &str, policy: EgressPolicy) -> Result<(), Error> {
    let verdict = match address.parse::<IpAddr>() {
        Ok(address) => policy.check(address),
        // RFC 6761 section 6.3.
        Err(_) if address == "localhost" || address.ends_with(".localhost") => {
            policy.check(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
        }
        Err(_) => Ok(()),
    };
    verdict.map_err(|reason| Error::BackendForbidden {
        address: address.to_owned(),
        reason,
    })
}

/// An IP address in its usual form, or a host name in lower case.
pub(super) fn address(text: &str) -> Result<String, Error> {
    let fault = |reason: &str| {
        let shown: String = text.chars().take(80).collect();
        let shown = shown.escape_debug();
        Error::invalid("address", format!("'{shown}': {reason}"))
    };
    let unbracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(address) = unbracketed.parse::<IpAddr>()
        && (unbracketed == text || address.is_ipv6())
    {
        return Ok(address.to_string());
    }
    if text.contains(':') {
        return Err(fault(
            "give an address without a port; ports belong to the service",
        ));
    }
    match DnsName::parse(text) {
        Ok(name) if !name.is_wildcard() && text.trim() == text => Ok(name.to_string()),
        _ => Err(fault("it is neither an IP address nor a host name")),
    }
}

fn check_image(image: &str) -> Result<(), Error> {
    if image.chars().count() > MAX_IMAGE {
        return Err(Error::TooLong {
            field: "image",
            limit: MAX_IMAGE,
        });
    }
    if image.is_empty() || image.chars().any(char::is_control) || image.trim() != image {
        return Err(Error::invalid(
            "image",
            format!("'{}' is not the name of an image", image.escape_debug()),
        ));
    }
    Ok(())
}

fn check_arguments(args: &[String], env: &BTreeMap<String, String>) -> Result<(), Error> {
    if args.len() > MAX_ENTRIES || env.len() > MAX_ENTRIES {
        return Err(Error::invalid(
            "args",
            format!("an instance has at most {MAX_ENTRIES} arguments and as many variables"),
        ));
    }
    let variables = env.iter().map(|(name, value)| name.len() + value.len());
    let octets: usize = args.iter().map(String::len).chain(variables).sum();
    if octets > MAX_ARGUMENTS {
        return Err(Error::TooLong {
            field: "args and env together",
            limit: MAX_ARGUMENTS,
        });
    }
    if env
        .keys()
        .any(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        return Err(Error::invalid(
            "env",
            "a variable's name is not empty and has no '=' and no NUL in it",
        ));
    }
    if args
        .iter()
        .chain(env.values())
        .any(|text| text.contains('\0'))
    {
        return Err(Error::invalid(
            "args",
            "arguments and variables have no NUL in them",
        ));
    }
    Ok(())
}

fn memory(asked: i64) -> Result<u32, Error> {
    match u32::try_from(asked) {
        Ok(memory) if (1..=MAX_MEMORY).contains(&asked) => Ok(memory),
        _ => Err(Error::invalid(
            "memory_mb",
            format!("{asked} is not an amount of memory; give 1 to {MAX_MEMORY} MiB"),
        )),
    }
}

/// The last part of an image's path, without tag and digest.
fn stem_of(image: &str) -> String {
    let path = image.split('@').next().unwrap_or_default();
    let app = path.rsplit('/').find(|part| !part.is_empty());
    let app = app
        .and_then(|app| app.split(':').next())
        .unwrap_or_default();
    let stem: String = app.trim().chars().take(MAX_NAME - SUFFIX - 1).collect();
    if stem.is_empty() {
        "instance".to_owned()
    } else {
        stem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> NewInstanceRequest {
        NewInstanceRequest {
            image: "nginx".to_owned(),
            ..NewInstanceRequest::default()
        }
    }

    fn planned(request: NewInstanceRequest) -> Result<InstancePlan, Error> {
        request.plan(&DnsName::parse("metro.internal").unwrap())
    }

    #[test]
    fn an_address_is_an_ip_address_or_a_host_name_without_a_port() {
        for (given, kept) in [
            ("10.0.0.1", "10.0.0.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("Backend.Internal.", "backend.internal"),
            ("localhost", "localhost"),
            ("web_1", "web_1"),
        ] {
            assert_eq!(address(given).unwrap(), kept);
        }
        for bad in [
            "",
            "10.0.0.1:80",
            "backend:80",
            "[10.0.0.1]",
            "[2001:db8::1]:80",
            "2001:db8::1::",
            "127.1",
            "0x7f.1",
            "2130706433",
            "a b",
            " a",
            "a/b",
            "*.a",
            "http://a",
            "a\0",
            "fe80::1%eth0",
        ] {
            let refused = address(bad).unwrap_err();
            assert!(refused.is_form_fault(), "{bad:?}");
        }
    }

    #[test]
    fn this_machine_by_name_is_this_machine() {
        let tenant = EgressPolicy::BACKENDS.for_account(false);
        let administrator = EgressPolicy::BACKENDS.for_account(true);
        for address in ["localhost", "a.localhost", "127.0.0.1", "::1"] {
            let refused = check_address(address, tenant);
            assert!(
                matches!(refused, Err(Error::BackendForbidden { .. })),
                "{address}"
            );
            assert!(check_address(address, administrator).is_ok(), "{address}");
        }
        assert!(check_address("169.254.169.254", administrator).is_err());
        assert!(check_address("localhost.example.com", tenant).is_ok());
    }

    #[test]
    fn a_drawn_name_begins_with_the_image_without_path_and_tag() {
        for (image, stem) in [
            ("nginx", "nginx"),
            ("nginx:latest", "nginx"),
            ("oci://unikraft.org/nginx:1.25", "nginx"),
            ("registry.example:5000/team/shop", "shop"),
            ("caddy@sha256:0123abcd", "caddy"),
            ("a/caddy:2@sha256:0123abcd", "caddy"),
            ("a/b/", "b"),
            (":latest", "instance"),
            ("/", "instance"),
        ] {
            assert_eq!(stem_of(image), stem, "{image}");
        }
        let long = "é".repeat(1_000);
        let plan = planned(NewInstanceRequest {
            image: long,
            ..request()
        });
        let name = plan.unwrap().name(&Surroundings::default());
        assert!(check_name(&name).is_ok(), "{name}");
    }

    #[test]
    fn what_makes_no_instance_is_refused_as_a_fault_of_form() {
        let long = "x".repeat(65 * 1024);
        let variable =
            |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        for (what, bad) in [
            (
                "no image",
                NewInstanceRequest {
                    image: String::new(),
                    ..request()
                },
            ),
            (
                "image",
                NewInstanceRequest {
                    image: "a\nb".to_owned(),
                    ..request()
                },
            ),
            (
                "long image",
                NewInstanceRequest {
                    image: "x".repeat(1025),
                    ..request()
                },
            ),
            (
                "name",
                NewInstanceRequest {
                    name: Some("list".to_owned()),
                    ..request()
                },
            ),
            (
                "no memory",
                NewInstanceRequest {
                    memory_mb: Some(0),
                    ..request()
                },
            ),
            (
                "memory",
                NewInstanceRequest {
                    memory_mb: Some(-1),
                    ..request()
                },
            ),
            (
                "much memory",
                NewInstanceRequest {
                    memory_mb: Some(1 << 40),
                    ..request()
                },
            ),
            (
                "long",
                NewInstanceRequest {
                    args: vec![long.clone()],
                    ..request()
                },
            ),
            (
                "many",
                NewInstanceRequest {
                    args: vec![String::new(); 1001],
                    ..request()
                },
            ),
            (
                "NUL",
                NewInstanceRequest {
                    args: vec!["\0".to_owned()],
                    ..request()
                },
            ),
            (
                "variable",
                NewInstanceRequest {
                    env: variable("", "a"),
                    ..request()
                },
            ),
            (
                "equals",
                NewInstanceRequest {
                    env: variable("a=b", "c"),
                    ..request()
                },
            ),
            (
                "long value",
                NewInstanceRequest {
                    env: variable("a", &long),
                    ..request()
                },
            ),
            (
                "NUL value",
                NewInstanceRequest {
                    env: variable("a", "\0"),
                    ..request()
                },
            ),
            (
                "address",
                NewInstanceRequest {
                    address: Some("a:80".to_owned()),
                    ..request()
                },
            ),
        ] {
            let refused = planned(bad);
            assert!(refused.is_err_and(|error| error.is_form_fault()), "{what}");
        }
        assert!(planned(request()).is_ok());
    }

    #[test]
    fn a_service_made_with_an_instance_goes_with_it() {
        let service = NewServiceRequest {
            is_persistent: true,
            ..NewServiceRequest::default()
        };
        let plan = planned(NewInstanceRequest {
            service: Some(ServiceChoice::New(service)),
            ..request()
        });
        let Some(PlannedService::New(service)) = plan.unwrap().service else {
            panic!("a new service was asked for");
        };
        assert!(!service.is_persistent);
    }
}
