//! `issue`, `upload`, `ls`, `show`, `revoke`, `rm`.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::{PAGE, all_pages, obtaining, print_json, segment, text};
use crate::arguments::{Issue, Ls, Renew, Revoke, Rm, Show, Upload};
use crate::client::Client;
use crate::output::{table, with_spinner};

pub(super) async fn issue(client: &Client, issue: Issue) -> anyhow::Result<()> {
    let csr = issue.csr.as_deref().map(read_csr).transpose()?;
    let body = json!({
        "names": issue.names,
        "issuer": issue.issuer,
        "csr": csr,
        "days": issue.days,
        "managed": issue.managed.then_some(true),
    });
    let mut issued = with_spinner("issuing", client.post("certificates", &body)).await?;
    if issued.get("serial").is_none() {
        issued = obtaining::wait(client, &issued, &issue.patience).await?;
        return obtained(&issue, &issued);
    }
    if let Some(directory) = &issue.out {
        let written = write_pair(directory, &issue.names, &issued)?;
        if !issue.json {
            println!("{written}");
            println!(
                "{} is valid until {}",
                text(&issued, "name"),
                text(&issued, "not_after")
            );
        }
    }
    if issue.json {
        return print_json(&issued);
    }
    if issue.out.is_none() {
        print!("{}", pem(&issued, "chain"));
        print!("{}", pem(&issued, "private_key"));
    }
    Ok(())
}

/// Shows a certificate that the server has obtained, or has been asked for.
fn obtained(issue: &Issue, certificate: &Value) -> anyhow::Result<()> {
    let has_chain = !pem(certificate, "chain").is_empty();
    if let Some(directory) = issue.out.as_deref().filter(|_| has_chain) {
        let written = write_pair(directory, &issue.names, certificate)?;
        if !issue.json {
            println!("{written}");
        }
    }
    if issue.json {
        return print_json(certificate);
    }
    println!("{}", obtaining::summary(certificate));
    Ok(())
}

pub(super) async fn renew(client: &Client, renew: Renew) -> anyhow::Result<()> {
    let path = format!("certificates/{}/renew", segment(&renew.reference));
    let asked = with_spinner("asking", client.post(&path, &json!({}))).await?;
    obtaining::check_limits(&asked, &renew.patience)?;
    let renewed = obtaining::wait(client, &asked, &renew.patience).await?;
    if renew.json {
        return print_json(&renewed);
    }
    println!("{}", obtaining::summary(&renewed));
    Ok(())
}

pub(super) async fn upload(client: &Client, upload: Upload) -> anyhow::Result<()> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let body = json!({
        "chain": read(&upload.chain)?,
        "private_key": read(&upload.key)?,
        "name": upload.name,
    });
    let uploaded = with_spinner("uploading", client.post("certificates/upload", &body)).await?;
    if upload.json {
        return print_json(&uploaded);
    }
    println!("{}  {}", text(&uploaded, "uuid"), text(&uploaded, "name"));
    Ok(())
}

pub(super) async fn list(client: &Client, ls: Ls) -> anyhow::Result<()> {
    let mut query = format!("certificates?limit={PAGE}");
    if let Some(expiring) = ls.expiring {
        query.push_str(&format!("&expiring_within_seconds={}", expiring.as_secs()));
    }
    if let Some(state) = &ls.state {
        query.push_str(&format!("&state={}", segment(state)));
    }
    let certificates = with_spinner("listing", all_pages(client, &query, "certificates")).await?;
    if ls.json {
        return print_json(&Value::Array(certificates));
    }
    let rows: Vec<Vec<String>> = certificates.iter().map(row).collect();
    print!(
        "{}",
        table(
            &["NAME", "COMMON NAME", "STATE", "EXPIRES", "ORIGIN", "UUID"],
            &rows
        )
    );
    Ok(())
}

pub(super) async fn show(client: &Client, show: Show) -> anyhow::Result<()> {
    let path = format!("certificates/{}", segment(&show.reference));
    let shown = with_spinner("fetching", client.send(Method::GET, &path)).await?;
    if show.json {
        return print_json(&shown);
    }
    if show.pem {
        print!("{}", pem(&shown, "chain"));
        return Ok(());
    }
    for (label, key) in [
        ("Name", "name"),
        ("UUID", "uuid"),
        ("Common name", "common_name"),
        ("Origin", "origin"),
        ("Issuer", "issuer"),
        ("State", "state"),
        ("Created", "created_at"),
    ] {
        println!("{label:<12} {}", text(&shown, key));
    }
    let names = shown.get("identifiers").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<String> = names.map(crate::output::safe).collect();
    println!("{:<12} {}", "Covers", names.join(", "));
    for (label, value) in obtaining::prospects(&shown) {
        println!("{label:<12} {value}");
    }
    let versions = shown.get("versions").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = versions.into_iter().flatten().map(version_row).collect();
    println!();
    print!(
        "{}",
        table(&["SERIAL", "FROM", "UNTIL", "REVOKED", "SIGNED BY"], &rows)
    );
    Ok(())
}

pub(super) async fn revoke(client: &Client, revoke: Revoke) -> anyhow::Result<()> {
    let path = format!("certificates/{}/revoke", segment(&revoke.reference));
    let body = json!({ "reason": revoke.reason });
    let revoked = with_spinner("revoking", client.post(&path, &body)).await?;
    if revoke.json {
        return print_json(&revoked);
    }
    println!("revoked serial {}", text(&revoked, "serial"));
    Ok(())
}

pub(super) async fn remove(client: &Client, rm: Rm) -> anyhow::Result<()> {
    let path = format!("certificates/{}", segment(&rm.reference));
    let removed = with_spinner("deleting", client.send(Method::DELETE, &path)).await?;
    if rm.json {
        return print_json(&removed);
    }
    println!("deleted {}", text(&removed, "name"));
    Ok(())
}

fn row(certificate: &Value) -> Vec<String> {
    let current = certificate.get("current").unwrap_or(&Value::Null);
    vec![
        text(certificate, "name"),
        text(certificate, "common_name"),
        text(certificate, "state"),
        text(current, "not_after"),
        text(certificate, "origin"),
        text(certificate, "uuid"),
    ]
}

fn version_row(version: &Value) -> Vec<String> {
    let revocation = version.get("revocation").unwrap_or(&Value::Null);
    let revoked = format!("{} {}", text(revocation, "at"), text(revocation, "reason"));
    vec![
        text(version, "serial"),
        text(version, "not_before"),
        text(version, "not_after"),
        match revoked.trim() {
            "" => "-".to_owned(),
            revoked => revoked.to_owned(),
        },
        text(version, "issuer"),
    ]
}

/// A CSR file as PEM, whichever form it has.
fn read_csr(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if let Ok(text) = String::from_utf8(bytes.clone())
        && text.contains("-----BEGIN")
    {
        return Ok(text);
    }
    Ok(format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD
            .encode(bytes)
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect::<Vec<_>>()
            .join("\n")
    ))
}

/// Writes `<first name>.crt`, and `<first name>.key` where the server made the key.
fn write_pair(directory: &Path, names: &[String], issued: &Value) -> anyhow::Result<String> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let first = names
        .first()
        .cloned()
        .unwrap_or_else(|| text(issued, "name"));
    let stem = first.replace("*.", "wildcard.").replace(['/', '\0'], "_");
    let stem = stem.trim_start_matches('.');
    let chain_path = directory.join(format!("{stem}.crt"));
    write(&chain_path, &pem(issued, "chain"), 0o644)?;
    let key = pem(issued, "private_key");
    if key.is_empty() {
        return Ok(chain_path.display().to_string());
    }
    let key_path = directory.join(format!("{stem}.key"));
    write(&key_path, &key, 0o600)?;
    Ok(format!("{}\n{}", chain_path.display(), key_path.display()))
}

fn write(path: &Path, content: &str, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        // A file that was there before keeps its mode unless it is set.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(content.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// PEM as the server sent it.
fn pem(value: &Value, key: &str) -> String {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}
