//! dpkg for what is on the host, apt for what is fetched.

use std::path::Path;

use super::{Error, Manager, Package, call, meaning, run};

pub(super) async fn owning(file: &Path) -> Option<(Package, String)> {
    let ran = run(call("dpkg-query", &["--search", &file.to_string_lossy()])).await.ok()?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let name = said.lines().next()?.split_once(": ").filter(|_| ran.status.success())?.0;
    let package = Package { manager: Manager::Apt, name: name.split(':').next()?.to_owned() };
    let version = package.installed().await.ok()?;
    Some((package, version))
}

pub(super) async fn installed(name: &str) -> Result<String, Error> {
    let ran = run(call("dpkg-query", &["--show", "--showformat=${Version}", name])).await?;
    let version = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    if ran.status.success() && !version.is_empty() { Ok(version) } else { Err(meaning(&ran, name)) }
}

pub(super) async fn fetch(name: &str, version: &str, into: &Path) -> Result<(), Error> {
    let updated = run(call("apt-get", &["--quiet", "update"])).await?;
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
pub(super) async fn install(file: &Path) -> Result<(), Error> {
    // What was cut off before is brought to its end first; if there is nothing, it says nothing.
    let _ = run(call("dpkg", &["--configure", "--pending", "--force-confold"])).await?;
    let name = file.to_string_lossy();
    let words = ["--install", "--force-confold", "--force-downgrade", &name];
    let ran = run(call("dpkg", &words)).await?;
    if ran.status.success() { Ok(()) } else { Err(meaning(&ran, &name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
