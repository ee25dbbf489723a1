//! `/chancery/v1/certmaker`: the switches of the CertMaker API.

use http::StatusCode;
use lifecycle::{Switch, SwitchState};
use serde_json::{Map, Value, json};

use super::faults::Fault;
use super::{Body, Call};
use crate::exchange::{Response, json as json_answer};
use crate::json::{Malformed, Object};

/// What to set; `None` for what is to be as the configuration says.
struct SetBody(Vec<(Switch, Option<bool>)>);

impl Body for SetBody {
    const MEMBERS: &'static [&'static str] = &["csr", "dns01", "http01", "simple_request"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        let mut changes = Vec::new();
        for switch in Switch::ALL {
            let Some(word) = object.take::<String>(switch.as_str())? else {
                continue;
            };
            let value = match word.as_str() {
                "on" => Some(true),
                "off" => Some(false),
                "default" => None,
                _ => return Err(Malformed::new("a switch is set to on, off or default")),
            };
            changes.push((switch, value));
        }
        Ok(Self(changes))
    }
}

pub(super) async fn show(call: Call<'_>) -> Result<Response, Fault> {
    let switches = &call.context.house.switches;
    let states = switches.list(&call.principal).await?;
    Ok(view(&states))
}

pub(super) async fn set(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, SetBody(changes), _room) = call.body().await?;
    let states = context.house.switches.set(&principal, &changes).await?;
    Ok(view(&states))
}

fn view(states: &[SwitchState]) -> Response {
    let states = states.iter().map(|state| {
        let view = json!({
            "on": state.is_on,
            "on_by_configuration": state.is_on_by_configuration,
            "set": state.is_set,
        });
        (state.switch.to_string(), view)
    });
    let states: Map<String, Value> = states.collect();
    json_answer(StatusCode::OK, &json!({ "switches": states }))
}
