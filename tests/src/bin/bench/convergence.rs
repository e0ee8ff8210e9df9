//! One change of one bundle for all nodes: how long until every node's answer is stored,
//! and what that costs the control plane, for numbers of nodes and of distinct states
//! that these are in.

mod fit;
mod fleet;
mod point;
mod report;

use std::time::Duration;

pub(crate) use report::{json, judge, print};

use fit::Fit;
use fleet::Fleet;
use point::Point;

/// What is to be measured.
pub(crate) struct Asked {
    /// Numbers of nodes.
    pub(crate) sizes: Vec<usize>,
    /// Numbers of distinct states.
    pub(crate) states: Vec<usize>,
    /// Changes of which the median counts.
    pub(crate) runs: usize,
    /// How long the control plane is watched idle.
    pub(crate) idle: Duration,
    /// How long slow hosts take.
    pub(crate) slow: Duration,
}

/// What was found.
pub(crate) struct Found {
    points: Vec<Point>,
    /// CPU of a change by nodes and states. `None`: too few points tell nothing.
    fit: Option<Fit>,
}

/// Measures all sizes with all numbers of states.
pub(crate) async fn run(asked: &Asked) -> anyhow::Result<Found> {
    let (mut sizes, mut states) = (asked.sizes.clone(), asked.states.clone());
    // The fleet only grows: hosts enroll once.
    sizes.sort_unstable();
    states.sort_unstable();
    let mut fleet = Fleet::start(&states).await?;
    let mut points = Vec::new();
    for size in sizes {
        fleet.grow(size).await?;
        for &states in &states {
            println!("{size} nodes in {states} states");
            points.push(point::measure(&mut fleet, states, asked).await?);
        }
    }
    let fit = fit::of(points.iter().map(|point| (point.nodes, point.states, point.change.cpu_ms())));
    Ok(Found { points, fit })
}
