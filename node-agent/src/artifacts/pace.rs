//! How slow a source may be: who gives a byte now and then holds nobody up.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use muster_common::clock::Instant;
use tokio::time::timeout_at;

use super::fault::{Fault, Piece, Pieces};

/// How slow a source may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the begin of an answer, and for `least` bytes each.
    pub window: Duration,
    /// So many come in each window, if there are as many.
    pub least: u64,
    /// For one piece of metadata.
    pub document: Duration,
    /// For a whole file, where another source could be asked: so long, and as long as it
    /// takes at `rate` besides.
    pub whole: Duration,
    /// Bytes a second.
    pub rate: u64,
}

impl Limits {
    /// How long a file of this size may take from a source that is not the last one. Who
    /// gives just enough in each window would hold up a large one for weeks.
    pub(super) fn longest(&self, size: u64) -> Duration {
        self.whole + Duration::from_secs(size / self.rate.max(1))
    }
}

impl Default for Limits {
    /// A kibibyte a second, over half a minute.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            least: 30 * 1024,
            document: Duration::from_secs(120),
            whole: Duration::from_secs(60),
            rate: 64 * 1024,
        }
    }
}

/// A download that is held to its limits.
pub(super) struct Paced {
    pieces: Pieces,
    limits: Limits,
    ends: Instant,
    /// When another source is asked.
    until: Option<Instant>,
    came: u64,
}

impl Paced {
    /// Begins a window at `now`.
    pub(super) fn new(pieces: Pieces, limits: Limits, now: Instant) -> Self {
        Self { pieces, limits, ends: now + limits.window, until: None, came: 0 }
    }

    /// Has an end, however much comes in each window.
    pub(super) fn until(mut self, until: Option<Instant>) -> Self {
        self.until = until;
        self
    }

    /// The next bytes; `None`: that was the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let ends = self.until.map_or(self.ends, |until| until.min(self.ends));
            match timeout_at(ends, self.pieces.next()).await {
                Ok(piece) => {
                    let piece = piece.transpose()?;
                    self.came = self.came.saturating_add(piece.as_ref().map_or(0, Piece::came));
                    return Ok(piece.map(|piece| piece.bytes));
                }
                Err(_) if self.until.is_some_and(|until| until <= self.ends) => {
                    return Err(Fault::Network(
                        "all of it did not come in time, and others are asked".to_owned(),
                    ));
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
            (left > 0).then(|| (Ok(Bytes::from(vec![0; size]).into()), left - 1))
        };
        stream::unfold(1000, give).boxed()
    }

    async fn read(size: usize, every: Duration) -> Result<usize, Fault> {
        read_until(source(size, every), None).await
    }

    async fn read_until(pieces: Pieces, within: Option<Duration>) -> Result<usize, Fault> {
        let now = Clock::System.monotonic();
        let mut paced = Paced::new(pieces, Limits::default(), now).until(within.map(|within| now + within));
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

    #[tokio::test(start_paused = true)]
    async fn a_source_that_gives_just_enough_is_left_for_another_one() {
        let second = Duration::from_secs(1);
        let longest = Limits::default().longest(2_048_000);
        assert_eq!(longest, 91 * second);
        let slow = read_until(source(2048, second), Some(longest)).await;
        assert!(matches!(slow, Err(Fault::Network(why)) if why.contains("others are asked")));
        assert_eq!(read_until(source(2048, second / 20), Some(longest)).await, Ok(2_048_000));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_skipped_are_progress_and_no_bytes() {
        let skip = |left: u32| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            (left > 0).then(|| (Ok(Piece { skipped: 2048, bytes: Bytes::new() }), left - 1))
        };
        assert_eq!(read_until(stream::unfold(100, skip).boxed(), None).await, Ok(0));
    }
}
