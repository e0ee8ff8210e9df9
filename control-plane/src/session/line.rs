//! The connection under a session, as far as the session may have a say in it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// A handle on one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
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
