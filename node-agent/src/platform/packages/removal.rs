//! How the agent's package is taken off this host.

use std::path::Path;

use super::Manager;

/// What the package is called, with every package manager.
const NAME: &str = "muster-node-agent";
/// dpkg's own list of what the package brought.
const DEB: &str = "var/lib/dpkg/info/muster-node-agent.list";
/// What both packages bring, and no other way of installing.
const HELPER: &str = "usr/lib/muster/node-agent/helper";

/// The command that takes the agent's package off this host, `None` if no package brought it.
#[must_use]
pub fn removal() -> Option<String> {
    removal_below(Path::new("/"))
}

fn removal_below(root: &Path) -> Option<String> {
    let verb = if root.join(DEB).exists() {
        "apt-get purge"
    } else if root.join(HELPER).exists() {
        match Manager::of_rpms(root) {
            Some(Manager::Zypper) => "zypper remove",
            Some(Manager::Dnf) => "dnf remove",
            Some(Manager::Apt) | None => "rpm --erase",
        }
    } else {
        return None;
    };
    Some(format!("{verb} {NAME}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_command_is_that_of_the_package_manager_that_brought_the_agent() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let told = || removal_below(root.path());
        put("usr/bin/dnf");
        assert_eq!(told(), None, "nobody's package");
        put(HELPER);
        assert_eq!(told().as_deref(), Some("dnf remove muster-node-agent"));
        put("usr/bin/zypper");
        assert_eq!(told().as_deref(), Some("zypper remove muster-node-agent"));
        put(DEB);
        assert_eq!(told().as_deref(), Some("apt-get purge muster-node-agent"));
        fs::remove_dir_all(root.path().join("usr/bin")).unwrap();
        fs::remove_file(root.path().join(DEB)).unwrap();
        assert_eq!(told().as_deref(), Some("rpm --erase muster-node-agent"));
    }
}
