//! What the kernel ended in the unit of this process for want of memory.

use std::fs;

use crate::platform::units;

/// How many processes. 0 also where it cannot be known, and outside a unit of ours: what
/// was ended there is nobody's here.
pub(super) fn kills() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let counts = groups.lines().filter_map(counter).find_map(|path| fs::read_to_string(path).ok());
    counts.as_deref().map_or(0, count)
}

/// The file that counts, for one line of the kernel's list of groups: of version 1 that of
/// the controller, of version 2 that of the only hierarchy.
fn counter(line: &str) -> Option<String> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    if !units::is_command(path.rsplit('/').next()?) {
        return None;
    }
    match controllers {
        "" => Some(format!("/sys/fs/cgroup{path}/memory.events")),
        _ if controllers.split(',').any(|name| name == "memory") => {
            Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control"))
        }
        _ => None,
    }
}

fn count(text: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    found.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_that_of_a_commands_unit_in_both_versions_of_groups() {
        let unit = "/system.slice/muster-command-0199.service";
        let v2 = format!("/sys/fs/cgroup{unit}/memory.events");
        assert_eq!(counter(&format!("0::{unit}")), Some(v2));
        let v1 = format!("/sys/fs/cgroup/memory{unit}/memory.oom_control");
        assert_eq!(counter(&format!("4:memory:{unit}")), Some(v1));
        assert_eq!(counter(&format!("8:pids:{unit}")), None);
        assert_eq!(counter("4:memory:/system.slice/muster-node-agent.service"), None);
        assert_eq!(counter("nonsense"), None);
    }

    #[test]
    fn the_count_is_found_among_others() {
        assert_eq!(count("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1);
        assert_eq!(count(""), 0);
    }
}
