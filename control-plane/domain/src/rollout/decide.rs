//! What a rollout does next. A function of what is seen at one moment: called again
//! and again, by any process, it comes to the same end.

use std::time::Duration;

use muster_common::{clock::UnixMillis, ids::NodeId};

use serde::{Deserialize, Serialize};

use super::{
    OnFailure, Phase, Portion, Rollout,
    view::{Member, Presence, Standing, View},
};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// These are given it now, in this order.
    Touch(Vec<NodeId>),
    /// All that the step asks for is there: its soak begins.
    Settle,
    /// The next step begins.
    Advance,
    /// All nodes get it.
    Succeed,
    /// Too many have failed: this is its next phase.
    Stop {
        /// Rolling back, or paused.
        to: Phase,
        /// So many.
        failed: usize,
        /// So many are borne.
        allowed: usize,
    },
    /// All that were touched have returned.
    Returned,
    /// Nothing now.
    Wait(Hold),
}

/// What a rollout waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A person: it is paused, or over.
    Phase,
    /// Somebody to let go of the brake.
    Brake,
    /// Nodes that vanished together to come back, or a person.
    Vanished {
        /// So many.
        count: u32,
    },
    /// A person's yes to this step.
    Approval,
    /// Answers.
    Answers {
        /// Of so many nodes.
        count: usize,
    },
    /// A window to open.
    Window {
        /// For so many nodes.
        count: usize,
    },
    /// Room in the budget.
    Budget {
        /// For so many nodes.
        count: usize,
    },
    /// The soak to end.
    Soak {
        /// Then.
        until: UnixMillis,
    },
    /// A node to be here: none of those that it is for is.
    Nobody,
}

impl Hold {
    /// Its stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phase => "Paused",
            Self::Brake => "Brake",
            Self::Vanished { .. } => "NodesVanished",
            Self::Approval => "Approval",
            Self::Answers { .. } => "Answers",
            Self::Window { .. } => "Window",
            Self::Budget { .. } => "Budget",
            Self::Soak { .. } => "Soak",
            Self::Nobody => "NobodyHere",
        }
    }
}

/// How the members stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// All.
    pub total: usize,
    /// That are here.
    pub here: usize,
    /// That were given it.
    pub touched: usize,
    /// That have not answered, and have not failed by that.
    pub waiting: usize,
    /// That have it.
    pub done: usize,
    /// That refused it, did not answer in time, or fell silent after they got it.
    pub failed: usize,
    /// That do not take part.
    pub excused: usize,
}

/// How many may fail of those that were touched.
#[must_use]
pub fn allowed_failures(rollout: &Rollout, touched: usize) -> usize {
    rollout.plan.max_failed.of(touched)
}

/// How the members stand.
#[must_use]
pub fn tally(rollout: &Rollout, view: &View<'_>) -> Tally {
    let mut tally = Tally { total: view.members.len(), ..Tally::default() };
    for member in view.members {
        tally.here += usize::from(member.presence == Presence::Here);
        tally.touched += usize::from(member.standing != Standing::Untouched);
        match outcome(rollout, member, view) {
            Outcome::Untouched => {}
            Outcome::Waiting => tally.waiting += 1,
            Outcome::Done => tally.done += 1,
            Outcome::Failed => tally.failed += 1,
            Outcome::Excused => tally.excused += 1,
        }
    }
    tally
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Untouched,
    Waiting,
    Done,
    Failed,
    Excused,
}

/// Others may fall silent in this time: then it is not the change.
const LOST_FOR: Duration = Duration::from_secs(60);

/// What a member counts as. One that fell silent after it got the change has failed,
/// unless many vanished together: then nobody knows why. One that went away before it
/// answered, and does not come back in time, has failed, too: the change may be why.
fn outcome(rollout: &Rollout, member: &Member, view: &View<'_>) -> Outcome {
    let is_late = |since: UnixMillis| view.now.since(since) > rollout.plan.patience;
    let lost = match member.presence {
        Presence::Lost { since } => Some(view.weather.vanished == 0 && view.now.since(since) > LOST_FOR),
        Presence::Here | Presence::Away => None,
    };
    match (member.standing, lost) {
        (Standing::Untouched, _) => Outcome::Untouched,
        (Standing::Excused, _) => Outcome::Excused,
        (Standing::Failed, _) | (Standing::Given { .. } | Standing::Done, Some(true)) => Outcome::Failed,
        (Standing::Given { .. } | Standing::Done, Some(false)) => Outcome::Waiting,
        (Standing::Done, None) => Outcome::Done,
        (Standing::Given { since }, None) if is_late(since) => Outcome::Failed,
        (Standing::Given { .. }, None) => Outcome::Waiting,
    }
}

/// What a rollout does next.
#[must_use]
pub fn decide(rollout: &Rollout, view: &View<'_>) -> Decision {
    match rollout.phase {
        Phase::Running => run(rollout, view),
        Phase::RollingBack => go_back(rollout, view),
        // Who paused it did not mean to keep a bad change on its hosts.
        Phase::Paused => {
            let stop = stop(rollout, &tally(rollout, view));
            let goes_back = |it: &Decision| matches!(it, Decision::Stop { to: Phase::RollingBack, .. });
            stop.filter(goes_back).unwrap_or(Decision::Wait(Hold::Phase))
        }
        Phase::Aborted | Phase::RolledBack | Phase::Succeeded => Decision::Wait(Hold::Phase),
    }
}

fn run(rollout: &Rollout, view: &View<'_>) -> Decision {
    let tally = tally(rollout, view);
    // Before everything else: no brake and no pause keeps a bad change on its hosts.
    if let Some(stop) = stop(rollout, &tally) {
        return stop;
    }
    if view.weather.brake {
        return Decision::Wait(Hold::Brake);
    }
    if view.weather.vanished > 0 {
        return Decision::Wait(Hold::Vanished { count: view.weather.vanished });
    }
    let Some(step) = rollout.plan.steps.get(rollout.step as usize) else { return Decision::Succeed };
    if step.approval && rollout.approved <= rollout.step {
        return Decision::Wait(Hold::Approval);
    }
    let wanted = Wanted::of(rollout, &step.reach, view, &tally);
    if !wanted.touch.is_empty() {
        return Decision::Touch(wanted.touch);
    }
    match unsettled(rollout, &tally, &wanted) {
        Some(hold) => Decision::Wait(hold),
        None => settled(rollout, step.soak, view.now),
    }
}

/// Whether too many have failed.
fn stop(rollout: &Rollout, tally: &Tally) -> Option<Decision> {
    let allowed = allowed_failures(rollout, tally.touched);
    let to = match rollout.plan.on_failure {
        OnFailure::RollBack => Phase::RollingBack,
        OnFailure::Pause => Phase::Paused,
    };
    (tally.failed > allowed).then_some(Decision::Stop { to, failed: tally.failed, allowed })
}

/// What keeps a step from being done.
fn unsettled(rollout: &Rollout, tally: &Tally, wanted: &Wanted) -> Option<Hold> {
    let counted = tally.done + tally.waiting;
    let is_enough = tally.done * 100 >= counted * usize::from(rollout.plan.success_percent);
    if wanted.over_window > 0 && wanted.over_window >= wanted.over_budget {
        return Some(Hold::Window { count: wanted.over_window });
    }
    if wanted.over_budget > 0 {
        return Some(Hold::Budget { count: wanted.over_budget });
    }
    if wanted.is_short || !is_enough {
        return Some(Hold::Answers { count: tally.waiting });
    }
    // A step that nobody has lived through says nothing about the next one; nor does an
    // assignment that reaches nobody, because its group was mistyped.
    (tally.done == 0).then_some(Hold::Nobody)
}

fn settled(rollout: &Rollout, soak: Duration, now: UnixMillis) -> Decision {
    let Some(since) = rollout.settled_at.filter(|since| *since <= now) else { return Decision::Settle };
    if now < since + soak {
        return Decision::Wait(Hold::Soak { until: since + soak });
    }
    let is_last = rollout.step as usize + 1 >= rollout.plan.steps.len();
    if is_last { Decision::Succeed } else { Decision::Advance }
}

fn go_back(rollout: &Rollout, view: &View<'_>) -> Decision {
    let tally = tally(rollout, view);
    // Who is not here returns when it is heard again.
    let waiting = view.members.iter().filter(|member| {
        member.presence == Presence::Here && outcome(rollout, member, view) == Outcome::Waiting
    });
    match waiting.count() {
        0 => Decision::Returned,
        _ => Decision::Wait(Hold::Answers { count: tally.waiting }),
    }
}

/// Who is touched next, and who would be but for something.
struct Wanted {
    touch: Vec<NodeId>,
    over_window: usize,
    over_budget: usize,
    /// More are wanted than may be in flight.
    is_short: bool,
}

impl Wanted {
    fn of(rollout: &Rollout, reach: &Portion, view: &View<'_>, tally: &Tally) -> Self {
        let is_candidate = |it: &&Member| {
            it.standing == Standing::Untouched && it.presence == Presence::Here && it.is_selected
        };
        let mut candidates: Vec<&Member> = view.members.iter().filter(is_candidate).collect();
        candidates.sort_unstable_by_key(|member| (member.order, member.node));
        let missing = missing(reach, view, tally, candidates.len());
        let flight = rollout.plan.max_in_flight as usize;
        let room = if flight == 0 { usize::MAX } else { flight.saturating_sub(tally.waiting) };
        let mut budget = Groups::of(rollout, view);
        let mut wanted = Self { touch: Vec::new(), over_window: 0, over_budget: 0, is_short: false };
        for member in candidates {
            if wanted.touch.len() >= missing {
                break;
            }
            if wanted.touch.len() >= room {
                wanted.is_short = true;
                break;
            }
            if !member.is_open {
                wanted.over_window += 1;
            } else if budget.take(member.group) {
                wanted.touch.push(member.node);
            } else {
                wanted.over_budget += 1;
            }
        }
        if wanted.touch.len() >= missing {
            (wanted.over_window, wanted.over_budget) = (0, 0);
        }
        wanted
    }
}

/// How many more the step asks for.
fn missing(reach: &Portion, view: &View<'_>, tally: &Tally, candidates: usize) -> usize {
    // Who does not take part says nothing: others come.
    let reached = tally.touched - tally.excused;
    let untouched = |it: &&Member| it.presence == Presence::Here && it.standing == Standing::Untouched;
    let base = view.members.iter().filter(untouched).count() + reached;
    match reach {
        Portion::Percent(percent) => (base * usize::from(*percent)).div_ceil(100).saturating_sub(reached),
        Portion::Count(count) => (*count as usize).saturating_sub(reached),
        Portion::Selector(_) => candidates,
    }
}

/// How many of each group may still be disturbed.
struct Groups(Option<Vec<usize>>);

impl Groups {
    fn of(rollout: &Rollout, view: &View<'_>) -> Self {
        let Some(budget) = &rollout.plan.budget else { return Self(None) };
        let groups = view.members.iter().map(|member| member.group as usize + 1).max().unwrap_or(0);
        let (mut sizes, mut disturbed) = (vec![0; groups], vec![0; groups]);
        for member in view.members {
            sizes[member.group as usize] += 1;
            disturbed[member.group as usize] += usize::from(is_disturbed(member));
        }
        let left = |(size, disturbed): (usize, usize)| budget.max.of(size).max(1).saturating_sub(disturbed);
        Self(Some(sizes.into_iter().zip(disturbed).map(left).collect()))
    }

    fn take(&mut self, group: u32) -> bool {
        let Some(left) = self.0.as_mut().map(|groups| &mut groups[group as usize]) else { return true };
        let is_free = *left > 0;
        *left = left.saturating_sub(1);
        is_free
    }
}

/// One that is not heard, has not answered, or has failed does not do its work for sure.
fn is_disturbed(member: &Member) -> bool {
    member.presence != Presence::Here || matches!(member.standing, Standing::Given { .. } | Standing::Failed)
}
