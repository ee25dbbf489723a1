//! `/stacks/{uid}/notifications`: whom the account's webhooks tell of its certificates, alert by
//! alert.

use lifecycle::NoticeKind;
use serde::Serialize;

use super::call::Call;
use super::envelope;
use super::faults::Fault;
use super::stacks;
use crate::exchange::Response;

/// The alerts, with the notices that they stand for.
const ALERTS: [(&str, &[NoticeKind]); 3] = [
    (
        "ssl_certificate.install.ok",
        &[
            NoticeKind::Issued,
            NoticeKind::Renewed,
            NoticeKind::Uploaded,
        ],
    ),
    ("ssl_certificate.install.fail", &[NoticeKind::Failed]),
    ("ssl_certificate.expire.soon", &[NoticeKind::Expiring]),
];

#[derive(Serialize)]
struct Alert<'a> {
    alert_name: &'static str,
    subscriptions: Vec<Subscription<'a>>,
}

#[derive(Serialize)]
struct Subscription<'a> {
    channel: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<&'a str>,
}

pub(super) async fn list(call: Call<'_>, stack: &str) -> Result<Response, Fault> {
    stacks::find(&call, stack).await?;
    let webhooks = call.house().webhooks.own(&call.principal).await?;
    // What is in a receiver's URL is often all that it takes to post there.
    let shows_urls = call.principal.has_scope("admin");
    let alerts = ALERTS.map(|(alert_name, kinds)| Alert {
        alert_name,
        subscriptions: webhooks
            .iter()
            .filter(|webhook| {
                let wanted =
                    |kind: &NoticeKind| webhook.kinds.iter().any(|one| one == kind.as_str());
                webhook.kinds.is_empty() || kinds.iter().any(wanted)
            })
            .map(|webhook| Subscription {
                channel: "webhook",
                webhook_url: shows_urls.then_some(webhook.url.as_str()),
            })
            .collect(),
    });
    let asked = call.page();
    let total = u64::try_from(alerts.len()).unwrap_or(u64::MAX);
    let page = asked.of(&alerts);
    Ok(envelope::list(page, asked, total, call.representation))
}
