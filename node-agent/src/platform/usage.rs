//! What a process takes of its host.

use std::{fs, time::Duration};

/// What a process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in its own code and in the kernel's.
    pub cpu: Duration,
    /// Memory that it holds.
    pub resident_bytes: u64,
    /// Its threads.
    pub threads: u64,
}

/// Of a process that runs. `None`: it does not, or the host hides it.
#[must_use]
pub fn of(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    read(&stat, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
}

/// The name of a program may hold anything, and ends with the last parenthesis.
fn read(stat: &str, ticks_per_second: u64, page: u64) -> Option<Usage> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Numbered as in proc(5), where the state after the name is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let millis = (field(14)? + field(15)?) * 1000 / ticks_per_second.max(1);
    Some(Usage { cpu: Duration::from_millis(millis), resident_bytes: field(24)? * page, threads: field(20)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 777 4096 25 0 0";
        let known = Usage { cpu: Duration::from_secs(2), resident_bytes: 102_400, threads: 9 };
        assert_eq!(read(stat, 100, 4096), Some(known));
        assert_eq!(read("7 (a) S", 100, 4096), None);
        assert!(of(std::process::id()).is_some_and(|it| it.resident_bytes > 0));
    }
}
