//! What an entry has of a node beside what is stored of it: a session, who holds it, what is
//! to be written down. Of a million nodes most have none of it, so it stands beside the entry,
//! and only once somebody wrote to it.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::LazyLock,
};

use muster_common::clock::UnixMillis;
use muster_domain::{condition::Condition, item::ItemName, sighting::Sightings};

use super::{Dirty, Entry, Holder, Live, OpenTicket, ToldFacts};
use crate::session::frames::Load;

/// What of a node only the living know. It reads as part of the [`Entry`]; to look at what is
/// not there costs nothing, to write to it makes it.
#[derive(Default)]
pub struct Seldom {
    /// Its session, here or with another replica.
    pub live: Option<Box<Live>>,
    /// Who holds it.
    pub holder: Holder,
    /// The revision at which it was stored that we hold it. `None`: it is not stored yet.
    pub held_since: Option<u64>,
    /// Another replica took it while that was not stored: who was first is still to be seen.
    pub is_disputed: bool,
    /// The store's revision at which was read what it told another replica last.
    pub told_as_of: u64,
    /// When it was last heard, by anybody's reckoning of wall time.
    pub last_heard: Option<UnixMillis>,
    /// How busy its host is.
    pub load: Load,
    /// What it says holds.
    pub conditions: Vec<Condition>,
    /// Its orders that have not ended.
    pub tickets: Vec<OpenTicket>,
    /// Who spoke as this node lately.
    pub sightings: Sightings,
    /// Who was refused since it was released as another process.
    pub turned_away: Sightings,
    /// Its quarantine is on the way to the store.
    pub locking: bool,
    /// Facts it told that are not stored yet. Selectors see them together with
    /// the revision at which they were stored, so that no generation is offered
    /// twice with different content.
    pub told: Option<Box<ToldFacts>>,
    /// Why an operator removes it; the session's last word.
    pub farewell: Option<String>,
    /// When it was last heard that an item is on its way, by our clock.
    pub progressed: BTreeMap<ItemName, UnixMillis>,
    /// What of it is to be written down.
    pub dirty: Dirty,
}

static NOTHING: LazyLock<Seldom> = LazyLock::new(Seldom::default);

impl Seldom {
    /// Whether all of it is as if nobody had ever written to it.
    fn is_nothing(&self) -> bool {
        let Self { live, holder, held_since, is_disputed, told_as_of, last_heard, load, .. } = self;
        let Self { conditions, tickets, sightings, turned_away, locking, .. } = self;
        let Self { told, farewell, progressed, dirty, .. } = self;
        let is_unheld = *holder == Holder::Nobody && held_since.is_none() && *told_as_of == 0;
        let is_unheard = live.is_none() && last_heard.is_none() && *load == Load::default();
        let says_nothing = conditions.is_empty() && told.is_none() && progressed.is_empty();
        let was_unseen = sightings.all().is_empty() && turned_away.all().is_empty();
        let is_done = tickets.is_empty() && farewell.is_none() && *dirty == Dirty::default();
        is_unheld && is_unheard && says_nothing && was_unseen && is_done && !is_disputed && !locking
    }
}

impl Entry {
    /// Frees what holds nothing any more.
    pub fn put_away(&mut self) {
        self.seldom.take_if(|seldom| seldom.is_nothing());
    }
}

impl Deref for Entry {
    type Target = Seldom;
    fn deref(&self) -> &Seldom {
        self.seldom.as_deref().unwrap_or_else(|| &NOTHING)
    }
}

impl DerefMut for Entry {
    fn deref_mut(&mut self) -> &mut Seldom {
        self.seldom.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use muster_domain::liveness::Tracker;

    use super::*;
    use crate::app::tests::bench::node;

    #[test]
    fn an_entry_takes_room_for_what_is_seldom_there_only_while_it_is_there() {
        let mut entry = Entry::new(node(1), Tracker::new());
        assert!(entry.tickets.is_empty() && entry.live.is_none() && entry.holder == Holder::Nobody);
        assert!(entry.seldom.is_none(), "to look costs nothing");
        entry.dirty.liveness = true;
        entry.put_away();
        assert!(entry.dirty.liveness, "what is to be written is kept");
        entry.dirty = Dirty::default();
        entry.put_away();
        assert!(entry.seldom.is_none());
    }

    #[test]
    fn an_entry_is_in_the_budget_of_a_node() {
        // With its lock and the two counters of its Arc: the size to which the allocator rounds.
        assert!(size_of::<parking_lot::Mutex<Entry>>() + 2 * size_of::<usize>() <= 512);
    }
}
