//! `log-level`.

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
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[arg(required_unless_present = "reset")]
    level: Option<String>,
    /// For how long, as `10m`; at most 7 days. As long as the agent runs by default.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "reset")]
    lasts: Option<Duration>,
    /// What the options say counts again.
    #[arg(long, conflicts_with = "level")]
    reset: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let level = args.level.clone().unwrap_or_default();
    let log = runtime()?.block_on(async {
        let mut client = Client::connect(&context.config.sockets()).await?;
        client.log_at(level, args.lasts).await
    });
    let log = log.map_err(|error| said(&error))?;
    let out = context.out;
    if out.is_json() {
        out.document("log-level/1", &json!({ "log": log }));
        return Ok(());
    }
    let until = match (log.overridden, log.until) {
        (false, _) => "as the options say".to_owned(),
        (true, Some(at)) => format!("until {}", time(at)),
        (true, None) => "as long as this agent runs".to_owned(),
    };
    out.line(&format!("the agent logs at level {} {until}", log.level));
    Ok(())
}
