//! The process as the kernel sees it, asked at each scrape, under the names that Prometheus'
//! own collectors give: dashboards for any process show this one.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::Registered;

/// What does not change while the process runs.
#[derive(Debug)]
struct Process {
    ticks: f64,
    page: f64,
    /// In Unix time.
    started: f64,
}

/// One look.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    cpu_ticks: f64,
    threads: f64,
    started_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

const NUMBERS: [(&str, &str, &str); 7] = [
    ("process_cpu_seconds", "counter", "Processor time of the process, in its own code and in the kernel's"),
    ("process_resident_memory_bytes", "gauge", "Memory that the process holds"),
    ("process_virtual_memory_bytes", "gauge", "Memory that the process has addresses for"),
    ("process_open_fds", "gauge", "Open file descriptors"),
    ("process_max_fds", "gauge", "File descriptors that may be open"),
    ("process_start_time_seconds", "gauge", "When the process started, in Unix time"),
    ("process_threads", "gauge", "Threads of the process"),
];

/// Adds them to the registry; answers which.
pub(super) fn register(registry: &mut Registry) -> Vec<Registered> {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let seen = seen(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
    let started = booted() + seen.started_ticks / ticks;
    registry.register_collector(Box::new(Process {
        ticks,
        page: rustix::param::page_size() as f64,
        started,
    }));
    NUMBERS.map(|(name, kind, _)| Registered { name: name.to_owned(), kind: kind.to_owned() }).to_vec()
}

/// When the machine started, in Unix time.
fn booted() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0.0)
}

/// What `/proc/self/stat` says. The name of the program may hold anything, and ends with the last
/// parenthesis.
fn seen(stat: &str) -> Seen {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Numbered as in proc(5), where the state after the name is the third.
    let field = |number: usize| fields.get(number - 3).and_then(|it| it.parse().ok()).unwrap_or(0.0);
    Seen {
        cpu_ticks: field(14) + field(15),
        threads: field(20),
        started_ticks: field(22),
        virtual_bytes: field(23),
        resident_pages: field(24),
    }
}

/// How many files are open. Since Linux 6.2 the folder says so; to count ten thousand of them
/// would cost more than all the rest of a scrape.
fn open_files() -> f64 {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).map(|it| it.len()) {
        Ok(count) if count > 0 => count as f64,
        // The one that the counting itself has open is not counted.
        _ => fs::read_dir(folder).map_or(0, Iterator::count).saturating_sub(1) as f64,
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let seen = seen(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let values = [
            seen.cpu_ticks / self.ticks,
            seen.resident_pages * self.page,
            seen.virtual_bytes,
            open_files(),
            most.map_or(f64::INFINITY, |most| most as f64),
            self.started,
            seen.threads,
        ];
        for ((name, kind, help), value) in NUMBERS.into_iter().zip(values) {
            let (counter, gauge) = (ConstCounter::new(value), ConstGauge::new(value));
            let number: &dyn EncodeMetric = if kind == "counter" { &counter } else { &gauge };
            number.encode(encoder.encode_descriptor(name, help, None, number.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 777 4096 25 0 0";
        let known = Seen {
            cpu_ticks: 200.0,
            threads: 9.0,
            started_ticks: 777.0,
            virtual_bytes: 4096.0,
            resident_pages: 25.0,
        };
        assert_eq!(seen(stat), known);
        assert_eq!(seen(""), Seen::default(), "nothing is said where nothing is told");
    }

    #[test]
    fn open_files_are_counted() {
        let before = open_files();
        let held: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(open_files() >= before + 40.0, "other tests open and close some, too");
        drop(held);
    }
}
