//! `coffer-train serve`.

use anyhow::Context;
use coffer_train::serve::{Model, Server};
use serde::Serialize;

use super::Session;
use super::args::Serve;
use super::chosen::{Chosen, chosen};

#[derive(Serialize)]
struct Serving {
    model: &'static str,
    checkpoint: String,
    address: String,
}

pub(super) fn run(session: &Session, args: &Serve) -> anyhow::Result<()> {
    let Chosen { id, model, learner } = chosen(session, &args.checkpoint)?;
    session.output.warn_of_strangers(args.listen);
    session.runtime.block_on(async {
        let server = Server::bind(args.listen, Model::new(learner, model, id)).await;
        let server = server.with_context(|| format!("can't listen on {}", args.listen))?;
        let address = format!("http://{}", server.address()?);
        let serving = Serving { model: model.name(), checkpoint: id.to_string(), address };
        let Serving { model, checkpoint, address } = &serving;
        session.output.result(&format!("{model} of {checkpoint} at {address}"), &serving);
        server
            .serve(async {
                // Where there are no signals, the process is simply ended.
                if tokio::signal::ctrl_c().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
            .await;
        Ok(())
    })
}
