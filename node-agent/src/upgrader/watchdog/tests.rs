//! Stories of faults against a host that is simulated, its disk and its power included.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::{
    platform::slots::Slots,
    upgrader::{
        machine::{End, Limits},
        record::Method,
    },
};

/// What a version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// It ends each time it starts.
    Crashes,
    /// It never has a session.
    Silent,
    /// It has a session, and ends soon after each time.
    DiesLate,
    /// It takes the whole host down soon after each start.
    TakesHostDown,
}

/// What happens to the host, and when: before that many calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    WatchdogKilled,
    AgentKilled,
    Power,
    DiskFull(u32),
    NetworkCut(u32),
    /// Another process holds the package manager's lock.
    Busy(u32),
    /// The host does not say what is installed.
    Unsaid(u32),
    /// Somebody else puts a third version there.
    Third,
}

/// A host. Times are in seconds of its own.
struct Sim {
    manner: Manner,
    faults: Vec<(u32, Fault)>,
    calls: u32,
    now: u64,
    // The disk: what survives a loss of power, and what does not.
    link: Which,
    staged: bool,
    journal: Option<Record>,
    // What runs.
    runs: Which,
    started: u64,
    deaths: u32,
    disk_full_until: u64,
    network_back_at: u64,
    free_at: u64,
    said_at: u64,
    third: bool,
    /// What the state directory says of the process that runs: it has a session.
    told: bool,
    /// The watchdog is dead: nothing it does from here on happens.
    watchdog_dead: bool,
}

const LIMITS: Limits = Limits {
    probation: Duration::from_secs(10),
    patience: Duration::from_secs(30),
    longest: Duration::from_secs(200),
};

impl Sim {
    fn new(manner: Manner, faults: Vec<(u32, Fault)>) -> Self {
        Self {
            manner,
            faults,
            calls: 0,
            now: 0,
            link: Which::Old,
            staged: false,
            journal: None,
            runs: Which::Old,
            started: 0,
            deaths: 0,
            disk_full_until: 0,
            network_back_at: 0,
            free_at: 0,
            said_at: 0,
            third: false,
            told: false,
            watchdog_dead: false,
        }
    }

    /// Time and fate. `false`: the watchdog is no more.
    fn goes_on(&mut self) -> bool {
        if self.watchdog_dead {
            return false;
        }
        self.calls += 1;
        let due: Vec<Fault> =
            self.faults.iter().filter(|(at, _)| *at == self.calls).map(|(_, fault)| *fault).collect();
        for fault in due {
            match fault {
                Fault::WatchdogKilled => self.watchdog_dead = true,
                Fault::AgentKilled => {
                    (self.deaths, self.started, self.runs) = (self.deaths + 1, self.now, self.link);
                    self.told = false;
                }
                Fault::Power => {
                    self.watchdog_dead = true;
                    self.start();
                }
                Fault::DiskFull(seconds) => self.disk_full_until = self.now + u64::from(seconds),
                Fault::Unsaid(seconds) => self.said_at = self.now + u64::from(seconds),
                Fault::Third => self.third = true,
                Fault::Busy(seconds) => self.free_at = self.now + u64::from(seconds),
                Fault::NetworkCut(seconds) => self.network_back_at = self.now + u64::from(seconds),
            }
        }
        !self.watchdog_dead
    }

    fn start(&mut self) {
        (self.runs, self.started, self.deaths, self.told) = (self.link, self.now, 0, false);
    }

    fn place(&self) -> Place {
        match self.now {
            _ if self.third => Place::Other,
            now if now < self.said_at => Place::Unsaid,
            _ => Place::Has(self.link),
        }
    }

    fn is_full(&self) -> bool {
        self.now < self.disk_full_until
    }

    fn manner(&self) -> Manner {
        if self.runs == Which::New { self.manner } else { Manner::Good }
    }

    /// The service manager starts again what ends by itself, once a second.
    fn second(&mut self) {
        self.now += 1;
        let age = self.now - self.started;
        let dies = match self.manner() {
            Manner::Crashes => true,
            Manner::DiesLate => age >= 4,
            Manner::Good | Manner::Silent | Manner::TakesHostDown => false,
        };
        if self.manner() == Manner::TakesHostDown && age >= 3 {
            self.watchdog_dead = true;
            self.start();
        }
        if dies {
            (self.deaths, self.started, self.runs) = (self.deaths + 1, self.now, self.link);
            self.told = false;
        }
    }
}

impl Host for Sim {
    fn stage(&mut self, plan: &Plan) -> Result<Plan, Failure> {
        if !self.goes_on() || self.is_full() {
            return Err(Failure::new(Kind::DiskFull, "full"));
        }
        self.staged = true;
        Ok(plan.clone())
    }

    fn switch(&mut self, _: &Plan, to: Which) -> Result<(), Failure> {
        if !self.goes_on() {
            return Err(Failure::new(Kind::Host, "dead"));
        }
        assert!(self.staged, "nothing is put in place that is not there whole");
        if self.link == to && self.runs == to {
            self.deaths = 0; // it is told to start
            return Ok(()); // no manager is asked
        }
        if self.now < self.free_at {
            self.now += 5; // that long it waits
            return Err(Failure::new(Kind::PackageManagerBusy, "locked"));
        }
        self.link = to; // takes no space
        if self.goes_on() {
            self.start();
        }
        Ok(())
    }

    fn installed(&self, _: &Plan) -> Place {
        self.place()
    }

    fn look(&mut self, _: &Plan, _: Which) -> Seen {
        self.goes_on();
        let is_reachable = self.now >= self.network_back_at;
        let connects = is_reachable && self.manner() != Manner::Silent && self.now - self.started >= 2;
        let runs = (self.manner() != Manner::Crashes).then_some(self.runs);
        // What it told before stays on a disk that is full, and so does that it told nothing.
        if !self.is_full() {
            self.told = connects;
        }
        let way_is_open = is_reachable && !self.is_full();
        let installed = self.place();
        let runs = runs.filter(|_| installed != Place::Unsaid);
        Seen { installed, runs, deaths: self.deaths, is_well: self.told, way_is_open }
    }

    fn last_words(&mut self, _: &Plan) -> String {
        "words".to_owned()
    }

    fn wait(&mut self) -> Duration {
        self.goes_on();
        self.second();
        Duration::from_secs(1)
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(0)
    }

    fn keep(&mut self, record: &Record) -> io::Result<()> {
        if !self.goes_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.journal = Some(record.clone());
        Ok(())
    }
}

fn plan() -> Plan {
    let (slots, slot) = Slots::of(std::path::Path::new("/opt/muster/slots/a/bin/muster-node-agent")).unwrap();
    Plan {
        from: "0.1.0".to_owned(),
        to: "0.2.0".to_owned(),
        method: Method::Slots { slots, to: slot.other(), archive: PathBuf::from("archive") },
        needs_session: true,
        limits: LIMITS,
        state_dir: PathBuf::from("state"),
        config: PathBuf::from("config"),
        by: "operator".to_owned(),
        begun: UnixMillis(0),
    }
}

/// Until it is over, each time from what is on the disk where the watchdog was killed.
fn story(sim: &mut Sim) -> End {
    let first = Record { plan: plan(), stage: Stage::Verified, since: UnixMillis(0) };
    sim.journal = Some(first.clone());
    let mut record = first;
    for _ in 0..20_000 {
        record = advance(record, sim);
        if std::mem::take(&mut sim.watchdog_dead) {
            record = resumed(sim.journal.clone().unwrap(), sim);
            sim.second();
        } else if let Stage::Ended(end) = &record.stage {
            return end.clone();
        }
    }
    panic!("it does not end: {record:?}");
}

/// What must hold of every story.
fn judge(sim: &mut Sim, end: &End) {
    let manner = sim.manner;
    match end {
        End::Committed => {
            assert_eq!(sim.link, Which::New);
            assert_eq!(manner, Manner::Good, "what is not well is not kept");
        }
        End::Refused(why) | End::RolledBack(why) => {
            assert_eq!(sim.link, Which::Old);
            assert!(!(manner == Manner::Good && why.kind.blames_version()), "blamed without fault: {why:?}");
        }
        End::Failed(why) => panic!("the version before runs always: {why:?}"),
    }
    sim.faults.clear();
    // A while later what runs is what the link says, and it is up and connected.
    for _ in 0..400 {
        sim.second();
    }
    let seen = Seen { deaths: 0, ..sim.look(&plan(), sim.link) };
    assert_eq!((seen.runs, seen.is_well), (Some(sim.link), true));
}

#[test]
fn without_faults_only_the_version_decides() {
    for (manner, expected) in [
        (Manner::Good, None),
        (Manner::Crashes, Some(Kind::Crashed)),
        (Manner::Silent, Some(Kind::Silent)),
        (Manner::DiesLate, Some(Kind::Crashed)),
    ] {
        let mut sim = Sim::new(manner, Vec::new());
        let end = story(&mut sim);
        let kind = match &end {
            End::RolledBack(why) => {
                assert_eq!(why.output, "words");
                Some(why.kind)
            }
            _ => None,
        };
        assert_eq!(kind, expected, "{manner:?}: {end:?}");
        judge(&mut sim, &end);
    }
}

#[test]
fn one_fault_at_every_call_of_every_story_leaves_a_host_with_its_agent() {
    let faults =
        [Fault::WatchdogKilled, Fault::AgentKilled, Fault::Power, Fault::DiskFull(20), Fault::DiskFull(120)];
    for manner in [Manner::Good, Manner::Crashes, Manner::Silent, Manner::DiesLate] {
        for fault in faults.into_iter().chain([
            Fault::NetworkCut(100),
            Fault::NetworkCut(250),
            Fault::Busy(120),
            Fault::Unsaid(90),
        ]) {
            for at in 1..120 {
                let mut sim = Sim::new(manner, vec![(at, fault)]);
                let end = story(&mut sim);
                judge(&mut sim, &end);
            }
        }
    }
}

#[test]
fn what_takes_the_host_down_before_it_is_seen_is_taken_back() {
    let mut sim = Sim::new(Manner::TakesHostDown, Vec::new());
    let end = story(&mut sim);
    assert!(matches!(&end, End::RolledBack(why) if why.kind == Kind::Host), "{end:?}");
    judge(&mut sim, &end);
}

#[test]
fn a_third_version_ends_it_and_is_left_alone() {
    for manner in [Manner::Good, Manner::Silent] {
        for at in [3, 6, 9, 12] {
            let mut sim = Sim::new(manner, vec![(at, Fault::Third)]);
            let end = story(&mut sim);
            assert!(matches!(&end, End::Failed(why) if !why.kind.blames_version()), "{end:?}");
            assert_eq!(sim.place(), Place::Other);
        }
    }
}

#[test]
fn a_lock_that_is_held_at_the_switch_changes_nothing_and_takes_nothing_back() {
    let mut sim = Sim::new(Manner::Good, vec![(1, Fault::Busy(400))]);
    let end = story(&mut sim);
    assert!(matches!(&end, End::Refused(why) if why.kind == Kind::PackageManagerBusy), "{end:?}");
    assert_eq!((sim.runs, sim.now), (Which::Old, 5), "it ran on");
    judge(&mut sim, &end);
}

fn fault() -> impl Strategy<Value = (u32, Fault)> {
    let fault = prop_oneof![
        Just(Fault::WatchdogKilled),
        Just(Fault::Power),
        (1..150u32).prop_map(Fault::DiskFull),
        (1..300u32).prop_map(Fault::NetworkCut),
        (1..120u32).prop_map(Fault::Busy),
        (1..120u32).prop_map(Fault::Unsaid),
    ];
    (1..150u32, fault)
}

proptest! {
    #[test]
    fn every_story_ends_with_a_running_connected_agent_and_no_blame_without_fault(
        manner in prop_oneof![Just(Manner::Good), Just(Manner::Crashes), Just(Manner::Silent), Just(Manner::DiesLate)],
        mut faults in proptest::collection::vec(fault(), 0..8),
        kills in proptest::collection::vec(1..150u32, 0..2),
    ) {
        faults.extend(kills.into_iter().map(|at| (at, Fault::AgentKilled)));
        let mut sim = Sim::new(manner, faults);
        let end = story(&mut sim);
        judge(&mut sim, &end);
    }
}
