//! One story: what happens, from a seed, until all is calm again.

mod orders;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use muster_common::ids::CommandId;
use muster_control_plane::app::operations::Wish;
use muster_domain::node::LedgerMark;
use muster_proto::agent::v1::{self as pb, session_request};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::runtime::Runtime;

use crate::{
    begin::in_memory,
    deeds::Counted,
    events::Event,
    host::{Host, Snapshot},
    plane::{Backup, HOSTS, NOW, Plane, Work},
    told::Told,
    truth::{Sum, Truth},
    way::{Stretch, disturb, is_of_commands_down, is_of_commands_up},
};

/// Events of a story.
const EVENTS: usize = 150;
/// Events between two looks at everything.
const LOOK: usize = 10;
/// Rounds after which, with no more faults, every command that can end by its host has.
const CALM: usize = 60;
/// Longer than an agent waits before it tries anew.
const ANEW: Duration = Duration::from_millis(200);
/// Longer than any command can be waited for.
const FOR_GOOD: Duration = Duration::from_secs(4 * 86_400);

/// A story.
pub(crate) struct Story {
    seed: u64,
    dice: StdRng,
    agents: Runtime,
    plane: Plane,
    hosts: Vec<Host>,
    counted: Vec<Arc<Counted>>,
    stretches: Vec<Option<Stretch>>,
    snapshots: Vec<Vec<(Snapshot, Vec<CommandId>)>>,
    backups: Vec<Backup>,
    requests: Vec<Wish>,
    truth: Truth,
    trace: Vec<String>,
    happened: BTreeMap<&'static str, usize>,
    // Last: what lies in it is used until the rest is gone.
    _folder: tempfile::TempDir,
}

impl Story {
    pub(crate) fn new(seed: u64) -> Self {
        let folder = in_memory();
        let mut agents = tokio::runtime::Builder::new_current_thread();
        let hosts = (0..HOSTS).map(|n| Host::new(folder.path().join(format!("host-{n}")), NOW)).collect();
        let mut story = Self {
            seed,
            dice: StdRng::seed_from_u64(seed),
            agents: agents.enable_all().start_paused(true).build().unwrap(),
            plane: Plane::new(folder.path().join("plane")),
            hosts,
            counted: (0..HOSTS).map(|_| Arc::default()).collect(),
            stretches: vec![None; HOSTS],
            snapshots: vec![Vec::new(); HOSTS],
            backups: Vec::new(),
            requests: Vec::new(),
            truth: Truth::new(HOSTS),
            trace: Vec::new(),
            happened: BTreeMap::new(),
            _folder: folder,
        };
        (0..HOSTS).for_each(|host| story.start(host));
        story
    }

    pub(crate) fn trace(&self) -> &[String] {
        &self.trace
    }

    /// From the beginning until all is calm.
    pub(crate) fn tell(&mut self) -> Told {
        // Half of the stories without losses of memory: what is excused there is excused in none.
        let wild = self.seed.is_multiple_of(2);
        for n in 0..EVENTS {
            let event = Event::any(&mut self.dice, wild);
            self.trace.push(format!("{event:?}"));
            *self.happened.entry(event.name()).or_default() += 1;
            // What is stored stays so; only a restore takes back what could have been seen.
            if n % LOOK == 0 || matches!(event, Event::Restore { .. }) {
                self.look();
            }
            self.happen(event);
        }
        let rounds = self.calm();
        let sum = self.judge();
        Told { happened: std::mem::take(&mut self.happened), sum, rounds }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Order { of } => self.order(of),
            Event::Repeat => self.repeat(),
            Event::Cancel => self.cancel(),
            Event::Work(work) => self.plane.work(work),
            Event::Turns(count) => self.turns(count),
            Event::Settle => self.settle(),
            Event::Carry { host, up, down } => self.carry(host, up, down),
            Event::Flow { host } => self.flow(host),
            Event::Connect { host, stale } => self.connect(host, stale),
            Event::Break { host, both } => self.cut(host, both),
            Event::Disturb { host, up, dice } => self.disturb(host, up, dice),
            Event::Kill { host, after } => {
                self.turns(after);
                self.kill(host);
            }
            Event::Start { host } => self.start(host),
            Event::KillPlane => self.kill_plane(),
            Event::StartPlane => self.start_plane(),
            Event::Backup => self.backup(),
            Event::Restore { dice } => self.restore(dice as usize),
            Event::Snapshot { host } => self.snapshot(host),
            Event::Revert { host, dice } => self.revert(host, dice as usize),
            Event::Lose { host } => self.lose(host),
            Event::Disk { host, full } => self.agents.block_on(self.hosts[host].fill_disk(full)),
            Event::Time { seconds } => self.time(Duration::from_secs(seconds)),
            Event::Jump { host, millis } => self.hosts[host].jump(millis),
            Event::JumpPlane { millis } => self.plane.set_wrong(millis),
        }
    }

    fn turns(&mut self, count: u32) {
        self.agents.block_on(async {
            for _ in 0..count {
                tokio::task::yield_now().await;
            }
        });
        self.opened();
    }

    fn settle(&mut self) {
        // Time stands still as long as anybody has anything to do.
        self.agents.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        self.opened();
    }

    /// Streams that hosts have opened come to the control plane.
    fn opened(&mut self) {
        for host in 0..HOSTS {
            if let Some(stretch) = self.hosts[host].network.opened() {
                self.plane.accept(host, stretch.clone());
                self.stretches[host] = Some(stretch);
            }
        }
    }

    fn connect(&mut self, host: usize, stale: bool) {
        let is_connected = self.stretches[host].as_ref().is_some_and(|stretch| !stretch.is_cut());
        if !self.hosts[host].is_up() || !self.plane.is_up() || is_connected {
            return;
        }
        if !stale {
            // It tries anew, and what it says first is true by then.
            self.hosts[host].wants_session();
            self.agents.block_on(async { tokio::time::sleep(ANEW).await });
        }
        self.hosts[host].network.open();
        (0..3).for_each(|_| self.settle());
        self.hosts[host].network.close();
    }

    /// Connected, and everything there and back once.
    fn flow(&mut self, host: usize) {
        self.connect(host, false);
        for work in [Work::Follow, Work::HandOut, Work::Record] {
            self.settle();
            self.carry(host, usize::MAX, usize::MAX);
            self.plane.work(work);
        }
        self.carry(host, usize::MAX, usize::MAX);
    }

    fn carry(&mut self, host: usize, up: usize, down: usize) {
        let Some(stretch) = self.stretches[host].clone() else { return };
        let carried: Vec<pb::SessionRequest> = stretch.under().up.iter().take(up).cloned().collect();
        for message in &carried {
            self.truth.told(message);
            if let Some(session_request::Kind::Hello(hello)) = &message.kind {
                let shown = LedgerMark { id: hello.ledger_id.parse().expect("an id"), seq: hello.ledger_seq };
                self.truth.greeted(host, self.plane.mark(host), shown);
            }
        }
        stretch.carry_up(up);
        self.plane.read(host);
        for message in stretch.under().down.iter().take(down) {
            self.truth.answered(message);
        }
        stretch.carry_down(down);
    }

    fn cut(&mut self, host: usize, both: bool) {
        if let Some(stretch) = &self.stretches[host] {
            stretch.cut(both);
            self.plane.read(host);
        }
    }

    fn disturb(&mut self, host: usize, up: bool, dice: u32) {
        let Some(stretch) = &self.stretches[host] else { return };
        let mut under = stretch.under();
        let what = if up {
            disturb(&mut under.up, is_of_commands_up, dice)
        } else {
            disturb(&mut under.down, is_of_commands_down, dice)
        };
        if let Some(what) = what {
            drop(under);
            self.trace.push(format!("    {what}"));
        }
    }

    fn kill(&mut self, host: usize) {
        self.agents.block_on(self.hosts[host].die());
        let noticed = self.dice.random_bool(0.5);
        self.cut(host, noticed);
    }

    fn start(&mut self, host: usize) {
        if !self.hosts[host].is_up() {
            let counted = Arc::clone(&self.counted[host]);
            self.agents.block_on(self.hosts[host].start(counted));
        }
    }

    fn kill_plane(&mut self) {
        self.plane.die();
    }

    fn start_plane(&mut self) {
        if !self.plane.is_up() {
            self.plane.start();
        }
    }

    fn backup(&mut self) {
        if self.plane.is_up() {
            let backup = self.plane.backup();
            self.backups.push(backup);
        }
    }

    fn restore(&mut self, dice: usize) {
        if !self.backups.is_empty() {
            let backup = self.backups[dice % self.backups.len()].clone();
            self.plane.restore(&backup);
            self.truth.restored(&self.plane);
        }
    }

    fn done(&self, host: usize) -> Vec<CommandId> {
        self.counted[host].all().into_iter().map(|(id, _)| id).collect()
    }

    fn snapshot(&mut self, host: usize) {
        let known = self.truth.known(host, &self.done(host));
        let snapshot = self.hosts[host].snapshot();
        self.snapshots[host].push((snapshot, known));
    }

    fn revert(&mut self, host: usize, dice: usize) {
        let Some((snapshot, knows)) =
            self.snapshots[host].get(dice % self.snapshots[host].len().max(1)).cloned()
        else {
            return;
        };
        self.kill(host);
        self.hosts[host].revert(&snapshot);
        self.truth.went_back(host, &self.done(host), &knows);
        self.start(host);
    }

    fn lose(&mut self, host: usize) {
        self.kill(host);
        self.hosts[host].lose_state();
        self.truth.went_back(host, &self.done(host), &[]);
        self.start(host);
    }

    fn time(&mut self, by: Duration) {
        self.plane.clock.advance(by);
        self.hosts.iter().for_each(|host| host.clock.advance(by));
        self.agents.block_on(async { tokio::time::advance(by).await });
    }

    fn look(&mut self) {
        self.truth.look(&self.plane);
        for (host, counted) in self.counted.iter().enumerate() {
            self.truth.at_most_once(counted);
            for (id, reports) in self.agents.block_on(self.hosts[host].told()) {
                let numbers: Vec<u64> = reports.iter().map(|report| report.seq).collect();
                let whole: Vec<u64> = (1..=numbers.len() as u64).collect();
                assert_eq!(numbers, whole, "reports of {id}");
            }
        }
    }

    /// No more faults. Answers how many rounds it took until all had ended.
    fn calm(&mut self) -> usize {
        self.trace.push("calm".to_owned());
        self.start_plane();
        self.plane.set_wrong(0);
        for host in 0..HOSTS {
            self.agents.block_on(self.hosts[host].fill_disk(false));
            self.start(host);
            self.cut(host, true);
        }
        let mut rounds = 0;
        while rounds < CALM && (rounds < 3 || self.truth.are_open()) {
            self.round();
            rounds += 1;
            if rounds == CALM / 2 {
                // Who asked while the clock was wrong may have asked for tomorrow.
                self.time(Duration::from_secs(90_000));
                (0..2 * HOSTS).for_each(|n| self.flow(n % HOSTS));
            }
        }
        if self.truth.are_open() {
            self.truth.left();
            self.time(FOR_GOOD);
            (0..3).for_each(|_| self.round());
        }
        rounds
    }

    fn round(&mut self) {
        for host in 0..HOSTS {
            self.connect(host, false);
        }
        for _ in 0..4 {
            self.settle();
            for work in [Work::Follow, Work::HandOut, Work::Record, Work::Follow, Work::Expire, Work::GiveUp]
            {
                self.plane.work(work);
            }
            (0..HOSTS).for_each(|host| self.carry(host, usize::MAX, usize::MAX));
        }
        self.time(Duration::from_secs(75));
        self.look();
    }

    fn judge(&self) -> Sum {
        let done = self.counted.iter().map(|counted| counted.all().len()).sum();
        self.truth.judge(&self.plane, &self.counted, done)
    }
}
