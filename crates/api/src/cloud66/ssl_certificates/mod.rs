//! `/stacks/{stack}/ssl_certificates…`: certificates on stacks.

mod object;
mod request;

use lifecycle::{CertificateId, InstallationView, Principal};
use tracing::Instrument as _;

use super::call::Call;
use super::envelope;
use super::faults::Fault;
use super::stacks::stack_id;
use crate::exchange::Response;
use object::Certificate;

pub(super) async fn list(call: Call<'_>, stack: &str) -> Result<Response, Fault> {
    let asked = call.page();
    let installations = &call.house().installations;
    let (stack, skipped) = (stack_id(stack)?, asked.skipped());
    let listed = installations.list(&call.principal, stack, skipped, asked.limit());
    let (found, total) = listed.await?;
    let shown = found.iter().map(|view| Certificate::of(&call, view));
    let shown: Vec<_> = shown.collect();
    let answer = envelope::list(&shown, asked, total, call.representation);
    let warning = found.iter().find_map(|view| view.warning.as_deref());
    Ok(warned(answer, warning))
}

pub(super) async fn show(call: Call<'_>, stack: &str, id: &str) -> Result<Response, Fault> {
    let installations = &call.house().installations;
    let (stack, id) = (stack_id(stack)?, certificate_id(id)?);
    let view = installations.find(&call.principal, stack, id).await?;
    Ok(answer(&call, &view))
}

pub(super) async fn create(mut call: Call<'_>, stack: &str) -> Result<Response, Fault> {
    let stack = stack_id(stack)?;
    let request = request::read(&mut call).await?;
    let (house, caller) = owned(&call);
    let making = async move { house.installations.create(&caller, stack, request).await };
    let view = to_its_end(making).await?;
    Ok(answer(&call, &view))
}

pub(super) async fn change(mut call: Call<'_>, stack: &str, id: &str) -> Result<Response, Fault> {
    let (stack, id) = (stack_id(stack)?, certificate_id(id)?);
    let request = request::read(&mut call).await?;
    let (house, caller) = owned(&call);
    let changing = async move {
        house
            .installations
            .change(&caller, stack, id, request)
            .await
    };
    let view = to_its_end(changing).await?;
    Ok(answer(&call, &view))
}

pub(super) async fn delete(call: Call<'_>, stack: &str, id: &str) -> Result<Response, Fault> {
    let (stack, id) = (stack_id(stack)?, certificate_id(id)?);
    let (house, caller) = owned(&call);
    let removing = async move { house.installations.remove(&caller, stack, id).await };
    let view = to_its_end(removing).await?;
    Ok(answer(&call, &view))
}

/// Carries something out even if the caller goes away, so that nothing is left half done.
async fn to_its_end(
    work: impl Future<Output = Result<InstallationView, lifecycle::Error>> + Send + 'static,
) -> Result<InstallationView, Fault> {
    let done = tokio::spawn(work.in_current_span()).await;
    Ok(done.map_err(Fault::BrokenOff)??)
}

fn owned(call: &Call<'_>) -> (lifecycle::House, Principal) {
    (call.house().clone(), call.principal.clone())
}

fn answer(call: &Call<'_>, view: &InstallationView) -> Response {
    let answer = envelope::single(&Certificate::of(call, view));
    warned(answer, view.warning.as_deref())
}

fn warned(answer: Response, warning: Option<&str>) -> Response {
    match warning {
        Some(warning) => envelope::with_warning(answer, warning),
        None => answer,
    }
}

/// The certificate that a path names: `ssl-` and 32 digits, the digits alone, or a UUID.
fn certificate_id(segment: &str) -> Result<CertificateId, Fault> {
    let digits = segment.strip_prefix("ssl-").unwrap_or(segment);
    let id = digits.parse();
    id.map_err(|_| Fault::NotFound("there is no such SSL certificate".to_owned()))
}
