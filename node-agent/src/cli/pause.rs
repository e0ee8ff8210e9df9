//! `pause` and `resume`.

use std::time::Duration;

use serde_json::json;

use super::{
    Context,
    exit::Failure,
    runtime,
    status::{said, time},
};
use crate::local_api::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Why, for people who see it in the control plane: 1 to 256 bytes.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long, as `2h`; at most 30 days. Until `resume` by default.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let pause = runtime()?.block_on(async {
        let mut client = Client::connect(&context.config.sockets()).await?;
        client.pause(args.reason.clone(), args.lasts).await
    });
    let pause = pause.map_err(|error| said(&error))?;
    let out = context.out;
    if out.is_json() {
        out.document("pause/1", &json!({ "pause": pause }));
    } else {
        let until =
            pause.until.map_or_else(|| "until `resume`".to_owned(), |at| format!("until {}", time(at)));
        out.line(&format!("changes and commands rest {until}; what is under way ends first"));
    }
    Ok(())
}

pub(super) fn resume(context: &Context) -> Result<(), Failure> {
    let was_paused = runtime()?.block_on(async {
        let mut client = Client::connect(&context.config.sockets()).await?;
        client.resume().await
    });
    let was_paused = was_paused.map_err(|error| said(&error))?;
    let out = context.out;
    if out.is_json() {
        out.document("resume/1", &json!({ "was-paused": was_paused }));
    } else {
        out.line(if was_paused { "the pause is over" } else { "there was no pause" });
    }
    Ok(())
}
