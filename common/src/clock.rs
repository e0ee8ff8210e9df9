//! The only place where a clock is read. Decisions get the time handed in.
#![allow(clippy::disallowed_methods)] // this is the place

use std::{
    fmt,
    ops::{Add, Sub},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
pub use tokio::time::Instant;

/// A point of wall time: milliseconds since 1970, as on the wire and in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As a `SystemTime`, for libraries that ask for one.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        match u64::try_from(self.0) {
            Ok(after) => UNIX_EPOCH + Duration::from_millis(after),
            Err(_) => UNIX_EPOCH - Duration::from_millis(self.0.unsigned_abs()),
        }
    }
}

impl Add<Duration> for UnixMillis {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for UnixMillis {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.div_euclid(1000), self.0.rem_euclid(1000))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Tells the time. Cheap to clone; tests hand in one that they set.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The host's clock.
    #[default]
    System,
    /// Milliseconds set by a test.
    Test(Arc<AtomicI64>),
}

impl Clock {
    /// Wall time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System => {
                let now = SystemTime::now();
                UnixMillis(match now.duration_since(UNIX_EPOCH) {
                    Ok(after) => millis(after),
                    Err(before) => -millis(before.duration()),
                })
            }
            Self::Test(millis) => UnixMillis(millis.load(Ordering::Relaxed)),
        }
    }

    /// Time that never goes back; for intervals. Follows tokio's paused time.
    #[must_use]
    pub fn monotonic(&self) -> Instant {
        Instant::now()
    }

    /// A clock that stands at `at` until a test moves it.
    #[must_use]
    pub fn test(at: UnixMillis) -> Self {
        Self::Test(Arc::new(AtomicI64::new(at.0)))
    }

    /// Moves a test clock.
    ///
    /// # Panics
    /// On the system clock, which nobody moves.
    pub fn advance(&self, by: Duration) {
        match self {
            Self::System => panic!("the system clock is not ours to move"),
            Self::Test(at) => {
                at.fetch_add(millis(by), Ordering::Relaxed);
            }
        }
    }
}

/// Waits for the next moment of a rhythm that all who wait with this period share. Who looks
/// often, and at little, wakes an idle process together with the others, not each for itself.
pub async fn step(period: Duration) {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let (first, now) = (*FIRST, Instant::now());
    let over = now.saturating_duration_since(first).as_nanos() % period.as_nanos().max(1);
    let over = Duration::from_nanos(u64::try_from(over).unwrap_or(0)); // less than a period
    tokio::time::sleep_until(now + period.saturating_sub(over)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_steps_with_one_period_steps_at_one_moment() {
        let period = Duration::from_secs(2);
        step(period).await;
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(700)).await;
        tokio::join!(step(period), async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            step(period).await;
        });
        assert_eq!(begun.elapsed(), period);
        step(period * 5).await;
        assert_eq!(begun.elapsed().as_millis() % period.as_millis(), 0, "and a multiple of it with it");
    }

    #[test]
    fn wall_time_goes_both_ways_around_1970() {
        assert_eq!(UnixMillis(-5) + Duration::from_millis(5), UnixMillis(0));
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
        assert_eq!(UnixMillis(-1500).to_system_time(), UNIX_EPOCH - Duration::from_millis(1500));
    }
}
