//! dpkg for what is on the host, apt for what is fetched.

use std::path::Path;

use super::{Error, Manager, Package, WRITING, call, meaning, run, within};

pub(super) async fn owning(file: &Path) -> Option<(Package, String)> {
    let ran = run(call("dpkg-query", &["--search", &file.to_string_lossy()])).await.ok()?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let name = said.lines().next()?.split_once(": ").filter(|_| ran.status.success())?.0;
    let package = Package { manager: Manager::Apt, name: name.split(':').next()?.to_owned() };
    let version = package.installed().await.ok()?;
    Some((package, version))
}

pub(super) async fn installed(name: &str) -> Result<String, Error> {
    let format = "--showformat=${db:Status-Status} ${Version}";
    let ran = run(call("dpkg-query", &["--show", format, name])).await?;
    if !ran.status.success() {
        return Err(meaning(&ran, name));
    }
    whole(&String::from_utf8_lossy(&ran.stdout)).ok_or_else(|| Error::Failed(format!("{name} is not whole")))
}

/// The version of a package that is there. One that was removed keeps its number, and so does
/// one that was cut off half way.
fn whole(said: &str) -> Option<String> {
    match said.trim().split_once(' ')? {
        ("installed", version) if !version.is_empty() => Some(version.to_owned()),
        _ => None,
    }
}

/// Whether `apt-mark hold` keeps it. dpkg alone would not look.
pub(super) async fn is_held(name: &str) -> Result<bool, Error> {
    let ran = run(call("dpkg-query", &["--show", "--showformat=${db:Status-Want}", name])).await?;
    if !ran.status.success() {
        return Err(meaning(&ran, name));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).trim() == "hold")
}

pub(super) async fn version_in(file: &Path) -> Result<String, Error> {
    let name = file.to_string_lossy();
    let ran = run(call("dpkg-deb", &["--field", &name, "Version"])).await?;
    let version = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    if ran.status.success() && !version.is_empty() { Ok(version) } else { Err(meaning(&ran, &name)) }
}

/// Whoever writes holds one of these.
pub(super) const LOCKS: [&str; 2] = ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"];

pub(super) async fn fetch(name: &str, version: &str, into: &Path) -> Result<(), Error> {
    let updated = run(call("apt-get", &["--quiet", "update"])).await?;
    if let (false, busy @ Error::Busy(_)) = (updated.status.success(), meaning(&updated, name)) {
        return Err(busy); // what it knows of before is not what there is
    }
    // It is root's folder: the user that apt would become has no business there.
    let wanted = format!("{name}={version}");
    let mut command =
        call("apt-get", &["--quiet", "--option", "APT::Sandbox::User=root", "download", &wanted]);
    command.current_dir(into);
    let ran = run(command).await?;
    if ran.status.success() {
        return Ok(());
    }
    match (meaning(&ran, &wanted), meaning(&updated, &wanted)) {
        // What it does not know it may only not have heard of.
        (Error::Unknown(_), unreachable @ Error::Unreachable(_)) => Err(unreachable),
        (why, _) => Err(why),
    }
}

/// By dpkg alone: what lies on the disk needs no list of any repository.
pub(super) async fn install(package: &str, file: &Path) -> Result<(), Error> {
    // What was cut off before is brought to its end first, others' packages are not touched. If
    // there is nothing to do, that it says so does not matter.
    let _ = within(WRITING, call("dpkg", &["--configure", "--force-confold", package])).await?;
    let name = file.to_string_lossy();
    let words = ["--install", "--force-confold", "--force-downgrade", &name];
    let ran = within(WRITING, call("dpkg", &words)).await?;
    if ran.status.success() { Ok(()) } else { Err(meaning(&ran, &name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_not_whole_is_not_installed() {
        assert_eq!(whole("installed 0.2.0-1\n").as_deref(), Some("0.2.0-1"));
        for said in ["config-files 0.2.0-1", "half-configured 0.2.0-1", "unpacked 0.2.0-1", "not-installed "]
        {
            assert_eq!(whole(said), None, "{said}");
        }
    }

    /// With the dpkg of the machine that runs this, where it has one.
    #[tokio::test]
    async fn a_file_is_known_by_its_package() {
        if !Path::new("/usr/bin/dpkg-query").exists() {
            return;
        }
        let (package, version) = Package::owning(Path::new("/usr/bin/dpkg-query")).await.unwrap();
        assert_eq!((package.manager, package.name.as_str()), (Manager::Apt, "dpkg"));
        assert_eq!(package.installed().await.unwrap(), version);
        assert!(owning(Path::new("/nonexistent/file")).await.is_none());
    }
}
