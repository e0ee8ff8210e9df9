//! The command that makes and signs repositories: what it says, and what it refuses.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use muster_tests::{binaries, repository::Repository};

const COMMANDS: [&str; 7] = ["init", "add", "remove", "sign", "refresh", "rotate-root", "verify"];

fn help(args: &[&str]) -> String {
    let output = Command::new(binaries::path("muster-repository")).args(args).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn its_help_is_on_its_page() {
    let whole = |command: &&str| format!("## {command}\n\n```text\n{}```\n", help(&[command]));
    let commands = COMMANDS.iter().map(whole).collect::<Vec<_>>().join("\n");
    let page = format!(
        "# muster-repository\n\nMade from its `--help`; [what it is for](../artifacts.md#make-a-repository).\n\n\
         ```text\n{}```\n\n{commands}",
        help(&[])
    );
    let path = binaries::repository().join("docs/cli/muster-repository.md");
    if std::env::var_os("MUSTER_WRITE_PAGES").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), page, "write it with MUSTER_WRITE_PAGES=1");
}

#[test]
fn keys_are_their_owners_alone_and_too_few_of_them_sign_nothing() {
    let repository = Repository::new();
    let keys: Vec<_> = fs::read_dir(repository.keys()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(keys.len(), 6, "3 root, 2 targets, 1 online");
    for key in &keys {
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
    let refused = |args: &[&str]| {
        let output = repository.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for key in keys.iter().filter(|key| !key.to_str().unwrap().contains("online-")) {
        fs::remove_file(key).unwrap();
    }
    repository.does(&["refresh", "REPOSITORY", "--keys", "KEYS"]);
    let told = refused(&["sign", "REPOSITORY", "--keys", "KEYS"]);
    assert!(told.contains("0 of the targets keys are at hand, and 1 must sign"), "{told}");
    let told = refused(&["rotate-root", "REPOSITORY", "--keys", "KEYS", "--replace", "root"]);
    assert!(told.contains("0 of the root keys are at hand, and 2 must sign"), "{told}");
    assert_eq!(fs::read_dir(repository.keys()).unwrap().count(), 1, "no key was made for nothing");
    let told = refused(&["init", "REPOSITORY", "--keys", "KEYS"]);
    assert!(told.contains("is a repository already"), "{told}");
    repository.does(&["verify", "REPOSITORY"]);
}

#[test]
fn no_key_is_served_one_key_counts_once_and_what_hosts_refuse_is_not_called_done() {
    let repository = Repository::new();
    let told = |args: &[&str]| {
        let output = repository.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    // By a link, by a way around, and where there is no folder yet.
    let (served, link) = (repository.path().join("keys"), repository.keys().with_file_name("link"));
    fs::create_dir(&served).unwrap();
    std::os::unix::fs::symlink(&served, &link).unwrap();
    let around = repository.keys().join("../repository/keys");
    for keys in [&served, &link, &around] {
        let refused = told(&["refresh", "REPOSITORY", "--keys", keys.to_str().unwrap()]);
        assert!(refused.contains("is in the repository, which is served"), "{refused}");
    }
    let new = link.join("new");
    let rotate = ["rotate-root", "REPOSITORY", "--keys", "KEYS", "--replace", "root", "--new-keys"];
    let refused = told(&[&rotate[..], &[new.to_str().unwrap()]].concat());
    assert!(refused.contains("is in the repository, which is served"), "{refused}");
    // The same keys by two ways.
    repository.add("1.0.0", b"one");
    repository.does(&["sign", "REPOSITORY", "--keys", "KEYS", "--keys", "KEYS"]);
    repository.does(&["verify", "REPOSITORY"]);
    // A file that is not what is signed, and a list that is over.
    let file = repository.add("2.0.0", b"two");
    fs::write(repository.path().join(file.path()), b"other").unwrap();
    let refused = told(&["sign", "REPOSITORY", "--keys", "KEYS"]);
    assert!(refused.contains("hosts refuse a file of it"), "{refused}");
    fs::write(repository.path().join(file.path()), b"two").unwrap();
    repository.does(&["sign", "REPOSITORY", "--keys", "KEYS", "--targets-for", "1s"]);
    let is_over = || !repository.run(&["verify", "REPOSITORY"]).status.success();
    assert!((0..1000).any(|_| is_over()), "its second ends");
    let refused = told(&["refresh", "REPOSITORY", "--keys", "KEYS"]);
    assert!(refused.contains("hosts refuse it: do not serve it"), "{refused}");
}

#[test]
fn a_name_has_one_content_and_what_was_changed_is_found() {
    let repository = Repository::new();
    let file = repository.add("1.0.0", b"one");
    repository.sign();
    let told = repository.does(&["verify", "REPOSITORY"]);
    assert!(told.contains(&file.target) && told.contains("good: 1 files"), "{told}");
    let other = repository.keys().parent().unwrap().join("other");
    fs::write(&other, b"other bytes").unwrap();
    let add = |version, kind| {
        let other = other.to_str().unwrap();
        let of = ["--publisher", "muster", "--type", "test", "--version", version, "--kind", kind];
        repository.run(&[&["add", "REPOSITORY", other][..], &of[..]].concat())
    };
    let told = |output: std::process::Output| String::from_utf8(output.stderr).unwrap();
    assert!(told(add("1.0.0", "extension")).contains("another version"));
    assert!(told(add("../2", "extension")).contains("--version"));
    assert!(told(add("2.0.0", "release")).contains("a release has neither"));
    repository.does(&["remove", "REPOSITORY", &file.target]);
    repository.sign();
    assert!(repository.does(&["verify", "REPOSITORY"]).contains("good: 0 files"));
    repository.add("1.0.0", b"one");
    repository.sign();
    fs::write(repository.path().join(file.path()), b"two").unwrap();
    let broken = told(repository.run(&["verify", "REPOSITORY"]));
    assert!(broken.contains("is not the file that was signed"), "{broken}");
}
