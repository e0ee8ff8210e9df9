//! When many nodes with the same alert are one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Fewer than this are never one, whatever share they are.
pub const LEAST_MEMBERS: usize = 5;

/// When many nodes with the same alert are one alert of their group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damping {
    /// So many nodes are; 0: however many there are, each has its own.
    pub nodes: u32,
    /// Or so many of a hundred of the group, if that is less; 0: no share is.
    pub percent: u32,
    /// That get it within this time.
    pub within: Duration,
    /// The label whose values are the groups; empty: the fleet is one.
    pub by: String,
}

impl Default for Damping {
    fn default() -> Self {
        Self { nodes: 50, percent: 20, within: Duration::from_secs(120), by: String::new() }
    }
}

impl Damping {
    /// How many of a group of `total` nodes are one alert. `None`: never.
    #[must_use]
    pub fn threshold(&self, total: usize) -> Option<usize> {
        let share = (total * self.percent as usize).div_ceil(100);
        let least = match (self.nodes as usize, self.percent) {
            (0, _) => return None,
            (nodes, 0) => nodes,
            (nodes, _) => nodes.min(share),
        };
        Some(least.max(LEAST_MEMBERS))
    }
}
