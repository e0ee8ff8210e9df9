//! Whether the way to the control plane is open, as the version before sees it: by the
//! `check` of the watchdog's own program. So a network that is down is not the new
//! version's fault.

use std::{path::Path, time::Duration};

use muster_common::clock::{Clock, Instant};

use crate::platform::{process, tool};

/// For one look.
const LIMIT: Duration = Duration::from_secs(30);
/// Looks are no closer than this.
const BETWEEN: Duration = Duration::from_secs(10);

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Way {
    seen: Option<(Instant, bool)>,
}

impl Way {
    /// Whether it is open.
    pub(super) async fn is_open(&mut self, program: &Path, config: &Path, clock: &Clock) -> bool {
        let now = clock.monotonic();
        if let Some((at, is_open)) = self.seen
            && now - at < BETWEEN
        {
            return is_open;
        }
        let mut command = process::command(&program.to_string_lossy());
        command.args(["check", "--hold", "0s", "--throughput", "0"]);
        if config.exists() {
            command.arg("--config").arg(config);
        }
        let ran = tool::run(command, tokio::time::sleep(LIMIT)).await;
        let is_open = ran.is_ok_and(|ran| ran.status.success());
        self.seen = Some((clock.monotonic(), is_open));
        is_open
    }
}
