//! What becomes of rollouts, as events.

use muster_domain::{
    alert::Severity,
    event::{Happened, Kind},
    rollout::{Brake, Phase, Rollout},
};

/// It began.
pub(super) fn begun(rollout: &Rollout) -> Happened {
    of(Kind::RolloutStarted, rollout, "began")
}

/// It is in another phase or step than before. `None`: it is not.
pub(super) fn moved(before: &Rollout, after: &Rollout) -> Option<Happened> {
    if before.phase == after.phase {
        let is_on = before.step != after.step;
        return is_on.then(|| of(Kind::RolloutStep, after, "goes on").with("step", after.step));
    }
    let what = match after.phase {
        Phase::Running => of(Kind::RolloutResumed, after, "goes on"),
        Phase::Paused => of(Kind::RolloutPaused, after, "rests"),
        Phase::RollingBack => of(Kind::RolloutRollingBack, after, "goes back"),
        Phase::RolledBack | Phase::Aborted => {
            let does = format!("ended: {}", after.phase.as_str());
            of(Kind::RolloutEnded, after, &does).as_bad_as(Severity::Warning)
        }
        Phase::Succeeded => of(Kind::RolloutEnded, after, "ended: it has brought it to all"),
    };
    Some(what.with("phase", after.phase.as_str()).with("why", &after.message))
}

/// All of them are stopped, or let go.
pub(in crate::app) fn braked(brake: Option<&Brake>) -> Happened {
    match brake {
        Some(brake) => Happened::new(Kind::RolloutBrake, "all rollouts were stopped")
            .about("rollouts")
            .with("why", &brake.reason),
        None => Happened::new(Kind::RolloutBrake, "rollouts may go on")
            .about("rollouts")
            .as_bad_as(Severity::Info),
    }
}

fn of(kind: Kind, rollout: &Rollout, does: &str) -> Happened {
    let assignment = &rollout.assignment;
    Happened::new(kind, &format!("the rollout of assignment {assignment} {does}"))
        .about(format!("rollout/{}", rollout.id))
        .for_reason(&rollout.reason)
        .with("assignment", assignment)
}
