//! Whether a version that was just enabled does what it is for: its program lives, and it is
//! healthy, within a time.

use std::time::Duration;

use muster_common::reason::Reason;

use super::{failure, machine::Of, worker::Worker};
use crate::{depot::Verb, state::ItemError};

/// The most that a package can say.
pub(super) const MOST: Duration = Duration::from_secs(3600);
/// A program that cannot be asked for its health must live for so long.
const SETTLES: Duration = Duration::from_secs(2);
/// Between looks.
const LOOK: Duration = Duration::from_millis(500);

impl Worker {
    /// Starts what runs of a version, and waits until it is well.
    pub(super) async fn prove(&mut self, of: Of) -> Result<(), ItemError> {
        let Some(version) = self.record.as_ref().and_then(|record| record.version(of)).cloned() else {
            return Ok(());
        };
        let Some(manifest) = version.manifest.clone() else { return Ok(()) };
        self.life.begin_anew();
        if let Some(record) = &mut self.record {
            record.done_in.clear();
        }
        if manifest.has(Verb::Run) {
            let launch = self.launch(&version, Verb::Run, "");
            self.program = Some(self.start(&launch, false).await?);
        }
        if !manifest.has(Verb::Health) {
            self.lives(SETTLES).await?;
            let message = self.unlimited(&manifest, &version.limits);
            self.note_health(true, message).await;
            return Ok(());
        }
        let clock = self.shared.options.clock.clone();
        let until = clock.monotonic() + manifest.health_within;
        loop {
            let unwell = match self.run_one(&version, Verb::Health, "").await {
                // Somebody answers: it is to be its own program, where it has one.
                Ok(()) if manifest.has(Verb::Run) => break self.lives(LOOK).await?,
                Ok(()) => break,
                Err(error) => error,
            };
            if clock.monotonic() >= until {
                let seconds = manifest.health_within.as_secs();
                let message = format!("it is not healthy after {seconds} s: {}", unwell.message);
                let error = failure::content(Reason::ExtensionUnhealthy, message);
                return Err(failure::with_output(error, unwell.output));
            }
            self.lives(LOOK).await?;
        }
        let message = self.unlimited(&manifest, &version.limits);
        self.note_health(true, message).await;
        Ok(())
    }

    /// Its program does not end meanwhile.
    async fn lives(&mut self, wait: Duration) -> Result<(), ItemError> {
        let Some(program) = &mut self.program else {
            tokio::time::sleep(wait).await;
            return Ok(());
        };
        let Ok(ended) = tokio::time::timeout(wait, program.ended()).await else { return Ok(()) };
        if let Some(program) = self.program.take() {
            program.forget().await;
        }
        let memory = if ended.out_of_memory { ": it wanted more memory than it may have" } else { "" };
        let message = format!("its program ended with {}{memory}", ended.how);
        Err(failure::with_output(failure::content(Reason::ExtensionUnhealthy, message), ended.output))
    }

    /// What is told of limits that nobody holds; empty: all are held.
    pub(super) fn unlimited(
        &self,
        manifest: &crate::depot::Manifest,
        limits: &crate::platform::units::Limits,
    ) -> String {
        let any = |limits: &crate::platform::units::Limits| {
            limits.memory.is_some() || limits.cpu.is_some() || limits.tasks.is_some()
        };
        if self.shared.options.depots.has_units() || !(any(&manifest.limits) || any(limits)) {
            return String::new();
        }
        "its limits are not enforced: this host has no systemd, or its agent is not root".to_owned()
    }

    /// Nothing of what runs is left.
    pub(super) async fn stop_program(&mut self) {
        let ended = match self.program.take() {
            Some(program) => program.end().await,
            None => Ok(()),
        };
        if let Err(error) = ended {
            // It stays in the record: no other is started beside it.
            tracing::warn!(name = self.name, %error, "the program of {} could not be ended", self.name);
        } else if let Err(error) = self.end_former().await {
            tracing::warn!(
                name = self.name,
                "the program before of {} may go on: {}",
                self.name,
                error.message
            );
        }
    }
}
