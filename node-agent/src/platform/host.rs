//! What the kernel and the distribution say about this host.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    time::Duration,
};

use muster_common::{build_info, digest::Sha256};

use crate::state::{Address, Disk, Facts};

/// Most tables of the kernel fit in this.
const PAGE: usize = 4096;
/// More of one is not read.
const TABLE: usize = 1024 * 1024;

/// Reads all facts of the host; the agent's own are added by who knows them. What cannot
/// be read stays empty.
#[must_use]
pub fn facts() -> Facts {
    let uname = rustix::system::uname();
    let release = OsRelease::read();
    let (cpu_model, cpu_count) = cpu();
    Facts {
        hostname: hostname(),
        os: release.id,
        os_version: release.version,
        kernel: uname.release().to_string_lossy().into_owned(),
        architecture: uname.machine().to_string_lossy().into_owned(),
        cpu_model,
        cpu_count,
        memory_bytes: memory(&meminfo(), "MemTotal:").unwrap_or(0),
        disks: disks(),
        addresses: addresses(),
        machine_id: machine_fingerprint().to_string(),
        boot_id: super::process::boot_id(),
        agent_version: build_info::version().to_owned(),
        timezone: timezone(),
        settings: Vec::new(),
    }
}

/// As the host calls itself.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The machine's id, hashed with a word of Muster's, so that it is of no use elsewhere.
#[must_use]
pub fn machine_fingerprint() -> Sha256 {
    let id = text("/etc/machine-id").or_else(|| text("/var/lib/dbus/machine-id")).unwrap_or_default();
    Sha256::of_parts([b"muster machine id\0".as_slice(), id.as_bytes()])
}

/// A table of the kernel, at most its first `most` bytes. Read at once: what has no length is
/// read in many small steps otherwise.
pub(super) fn table(path: &str, most: usize) -> Option<String> {
    let mut table = String::with_capacity(most.min(PAGE));
    File::open(path).ok()?.take(most as u64).read_to_string(&mut table).ok()?;
    Some(table)
}

/// What the kernel says of memory, for `memory`.
pub(super) fn meminfo() -> String {
    table("/proc/meminfo", TABLE).unwrap_or_default()
}

/// A value of `meminfo` in bytes.
pub(super) fn memory(table: &str, key: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Mounted block file systems: mount point and kind, each device once.
pub(super) fn mounts() -> Vec<(String, String)> {
    let table = table("/proc/self/mounts", TABLE).unwrap_or_default();
    let mut devices = Vec::new();
    let mut found = Vec::new();
    for line in table.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(point), Some(kind)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if device.starts_with("/dev/") && !device.starts_with("/dev/loop") && !devices.contains(&device) {
            devices.push(device);
            found.push((point.replace("\\040", " "), kind.to_owned()));
        }
    }
    found
}

/// How long the kernel has been up.
#[must_use]
pub fn up_for() -> Option<Duration> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split_ascii_whitespace().next()?.parse().ok()?).ok()
}

fn disks() -> Vec<Disk> {
    let disk = |(mount_point, file_system): (String, String)| {
        let size = rustix::fs::statvfs(Path::new(&mount_point)).ok()?;
        Some(Disk { size_bytes: size.f_blocks.checked_mul(size.f_frsize)?, mount_point, file_system })
    };
    mounts().into_iter().filter_map(disk).collect()
}

fn addresses() -> Vec<Address> {
    let mut addresses: Vec<Address> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| Address { address: interface.ip().to_string(), interface: interface.name })
        .collect();
    addresses.sort(); // the kernel's order may change; that is not news
    addresses
}

fn cpu() -> (String, u32) {
    let table = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    let model = table.lines().find(|line| line.starts_with("model name")).and_then(value).unwrap_or_default();
    let count = table.lines().filter(|line| line.starts_with("processor")).count();
    (model, u32::try_from(count).unwrap_or(0))
}

/// What `TZ` names comes first, as everywhere on the host. A zone that is written out
/// there has no name.
fn timezone() -> String {
    let named = std::env::var("TZ").unwrap_or_default();
    let named = named.trim_start_matches(':');
    if named == "UTC" || (named.contains('/') && !named.starts_with('/')) {
        return named.to_owned();
    }
    let link = fs::read_link("/etc/localtime").ok().map(|link| link.to_string_lossy().into_owned());
    let of_link = link.and_then(|link| link.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned()));
    of_link.or_else(|| text("/etc/timezone")).unwrap_or_else(|| "UTC".to_owned())
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[derive(Default)]
struct OsRelease {
    id: String,
    version: String,
}

impl OsRelease {
    fn read() -> Self {
        let table = text("/etc/os-release").or_else(|| text("/usr/lib/os-release")).unwrap_or_default();
        Self::parse(&table)
    }

    fn parse(table: &str) -> Self {
        let value = |key: &str| {
            let line = table.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        Self { id: value("ID"), version: value("VERSION_ID") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_this_host_are_read_and_the_same_twice() {
        let first = facts();
        assert!(!first.hostname.is_empty() && !first.kernel.is_empty() && !first.boot_id.is_empty());
        assert!(first.cpu_count > 0 && first.memory_bytes > 0);
        assert_eq!(first, facts());
    }

    #[test]
    fn a_table_of_the_kernel_is_read_whole_or_as_far_as_is_asked_for() {
        let whole = fs::read_to_string("/proc/self/mounts").unwrap();
        assert_eq!(table("/proc/self/mounts", TABLE).unwrap(), whole);
        assert_eq!(table("/proc/self/mounts", 7).unwrap(), whole[..7]);
        assert_eq!(table("/proc/none", TABLE), None);
        let bytes = memory("MemTotal:  24 kB\nMemAvailable:  3 kB\n", "MemAvailable:");
        assert_eq!((bytes, memory("", "MemTotal:")), (Some(3 * 1024), None));
    }

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let debian = OsRelease::parse("PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\nID_LIKE=x\n");
        assert_eq!((debian.id.as_str(), debian.version.as_str()), ("debian", "12"));
    }
}
