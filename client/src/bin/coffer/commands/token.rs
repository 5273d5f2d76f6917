//! `token create`.

use crate::args::CreateToken;
use crate::exit::Failure;
use crate::session::Session;
use coffer_client::{TokenRequest, Verb};
use serde_json::json;

pub(crate) async fn create(session: &Session<'_>, args: CreateToken) -> Result<(), Failure> {
    let verbs = if args.ro { vec![Verb::Read, Verb::List] } else { args.verbs };
    let request = TokenRequest {
        name: args.name,
        bucket: args.bucket,
        prefix: args.prefix,
        verbs,
        ttl: args.ttl,
    };
    let place = session.client.profile().endpoint.to_string();
    let made = session.client.create_token(&request).await.map_err(Failure::at(place))?;
    session.output.remark(format_args!("token {} ends {}", made.id, made.expires));
    let json = || json!({"token": made.token.expose(), "id": made.id, "expires": made.expires});
    session.output.result(made.token.expose(), json)
}
