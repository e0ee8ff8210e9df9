//! What is tried: where an upgrade is, what happens to it there, and which version it is to.

use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};

/// How long an upgrade takes and waits, as its command line says it.
pub(super) struct Limits {
    pub(super) probation: &'static str,
    pub(super) patience: &'static str,
}

/// What a version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Good,
    EndsAtStart,
    NeverConnects,
    ConnectsAndEnds,
}

/// What happens besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Nothing,
    /// kill -9 of the agent, or of the next one if none runs.
    Agent,
    /// kill -9 of who is at the step: the watchdog, who begins, or who brings.
    AtStep,
    /// kill -9 of the control plane; it comes again later.
    ControlPlane,
    /// kill -9 of the host's first process, and a boot.
    Power,
    /// No byte free for the state, the record and the slots, for a while.
    Disk,
    /// Every frame lost, for a while.
    Network,
}

/// A named place of the code: `who` stops there, and goes on once the fault has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Nothing is waited for.
    Any,
    /// In the process that begins.
    Begins(&'static str),
    /// In the watchdog.
    Watches(&'static str),
    /// In a half of the agent, while it brings what the upgrade is made from.
    Brings(&'static str),
}

/// One upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) version: Version,
    pub(super) step: Step,
    pub(super) fault: Fault,
}

pub(super) const FAULTS: [Fault; 6] =
    [Fault::Agent, Fault::AtStep, Fault::ControlPlane, Fault::Power, Fault::Disk, Fault::Network];
const BAD: [Version; 3] = [Version::EndsAtStart, Version::NeverConnects, Version::ConnectsAndEnds];
/// Of the way there.
const THERE: [Step; 11] = [
    Step::Begins("upgrade.planned"),
    Step::Watches("upgrade.slot.cleared"),
    Step::Watches("upgrade.acted.verified"),
    Step::Watches("upgrade.kept.staged"),
    Step::Watches("upgrade.acted.staged"),
    Step::Watches("upgrade.kept.switching"),
    Step::Watches("upgrade.stopped"),
    Step::Watches("upgrade.acted.switching"),
    Step::Watches("upgrade.kept.probation"),
    Step::Watches("upgrade.acted.probation"),
    Step::Watches("upgrade.kept.ended"),
];
/// Of the way back.
const BACK: [Step; 6] = [
    Step::Watches("upgrade.kept.rolling-back"),
    Step::Watches("upgrade.stopped:2"),
    Step::Watches("upgrade.acted.rolling-back"),
    Step::Watches("upgrade.kept.returned"),
    Step::Watches("upgrade.acted.returned"),
    Step::Watches("upgrade.kept.ended"),
];

impl Version {
    /// What it is called; of the good ones that one which does not run.
    pub(super) fn name(self, runs: &str) -> &'static str {
        match self {
            Self::Good if runs == "0.2.0" => "0.3.0",
            Self::Good => "0.2.0",
            Self::EndsAtStart => "0.4.1",
            Self::NeverConnects => "0.4.2",
            Self::ConnectsAndEnds => "0.4.3",
        }
    }

    /// All that there are, each with what it does before it does its work.
    pub(super) const fn all() -> [(&'static str, Option<&'static str>); 5] {
        [
            ("0.2.0", None),
            ("0.3.0", None),
            ("0.4.1", Some("exit 3")),
            ("0.4.2", Some("export HTTPS_PROXY=http://127.0.0.1:9 NO_PROXY=")),
            ("0.4.3", Some("(sleep 2; kill -9 $$) &")),
        ]
    }

    /// A good one has the time that a fault takes; of a bad one it is known that it fails.
    pub(super) const fn limits(self) -> Limits {
        match self {
            Self::Good => Limits { probation: "3s", patience: "60s" },
            _ => Limits { probation: "6s", patience: "12s" },
        }
    }
}

impl Step {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Any => "at no step",
            Self::Begins(name) | Self::Watches(name) | Self::Brings(name) => name,
        }
    }
}

/// Every step with every fault, and every bad version.
pub(super) fn all(random: &mut StdRng) -> Vec<Run> {
    let there = THERE.iter().flat_map(|step| runs(&[Version::Good], *step));
    let back = BACK.iter().flat_map(|step| runs(&BAD, *step));
    let mut all: Vec<Run> = there.chain(back).chain(alone()).collect();
    all.shuffle(random);
    all
}

/// Every step with one of the faults, such that each comes, and one bad version alone.
pub(super) fn sample(random: &mut StdRng) -> Vec<Run> {
    let first = random.random_range(0..FAULTS.len());
    let fault = |number: usize| FAULTS[(first + number) % FAULTS.len()];
    let bad = |random: &mut StdRng| BAD[random.random_range(0..BAD.len())];
    let mut sample: Vec<Run> = Vec::new();
    for (number, step) in THERE.into_iter().enumerate() {
        sample.push(Run { version: Version::Good, step, fault: fault(number) });
    }
    for (number, step) in BACK.into_iter().enumerate() {
        sample.push(Run { version: bad(random), step, fault: fault(THERE.len() + number) });
    }
    sample.push(Run { version: bad(random), step: Step::Any, fault: Fault::Nothing });
    sample.shuffle(random);
    sample
}

fn runs(versions: &[Version], step: Step) -> Vec<Run> {
    let of = |version| FAULTS.map(|fault| Run { version, step, fault });
    versions.iter().flat_map(|version| of(*version)).collect()
}

fn alone() -> [Run; 3] {
    BAD.map(|version| Run { version, step: Step::Any, fault: Fault::Nothing })
}
