//! The end of a process in two steps: stop taking work, then stop.

use tokio_util::sync::CancellationToken;

/// The signal to end. Cheap to clone; every long loop has it as its first arm.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    begin: CancellationToken,
    deadline: CancellationToken,
}

impl Drain {
    /// Asks everyone to finish what they have.
    pub fn begin(&self) {
        self.begin.cancel();
    }

    /// The time for finishing is over.
    pub fn cut(&self) {
        self.begin.cancel();
        self.deadline.cancel();
    }

    /// Waits for `begin`.
    pub async fn begun(&self) {
        self.begin.cancelled().await;
    }

    /// Whether the process is ending.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.begin.is_cancelled()
    }

    /// Waits for `cut`.
    pub async fn deadline(&self) {
        self.deadline.cancelled().await;
    }

    /// The token behind `begin`, for code that takes one.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.begin.clone()
    }
}
