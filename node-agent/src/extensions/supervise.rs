//! What runs is watched over: its program is started again, up to a limit, and its health is
//! asked for. What is seen is told; nothing is taken back for it: the version has proved
//! itself once.

use std::time::Duration;

use muster_common::{backoff::Backoff, clock::Instant};

use super::{content::Version, program::Ended, worker::Worker};
use crate::{
    depot::{Manifest, Verb},
    platform::process::boot_id,
};

/// Waits between restarts.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A program that lived for so long begins anew with its restarts.
const LIVED: Duration = Duration::from_secs(120);
/// Between looks, while something is to be tried again or is paused.
const LOOK: Duration = Duration::from_secs(1);
/// Otherwise.
const TURN: Duration = Duration::from_secs(60);

/// How often a program has ended.
pub(super) struct Life {
    restarts: u32,
    backoff: Backoff,
    began: Option<Instant>,
    /// When its program is started, if none runs. `None`: never.
    start: Option<Instant>,
    is_over: bool,
    /// It is over because it ended again and again: no verb says otherwise.
    is_given_up: bool,
    health: Option<Instant>,
}

impl Default for Life {
    fn default() -> Self {
        let backoff = Backoff::new(WAITS.0, WAITS.1);
        Self {
            restarts: 0,
            backoff,
            began: None,
            start: None,
            is_over: false,
            is_given_up: false,
            health: None,
        }
    }
}

impl Life {
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }
}

impl Worker {
    /// Looks after what runs, until there may be something else to do.
    pub(super) async fn look_after(&mut self) {
        // Of what is broken nothing runs, and nothing is to.
        let record = self.record.as_ref().filter(|record| record.state.running.is_some());
        let record_done =
            record.is_some_and(|record| !record.done_in.is_empty() && record.done_in == boot_id());
        let version = record.and_then(|record| record.current.clone());
        let Some((version, manifest)) =
            version.and_then(|version| Some((version.clone(), version.manifest?)))
        else {
            return self.rest(TURN).await;
        };
        if !self.life.is_over && record_done {
            self.life.is_over = true; // an earlier agent saw it end
        }
        let now = self.shared.options.clock.monotonic();
        if self.program.is_none() && manifest.has(Verb::Run) && !self.life.is_over {
            let due = *self.life.start.get_or_insert(now);
            if due <= now {
                return self.start_again(&version).await;
            }
        }
        if manifest.has(Verb::Health) {
            let due = *self.life.health.get_or_insert(now + manifest.health_interval);
            if due <= now {
                self.life.health = Some(now + manifest.health_interval);
                return self.ask_health(&version).await;
            }
        }
        let next =
            [self.life.start.filter(|_| self.program.is_none() && !self.life.is_over), self.life.health];
        let wait = next.into_iter().flatten().map(|due| due - now).min().unwrap_or(TURN);
        self.rest_with(wait, &manifest).await;
    }

    async fn rest_with(&mut self, wait: Duration, manifest: &Manifest) {
        let Some(program) = &mut self.program else { return self.rest(wait).await };
        let wait = if self.retry.is_some() { wait.min(LOOK) } else { wait };
        let ended = tokio::select! {
            ended = program.ended() => ended,
            () = self.inbox.changed() => return,
            () = tokio::time::sleep(wait) => return,
        };
        if let Some(program) = self.program.take() {
            program.forget().await;
        }
        self.ended(&ended, manifest).await;
    }

    async fn rest(&mut self, wait: Duration) {
        let waits = self.retry.is_some() || self.shared.options.pauses.holds();
        let wait = if waits { wait.min(LOOK) } else { wait };
        tokio::select! {
            () = self.inbox.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// The program has ended by itself.
    async fn ended(&mut self, ended: &Ended, manifest: &Manifest) {
        let now = self.shared.options.clock.monotonic();
        if self.life.began.is_some_and(|began| now - began >= LIVED) {
            self.life.restarts = 0;
            self.life.backoff.reset();
        }
        if ended.is_well && !manifest.restart.always {
            self.life.is_over = true;
            if let Some(record) = &mut self.record {
                record.done_in = boot_id();
            }
            return self.note_health(true, "its program has done its work and ended".to_owned()).await;
        }
        let why = if ended.out_of_memory { ", it wanted more memory than it may have" } else { "" };
        if self.life.restarts >= manifest.restart.most {
            self.life.is_over = true;
            self.life.is_given_up = true;
            let message = format!(
                "its program ended with {}{why}; it was started again {} times and is not any more",
                ended.how, self.life.restarts
            );
            return self.note_health(false, message).await;
        }
        self.life.restarts += 1;
        self.life.start = Some(now + self.life.backoff.next_wait());
        let message = format!("its program ended with {}{why}; it is started again", ended.how);
        self.note_health(false, message).await;
    }

    async fn start_again(&mut self, version: &Version) {
        let launch = self.launch(version, Verb::Run, "");
        let now = self.shared.options.clock.monotonic();
        match self.start(&launch, false).await {
            Ok(program) => {
                self.program = Some(program);
                self.life.began = Some(now);
                let has_health = version.manifest.as_ref().is_some_and(|manifest| manifest.has(Verb::Health));
                if !has_health {
                    let mut message = "its program was started again".to_owned();
                    let unlimited = self.unlimited_of(version);
                    if !unlimited.is_empty() {
                        message = format!("{message}; {unlimited}");
                    }
                    self.note_health(true, message).await;
                }
            }
            Err(error) => {
                self.life.start = Some(now + self.life.backoff.next_wait());
                self.note_health(false, error.message).await;
            }
        }
    }

    fn unlimited_of(&self, version: &Version) -> String {
        let manifest = version.manifest.as_ref();
        manifest.map_or_else(String::new, |manifest| self.unlimited(manifest, &version.limits))
    }

    async fn ask_health(&mut self, version: &Version) {
        match self.run_one(version, Verb::Health, "").await {
            Ok(()) if self.life.is_given_up => {}
            Ok(()) => self.note_health(true, self.unlimited_of(version)).await,
            Err(error) => self.note_health(false, error.message).await,
        }
    }
}
