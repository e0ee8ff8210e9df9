//! Open connections, by whom, so that one of them can be cut.

use std::{collections::HashMap, sync::Arc};

use muster_common::tls::spiffe::Principal;
use parking_lot::Mutex;

use crate::session::line::Line;

/// All open connections with an identity. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Mutex<HashMap<Principal, Vec<Open>>>>);

#[derive(Debug)]
struct Open {
    serial: String,
    line: Line,
}

/// A place in the registry; leaves with the connection.
#[derive(Debug)]
pub struct Entry {
    registry: Registry,
    principal: Principal,
    line: Line,
}

impl Registry {
    /// Enters a connection. If its identity has `most` others, the oldest is cut
    /// for it: the newest is the one that surely lives. Answers whether one was.
    pub fn enter(&self, principal: &Principal, serial: &str, line: &Line, most: usize) -> (Entry, bool) {
        let mut all = self.0.lock();
        // A node has one, and there are many nodes.
        let open = all.entry(principal.clone()).or_insert_with(|| Vec::with_capacity(1));
        let staying = open.iter().filter(|open| !open.line.is_ending());
        let over = staying.clone().count() >= most;
        if let Some(oldest) = staying.clone().next().filter(|_| over) {
            oldest.line.cut();
        }
        open.push(Open { serial: serial.to_owned(), line: line.clone() });
        (Entry { registry: self.clone(), principal: principal.clone(), line: line.clone() }, over)
    }

    /// Cuts the connections of a principal whose certificate is not this one. Answers how many.
    pub fn cut_others(&self, principal: &Principal, serial: Option<&str>) -> usize {
        let all = self.0.lock();
        let open = all.get(principal).map_or(&[][..], Vec::as_slice);
        open.iter()
            .filter(|open| serial.is_none_or(|serial| open.serial != serial))
            .inspect(|open| open.line.cut())
            .count()
    }

    /// Cuts the connections with a certificate. Answers how many.
    pub fn cut_serial(&self, serial: &str) -> usize {
        let all = self.0.lock();
        let open = all.values().flatten().filter(|open| open.serial == serial);
        open.inspect(|open| open.line.cut()).count()
    }

    /// How many nodes have one.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.0.lock().keys().filter(|principal| matches!(principal, Principal::Node(_))).count()
    }

    /// Asks all connections of a principal to end: what was said goes out. Answers how many.
    pub fn leave(&self, principal: &Principal) -> usize {
        let all = self.0.lock();
        let open = all.get(principal).map_or(&[][..], Vec::as_slice);
        open.iter().inspect(|open| open.line.leave()).count()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut all = self.registry.0.lock();
        if let Some(open) = all.get_mut(&self.principal) {
            open.retain(|open| open.line != self.line);
            if open.is_empty() {
                all.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(name: &str) -> Principal {
        Principal::Operator(name.to_owned())
    }

    #[test]
    fn a_cut_reaches_exactly_the_connections_it_names() {
        let (registry, a, b) = (Registry::default(), operator("a"), operator("b"));
        let lines = [Line::default(), Line::default(), Line::default()];
        let _first = registry.enter(&a, "01", &lines[0], 9);
        let _second = registry.enter(&a, "02", &lines[1], 9);
        let _other = registry.enter(&b, "03", &lines[2], 9);
        assert_eq!(registry.cut_serial("04"), 0);
        assert_eq!(registry.cut_others(&a, Some("02")), 1);
        assert_eq!(lines.each_ref().map(Line::is_ending), [true, false, false]);
        assert_eq!(registry.cut_others(&a, None), 2);
        assert_eq!(lines.each_ref().map(Line::is_ending), [true, true, false]);
        assert_eq!(registry.leave(&b), 1);
        assert!(lines[2].is_ending());
        assert_eq!(registry.nodes(), 0);
        let node = Principal::Node(muster_common::ids::NodeId::from_u128(1));
        let entry = registry.enter(&node, "05", &Line::default(), 9);
        assert_eq!(registry.nodes(), 1);
        drop(entry);
        assert_eq!(registry.nodes(), 0);
    }

    #[test]
    fn the_oldest_connection_of_an_identity_makes_room_for_the_newest() {
        let (registry, a) = (Registry::default(), operator("a"));
        let lines = [Line::default(), Line::default(), Line::default()];
        let (first, cut) = registry.enter(&a, "01", &lines[0], 2);
        assert!(!cut);
        let _second = registry.enter(&a, "01", &lines[1], 2);
        let (_third, cut) = registry.enter(&a, "01", &lines[2], 2);
        assert!(cut);
        assert_eq!(lines.each_ref().map(Line::is_ending), [true, false, false]);
        drop(first);
        let (_fourth, cut) = registry.enter(&a, "01", &Line::default(), 3);
        assert!(!cut, "places are given back");
    }
}
