//! Giving sessions to replicas that have fewer: one that was started anew has none.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use muster_common::ids::ReplicaId;
use muster_domain::replica::{Replica, is_rush, surplus};

use crate::{app::App, session::ports::End};

/// For how often the sessions that are too many are told to go, until the replicas are others: where
/// a balancer sends them back, that must have an end.
const TIMES: u64 = 3;

/// How much there is to give.
#[derive(Debug, Default)]
pub(super) struct Giving {
    /// Among these.
    replicas: BTreeSet<ReplicaId>,
    /// How much these are to give is not counted yet.
    is_new: bool,
    /// So many more.
    left: u64,
    /// Sessions of all of them, when it last looked.
    before: u64,
}

impl Giving {
    /// How many go now, of a replica that is `ours`.
    fn next(&mut self, ours: ReplicaId, all: &[Replica]) -> u64 {
        let replicas: BTreeSet<ReplicaId> = all.iter().map(|replica| replica.id).collect();
        let counts: Vec<u64> = all.iter().map(|replica| replica.sessions).collect();
        let own = all.iter().find(|replica| replica.id == ours).map_or(0, |replica| replica.sessions);
        let before = std::mem::replace(&mut self.before, counts.iter().sum());
        self.is_new |= replicas != self.replicas;
        self.replicas = replicas;
        if is_rush(before, self.before) {
            return 0;
        }
        // Counted when nobody comes any more: at a start of everything they all begin with none.
        if self.is_new && self.before > 0 {
            self.is_new = false;
            let average = self.before / (counts.len() as u64).max(1);
            self.left = own.saturating_sub(average) * TIMES;
        }
        let now = surplus(own, &counts).min(self.left);
        self.left -= now;
        now
    }
}

impl App {
    /// Tells some nodes to go to another replica, if this one has too many.
    pub(super) fn balance(&self) {
        let mut state = self.replicas.state.lock();
        let state = &mut *state;
        let count = state.giving.next(self.replicas.id, &state.all);
        if count == 0 || self.is_draining() {
            return;
        }
        tracing::info!(sessions = count, "{count} nodes are told to go to other replicas, which have fewer");
        self.send_away(count, &addresses_of(&state.all), "balance");
    }

    /// Tells so many nodes to go there.
    pub(super) fn send_away(&self, count: u64, addresses: &Arc<[String]>, reason: &'static str) {
        let (mut left, spread) = (count, self.fixed.session.heartbeat_interval / 2);
        self.hub.for_each(|session| {
            if left > 0 {
                left -= 1;
                let addresses = Arc::clone(addresses);
                session.end(End::Reconnect { after: Duration::ZERO, spread, addresses, reason });
            }
        });
    }

    /// Where nodes that are told to come anew may go; empty: to where they are.
    #[must_use]
    pub fn replica_addresses(&self) -> Arc<[String]> {
        addresses_of(&self.replicas.state.lock().all)
    }
}

pub(super) fn addresses_of(all: &[Replica]) -> Arc<[String]> {
    let addresses: BTreeSet<&String> = all.iter().flat_map(|replica| &replica.addresses).collect();
    addresses.into_iter().cloned().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use muster_common::clock::UnixMillis;

    use super::*;

    pub(in super::super) fn all(sessions: [u64; 3]) -> Vec<Replica> {
        let replica = |(number, sessions)| Replica {
            name: format!("r{number}"),
            id: ReplicaId::from_u128(number),
            version: String::new(),
            started_at: UnixMillis(0),
            beat: 1,
            beat_at: UnixMillis(0),
            addresses: vec![format!("plane-{number}:8443"), "balancer:8443".to_owned()],
            sessions,
            revision: 0,
            leads: false,
        };
        (1..).zip(sessions).map(replica).collect()
    }

    #[test]
    fn where_all_come_back_it_ends_until_the_replicas_are_others() {
        let (mut giving, first) = (Giving::default(), ReplicaId::from_u128(1));
        assert_eq!(giving.next(first, &all([3_000, 0, 0])), 0, "they have just come");
        let mut given = 0;
        for _ in 0..10_000 {
            given += giving.next(first, &all([3_000, 0, 0]));
        }
        assert_eq!(given, 2_000 * TIMES);
        let mut others = all([3_000, 0, 0]);
        others[2].id = ReplicaId::from_u128(4);
        assert!(giving.next(first, &others) > 0);
        assert_eq!(giving.next(ReplicaId::from_u128(2), &all([3_000, 0, 0])), 0);
    }

    #[test]
    fn nobody_is_told_to_go_while_a_crowd_comes_that_would_be_before_it() {
        let (mut giving, first) = (Giving::default(), ReplicaId::from_u128(1));
        for came in [3_000, 3_500, 4_000] {
            assert_eq!(giving.next(first, &all([came, 0, 0])), 0, "{came}");
        }
        assert_eq!(giving.next(first, &all([4_010, 0, 0])), 80, "all are here");
    }

    #[test]
    fn who_gets_all_of_a_fleet_that_comes_at_once_gives_when_it_is_there() {
        let (mut giving, first) = (Giving::default(), ReplicaId::from_u128(1));
        for came in [0, 0, 1_500, 3_000] {
            assert_eq!(giving.next(first, &all([came, 0, 0])), 0, "{came}");
        }
        assert_eq!(giving.next(first, &all([3_000, 0, 0])), 60);
    }

    #[test]
    fn each_address_is_named_once() {
        let told = addresses_of(&all([0; 3]));
        assert_eq!(told[..], ["balancer:8443", "plane-1:8443", "plane-2:8443", "plane-3:8443"]);
    }
}
