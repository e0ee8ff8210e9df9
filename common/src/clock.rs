//! The only place where a clock is read. Decisions get the time handed in.
#![allow(clippy::disallowed_methods)] // this is the place

use std::{
    fmt,
    ops::{Add, Sub},
    sync::{
        Arc, OnceLock,
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

    /// Unix time in microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0.saturating_mul(1000)
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

/// The rhythm of those who look often. A timer of the runtime that is for a whole number of these
/// after `begin` wakes the process once. Any other does two or three times: it stands in wheels
/// of 64 places, of 1 ms, 64 ms, 4.096 s and so on, and is taken from one to the next finer.
pub const STRIDE: Duration = Duration::from_millis(2048);

/// The runtime rounds to this.
const TICK: Duration = Duration::from_millis(1);

/// So often a runtime is made anew that was not made at once.
const TRIES: u32 = 10;

static FIRST: OnceLock<Instant> = OnceLock::new();

/// Makes the runtime of this process, and lets the rhythm of `step` begin with it: what was made
/// within a millisecond counts from the same one. A host that is busy may not give as much at once.
///
/// # Errors
/// As the runtime cannot be made.
pub fn begin<T, E>(mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut tries = 0;
    loop {
        tries += 1;
        let first = Instant::now();
        let made = make()?;
        if tries == TRIES || first.elapsed() < TICK {
            FIRST.get_or_init(|| first);
            return Ok(made);
        }
    }
}

/// Waits for the next moment of a rhythm that all who wait with this period share: that of the
/// longest whole number of strides within it, or the period itself if it is shorter than one.
/// Who looks often, and at little, wakes an idle process together with the others, not each for
/// itself. The first wait may be shorter.
pub async fn step(period: Duration) {
    tokio::time::sleep_until(next(*FIRST.get_or_init(Instant::now), Instant::now(), in_strides(period)))
        .await;
}

fn in_strides(period: Duration) -> Duration {
    let strides = period.as_millis() / STRIDE.as_millis();
    let strides = u32::try_from(strides).unwrap_or(u32::MAX);
    if strides == 0 { period } else { STRIDE.saturating_mul(strides) }
}

fn next(first: Instant, now: Instant, period: Duration) -> Instant {
    let over = now.saturating_duration_since(first).as_nanos() % period.as_nanos().max(1);
    let over = Duration::from_nanos(u64::try_from(over).unwrap_or(0)); // less than a period
    now + period.saturating_sub(over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_steps_with_one_period_steps_at_one_moment() {
        let period = STRIDE;
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
    fn a_runtime_that_was_not_made_at_once_is_made_anew_and_a_fault_is_told() {
        let slow_until = |at_once: u32| {
            let mut made = 0;
            begin(|| {
                made += 1;
                if made < at_once {
                    std::thread::sleep(TICK);
                }
                Ok::<_, ()>(made)
            })
        };
        assert!(slow_until(3).is_ok_and(|count| (3..=TRIES).contains(&count)));
        assert_eq!(slow_until(u32::MAX), Ok(TRIES), "it is taken then");
        assert_eq!(begin(|| Err::<(), _>("no")), Err("no"));
    }

    #[test]
    fn a_step_is_never_longer_than_its_period_and_falls_on_strides() {
        let (first, millis) = (Instant::now(), Duration::from_millis);
        for (period, strides) in [(2_048, 1), (4_095, 1), (5_000, 2), (10_000, 4), (60_000, 29)] {
            assert_eq!(in_strides(millis(period)), STRIDE * strides);
            for after in [0, 1, 2_047, 2_048, 59_999] {
                let now = first + millis(after);
                let next = next(first, now, in_strides(millis(period)));
                assert!(next > now && next - now <= millis(period), "{period} {after}");
                assert_eq!((next - first).as_millis() % STRIDE.as_millis(), 0, "{period} {after}");
            }
        }
        assert_eq!(in_strides(millis(500)), millis(500), "who looks more often has a rhythm of its own");
    }

    #[test]
    fn wall_time_goes_both_ways_around_1970() {
        assert_eq!(UnixMillis(-5) + Duration::from_millis(5), UnixMillis(0));
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
        assert_eq!(UnixMillis(-1500).to_system_time(), UNIX_EPOCH - Duration::from_millis(1500));
    }
}
