//! Acts on one unit of systemd, or looks at it.

use std::time::Duration;

use muster_common::{clock::UnixMillis, reason::Reason, unit_name};
use muster_proto::types::v1::{self as types, ServiceAction, command_result};

use super::{Options, Stop, Voice, broken, failed, with_result};
use crate::{
    locks::Locks,
    platform::{
        host,
        services::{Act, Acted},
        systemd::{self, Unit},
    },
    redaction,
    state::{CommandState, Report},
};

/// An act on a unit that can be.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Wish {
    act: Act,
    unit: String,
}

impl Wish {
    pub(in crate::commands) fn check(args: types::Service) -> Result<Self, String> {
        let act = match ServiceAction::try_from(args.action) {
            Ok(ServiceAction::Start) => Act::Start,
            Ok(ServiceAction::Stop) => Act::Stop,
            Ok(ServiceAction::Restart) => Act::Restart,
            Ok(ServiceAction::Status) => Act::Look,
            Ok(ServiceAction::Unspecified) | Err(_) => {
                return Err(format!("this agent knows no action {} on a unit", args.action));
            }
        };
        unit_name::check(&args.unit).map_err(|wrong| wrong.to_string())?;
        Ok(Self { act, unit: args.unit })
    }

    pub(super) fn locked(&self, locks: &Locks) -> Option<String> {
        locks.refuses_service(&self.unit)
    }
}

pub(super) async fn run(
    wish: &Wish,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Stop>,
) -> Report {
    if !systemd::is_booted() {
        return failed(voice, Reason::UnavailableOnHost, "this host is not run by systemd");
    }
    let (exit_code, stderr, unit) = match options.hands.service(wish.act, &wish.unit, stop).await {
        Ok(Acted::NotFound) => {
            let message = format!("systemd of this host knows no unit {}", wish.unit);
            return failed(voice, Reason::UnitNotFound, message);
        }
        Ok(Acted::Never(message)) => return failed(voice, Reason::UnitNotAllowed, message),
        Ok(Acted::Looked(unit)) => return with_state(voice.report(CommandState::Succeeded), unit),
        Ok(Acted::Done { exit_code, stderr, unit }) => (exit_code, stderr, unit),
        Err(error) => return broken(error, "systemctl", voice),
    };
    voice.output(true, redaction::redact(&String::from_utf8_lossy(&stderr)).as_bytes()).await;
    if exit_code == Some(0) {
        return with_state(voice.report(CommandState::Succeeded), unit);
    }
    let verb = wish.act.verb().unwrap_or_default();
    let message = format!("systemctl {verb} {} says no; its output says why", unit.id);
    with_state(Report { exit_code, ..failed(voice, Reason::ExitStatus, message) }, unit)
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
