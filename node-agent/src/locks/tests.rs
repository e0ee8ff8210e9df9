use std::os::unix::fs::PermissionsExt as _;

use std::path::PathBuf;

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
    assert!(!locks.allows_command("reboot") && locks.refuses_service("a.service").is_some());
    assert!(locks.allows_command("collect-logs") && locks.refuses_journal("a.service").is_some());
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
    assert!(
        locks.refuses_service("app-1.service").is_none() && locks.refuses_service("sshd.service").is_some()
    );
    assert_eq!(locks.refuses_journal("sshd.service"), None);
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

fn of(text: &str) -> Locks {
    Locks::of(Path::new("locks.toml"), text).unwrap()
}

#[test]
fn a_file_that_is_too_long_is_refused_and_not_cut() {
    let text = format!("[hooks]\nallow = true\n{}[commands]\ndeny = [\"reboot\"]\n", "#\n".repeat(140_000));
    let (_folder, path) = written(&text);
    assert!(matches!(Locks::load(&path), Err(Error::Untrusted { .. })));
}

#[test]
fn a_denied_folder_is_closed_under_whatever_root() {
    let locks = of("[paths]\nallow = [\"/\"]\ndeny = [\"/etc/ssh\"]\n");
    assert_eq!(locks.root_of(Path::new("/etc/app")), Some(Path::new("/")));
    assert_eq!((locks.root_of(Path::new("/etc/ssh")), locks.root_of(Path::new("/etc/ssh/a"))), (None, None));
    assert!(locks.root_of(Path::new("/etc/sshd")).is_some());
    let told = locks.refuses_writing(Path::new("/etc/ssh/a")).unwrap();
    assert!(told.ends_with("(denied-by-local-lock: paths.deny, line 3)"), "{told}");
}

#[test]
fn every_refusal_has_the_one_word_and_the_line_of_its_rule() {
    let locks = of(
        "[commands]\n\ndeny = [\"disconnect\"]\n[limits]\ncpu = \"50%\"\n[commands.run-script]\nallow = true\n",
    );
    let told = locks.refuses_command("disconnect").unwrap();
    assert!(told.ends_with("(denied-by-local-lock: commands.deny, line 3)"), "{told}");
    let told = locks.refuses_command("reboot").unwrap();
    assert!(told.ends_with("(denied-by-local-lock: commands.allow is not set)"), "{told}");
    let root = User { name: "root", uid: Some(0), is_agent: true };
    let text = Text {
        sha256: muster_common::digest::Sha256::of(b"x"),
        interpreter: &["/bin/sh".to_owned()],
        has_environment: false,
    };
    let told = locks.refuses_script(&root, &text, &Caps { cpu: Some(60), ..Caps::default() }).unwrap();
    assert!(told.contains("at most 50 % of a core") && told.contains("limits.cpu, line 5"), "{told}");
    assert_eq!(locks.refuses_script(&root, &text, &Caps::default()), None);
    let told = Locks::everything().refuses_command("reboot").unwrap();
    assert!(told.contains("denied-by-local-lock: the file cannot be used"), "{told}");
    for told in [locks.refuses_service("a.service"), locks.refuses_journal("a.service")] {
        assert!(told.unwrap().contains(DENIED));
    }
    assert!(locks.hooks_refused().contains(DENIED));
}

/// A file that allows much, with a line put on top of it.
fn under(line: &str) -> Locks {
    of(&format!(
        "{line}\n[paths]\nallow = [\"/etc/app\"]\n[hooks]\nallow = true\n[commands]\nallow = [\"reboot\"]\n\
         run-script = true\nservices = [\"*\"]\njournals = [\"*\"]\n[extensions]\nallow = [\"*/*\"]\n"
    ))
}

#[test]
fn one_line_on_top_of_a_file_locks_all_of_it() {
    let log = Name::parse("acme/log").unwrap();
    let open = under("");
    assert!(open.allows_hooks() && open.allows_command("run-script"));
    assert_eq!(open.refuses_extension(&log, Act::Bring), None);
    assert_eq!(open.refuses_removals(), None);
    let path = Path::new("/etc/app/a");
    let locked = under("profile = \"locked\"");
    assert!(KINDS.iter().all(|kind| !locked.allows_command(kind)));
    assert!(!locked.allows_hooks() && !locked.allows_settings() && locked.root_of(path).is_none());
    let told = locked.refuses_command("refresh-facts").unwrap();
    assert!(told.ends_with("(denied-by-local-lock: profile locked, line 1)"), "{told}");
    let monitor = under("profile = \"monitor\"");
    let allowed: Vec<&&str> = KINDS.iter().filter(|kind| monitor.allows_command(kind)).collect();
    assert_eq!(allowed, [&"collect-logs", &"refresh-facts", &"rotate-identity"]);
    assert!(!monitor.allows_hooks() && monitor.allows_settings());
    assert!(monitor.root_of(path).is_some() && monitor.writable_root_of(path).is_none());
    let told = monitor.refuses_writing(path).unwrap();
    assert!(told.ends_with("(denied-by-local-lock: profile monitor, line 1)"), "{told}");
    for locks in [locked, monitor] {
        for act in [Act::Bring, Act::Remove] {
            assert!(locks.refuses_extension(&log, act).unwrap().contains(DENIED));
        }
        assert_eq!(locks.refuses_removals(), locks.refuses_extension(&log, Act::Remove));
    }
}

#[test]
fn full_allows_all_but_what_the_file_takes_out() {
    let full = of("profile = \"full\"\n");
    assert!(KINDS.iter().all(|kind| full.allows_command(kind)) && full.allows_hooks());
    assert!(full.writable_root_of(Path::new("/opt/x")).is_some());
    assert_eq!(full.refuses_extension(&Name::parse("acme/log").unwrap(), Act::Bring), None);
    let less = of(
        "profile = \"full\"\n[commands]\ndeny = [\"disconnect\"]\nrun-script = false\n[hooks]\nallow = false\n",
    );
    assert!(!less.allows_command("run-script") && !less.allows_command("disconnect"));
    assert!(less.allows_command("reboot") && !less.allows_hooks());
    let told = less.refuses_command("run-script").unwrap();
    assert!(told.contains("line 4"), "what is said in short has its line, too: {told}");
}

#[test]
fn a_profile_of_its_own_lies_under_what_the_file_says() {
    let text = "profile = \"web\"\n[commands]\ndeny = [\"reboot\"]\n\
                [profiles.web.paths]\nallow = [\"/srv/web\"]\n\
                [profiles.web.commands]\nallow = [\"reboot\"]\nservices = [\"nginx.service\"]\n\
                [profiles.db.paths]\nallow = [\"/srv/db\"]\n";
    let web = of(text);
    assert!(web.root_of(Path::new("/srv/web/a")).is_some() && web.root_of(Path::new("/srv/db/a")).is_none());
    assert!(!web.allows_command("reboot"), "the file's own word is over its profile's");
    assert_eq!(web.refuses_service("nginx.service"), None);
    let told = web.refuses_service("db.service").unwrap();
    assert!(told.ends_with("(denied-by-local-lock: commands.services of profile web, line 8)"), "{told}");
}

#[test]
fn a_profile_that_is_not_there_or_is_wrong_makes_the_file_unusable() {
    for text in [
        "profile = \"open\"\n",
        "profile = 1\n",
        "[profiles.full.hooks]\nallow = true\n",
        "[profiles.locked.hooks]\nallow = true\n",
        "[profiles.web.hooks]\nallowed = true\n",
        "[profiles.web.paths]\nallow = [\"etc\"]\n",
        "[profiles.web.settings]\ncolour = \"red\"\n",
        "[profiles.web]\nprofile = \"full\"\n",
    ] {
        assert!(Locks::of(Path::new("x"), text).is_err(), "{text}");
    }
}

#[test]
fn every_rule_is_told_with_where_it_comes_from() {
    let text = "profile = \"monitor\"\n[paths]\nallow = [\"/etc/app\"]\n[hooks]\nallow = true\n";
    let told = Locks::tell(Path::new("x"), text).unwrap();
    let rule = |key: &str| told.rules.iter().find(|rule| rule.key == key).unwrap().clone();
    assert_eq!(told.profile, "monitor");
    let paths = rule("paths.allow");
    assert_eq!((paths.origin.as_str(), paths.line, paths.overruled), ("file", Some(3), false));
    let hooks = rule("hooks.allow");
    assert_eq!((hooks.line, hooks.overruled), (Some(5), true));
    assert_eq!(
        (rule("limits.cpu").origin.as_str(), rule("limits.cpu").value),
        ("default", serde_json::Value::Null)
    );
    assert!(told.notes.iter().any(|note| note.contains("without effect") && note.contains("hooks.allow")));
    let full = Locks::tell(Path::new("x"), "profile = \"full\"\n").unwrap();
    assert!(full.rules.iter().any(|rule| rule.key == "paths.allow" && rule.origin == "profile full"));
    assert!(full.notes.iter().any(|note| note.contains("can also change this file")), "{:?}", full.notes);
    let scripts = "[commands.run-script]\nallow = true\n";
    let told = Locks::tell(Path::new("x"), scripts).unwrap();
    assert!(told.rules.iter().filter(|rule| rule.key.starts_with("commands.run-script")).count() >= 3);
}
