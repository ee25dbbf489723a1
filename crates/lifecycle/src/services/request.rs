//! What callers ask of services, and the form that it must have. Checking a form touches no stored
//! object.

use std::time::Duration;

use pki::DnsName;
use store::{DEFAULT_ENVIRONMENT, PublishedPort};

use super::domains::{self, DomainRequest, Wanted};
use super::ports::{self, PortRequest};
use crate::Error;
use crate::certificates::check_name;

/// The soft limit of a service when nobody says otherwise.
const DEFAULT_SOFT_LIMIT: u32 = 1;
/// The highest limit, and the hard limit of a service when nobody says otherwise.
const MAX_LIMIT: u32 = 65_535;
/// Longest environment, in characters.
const MAX_ENVIRONMENT: usize = 64;
/// The longest time until an idle service may be stopped: a hundred years.
const MAX_AUTOKILL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A service to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewServiceRequest {
    /// Its name in the account; chosen if `None`.
    pub name: Option<String>,
    /// What it publishes.
    pub ports: Vec<PortRequest>,
    /// What it is reached under; a new subdomain of the metro domain if there is none.
    pub domains: Vec<DomainRequest>,
    /// Concurrent requests that an instance takes before another one is preferred: 1–65535.
    pub soft_limit: Option<i64>,
    /// Concurrent requests that an instance takes at most: 1–65535.
    pub hard_limit: Option<i64>,
    /// After how long without requests its instances may be stopped; kept for whoever runs them.
    pub autokill: Option<Duration>,
    /// Whether it stays when its last instance goes.
    pub is_persistent: bool,
    /// Which of several alike it is, for people; `production` if `None`.
    pub environment: Option<String>,
}

/// A change of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceChange {
    /// After how long without requests its instances may be stopped.
    Autokill(Option<Duration>),
    /// Its domains; those to delete are given by name.
    Domains(Edit<DomainRequest, String>),
    /// Its hard limit; the usual one if `None`.
    HardLimit(Option<i64>),
    /// Its published ports; those to delete are given by number.
    Ports(Edit<PortRequest, i64>),
    /// Its soft limit; the usual one if `None`.
    SoftLimit(Option<i64>),
}

/// How a list is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit<T, K> {
    /// These are added at the end.
    Add(Vec<T>),
    /// These are taken out.
    Delete(Vec<K>),
    /// The list consists of these from now on.
    Set(Vec<T>),
}

/// A [`NewServiceRequest`] whose form is right.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(super) name: Option<String>,
    pub(super) ports: Vec<PublishedPort>,
    pub(super) domains: Vec<Wanted>,
    pub(super) soft_limit: u32,
    pub(super) hard_limit: u32,
    pub(super) autokill: Option<Duration>,
    pub(crate) is_persistent: bool,
    pub(super) environment: String,
}

/// A [`ServiceChange`] whose form is right.
#[derive(Debug, Clone)]
pub(super) enum PlannedChange {
    Autokill(Option<Duration>),
    Domains(Edit<Wanted, String>),
    HardLimit(u32),
    Ports(Edit<PublishedPort, u16>),
    SoftLimit(u32),
}

impl NewServiceRequest {
    pub(crate) fn plan(&self, metro: &DnsName) -> Result<Plan, Error> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        let soft_limit = limit("soft_limit", self.soft_limit, DEFAULT_SOFT_LIMIT)?;
        let hard_limit = limit("hard_limit", self.hard_limit, MAX_LIMIT)?;
        if soft_limit > hard_limit {
            return Err(Error::invalid(
                "soft_limit",
                format!("the soft limit {soft_limit} is above the hard limit {hard_limit}"),
            ));
        }
        Ok(Plan {
            name: self.name.clone(),
            ports: ports::publish(&self.ports)?,
            domains: domains::read(&self.domains, metro)?,
            soft_limit,
            hard_limit,
            autokill: autokill(self.autokill)?,
            is_persistent: self.is_persistent,
            environment: environment(self.environment.as_deref())?,
        })
    }
}

impl ServiceChange {
    pub(super) fn plan(&self, metro: &DnsName) -> Result<PlannedChange, Error> {
        Ok(match self {
            Self::Autokill(time) => PlannedChange::Autokill(autokill(*time)?),
            Self::Domains(edit) => PlannedChange::Domains(match edit {
                Edit::Add(requests) => Edit::Add(domains::read(requests, metro)?),
                Edit::Delete(names) => Edit::Delete(domains::stored_names(names, metro)?),
                Edit::Set(requests) => Edit::Set(domains::read(requests, metro)?),
            }),
            Self::HardLimit(number) => {
                PlannedChange::HardLimit(limit("hard_limit", *number, MAX_LIMIT)?)
            }
            Self::Ports(edit) => PlannedChange::Ports(match edit {
                Edit::Add(requests) => Edit::Add(ports::publish(requests)?),
                Edit::Delete(numbers) => Edit::Delete(ports::numbers(numbers)?),
                Edit::Set(requests) => Edit::Set(ports::publish(requests)?),
            }),
            Self::SoftLimit(number) => {
                PlannedChange::SoftLimit(limit("soft_limit", *number, DEFAULT_SOFT_LIMIT)?)
            }
        })
    }
}

fn environment(asked: Option<&str>) -> Result<String, Error> {
    let environment = asked.unwrap_or(DEFAULT_ENVIRONMENT);
    if environment.chars().count() > MAX_ENVIRONMENT {
        return Err(Error::TooLong {
            field: "environment",
            limit: MAX_ENVIRONMENT,
        });
    }
    if environment.trim().is_empty() || environment.chars().any(char::is_control) {
        return Err(Error::invalid(
            "environment",
            "an environment is a word such as production",
        ));
    }
    Ok(environment.to_owned())
}

fn limit(field: &'static str, asked: Option<i64>, default: u32) -> Result<u32, Error> {
    let Some(asked) = asked else {
        return Ok(default);
    };
    match u32::try_from(asked) {
        Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
        _ => Err(Error::invalid(
            field,
            format!("{asked} is not a limit; limits are 1 to {MAX_LIMIT}"),
        )),
    }
}

fn autokill(time: Option<Duration>) -> Result<Option<Duration>, Error> {
    match time {
        Some(time) if time > MAX_AUTOKILL => Err(Error::invalid(
            "autokill",
            "the time is longer than 100 years",
        )),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use store::Protocol;

    use super::*;

    fn metro() -> DnsName {
        DnsName::parse("metro.internal").unwrap()
    }

    fn limits(soft_limit: Option<i64>, hard_limit: Option<i64>) -> Option<(u32, u32)> {
        let request = NewServiceRequest {
            soft_limit,
            hard_limit,
            ..NewServiceRequest::default()
        };
        let plan = request.plan(&metro()).ok()?;
        Some((plan.soft_limit, plan.hard_limit))
    }

    #[test]
    fn limits_have_defaults_and_the_soft_one_is_not_above_the_hard_one() {
        for (soft, hard, expected) in [
            (None, None, Some((1, 65_535))),
            (Some(5), None, Some((5, 65_535))),
            (None, Some(1), Some((1, 1))),
            (Some(7), Some(7), Some((7, 7))),
            (Some(65_535), Some(65_535), Some((65_535, 65_535))),
            (Some(8), Some(7), None),
            (Some(0), None, None),
            (None, Some(0), None),
            (Some(-1), None, None),
            (Some(65_536), Some(65_536), None),
            (Some(i64::MAX), None, None),
        ] {
            assert_eq!(limits(soft, hard), expected, "{soft:?} {hard:?}");
        }
    }

    #[test]
    fn names_follow_the_rule_of_all_names() {
        for (name, is_good) in [
            ("shop", true),
            ("Über uns", true),
            ("", false),
            ("list", false),
            ("a/b", false),
            ("0190163d-8694-739b-aea5-966c26f8ad91", false),
        ] {
            let request = NewServiceRequest {
                name: Some(name.to_owned()),
                ..NewServiceRequest::default()
            };
            assert_eq!(request.plan(&metro()).is_ok(), is_good, "{name:?}");
        }
    }

    #[test]
    fn the_form_of_a_change_is_checked_without_any_stored_object() {
        let port = PortRequest {
            port: 0,
            destination_port: None,
            handlers: None,
            protocol: Protocol::Tcp,
        };
        let domain = DomainRequest {
            name: "a.b".to_owned(),
            certificate: None,
        };
        for bad in [
            ServiceChange::Ports(Edit::Add(vec![port])),
            ServiceChange::Ports(Edit::Set(vec![port])),
            ServiceChange::Ports(Edit::Delete(vec![0])),
            ServiceChange::Domains(Edit::Add(vec![domain.clone()])),
            ServiceChange::Domains(Edit::Set(vec![domain])),
            ServiceChange::SoftLimit(Some(0)),
            ServiceChange::HardLimit(Some(65_536)),
            ServiceChange::Autokill(Some(Duration::MAX)),
        ] {
            let refused = bad.plan(&metro());
            assert!(refused.is_err_and(|error| error.is_form_fault()), "{bad:?}");
        }
        for good in [
            ServiceChange::Ports(Edit::Set(Vec::new())),
            ServiceChange::Ports(Edit::Delete(vec![443])),
            ServiceChange::Domains(Edit::Delete(vec!["example.com".to_owned()])),
            ServiceChange::SoftLimit(None),
            ServiceChange::HardLimit(None),
            ServiceChange::Autokill(None),
        ] {
            assert!(good.plan(&metro()).is_ok(), "{good:?}");
        }
    }
}
