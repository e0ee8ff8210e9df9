//! The item `settings`: the agent's own options, a JSON object of strings.

use std::collections::BTreeMap;

use muster_common::{reason::Reason, settings};

use super::Failure;
use crate::state::Cause;

pub(super) const ITEM: &str = "settings";

pub(super) fn parse(payload: &[u8]) -> Result<BTreeMap<String, String>, Failure> {
    let parsed: BTreeMap<String, String> = serde_json::from_slice(payload).map_err(|error| {
        let message = format!("the settings do not decode: {error}");
        Failure::rejected(Reason::PayloadInvalid, Cause::Content, message)
    })?;
    for (key, value) in &parsed {
        settings::check_remote(key, value)
            .map_err(|error| Failure::rejected(error.reason, Cause::Content, error.to_string()))?;
    }
    Ok(parsed)
}
