//! Whoever makes trouble: of all there is, in an order that the seed decides, each for a time.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use muster_tests::{
    cable::Nature,
    faults::{Fate, Fault, Way},
    history::{Trouble, What, check::troubled_until},
};
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};

use super::{
    lab::{AGENTS, CABLED, Engine, HEARTBEAT, Lab},
    whom::Whom,
};

/// Between two troubles.
const REST_MS: Range<u64> = 200..700;
/// Without any trouble, in heartbeats: nobody is called offline.
const QUIET: u32 = 5;
/// Loss, of a hundred packets.
const LOSS: Range<u8> = 10..21;
/// A control plane that is parted from the database for longer may be lost to the others before it is back,
/// and its nodes with it: half of its lease, as another trouble may follow.
const LOST_AFTER: Duration = Duration::from_secs(5);

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
    /// When nobody is called offline any more by what there was.
    over: Duration,
    pub(crate) struck: BTreeMap<String, usize>,
}

impl Nemesis {
    pub(crate) fn new(lab: &Lab, random: &mut StdRng) -> Self {
        let kinds = [Kind::Loss, Kind::Drop, Kind::DropIn, Kind::DropOut, Kind::Reset];
        let of = |whom| kinds.map(|kind| Evil::Kernel(whom, kind));
        let hosts = (0..AGENTS).map(Whom::Host).flat_map(of).collect();
        let cables = (0..2).flat_map(|cable| [Evil::Long(cable), Evil::Thin(cable)]).collect();
        let mut groups: Vec<Vec<Evil>> = vec![hosts, cables];
        groups.extend([Whom::Crowd, Whom::Hosts, Whom::Operators].map(|whom| of(whom).to_vec()));
        if lab.engine == Engine::Postgres {
            groups.push(of(Whom::Database).to_vec());
        }
        // Of one control plane among several: a short run has some of these for sure.
        let planes = 0..lab.seats.len();
        let mut first: Vec<Vec<Evil>> = Vec::new();
        if planes.len() > 1 {
            first.extend(
                [Whom::HostsOf, Whom::DatabaseOf, Whom::AllOf]
                    .map(|whom| planes.clone().map(whom).flat_map(of).collect()),
            );
        }
        for groups in [&mut first, &mut groups] {
            groups.iter_mut().for_each(|group| group.shuffle(random));
            groups.shuffle(random);
        }
        first.append(&mut groups);
        // One of each group after the other: a short run has some of everything.
        let rounds = first.iter().map(Vec::len).max().unwrap_or(0);
        let deck = (0..rounds).flat_map(|n| first.iter().map(move |group| group[n % group.len()])).collect();
        Self { deck, next: 0, over: Duration::ZERO, struck: BTreeMap::new() }
    }

    /// How long one may last, in milliseconds: in a long run also longer than hosts are waited
    /// for, and than connections last without an answer.
    pub(crate) const fn lengths(seconds: u64) -> Range<u64> {
        if seconds >= super::LONG { 1_000..20_000 } else { 800..2_800 }
    }

    /// No trouble, until that of before is over, and for some heartbeats.
    pub(crate) async fn keep_quiet(&self, lab: &Lab) {
        let until = self.over.max(lab.recorder.now()) + HEARTBEAT * QUIET;
        tokio::time::sleep(until.saturating_sub(lab.recorder.now())).await;
    }

    /// One trouble, from its begin to its end, and a rest.
    pub(crate) async fn strike(&mut self, lab: &Lab, millis: u64, random: &mut StdRng) {
        let evil = self.deck[self.next % self.deck.len()];
        self.next += 1;
        let (from, what) = (lab.recorder.now(), evil.begin(lab, random));
        eprintln!("network: {what} for {millis} ms");
        let lasts = Duration::from_millis(millis);
        tokio::time::sleep(lasts).await;
        evil.end(lab);
        let (nodes, of, planes) = (evil.nodes(lab), evil.of(lasts), evil.planes(lab));
        let trouble = Trouble { from, what: what.clone(), nodes, of, planes };
        self.over = self.over.max(troubled_until(lab.recorder.now(), &trouble, HEARTBEAT));
        lab.recorder.saw(What::Trouble(trouble));
        *self.struck.entry(what).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(random.random_range(REST_MS))).await;
    }
}

impl Evil {
    /// Begins it; answers what it is.
    fn begin(self, lab: &Lab, random: &mut StdRng) -> String {
        match self {
            Self::Kernel(whom, kind) => {
                let (fate, way) = match kind {
                    Kind::Loss => (Fate::Lost(random.random_range(LOSS)), Way::Both),
                    Kind::Drop => (Fate::Dropped, Way::Both),
                    Kind::DropIn => (Fate::Dropped, Way::In),
                    Kind::DropOut => (Fate::Dropped, Way::Out),
                    Kind::Reset => (Fate::Reset, Way::Both),
                };
                for (place, parted) in whom.at(lab) {
                    let faults: Vec<Fault> =
                        parted.into_iter().map(|with| Fault { fate, way, with }).collect();
                    place.suffer_all(&faults);
                }
                format!("{}, {}", kind.name(), whom.name())
            }
            Self::Long(cable) => {
                let delay = Duration::from_millis(random.random_range(50..200));
                turn(lab, cable, Nature { delay, jitter: delay * 2, rate: None });
                format!("delay and jitter, {}", cable_name(cable))
            }
            Self::Thin(cable) => {
                let rate = Some(random.random_range(2_000..10_000));
                turn(lab, cable, Nature { rate, ..Nature::default() });
                format!("throttled, {}", cable_name(cable))
            }
        }
    }

    fn end(self, lab: &Lab) {
        match self {
            Self::Kernel(whom, _) => whom.at(lab).iter().for_each(|(place, _)| place.mend()),
            Self::Long(cable) | Self::Thin(cable) => turn(lab, cable, Nature::default()),
        }
    }

    /// Nodes in whose way it is.
    fn nodes(self, lab: &Lab) -> Vec<String> {
        let host = |number: usize| lab.hosts[number].agent.node.clone();
        let outcasts = || lab.outcasts.iter().map(|outcast| &outcast.node);
        match self {
            Self::Kernel(Whom::Host(number), _) => vec![host(number)],
            Self::Kernel(Whom::Crowd, _) => lab.nodes.iter().chain(outcasts()).cloned().collect(),
            Self::Kernel(Whom::Hosts, _) => lab.everybody().cloned().collect(),
            Self::Long(0) | Self::Thin(0) => (0..CABLED).map(host).collect(),
            Self::Kernel(..) | Self::Long(_) | Self::Thin(_) => Vec::new(),
        }
    }

    /// Control planes whose nodes have it, if it lasts so long.
    fn of(self, lasts: Duration) -> Vec<usize> {
        match self {
            Self::Kernel(Whom::HostsOf(plane) | Whom::AllOf(plane), _) => vec![plane],
            Self::Kernel(Whom::DatabaseOf(plane), _) if lasts > LOST_AFTER => vec![plane],
            Self::Kernel(..) | Self::Long(_) | Self::Thin(_) => Vec::new(),
        }
    }

    /// Control planes that it parts from the database.
    fn planes(self, lab: &Lab) -> Vec<usize> {
        match self {
            Self::Kernel(Whom::Database, _) => (0..lab.seats.len()).collect(),
            Self::Kernel(Whom::DatabaseOf(plane) | Whom::AllOf(plane), _) => vec![plane],
            Self::Kernel(..) | Self::Long(_) | Self::Thin(_) => Vec::new(),
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

fn turn(lab: &Lab, cable: usize, nature: Nature) {
    lab.cables[cable].iter().for_each(|cable| cable.turn(nature));
}

const fn cable_name(cable: usize) -> &'static str {
    if cable == 0 { "a host's cable" } else { "an operator's cable" }
}
