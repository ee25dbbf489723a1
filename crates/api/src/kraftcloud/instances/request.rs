//! Instances as clients ask for them.

use lifecycle::{NewInstanceRequest, ServiceChoice};

use crate::kraftcloud::body::Members as _;
use crate::kraftcloud::faults::{Code, Refusal};
use crate::kraftcloud::fields::{Fields, missing_member};
use crate::kraftcloud::services::{service, service_of_instance};

/// Reads the instance that a POST asks for.
pub(super) fn new_instance(mut fields: Fields) -> Result<NewInstanceRequest, Refusal> {
    Ok(NewInstanceRequest {
        name: fields.take_text("name")?,
        image: image(&mut fields)?,
        memory_mb: fields.take("memory_mb")?,
        args: fields.take("args")?.unwrap_or_default(),
        env: fields.take("env")?.unwrap_or_default(),
        address: address(&mut fields)?,
        service: fields.take("service_group")?.map(choice).transpose()?,
    })
}

/// A name, or an object that says how to fetch what has that name.
fn image(fields: &mut Fields) -> Result<String, Refusal> {
    let missing = || missing_member("image");
    let Some(raw) = fields.take_raw("image") else {
        return Err(missing());
    };
    let image = if raw.get().starts_with('{') {
        let mut image: Fields = crate::json::decode("image", &raw)?.unwrap_or_default();
        image.take_text("url")?
    } else {
        let image: Option<String> = crate::json::decode("image", &raw)?;
        image.filter(|image| !image.is_empty())
    };
    image.ok_or_else(missing)
}

fn address(fields: &mut Fields) -> Result<Option<String>, Refusal> {
    match (
        fields.take_text("private_ip")?,
        fields.take_text("private_fqdn")?,
    ) {
        (Some(_), Some(_)) => Err(Refusal::form(
            Code::NotBoth,
            "say where the instance listens by private_ip or by private_fqdn, not by both",
        )),
        (ip, fqdn) => Ok(ip.or(fqdn)),
    }
}

/// A service that is there, or one that is made for the instance.
fn choice(mut group: Fields) -> Result<ServiceChoice, Refusal> {
    Ok(match group.take_optional_reference()? {
        Some(reference) => ServiceChoice::Existing(service(reference.target())),
        None => ServiceChoice::New(service_of_instance(group)?),
    })
}
