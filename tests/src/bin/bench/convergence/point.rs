//! One number of nodes in one number of states: a change for all of them.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use anyhow::ensure;
use muster_common::clock::{Clock, Instant};
use muster_proto::{admin::v1 as pb, types::v1 as types};
use muster_tests::{
    operator::reported,
    swarm::{Swarm, Temper},
};

use super::{Asked, Fleet};
use crate::{AT_ONCE, LIMIT, SETTLE, median};

/// One node in so many is slow, and one in so many rejects what it is offered.
const SLOW: usize = 20;
const REJECTING: usize = 100;
/// What nodes get on top.
const TOP: &str = "bundle/top";

/// What was found.
pub(super) struct Point {
    pub(super) nodes: usize,
    pub(super) states: usize,
    /// What it took to make the states, by state.
    pub(super) made: Made,
    /// All hosts apply it at once.
    pub(super) change: Figures,
    /// Some are slow, and some reject it.
    pub(super) disturbed: Figures,
}

/// What a bundle and an assignment of it took, both together.
pub(super) struct Made {
    pub(super) ms: f64,
    pub(super) cpu_ms: f64,
}

/// By name.
#[derive(Default)]
pub(super) struct Figures(pub(super) BTreeMap<&'static str, f64>);

impl Figures {
    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn cpu_ms(&self) -> f64 {
        self.get("cpu_ms")
    }

    /// The medians of several.
    fn medians(runs: &[Self]) -> Self {
        let names = runs.iter().flat_map(|run| run.0.keys().copied());
        Self(names.map(|name| (name, median(runs.iter().map(|run| run.get(name)).collect()))).collect())
    }
}

/// Brings all nodes into so many states, and changes what all of them have.
pub(super) async fn measure(fleet: &mut Fleet, states: usize, asked: &Asked) -> anyhow::Result<Point> {
    fleet.restart().await;
    let made = make(fleet, states).await?;
    let swarm = Swarm::start(fleet.plane.addresses().agents, &fleet.identities, AT_ONCE);
    let nodes = swarm.probes.len();
    settled(&swarm).await?;
    let mut runs = Vec::new();
    for _ in 0..asked.runs {
        runs.push(change(fleet, &swarm, asked.idle).await?);
    }
    disturb(&swarm, asked.slow);
    let mut disturbed = change(fleet, &swarm, asked.idle).await?;
    // What is offered again and again is offered again by now.
    tokio::time::sleep(SETTLE).await;
    check_disturbed(fleet, &swarm, &mut disturbed).await?;
    swarm.end().await;
    fleet.clear(states).await?;
    Ok(Point { nodes, states, made, change: Figures::medians(&runs), disturbed })
}

async fn make(fleet: &mut Fleet, states: usize) -> anyhow::Result<Made> {
    let (cpu, begun) = (fleet.plane.process().cpu(), Clock::System.monotonic());
    fleet.set_states(states).await?;
    let all = number(states);
    let ms = millis(Clock::System.monotonic() - begun) / all;
    let cpu_ms = millis(fleet.plane.process().cpu() - cpu) / all;
    fleet.set_top().await?;
    Ok(Made { ms, cpu_ms })
}

/// Waits until all nodes have answered all that they were offered.
async fn settled(swarm: &Swarm) -> anyhow::Result<()> {
    let all = swarm.probes.len() as u64;
    let came = swarm.counters.reach(&swarm.counters.settled, all, LIMIT).await;
    let count = swarm.counters.settled.load(Ordering::Relaxed);
    ensure!(came, "{count} of {all} nodes have answered; nothing more came in {LIMIT:?}");
    Ok(())
}

/// One change, from just before it is asked for until the last node has heard that its
/// answer is stored.
async fn change(fleet: &mut Fleet, swarm: &Swarm, idle: Duration) -> anyhow::Result<Figures> {
    fleet.new_top().await;
    tokio::time::sleep(SETTLE).await;
    let idle = idle_share(fleet, idle).await;
    swarm.probes.iter().for_each(|probe| probe.clear());
    swarm.counters.settled.store(0, Ordering::Relaxed);
    let before = fleet.plane.process().rss_kib();
    fleet.plane.process().reset_peak()?;
    let (written, store) = (fleet.plane.process().written_bytes(), fleet.store_bytes());
    let (cpu, begun) = (fleet.plane.process().cpu(), Clock::System.monotonic());
    fleet.change().await?;
    let answered = Clock::System.monotonic();
    settled(swarm).await?;
    let (used, ended) = (fleet.plane.process().cpu() - cpu, Clock::System.monotonic());
    let idled = (ended - begun).mul_f64(idle);
    let process = fleet.plane.process();
    let (peak, after) = (process.peak_kib(), process.rss_kib());
    let written = process.written_bytes().saturating_sub(written);
    let grown = fleet.store_bytes().saturating_sub(store);
    let mut figures = times(swarm, answered);
    figures.0.extend([
        ("write_ms", millis(answered - begun)),
        ("cpu_ms", millis(used) - millis(idled)),
        ("cpu_idle_ms", millis(idled)),
        ("memory_before_kib", wide(before)),
        ("memory_peak_kib", wide(peak)),
        ("memory_after_kib", wide(after)),
        ("written_kib", wide(written / 1024)),
        ("store_grown_kib", wide(grown / 1024)),
    ]);
    Ok(figures)
}

/// What of a core the control plane needs while nothing changes and all nodes beat.
async fn idle_share(fleet: &mut Fleet, idle: Duration) -> f64 {
    let (cpu, begun) = (fleet.plane.process().cpu(), Clock::System.monotonic());
    tokio::time::sleep(idle).await;
    let used = fleet.plane.process().cpu() - cpu;
    used.as_secs_f64() / (Clock::System.monotonic() - begun).as_secs_f64()
}

/// From the answer to the write until each node had heard that its own is stored; what
/// was quicker than that answer took no time.
fn times(swarm: &Swarm, answered: Instant) -> Figures {
    let since = |at: Instant| millis(at.saturating_duration_since(answered));
    let seen: Vec<_> = swarm.probes.iter().map(|probe| probe.seen()).collect();
    let sorted = |times: Vec<f64>| {
        let mut times = times;
        times.sort_by(f64::total_cmp);
        times
    };
    let received = sorted(seen.iter().filter_map(|seen| seen.received).map(since).collect());
    let stored = sorted(seen.iter().filter_map(|seen| seen.acknowledged).map(since).collect());
    Figures(BTreeMap::from([
        ("received_p50_ms", percentile(&received, 50)),
        ("received_last_ms", percentile(&received, 100)),
        ("p50_ms", percentile(&stored, 50)),
        ("p99_ms", percentile(&stored, 99)),
        ("last_ms", percentile(&stored, 100)),
    ]))
}

/// The smallest of some sorted values that so many of a hundred do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn temper(place: usize, slow: Duration) -> Temper {
    match place {
        _ if place % REJECTING == 1 => Temper::Rejecting,
        _ if place.is_multiple_of(SLOW) => Temper::Slow(slow),
        _ => Temper::Prompt,
    }
}

fn disturb(swarm: &Swarm, slow: Duration) {
    for (place, probe) in swarm.probes.iter().enumerate() {
        probe.set_temper(temper(place, slow));
    }
}

/// That whoever rejected the change is shown so, runs what it ran, and was offered it once.
async fn check_disturbed(fleet: &Fleet, swarm: &Swarm, figures: &mut Figures) -> anyhow::Result<()> {
    let of = |wanted: fn(&Temper) -> bool| swarm.probes.iter().filter(move |probe| wanted(&probe.temper()));
    let slow = of(|temper| matches!(temper, Temper::Slow(_))).count();
    let rejecting = of(|temper| *temper == Temper::Rejecting).count();
    let most_offers = swarm.probes.iter().map(|probe| probe.seen().offers).max().unwrap_or(0);
    let (in_sync, rejected) = shown(fleet).await?;
    ensure!(rejected == rejecting, "{rejecting} nodes rejected the change, {rejected} are shown so");
    let others = swarm.probes.len() - rejecting;
    ensure!(in_sync == others, "{others} nodes have the change, {in_sync} are shown so");
    ensure!(most_offers == 1, "a node was offered the change {most_offers} times");
    figures.0.extend([
        ("slow", number(slow)),
        ("rejecting", number(rejecting)),
        ("shown_as_rejected", number(rejected)),
        ("most_offers", wide(most_offers)),
    ]);
    Ok(())
}

/// Nodes that the API shows to have the change, and to have rejected it for what it is.
async fn shown(fleet: &Fleet) -> anyhow::Result<(usize, usize)> {
    let (mut in_sync, mut rejected, mut token) = (0, 0, String::new());
    loop {
        let request = pb::ListNodesRequest { page_size: 1000, page_token: token, ..Default::default() };
        let page = fleet.operator.nodes.clone().list_nodes(request).await?.into_inner();
        in_sync += page.nodes.iter().filter(|node| has_change(node)).count();
        rejected += page.nodes.iter().filter(|node| has_rejected(node)).count();
        token = page.next_page_token;
        if token.is_empty() {
            return Ok((in_sync, rejected));
        }
    }
}

fn has_change(node: &pb::Node) -> bool {
    node.items.iter().any(|item| item.item == TOP && item.in_sync)
}

fn has_rejected(node: &pb::Node) -> bool {
    reported(node, TOP).is_some_and(|state| {
        let is_content = |error: &types::ItemError| error.cause() == types::FailureCause::Content;
        state.outcome() == types::ItemOutcome::Rejected && state.error.as_ref().is_some_and(is_content)
    }) && !has_change(node)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Counts here are far below what a float holds.
#[allow(clippy::cast_precision_loss)]
pub(super) fn number(count: usize) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss)]
fn wide(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&values, percent)), [100.0, 198.0, 200.0]);
        assert_eq!(percentile(&[7.0], 50), 7.0);
    }

    #[test]
    fn five_in_a_hundred_are_slow_and_one_rejects() {
        let slow = Duration::from_secs(5);
        let count = |wanted| (0..1000).filter(|place| temper(*place, slow) == wanted).count();
        assert_eq!((count(Temper::Slow(slow)), count(Temper::Rejecting)), (50, 10));
    }
}
