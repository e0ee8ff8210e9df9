//! How slow a source may be: who gives a byte now and then holds nobody up.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use muster_common::clock::Instant;
use tokio::time::timeout_at;

use super::fault::{Fault, Pieces};

/// How slow a source may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the begin of an answer, and for `least` bytes each.
    pub window: Duration,
    /// So many come in each window, if there are as many.
    pub least: u64,
    /// For one piece of metadata.
    pub document: Duration,
}

impl Default for Limits {
    /// A kibibyte a second, over half a minute.
    fn default() -> Self {
        Self { window: Duration::from_secs(30), least: 30 * 1024, document: Duration::from_secs(120) }
    }
}

/// A download that is held to its limits.
pub(super) struct Paced {
    pieces: Pieces,
    limits: Limits,
    ends: Instant,
    came: u64,
}

impl Paced {
    /// Begins a window at `now`.
    pub(super) fn new(pieces: Pieces, limits: Limits, now: Instant) -> Self {
        Self { pieces, limits, ends: now + limits.window, came: 0 }
    }

    /// The next bytes; `None`: that was the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            match timeout_at(self.ends, self.pieces.next()).await {
                Ok(piece) => {
                    let piece = piece.transpose()?;
                    self.came = self.came.saturating_add(piece.as_ref().map_or(0, Bytes::len) as u64);
                    return Ok(piece);
                }
                Err(_) if self.came >= self.limits.least => {
                    (self.ends, self.came) = (self.ends + self.limits.window, 0);
                }
                Err(_) => {
                    let Limits { window, least, .. } = self.limits;
                    let seconds = window.as_secs();
                    return Err(Fault::Network(format!(
                        "{} bytes came in {seconds} s; {least} must",
                        self.came
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use muster_common::clock::Clock;

    use super::*;

    /// Gives a piece of this size so often.
    fn source(size: usize, every: Duration) -> Pieces {
        let give = move |left: u32| async move {
            tokio::time::sleep(every).await;
            (left > 0).then(|| (Ok(Bytes::from(vec![0; size])), left - 1))
        };
        stream::unfold(1000, give).boxed()
    }

    async fn read(size: usize, every: Duration) -> Result<usize, Fault> {
        let now = Clock::System.monotonic();
        let mut paced = Paced::new(source(size, every), Limits::default(), now);
        let mut came = 0;
        while let Some(piece) = paced.next().await? {
            came += piece.len();
        }
        Ok(came)
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_dribbles_is_given_up_and_a_slow_one_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(read(2048, second).await, Ok(2_048_000));
        assert!(matches!(read(1, second).await, Err(Fault::Network(why)) if why.contains("in 30 s")));
        assert!(read(1024 * 1024, 31 * second).await.is_err(), "nothing in a whole window");
    }
}
