//! What agents can, in memory once for all of one release.

use std::{collections::HashSet, sync::Arc};

use super::Fleet;

/// Sets that are kept without a look at who has them.
const FEW: usize = 256;

/// The sets of capabilities that sessions have, each once.
#[derive(Default)]
pub(super) struct Sets(HashSet<Arc<[String]>>);

impl Sets {
    fn shared(&mut self, said: &[String]) -> Arc<[String]> {
        if let Some(known) = self.0.get(said) {
            return Arc::clone(known);
        }
        if self.0.len() >= FEW {
            self.0.retain(|set| Arc::strong_count(set) > 1);
        }
        let new: Arc<[String]> = said.into();
        // Agents may say what they like: a set beyond these is there for its session alone.
        if self.0.len() < FEW {
            self.0.insert(Arc::clone(&new));
        }
        new
    }
}

impl Fleet {
    /// The same capabilities, in memory once for all sessions that have them.
    #[must_use]
    pub fn capabilities(&self, said: &[String]) -> Arc<[String]> {
        self.0.capabilities.lock().shared(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(number: usize) -> Vec<String> {
        vec!["settings".to_owned(), format!("bundle-v{number}")]
    }

    #[test]
    fn agents_of_one_release_share_what_they_can_and_nobody_fills_memory_with_it() {
        let mut sets = Sets::default();
        let kept = sets.shared(&set(0));
        assert!(Arc::ptr_eq(&kept, &sets.shared(&set(0))));
        for number in 1..3 * FEW {
            assert_eq!(*sets.shared(&set(number)), *set(number));
            assert!(sets.0.len() <= FEW);
        }
        assert!(Arc::ptr_eq(&kept, &sets.shared(&set(0))), "a session has it");
        let _held: Vec<_> = (0..2 * FEW).map(|number| sets.shared(&set(number))).collect();
        assert_eq!(sets.0.len(), FEW);
    }
}
