//! Named places where a test can kill the process, as a power cut would.
//!
//! Only with the feature `crash-points`, which no release has. There,
//! `MUSTER_CRASH_AT=name` or `name:N` in the environment sends SIGKILL to the
//! process itself when it comes by the place for the Nth time.

/// Passes the named place. Without the feature: nothing at all.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_name: &'static str) {}

/// Passes the named place, unless a test wants the process to end here.
#[cfg(feature = "crash-points")]
pub fn point(name: &'static str) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };
    static WANTED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let spec = std::env::var("MUSTER_CRASH_AT").ok()?;
        let (name, count) = match spec.split_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().ok()?),
            None => (spec, 1),
        };
        Some((name, AtomicU64::new(count)))
    });
    let Some((wanted, left)) = &*WANTED else { return };
    if wanted == name && left.fetch_sub(1, Ordering::Relaxed) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // Between the signal and its delivery nothing more may happen here.
        loop {
            std::thread::park();
        }
    }
}
