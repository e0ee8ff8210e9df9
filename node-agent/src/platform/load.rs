//! How busy the host is.

use std::path::Path;

use rustix::fs::StatVfs;

use super::host;
use crate::state::{Filling, Load, Measured};

/// The first line of `/proc/stat`, which is that of all processors, and some of the second.
const FIRST_LINE: usize = 256;

/// Measures the load between two calls.
#[derive(Debug, Default)]
pub struct Meter {
    busy: u64,
    total: u64,
}

impl Meter {
    /// The load since the last call; the first tells that since boot.
    pub fn sample(&mut self) -> Measured {
        let disks = disks();
        let disk = disks.iter().map(|(_, size)| taken(size)).max().unwrap_or(0);
        let filling =
            |(mount_point, size): (String, StatVfs)| Filling { mount_point, permille: filled(&size) };
        Measured {
            load: Load { cpu: self.cpu(), memory: memory(), disk },
            disks: disks.into_iter().map(filling).collect(),
        }
    }

    fn cpu(&mut self) -> u32 {
        let stat = host::table("/proc/stat", FIRST_LINE).unwrap_or_default();
        let Some((busy, total)) = stat.lines().next().and_then(ticks) else { return 0 };
        let used = permille(busy.saturating_sub(self.busy), total.saturating_sub(self.total));
        (self.busy, self.total) = (busy, total);
        used
    }
}

/// Busy and total ticks of all processors together.
fn ticks(line: &str) -> Option<(u64, u64)> {
    let ticks: Vec<u64> =
        line.strip_prefix("cpu ")?.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are counted in user already.
    let total = ticks.iter().take(8).sum::<u64>();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((total - idle, total))
}

fn memory() -> u32 {
    let table = host::meminfo();
    let bytes = |key| host::memory(&table, key).unwrap_or(0);
    let (total, free) = (bytes("MemTotal:"), bytes("MemAvailable:"));
    permille(total.saturating_sub(free), total)
}

/// Each with its size. Some may be gone meanwhile.
fn disks() -> Vec<(String, StatVfs)> {
    let sized = |(point, _): (String, String)| {
        let size = rustix::fs::statvfs(Path::new(&point)).ok()?;
        Some((point, size))
    };
    host::mounts().into_iter().filter_map(sized).collect()
}

/// Of all blocks, what users cannot have.
fn taken(size: &StatVfs) -> u32 {
    permille(size.f_blocks.saturating_sub(size.f_bavail), size.f_blocks)
}

/// As `df` says it: what is kept for root counts on neither side.
fn filled(size: &StatVfs) -> u32 {
    let used = size.f_blocks.saturating_sub(size.f_bfree);
    permille(used, used.saturating_add(size.f_bavail))
}

fn permille(part: u64, whole: u64) -> u32 {
    let parts = u128::from(part) * 1000 / u128::from(whole.max(1));
    u32::try_from(parts.min(1000)).unwrap_or(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_a_part_of_the_whole() {
        let Measured { load, disks } = Meter::default().sample();
        assert!(disks.iter().all(|disk| disk.permille <= load.disk), "{disks:?}");
        assert!(load.cpu <= 1000 && load.disk <= 1000);
        assert!(load.memory > 0 && load.memory < 1000, "{load:?}");
    }

    #[test]
    fn idle_and_waiting_ticks_are_not_busy() {
        assert_eq!(ticks("cpu  10 5 5 70 10 0 0 0 3 3"), Some((20, 100)));
        assert_eq!(permille(20, 100), 200);
        assert_eq!(permille(1, 0), 1000);
    }
}
