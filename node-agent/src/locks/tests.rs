use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locks.toml");
    write(&path, text);
    (folder, path)
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn without_a_file_everything_is_locked() {
    let locks = Locks::load(Path::new("/nonexistent/locks.toml")).unwrap();
    assert!(!locks.allows_hooks() && !locks.allows_command("run-script"));
    assert!(locks.allows_command("refresh-facts"));
    assert!(!locks.allows_command("reboot") && !locks.allows_service("a.service"));
    assert!(locks.allows_command("collect-logs") && !locks.allows_journal("a.service"));
    assert_eq!(locks.root_of(Path::new("/etc/app/a")), None);
}

#[test]
fn a_path_is_allowed_only_under_a_root_and_only_in_normal_form() {
    let (_folder, path) = written("[paths]\nallow = [\"/etc/app\"]\n");
    let locks = Locks::load(&path).unwrap();
    assert_eq!(locks.root_of(Path::new("/etc/app/conf.d/a")), Some(Path::new("/etc/app")));
    for other in [
        "/etc/app",
        "/etc/apple/a",
        "/etc/app/../passwd",
        "/etc/app/./a",
        "etc/app/a",
        "/etc/app//a",
        "/etc/app/a/",
    ] {
        assert_eq!(locks.root_of(Path::new(other)), None, "{other}");
    }
}

#[test]
fn a_file_that_others_could_have_written_is_refused() {
    let (folder, path) = written("[hooks]\nallow = true\n");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(Locks::load(&link), Err(Error::Untrusted { .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(Locks::load(&path), Err(Error::Untrusted { .. })));
    assert!(matches!(Locks::load(folder.path()), Err(Error::Untrusted { .. })));
}

#[test]
fn unknown_keys_and_roots_that_wander_are_refused() {
    for text in [
        "[hooks]\nallowed = true\n",
        "[paths]\nallow = [\"etc\"]\n",
        "[paths]\nallow = [\"/a/../b\"]\n",
        "[settings]\ncolour = \"red\"\n",
        "[settings]\nlog-level = \"loud\"\n",
        "[settings]\nfacts-interval = 60\n",
    ] {
        let (_folder, path) = written(text);
        assert!(Locks::load(&path).is_err(), "{text}");
    }
}

#[test]
fn an_option_is_locked_at_its_value_and_a_wrong_one_locks_everything() {
    let (_folder, path) = written("[hooks]\nallow = true\n[settings]\nlog-level = \"debug\"\n");
    let reader = Reader::new(path.clone());
    let locks = reader.current();
    assert_eq!((locks.setting("log-level"), locks.setting("facts-interval")), (Some("debug"), None));
    assert!(locks.allows_settings() && locks.allows_hooks());
    write(&path, "[hooks]\nallow = true\n[settings]\nlog-level = \"loud\"\n");
    let locks = reader.current();
    assert!(!locks.allows_settings() && !locks.allows_hooks() && locks.setting("log-level").is_none());
    let error = reader.error().unwrap();
    assert!(error.contains("log-level") && error.contains("loud") && error.contains("locks.toml"), "{error}");
}

#[test]
fn an_edit_counts_at_once_and_a_broken_one_locks_everything() {
    let (_folder, path) = written("[commands]\nrun-script = true\n");
    let reader = Reader::new(path.clone());
    assert!(reader.current().allows_command("run-script"));
    write(&path, "[commands]\nrun-script = maybe\n");
    assert!(!reader.current().allows_command("run-script"));
    assert!(reader.error().unwrap().contains("not valid"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!((reader.current(), reader.error()), (Locks::default(), None));
}

#[test]
fn kinds_are_allowed_and_denied_by_name_and_units_by_pattern() {
    let text = "[commands]\nallow = [\"reboot\"]\ndeny = [\"restart-agent\", \"disconnect\"]\n\
                services = [\"app-*.service\"]\njournals = [\"*\"]\n";
    let (_folder, path) = written(text);
    let locks = Locks::load(&path).unwrap();
    assert!(locks.allows_command("reboot") && locks.allows_command("rotate-identity"));
    assert!(!locks.allows_command("restart-agent") && !locks.allows_command("disconnect"));
    assert!(!locks.allows_command("run-script"));
    assert!(locks.allows_service("app-1.service") && !locks.allows_service("sshd.service"));
    assert!(locks.allows_journal("sshd.service"));
    let everything = Locks::everything();
    assert!(everything.allows_command("restart-agent") && !everything.allows_command("collect-logs"));
    assert!(!everything.allows_command("disconnect"));
}

#[test]
fn a_kind_that_a_list_cannot_have_makes_the_file_unusable() {
    for (list, kind) in [("allow", "service"), ("deny", "rebot"), ("allow", "")] {
        let (_folder, path) = written(&format!("[commands]\n{list} = [\"{kind}\"]\n"));
        let error = Locks::load(&path).unwrap_err();
        assert!(matches!(error, Error::Command { .. }) && error.to_string().contains(list), "{error}");
    }
}
