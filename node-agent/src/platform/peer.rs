//! In which unit of systemd the process at the other end of a Unix socket runs.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{getsockopt, sockopt::PeerPidfd},
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The unit of the process that opened a connection. `None`: it is in none, it has ended,
/// or the kernel cannot name it beyond doubt (before Linux 6.5).
#[must_use]
pub fn unit(socket: &impl AsFd) -> Option<String> {
    unit_around(&getsockopt(socket, PeerPidfd).ok()?)
}

/// The same, where an older kernel may be taken by its word that this number is that of the
/// process: nothing may hang by it that the number's next owner should not have.
#[must_use]
pub fn unit_or_by_number(socket: &impl AsFd, pid: i32) -> Option<String> {
    let process = match getsockopt(socket, PeerPidfd) {
        Err(Errno::ENOPROTOOPT) => pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?,
        process => process.ok()?,
    };
    unit_around(&process)
}

/// The unit in which this process runs, if it is one of systemd's.
#[must_use]
pub fn own_unit() -> Option<String> {
    unit_of(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

fn unit_around(process: &OwnedFd) -> Option<String> {
    let pid = pid(process)?;
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    // Its number may be another's by now: what was read counts if it still is its own.
    if self::pid(process) != Some(pid) {
        return None;
    }
    unit_of(&cgroup)
}

/// The number of a process that has not been waited for yet.
fn pid(process: &OwnedFd) -> Option<u32> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    // -1: it is gone. 0: it is not of our namespace.
    let pid = about.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

/// The unit that `/proc/PID/cgroup` tells of: below its slices the first that is none. What
/// is below that belongs to the unit and may be made by it.
#[must_use]
pub fn unit_of(cgroup: &str) -> Option<String> {
    // Where systemd still has a hierarchy of its own, units are in that one. The path is the
    // last of three fields, and whoever has a group of its own puts into it what it likes.
    let path = |wanted: fn(&str, &str) -> bool| {
        cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, hierarchy, path) = (fields.next()?, fields.next()?, fields.next()?);
            if wanted(number, hierarchy) { path.strip_prefix('/') } else { None }
        })
    };
    let in_own = path(|_, hierarchy| hierarchy == "name=systemd");
    let path = in_own.or_else(|| path(|number, hierarchy| number == "0" && hierarchy.is_empty()))?;
    let part = path.split('/').find(|part| !part.ends_with(".slice"))?;
    // So systemd writes what would look like something of the kernel's.
    let unit = part.strip_prefix('_').unwrap_or(part);
    let (stem, ending) = unit.rsplit_once('.')?;
    let is_unit = !stem.is_empty() && matches!(ending, "service" | "scope" | "socket" | "mount" | "swap");
    is_unit.then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_unit_is_what_stands_below_the_slices_and_nothing_that_it_made_itself() {
        for (path, unit) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            ("/system.slice/system-app.slice/app@1.service", Some("app@1.service")),
            ("/system.slice/app.service/nginx.service", Some("app.service")),
            ("/system.slice/a.service/b/c", Some("a.service")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", Some("user@1000.service")),
            ("/system.slice/docker-0a.scope", Some("docker-0a.scope")),
            ("/system.slice/_cpu.service", Some("cpu.service")),
            ("/", None),
            ("/system.slice", None),
            ("/init/nginx.service", None),
            ("/../nginx.service", None),
            ("/nginx", None),
            ("/.service", None),
        ] {
            assert_eq!(unit_of(&format!("1:name=x:/y.service\n0::{path}\n")).as_deref(), unit, "{path}");
        }
        let both = "4:memory:/x.service\n1:name=systemd:/system.slice/nginx.service\n0::/\n";
        assert_eq!(unit_of(both).as_deref(), Some("nginx.service"), "systemd's own hierarchy");
        let before = "4:memory:/x:name=systemd:/system.slice/nginx.service\n1:name=systemd:/a.service\n";
        assert_eq!(unit_of(before).as_deref(), Some("a.service"));
    }

    #[test]
    fn a_group_with_a_name_like_a_line_of_systemds_makes_nobody_another_unit() {
        let own = "/user.slice/user-7.slice/user@7.service";
        for below in ["x:name=systemd:/system.slice/nginx.service", "a:b:0::/system.slice/nginx.service"] {
            let unit = unit_of(&format!("0::{own}/{below}\n"));
            assert_eq!(unit.as_deref(), Some("user@7.service"), "{below}");
            assert_eq!(unit_of(&format!("3:cpu:/{below}\n")), None, "{below}");
        }
    }

    #[test]
    fn the_peer_of_a_connection_is_found_by_what_the_kernel_holds_of_it() {
        let (one, _other) = UnixStream::pair().unwrap();
        let Ok(process) = getsockopt(&one, PeerPidfd) else { return }; // an older kernel
        assert_eq!(pid(&process), Some(std::process::id()));
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        assert_eq!(unit(&one), unit_of(&own));
        let pid = std::process::id().cast_signed();
        assert_eq!(unit_or_by_number(&one, pid), own_unit());
    }
}
