//! Who did what: entries whose hashes form one chain per replica, and signed
//! checkpoints of those chains.
//!
//! An entry is a link: it cannot be changed without changing all that follow.
//! A [`Checkpoint`] says, under a key that is not in the store, what a chain was
//! at one place; [`Walk`] holds records against all of that, and [`line`] is how
//! they are written down for those who have no store.

pub mod checkpoint;
pub mod filter;
pub mod line;
pub mod text;
pub mod walk;

use muster_common::{clock::UnixMillis, digest::Sha256};

pub use checkpoint::Checkpoint;
pub use filter::Filter;
pub use walk::Walk;

/// Who writes, why, when. Every write of the store takes one, so that a write
/// without an actor does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `operator/alice`, `node/…`, `cli/root`, `control-plane/a`.
    pub actor: String,
    /// What is being done: `nodes.update`.
    pub action: String,
    /// When.
    pub at: UnixMillis,
    /// From where.
    pub remote_address: String,
    /// Of the request.
    pub trace_id: String,
}

/// What an entry says beside its stamp.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// On what: `node/…`.
    pub subject: String,
    /// JSON, without secrets; empty: nothing.
    pub before: String,
    /// JSON, without secrets; empty: nothing.
    pub after: String,
    /// The call was refused.
    pub denied: bool,
}

/// One link of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose chain.
    pub replica: String,
    /// From 1, no gaps.
    pub seq: u64,
    /// Who, why, when.
    pub stamp: Stamp,
    /// What.
    pub note: Note,
    /// Hash of the entry before; zero for the first.
    pub previous: Sha256,
    /// Over all of the above.
    pub hash: Sha256,
}

/// What is kept of the audit, in the order of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Something was done.
    Entry(Entry),
    /// A chain was signed.
    Checkpoint(Checkpoint),
}

/// A record and its place in the order of commits over all replicas. A
/// checkpoint has the place of the entry that it signs, and follows it.
pub type Placed<T> = (u64, T);

impl Record {
    /// Whose chain.
    #[must_use]
    pub fn replica(&self) -> &str {
        match self {
            Self::Entry(entry) => &entry.replica,
            Self::Checkpoint(checkpoint) => &checkpoint.replica,
        }
    }

    /// The entry that it is, or signs.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.seq,
            Self::Checkpoint(checkpoint) => checkpoint.seq,
        }
    }
}

/// What the first entry of a chain says of the one before.
pub const START: Sha256 = Sha256::ZERO;

/// Hash of an entry: over every field, each with its length before it, so that
/// no two entries have the same bytes. The layout is written down in
/// `docs/security.md`; changing it breaks every chain there is.
#[must_use]
pub fn seal(replica: &str, seq: u64, stamp: &Stamp, note: &Note, previous: Sha256) -> Sha256 {
    let texts = [
        replica,
        &stamp.actor,
        &stamp.action,
        &stamp.remote_address,
        &stamp.trace_id,
        &note.subject,
        &note.before,
        &note.after,
    ];
    let mut bytes = Vec::with_capacity(96 + texts.iter().map(|text| text.len() + 8).sum::<usize>());
    bytes.extend_from_slice(b"muster-audit-v1\0");
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&stamp.at.0.to_be_bytes());
    bytes.push(u8::from(note.denied));
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(previous.as_bytes());
    Sha256::of(&bytes)
}

/// A chain is broken at this entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit chain of replica {replica:?} is broken at entry {seq}: {what}")]
pub struct BadLink {
    /// Whose chain.
    pub replica: String,
    /// Where.
    pub seq: u64,
    /// How.
    pub what: Break,
}

/// How a chain can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// The entry's own fields were changed.
    #[error("its hash does not fit its content")]
    Content,
    /// The entry before was changed, or is another one.
    #[error("it does not follow the entry before it")]
    Previous,
    /// Entries were taken out, put in or exchanged.
    #[error("entries before it are missing, repeated or out of order")]
    Gap,
}

/// Checks entries of one replica, in order. They may be a piece of the chain:
/// then what lies before the first of them is taken on trust.
///
/// # Errors
/// The first entry that does not hold.
pub fn verify<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<(), BadLink> {
    let mut before: Option<&Entry> = None;
    for entry in entries {
        let same_chain = before.is_none_or(|before| before.replica == entry.replica);
        let broken = broken(before.map(|before| (before.seq, before.hash)), entry);
        if let Some(what) = (!same_chain).then_some(Break::Gap).or(broken) {
            return Err(BadLink { replica: entry.replica.clone(), seq: entry.seq, what });
        }
        before = Some(entry);
    }
    Ok(())
}

/// How an entry fails to follow the number and hash of the one before it.
fn broken(before: Option<(u64, Sha256)>, entry: &Entry) -> Option<Break> {
    let (follows, previous) = match before {
        Some((seq, hash)) => (seq.checked_add(1) == Some(entry.seq), hash),
        None if entry.seq == 1 => (true, START),
        None => (entry.seq > 1, entry.previous),
    };
    if !follows {
        Some(Break::Gap)
    } else if entry.previous != previous {
        Some(Break::Previous)
    } else if entry.hash != seal(&entry.replica, entry.seq, &entry.stamp, &entry.note, entry.previous) {
        Some(Break::Content)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> Vec<Entry> {
        let mut previous = START;
        (1..=length)
            .map(|seq| {
                let stamp = Stamp {
                    actor: "operator/alice".into(),
                    action: "nodes.update".into(),
                    at: UnixMillis(1_700_000_000_000 + i64::try_from(seq).unwrap()),
                    remote_address: "192.0.2.1".into(),
                    trace_id: String::new(),
                };
                let note = Note { subject: format!("node/{seq}"), ..Note::default() };
                let hash = seal("a", seq, &stamp, &note, previous);
                let entry = Entry { replica: "a".into(), seq, stamp, note, previous, hash };
                previous = hash;
                entry
            })
            .collect()
    }

    fn verdict(entries: &[Entry]) -> Option<(u64, Break)> {
        verify(entries).err().map(|bad| (bad.seq, bad.what))
    }

    #[test]
    fn a_chain_holds_whole_and_in_pieces() {
        let chain = chain(5);
        assert_eq!(verdict(&chain), None);
        assert_eq!(verdict(&chain[2..]), None);
        assert_eq!(verdict(&[]), None);
    }

    #[test]
    fn a_change_of_any_field_is_seen() {
        let changes: [fn(&mut Entry); 9] = [
            |e| e.stamp.actor.push('x'),
            |e| e.stamp.action.push('x'),
            |e| e.stamp.at.0 += 1,
            |e| e.stamp.remote_address.push('x'),
            |e| e.stamp.trace_id.push('x'),
            |e| e.note.subject.push('x'),
            |e| e.note.before.push('x'),
            |e| e.note.after.push('x'),
            |e| e.note.denied = true,
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut chain = chain(3);
            change(&mut chain[1]);
            assert_eq!(verdict(&chain), Some((2, Break::Content)), "change {n}");
        }
    }

    #[test]
    fn an_entry_rewritten_with_its_hash_breaks_the_next() {
        let mut chain = chain(3);
        chain[1].note.after = "{}".into();
        chain[1].hash = seal("a", 2, &chain[1].stamp, &chain[1].note, chain[1].previous);
        assert_eq!(verdict(&chain), Some((3, Break::Previous)));
    }

    #[test]
    fn missing_repeated_and_foreign_entries_are_gaps() {
        let mut missing = chain(4);
        missing.remove(1);
        assert_eq!(verdict(&missing), Some((3, Break::Gap)));
        let mut repeated = chain(2);
        repeated.push(repeated[1].clone());
        assert_eq!(verdict(&repeated), Some((2, Break::Gap)));
        let mut foreign = chain(2);
        foreign[1].replica = "b".into();
        assert_eq!(verdict(&foreign), Some((2, Break::Gap)));
    }

    #[test]
    fn a_first_entry_starts_from_zero() {
        let mut chain = chain(1);
        chain[0].previous = Sha256::of(b"something before");
        chain[0].hash = seal("a", 1, &chain[0].stamp, &chain[0].note, chain[0].previous);
        assert_eq!(verdict(&chain), Some((1, Break::Previous)));
    }

    #[test]
    fn fields_cannot_borrow_from_their_neighbours() {
        let entry = &chain(1)[0];
        let mut shifted = entry.stamp.clone();
        shifted.actor.push('n');
        shifted.action = shifted.action.strip_prefix('n').unwrap().to_owned();
        assert_ne!(
            seal("a", 1, &shifted, &entry.note, START),
            seal("a", 1, &entry.stamp, &entry.note, START)
        );
    }
}
