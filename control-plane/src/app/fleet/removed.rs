//! Ids that once were nodes, as long as somebody may come with a certificate of theirs: it is told that the
//! node was removed, and forgets itself. The store knows them for ever.

use std::collections::HashMap;

use muster_common::{clock::UnixMillis, ids::NodeId};

/// So few are not looked through.
const FEW: usize = 1024;

/// Them, and when the last certificate of each is over.
#[derive(Default)]
pub(super) struct Removed {
    until: HashMap<NodeId, UnixMillis>,
    /// With so many it is looked for those that are over.
    full_at: usize,
}

impl Removed {
    pub(super) fn add(&mut self, id: NodeId, until: UnixMillis, now: UnixMillis) {
        if self.until.len() >= self.full_at.max(FEW) {
            self.until.retain(|_, until| *until > now);
            // Not again before as many more have come.
            self.full_at = self.until.len() * 2;
            self.until.shrink_to(self.full_at);
        }
        self.until.insert(id, until);
    }

    pub(super) fn has(&self, id: NodeId) -> bool {
        self.until.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_until_its_certificates_are_over_and_not_for_ever() {
        let (mut removed, second) = (Removed::default(), std::time::Duration::from_secs(1));
        let (mut most, mut now) = (0, UnixMillis(0));
        for number in 0..100_000 {
            now = now + second;
            let id = NodeId::from_u128(number);
            removed.add(id, now + second * 3000, now);
            assert!(removed.has(NodeId::from_u128(number.saturating_sub(2999))), "at {number}");
            most = most.max(removed.until.len());
        }
        assert!(most <= 2 * 3000, "{most}");
        assert!(!removed.has(NodeId::from_u128(0)));
    }
}
