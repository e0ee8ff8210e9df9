//! Giving all sessions away while the database cannot be reached from here: the others have this
//! process for lost by then, wait for its nodes, and would call them offline, who are all here.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use muster_common::{clock::Instant, ids::ReplicaId};
use muster_domain::{
    liveness::Limits,
    replica::{LEASE, Replica},
};

use super::balance::addresses_of;
use crate::app::App;

/// So often as many as there are are told to go. Some come back here, and if the database is gone
/// for all, all do: that must have an end.
const TIMES: usize = 2;

/// When they go: while the others still wait for them.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Without a beat. A database that fails over is back before.
    after: Duration,
    /// So long until all have gone.
    takes: Duration,
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Since when, and how many are to go.
    begun: Option<(Instant, usize)>,
    /// How many were told.
    told: usize,
}

impl Plan {
    fn of(limits: &Limits) -> Self {
        // What is left then is for the way of the last.
        Self { after: LEASE + limits.away / 5, takes: limits.away * 3 / 5 }
    }
}

impl Leaving {
    /// How many of so many sessions go now, the last beat of this process being so old.
    fn next(&mut self, silent: Duration, sessions: usize, now: Instant, plan: Plan) -> usize {
        if silent < plan.after {
            *self = Self::default();
            return 0;
        }
        let (begun, all) = *self.begun.get_or_insert((now, sessions * TIMES));
        let passed = now.saturating_duration_since(begun).as_millis();
        let due = all as u128 * passed / plan.takes.as_millis().max(1);
        let due = usize::try_from(due).unwrap_or(all).min(all);
        let next = due.saturating_sub(self.told);
        self.told += next;
        next
    }
}

impl App {
    /// Sends some nodes to the others, if they have had this process for lost for a while.
    pub fn leave_if_cut_off(&self) {
        let now = self.clock.monotonic();
        let Some(silent) = self.replicas.beat_age(now).filter(|_| !self.is_draining()) else { return };
        let (count, addresses) = {
            let mut state = self.replicas.state.lock();
            let Some(addresses) = elsewhere(&state.all, self.replicas.id) else { return };
            let plan = Plan::of(&self.liveness_limits());
            (state.leaving.next(silent, self.hub.len(), now, plan), addresses)
        };
        if count == 0 {
            return;
        }
        tracing::warn!(
            sessions = count,
            "{count} nodes are told to go to other replicas: this one cannot say that they are here"
        );
        self.send_away(count as u64, &addresses, "cut-off");
    }
}

/// Where the others are; where all have one address, a balancer knows who of them is fit. `None`:
/// there is nobody else.
fn elsewhere(all: &[Replica], ours: ReplicaId) -> Option<Arc<[String]>> {
    let (own, others): (Vec<&Replica>, Vec<&Replica>) = all.iter().partition(|replica| replica.id == ours);
    if others.is_empty() {
        return None;
    }
    let own: BTreeSet<&String> = own.into_iter().flat_map(|replica| &replica.addresses).collect();
    let there: BTreeSet<&String> = others.into_iter().flat_map(|replica| &replica.addresses).collect();
    let theirs: Arc<[String]> = there.difference(&own).map(|address| (*address).clone()).collect();
    Some(if theirs.is_empty() { addresses_of(all) } else { theirs })
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;
    use crate::app::replicas::balance::tests::all;

    const PLAN: Plan = Plan { after: Duration::from_secs(40), takes: Duration::from_secs(90) };

    #[test]
    fn all_are_told_twice_at_most_while_the_others_still_wait() {
        let (mut leaving, start) = (Leaving::default(), Clock::System.monotonic());
        let mut next = |seconds: u64| {
            let silent = Duration::from_secs(seconds);
            leaving.next(silent, 900, start + silent, PLAN)
        };
        assert_eq!([0, 39, 40].map(&mut next), [0; 3], "a database that fails over moves nobody");
        assert_eq!([41, 45].map(&mut next), [20, 80]);
        let told: usize = (46..=130).map(&mut next).sum();
        assert_eq!(told, 900 * TIMES - 100);
        assert_eq!([131, 10_000].map(&mut next), [0; 2], "who comes back meanwhile stays");
        assert_eq!([1, 40, 41].map(&mut next), [0, 0, 20], "it was back, and is cut off again");
    }

    #[test]
    fn all_have_gone_before_the_others_call_the_first_gone() {
        let limits = Limits::from_interval(Duration::from_secs(15));
        let plan = Plan::of(&limits);
        assert_eq!((plan.after, plan.takes), (PLAN.after, PLAN.takes));
        assert!(plan.after + plan.takes + limits.grace <= LEASE + limits.away);
    }

    #[test]
    fn they_go_where_the_others_are() {
        let (first, replicas) = (ReplicaId::from_u128(1), all([3, 0, 0]));
        assert_eq!(elsewhere(&replicas[..1], first), None, "there is nobody else");
        let there = elsewhere(&replicas, first).unwrap();
        assert_eq!(there[..], ["plane-2:8443", "plane-3:8443"]);
        let mut behind_one = replicas;
        behind_one.iter_mut().for_each(|replica| replica.addresses = vec!["balancer:8443".to_owned()]);
        assert_eq!(elsewhere(&behind_one, first).unwrap()[..], ["balancer:8443"]);
    }
}
