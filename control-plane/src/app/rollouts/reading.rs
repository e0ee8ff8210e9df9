//! What is told of rollouts.

use std::collections::BTreeMap;

use muster_common::{
    clock::UnixMillis,
    ids::{NodeId, RolloutId},
};
use muster_domain::{
    access::Scope,
    assignment::Assignment,
    page::{Listed, Page},
    rollout::{Brake, Decision, Hold, Member, Rollout, Standing, Tally, View, decide, opens_at, tally, zone},
};
use muster_store::{ReadAssignments as _, ReadRollouts as _};

use super::{
    members::{self, Members},
    sees,
};
use crate::app::{App, Error, assignments::covers, catalog::Contents, fleet::Entry};

/// A rollout with how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// As stored.
    pub rollout: Rollout,
    /// Of all its nodes, in whatever scope; once it is decided, as they stood then.
    pub tally: Tally,
    /// Stable reasons of those that failed, and how many nodes gave each.
    pub failures: BTreeMap<String, usize>,
    /// What it waits for. `None`: it goes on at this moment, or is over.
    pub waits_for: Option<Hold>,
    /// When the first window opens that it waits for.
    pub opens_at: Option<UnixMillis>,
}

/// A node of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeProgress {
    /// Which.
    pub node: NodeId,
    /// What it has made of the change.
    pub standing: Standing,
    /// Why it failed; empty: it has not.
    pub failure: String,
}

impl App {
    /// One rollout.
    ///
    /// # Errors
    /// If it does not exist, or is of no concern to the scope.
    pub async fn rollout(&self, scope: &Scope, id: RolloutId) -> Result<Seen, Error> {
        let rollout = self.shown_rollout(scope, id).await?;
        Ok(self.seen(rollout).await)
    }

    /// One rollout, and its nodes as [`Self::rollout_nodes`], by one look at the fleet.
    ///
    /// # Errors
    /// As [`Self::rollout`].
    pub async fn rollout_and_nodes(
        &self,
        scope: &Scope,
        id: RolloutId,
    ) -> Result<(Seen, Vec<NodeProgress>), Error> {
        let rollout = self.shown_rollout(scope, id).await?;
        let now = self.clock.now();
        let found = members::members(self, &self.catalog.now(), &rollout, now).await;
        let seen = self.seen_with(rollout, &found, now).await;
        Ok((seen, self.progress(scope, found)))
    }

    /// A page of them, newest first. Those that are of no concern to the scope are left
    /// out: a page may be short.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn rollouts(
        &self,
        scope: &Scope,
        page: Page,
        assignment: Option<String>,
    ) -> Result<Listed<Seen>, Error> {
        let read = move |tx: &mut muster_store::ReadTx<'_>| {
            tx.rollout_list(&page, assignment.as_deref()).map_err(Error::from)
        };
        let listed = self.store.read(read).await?;
        let shown = self.shown_rollouts(scope, listed.rows).await?;
        let mut rows = Vec::with_capacity(shown.len());
        for rollout in shown {
            rows.push(self.seen(rollout).await);
        }
        Ok(Listed { rows, next: listed.next })
    }

    /// The nodes of a rollout that are in the scope, in the order in which they come.
    ///
    /// # Errors
    /// As [`Self::rollout`].
    pub async fn rollout_nodes(&self, scope: &Scope, id: RolloutId) -> Result<Vec<NodeProgress>, Error> {
        let rollout = self.shown_rollout(scope, id).await?;
        let found = members::members(self, &self.catalog.now(), &rollout, self.clock.now()).await;
        Ok(self.progress(scope, found))
    }

    fn progress(&self, scope: &Scope, mut found: Members) -> Vec<NodeProgress> {
        found.all.sort_unstable_by_key(|member| (member.order, member.node));
        let is_seen = |node| self.fleet.with(node, |entry| scope.sees(&entry.node)).unwrap_or(false);
        let shown = found.all.into_iter().filter(|member| is_seen(member.node));
        shown
            .map(|Member { node, standing, .. }| NodeProgress {
                node,
                standing,
                failure: found.why.remove(&node).unwrap_or_default(),
            })
            .collect()
    }

    /// Where a node stands in a rollout. `None`: it does not belong to it.
    pub(in crate::app) fn standing_in(
        &self,
        entry: &Entry,
        catalog: &Contents,
        rollout: &Rollout,
    ) -> Option<Standing> {
        members::standing_of(self, entry, catalog, rollout, self.clock.now())
    }

    /// Who stopped all rollouts.
    #[must_use]
    pub fn rollout_brake(&self) -> Option<Brake> {
        self.rollouts.now().brake.clone()
    }

    /// How a rollout stands now, or would.
    pub async fn seen(&self, rollout: Rollout) -> Seen {
        let now = self.clock.now();
        let is_decided = rollout.end.is_some() && rollout.phase.is_over();
        let found = match is_decided {
            true => Members::default(),
            false => members::members(self, &self.catalog.now(), &rollout, now).await,
        };
        self.seen_with(rollout, &found, now).await
    }

    async fn seen_with(&self, rollout: Rollout, found: &Members, now: UnixMillis) -> Seen {
        if let Some(end) = rollout.end.as_ref().filter(|_| rollout.phase.is_over()) {
            let (tally, failures) = (end.tally, end.failures.clone());
            return Seen { rollout, tally, failures, waits_for: None, opens_at: None };
        }
        let view = View { members: &found.all, weather: self.weather(&rollout).await, now };
        let (tally, failures) = match &rollout.end {
            Some(end) => (end.tally, end.failures.clone()),
            None => (tally(&rollout, &view), found.failures()),
        };
        let waits_for = match decide(&rollout, &view) {
            Decision::Wait(hold) if !rollout.phase.is_over() => Some(hold),
            _ => None,
        };
        let opens_at = match waits_for {
            Some(Hold::Window { .. }) => {
                let windows = &rollout.plan.windows;
                found.zones.iter().filter_map(|name| opens_at(windows, &zone(name), now)).min()
            }
            _ => None,
        };
        Seen { rollout, tally, failures, waits_for, opens_at }
    }

    /// One as it is stored.
    ///
    /// # Errors
    /// As [`Self::rollout`].
    pub(super) async fn shown_rollout(&self, scope: &Scope, id: RolloutId) -> Result<Rollout, Error> {
        let found = self.store.read(move |tx| tx.rollout_get(id).map_err(Error::from)).await?;
        let shown = self.shown_rollouts(scope, found.into_iter().collect()).await?;
        shown.into_iter().next().ok_or_else(|| Error::not_found("rollout", &id))
    }

    async fn shown_rollouts(&self, scope: &Scope, found: Vec<Rollout>) -> Result<Vec<Rollout>, Error> {
        let names: Vec<String> = found.iter().map(|rollout| rollout.assignment.clone()).collect();
        let assignments: Vec<Option<Assignment>> = self
            .store
            .read(move |tx| names.iter().map(|name| Ok::<_, Error>(tx.assignment_get(name)?)).collect())
            .await?;
        // One look at the fleet for all of them, and none for those that are in the scope as a whole.
        let is_open = |it: &&Assignment| !covers(&scope.reach, it);
        let there: Vec<Assignment> = assignments.iter().flatten().filter(is_open).cloned().collect();
        let mut reached = match there.is_empty() {
            true => Vec::new(),
            false => self.reach(scope, &there).await,
        }
        .into_iter();
        let mut is_shown = |assignment: Option<Assignment>| {
            let reached = assignment.as_ref().filter(is_open).and_then(|_| reached.next()).unwrap_or(0);
            sees(scope, assignment.as_ref(), reached)
        };
        let both = found.into_iter().zip(assignments);
        Ok(both.filter_map(|(rollout, assignment)| is_shown(assignment).then_some(rollout)).collect())
    }
}
