//! rpm for what is on the host, dnf or zypper for what is fetched.

use std::path::{Path, PathBuf};

use super::{Error, Manager, Package, WRITING, call, meaning, run, within};

const VERSION: &str = "--queryformat=%{NAME} %{VERSION}-%{RELEASE}\\n";

pub(super) async fn owning(file: &Path) -> Option<(Package, String)> {
    let ran = run(call("rpm", &["--query", VERSION, "--file", &file.to_string_lossy()])).await.ok()?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let (name, version) = said.lines().next()?.split_once(' ').filter(|_| ran.status.success())?;
    let manager = Manager::of_rpms(Path::new("/")).unwrap_or(Manager::Dnf);
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

/// Whoever writes holds it. Where it lies is the distribution's choice, so rpm is asked.
pub(super) async fn lock() -> Result<Option<PathBuf>, Error> {
    let ran = run(call("rpm", &["--eval", "%{_rpmlock_path}"])).await?;
    // A word that it does not know it gives back as it is.
    let path = PathBuf::from(String::from_utf8_lossy(&ran.stdout).trim());
    Ok(Some(path).filter(|path| path.is_absolute()))
}

/// It has no one word for "this version, whatever is installed". That of its plugin would not
/// look at signatures. Others' locks it would wait for without end; who calls does it better.
pub(super) async fn fetch_by_dnf(name: &str, version: &str, into: &Path) -> Result<(), Error> {
    let (wanted, folder) = (format!("{name}-{version}"), into.to_string_lossy().into_owned());
    let mut why = Error::Unknown(wanted.clone());
    // That first which will do, as each takes its time.
    let runs = installed(name).await.is_ok_and(|installed| installed == version);
    let verbs =
        if runs { ["reinstall", "install", "downgrade"] } else { ["install", "downgrade", "reinstall"] };
    for verb in verbs {
        let words = ["--assumeyes", "--setopt=exit_on_lock=True", verb, "--downloadonly", "--downloaddir"];
        let ran = run(call("dnf", &[&words[..], &[&folder, &wanted]].concat())).await?;
        if ran.status.success() && has_come(into) {
            return Ok(());
        }
        if !ran.status.success() {
            why = meaning(&ran, &wanted);
        }
        if matches!(why, Error::Unreachable(_) | Error::Busy(_) | Error::Full(_) | Error::Held { .. }) {
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
    // Of a mirror that breaks off it says so, and ends well.
    if ran.status.success() && has_come(into) {
        return Ok(());
    }
    match (meaning(&ran, &wanted), meaning(&refreshed, &wanted)) {
        (_, unreachable @ Error::Unreachable(_)) => Err(unreachable),
        (why, _) => Err(why),
    }
}

/// Whether there is a package below a folder: managers make folders for it before it comes.
fn has_come(folder: &Path) -> bool {
    let is_one = |path: PathBuf| {
        if path.is_dir() { has_come(&path) } else { path.extension().is_some_and(|it| it == "rpm") }
    };
    folder.read_dir().is_ok_and(|entries| entries.flatten().any(|entry| is_one(entry.path())))
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
    fn a_folder_that_a_manager_has_made_is_no_package() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("muster/x86_64");
        std::fs::create_dir_all(&below).unwrap();
        assert!(!has_come(folder.path()));
        std::fs::write(below.join("muster-node-agent-0.2.0-1.x86_64.rpm"), "x").unwrap();
        assert!(has_come(folder.path()));
    }

    #[test]
    fn two_versions_at_once_are_none() {
        assert_eq!(only("muster-node-agent 0.2.0-1\n").as_deref(), Some("0.2.0-1"));
        assert_eq!(only("muster-node-agent 0.1.0-1\nmuster-node-agent 0.2.0-1\n"), None);
    }
}
