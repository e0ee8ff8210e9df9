//! rpm for what is on the host, dnf or zypper for what is fetched.

use std::path::Path;

use super::{Error, Manager, Package, WRITING, call, meaning, run, within};

const VERSION: &str = "--queryformat=%{NAME} %{VERSION}-%{RELEASE}\\n";

pub(super) async fn owning(file: &Path) -> Option<(Package, String)> {
    let ran = run(call("rpm", &["--query", VERSION, "--file", &file.to_string_lossy()])).await.ok()?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let (name, version) = said.lines().next()?.split_once(' ').filter(|_| ran.status.success())?;
    let manager = if Path::new("/usr/bin/zypper").exists() { Manager::Zypper } else { Manager::Dnf };
    Some((Package { manager, name: name.to_owned() }, version.to_owned()))
}

pub(super) async fn installed(name: &str) -> Result<String, Error> {
    let ran = run(call("rpm", &["--query", VERSION, name])).await?;
    if !ran.status.success() {
        return Err(meaning(&ran, name));
    }
    only(&String::from_utf8_lossy(&ran.stdout)).ok_or_else(|| Error::Failed(format!("{name} is not whole")))
}

/// The one version that is there. Where rpm was cut off between them there are two.
fn only(said: &str) -> Option<String> {
    let mut lines = said.lines();
    let (_, version) = lines.next()?.split_once(' ')?;
    lines.next().is_none().then(|| version.to_owned())
}

pub(super) async fn version_in(file: &Path) -> Result<String, Error> {
    let name = file.to_string_lossy();
    let ran = run(call("rpm", &["--query", VERSION, "--package", &name])).await?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    only(&said).filter(|_| ran.status.success()).ok_or_else(|| meaning(&ran, &name))
}

/// Whoever writes holds it; where it lies is the distribution's choice.
pub(super) const LOCKS: [&str; 2] = ["/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock"];

/// It has no one word for "this version, whatever is installed". That of its plugin would not
/// look at signatures.
pub(super) async fn fetch_by_dnf(name: &str, version: &str, into: &Path) -> Result<(), Error> {
    let (wanted, folder) = (format!("{name}-{version}"), into.to_string_lossy().into_owned());
    let mut why = Error::Unknown(wanted.clone());
    for verb in ["install", "reinstall", "downgrade"] {
        let words = ["--assumeyes", verb, "--downloadonly", "--downloaddir", &folder, &wanted];
        let ran = run(call("dnf", &words)).await?;
        if ran.status.success() && into.read_dir()?.next().is_some() {
            return Ok(());
        }
        if !ran.status.success() {
            why = meaning(&ran, &wanted);
        }
        if matches!(why, Error::Unreachable(_) | Error::Busy(_) | Error::Full(_)) {
            break; // the next word would meet the same
        }
    }
    Err(why)
}

pub(super) async fn fetch_by_zypper(name: &str, version: &str, into: &Path) -> Result<(), Error> {
    let wanted = format!("{name}={version}");
    let refreshed = run(call("zypper", &["--non-interactive", "refresh"])).await?;
    let folder = into.to_string_lossy();
    let ran =
        run(call("zypper", &["--non-interactive", "--pkg-cache-dir", &folder, "download", &wanted])).await?;
    let has_come = into.read_dir()?.next().is_some();
    if ran.status.success() && has_come {
        return Ok(());
    }
    match (meaning(&ran, &wanted), meaning(&refreshed, &wanted)) {
        (_, unreachable @ Error::Unreachable(_)) => Err(unreachable),
        (why, _) => Err(why),
    }
}

/// rpm itself waits for its lock; older versions go in as newer ones do.
pub(super) async fn install(file: &Path) -> Result<(), Error> {
    let name = file.to_string_lossy();
    let ran = within(WRITING, call("rpm", &["--upgrade", "--oldpackage", "--replacepkgs", &name])).await?;
    if ran.status.success() { Ok(()) } else { Err(meaning(&ran, &name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_versions_at_once_are_none() {
        assert_eq!(only("muster-node-agent 0.2.0-1\n").as_deref(), Some("0.2.0-1"));
        assert_eq!(only("muster-node-agent 0.1.0-1\nmuster-node-agent 0.2.0-1\n"), None);
    }
}
