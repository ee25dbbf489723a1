//! What is shown of a certificate on its way off a service: it is gone from the inventory, but some
//! target still has its files.

use serde_json::{Value, json};
use store::{CertificateId, CertificateRemoval, DnsProviderId, ServiceId};
use time::OffsetDateTime;

use super::{InstallationKind, InstallationStatus, InstallationView, Installations};
use crate::{Error, Principal};

impl Installations {
    /// What is on its way off a service, in the order in which it was taken off.
    pub(super) async fn leaving(
        &self,
        principal: &Principal,
        service: ServiceId,
    ) -> Result<Vec<InstallationView>, Error> {
        let removals = self.store.removals(principal.scope(), service).await?;
        let now = self.surroundings.now();
        let views = removals.into_iter().filter_map(|removal| {
            let view = read(removal.certificate_id, &removal.shown, now);
            if view.is_none() {
                let certificate = removal.certificate_id;
                tracing::warn!(%certificate, "what is shown of a removal cannot be read");
            }
            view
        });
        Ok(views.collect())
    }

    /// Keeps what is shown of a certificate that is taken off a service.
    pub(super) async fn say_farewell(
        &self,
        principal: &Principal,
        service: ServiceId,
        view: &InstallationView,
    ) -> Result<(), Error> {
        let removal = CertificateRemoval {
            service_id: service,
            certificate_id: view.id,
            account_id: principal.account_id(),
            shown: written(view),
            removed_at: self.surroundings.now(),
        };
        match self.store.begin_removal(&removal).await {
            // The service is gone, and with it the list that it would be shown in.
            Err(store::Error::NotFound) => Ok(()),
            begun => Ok(begun?),
        }
    }

    /// Forgets what has left its service.
    pub(crate) async fn sweep(&self) -> Result<u64, Error> {
        Ok(self.store.forget_removals().await?)
    }
}

fn written(view: &InstallationView) -> String {
    let InstallationView {
        id: _,
        name,
        kind,
        server_names,
        wildcard,
        dns_provider,
        ssl_termination,
        status: _,
        fingerprint,
        has_intermediates,
        created_at,
        updated_at,
        not_after,
        is_expired: _,
        warning: _,
    } = view;
    json!({
        "name": name,
        "issued": *kind == InstallationKind::Issued,
        "server_names": server_names,
        "wildcard": wildcard,
        "dns_provider": dns_provider.map(|id| id.to_string()),
        "ssl_termination": ssl_termination,
        "fingerprint": fingerprint,
        "has_intermediates": has_intermediates,
        "created_at": created_at.unix_timestamp(),
        "updated_at": updated_at.unix_timestamp(),
        "not_after": not_after.map(OffsetDateTime::unix_timestamp),
    })
    .to_string()
}

fn read(id: CertificateId, text: &str, now: OffsetDateTime) -> Option<InstallationView> {
    let shown: Value = serde_json::from_str(text).ok()?;
    let flag = |key: &str| shown.get(key)?.as_bool();
    let moment = |key: &str| {
        let seconds = shown.get(key)?.as_i64()?;
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    };
    let names = shown.get("server_names")?.as_array()?.iter();
    let names = names.map(|name| name.as_str().map(str::to_owned));
    let fingerprint = shown.get("fingerprint")?.as_array().and_then(|octets| {
        let octets = octets
            .iter()
            .map(|octet| u8::try_from(octet.as_u64()?).ok());
        <[u8; 32]>::try_from(octets.collect::<Option<Vec<u8>>>()?).ok()
    });
    let provider = shown.get("dns_provider")?.as_str();
    let provider: Option<DnsProviderId> = provider.and_then(|text| text.parse().ok());
    let not_after = moment("not_after");
    Some(InstallationView {
        id,
        name: shown.get("name")?.as_str()?.to_owned(),
        kind: if flag("issued")? {
            InstallationKind::Issued
        } else {
            InstallationKind::Uploaded
        },
        server_names: names.collect::<Option<_>>()?,
        wildcard: flag("wildcard")?,
        dns_provider: provider,
        ssl_termination: flag("ssl_termination")?,
        status: InstallationStatus::Removing,
        fingerprint,
        has_intermediates: flag("has_intermediates")?,
        created_at: moment("created_at")?,
        updated_at: moment("updated_at")?,
        not_after,
        is_expired: not_after.is_some_and(|end| end <= now),
        warning: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let id = CertificateId::from_random([1; 16]);
        for (kind, provider, fingerprint, not_after) in [
            (InstallationKind::Issued, None, None, None),
            (
                InstallationKind::Uploaded,
                Some(DnsProviderId::from_random([2; 16])),
                Some([0xfe; 32]),
                Some(start),
            ),
        ] {
            let view = InstallationView {
                id,
                name: "a \"b\" – c".to_owned(),
                kind,
                server_names: vec!["A.example".to_owned(), "*.b.example".to_owned()],
                wildcard: true,
                dns_provider: provider,
                ssl_termination: false,
                status: InstallationStatus::Removing,
                fingerprint,
                has_intermediates: true,
                created_at: start,
                updated_at: start,
                not_after,
                is_expired: not_after.is_some(),
                warning: None,
            };
            let again = read(id, &written(&view), start);
            assert_eq!(format!("{again:?}"), format!("{:?}", Some(view)));
        }
        assert!(read(id, "{}", start).is_none());
        assert!(read(id, "x", start).is_none());
    }
}
