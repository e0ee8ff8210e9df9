//! The proxy in the environment of the agent's service: a drop-in of its unit that names a
//! file with the variables. Both are for root alone: what stands in a unit itself is told
//! by systemd to every user of the host, and an address may have a password.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::files;

/// The agent's service.
pub const SERVICE: &str = "muster-node-agent.service";
/// Where the drop-ins of services are that an administrator makes.
const UNITS: &str = "/etc/systemd/system";
const DROP_IN: &str = "proxy.conf";
const VARIABLES: &str = "proxy.env";
const PROXY: &str = "HTTPS_PROXY";
const NO_PROXY: &str = "NO_PROXY";

/// The files of one service.
#[derive(Debug, Clone)]
pub struct ServiceProxy(PathBuf);

/// What they say. Has no `Debug`: an address may have a password.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Variables {
    /// Address of the proxy, as written.
    pub proxy: String,
    /// What goes past it, as curl reads it.
    pub no_proxy: String,
}

impl Default for ServiceProxy {
    fn default() -> Self {
        Self::below(Path::new(UNITS))
    }
}

impl ServiceProxy {
    /// Those below a folder of units.
    #[must_use]
    pub fn below(units: &Path) -> Self {
        Self(units.join(format!("{SERVICE}.d")))
    }

    /// The file that the drop-in names.
    #[must_use]
    pub fn variables(&self) -> PathBuf {
        self.0.join(VARIABLES)
    }

    /// The drop-in.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.join(DROP_IN)
    }

    /// What stands there, if something does.
    ///
    /// # Errors
    /// From the file system: this user may not know, for one.
    pub fn read(&self) -> io::Result<Option<Variables>> {
        let text = match fs::read_to_string(self.variables()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let of = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
                .to_owned()
        };
        let said = Variables { proxy: of(PROXY), no_proxy: of(NO_PROXY) };
        Ok(Some(said).filter(|it| !it.proxy.is_empty()))
    }

    /// Writes both files; `false`: they said so already.
    ///
    /// # Errors
    /// From the file system.
    pub fn write(&self, variables: &Variables) -> io::Result<bool> {
        let file = self.variables();
        let unit = format!(
            "# Written by `muster-node-agent proxy add`; `muster-node-agent proxy remove` takes it away.\n\
             [Service]\nEnvironmentFile=-{}\n",
            file.display()
        );
        let mut text = format!("{PROXY}={}\n", variables.proxy);
        if !variables.no_proxy.is_empty() {
            text += &format!("{NO_PROXY}={}\n", variables.no_proxy);
        }
        files::folder(&self.0, 0o755)?;
        // The variables first: a service that is started in between has none, or all.
        let news = put(&file, &text)?;
        Ok(put(&self.path(), &unit)? || news)
    }

    /// Takes both away; `false`: there were none.
    ///
    /// # Errors
    /// From the file system.
    pub fn remove(&self) -> io::Result<bool> {
        let (unit, variables) = (gone(&self.path())?, gone(&self.variables())?);
        let _ = fs::remove_dir(&self.0); // if nobody else has a drop-in there
        Ok(unit || variables)
    }
}

fn put(path: &Path, text: &str) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let is_private = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 == 0);
    if is_private && fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(false);
    }
    files::write_atomically(path, text.as_bytes(), 0o600)?;
    Ok(true)
}

fn gone(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_files_are_roots_alone_and_writing_twice_changes_nothing() {
        let units = tempfile::tempdir().unwrap();
        let files = ServiceProxy::below(units.path());
        assert!(files.read().unwrap().is_none() && !files.remove().unwrap());
        let of = |proxy: &str, no_proxy: &str| Variables {
            proxy: proxy.to_owned(),
            no_proxy: no_proxy.to_owned(),
        };
        let wish = of("http://u:p%40@p:3128", "10.0.0.0/8,a.example");
        assert!(files.write(&wish).unwrap() && !files.write(&wish).unwrap());
        assert!(files.read().unwrap() == Some(wish.clone()));
        let folder = units.path().join("muster-node-agent.service.d");
        for name in ["proxy.conf", "proxy.env"] {
            let mode = fs::metadata(folder.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let unit = fs::read_to_string(files.path()).unwrap();
        assert!(unit.contains("EnvironmentFile=-") && !unit.contains("p%40"), "{unit}");
        fs::set_permissions(folder.join("proxy.env"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(files.write(&wish).unwrap(), "others could read it");
        assert!(files.write(&of("http://p:1", "")).unwrap());
        assert!(files.read().unwrap() == Some(of("http://p:1", "")));
        assert!(files.remove().unwrap() && !files.remove().unwrap() && !folder.exists());
    }

    #[test]
    fn what_cannot_be_read_is_not_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(ServiceProxy::below(file.path()).read().is_err(), "there is no folder where a file is");
    }
}
