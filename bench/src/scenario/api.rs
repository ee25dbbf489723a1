//! The KraftCloud API over a full inventory: lists, lookups, uploads. Run it with a small and a large
//! `--prefill` to see what the size costs.

use anyhow::Context as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{certificate_requests, kraftcloud, measure};
use crate::arguments::{Api, Options};
use crate::load::Limit;
use crate::load::http::{Prepared, Traffic, drive};
use crate::material;
use crate::report::{Line, Report};
use crate::server::{Server, pin_load_generator};

/// Different certificate requests for filling the inventory.
const ORDERS: u64 = 4_096;
/// Different certificates that are uploaded, each many times under names of the server's choice.
const UPLOADS: usize = 256;
/// Most objects that are asked for by name or uuid.
const SAMPLE: usize = 4_096;
/// Objects of a page while the inventory is walked.
const STRIDE: usize = 1_000;

/// Measures the API.
///
/// # Errors
/// When the server cannot be started, or ends while it is measured.
pub(crate) async fn run(options: &Options, api: &Api) -> anyhow::Result<Report> {
    let server = Server::start(options).await?;
    pin_load_generator(options).await?;
    let mut report = Report::new("api");
    fill(options, &server, api.prefill).await?;
    let known = walk(&server).await?;
    report.notes.push(format!(
        "{} certificates in the inventory before the uploads, {} of them asked for",
        known.total,
        known.objects.len()
    ));
    for traffic in [
        list(&server)?,
        list_from_anywhere(&server, &known)?,
        lookup_by_uuid(&server, &known)?,
        lookup_by_name(&server, &known)?,
        search(&server, &known)?,
        upload(&server)?,
    ] {
        report
            .lines
            .push(Line::of(&measure(options, &server, traffic).await?));
    }
    report.peak_memory = server.peak_memory()?;
    server.stop().await?;
    Ok(report)
}

/// Puts certificates into the inventory, the quickest way there is.
async fn fill(options: &Options, server: &Server, count: u64) -> anyhow::Result<()> {
    let pool = usize::try_from(count.min(ORDERS))?;
    let orders = Traffic {
        name: "filling the inventory".to_owned(),
        ..certificate_requests(server, pool)?
    };
    let limit = Limit::Count {
        requests: count,
        keep: false,
    };
    let filled = drive(server.target, options.clients, limit, orders).await?;
    anyhow::ensure!(
        filled.errors.is_empty(),
        "cannot issue: {:?}",
        filled.errors
    );
    Ok(())
}

/// What is in the inventory.
struct Known {
    total: usize,
    /// Evenly from all of it.
    objects: Vec<Object>,
}

struct Object {
    uuid: String,
    name: String,
    common_name: String,
}

/// Lists everything page by page, and keeps some of it.
async fn walk(server: &Server) -> anyhow::Result<Known> {
    let mut known = Known {
        total: 0,
        objects: Vec::new(),
    };
    let mut step = 1;
    let mut from: Option<String> = None;
    loop {
        let page = page(server, from.as_deref()).await?;
        // A cursor is inclusive: all pages but the first begin with what was seen.
        for object in page.iter().skip(usize::from(from.is_some())) {
            if known.total.is_multiple_of(step) {
                known.objects.push(object_of(object)?);
            }
            known.total += 1;
            if known.objects.len() > SAMPLE {
                step *= 2;
                let mut at = 0;
                known.objects.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
            }
        }
        if page.len() < STRIDE {
            return Ok(known);
        }
        let last = page.last().context("an empty page")?;
        from = Some(object_of(last)?.uuid);
    }
}

async fn page(server: &Server, from: Option<&str>) -> anyhow::Result<Vec<Value>> {
    let from = from.map_or_else(String::new, |uuid| format!("&from={uuid}"));
    let target = format!("/v1/certificates?count={STRIDE}{from}");
    let traffic = one_kind(
        "a page",
        vec![kraftcloud(server, Method::GET, &target, String::new())?],
    );
    let limit = Limit::Count {
        requests: 1,
        keep: true,
    };
    let mut answer = drive(server.target, 1, limit, traffic).await?;
    let errors = answer.errors;
    let body = answer
        .bodies
        .pop()
        .with_context(|| format!("no page: {errors:?}"))?;
    let mut envelope: Value = serde_json::from_slice(&body)?;
    match envelope.pointer_mut("/data/certificates").map(Value::take) {
        Some(Value::Array(objects)) => Ok(objects),
        _ => anyhow::bail!("a page without certificates"),
    }
}

fn object_of(value: &Value) -> anyhow::Result<Object> {
    let member = |name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.map(str::to_owned)
            .with_context(|| format!("an object without {name}"))
    };
    Ok(Object {
        uuid: member("uuid")?,
        name: member("name")?,
        common_name: member("common_name")?,
    })
}

fn list(server: &Server) -> anyhow::Result<Traffic> {
    let request = kraftcloud(
        server,
        Method::GET,
        "/v1/certificates?count=100",
        String::new(),
    )?;
    Ok(one_kind("list, first 100", vec![request]))
}

fn list_from_anywhere(server: &Server, known: &Known) -> anyhow::Result<Traffic> {
    gets(server, known, "list, 100 from anywhere", |object| {
        format!("?count=100&from={}", object.uuid)
    })
}

fn lookup_by_uuid(server: &Server, known: &Known) -> anyhow::Result<Traffic> {
    gets(server, known, "lookup by uuid", |object| {
        format!("/{}", object.uuid)
    })
}

fn lookup_by_name(server: &Server, known: &Known) -> anyhow::Result<Traffic> {
    gets(server, known, "lookup by name", |object| {
        format!("?name={}", object.name)
    })
}

fn search(server: &Server, known: &Known) -> anyhow::Result<Traffic> {
    let request = |object: &Object| {
        let filter = json!({ "common_name": object.common_name }).to_string();
        kraftcloud(server, Method::GET, "/v1/certificates?count=100", filter)
    };
    let requests = known
        .objects
        .iter()
        .map(request)
        .collect::<anyhow::Result<_>>()?;
    Ok(one_kind("search by common name, first 100", requests))
}

fn gets(
    server: &Server,
    known: &Known,
    name: &str,
    rest: fn(&Object) -> String,
) -> anyhow::Result<Traffic> {
    let request = |object: &Object| {
        let target = format!("/v1/certificates{}", rest(object));
        kraftcloud(server, Method::GET, &target, String::new())
    };
    let requests = known
        .objects
        .iter()
        .map(request)
        .collect::<anyhow::Result<_>>()?;
    Ok(one_kind(name, requests))
}

fn upload(server: &Server) -> anyhow::Result<Traffic> {
    let request = |number| {
        let (chain, key) = material::self_signed(number)?;
        let host = material::host(number);
        let body = json!({ "cn": host, "chain": chain, "pkey": key }).to_string();
        kraftcloud(server, Method::POST, "/v1/certificates", body)
    };
    let requests = (0..UPLOADS).map(request).collect::<anyhow::Result<_>>()?;
    Ok(one_kind("upload (P-256)", requests))
}

fn one_kind(name: &str, requests: Vec<Prepared>) -> Traffic {
    Traffic {
        name: name.to_owned(),
        requests,
        expected: StatusCode::OK,
        is_good: |body| body.starts_with(br#"{"status":"success""#),
    }
}
