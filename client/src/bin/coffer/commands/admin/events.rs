//! `admin events`.

use crate::commands::{rfc3339, timestamp};
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::admin::{Event, Events};
use serde_json::{Value, json};
use std::time::Duration;
use time::OffsetDateTime;

/// The pause between two questions for what is new.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn run(session: &Session<'_>, since: u64, follow: bool) -> Result<(), Failure> {
    let mut place = Place { whose: None, after: since };
    loop {
        match ask(session, place.after).await {
            Ok(page) if place.has_moved(&page) => continue,
            Ok(page) => {
                if page.forgotten {
                    session.output.remark("coffer: older events are forgotten");
                }
                print(session, &page)?;
                let last = page.events.last().map(|event| event.id);
                place.after = last.unwrap_or(place.after);
                if place.after < page.last && last.is_some() {
                    continue;
                }
            }
            // While it follows, a gateway may be restarted.
            Err(Failure::Failed { target, error }) if follow => {
                session.output.error(&target, &error);
            }
            Err(failure) => return Err(failure),
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(session: &Session<'_>, after: u64) -> Result<Events, Failure> {
    let place = session.client.profile().endpoint.to_string();
    session.client.events(after).await.map_err(Failure::at(place))
}

/// Which events have been seen: the numbers are those of one run of one gateway.
struct Place {
    whose: Option<(u64, u64)>,
    after: u64,
}

impl Place {
    /// Whether another gateway, or another run, has answered: all that it remembers is wanted then.
    fn has_moved(&mut self, page: &Events) -> bool {
        let now = Some((page.gateway, page.run));
        let before = std::mem::replace(&mut self.whose, now);
        let moved = before.is_some() && before != now;
        if moved {
            self.after = 0;
        }
        moved
    }
}

fn print(session: &Session<'_>, page: &Events) -> Result<(), Failure> {
    for event in &page.events {
        let at = time_of(event);
        let Event { id, severity, message, .. } = event;
        let line = format!("{id:>6}  {}  {severity:<8}  {message}", timestamp(at));
        session.output.result(line, || {
            let mut json = serde_json::to_value(event).unwrap_or_else(|_| json!({}));
            if let Value::Object(fields) = &mut json {
                fields.insert("at".to_owned(), json!(rfc3339(at)));
                fields.insert("seen_by".to_owned(), json!(page.gateway_name));
            }
            json
        })?;
    }
    Ok(())
}

fn time_of(event: &Event) -> Option<OffsetDateTime> {
    let nanos = i128::from(event.at_ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}
