//! Single orders: those that run out of time.

use std::time::Duration;

use muster_common::ids::CommandId;
use muster_domain::command::{self, Command, Event};
use muster_store::{ReadCommands as _, WriteCommands as _};

use super::{App, Error, events::Ends, recorder::end_operations};

/// How much later than at the latest a host's answer is still waited for: clocks
/// differ, and a host that was cut off needs some time to say what it has to say.
const ANSWER_MARGIN: Duration = Duration::from_secs(10 * 60);

impl App {
    /// Ends queued orders whose time for delivery is over. Answers how many.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn expire_commands(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let due = self.store.read(move |tx| tx.command_due(now)).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let ids = due.iter().map(|command| command.id).collect();
        self.move_commands("commands.expire", ids, Event::DeliverByPassed).await
    }

    /// Ends delivered orders whose hosts ought to have answered long ago. Answers how many.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn give_up_commands(&self) -> Result<usize, Error> {
        let then = self.clock.now() - ANSWER_MARGIN;
        let unanswered = self.store.read(move |tx| tx.command_unanswered(then)).await?;
        if unanswered.is_empty() {
            return Ok(0);
        }
        let ids = unanswered.iter().map(|command| command.id).collect();
        self.move_commands("commands.give-up", ids, Event::AnswerOverdue).await
    }

    /// Moves some orders by one event, in one write.
    pub(crate) async fn move_commands(
        &self,
        action: &str,
        ids: Vec<CommandId>,
        event: Event,
    ) -> Result<usize, Error> {
        let now = self.clock.now();
        let committed = self
            .store
            .write(self.own_stamp(action), move |tx| {
                let (mut moved, mut ends) = (Vec::new(), Ends::default());
                for id in &ids {
                    let Some(before) = tx.command_get(*id)? else { continue };
                    match command::apply(&before, &event, now) {
                        Ok(after) if after != before => {
                            tx.command_put(&after)?;
                            ends.saw(before.state, &after);
                            moved.push(after);
                        }
                        _ => {}
                    }
                }
                ends.tell(tx)?;
                let mut operations: Vec<_> =
                    moved.iter().map(|command: &Command| command.operation).collect();
                operations.dedup();
                let ended = end_operations(tx, operations, now)?;
                Ok::<_, Error>((moved, ended))
            })
            .await?;
        let (moved, ended) = committed.value;
        self.moved(&moved);
        let count = moved.len();
        self.all_ended(&ended.and(moved));
        Ok(count)
    }

    /// Takes over in memory what was moved in the store.
    pub(crate) fn moved(&self, commands: &[Command]) {
        for command in commands {
            self.fleet.with(command.node, |mut entry| {
                self.count_end(&entry, command);
                entry.moved(command.id, command.state, command.cancel_requested);
            });
        }
    }
}
