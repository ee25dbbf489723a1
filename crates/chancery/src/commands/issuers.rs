//! `issuer add|ls|show|rm|default|rank|rotate-key`

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::{Map, Value, json};

use super::{is_true, of_account, owner, print_json, segment, text};
use crate::arguments::{IssuerAdd, IssuerCommand};
use crate::client::Client;
use crate::output::{safe, span, table, with_spinner};
use crate::secrets;

/// Whose certificates an issuer obtains when none is named.
const EVERYBODY: &str = "of all accounts that have not chosen themselves";
const OWN: &str = "of your account";

pub(super) async fn run(client: &Client, command: IssuerCommand) -> anyhow::Result<()> {
    match command {
        IssuerCommand::Add(add) => self::add(client, *add).await,
        IssuerCommand::Ls { account, json } => list(client, account.as_deref(), json).await,
        IssuerCommand::Show {
            name,
            account,
            json,
        } => show(client, &name, account.as_deref(), json).await,
        IssuerCommand::Rm {
            name,
            successor,
            account,
        } => {
            let mut path = format!("issuers/{}", segment(&name));
            if let Some(successor) = &successor {
                path.push_str(&format!("?successor={}", segment(successor)));
            }
            let path = of_account(&path, account.as_deref());
            let answer = with_spinner("removing", client.send(Method::DELETE, &path)).await?;
            println!("removed {name}");
            if let (Some(successor), Some(moved)) =
                (successor, answer["certificates_moved"].as_u64())
            {
                println!("certificates that {successor} renews from now on: {moved}");
            }
            Ok(())
        }
        IssuerCommand::Default {
            name,
            for_all,
            account,
        } => {
            let path = format!("issuers/{}/default", segment(&name));
            let path = of_account(&path, account.as_deref());
            let body = json!({ "for_all": for_all });
            with_spinner("changing", client.post(&path, &body)).await?;
            let whose = match account {
                _ if for_all => EVERYBODY.to_owned(),
                Some(account) => format!("of {account}"),
                None => OWN.to_owned(),
            };
            println!("{name} obtains the certificates {whose} when no issuer is named");
            Ok(())
        }
        IssuerCommand::Rank {
            name,
            rank,
            account,
        } => {
            let path = format!("issuers/{}/rank", segment(&name));
            let path = of_account(&path, account.as_deref());
            with_spinner("changing", client.post(&path, &json!({ "rank": rank }))).await?;
            println!("{name} has rank {rank}");
            Ok(())
        }
        IssuerCommand::RotateKey { name, account } => {
            let path = format!("issuers/{}/key", segment(&name));
            let path = of_account(&path, account.as_deref());
            with_spinner("changing the key", client.post(&path, &json!({}))).await?;
            println!("the account at {name} has a new key");
            Ok(())
        }
    }
}

async fn add(client: &Client, add: IssuerAdd) -> anyhow::Result<()> {
    let roots = add.acme_ca.as_deref().map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    });
    // The key alone, left over in the environment, binds nothing.
    let key = add.eab_hmac.filter(|_| add.eab_kid.is_some());
    let key = key.as_deref().map(secrets::read).transpose()?;
    let body = json!({
        "name": add.name,
        "acme": add.acme,
        "email": add.email,
        "agree_tos": add.agree_tos,
        "ca": roots.transpose()?,
        "eab_kid": add.eab_kid,
        "eab_hmac": key.as_deref().map(String::as_str),
        "profile": add.profile,
        "preferred_chain": add.preferred_chain,
        "limits": limits(&add.limits)?,
        "rank": add.rank,
        "default": add.default,
        "account": add.account,
    });
    let added = with_spinner("opening an account", client.post("issuers", &body)).await?;
    if add.json {
        return print_json(&added);
    }
    println!("{}  {}", text(&added, "name"), text(&added, "acme"));
    if !text(&added, "account_url").is_empty() {
        println!("account {}", text(&added, "account_url"));
    }
    if add.default {
        let whose = match &add.account {
            _ if is_true(&added, "shared") => EVERYBODY.to_owned(),
            Some(account) => format!("of {account}"),
            None => OWN.to_owned(),
        };
        println!("it obtains the certificates {whose} when no issuer is named");
    }
    println!(
        "try it: chancery issue NAME --issuer {}; see what is in its way: chancery check NAME",
        text(&added, "name")
    );
    Ok(())
}

/// `orders=300/3h` and the like, as the API has them: numbers as numbers.
fn limits(texts: &[String]) -> anyhow::Result<Option<Value>> {
    if texts.is_empty() {
        return Ok(None);
    }
    let mut members = Map::new();
    for text in texts {
        let Some((name, limit)) = text.split_once('=') else {
            bail!("'{text}' is no limit; it looks like orders=300/3h or domain=none");
        };
        let limit = match (limit, limit.parse::<u32>()) {
            ("none", _) => Value::Null,
            (_, Ok(number)) => number.into(),
            (limit, Err(_)) => limit.into(),
        };
        members.insert(name.to_owned(), limit);
    }
    Ok(Some(Value::Object(members)))
}

async fn list(client: &Client, account: Option<&str>, json: bool) -> anyhow::Result<()> {
    let path = of_account("issuers", account);
    let listed = with_spinner("listing", client.send(Method::GET, &path)).await?;
    let issuers = listed.get("issuers").unwrap_or(&Value::Null);
    if json {
        return print_json(issuers);
    }
    let issuers = issuers.as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = issuers.map(|issuer| row(issuer, account)).collect();
    let headings = ["NAME", "KIND", "DEFAULT", "FOR", "RANK", "HEALTH", "URL"];
    print!("{}", table(&headings, &rows));
    Ok(())
}

fn row(issuer: &Value, account: Option<&str>) -> Vec<String> {
    let rank = issuer.get("rank").and_then(Value::as_u64);
    let of_directory = |text: String| if rank.is_some() { text } else { "-".to_owned() };
    vec![
        text(issuer, "name"),
        text(issuer, "kind"),
        if is_true(issuer, "default") {
            "yes"
        } else {
            "-"
        }
        .to_owned(),
        owner(issuer, account),
        of_directory(rank.unwrap_or_default().to_string()),
        of_directory(health(issuer)),
        of_directory(text(issuer, "acme")),
    ]
}

fn health(issuer: &Value) -> String {
    let until = text(issuer, "down_until");
    if !until.is_empty() {
        return format!("left alone until {until}");
    }
    let score = issuer.get("health").and_then(Value::as_f64);
    match score.unwrap_or(1.0) {
        score if score >= 1.0 => "good".to_owned(),
        score => format!("{:.0} %", score * 100.0),
    }
}

async fn show(
    client: &Client,
    name: &str,
    account: Option<&str>,
    json: bool,
) -> anyhow::Result<()> {
    let path = of_account(&format!("issuers/{}", segment(name)), account);
    let shown = with_spinner("asking the directory", client.send(Method::GET, &path)).await?;
    if json {
        return print_json(&shown);
    }
    print!("{}", details(&shown, account));
    Ok(())
}

/// Everything about an issuer, for people.
fn details(issuer: &Value, account: Option<&str>) -> String {
    let mut lines = String::new();
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push_str(&format!("{label:<16} {value}\n"));
        }
    };
    line("Name", text(issuer, "name"));
    line("Kind", text(issuer, "kind"));
    line(
        "Default",
        if is_true(issuer, "default") {
            "yes"
        } else {
            "no"
        }
        .to_owned(),
    );
    line("For", owner(issuer, account));
    if issuer.get("acme").is_none() {
        return lines;
    }
    let directory = issuer.get("directory").unwrap_or(&Value::Null);
    line("URL", text(issuer, "acme"));
    line("Account", text(issuer, "account_url"));
    line("E-mail", text(issuer, "email"));
    line("Bound to", text(issuer, "eab_kid"));
    line("Profile", text(issuer, "profile"));
    line("Preferred chain", text(issuer, "preferred_chain"));
    line(
        "Rank",
        issuer.get("rank").map(Value::to_string).unwrap_or_default(),
    );
    line("Health", health(issuer));
    line("Not available", text(directory, "unavailable"));
    line("Terms", text(directory, "terms_of_service"));
    line("CAA identities", words(directory, "caa_identities"));
    if directory.get("renewal_information").is_some() {
        let tells = is_true(directory, "renewal_information");
        line(
            "Renewal",
            if tells {
                "the directory tells when"
            } else {
                "by lifetime"
            }
            .to_owned(),
        );
    }
    let budgets = issuer.get("budgets").and_then(Value::as_array);
    let budgets: Vec<Vec<String>> = budgets.into_iter().flatten().map(budget_row).collect();
    if !budgets.is_empty() {
        lines.push_str(&format!("\n{}", table(&["LIMIT", "LEFT", "OF"], &budgets)));
    }
    let profiles = directory.get("profiles").and_then(Value::as_object);
    let profiles: Vec<Vec<String>> = profiles
        .into_iter()
        .flatten()
        .map(|(name, about)| vec![safe(name), safe(about.as_str().unwrap_or_default())])
        .collect();
    if !profiles.is_empty() {
        lines.push_str(&format!("\n{}", table(&["PROFILE", "ABOUT"], &profiles)));
    }
    lines
}

fn words(value: &Value, key: &str) -> String {
    let words = value.get(key).and_then(Value::as_array);
    let words = words.into_iter().flatten().filter_map(Value::as_str);
    words.map(safe).collect::<Vec<_>>().join(", ")
}

fn budget_row(budget: &Value) -> Vec<String> {
    let number = |key: &str| budget.get(key).and_then(Value::as_u64).unwrap_or_default();
    vec![
        text(budget, "bucket"),
        number("left").to_string(),
        format!("{} in {}", number("burst"), span(number("period_seconds"))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_texts_or_none() {
        let given = ["orders=300/3h", "domain=none", "concurrency=4"].map(str::to_owned);
        assert_eq!(
            limits(&given).unwrap(),
            Some(json!({ "orders": "300/3h", "domain": null, "concurrency": 4 }))
        );
        assert_eq!(limits(&[]).unwrap(), None);
        assert!(limits(&["300/3h".to_owned()]).is_err());
    }

    #[test]
    fn what_is_left_and_what_is_on_offer_is_shown() {
        let directory = json!({
            "name": "le", "kind": "acme", "shared": true, "default": true,
            "acme": "https://acme.test/directory", "account_url": "https://acme.test/acct/1",
            "email": null, "eab_kid": null, "profile": "shortlived", "preferred_chain": null,
            "rank": 1, "own_ca": false, "health": 0.5, "down_until": null,
            "budgets": [
                { "bucket": "orders", "left": 297, "burst": 300, "period_seconds": 10800 }
            ],
            "directory": {
                "terms_of_service": "https://acme.test/terms",
                "profiles": { "shortlived": "6 days\u{1b}[2J" },
                "caa_identities": ["acme.test"],
                "renewal_information": true,
            },
        });
        let shown = details(&directory, None);
        for line in [
            "Name             le\n",
            "Health           50 %\n",
            "Terms            https://acme.test/terms\n",
            "CAA identities   acme.test\n",
            "Renewal          the directory tells when\n",
            "orders  297   300 in 3h\n",
            "shortlived  6 days\u{fffd}[2J\n",
        ] {
            assert!(shown.contains(line), "{line} is not in:\n{shown}");
        }
        assert!(!shown.contains("E-mail"), "{shown}");
        let authority =
            json!({ "name": "default", "kind": "authority", "shared": true, "default": false });
        assert!(!details(&authority, None).contains("Health"));
        assert_eq!(row(&authority, None)[4..], ["-", "-", "-"]);
        let own = json!({ "name": "own", "kind": "acme", "shared": false });
        assert_eq!(row(&own, Some("bob"))[3], "bob");
    }
}
