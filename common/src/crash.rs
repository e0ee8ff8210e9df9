//! Named places where a test can kill the process, as a power cut would.
//!
//! Only with the feature `crash-points`, which no release has. There,
//! `MUSTER_CRASH_AT=name` or `name:N` in the environment sends SIGKILL to the
//! process itself when it comes by the place for the Nth time. `MUSTER_STOP_AT` sends
//! SIGSTOP: the process stays there, for something else to happen, until it gets SIGCONT.

/// Passes the named place. Without the feature: nothing at all.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_name: &'static str) {}

/// Passes the named place, unless a test wants the process to end or to stay here.
#[cfg(feature = "crash-points")]
pub fn point(name: &'static str) {
    use std::sync::LazyLock;

    use rustix::process::Signal;
    static CRASH: LazyLock<Option<wanted::Place>> = LazyLock::new(|| wanted::place("MUSTER_CRASH_AT"));
    static STOP: LazyLock<Option<wanted::Place>> = LazyLock::new(|| wanted::place("MUSTER_STOP_AT"));
    let send = |signal| rustix::process::kill_process(rustix::process::getpid(), signal);
    if wanted::is_at(STOP.as_ref(), name) {
        let _ = send(Signal::STOP);
    }
    if wanted::is_at(CRASH.as_ref(), name) {
        let _ = send(Signal::KILL);
        // Between the signal and its delivery nothing more may happen here.
        loop {
            std::thread::park();
        }
    }
}

/// What the environment says.
#[cfg(feature = "crash-points")]
mod wanted {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A name, and how often it is still to be passed.
    pub(super) type Place = (String, AtomicU64);

    pub(super) fn place(variable: &str) -> Option<Place> {
        let spec = std::env::var(variable).ok()?;
        let (name, count) = match spec.split_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().ok()?),
            None => (spec, 1),
        };
        Some((name, AtomicU64::new(count)))
    }

    pub(super) fn is_at(place: Option<&Place>, name: &str) -> bool {
        place.is_some_and(|(wanted, left)| wanted == name && left.fetch_sub(1, Ordering::Relaxed) == 1)
    }
}
