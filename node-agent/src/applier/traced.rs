//! Changes of items as parts of traces.

use muster_common::reason::Reason;

use super::{Applier, Failure};
use crate::state::{ItemState, ItemStory, Offer, Removal, Story};

impl Applier {
    /// Brings an offer onto the host, or says why not. If somebody collects the trace of it,
    /// what was done is kept to be told.
    pub(super) async fn apply_traced(&mut self, offer: Offer) -> ItemState {
        let (item, generation) = (offer.item.clone(), offer.version.generation);
        let name = || format!("apply {item}");
        self.base.story = Story::of(&offer.traceparent, name, &self.base.clock);
        // On the heap: it is the largest part of the task, and mostly none is under way.
        let state = Box::pin(self.apply(offer)).await;
        let story = std::mem::take(&mut self.base.story);
        let error = state.error.as_ref().map(|error| error.reason.to_string()).unwrap_or_default();
        self.base.stories.add(ItemStory { item, generation, spans: story.end(&error) });
        state
    }

    /// The same for what is to be taken off the host. `None`: there is nothing of it.
    pub(super) async fn remove_traced(&mut self, removal: Removal) -> Option<ItemState> {
        let (item, generation) = (removal.item.clone(), removal.generation);
        let name = || format!("remove {item}");
        self.base.story = Story::of(&removal.traceparent, name, &self.base.clock);
        let state = Box::pin(self.remove(removal)).await;
        let story = std::mem::take(&mut self.base.story);
        let error = state.as_ref().and_then(|state| state.error.as_ref());
        let error = error.map(|error| error.reason.to_string()).unwrap_or_default();
        self.base.stories.add(ItemStory { item, generation, spans: story.end(&error) });
        state
    }
}

/// What a hook that fails for this reason is called.
pub(super) const fn hook(reason: Reason) -> &'static str {
    match reason {
        Reason::ValidateFailed => "hook validate",
        Reason::OnChangeFailed => "hook on_change",
        Reason::ProbeFailed => "hook probe",
        _ => "hook of the way back",
    }
}

/// The word for why a part failed; empty: it did not.
pub(super) fn error<T>(result: &Result<T, Failure>) -> String {
    result.as_ref().err().map(|failure| failure.error.reason.to_string()).unwrap_or_default()
}
