//! One upgrade, what happens in the midst of it, and what must be so after that.

use std::{future::ready, time::Duration};

use muster_common::clock::{Clock, UnixMillis};
use muster_node_agent::{
    state_dir::{CONNECTED, StateDir},
    upgrader::{
        machine::{End, Failure, Kind, Stage},
        record::Record,
    },
};
use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::eventually::{LONG, eventually};
use rand::{RngExt as _, rngs::StdRng};

use super::{
    lab::{AGENT, Lab},
    matrix::{Fault, Run, Step, Version},
};

/// From the end of a fault on a host has its agent back within this, by itself.
pub(super) const RECOVERS: Duration = Duration::from_secs(180);

/// How one ended.
pub(super) struct Ended {
    pub(super) run: Run,
    pub(super) end: End,
    /// From the end of the fault until all was well.
    pub(super) took: Duration,
}

impl Lab {
    /// Upgrades, lets it happen, and looks how it ends.
    pub(super) async fn run(&mut self, run: Run, random: &mut StdRng) -> Ended {
        self.count += 1;
        let before = self.last();
        self.begin(run);
        self.suffer(run, random).await;
        self.ends(run, before).await
    }

    /// When the last upgrade began that is over.
    pub(super) fn last(&self) -> Option<UnixMillis> {
        self.upgrades().last().unwrap().map(|record| record.plan.begun)
    }

    /// Waits until the upgrade after that one is over and all is well, and looks at its end.
    pub(super) async fn ends(&mut self, run: Run, before: Option<UnixMillis>) -> Ended {
        let clock = Clock::System;
        let since = clock.monotonic();
        let record = eventually("the upgrade is over", RECOVERS, || ready(self.over(before))).await;
        let Stage::Ended(end) = record.stage else { panic!("{:?}", record.stage) };
        assert!(record.plan.from == self.runs, "{run:?}: it began with {}", record.plan.from);
        if end == End::Committed {
            self.runs.clone_from(&record.plan.to);
        }
        self.is_well().await;
        let took = clock.monotonic() - since;
        check(run, &end);
        Ended { run, end, took }
    }

    fn begin(&self, run: Run) {
        let stop = |step| [("MUSTER_STOP_AT", step)];
        match run.step {
            Step::Watches(step) => self.host.watchdog_with(&stop(step)),
            Step::Begins(_) | Step::Brings(_) | Step::Any => self.host.watchdog_with(&[]),
        }
        let hold = match run.step {
            Step::Begins(step) => format!("--setenv MUSTER_STOP_AT={step}"),
            Step::Watches(_) | Step::Brings(_) | Step::Any => String::new(),
        };
        let (to, limits, count) = (run.version.name(&self.runs), run.version.limits(), self.count);
        self.host.run(&format!(
            "systemd-run --quiet --collect --unit by-hand-{count} {hold} {AGENT} upgrade --version {to} \
             --archive /root/{to}.tar.zst --probation {} --patience {}",
            limits.probation, limits.patience
        ));
    }

    /// Waits until it is at the step, and lets the fault happen there.
    pub(super) async fn suffer(&mut self, run: Run, random: &mut StdRng) {
        if run.step == Step::Any {
            return;
        }
        let held =
            eventually(run.step.name(), RECOVERS, || ready(self.host.stopped().first().copied())).await;
        self.host.watchdog_with(&[]); // who goes on from there does not stop again
        let go_on = format!("kill -CONT {held}");
        let lasts = Duration::from_millis(random.random_range(500..6000));
        match run.fault {
            Fault::Nothing => self.host.run(&go_on),
            Fault::AtStep => self.host.run(&format!("kill -9 {held}")),
            Fault::Power => self.host.power_cut().await,
            Fault::Agent => {
                let runs = self.host.agent_pid();
                if runs != 0 {
                    self.host.run(&format!("kill -9 {runs}"));
                }
                let _ = self.host.exec(&["sh", "-c", &go_on]); // it may have been that one
                if runs == 0 {
                    let found = eventually("an agent runs", LONG, || {
                        ready(Some(self.host.agent_pid()).filter(|pid| *pid != 0))
                    });
                    let kill = format!("kill -9 {}", found.await);
                    let _ = self.host.exec(&["sh", "-c", &kill]); // it may end by itself
                }
            }
            Fault::ControlPlane => {
                self.plane.kill();
                self.host.run(&go_on);
                tokio::time::sleep(lasts).await;
                self.plane.serve(&[]).await;
                self.operator = self.plane.operator().await;
            }
            Fault::Disk => {
                self.fill_disk();
                self.host.run(&go_on);
                tokio::time::sleep(lasts).await;
                self.free_disk();
            }
            Fault::Network => {
                self.host.namespace().cut();
                self.host.run(&go_on);
                tokio::time::sleep(lasts).await;
                self.host.namespace().heal(&self.network);
            }
        }
    }

    /// The upgrade after that one, once it is over.
    fn over(&self, before: Option<UnixMillis>) -> Option<Record> {
        let folder = self.upgrades();
        if folder.pending().unwrap().is_some() {
            return None;
        }
        folder.last().unwrap().filter(|last| Some(last.plan.begun) != before)
    }

    /// The version that is to run does, has a session, and nothing of the upgrade is left.
    async fn is_well(&self) {
        eventually("the agent has a session", RECOVERS, || {
            let told = StateDir::at(&self.state()).status().filter(|told| told.session == CONNECTED);
            ready(told.filter(|told| told.pid == self.host.agent_pid()))
        })
        .await;
        let is_here = |node: &pb::Node| {
            let liveness = node.connection.as_ref().map(|told| told.liveness());
            node.agent_version == self.runs && liveness == Some(Liveness::Online)
        };
        self.operator.until(&format!("{} is online", self.runs), &self.host.node, is_here).await;
        let said = self.host.sh("/opt/muster/current/bin/muster-node-agent version");
        assert!(said.contains(&self.runs), "{said} is installed, and {} runs", self.runs);
        let idle = "inactive\ninactive\nfailed:\n";
        let units = "muster-upgrade.service muster-upgrade-resume.service";
        let ask = format!(
            "systemctl is-active {units}; echo failed: $(systemctl --failed --no-legend list-units 'muster-*')"
        );
        eventually("no unit of it is left", LONG, || ready((self.host.sh(&ask) == idle).then_some(()))).await;
    }
}

/// A version is kept only if it is good, and blamed only if it is not.
fn check(run: Run, end: &End) {
    let blamed = |why: &Failure| why.kind.blames_version();
    match (run.version, end) {
        (Version::Good, End::Committed) => {}
        (Version::Good, End::Refused(why) | End::RolledBack(why)) => {
            assert!(!blamed(why), "{run:?}: a good version is blamed: {why:?}");
        }
        (_, End::Committed) => panic!("{run:?}: a bad version is kept"),
        (_, End::Failed(why)) => panic!("{run:?}: {why:?}"),
        (_, End::Refused(why) | End::RolledBack(why)) if run.fault != Fault::Nothing => {
            assert!(why.kind != Kind::Invalid, "{run:?}: {why:?}");
        }
        (Version::NeverConnects, End::RolledBack(why)) => assert_eq!(why.kind, Kind::Silent, "{why:?}"),
        (_, End::RolledBack(why)) => assert_eq!(why.kind, Kind::Crashed, "{why:?}"),
        (_, End::Refused(why)) => panic!("{run:?}: {why:?}"),
    }
}
