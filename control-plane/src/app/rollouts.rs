//! Rollouts: what people ask of them. How they go on is in `turn`.

mod looking;
mod members;
mod pause;
mod preview;
mod reading;
mod standings;
pub(super) mod told;
mod traced;
mod turn;

pub use looking::RolloutWatch;
pub(super) use pause::rests;
pub use reading::{NodeProgress, Seen};

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use muster_common::{ids::RolloutId, reason::Reason};
use muster_domain::{
    access::{Reach, Scope},
    assignment::{Assignment, Target},
    audit::Note,
    lane::Lane,
    rollout::{Brake, Phase, Plan, Rollout, Tally, Traced, Wish as Asked, check_groups, check_plan},
};
use muster_store::{
    ReadAssignments as _, ReadRollouts as _, WriteAssignments as _, WriteItemMarks as _, WriteRollouts as _,
    WriteTx,
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use super::{
    Actor, App, Error,
    assignments::{Nodes, Rivals, compiled, covers, fixed, not_ours},
    check_reason, check_request_id, events, selectors,
};

/// The rollouts that are not over, in memory.
#[derive(Default)]
pub struct Rollouts {
    now: ArcSwap<Open>,
    wanted: Notify,
    /// How their nodes stood when they were looked at last.
    seen: Mutex<HashMap<RolloutId, Tally>>,
    watched: looking::Watched,
}

/// All that are not over.
#[derive(Debug, Default)]
pub struct Open {
    /// Oldest first.
    pub rollouts: Vec<Rollout>,
    /// Who stopped them all.
    pub brake: Option<Brake>,
}

/// What somebody wants to bring to nodes.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose nodes.
    pub assignment: String,
    /// What; version 0 is the newest. `None`: it is taken from them.
    pub to: Option<Target>,
    /// How.
    pub plan: Plan,
    /// The caller's own id; empty: none.
    pub request_id: String,
    /// Only tell what it would do.
    pub validate_only: bool,
}

impl Rollouts {
    /// The present ones.
    #[must_use]
    pub fn now(&self) -> Arc<Open> {
        self.now.load_full()
    }

    /// Waits until there is something to look at again.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// There may be something to look at.
    pub(super) fn hint(&self) {
        self.wanted.notify_one();
    }

    /// How many are watched.
    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.watched.len()
    }

    fn replace(&self, open: Open) {
        self.now.store(Arc::new(open));
        self.hint();
    }
}

impl App {
    /// Begins to bring something to the nodes of an assignment.
    ///
    /// # Errors
    /// If the plan cannot be, the assignment is not there or not the caller's to change,
    /// has a rollout under way, or gives that already.
    pub async fn create_rollout(&self, actor: &Actor, wish: Wish) -> Result<Rollout, Error> {
        check_plan(&wish.plan).map_err(Error::Faults)?;
        check_request_id(&wish.request_id)?;
        let now = self.clock.now();
        let (by, reach) = (actor.principal.clone(), actor.scope.reach.clone());
        let (app, id) = (self.clone(), RolloutId::generate());
        let traced = actor.traced.map(|at| Traced { traceparent: at.to_string(), step_since: now });
        self.commit(actor.stamp("rollouts.create", now), move |tx| {
            let request = Some(wish.request_id.as_str()).filter(|id| !id.is_empty());
            if let Some(request) = request
                && let Some(same) = tx.rollout_by_request(&by, request)?
            {
                return again(same, &wish);
            }
            let before = ours(tx, &app, &reach, &wish.assignment)?;
            if let Some(rollout) = before.staged.rollout {
                let message = format!("rollout {rollout} of this assignment is under way");
                return Err(Error::refused(Reason::StateConflict, message));
            }
            let to = wish.to.as_ref().map(|to| fixed(tx, to, &reach)).transpose()?;
            check_target(&before, to.as_ref())?;
            let groups = selectors::groups(tx)?;
            let faults = check_groups(&wish.plan, &groups);
            if !faults.is_empty() {
                return Err(Error::Faults(faults));
            }
            let after = before.begun(id, to.as_ref());
            let begun = compiled(&after, &groups)?;
            Rivals::read(tx, &app, &groups, Some(&begun))?.check(tx, &begun, &Nodes::of(&app))?;
            let rollout = Rollout {
                id,
                assignment: wish.assignment.clone(),
                from: before.base().cloned(),
                to,
                plan: wish.plan.clone(),
                phase: Phase::Running,
                reason: "Started".to_owned(),
                message: String::new(),
                step: 0,
                settled_at: None,
                approved: 0,
                created_at: now,
                created_by: by.clone(),
                since: now,
                end: None,
                traced: traced.clone(),
                revision: if wish.validate_only { 0 } else { tx.revision() },
            };
            if wish.validate_only {
                return Ok(rollout);
            }
            tx.assignment_put(&after)?;
            tx.rollout_insert(&rollout, request)?;
            tx.audit(note(&rollout, None))?;
            events::tell(tx, told::begun(&rollout))?;
            Ok(rollout)
        })
        .await
    }

    /// Asks something of a rollout. What is so already stays so.
    ///
    /// # Errors
    /// If there is no such rollout, its assignment is not the caller's to change, or its
    /// phase does not allow it.
    pub async fn ask_rollout(
        &self,
        actor: &Actor,
        id: RolloutId,
        asked: Asked,
        reason: String,
    ) -> Result<Rollout, Error> {
        check_reason("reason", &reason)?;
        let action = match asked {
            Asked::Pause => "rollouts.pause",
            Asked::Resume => "rollouts.resume",
            Asked::Approve(_) => "rollouts.approve",
            Asked::Abort => "rollouts.abort",
            Asked::RollBack => "rollouts.roll-back",
        };
        let (app, now, reach) = (self.clone(), self.clock.now(), actor.scope.reach.clone());
        // All in one: a stop must not overtake the go that was said before it.
        let commit = self.commit_in(Lane::Brake, actor.stamp(action, now), move |tx| {
            let missing = || Error::not_found("rollout", &id);
            let before = tx.rollout_get(id)?.ok_or_else(missing)?;
            let assignment = ours(tx, &app, &reach, &before.assignment).map_err(|error| match error {
                Error::NotFound { .. } => missing(),
                other => other,
            })?;
            let next = before.asked(asked, now).map_err(|phase| impossible(&before, phase))?;
            let Some(next) = next else { return Ok((before.clone(), before)) };
            // Once it was aborted its trace has ended.
            let traced = next.traced.clone().filter(|_| before.phase != Phase::Aborted);
            let next = Rollout { message: reason.clone(), traced, ..next };
            // One that was aborted can still go back, unless something else has begun since.
            let is_its_own = assignment.staged.rollout.is_none_or(|rollout| rollout == id);
            if next.phase == Phase::RollingBack && before.phase == Phase::Aborted && !is_its_own {
                return Err(impossible(&before, before.phase));
            }
            moved(tx, &before, &next)?;
            Ok((before, Rollout { revision: tx.revision(), ..next }))
        });
        let (before, rollout) = commit.await?;
        self.rollout_went(&before, &rollout);
        // What was so already is so since another time.
        if rollout.phase.is_over() && rollout.since == now {
            self.metrics.rollout_ended(rollout.phase.as_str());
        }
        Ok(rollout)
    }

    /// Stops all rollouts, or lets them go on. What goes back goes on doing so.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn set_rollout_brake(
        &self,
        actor: &Actor,
        on: bool,
        reason: String,
    ) -> Result<Option<Brake>, Error> {
        check_reason("reason", &reason)?;
        let now = self.clock.now();
        let brake = on.then(|| Brake { by: actor.principal.clone(), at: now, reason });
        self.commit_in(Lane::Brake, actor.stamp("rollouts.brake", now), move |tx| {
            let before = tx.rollout_brake()?;
            if before.is_some() == brake.is_some() {
                tx.audit(Note { subject: "rollouts".to_owned(), ..Note::default() })?;
                return Ok(before);
            }
            tx.rollout_set_brake(brake.as_ref())?;
            events::tell(tx, told::braked(brake.as_ref()))?;
            tx.audit(Note {
                subject: "rollouts".to_owned(),
                before: json!({ "brake": before.is_some() }).to_string(),
                after: json!({ "brake": brake.is_some(), "reason": brake.as_ref().map(|it| &it.reason) })
                    .to_string(),
                ..Note::default()
            })?;
            Ok(brake.clone())
        })
        .await
    }

    /// Takes in which rollouts there are.
    pub(super) async fn reload_rollouts(&self) -> Result<(), Error> {
        let read = self.store.read_own(|tx| {
            Ok::<_, Error>(Open { rollouts: tx.rollout_open_all()?, brake: tx.rollout_brake()? })
        });
        self.rollouts.replace(read.await?);
        Ok(())
    }
}

/// Writes that a rollout is in another phase, and what its assignment gives by that.
fn moved(tx: &mut WriteTx<'_>, before: &Rollout, after: &Rollout) -> Result<(), Error> {
    tx.rollout_update(after)?;
    tx.audit(note(after, Some(before)))?;
    told::moved(before, after).map_or(Ok(()), |what| events::tell(tx, what))?;
    if after.phase == before.phase {
        return Ok(());
    }
    let Some(assignment) = tx.assignment_get(&after.assignment)? else { return Ok(()) };
    let revision = tx.revision();
    let next = match after.phase {
        Phase::RollingBack => assignment.going_back(after.id),
        Phase::RolledBack => assignment.gone_back(revision),
        Phase::Aborted => assignment.aborted(after.id),
        Phase::Succeeded => assignment.given(after.to.clone(), revision),
        Phase::Running | Phase::Paused => return Ok(()),
    };
    // Nodes that come later get it as a part of the rollout, and so do those that return.
    let at = traced::whole(after).map(|at| at.to_string()).unwrap_or_default();
    tx.item_mark_in(&next.target.item(), &at)?;
    Ok(tx.assignment_put(&next)?)
}

/// The assignment, if the caller may change all that it can reach.
fn ours(tx: &mut WriteTx<'_>, app: &App, reach: &Reach, name: &str) -> Result<Assignment, Error> {
    let found = tx.assignment_get(name)?.ok_or_else(|| Error::not_found("assignment", name))?;
    if covers(reach, &found) {
        return Ok(found);
    }
    Err(not_ours(&found, &selectors::groups(tx)?, reach, &app.labelled()))
}

fn again(same: Rollout, wish: &Wish) -> Result<Rollout, Error> {
    let is_same_target = match (&same.to, &wish.to) {
        (Some(to), Some(asked)) => to.answers(asked),
        (to, asked) => to == asked,
    };
    if same.assignment == wish.assignment && is_same_target && same.plan == wish.plan {
        return Ok(same);
    }
    let message = format!("request id {:?} made rollout {} with other content", wish.request_id, same.id);
    Err(Error::refused(Reason::RequestIdReused, message))
}

fn check_target(assignment: &Assignment, to: Option<&Target>) -> Result<(), Error> {
    if let Some(other) = to.map(Target::item).filter(|item| *item != assignment.target.item()) {
        let message = format!("the assignment gives {}, not {other}", assignment.target.item());
        return Err(Error::invalid("target", message));
    }
    let is_release = matches!(assignment.target, Target::Release { .. });
    if is_release && to.is_none() {
        return Err(Error::invalid("target", "no agent can be taken away: name a release"));
    }
    // Who has had nothing has nothing to return to: an agent cannot take itself away.
    if is_release && assignment.base().is_none() {
        let message = "there would be no way back: assign the version they run first, and not held";
        return Err(Error::refused(Reason::StateConflict, message));
    }
    if assignment.base() == to && assignment.staged.aborted.is_empty() {
        return Err(Error::refused(Reason::StateConflict, "all nodes of the assignment get that already"));
    }
    Ok(())
}

fn impossible(rollout: &Rollout, phase: Phase) -> Error {
    let message = format!("rollout {} is {}", rollout.id, phase.as_str());
    Error::refused(Reason::StateConflict, message)
}

fn note(after: &Rollout, before: Option<&Rollout>) -> Note {
    Note {
        subject: format!("rollout/{}", after.id),
        before: before.map_or_else(String::new, shown),
        after: shown(after),
        ..Note::default()
    }
}

fn shown(rollout: &Rollout) -> String {
    json!({
        "assignment": rollout.assignment, "from": rollout.from, "to": rollout.to, "phase": rollout.phase,
        "step": rollout.step, "approved": rollout.approved, "reason": rollout.reason,
        "message": rollout.message,
    })
    .to_string()
}

/// Whether a caller may see a rollout: as it may see the assignment.
fn sees(scope: &Scope, assignment: Option<&Assignment>, reached: usize) -> bool {
    match assignment {
        Some(assignment) => reached > 0 || covers(&scope.reach, assignment),
        None => scope.is_whole(),
    }
}
