//! `authority ls|show|create|import|export-root|import-root|csr|install|successor|switch`

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{is_true, print_json, segment, text};
use crate::arguments::{AuthorityCommand, AuthorityCreate, AuthorityImport, ExportRoot};
use crate::client::Client;
use crate::output::{table, with_spinner};
use crate::secrets;

pub(super) async fn run(client: &Client, command: AuthorityCommand) -> anyhow::Result<()> {
    match command {
        AuthorityCommand::Ls { json } => list(client, json).await,
        AuthorityCommand::Show { name, json, pem } => {
            let path = format!("authorities/{}", segment(&name));
            let shown = with_spinner("looking", client.send(Method::GET, &path)).await?;
            if json {
                return print_json(&shown);
            }
            if pem {
                print!("{}", root_pem(&shown));
            } else {
                print!("{}", details(&shown));
            }
            Ok(())
        }
        AuthorityCommand::Create(create) => self::create(client, *create).await,
        AuthorityCommand::Import(import) => self::import(client, *import).await,
        AuthorityCommand::ExportRoot(export) => export_root(client, export).await,
        AuthorityCommand::ImportRoot {
            name,
            key,
            passphrase,
        } => {
            let body = json!({
                "key": *read(&key)?,
                "passphrase": *secrets::passphrase(passphrase.passphrase_file.as_deref(), false)?,
            });
            let path = format!("authorities/{}/root/return", segment(&name));
            with_spinner("opening the key", client.post(&path, &body)).await?;
            println!("the key of the root of {name} is back");
            Ok(())
        }
        AuthorityCommand::Csr { name, new_key } => {
            let path = format!("authorities/{}/request", segment(&name));
            let body = json!({ "new_key": new_key });
            let made = with_spinner("signing", client.post(&path, &body)).await?;
            let request = made.get("request").and_then(Value::as_str);
            print!("{}", request.unwrap_or_default());
            Ok(())
        }
        AuthorityCommand::Install { name, chain } => {
            let path = format!("authorities/{}/certificate", segment(&name));
            let body = json!({ "chain": *read(&chain)? });
            let shown = with_spinner("installing", client.post(&path, &body)).await?;
            print!("{}", details(&shown));
            Ok(())
        }
        AuthorityCommand::Successor { name } => change(client, &name, "successor").await,
        AuthorityCommand::Switch { name } => change(client, &name, "switch").await,
    }
}

async fn change(client: &Client, name: &str, change: &str) -> anyhow::Result<()> {
    let path = format!("authorities/{}/{change}", segment(name));
    let shown = with_spinner("changing", client.post(&path, &json!({}))).await?;
    print!("{}", details(&shown));
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let listed = with_spinner("listing", client.send(Method::GET, "authorities")).await?;
    let authorities = listed.get("authorities").unwrap_or(&Value::Null);
    if json {
        return print_json(authorities);
    }
    let rows: Vec<Vec<String>> = members(authorities).map(row).collect();
    let headings = ["NAME", "TIERS", "ISSUES UNTIL", "ROOT KEY", "DUE"];
    print!("{}", table(&headings, &rows));
    Ok(())
}

async fn create(client: &Client, create: AuthorityCreate) -> anyhow::Result<()> {
    let body = json!({
        "name": create.name,
        "key_algorithm": create.key_algorithm,
        "common_name": create.common_name,
        "organization": create.organization,
        "country": create.country,
        "tiers": create.tiers,
        "days": create.days,
        "root_days": create.root_days,
        "permit": create.permit,
        "exclude": create.exclude,
        "device": create.device,
    });
    let made = with_spinner("making keys", client.post("authorities", &body)).await?;
    print!("{}", details(&made));
    Ok(())
}

async fn import(client: &Client, import: AuthorityImport) -> anyhow::Result<()> {
    let mut body = json!({ "name": import.name });
    let mut is_encrypted = false;
    if let Value::Object(members) = &mut body {
        if let (Some(key), Some(chain)) = (&import.key, &import.chain) {
            let key = read(key)?;
            is_encrypted = key.contains("BEGIN ENCRYPTED PRIVATE KEY");
            members.insert("key".to_owned(), key.as_str().into());
            members.insert("chain".to_owned(), read(chain)?.as_str().into());
        }
        if let Some(path) = &import.pkcs12 {
            let file = std::fs::read(path).map(Zeroizing::new);
            let file = file.with_context(|| format!("cannot read {}", path.display()))?;
            is_encrypted = true;
            members.insert("pkcs12".to_owned(), STANDARD.encode(&*file).into());
        }
        if is_encrypted {
            let file = import.passphrase.passphrase_file.as_deref();
            let passphrase = secrets::passphrase(file, false)?;
            members.insert("passphrase".to_owned(), passphrase.as_str().into());
        }
    }
    let made = with_spinner("importing", client.post("authorities/import", &body)).await?;
    print!("{}", details(&made));
    Ok(())
}

async fn export_root(client: &Client, export: ExportRoot) -> anyhow::Result<()> {
    let passphrase = secrets::passphrase(export.passphrase.passphrase_file.as_deref(), true)?;
    let path = format!("authorities/{}/root", segment(&export.name));
    let body = json!({ "passphrase": *passphrase });
    let export_path = format!("{path}/export");
    let exported = with_spinner("encrypting", client.post(&export_path, &body)).await?;
    let key = exported.get("key").and_then(Value::as_str);
    let key = key.context("the server returned no key")?;
    keep(&export.out, key)?;
    println!("wrote {}", export.out.display());
    if !export.remove {
        return Ok(());
    }
    // What was written is what is sent: the server erases its key only if that opens.
    let body = json!({
        "key": *read(&export.out)?,
        "passphrase": *passphrase,
        "away_days": export.away_days,
    });
    let remove_path = format!("{path}/remove");
    with_spinner("removing", client.post(&remove_path, &body)).await?;
    println!(
        "removed the key of the root of {} from the server; keep {} and its passphrase apart, and \
         safe",
        export.name,
        export.out.display()
    );
    Ok(())
}

/// Writes a secret to a new file, durable before this returns.
fn keep(path: &Path, secret: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    text.with_context(|| format!("cannot read {}", path.display()))
}

fn members(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn tiers(authority: &Value) -> Vec<&Value> {
    members(authority.get("tiers").unwrap_or(&Value::Null)).collect()
}

fn with_role<'a>(authority: &'a Value, role: &str) -> Option<&'a Value> {
    let mut tiers = tiers(authority).into_iter();
    tiers.find(|tier| text(tier, "role").contains(role))
}

fn row(authority: &Value) -> Vec<String> {
    let of = |role: &str, key: &str| {
        with_role(authority, role)
            .map(|tier| text(tier, key))
            .unwrap_or_default()
    };
    let has_one = of("root", "role") == "root and issuing";
    let due = authority.get("due").unwrap_or(&Value::Null);
    let is_due = members(due).any(|due| is_true(due, "now"));
    vec![
        text(authority, "name"),
        if has_one { "1" } else { "2" }.to_owned(),
        of("issuing", "not_after"),
        of("root", "key"),
        if is_due { "yes" } else { "-" }.to_owned(),
    ]
}

fn root_pem(authority: &Value) -> String {
    let root = with_role(authority, "root").and_then(|root| root.get("certificate"));
    root.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Everything about an authority, for people.
fn details(authority: &Value) -> String {
    let mut lines = format!("{:<16} {}\n", "Name", text(authority, "name"));
    for (label, key) in [("Permits", "permit"), ("Excludes", "exclude")] {
        let names = members(authority.get(key).unwrap_or(&Value::Null)).filter_map(Value::as_str);
        let names: Vec<String> = names.map(crate::output::safe).collect();
        if !names.is_empty() {
            lines.push_str(&format!("{label:<16} {}\n", names.join(", ")));
        }
    }
    for tier in tiers(authority) {
        lines.push_str(&format!("\n{}\n", text(tier, "role")));
        for (label, key) in [
            ("Subject", "subject"),
            ("Issuer", "issuer"),
            ("Serial", "serial"),
            ("SHA-256", "fingerprint"),
            ("Algorithm", "key_algorithm"),
            ("Key", "key"),
            ("Valid from", "not_before"),
            ("Valid until", "not_after"),
        ] {
            lines.push_str(&format!("  {label:<14} {}\n", text(tier, key)));
        }
    }
    let due = authority.get("due").unwrap_or(&Value::Null);
    let mut is_first = true;
    for due in members(due) {
        if is_first {
            lines.push_str("\nTo do\n");
            is_first = false;
        }
        let mark = if is_true(due, "now") { "now: " } else { "" };
        lines.push_str(&format!("  {mark}{}\n", text(due, "advice")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_and_what_is_due_are_shown() {
        let authority = json!({
            "name": "plant", "permit": ["plant.test"], "exclude": [],
            "tiers": [
                { "role": "issuing", "key": "store", "not_after": "2030-01-01T00:00:00Z" },
                { "role": "root", "key": "elsewhere", "certificate": "PEM", "subject": "CN=a\u{1b}" },
            ],
            "due": [{ "kind": "root_list", "now": true, "advice": "sign another" }],
        });
        let shown = details(&authority);
        for line in [
            "Permits          plant.test\n",
            "  Key            elsewhere\n",
            "  Subject        CN=a\u{fffd}\n",
            "  now: sign another\n",
        ] {
            assert!(shown.contains(line), "{line} is not in:\n{shown}");
        }
        assert_eq!(root_pem(&authority), "PEM");
        let row = row(&authority);
        assert_eq!(
            row,
            ["plant", "2", "2030-01-01T00:00:00Z", "elsewhere", "yes"]
        );
    }
}
