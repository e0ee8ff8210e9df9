//! Acts on one unit of systemd, or looks at it.

use std::{pin::pin, time::Duration};

use muster_common::{clock::UnixMillis, reason::Reason, unit_name};
use muster_proto::types::v1::{self as types, ServiceAction, command_result};

use super::{
    Stop, Voice, failed,
    tool::{self, Broken},
    with_result,
};
use crate::{
    locks::Locks,
    platform::{
        host,
        systemd::{self, Unit},
    },
    redaction,
    state::{CommandState, Report},
};

/// For taking a job back whose time is over.
const TAKE_BACK: Duration = Duration::from_secs(10);

/// An act on a unit that can be.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Wish {
    /// None: only look.
    verb: Option<&'static str>,
    unit: String,
}

impl Wish {
    pub(in crate::commands) fn check(args: types::Service) -> Result<Self, String> {
        let verb = match ServiceAction::try_from(args.action) {
            Ok(ServiceAction::Start) => Some("start"),
            Ok(ServiceAction::Stop) => Some("stop"),
            Ok(ServiceAction::Restart) => Some("restart"),
            Ok(ServiceAction::Status) => None,
            Ok(ServiceAction::Unspecified) | Err(_) => {
                return Err(format!("this agent knows no action {} on a unit", args.action));
            }
        };
        unit_name::check(&args.unit).map_err(|wrong| wrong.to_string())?;
        Ok(Self { verb, unit: args.unit })
    }

    pub(super) fn locked(&self, locks: &Locks) -> Option<String> {
        locks.refuses_service(&self.unit)
    }

    /// Why nobody may act on this unit, whatever the lock file says.
    fn never(&self, unit: &Unit) -> Option<String> {
        self.verb?;
        if unit_name::ends_host(&unit.id) {
            return Some(format!("{} takes the host down; for that there is reboot", unit.id));
        }
        let own = systemd::own_unit().is_some_and(|own| own == unit.id);
        own.then(|| format!("{} is the agent itself; for that there is restart-agent", unit.id))
    }
}

pub(super) async fn run(wish: &Wish, voice: &Voice, stop: impl Future<Output = Stop>) -> Report {
    if !systemd::is_booted() {
        return failed(voice, Reason::UnavailableOnHost, "this host is not run by systemd");
    }
    match act(wish, voice, stop).await {
        Ok(report) => report,
        Err(broken) => broken.report("systemctl", voice),
    }
}

async fn act(wish: &Wish, voice: &Voice, stop: impl Future<Output = Stop>) -> Result<Report, Broken> {
    let mut stop = pin!(stop);
    let unit = look(&wish.unit, &mut stop).await?;
    if unit.load_state == "not-found" {
        let message = format!("systemd of this host knows no unit {}", wish.unit);
        return Ok(failed(voice, Reason::UnitNotFound, message));
    }
    if let Some(message) = wish.never(&unit) {
        return Ok(failed(voice, Reason::UnitNotAllowed, message));
    }
    let Some(verb) = wish.verb else {
        return Ok(with_state(voice.report(CommandState::Succeeded), unit));
    };
    let acted = tool::run(systemd::systemctl(&[verb, "--", &unit.id]), &mut stop).await;
    if matches!(acted, Err(Broken::Stopped(_))) {
        take_back(&unit.id).await;
    }
    let acted = acted?;
    voice.output(true, redaction::redact(&String::from_utf8_lossy(&acted.stderr)).as_bytes()).await;
    let report = if acted.status.success() {
        voice.report(CommandState::Succeeded)
    } else {
        let message = format!("systemctl {verb} {} says no; its output says why", unit.id);
        let report = failed(voice, Reason::ExitStatus, message);
        Report { exit_code: acted.status.code(), ..report }
    };
    Ok(with_state(report, look(&unit.id, &mut stop).await?))
}

async fn look(name: &str, stop: impl Future<Output = Stop>) -> Result<Unit, Broken> {
    let shown = tool::run(systemd::show(name), stop).await?;
    let unit = systemd::unit(&String::from_utf8_lossy(&shown.stdout));
    if shown.status.success() && !unit.load_state.is_empty() {
        return Ok(unit);
    }
    let said = String::from_utf8_lossy(&shown.stderr).trim().to_owned();
    Err(Broken::Io(std::io::Error::other(said)))
}

/// What was asked for goes on in systemd without whoever asked: it is called back.
async fn take_back(name: &str) {
    let call_back = async {
        let unit = look(name, std::future::pending()).await?;
        if unit.job != 0 {
            tool::run(systemd::systemctl(&["cancel", &unit.job.to_string()]), std::future::pending()).await?;
        }
        Ok::<_, Broken>(())
    };
    if !matches!(tokio::time::timeout(TAKE_BACK, call_back).await, Ok(Ok(()))) {
        tracing::warn!(unit = name, "the job of {name} could not be called back; it goes on in systemd");
    }
}

fn with_state(report: Report, unit: Unit) -> Report {
    let booted = host::up_for().map(|up| report.at - up).filter(|_| unit.since_us != 0);
    let since = booted.map_or(UnixMillis(0), |booted| booted + Duration::from_micros(unit.since_us));
    let result = types::ServiceResult {
        unit: unit.id,
        load_state: unit.load_state,
        active_state: unit.active_state,
        sub_state: unit.sub_state,
        main_pid: unit.main_pid,
        since_ms: since.0,
        exit_status: unit.exit_status,
        unit_result: unit.result,
    };
    with_result(report, command_result::Kind::Service(result))
}
