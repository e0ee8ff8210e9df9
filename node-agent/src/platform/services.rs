//! Acts on one unit of systemd, or looks at it.

use std::{io, pin::pin, time::Duration};

use muster_common::unit_name;

use super::{
    systemd::{self, Unit},
    tool::{self, Broken},
};

/// For taking a job back whose time is over.
const TAKE_BACK: Duration = Duration::from_secs(10);

/// What can be done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is only looked at.
    Look,
    /// It is started.
    Start,
    /// It is stopped.
    Stop,
    /// It is restarted.
    Restart,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// systemd knows no such unit.
    NotFound,
    /// Nobody may act on it, and why.
    Never(String),
    /// How it stands.
    Looked(Unit),
    /// What the tool said, and how the unit stands now.
    Done {
        /// Of the tool; none: a signal ended it.
        exit_code: Option<i32>,
        /// What it wrote to standard error.
        stderr: Vec<u8>,
        /// Afterwards.
        unit: Unit,
    },
}

impl Act {
    /// As the tool has it. `None`: nothing is done.
    #[must_use]
    pub const fn verb(self) -> Option<&'static str> {
        match self {
            Self::Look => None,
            Self::Start => Some("start"),
            Self::Stop => Some("stop"),
            Self::Restart => Some("restart"),
        }
    }
}

/// Acts on a unit. `own`: the agent's units, on which nobody acts from afar. What is not
/// done when it is to stop is called back.
///
/// # Errors
/// If systemd does not answer, or it is stopped.
pub async fn act<S>(
    act: Act,
    name: &str,
    own: &[String],
    stop: impl Future<Output = S>,
) -> Result<Acted, Broken<S>> {
    let mut stop = pin!(stop);
    let unit = look(name, &mut stop).await?;
    if unit.load_state == "not-found" {
        return Ok(Acted::NotFound);
    }
    let Some(verb) = act.verb() else { return Ok(Acted::Looked(unit)) };
    if let Some(why) = never(&unit, own) {
        return Ok(Acted::Never(why));
    }
    let acted = tool::run(systemd::systemctl(&[verb, "--", &unit.id]), &mut stop).await;
    if matches!(acted, Err(Broken::Stopped(_))) {
        take_back(&unit.id).await;
    }
    let acted = acted?;
    let unit = look(&unit.id, &mut stop).await?;
    Ok(Acted::Done { exit_code: acted.status.code(), stderr: acted.stderr, unit })
}

/// Why nobody may act on this unit, whatever the lock file says.
fn never(unit: &Unit, own: &[String]) -> Option<String> {
    if unit_name::ends_host(&unit.id) {
        return Some(format!("{} takes the host down; for that there is reboot", unit.id));
    }
    let is_own = own.contains(&unit.id);
    is_own.then(|| format!("{} is the agent itself; for that there is restart-agent", unit.id))
}

async fn look<S>(name: &str, stop: impl Future<Output = S>) -> Result<Unit, Broken<S>> {
    let shown = tool::run(systemd::show(name), stop).await?;
    let unit = systemd::unit(&String::from_utf8_lossy(&shown.stdout));
    if shown.status.success() && !unit.load_state.is_empty() {
        return Ok(unit);
    }
    let said = String::from_utf8_lossy(&shown.stderr).trim().to_owned();
    Err(Broken::Io(io::Error::other(said)))
}

/// What was asked for goes on in systemd without whoever asked: it is called back.
async fn take_back(name: &str) {
    let call_back = async {
        let unit = look(name, std::future::pending::<()>()).await?;
        if unit.job != 0 {
            let cancel = systemd::systemctl(&["cancel", &unit.job.to_string()]);
            tool::run(cancel, std::future::pending()).await?;
        }
        Ok::<_, Broken<()>>(())
    };
    if !matches!(tokio::time::timeout(TAKE_BACK, call_back).await, Ok(Ok(()))) {
        tracing::warn!(unit = name, "the job of {name} could not be called back; it goes on in systemd");
    }
}
