//! Rollouts.

use std::time::Duration;

use muster_domain::{
    assignment::Target,
    rollout::{
        Brake, Budget, Hold, OnFailure, Phase, Plan, Portion, Share, Speed, Standing, Step, Tally, Window,
    },
};
use muster_proto::admin::v1::{self as pb, create_rollout_request, rollout_step, share, target};
use tonic::Status;

use super::timestamp;
use crate::{
    api::status::invalid,
    app::rollouts::{NodeProgress, Seen, Wish},
};

pub(in crate::api) fn rollout(seen: &Seen) -> pb::Rollout {
    let rollout = &seen.rollout;
    pb::Rollout {
        id: rollout.id.to_string(),
        assignment: rollout.assignment.clone(),
        from: rollout.from.as_ref().map(target),
        to: rollout.to.as_ref().map(target),
        plan: Some(plan(&rollout.plan)),
        phase: phase(rollout.phase) as i32,
        reason: rollout.reason.clone(),
        message: rollout.message.clone(),
        step: rollout.step + 1,
        approved_steps: rollout.approved,
        create_time: Some(timestamp(rollout.created_at)),
        created_by: rollout.created_by.clone(),
        phase_time: Some(timestamp(rollout.since)),
        progress: Some(progress(&seen.tally, seen)),
        waits_for: seen.waits_for.map(|held| hold(held, seen)),
        etag: muster_domain::node::etag(rollout.revision),
    }
}

fn target(target: &Target) -> pb::Target {
    let kind = match target {
        Target::Bundle { name, version } => {
            target::Kind::Bundle(pb::BundleTarget { name: name.clone(), version: *version })
        }
        Target::Settings { profile, version } => {
            target::Kind::Settings(pb::SettingsTarget { profile: profile.clone(), version: *version })
        }
        Target::Extension { name, version } => {
            target::Kind::Extension(pb::ExtensionTarget { name: name.clone(), version: *version })
        }
        Target::Release { version } => target::Kind::Release(super::assignment::release(version)),
    };
    pb::Target { kind: Some(kind) }
}

const fn phase(phase: Phase) -> pb::RolloutPhase {
    match phase {
        Phase::Running => pb::RolloutPhase::Running,
        Phase::Paused => pb::RolloutPhase::Paused,
        Phase::Aborted => pb::RolloutPhase::Aborted,
        Phase::RollingBack => pb::RolloutPhase::RollingBack,
        Phase::RolledBack => pb::RolloutPhase::RolledBack,
        Phase::Succeeded => pb::RolloutPhase::Succeeded,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn progress(tally: &Tally, seen: &Seen) -> pb::RolloutProgress {
    pb::RolloutProgress {
        total: count(tally.total),
        here: count(tally.here),
        touched: count(tally.touched),
        waiting: count(tally.waiting),
        done: count(tally.done),
        failed: count(tally.failed),
        excused: count(tally.excused),
        failures: seen.failures.iter().map(|(reason, nodes)| (reason.clone(), count(*nodes))).collect(),
    }
}

fn hold(hold: Hold, seen: &Seen) -> pb::RolloutHold {
    let (nodes, message) = match hold {
        Hold::Phase => (0, "a person to resume it, abort it or roll it back"),
        Hold::Brake => (0, "somebody to let go of the brake of all rollouts"),
        Hold::Vanished { count } => (count, "nodes that fell silent together: the network, not the change"),
        Hold::Approval => (0, "a person's yes to this step"),
        Hold::Answers { count: nodes } => (count(nodes), "nodes to say what became of it"),
        Hold::Window { count: nodes } => (count(nodes), "the maintenance windows of nodes to open"),
        Hold::Budget { count: nodes } => (count(nodes), "room in the disruption budget"),
        Hold::Soak { .. } => (0, "the step to have been healthy for its soak time"),
        Hold::Nobody => (0, "a node that takes it: none of those that it is for has"),
    };
    let until = match hold {
        Hold::Soak { until } => Some(until),
        _ => seen.opens_at,
    };
    pb::RolloutHold {
        reason: hold.as_str().to_owned(),
        message: format!("waits for {message}"),
        nodes,
        until_time: until.map(timestamp),
    }
}

pub(in crate::api) fn node(progress: &NodeProgress) -> pb::RolloutNode {
    let (standing, since) = match progress.standing {
        Standing::Untouched => (pb::RolloutStanding::Untouched, None),
        Standing::Given { since } => (pb::RolloutStanding::Waiting, Some(since)),
        Standing::Done => (pb::RolloutStanding::Done, None),
        Standing::Failed => (pb::RolloutStanding::Failed, None),
        Standing::Excused => (pb::RolloutStanding::Excused, None),
    };
    pb::RolloutNode {
        node_id: progress.node.to_string(),
        standing: standing as i32,
        failure: progress.failure.clone(),
        since: since.map(timestamp),
    }
}

pub(in crate::api) fn brake(brake: &Brake) -> pb::RolloutBrake {
    pb::RolloutBrake {
        pulled_by: brake.by.clone(),
        time: Some(timestamp(brake.at)),
        reason: brake.reason.clone(),
    }
}

fn plan(plan: &Plan) -> pb::RolloutPlan {
    let step = |step: &Step| pb::RolloutStep {
        reach: Some(match &step.reach {
            Portion::Percent(percent) => rollout_step::Reach::Percent(u32::from(*percent)),
            Portion::Count(count) => rollout_step::Reach::Count(*count),
            Portion::Selector(selector) => rollout_step::Reach::Selector(selector.clone()),
        }),
        soak: prost_types::Duration::try_from(step.soak).ok(),
        approval: step.approval,
    };
    let window = |window: &Window| pb::MaintenanceWindow {
        days: window.days.iter().map(|day| u32::from(*day)).collect(),
        start_minute: u32::from(window.start_minute),
        minutes: window.minutes,
    };
    pb::RolloutPlan {
        steps: plan.steps.iter().map(step).collect(),
        max_in_flight: plan.max_in_flight,
        max_failed: Some(share_of(plan.max_failed)),
        success_percent: u32::from(plan.success_percent),
        on_failure: match plan.on_failure {
            OnFailure::RollBack => pb::RolloutOnFailure::RollBack,
            OnFailure::Pause => pb::RolloutOnFailure::Pause,
        } as i32,
        budget: plan.budget.as_ref().map(|budget| pb::DisruptionBudget {
            label: budget.label.clone(),
            max: Some(share_of(budget.max)),
        }),
        windows: plan.windows.iter().map(window).collect(),
        patience: prost_types::Duration::try_from(plan.patience).ok(),
    }
}

fn share_of(share: Share) -> pb::Share {
    let part = match share {
        Share::Count(count) => share::Part::Count(count),
        Share::Percent(percent) => share::Part::Percent(u32::from(percent)),
    };
    pb::Share { part: Some(part) }
}

pub(in crate::api) fn wish_from(request: pb::CreateRolloutRequest) -> Result<Wish, Status> {
    use create_rollout_request::Target as Asked;
    let to = match request.target {
        Some(Asked::Bundle(bundle)) => Some(Target::Bundle { name: bundle.name, version: bundle.version }),
        Some(Asked::Settings(settings)) => {
            Some(Target::Settings { profile: settings.profile, version: settings.version })
        }
        Some(Asked::Extension(it)) => Some(Target::Extension { name: it.name, version: it.version }),
        Some(Asked::Release(release)) => Some(super::assignment::release_from("target.release", release)?),
        Some(Asked::Remove(true)) => None,
        Some(Asked::Remove(false)) | None => {
            return Err(invalid(
                "target",
                "name a bundle, a settings profile, an extension or a release, or remove: true",
            ));
        }
    };
    let speed = match pb::RolloutSpeed::try_from(request.speed) {
        Ok(pb::RolloutSpeed::Careful) => Speed::Careful,
        Ok(pb::RolloutSpeed::Normal | pb::RolloutSpeed::Unspecified) => Speed::Normal,
        Ok(pb::RolloutSpeed::Emergency) => Speed::Emergency,
        Err(_) => return Err(invalid("speed", "careful, normal or emergency")),
    };
    let is_without_speed = request.speed == pb::RolloutSpeed::Unspecified as i32;
    Ok(Wish {
        assignment: request.assignment,
        to,
        plan: plan_from(request.plan, speed, is_without_speed)?,
        request_id: request.request_id,
        validate_only: request.validate_only,
    })
}

/// The plan that was asked for; what it leaves out is that of a speed.
fn plan_from(asked: Option<pb::RolloutPlan>, speed: Speed, is_without_speed: bool) -> Result<Plan, Status> {
    let ready = speed.plan();
    let Some(asked) = asked else { return Ok(ready) };
    let steps = asked.steps.into_iter().enumerate().map(|(n, step)| step_from(n, step));
    let steps: Vec<Step> = steps.collect::<Result<_, _>>()?;
    let windows = asked.windows.iter().enumerate().map(|(n, window)| window_from(n, window));
    let budget = asked.budget.map(|budget| {
        let max = share_from("plan.budget.max", budget.max.unwrap_or_default())?;
        Ok::<_, Status>(Budget { label: budget.label, max })
    });
    let max_failed = match asked.max_failed {
        Some(share) => share_from("plan.max_failed", share)?,
        None if is_without_speed => Share::Count(0),
        None => ready.max_failed,
    };
    Ok(Plan {
        steps: if steps.is_empty() { ready.steps } else { steps },
        max_in_flight: match asked.max_in_flight {
            0 if !is_without_speed => ready.max_in_flight,
            asked => asked,
        },
        max_failed,
        success_percent: match asked.success_percent {
            0 => ready.success_percent,
            percent => small("plan.success_percent", percent)?,
        },
        on_failure: match pb::RolloutOnFailure::try_from(asked.on_failure) {
            Ok(pb::RolloutOnFailure::Unspecified) => ready.on_failure,
            Ok(pb::RolloutOnFailure::RollBack) => OnFailure::RollBack,
            Ok(pb::RolloutOnFailure::Pause) => OnFailure::Pause,
            Err(_) => return Err(invalid("plan.on_failure", "roll back or pause")),
        },
        budget: budget.transpose()?,
        windows: windows.collect::<Result<_, _>>()?,
        patience: match asked.patience {
            Some(patience) => time("plan.patience", &patience)?,
            None => ready.patience,
        },
    })
}

fn step_from(n: usize, step: pb::RolloutStep) -> Result<Step, Status> {
    let field = format!("plan.steps[{n}]");
    let reach = match step.reach {
        Some(rollout_step::Reach::Percent(percent)) => {
            Portion::Percent(small(&format!("{field}.percent"), percent)?)
        }
        Some(rollout_step::Reach::Count(count)) => Portion::Count(count),
        Some(rollout_step::Reach::Selector(selector)) => Portion::Selector(selector),
        None => return Err(invalid(field, "it has percent, count or selector")),
    };
    let soak = step.soak.map_or(Ok(Duration::ZERO), |soak| time(&format!("{field}.soak"), &soak))?;
    Ok(Step { reach, soak, approval: step.approval })
}

fn window_from(n: usize, window: &pb::MaintenanceWindow) -> Result<Window, Status> {
    let field = format!("plan.windows[{n}]");
    let days = window.days.iter().map(|day| small(&format!("{field}.days"), *day));
    let start_minute = u16::try_from(window.start_minute)
        .map_err(|_| invalid(format!("{field}.start_minute"), "less than 1440"))?;
    Ok(Window { days: days.collect::<Result<_, _>>()?, start_minute, minutes: window.minutes })
}

fn share_from(field: &str, share: pb::Share) -> Result<Share, Status> {
    match share.part {
        Some(share::Part::Count(count)) => Ok(Share::Count(count)),
        Some(share::Part::Percent(percent)) => {
            Ok(Share::Percent(small(&format!("{field}.percent"), percent)?))
        }
        None => Err(invalid(field, "it has count or percent")),
    }
}

fn small(field: &str, number: u32) -> Result<u8, Status> {
    u8::try_from(number).map_err(|_| invalid(field, format!("{number} is too large")))
}

fn time(field: &str, time: &prost_types::Duration) -> Result<Duration, Status> {
    Duration::try_from(*time).map_err(|_| invalid(field, "a time that is not negative"))
}
