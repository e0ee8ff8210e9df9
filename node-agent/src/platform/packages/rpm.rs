//! rpm for what is on the host, dnf or zypper for what is fetched.

use std::path::Path;

use super::{Error, Manager, Package, call, meaning, run};

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
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let version = said.lines().next().and_then(|line| line.split_once(' ')).filter(|_| ran.status.success());
    version.map(|(_, version)| version.to_owned()).ok_or_else(|| meaning(&ran, name))
}

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
    let ran = run(call("rpm", &["--upgrade", "--oldpackage", "--replacepkgs", &name])).await?;
    if ran.status.success() { Ok(()) } else { Err(meaning(&ran, &name)) }
}
