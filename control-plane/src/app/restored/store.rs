//! The write with which a restored store begins its next history.

use muster_common::{clock::UnixMillis, reason::Reason};
use muster_domain::{
    audit::{Note, Stamp},
    command::{self, Event},
    page::Page,
    rollout::Brake,
};
use muster_store::{
    ReadCommands as _, ReadHistories as _, ReadJoinTokens as _, ReadRollouts as _, Store, WriteCommands as _,
    WriteHistories as _, WriteJoinTokens as _, WriteRollouts as _, WriteSchedules as _, WriteTx,
};
use serde_json::json;

use crate::app::{
    Error,
    events::{self, Ends},
    recorder::end_operations,
    rollouts::told,
};

/// Join tokens read at once.
const TOKENS: u32 = 500;

/// How the next history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Its number; above all that hosts can know.
    pub epoch: u64,
    /// When the backup was made.
    pub taken_at: UnixMillis,
    /// Join tokens stay valid. One that was used up since can be used again then.
    pub keep_join_tokens: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Number of the history that begins.
    pub epoch: u64,
    /// Commands that waited: they may have gone out since.
    pub interrupted: usize,
    /// Join tokens that hold no more.
    pub revoked: usize,
    /// Rollouts that wait for a person.
    pub held: usize,
}

/// Begins the next history of a store that was restored and that nobody serves yet: what
/// waited to be done and may have been done since is ended, and what would go on by itself
/// waits for a person.
///
/// # Errors
/// If the number is not above that of the store, or the store fails; nothing is done then.
pub fn begin(store: &Store, stamp: Stamp, plan: Plan) -> Result<Restored, Error> {
    let by = stamp.actor.clone();
    let now = stamp.at;
    let done = store.write_blocking(stamp, move |tx| {
        let before = tx.history()?.epoch;
        if plan.epoch <= before {
            return Err(Error::refused(
                Reason::StateConflict,
                format!("epoch {} is not above {before}, that of the backup", plan.epoch),
            ));
        }
        let interrupted = interrupt_queued(tx, now)?;
        let revoked = if plan.keep_join_tokens { 0 } else { revoke_tokens(tx, now)? };
        let held = tx.rollout_open_all()?.len();
        if held > 0 {
            let reason = "the store was restored from a backup".to_owned();
            let brake = Brake { by: by.clone(), at: now, reason };
            tx.rollout_set_brake(Some(&brake))?;
            events::tell(tx, told::braked(Some(&brake)))?;
        }
        tx.schedule_skip_all(now)?;
        tx.history_begin(plan.epoch, plan.taken_at, now)?;
        tx.audit(Note {
            subject: "store".to_owned(),
            before: json!({ "epoch": before }).to_string(),
            after: json!({
                "epoch": plan.epoch, "taken_at": plan.taken_at.to_string(), "interrupted": interrupted,
                "join_tokens_revoked": revoked, "rollouts_held": held,
            })
            .to_string(),
            ..Note::default()
        })?;
        Ok(Restored { epoch: plan.epoch, interrupted, revoked, held })
    })?;
    Ok(done.value)
}

fn interrupt_queued(tx: &mut WriteTx<'_>, now: UnixMillis) -> Result<usize, Error> {
    let (mut count, mut operations, mut ends) = (0, Vec::new(), Ends::default());
    for command in tx.command_open_all()? {
        let after = command::apply(&command, &Event::StoreRestored, now);
        if let Some(ended) = after.ok().filter(|after| *after != command) {
            tx.command_put(&ended)?;
            ends.saw(command.state, &ended);
            count += 1;
            if !operations.contains(&command.operation) {
                operations.push(command.operation);
            }
        }
    }
    ends.tell(tx)?;
    end_operations(tx, operations, now)?;
    Ok(count)
}

fn revoke_tokens(tx: &mut WriteTx<'_>, now: UnixMillis) -> Result<usize, Error> {
    let (mut count, mut page) = (0, Page { size: TOKENS, after: None });
    loop {
        let listed = tx.join_token_list(&page)?;
        for token in &listed.rows {
            let is_usable = token.expires_at > now && token.uses < token.max_uses;
            count += usize::from(is_usable && tx.join_token_revoke(token.id, now)?);
        }
        let Some(next) = listed.next else { return Ok(count) };
        page.after = Some(next);
    }
}
