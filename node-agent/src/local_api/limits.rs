//! What each user of the host may take of the agent: connections, open calls, calls a
//! second. Root and the agent's own user have theirs beside what all others share, so
//! that nobody shuts them out.

use std::{collections::HashMap, sync::Arc, time::Duration};

use muster_common::clock::Instant;
use parking_lot::Mutex;

use super::caller::Caller;

/// The bounds. What a connection costs at most is the product of the lower part.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of one user.
    pub connections_per_user: usize,
    /// Connections of all users together that do not own the agent.
    pub connections_of_others: usize,
    /// Open calls of one user, over all its connections.
    pub calls_per_user: usize,
    /// Calls of one user: so many at once, and so many a second.
    pub burst: u32,
    /// Calls of one user a second.
    pub per_second: u32,
    /// Open calls of one connection.
    pub streams: u32,
    /// Largest message, in bytes.
    pub message: usize,
    /// Largest headers, in bytes.
    pub headers: u32,
    /// What may be under way on one connection, in bytes, each way.
    pub window: u32,
    /// From connecting to a first call.
    pub first_call_within: Duration,
    /// A connection without an open call is cut after this.
    pub idle: Duration,
    /// From a call's begin to its answer, or to the begin of a stream of answers.
    pub call_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_user: 16,
            connections_of_others: 48,
            calls_per_user: 32,
            burst: 100,
            per_second: 50,
            streams: 16,
            message: 64 * 1024,
            headers: 16 * 1024,
            window: 64 * 1024,
            first_call_within: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            call_within: Duration::from_secs(30),
        }
    }
}

/// A bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Met {
    /// Too many connections of this user.
    #[error("this user has too many connections to the agent; close one")]
    Connections,
    /// Too many connections of all.
    #[error("users of this host have too many connections to the agent; try again later")]
    Others,
    /// Too many open calls of this user.
    #[error("this user has too many open calls; end one, or try again when one has ended")]
    Calls,
    /// Too many calls of this user.
    #[error("too many calls of this user; try again in {} ms", .0.as_millis().max(1))]
    Rate(Duration),
}

/// All users with something open. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Users(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    users: Mutex<HashMap<u32, User>>,
}

#[derive(Debug)]
struct User {
    is_owner: bool,
    connections: usize,
    calls: usize,
    /// Calls that may be made at once.
    credit: f64,
    counted: Instant,
}

/// A connection that counts. Dropped: it no longer does.
#[derive(Debug)]
pub(super) struct Connection(Place);

/// An open call that counts. Dropped: it no longer does.
#[derive(Debug)]
pub(super) struct Call(Place);

#[derive(Debug)]
struct Place {
    users: Users,
    uid: u32,
}

impl Users {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared { limits, users: Mutex::default() }))
    }

    /// Counts a connection.
    pub(super) fn connect(&self, caller: &Caller, now: Instant) -> Result<Connection, Met> {
        let limits = &self.0.limits;
        let mut users = self.0.users.lock();
        users.retain(|_, user| {
            user.refill(limits, now);
            user.connections > 0 || user.calls > 0 || user.credit < f64::from(limits.burst)
        });
        if !caller.is_owner {
            let others = users.values().filter(|user| !user.is_owner);
            if others.map(|user| user.connections).sum::<usize>() >= limits.connections_of_others {
                return Err(Met::Others);
            }
        }
        let user = users.entry(caller.uid).or_insert_with(|| User {
            is_owner: caller.is_owner,
            connections: 0,
            calls: 0,
            credit: f64::from(limits.burst),
            counted: now,
        });
        if user.connections >= limits.connections_per_user {
            return Err(Met::Connections);
        }
        user.connections += 1;
        Ok(Connection(Place { users: self.clone(), uid: caller.uid }))
    }

    /// Counts a call on a connection that counts.
    pub(super) fn call(&self, uid: u32, now: Instant) -> Result<Call, Met> {
        let limits = &self.0.limits;
        let mut users = self.0.users.lock();
        let Some(user) = users.get_mut(&uid) else { return Err(Met::Connections) };
        user.refill(limits, now);
        if user.credit < 1.0 {
            let wait = (1.0 - user.credit) / f64::from(limits.per_second);
            return Err(Met::Rate(Duration::from_secs_f64(wait)));
        }
        user.credit -= 1.0;
        if user.calls >= limits.calls_per_user {
            return Err(Met::Calls);
        }
        user.calls += 1;
        Ok(Call(Place { users: self.clone(), uid }))
    }
}

impl User {
    fn refill(&mut self, limits: &Limits, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        self.credit = (self.credit + passed * f64::from(limits.per_second)).min(f64::from(limits.burst));
        self.counted = now;
    }
}

impl Place {
    fn with(&self, change: impl FnOnce(&mut User)) {
        if let Some(user) = self.users.0.users.lock().get_mut(&self.uid) {
            change(user);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.with(|user| user.connections -= 1);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.with(|user| user.calls -= 1);
    }
}

#[cfg(test)]
mod tests {
    use muster_common::clock::Clock;

    use super::*;

    const fn user(uid: u32) -> Caller {
        Caller { uid, gid: uid, pid: 1, is_owner: uid == 0 }
    }

    fn open(users: &Users, uid: u32, count: usize) -> Vec<Connection> {
        let now = Clock::System.monotonic();
        (0..count).map_while(|_| users.connect(&user(uid), now).ok()).collect()
    }

    #[test]
    fn a_user_has_so_many_connections_and_gets_them_back() {
        let users = Users::new(Limits::default());
        let mut held = open(&users, 1000, 1000);
        assert_eq!(held.len(), 16);
        held.pop();
        assert_eq!(open(&users, 1000, 2).len(), 1);
    }

    #[test]
    fn all_others_together_leave_root_its_share() {
        let users = Users::new(Limits::default());
        let held: Vec<_> = (1000..1100).flat_map(|uid| open(&users, uid, 16)).collect();
        assert_eq!(held.len(), 48);
        let now = Clock::System.monotonic();
        assert_eq!(users.connect(&user(5), now).unwrap_err(), Met::Others);
        assert_eq!(open(&users, 0, 1000).len(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_come_back_with_time_and_not_with_a_new_connection() {
        let (clock, users) = (Clock::System, Users::new(Limits::default()));
        let calls = |users: &Users| {
            let held = open(users, 7, 1);
            let done = (0..1000).take_while(|_| users.call(7, clock.monotonic()).is_ok()).count();
            drop(held);
            done
        };
        assert_eq!(calls(&users), 100);
        assert_eq!(calls(&users), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(calls(&users), 50);
        tokio::time::advance(Duration::from_secs(60)).await;
        drop(open(&users, 8, 1));
        assert_eq!(users.0.users.lock().len(), 1, "who rests is not kept: {users:?}");
    }

    #[test]
    fn calls_that_stay_open_are_counted_while_they_are() {
        let users = Users::new(Limits::default());
        let (_held, now) = (open(&users, 7, 1), Clock::System.monotonic());
        let mut calls: Vec<_> = (0..32).map(|_| users.call(7, now).unwrap()).collect();
        assert_eq!(users.call(7, now).unwrap_err(), Met::Calls);
        calls.pop();
        assert!(users.call(7, now).is_ok());
    }
}
