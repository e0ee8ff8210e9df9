//! The units of Muster on this host, and where the agent logs.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::platform::systemd;

/// What the names of our units begin with.
pub(in crate::cli) const OURS: &str = "muster-";

/// systemd answers at once, or something is wrong with it that `show` must not wait for.
const WITHIN: Duration = Duration::from_secs(5);

/// By name. None where systemd does not run the host.
pub(super) async fn all() -> Value {
    if !systemd::is_booted() {
        return json!({});
    }
    let asked = timeout(WITHIN, systemd::begins(OURS).kill_on_drop(true).output()).await;
    let Ok(Ok(shown)) = asked else { return json!("systemd does not answer") };
    let units = systemd::all_units(&String::from_utf8_lossy(&shown.stdout)).into_iter();
    let unit = |unit: systemd::Unit| {
        let state = format!("{} ({})", unit.active_state, unit.sub_state);
        (unit.id, json!({ "state": state, "main-pid": unit.main_pid, "result": unit.result }))
    };
    units.filter(|unit| unit.load_state != "not-found").map(unit).collect::<Map<_, _>>().into()
}

/// Where the agent logs, for people.
pub(super) fn log() -> &'static str {
    if systemd::is_booted() {
        "journalctl -u 'muster-*'; or standard error of the agent, where it was started by hand"
    } else {
        "standard error of the agent"
    }
}
