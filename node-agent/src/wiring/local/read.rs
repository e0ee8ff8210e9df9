//! What the observer has read of a node: kept where it is known that it is the same. To read
//! it wakes another thread, and nearly always for what was there before.

use muster_common::tasks;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::View;
use crate::{
    local_api::status::Command,
    state_dir::{MEMO, Memo, StateDir},
    watched::Watched,
};

/// What was read last.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// There were no commands, and there was no news of any.
    idle: Mutex<Option<watch::Receiver<u64>>>,
    memo: Mutex<Option<(Watched, Memo)>>,
}

impl Read {
    /// Commands that are not over for the control plane.
    pub(super) async fn commands(&self, view: &View) -> Vec<Command> {
        if self.is_idle(&view.commands) {
            return Vec::new();
        }
        let mut news = view.commands.clone();
        news.mark_unchanged(); // before it is read: what comes meanwhile is news
        let commands = view.commands().await;
        *self.idle.lock() = commands.is_empty().then_some(news);
        commands
    }

    fn is_idle(&self, news: &watch::Receiver<u64>) -> bool {
        let idle = self.idle.lock();
        // Another node has other commands; one that has ended tells of none.
        idle.as_ref().is_some_and(|then| then.same_channel(news) && matches!(then.has_changed(), Ok(false)))
    }

    /// What is remembered of the control plane.
    pub(super) async fn memo(&self, view: &View, state: &StateDir) -> Memo {
        let node = view.identity.borrow().node;
        let path = state.node(node).join(MEMO);
        if let Some((file, memo)) = &mut *self.memo.lock()
            && file.path() == path
            && !file.is_news()
        {
            return memo.clone();
        }
        let (mut file, state) = (Watched::new(path), state.clone());
        file.is_news(); // before it is read
        let memo = tasks::blocking(move || state.memo(node)).await;
        // Nothing may be a fault of the disk, which passes.
        *self.memo.lock() = (memo != Memo::default()).then(|| (file, memo.clone()));
        memo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_idle_until_there_is_news_of_it_or_it_is_another() {
        let read = Read::default();
        let (news, mut receiver) = watch::channel(0);
        assert!(!read.is_idle(&receiver), "nobody has looked");
        receiver.mark_unchanged();
        *read.idle.lock() = Some(receiver.clone());
        assert!(read.is_idle(&receiver));
        assert!(!read.is_idle(&watch::channel(0).1), "of another node");
        news.send_modify(|count| *count += 1);
        assert!(!read.is_idle(&receiver));
        *read.idle.lock() = Some({
            receiver.mark_unchanged();
            receiver.clone()
        });
        assert!(read.is_idle(&receiver));
        drop(news);
        assert!(!read.is_idle(&receiver), "it has ended");
    }
}
