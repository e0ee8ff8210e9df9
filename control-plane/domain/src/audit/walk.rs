//! Holds records of the audit against each other, one by one, with memory for
//! nothing but the end of each chain.
//!
//! ```text
//! entry  1 <- 2 <- 3 <- 4 <- 5          each has the hash of the one before
//! checkpoint       3         5          each signs the hash of its entry
//! kept elsewhere             5          finds that the end was cut off
//! ```

use std::{collections::BTreeMap, fmt};

use muster_common::{clock::UnixMillis, digest::Sha256};

use super::{Break, Checkpoint, Entry, Placed, Record, broken, checkpoint::BadSignature};

/// Tells whether a signature holds.
pub type Check<'a> = &'a dyn Fn(&Checkpoint) -> Result<(), BadSignature>;

/// What the records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All there are: every chain starts with its first entry.
    Whole,
    /// Those of some time: what lies before the first of each chain is taken on trust.
    Piece,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The entry and its chain.
    #[error(transparent)]
    Entry(#[from] Break),
    /// The chain does not start with its first entry.
    #[error("the entries before it are missing: a chain starts with 1")]
    Start,
    /// Records were exchanged or repeated.
    #[error("it does not stand in the order of the commits")]
    Order,
    /// The checkpoint itself.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The chain was computed anew.
    #[error("the entry is another one than the one that was signed")]
    Signed,
    /// Entries were taken out, or the end was cut off.
    #[error("the entry that was signed is missing: the chain ends with {ends}")]
    Missing {
        /// Last entry that is there; 0 if there is none.
        ends: u64,
    },
    /// Nothing can be said.
    #[error("the records begin after the entry that was signed, with {begins}")]
    NotCovered {
        /// First entry that is there.
        begins: u64,
    },
}

/// The first record of a chain that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Whose chain.
    pub replica: String,
    /// The entry, or the one that the checkpoint signs.
    pub seq: u64,
    /// Of which kind the record is.
    pub kind: Kind,
    /// What is wrong with it.
    pub damage: Damage,
}

/// Kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An entry.
    Entry,
    /// A checkpoint among the records.
    Checkpoint,
    /// A checkpoint that was kept elsewhere.
    Kept,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Entry => "entry",
            Kind::Checkpoint => "the checkpoint of entry",
            Kind::Kept => "the checkpoint that was kept elsewhere, of entry",
        };
        write!(f, "{kind} {}: {}", self.seq, self.damage)
    }
}

/// What was found of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Whose.
    pub replica: String,
    /// First entry seen; 0: none.
    pub first: u64,
    /// Last entry that holds.
    pub last: u64,
    /// How many hold.
    pub entries: u64,
    /// How many signatures hold.
    pub checkpoints: u64,
    /// Last entry that is signed, and when it was; nothing proves that entries
    /// after it were there all the time.
    pub signed: Option<(u64, UnixMillis)>,
    /// The first record that does not.
    pub bad: Option<Bad>,
}

/// The chains so far.
pub struct Walk<'a> {
    scope: Scope,
    check: Check<'a>,
    kept: Vec<Checkpoint>,
    chains: BTreeMap<String, Chain>,
    place: u64,
}

#[derive(Default)]
struct Chain {
    verdict: Verdict,
    end: Option<(u64, Sha256)>,
}

impl<'a> Walk<'a> {
    /// Before the first record. `kept` are checkpoints from elsewhere, whose
    /// signatures hold.
    #[must_use]
    pub fn new(scope: Scope, check: Check<'a>, kept: Vec<Checkpoint>) -> Self {
        Self { scope, check, kept, chains: BTreeMap::new(), place: 0 }
    }

    /// A walk that goes on where a checkpoint was made: its chain must follow
    /// the hash that it signs.
    #[must_use]
    pub fn after(checkpoint: &Checkpoint, check: Check<'a>) -> Self {
        let mut walk = Self::new(Scope::Piece, check, Vec::new());
        let end = Some((checkpoint.seq, checkpoint.hash));
        let verdict =
            Verdict { replica: checkpoint.replica.clone(), last: checkpoint.seq, ..Verdict::default() };
        walk.chains.insert(checkpoint.replica.clone(), Chain { verdict, end });
        walk
    }

    /// Looks at the next record; answers if it is the first of its chain that
    /// does not hold. What follows in such a chain is not looked at.
    pub fn see(&mut self, (place, record): &Placed<Record>) -> Option<&Bad> {
        let ordered = match record {
            Record::Entry(_) => *place > self.place,
            Record::Checkpoint(_) => *place >= self.place,
        };
        let chain = self.chains.entry(record.replica().to_owned()).or_default();
        if chain.verdict.bad.is_some() {
            return None;
        }
        let seen = match record {
            Record::Entry(entry) => chain.entry(entry, self.scope, &self.kept),
            Record::Checkpoint(checkpoint) => chain.checkpoint(checkpoint, self.check),
        };
        let Some(damage) = seen.err().or((!ordered).then_some(Damage::Order)) else {
            self.place = *place;
            return None;
        };
        let kind = match record {
            Record::Entry(_) => Kind::Entry,
            Record::Checkpoint(_) => Kind::Checkpoint,
        };
        let replica = record.replica().to_owned();
        chain.verdict.replica.clone_from(&replica);
        Some(chain.verdict.bad.insert(Bad { replica, seq: record.seq(), kind, damage }))
    }

    /// After the last record: what was found, chain by chain.
    #[must_use]
    pub fn finish(mut self) -> Vec<Verdict> {
        for kept in &self.kept {
            let chain = self.chains.entry(kept.replica.clone()).or_default();
            if chain.verdict.bad.is_none()
                && let Some(damage) = chain.misses(kept)
            {
                let (replica, seq) = (kept.replica.clone(), kept.seq);
                chain.verdict.bad = Some(Bad { replica, seq, kind: Kind::Kept, damage });
            }
        }
        let named = |(replica, chain): (String, Chain)| Verdict { replica, ..chain.verdict };
        self.chains.into_iter().map(named).collect()
    }
}

impl Chain {
    fn entry(&mut self, entry: &Entry, scope: Scope, kept: &[Checkpoint]) -> Result<(), Damage> {
        if self.end.is_none() && scope == Scope::Whole && entry.seq != 1 {
            return Err(Damage::Start);
        }
        if let Some(what) = broken(self.end, entry) {
            return Err(what.into());
        }
        let is_same = |kept: &&Checkpoint| kept.replica == entry.replica && kept.seq == entry.seq;
        if kept.iter().filter(is_same).any(|kept| kept.hash != entry.hash) {
            return Err(Damage::Signed);
        }
        self.end = Some((entry.seq, entry.hash));
        let verdict = &mut self.verdict;
        if verdict.entries == 0 {
            verdict.first = entry.seq;
        }
        verdict.last = entry.seq;
        verdict.entries += 1;
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint, check: Check<'_>) -> Result<(), Damage> {
        check(checkpoint)?;
        match self.end {
            Some((seq, hash)) if seq == checkpoint.seq && hash == checkpoint.hash => {
                self.verdict.checkpoints += 1;
                self.verdict.signed = Some((checkpoint.seq, checkpoint.at));
                Ok(())
            }
            Some((seq, _)) if seq == checkpoint.seq => Err(Damage::Signed),
            // It follows its entry at once: one of a later entry was moved.
            Some((seq, _)) if seq > checkpoint.seq => Err(Damage::Order),
            end => Err(Damage::Missing { ends: end.map_or(0, |(seq, _)| seq) }),
        }
    }

    /// What a checkpoint from elsewhere shows at the end.
    fn misses(&self, kept: &Checkpoint) -> Option<Damage> {
        let ends = self.end.map_or(0, |(seq, _)| seq);
        if kept.seq > ends {
            Some(Damage::Missing { ends })
        } else if kept.seq < self.verdict.first {
            Some(Damage::NotCovered { begins: self.verdict.first })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
