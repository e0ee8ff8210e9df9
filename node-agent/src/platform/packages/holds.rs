//! What an administrator holds with dnf or zypper. rpm alone would not look, and neither manager
//! has a word to ask whether one package is held: their files are read.

use std::{fs, io, path::Path};

use muster_common::unit_name::matches;

/// Of dnf's plugin: lines such as `muster-node-agent-0:1.0.0-1.*`.
const DNF: &str = "etc/dnf/plugins/versionlock.list";
/// Of dnf 5.
const DNF5: &str = "etc/dnf/versionlock.toml";
/// Entries of lines such as `solvable_name: muster-node-agent`.
const ZYPPER: &str = "etc/zypp/locks";

/// Whether a version lock keeps a package from a version: the version that it names, it lets come.
pub(super) fn by_dnf(root: &Path, name: &str, version: &str) -> io::Result<bool> {
    let lines = read(&root.join(DNF))?;
    let locked: Vec<&str> = lines.lines().filter_map(|line| locked_version(line.trim(), name)).collect();
    let by_plugin = !locked.is_empty() && !locked.iter().any(|locked| matches(locked, version));
    Ok(by_plugin || by_dnf5(&read(&root.join(DNF5))?, name, version))
}

/// The version, with its release, at which a line locks a package.
fn locked_version<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?.strip_prefix('-')?;
    let is_epoch = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = rest.split_once(':').filter(|(epoch, _)| is_epoch(epoch)).map_or(rest, |(_, rest)| rest);
    // Else it is another package, whose name is longer.
    let is_version = rest.starts_with(|first: char| first.is_ascii_digit() || first == '*');
    is_version.then(|| rest.rsplit_once('.').map_or(rest, |(version, _arch)| version))
}

fn by_dnf5(text: &str, name: &str, version: &str) -> bool {
    let table: toml::Table = text.parse().unwrap_or_default();
    let packages = table.get("packages").and_then(toml::Value::as_array);
    let word = |value: &toml::Value, key: &str| value.get(key).and_then(|it| it.as_str().map(str::to_owned));
    let mut of_it = packages.into_iter().flatten().filter(|it| word(it, "name").as_deref() == Some(name));
    of_it.any(|package| {
        let conditions = package.get("conditions").and_then(toml::Value::as_array);
        conditions.into_iter().flatten().any(|condition| {
            let value = word(condition, "value").unwrap_or_default();
            let value = value.split_once(':').map_or(value.as_str(), |(_epoch, value)| value);
            word(condition, "key").as_deref() != Some("evr")
                || word(condition, "comparator").as_deref() != Some("=")
                || value != version
        })
    })
}

/// Whether a lock of zypper covers a package.
pub(super) fn by_zypper(root: &Path, name: &str) -> io::Result<bool> {
    let text = read(&root.join(ZYPPER))?;
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("solvable_name:"));
    Ok(names.into_iter().any(|pattern| matches(pattern.trim(), name)))
}

fn read(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "muster-node-agent";

    fn host(file: &str, text: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        root
    }

    #[test]
    fn a_version_lock_lets_come_what_it_names_and_nothing_else() {
        let lock = |text: &str, version: &str| by_dnf(host(DNF, text).path(), NAME, version).unwrap();
        let text = "# Added\nother-0:1.0-1.*\nmuster-node-agent-0:1.0.0-1.*\n";
        assert!(lock(text, "1.1.0-1") && !lock(text, "1.0.0-1"));
        assert!(lock("muster-node-agent-1.0.*-1.x86_64\n", "1.1.0-1"));
        assert!(!lock("muster-node-agent-1.0.*-1.x86_64\n", "1.0.7-1"));
        assert!(!lock("muster-node-agent-extra-0:1.0.0-1.*\n", "1.1.0-1"));
        assert!(!by_dnf(tempfile::tempdir().unwrap().path(), NAME, "1.1.0-1").unwrap());
    }

    #[test]
    fn dnf_5_writes_its_locks_otherwise() {
        let lock = |text: &str, version: &str| by_dnf(host(DNF5, text).path(), NAME, version).unwrap();
        let text = "version = \"1.0\"\n[[packages]]\nname = \"muster-node-agent\"\n\
                    [[packages.conditions]]\nkey = \"evr\"\ncomparator = \"=\"\nvalue = \"0:1.0.0-1\"\n";
        assert!(lock(text, "1.1.0-1") && !lock(text, "1.0.0-1"));
        assert!(!lock(&text.replace("muster-node-agent", "other"), "1.1.0-1"));
    }

    #[test]
    fn a_lock_of_zypper_is_a_name_or_a_pattern() {
        let lock = |name: &str| {
            let text =
                format!("\ntype: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: {name}\n");
            by_zypper(host(ZYPPER, &text).path(), NAME).unwrap()
        };
        assert!(lock(NAME) && lock("muster-*") && !lock("muster") && !lock("other*"));
    }
}
