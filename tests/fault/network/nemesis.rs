//! Whoever makes trouble: of all there is, in an order that the seed decides, each for a time.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use muster_tests::{
    cable::Nature,
    faults::{Fate, Fault, Way, With},
    history::{Trouble, What},
    netns::Namespace,
};
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};

use super::lab::{AGENTS, CABLED, Engine, Lab};

/// Between two troubles.
const REST_MS: Range<u64> = 200..700;
/// Loss, of a hundred packets.
const LOSS: Range<u8> = 10..21;

/// Who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// One host.
    Host(usize),
    /// The swarm.
    Crowd,
    /// All hosts, at the control plane.
    Hosts,
    /// All operators.
    Operators,
    /// The control plane and its database.
    Database,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Loss,
    Drop,
    DropIn,
    DropOut,
    Reset,
}

/// One trouble.
#[derive(Debug, Clone, Copy)]
enum Evil {
    Kernel(Whom, Kind),
    /// One of the cables is long.
    Long(usize),
    /// One of them is thin.
    Thin(usize),
}

/// What trouble there is, and what there was.
pub(crate) struct Nemesis {
    deck: Vec<Evil>,
    next: usize,
    pub(crate) struck: BTreeMap<String, usize>,
}

impl Nemesis {
    pub(crate) fn new(random: &mut StdRng) -> Self {
        let kinds = [Kind::Loss, Kind::Drop, Kind::DropIn, Kind::DropOut, Kind::Reset];
        let of = |whom| kinds.map(|kind| Evil::Kernel(whom, kind));
        let hosts = (0..AGENTS).map(Whom::Host).flat_map(of).collect();
        let cables = (0..2).flat_map(|cable| [Evil::Long(cable), Evil::Thin(cable)]).collect();
        let others = [Whom::Crowd, Whom::Hosts, Whom::Operators, Whom::Database];
        let mut groups: Vec<Vec<Evil>> = vec![hosts, cables];
        groups.extend(others.map(|whom| of(whom).to_vec()));
        groups.iter_mut().for_each(|group| group.shuffle(random));
        groups.shuffle(random);
        // One of each group after the other: a short run has some of everything.
        let rounds = groups.iter().map(Vec::len).max().unwrap_or(0);
        let deck = (0..rounds).flat_map(|n| groups.iter().map(move |group| group[n % group.len()])).collect();
        Self { deck, next: 0, struck: BTreeMap::new() }
    }

    /// How long one may last, in milliseconds: in a long run also longer than hosts are waited
    /// for, and than connections last without an answer.
    pub(crate) const fn lengths(seconds: u64) -> Range<u64> {
        if seconds >= 60 { 1_000..20_000 } else { 800..2_800 }
    }

    /// One trouble, from its begin to its end, and a rest.
    pub(crate) async fn strike(&mut self, lab: &Lab, millis: u64, random: &mut StdRng) {
        let evil = loop {
            let evil = self.deck[self.next % self.deck.len()];
            self.next += 1;
            let is_here = !matches!(evil, Evil::Kernel(Whom::Database, _)) || lab.engine == Engine::Postgres;
            if is_here {
                break evil;
            }
        };
        let (from, what) = (lab.recorder.now(), evil.begin(lab, random));
        eprintln!("network: {what} for {millis} ms");
        tokio::time::sleep(Duration::from_millis(millis)).await;
        evil.end(lab);
        lab.recorder.saw(What::Trouble(Trouble { from, what: what.clone(), nodes: evil.nodes(lab) }));
        *self.struck.entry(what).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(random.random_range(REST_MS))).await;
    }
}

impl Evil {
    /// Begins it; answers what it is.
    fn begin(self, lab: &Lab, random: &mut StdRng) -> String {
        match self {
            Self::Kernel(whom, kind) => {
                let (place, with) = whom.at(lab);
                let (fate, way) = match kind {
                    Kind::Loss => (Fate::Lost(random.random_range(LOSS)), Way::Both),
                    Kind::Drop => (Fate::Dropped, Way::Both),
                    Kind::DropIn => (Fate::Dropped, Way::In),
                    Kind::DropOut => (Fate::Dropped, Way::Out),
                    Kind::Reset => (Fate::Reset, Way::Both),
                };
                place.suffer(Fault { fate, way, with });
                format!("{}, {}", kind.name(), whom.name())
            }
            Self::Long(cable) => {
                let delay = Duration::from_millis(random.random_range(50..200));
                lab.cables[cable].turn(Nature { delay, jitter: delay * 2, rate: None });
                format!("delay and jitter, {}", cable_name(cable))
            }
            Self::Thin(cable) => {
                let rate = Some(random.random_range(2_000..10_000));
                lab.cables[cable].turn(Nature { rate, ..Nature::default() });
                format!("throttled, {}", cable_name(cable))
            }
        }
    }

    fn end(self, lab: &Lab) {
        match self {
            Self::Kernel(whom, _) => whom.at(lab).0.mend(),
            Self::Long(cable) | Self::Thin(cable) => lab.cables[cable].turn(Nature::default()),
        }
    }

    /// Nodes in whose way it is.
    fn nodes(self, lab: &Lab) -> Vec<String> {
        let host = |number: usize| lab.hosts[number].agent.node.clone();
        match self {
            Self::Kernel(Whom::Host(number), _) => vec![host(number)],
            Self::Kernel(Whom::Crowd, _) => lab.nodes.iter().chain([&lab.outcast_node]).cloned().collect(),
            Self::Kernel(Whom::Hosts, _) => lab.staying().chain([&lab.outcast_node]).cloned().collect(),
            Self::Long(0) | Self::Thin(0) => (0..CABLED).map(host).collect(),
            Self::Kernel(Whom::Operators | Whom::Database, _) | Self::Long(_) | Self::Thin(_) => Vec::new(),
        }
    }
}

impl Whom {
    /// In whose namespace it is, and with whom.
    fn at(self, lab: &Lab) -> (&Namespace, With) {
        let (seat, ports) = (&lab.seats[0], lab.seats[0].plane.addresses());
        match self {
            Self::Host(number) => (&lab.hosts[number].place, With::Everybody),
            Self::Crowd => (&lab.crowd, With::Everybody),
            Self::Hosts => (&seat.place, With::Port(ports.agents.port())),
            Self::Operators => (&seat.place, With::Port(ports.operators.port())),
            Self::Database => {
                let (_, place) = lab.database.as_ref().expect("it is one of a server");
                (&seat.place, With::Address(place.address()))
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Host(_) => "one host",
            Self::Crowd => "the swarm",
            Self::Hosts => "all hosts",
            Self::Operators => "all operators",
            Self::Database => "the database",
        }
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Loss => "random loss",
            Self::Drop => "silent drop",
            Self::DropIn => "drop of what comes",
            Self::DropOut => "drop of what goes",
            Self::Reset => "reset",
        }
    }
}

const fn cable_name(cable: usize) -> &'static str {
    if cable == 0 { "a host's cable" } else { "an operator's cable" }
}
