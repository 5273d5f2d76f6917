//! `admin repair`.

use crate::exit::Failure;
use crate::session::Session;
use serde_json::Value;

pub(crate) async fn run(session: &Session<'_>) -> Result<(), Failure> {
    let place = session.client.profile().endpoint.to_string();
    let status = session.client.repair_status().await.map_err(Failure::at(place))?;
    session.output.result(describe(&status), || status.clone())
}

/// One figure a line.
fn describe(status: &Value) -> String {
    let Value::Object(figures) = status else { return status.to_string() };
    let line = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        value => format!("{name}: {value}"),
    };
    figures.iter().map(line).collect::<Vec<_>>().join("\n")
}
