//! The connection under a session, as far as the session may have a say in it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio_util::sync::CancellationToken;

/// A handle on one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_known: AtomicBool,
    leave: CancellationToken,
    cut: CancellationToken,
}

impl Line {
    /// Asks the connection to end: what was said goes out, and a moment later it is cut.
    pub fn leave(&self) {
        self.0.leave.cancel();
    }

    /// Cuts it at once.
    pub fn cut(&self) {
        self.0.cut.cancel();
    }

    /// Who speaks over it has shown who they are, in another way than by a certificate.
    pub fn know(&self) {
        self.0.is_known.store(true, Relaxed);
    }

    /// Whether they have.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.is_known.load(Relaxed)
    }

    /// Waits for `leave`.
    pub async fn leaving(&self) {
        self.0.leave.cancelled().await;
    }

    /// Waits for `cut`.
    pub async fn is_to_be_cut(&self) {
        self.0.cut.cancelled().await;
    }

    /// Whether it was asked to end, or cut.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.0.leave.is_cancelled() || self.0.cut.is_cancelled()
    }
}

/// Two handles on the same connection are equal.
impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Line {}

#[cfg(test)]
mod tests {
    use muster_common::ids::NodeId;

    use super::*;
    use crate::session::{
        hub::{Handle, Hub},
        ports::End,
    };

    #[test]
    fn a_session_that_is_fenced_or_ended_takes_its_connection_along() {
        let (hub, node) = (Hub::default(), NodeId::from_u128(1));
        let lines = [Line::default(), Line::default()];
        let [older, newer] = lines.each_ref().map(|line| Handle::new(node, line.clone()));
        hub.register(&older);
        hub.register(&newer);
        assert_eq!(lines.each_ref().map(Line::is_ending), [true, false], "the older was fenced");
        newer.end(End::Removed("gone".to_owned()));
        assert!(lines[1].is_ending());
    }
}
