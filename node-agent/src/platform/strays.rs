//! Processes that outlive the one that started them, such as gpg's agent after zypper. For a process
//! that does one thing after another: what is left when one of them is over belongs to nobody.

use std::{fs, io, thread, time::Duration};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

/// How often is looked whether all have ended, and how long apart.
const LOOKS: (u32, Duration) = (100, Duration::from_millis(20));

/// From now on what this process's children leave behind becomes its own.
///
/// # Errors
/// If the kernel does not do that.
pub fn adopt() -> io::Result<()> {
    set_child_subreaper(Some(getpid())).map_err(io::Error::from)
}

/// Kills all children of this process, and theirs, which become its own then.
pub fn end() {
    for _ in 0..LOOKS.0 {
        let left = children();
        if left.is_empty() {
            return;
        }
        for child in left {
            let _ = kill_process(child, Signal::KILL); // it may have ended
            let _ = waitpid(Some(child), WaitOptions::NOHANG); // the next look tells
        }
        thread::sleep(LOOKS.1);
    }
    tracing::warn!("processes that a package manager left behind do not end");
}

fn children() -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let me = getpid().as_raw_nonzero().get();
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter(|number| parent(*number) == Some(me)).filter_map(Pid::from_raw).collect()
}

fn parent(process: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may itself hold spaces and parentheses.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_known_by_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert_eq!(parent(pid.as_raw_nonzero().get()), Some(getpid().as_raw_nonzero().get()));
        assert!(children().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&pid));
    }
}
