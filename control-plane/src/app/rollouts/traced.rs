//! Rollouts as parts of traces: the whole, its steps, and below them what nodes get.

use std::future::Future;

use muster_common::{
    clock::UnixMillis,
    generation::Generation,
    ids::NodeId,
    trace::{Context, SpanId},
};
use muster_domain::{
    item::ItemName,
    rollout::{Phase, Rollout},
};

use crate::{
    app::App,
    traces::{self, Attribute, By, Kind, Span, Value},
};

/// Where a rollout is in its trace. `None`: nobody collects that.
pub(super) fn whole(rollout: &Rollout) -> Option<Context> {
    let asked = asked(rollout)?;
    Some(asked.at(SpanId::of(&asked.trace, &format!("rollout/{}", rollout.id))))
}

/// The call that made it.
fn asked(rollout: &Rollout) -> Option<Context> {
    Context::sampled(&rollout.traced.as_ref()?.traceparent)
}

/// What it does now is below this: its step, while it goes forward.
fn now(rollout: &Rollout) -> Option<Context> {
    let whole = whole(rollout)?;
    let step = format!("rollout/{}/step/{}", rollout.id, rollout.step);
    Some(if is_forward(rollout) { whole.at(SpanId::of(&whole.trace, &step)) } else { whole })
}

const fn is_forward(rollout: &Rollout) -> bool {
    matches!(rollout.phase, Phase::Running | Phase::Paused)
}

impl App {
    /// Does something of a rollout as a part of its trace.
    pub(super) async fn within_rollout<F: Future>(&self, rollout: &Rollout, work: F) -> F::Output {
        match now(rollout).filter(|_| self.traces.is_on()) {
            Some(at) => traces::within(at, work).await,
            None => work.await,
        }
    }

    /// A rollout is in another step or phase: what is over by that is told.
    pub(super) fn rollout_went(&self, before: &Rollout, after: &Rollout) {
        if !self.traces.is_on() {
            return;
        }
        let Some((whole, traced)) = whole(before).zip(before.traced.as_ref()) else { return };
        let why = match after.phase {
            Phase::Running | Phase::Paused | Phase::Succeeded => String::new(),
            _ => after.reason.clone(),
        };
        let is_over = after.step != before.step || !is_forward(after);
        if let Some(step) = now(before).filter(|_| is_forward(before) && is_over) {
            let number = ("muster.rollout.step", Value::Number(i64::from(before.step) + 1));
            let attributes = vec![id(before), number];
            let span = (step, Some(whole.span), "rollout step", traced.step_since);
            self.tell_rollout(span, why.clone(), attributes);
        }
        if after.phase.is_over() && after.phase != before.phase {
            let assignment = ("muster.assignment", Value::Text(before.assignment.clone()));
            let phase = ("muster.rollout.phase", Value::Text(after.phase.as_str().to_owned()));
            let above = asked(before).map(|asked| asked.span);
            let span = (whole, above, "rollout", before.created_at);
            self.tell_rollout(span, why, vec![id(before), assignment, phase]);
        }
    }

    fn tell_rollout(
        &self,
        (at, parent, name, since): (Context, Option<SpanId>, &str, UnixMillis),
        error: String,
        attributes: Vec<Attribute>,
    ) {
        self.traces.tell(Span {
            by: By::Here,
            trace: at.trace,
            id: at.span,
            parent,
            name: name.to_owned(),
            kind: Kind::Producer,
            begin_us: since.0.saturating_mul(1000),
            end_us: self.clock.now().0.saturating_mul(1000),
            error,
            attributes,
        });
    }

    /// Where the rollout is in its trace that has given a node an item at this place in the history.
    pub(in crate::app) fn rollout_gave(
        &self,
        node: NodeId,
        item: &ItemName,
        generation: Generation,
    ) -> Option<Context> {
        let open = self.rollouts.now();
        if open.rollouts.iter().all(|rollout| rollout.traced.is_none()) {
            return None; // the node need not be looked at
        }
        let gave = self.fleet.with(node, |entry| {
            let mut touches = entry.node.touches.iter();
            let is_it = |touch: &&muster_domain::assignment::Touch| {
                touch.item == *item && touch.revision == generation.number
            };
            touches.find(is_it).map(|touch| touch.rollout)
        });
        let gave = gave.flatten()?;
        open.rollouts.iter().find(|rollout| rollout.id == gave).and_then(now)
    }
}

fn id(rollout: &Rollout) -> Attribute {
    ("muster.rollout.id", Value::Text(rollout.id.to_string()))
}
