//! What the system lets a process have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process have as many open files as it may: thousands of sessions are
/// thousands of sockets. Best effort: what is missing shows soon enough.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
