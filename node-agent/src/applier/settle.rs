//! What an earlier process, or an attempt before, left unfinished.

use std::{io, time::Duration};

use muster_common::reason::Reason;

use super::{
    Applier, Failure, cut_offs,
    hooks::{self, Context},
    journal::{Journal, Phase},
    records::{Record, Records},
};
use crate::{
    platform::process,
    state::Cause,
    verbs::{Hands, Runs},
};

/// For processes that were killed to be gone.
const GONE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

impl Applier {
    /// Undoes what was not finished; what was decided is cleared up. Safe to repeat.
    ///
    /// # Errors
    /// From the file system; what is left is settled another time.
    pub async fn settle(&mut self) -> io::Result<()> {
        let (folder, now) = (self.base.folder.clone(), self.base.clock.now());
        let Some(journal) = self.base.blocking(move || Journal::load(&folder, now)).await? else {
            return Ok(());
        };
        self.end_run(&journal).await;
        end_hook(&journal).await;
        if self.is_decided(&journal) { self.clear_up(journal).await } else { self.undo(journal).await }
    }

    /// A hook that the executor runs, likewise.
    async fn end_run(&self, journal: &Journal) {
        let (Some(id), Hands::Executor(client)) = (journal.run, &self.base.hands) else { return };
        let (runs, item) = (Runs::Executor(client.clone()), &journal.item);
        // Its order may still be on its way.
        if let Err(error) = runs.call_off(id).await {
            tracing::warn!(item, %error, "a hook of {item} that was left behind cannot be called off");
        }
        if let Err(error) = runs.kill(id).await {
            tracing::error!(item, %error, "a hook of {item} that was left behind cannot be killed");
        }
        runs.clear(id).await;
    }

    fn is_decided(&self, journal: &Journal) -> bool {
        self.look(|records| {
            let record = records.get(&journal.item);
            let runs = record.and_then(|record| record.state.running.as_ref());
            if journal.removal {
                record.is_none()
            } else if let Some(number) = journal.correction {
                record.is_some_and(|record| record.corrections >= number)
            } else {
                runs.is_some_and(|running| running.generation == journal.version.generation)
            }
        })
    }

    async fn clear_up(&self, journal: Journal) -> io::Result<()> {
        let (folder, now) = (self.base.folder.clone(), self.base.clock.now());
        let hands = self.base.hands.clone();
        let work = move || match journal.clear(&hands) {
            Ok(()) => Journal::forget(&folder),
            Err(error) => {
                let item = &journal.item;
                tracing::error!(item, %error, "what was left of a change of {item} could not be cleared away");
                Journal::set_aside(&folder, now)
            }
        };
        self.base.blocking(work).await
    }

    async fn undo(&mut self, mut journal: Journal) -> io::Result<()> {
        let item = journal.item.clone();
        tracing::warn!(item, "a change of {item} was cut off and is undone");
        let (folder, hands) = (self.base.folder.clone(), self.base.hands.clone());
        let work = move || {
            let undone = journal.undo(&hands);
            if undone.is_ok() {
                journal.returned(&folder);
            }
            (journal, undone)
        };
        let (journal, undone) = self.base.blocking(work).await;
        if let Err(error) = undone {
            return self.give_up(&journal, &error).await;
        }
        let (name, version) = (item.clone(), journal.version.clone());
        let count = self.with(move |records| records.cut_offs.count(&name, &version)).await;
        if count >= cut_offs::LIMIT {
            // Forgotten before anything is run: it must not be a hook that ends the agent again.
            self.tell_cut_off(&journal, count).await;
            self.forget_journal().await?;
            return self.tell_services(&journal, None).await;
        }
        self.tell_services(&journal, Some(&journal)).await?;
        self.forget_journal().await
    }

    /// It was tried often enough: what the control plane hears keeps it from offering it again.
    async fn tell_cut_off(&mut self, journal: &Journal, count: u32) {
        let running = self.running(&journal.item);
        let message = format!("the agent or the host ended {count} times while it was applied");
        let failure = Failure::rejected(Reason::CutOff, Cause::Content, message).rolled_back();
        self.failed(&journal.item, journal.version.clone(), running, failure).await;
    }

    /// A change that cannot be undone must not stop the agent: a person is told.
    async fn give_up(&mut self, journal: &Journal, error: &io::Error) -> io::Result<()> {
        let item = journal.item.clone();
        tracing::error!(item, %error, "an unfinished change of {item} could not be undone: {error}");
        let running = self.running(&item);
        let failure = Failure::host(error).broken(&error.to_string());
        let state = failure.state(&item, running.clone(), running, self.base.clock.now());
        let note = move |records: &mut Records| {
            let record = records.get(&item).cloned().unwrap_or_else(|| Record::new(state.clone()));
            records.note(Record { state, ..record });
        };
        self.with(note).await;
        let (folder, now) = (self.base.folder.clone(), self.base.clock.now());
        self.base.blocking(move || Journal::set_aside(&folder, now)).await
    }

    /// Services hear of the files of before, if those of a bundle had been swapped.
    async fn tell_services(&self, journal: &Journal, note_in: Option<&Journal>) -> io::Result<()> {
        if journal.phase == Phase::Staging {
            return Ok(());
        }
        let item = journal.item.clone();
        let read = move |records: &mut Records| records.get(&item).and_then(|record| records.payload(record));
        let former = self.with(read).await;
        let hook = former.as_ref().and_then(|former| former.on_change.as_ref());
        let context = Context {
            base: &self.base,
            item: &journal.item,
            version: "",
            stage: None,
            place: None,
            journal: note_in,
        };
        if let Err(failure) = hooks::run_back(hook, context).await {
            let item = &journal.item;
            tracing::error!(item, "after the return to the former {item}: {}", failure.error.message);
        }
        Ok(())
    }

    pub(super) async fn forget_journal(&self) -> io::Result<()> {
        let folder = self.base.folder.clone();
        self.base.blocking(move || Journal::forget(&folder)).await
    }
}

/// A hook that outlived its agent would work on files that are being put back.
async fn end_hook(journal: &Journal) {
    let Some(mark) = &journal.hook else { return };
    let mut killed = false;
    let all_gone = async {
        while process::kill_leftover(mark) {
            killed = true;
            tokio::time::sleep(LOOK).await;
        }
    };
    let in_time = tokio::time::timeout(GONE, all_gone).await.is_ok();
    let item = &journal.item;
    if !in_time {
        tracing::error!(item, "a hook of {item} that was left behind cannot be killed");
    } else if killed {
        tracing::warn!(item, "killed a hook of {item} that was left behind");
    }
}
