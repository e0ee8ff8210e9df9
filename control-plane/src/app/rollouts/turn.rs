//! How rollouts go on: what is seen is decided on, and what is decided is written.

use std::time::Duration;

use muster_common::ids::NodeId;
use muster_domain::{
    assignment::Touch,
    audit::Note,
    rollout::{Decision, End, Phase, Rollout, Traced, View, Weather, decide, tally},
};
use muster_store::{ReadAssignments as _, ReadRollouts as _, WriteRollouts as _, WriteTx};
use serde_json::json;

use super::{members, moved};
use crate::app::{App, Error, catalog::Contents, selectors};

/// Nodes touched in one write: the store is other people's, too.
const AT_ONCE: usize = 500;
/// Nodes named in one entry of the audit.
const NAMED: usize = 20;
/// Decisions carried out of one rollout before another one gets its turn.
const IN_A_ROW: usize = 8;
/// Between looks while a rollout is under way, and while none is.
const OFTEN: Duration = Duration::from_millis(250);
const RARELY: Duration = Duration::from_secs(10);

impl App {
    /// Looks at every rollout, and does what follows.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn turn_rollouts(&self) -> Result<(), Error> {
        let open = self.rollouts.now();
        if open.rollouts.is_empty() {
            return Ok(());
        }
        for rollout in &open.rollouts {
            let mut rollout = rollout.clone();
            for _ in 0..IN_A_ROW {
                match self.turn(&rollout).await? {
                    Some(next) => rollout = next,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// When to look again.
    #[must_use]
    pub fn turn_rollouts_in(&self) -> Duration {
        if self.rollouts.now().rollouts.is_empty() { RARELY } else { OFTEN }
    }

    /// What holds around a rollout.
    pub(super) async fn weather(&self, rollout: &Rollout) -> Weather {
        let is_touched = |touches: &[Touch]| touches.iter().any(|touch| touch.rollout == rollout.id);
        let vanished = members::vanished(&self.fleet, rollout.created_at, is_touched).await;
        Weather { brake: self.rollouts.now().brake.is_some(), vanished }
    }

    /// One decision. `None`: nothing is to be done now.
    async fn turn(&self, rollout: &Rollout) -> Result<Option<Rollout>, Error> {
        let (now, catalog) = (self.clock.now(), self.catalog.now());
        if !is_known(&catalog, rollout) {
            return Ok(None);
        }
        let seen = members::members(self, &catalog, rollout, now).await;
        let view = View { members: &seen.all, weather: self.weather(rollout).await, now };
        let end = End { tally: tally(rollout, &view), failures: seen.failures() };
        self.rollouts.saw(rollout.id, end.tally);
        let next = |phase, reason: &str, message| Rollout {
            end: rollout.end.clone().or_else(|| Some(end.clone())),
            ..rollout.moved(phase, reason, message, now)
        };
        match decide(rollout, &view) {
            Decision::Touch(mut nodes) => {
                nodes.truncate(AT_ONCE);
                self.touch(rollout, &catalog, nodes).await
            }
            Decision::Settle => {
                self.go_on(rollout, Rollout { settled_at: Some(now), ..rollout.clone() }).await
            }
            Decision::Advance => {
                let step = rollout.step + 1;
                let traced = rollout.traced.clone().map(|it| Traced { step_since: now, ..it });
                self.go_on(rollout, Rollout { step, settled_at: None, traced, ..rollout.clone() }).await
            }
            Decision::Succeed => self.go_on(rollout, next(Phase::Succeeded, "Done", String::new())).await,
            Decision::Returned => {
                let (reason, message) = (rollout.reason.as_str(), rollout.message.clone());
                self.go_on(rollout, next(Phase::RolledBack, reason, message)).await
            }
            Decision::Stop { to, failed, allowed } => {
                let reasons: Vec<String> =
                    end.failures.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
                let message = format!("{failed} nodes failed, {allowed} are borne; {}", reasons.join(", "));
                tracing::warn!(rollout = %rollout.id, "rollout {} stops: {message}", rollout.id);
                let stopped = next(to, "TooManyFailed", message);
                // Paused it may go on: nothing is decided.
                let end = stopped.end.clone().filter(|_| to == Phase::RollingBack);
                self.go_on(rollout, Rollout { end, ..stopped }).await
            }
            Decision::Wait(_) => Ok(None),
        }
    }

    /// Writes what became of a rollout, unless somebody else was quicker.
    async fn go_on(&self, before: &Rollout, after: Rollout) -> Result<Option<Rollout>, Error> {
        let known = before.clone();
        let commit = self.commit(self.own_stamp("rollouts.go-on"), move |tx| {
            if !is_as_seen(tx, &known)? {
                return Ok(None);
            }
            moved(tx, &known, &after)?;
            Ok(Some(Rollout { revision: tx.revision(), ..after.clone() }))
        });
        let went = self.within_rollout(before, commit).await?;
        if let Some(after) = &went {
            self.rollout_went(before, after);
        }
        if let Some(over) = went.as_ref().filter(|it| it.phase.is_over()) {
            self.metrics.rollout_ended(over.phase.as_str());
        }
        Ok(went)
    }

    /// Gives these nodes what the rollout brings.
    async fn touch(
        &self,
        rollout: &Rollout,
        seen: &Contents,
        nodes: Vec<NodeId>,
    ) -> Result<Option<Rollout>, Error> {
        let Some(known) = seen.assignment(&rollout.assignment) else { return Ok(None) };
        let (known, groups) = (known.assignment.clone(), seen.groups.clone());
        let had: Vec<(NodeId, Vec<Touch>)> = nodes
            .into_iter()
            .filter_map(|id| self.fleet.with(id, |entry| (id, entry.node.touches.clone())))
            .collect();
        let (whose, rollout, now) = (rollout, rollout.clone(), self.clock.now());
        let commit = self.commit(self.own_stamp("rollouts.touch"), move |tx| {
            if !is_as_seen(tx, &rollout)? {
                return Ok(None);
            }
            let Some(assignment) = tx.assignment_get(&rollout.assignment)? else { return Ok(None) };
            // Whom it is for was decided by what memory had: somebody may have been quicker.
            let same_nodes =
                assignment.selector == known.selector && assignment.exclusions == known.exclusions;
            if !same_nodes || selectors::groups(tx)? != groups {
                return Ok(None);
            }
            if tx.rollout_brake()?.is_some() {
                return Ok(None); // pulled since it was decided
            }
            for (node, touches) in &had {
                let touched = assignment.touch_of(touches);
                if touched.is_some_and(|touch| touch.rollout == rollout.id) {
                    continue; // what it had before is known
                }
                let touch = Touch {
                    assignment: assignment.name.clone(),
                    rollout: rollout.id,
                    item: assignment.target.item(),
                    gives: rollout.to.clone(),
                    before: assignment.target_for(touches).cloned(),
                    at: now,
                    revision: 0,
                };
                tx.touch_put(*node, &touch)?;
            }
            let next = Rollout { settled_at: None, ..rollout.clone() };
            tx.rollout_update(&next)?;
            let named: Vec<&NodeId> = had.iter().map(|(node, _)| node).take(NAMED).collect();
            tx.audit(Note {
                subject: format!("rollout/{}", rollout.id),
                after: json!({ "step": rollout.step, "touched": had.len(), "nodes": named }).to_string(),
                ..Note::default()
            })?;
            Ok(Some(Rollout { revision: tx.revision(), ..next }))
        });
        self.within_rollout(whose, commit).await
    }
}

/// Whether memory knows of the assignment what the rollout's phase says: it may be behind.
fn is_known(catalog: &Contents, rollout: &Rollout) -> bool {
    let Some(compiled) = catalog.assignment(&rollout.assignment) else { return false };
    let staged = &compiled.assignment.staged;
    match rollout.phase {
        Phase::RollingBack => staged.gone_back.contains(&rollout.id),
        _ => staged.rollout == Some(rollout.id),
    }
}

/// Whether nobody has written it since it was looked at.
fn is_as_seen(tx: &mut WriteTx<'_>, rollout: &Rollout) -> Result<bool, Error> {
    Ok(tx.rollout_get(rollout.id)?.is_some_and(|stored| stored.revision == rollout.revision))
}
