//! Extensions: which package, and how it is set. A version is immutable.

use muster_common::{clock::UnixMillis, digest::Sha256};

use crate::violation::Violation;

/// Largest settings, and largest protected settings.
pub const MAX_SETTINGS: usize = 64 * 1024;
/// Least memory that a limit may leave.
pub const MIN_MEMORY: u64 = 4 * 1024 * 1024;
/// Most of each limit.
pub const MAX_MEMORY: u64 = 1 << 44;
/// Of one core.
pub const MAX_CPU_PERCENT: u32 = 100_000;
/// Processes and threads.
pub const MAX_TASKS: u32 = 1_000_000;

/// One version of an extension, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Name.
    pub name: String,
    /// From 1.
    pub version: u64,
    /// Of the payload.
    pub sha256: Sha256,
    /// Of its package.
    pub publisher: String,
    /// Of its package.
    pub of_type: String,
    /// Semantic version.
    pub package_version: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// By whom.
    pub created_by: String,
}

/// What all its programs may have together. 0: as the package says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes.
    pub memory_bytes: u64,
    /// Of one core.
    pub cpu_percent: u32,
    /// Processes and threads.
    pub tasks: u32,
}

/// Refuses limits under which nothing could run, or that are none.
#[must_use]
pub fn check_limits(limits: Limits) -> Vec<Violation> {
    let mut faults = Vec::new();
    let Limits { memory_bytes, cpu_percent, tasks } = limits;
    if memory_bytes != 0 && !(MIN_MEMORY..=MAX_MEMORY).contains(&memory_bytes) {
        let text = format!("it is {memory_bytes}; 0, or {MIN_MEMORY} to {MAX_MEMORY} bytes");
        faults.push(Violation::invalid("content.limits.memory_bytes", text));
    }
    if cpu_percent > MAX_CPU_PERCENT {
        let text = format!("it is {cpu_percent}; at most {MAX_CPU_PERCENT}");
        faults.push(Violation::invalid("content.limits.cpu_percent", text));
    }
    if tasks > MAX_TASKS {
        faults
            .push(Violation::invalid("content.limits.tasks", format!("it is {tasks}; at most {MAX_TASKS}")));
    }
    faults
}

/// Refuses settings that are no JSON object, or too large. Empty: none.
#[must_use]
pub fn check_settings(field: &str, settings: &[u8]) -> Option<Violation> {
    if settings.len() > MAX_SETTINGS {
        let text = format!("it has {} bytes; at most {MAX_SETTINGS}", settings.len());
        return Some(Violation::too_large(field, text));
    }
    let is_object = settings.is_empty()
        || serde_json::from_slice::<serde_json::Value>(settings).is_ok_and(|value| value.is_object());
    // What is wrong in it is not told: it may be protected.
    (!is_object).then(|| Violation::invalid(field, "it is not a JSON object, such as {\"interval\": 30}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_an_object_of_at_most_64_kib() {
        for good in [&b""[..], b"{}", b" {\"a\": [1]} "] {
            assert_eq!(check_settings("f", good), None);
        }
        for bad in [&b"[]"[..], b"1", b"{", b"\xff"] {
            assert!(check_settings("f", bad).is_some(), "{bad:?}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_SETTINGS));
        let fault = check_settings("f", long.as_bytes()).unwrap();
        assert_eq!(fault.reason, muster_common::reason::Reason::TooLarge);
    }

    #[test]
    fn limits_leave_something_to_run_with() {
        assert_eq!(check_limits(Limits::default()), []);
        assert_eq!(check_limits(Limits { memory_bytes: MIN_MEMORY, cpu_percent: 200, tasks: 5 }), []);
        let all = Limits { memory_bytes: 1, cpu_percent: u32::MAX, tasks: u32::MAX };
        assert_eq!(check_limits(all).len(), 3);
    }
}
