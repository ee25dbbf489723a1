//! Services as clients ask for them: the objects in bodies under `/v1/services`, and the ones in
//! bodies that make an instance.

use std::time::Duration;

use lifecycle::{
    CertificateRef, DomainRequest, Edit, Handlers, NewServiceRequest, PortRequest, Protocol,
    ServiceChange,
};
use serde_json::value::RawValue;

use crate::json::{Value, decode};
use crate::kraftcloud::body::Members as _;
use crate::kraftcloud::certificates::certificate;
use crate::kraftcloud::faults::{Code, Refusal};
use crate::kraftcloud::fields::{Fields, missing_member};

/// What a PATCH does to one service.
pub(super) struct Operation {
    /// Whatever the client marked it with.
    pub(super) id: Option<Box<RawValue>>,
    pub(super) change: ServiceChange,
}

/// Reads the service that a POST asks for.
pub(super) fn new_service(mut fields: Fields) -> Result<NewServiceRequest, Refusal> {
    let services = fields.require("services")?;
    let name = fields.take_text("name")?;
    let request = NewServiceRequest {
        ports: ports(services)?,
        name,
        is_persistent: true,
        ..group(&mut fields)?
    };
    Ok(request)
}

/// Reads the service that is made for an instance, which may be without ports.
pub(in crate::kraftcloud) fn service_of_instance(
    mut fields: Fields,
) -> Result<NewServiceRequest, Refusal> {
    let services: Option<Vec<Fields>> = fields.take("services")?;
    Ok(NewServiceRequest {
        ports: ports(services.unwrap_or_default())?,
        ..group(&mut fields)?
    })
}

/// Reads what both have.
fn group(fields: &mut Fields) -> Result<NewServiceRequest, Refusal> {
    let named: Option<Vec<Fields>> = fields.take("domains")?;
    let mut domains = domains(named.unwrap_or_default())?;
    // The oldest clients know one domain, which is a name.
    if let Some(name) = fields.take_text("dns_name")? {
        let certificate = None;
        domains.push(DomainRequest { name, certificate });
    }
    Ok(NewServiceRequest {
        domains,
        soft_limit: fields.take("soft_limit")?,
        hard_limit: fields.take("hard_limit")?,
        autokill: autokill(fields.take("autokill")?)?,
        ..NewServiceRequest::default()
    })
}

impl Operation {
    /// Reads an operation; the service that it is about was taken out before.
    pub(super) fn read(mut fields: Fields) -> Result<Self, Refusal> {
        let property = fields.take_text("prop")?;
        let property = property.ok_or_else(|| missing_member("prop"))?;
        let operation = fields.take_text("op")?;
        let operation = operation.ok_or_else(|| missing_member("op"))?;
        let operation = match operation.as_str() {
            "set" => Action::Set,
            "add" => Action::Add,
            "del" => Action::Delete,
            _ => return Err(unknown("op", "set, add or del")),
        };
        let value = fields.take_raw("value");
        let value = value.as_deref();
        let change = match property.as_str() {
            "services" => ServiceChange::Ports(edit(operation, value, ports, port_number)?),
            "domains" => ServiceChange::Domains(edit(operation, value, domains, domain_name)?),
            "soft_limit" => ServiceChange::SoftLimit(scalar(operation, value)?),
            "hard_limit" => ServiceChange::HardLimit(scalar(operation, value)?),
            "autokill" => ServiceChange::Autokill(autokill(scalar(operation, value)?)?),
            _ => {
                let known = "services, domains, soft_limit, hard_limit or autokill";
                return Err(unknown("prop", known));
            }
        };
        Ok(Self {
            id: fields.take_raw("id"),
            change,
        })
    }
}

/// What an operation does to a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Add,
    Delete,
    Set,
}

/// The edit of a list. Its elements may come alone or in an array.
fn edit<T, K>(
    action: Action,
    value: Option<&RawValue>,
    read: fn(Vec<Fields>) -> Result<Vec<T>, Refusal>,
    read_key: fn(&RawValue) -> Result<K, Refusal>,
) -> Result<Edit<T, K>, Refusal> {
    let elements = match (value, action) {
        (Some(value), _) => elements(value)?,
        (None, Action::Set) => Vec::new(),
        (None, _) => return Err(missing_member("value")),
    };
    if action == Action::Delete {
        let keys = elements.iter().map(|element| read_key(element));
        return Ok(Edit::Delete(keys.collect::<Result<_, _>>()?));
    }
    let objects = elements.iter().map(|element| value_of(element));
    let read = read(objects.collect::<Result<_, _>>()?)?;
    Ok(match action {
        Action::Set => Edit::Set(read),
        _ => Edit::Add(read),
    })
}

/// The new value of a property that is no list; `None` clears it.
fn scalar<T: Value>(action: Action, value: Option<&RawValue>) -> Result<Option<T>, Refusal> {
    if action != Action::Set {
        let message = "this prop is no list: its only op is set";
        return Err(Refusal::form(Code::Invalid, message));
    }
    value.map(value_of).transpose()
}

fn elements(value: &RawValue) -> Result<Vec<&RawValue>, Refusal> {
    if !value.get().starts_with('[') {
        return Ok(vec![value]);
    }
    serde_json::from_str(value.get())
        .map_err(|_| Refusal::form(Code::Malformed, "member 'value' is no array"))
}

fn value_of<T: Value>(raw: &RawValue) -> Result<T, Refusal> {
    decode("value", raw)?.ok_or_else(|| missing_member("value"))
}

/// The domain that a `del` names: by its name, or as an object.
fn domain_name(raw: &RawValue) -> Result<String, Refusal> {
    if raw.get().starts_with('"') {
        return value_of(raw);
    }
    value_of::<Fields>(raw)?.require("name")
}

/// The port that a `del` names: by its number, or as an object.
fn port_number(raw: &RawValue) -> Result<i64, Refusal> {
    if raw.get().starts_with('{') {
        return value_of::<Fields>(raw)?.require("port");
    }
    value_of(raw)
}

fn ports(objects: Vec<Fields>) -> Result<Vec<PortRequest>, Refusal> {
    objects.into_iter().map(port).collect()
}

fn port(mut fields: Fields) -> Result<PortRequest, Refusal> {
    let handlers: Option<Vec<String>> = fields.take("handlers")?;
    Ok(PortRequest {
        port: fields.require("port")?,
        destination_port: fields.take("destination_port")?,
        handlers: handlers.map(handlers_named).transpose()?,
        protocol: match fields.take_text("protocol")?.as_deref() {
            None | Some("tcp") => Protocol::Tcp,
            Some("udp") => Protocol::Udp,
            Some(_) => {
                let message = "member 'protocol' must be tcp or udp";
                return Err(Refusal::form(Code::Invalid, message));
            }
        },
    })
}

fn handlers_named(names: Vec<String>) -> Result<Handlers, Refusal> {
    let mut handlers = Handlers::default();
    for name in names {
        match name.as_str() {
            "tls" => handlers.tls = true,
            "http" => handlers.http = true,
            "redirect" => handlers.redirect = true,
            _ => {
                let message = "the handlers are tls, http and redirect";
                return Err(Refusal::form(Code::Invalid, message));
            }
        }
    }
    Ok(handlers)
}

fn domains(objects: Vec<Fields>) -> Result<Vec<DomainRequest>, Refusal> {
    objects.into_iter().map(domain).collect()
}

fn domain(mut fields: Fields) -> Result<DomainRequest, Refusal> {
    let name = fields.take_text("name")?;
    Ok(DomainRequest {
        name: name.ok_or_else(|| missing_member("name"))?,
        certificate: match fields.take("certificate")? {
            Some(reference) => certificate_named(reference)?,
            None => None,
        },
    })
}

/// The certificate of a domain. Some clients send both halves of a reference, one or both empty.
fn certificate_named(mut reference: Fields) -> Result<Option<CertificateRef>, Refusal> {
    let reference = reference.take_optional_reference()?;
    Ok(reference.map(|reference| certificate(reference.target())))
}

/// How long an idle service stays; 0 means for ever.
fn autokill(fields: Option<Fields>) -> Result<Option<Duration>, Refusal> {
    let Some(mut fields) = fields else {
        return Ok(None);
    };
    let time: Option<i64> = fields.take("time_ms")?;
    let time = time.unwrap_or_default();
    let milliseconds = u64::try_from(time).map_err(|_| {
        let message = "autokill: time_ms is a number of milliseconds";
        Refusal::form(Code::Invalid, message)
    })?;
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}

fn unknown(member: &str, known: &str) -> Refusal {
    let message = format!("member '{member}' must be {known}");
    Refusal::form(Code::Malformed, message)
}
