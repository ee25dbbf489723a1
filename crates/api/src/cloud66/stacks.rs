//! `/stacks…`: services, in the words of Cloud 66, and what hangs on them that is always empty
//! here.

use lifecycle::{NewServiceRequest, PortRequest, Service, ServiceFilter, ServiceId, ServiceRef};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::Instrument as _;

use super::call::Call;
use super::envelope;
use super::faults::Fault;
use crate::exchange::Response;
use crate::notation::timestamp;

/// Status of a stack that is deployed.
const DEPLOYED: u8 = 1;
/// Health of a stack that nothing is known to be wrong with.
const HEALTHY: u8 = 3;

/// Where the instances of a stack listen that was made here.
const HTTP: u16 = 80;

/// How stacks show times; the twins in RFC 3339 are beside them.
const WITH_BLANKS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");

#[derive(Serialize)]
struct Stack<'a> {
    uid: String,
    name: &'a str,
    environment: &'a str,
    git: &'static str,
    git_branch: &'static str,
    framework: &'static str,
    language: &'static str,
    status: u8,
    health: u8,
    created_at: String,
    updated_at: String,
    last_activity: String,
    created_at_iso: String,
    updated_at_iso: String,
    last_activity_iso: String,
    namespaces: [&'static str; 0],
}

impl<'a> Stack<'a> {
    fn of(service: &'a Service) -> Self {
        let (text, iso) = (
            with_blanks(service.created_at),
            timestamp(service.created_at),
        );
        Self {
            uid: service.id.as_uuid().simple().to_string(),
            name: &service.name,
            environment: &service.environment,
            git: "",
            git_branch: "",
            framework: "",
            language: "",
            status: DEPLOYED,
            health: HEALTHY,
            created_at: text.clone(),
            updated_at: text.clone(),
            last_activity: text,
            created_at_iso: iso.clone(),
            updated_at_iso: iso.clone(),
            last_activity_iso: iso,
            namespaces: [],
        }
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let asked = call.page();
    let filled = |name| call.parameter(name).filter(|value| !value.is_empty());
    let filter = ServiceFilter {
        name: filled("filter_name"),
        environment: filled("filter_environment"),
    };
    let services = &call.house().services;
    let stretch = services.stretch(&call.principal, &filter, asked.skipped(), asked.limit());
    let (found, total) = stretch.await?;
    let stacks: Vec<_> = found.iter().map(Stack::of).collect();
    Ok(envelope::list(&stacks, asked, total, call.representation))
}

pub(super) async fn show(call: Call<'_>, stack: &str) -> Result<Response, Fault> {
    let service = find(&call, stack).await?;
    Ok(envelope::single(&Stack::of(&service)))
}

pub(super) async fn create(mut call: Call<'_>) -> Result<Response, Fault> {
    let mut fields = call.fields("stack").await?;
    let name = fields.filled("name")?;
    let name = name.ok_or_else(|| Fault::invalid("name", "a stack needs a name"))?;
    let environment = fields.filled("environment")?;
    let request = NewServiceRequest {
        name: Some(name.to_string()),
        environment: environment.map(|environment| environment.to_string()),
        ports: PortRequest::web(HTTP),
        is_persistent: true,
        ..NewServiceRequest::default()
    };
    let made = call
        .house()
        .services
        .create(&call.principal, request)
        .await?;
    Ok(envelope::single(&Stack::of(&made.service)))
}

pub(super) async fn delete(call: Call<'_>, stack: &str) -> Result<Response, Fault> {
    let id = stack_id(stack)?;
    let (house, caller) = (call.house().clone(), call.principal.clone());
    // Even if the caller goes away, so that no certificate is left behind.
    let removing = async move { house.installations.remove_service(&caller, id).await };
    let deleted = tokio::spawn(removing.in_current_span())
        .await
        .map_err(Fault::BrokenOff)??;
    Ok(envelope::single(&Stack::of(&deleted)))
}

/// A list of what stacks do not have here.
pub(super) async fn nothing(call: Call<'_>, stack: &str) -> Result<Response, Fault> {
    find(&call, stack).await?;
    let none: [(); 0] = [];
    Ok(envelope::list(&none, call.page(), 0, call.representation))
}

/// The stack that a path names.
pub(super) fn stack_id(segment: &str) -> Result<ServiceId, Fault> {
    let id = segment.parse();
    id.map_err(|_| Fault::NotFound("there is no such stack".to_owned()))
}

pub(super) async fn find(call: &Call<'_>, stack: &str) -> Result<Service, Fault> {
    let reference = ServiceRef::Id(stack_id(stack)?);
    Ok(call
        .house()
        .services
        .find(&call.principal, &reference)
        .await?)
}

fn with_blanks(moment: OffsetDateTime) -> String {
    // Only years beyond 9999 cannot be written.
    moment.format(WITH_BLANKS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    #[test]
    fn times_have_blanks_and_a_zone() {
        let moment = datetime!(2026-03-01 02:03:04.5 UTC);
        assert_eq!(super::with_blanks(moment), "2026-03-01 02:03:04 UTC");
    }
}
