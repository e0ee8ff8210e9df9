//! How a version comes onto its way: what it takes is brought, and the watchdog gets the word.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_common::{error_chain::Chain, reason::Reason};

use super::{
    Content, failure,
    record::{Coming, Record},
    task::Task,
};
use crate::{
    state::{Cause, ItemError},
    verbs::messages::{UpgradePending, UpgradeState},
};

/// Between looks how much has come.
const LOOK: Duration = Duration::from_secs(1);

impl Task {
    /// Brings what it takes, and gives the word to the watchdog.
    pub(super) async fn order(&mut self, coming: Coming) -> Result<Coming, ItemError> {
        let version = &coming.content.version;
        if let Some(why) = self.options.locks.current().refuses_upgrade(version) {
            return Err(failure::error(Reason::UpgradeDenied, Cause::Host, why));
        }
        let now = self.options.port.look().await?;
        let before = now.last.as_ref().map(|last| last.begun_ms);
        let ordered = Coming { is_ordered: true, before, ..coming.clone() };
        if let Some(pending) = &now.pending {
            // By hand, the same: its end is an end of this word, too.
            return if pending.to == *version { Ok(ordered) } else { Err(busy(pending)) };
        }
        if !now.unavailable.is_empty() {
            return Err(failure::error(Reason::UpgradeUnavailable, Cause::Host, now.unavailable));
        }
        let content = self.bring_files(&coming.content, now.is_in_slots).await?;
        self.remember_ordered(&ordered).await?;
        match self.options.port.start(&content).await {
            Ok(_) => Ok(ordered),
            Err(error) => match self.options.port.look().await {
                // It was begun, and only the answer was lost.
                Ok(UpgradeState { pending: Some(pending), .. }) if pending.to == *version => Ok(ordered),
                _ => Err(error),
            },
        }
    }

    /// What the host needs of a content: files if it is in slots, else none.
    async fn bring_files(&mut self, content: &Content, is_in_slots: bool) -> Result<Content, ItemError> {
        if !is_in_slots {
            return Ok(Content { archive: None, ..content.clone() });
        }
        let archive = content.archive.as_ref().ok_or_else(|| {
            let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
            let message = format!("release {} has no files for {os} {arch}", content.version);
            failure::error(Reason::ReleaseContentInvalid, Cause::Host, message)
        })?;
        let come = Arc::<AtomicU64>::default();
        let told = Arc::clone(&come);
        let mut coming =
            self.options.port.obtain(archive, Arc::new(move |bytes| told.store(bytes, Ordering::Relaxed)));
        let mut percent = None;
        loop {
            let now = come.load(Ordering::Relaxed).saturating_mul(100) / archive.size.max(1);
            if percent != Some(now) {
                percent = Some(now);
                self.tell_step("downloading", u8::try_from(now.min(100)).unwrap_or(100), &archive.target);
            }
            tokio::select! {
                biased;
                obtained = &mut coming => { obtained?; break }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.tell_step("verified", 0, &archive.target);
        Ok(content.clone())
    }

    /// It must be known afterwards whose word it was.
    async fn remember_ordered(&mut self, ordered: &Coming) -> Result<(), ItemError> {
        let Some(record) = self.record.clone() else { return Ok(()) };
        let record = Record { coming: Some(ordered.clone()), ..record };
        let saved = self.save(&record).await;
        saved.map_err(|error| {
            let message = format!("cannot write down what is about to be done: {}", Chain(&error));
            failure::error(Reason::WriteFailed, Cause::Host, message)
        })
    }
}

/// Another one is under way.
pub(super) fn busy(pending: &UpgradePending) -> ItemError {
    let message = format!("the agent is being upgraded to {}", pending.to);
    failure::error(Reason::UpgradeBusy, Cause::Host, message)
}
