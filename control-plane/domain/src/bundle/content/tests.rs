use muster_common::reason::Reason;

use super::*;

fn file(path: &str) -> File<'_> {
    File { path, size: 10, ..File::default() }
}

fn faults(content: &Content) -> Vec<String> {
    let faults = check_content(content).err().unwrap_or_default();
    faults.into_iter().map(|fault| fault.field).collect()
}

fn of_files(files: Vec<File>) -> Vec<String> {
    faults(&Content { files, ..Content::default() })
}

#[test]
fn a_usual_bundle_is_taken() {
    let (argv, probe) = (["/usr/sbin/nginx".to_owned(), "-t".to_owned()], ["/bin/true".to_owned()]);
    let content = Content {
        files: vec![file("/etc/nginx/nginx.conf"), File { mode: 0o600, ..file("/etc/nginx/key..pem") }],
        validate: Some(Hook { argv: &argv, timeout_s: 600, ..Hook::default() }),
        probe: Some(Hook { argv: &probe, ..Hook::default() }),
        ..Content::default()
    };
    assert_eq!(check_content(&content), Ok(()));
}

#[test]
fn paths_are_absolute_and_in_normal_form() {
    let long_part = format!("/{}", "x".repeat(256));
    let long = "/abc".repeat(1024);
    for path in [
        "",
        "etc/x",
        "/",
        "//etc/x",
        "/etc//x",
        "/etc/x/",
        "/etc/./x",
        "/etc/../x",
        "/a\nb",
        &long_part,
        &long,
    ] {
        assert_eq!(of_files(vec![file(path)]), ["content.files[0].path"], "{path:.30}");
    }
    assert!(of_files(vec![file("/etc/..x/.y")]).is_empty());
}

#[test]
fn what_an_older_agent_does_not_know_is_asked_for() {
    let environment = [("A".to_owned(), "b".to_owned())].into();
    let plain = || Content { files: vec![File { mode: 0o600, ..file("/x") }], ..Content::default() };
    let with = |change: fn(&mut File)| {
        let mut content = plain();
        change(&mut content.files[0]);
        needs(&content)
    };
    let hook = Hook { timeout_s: 5, ..Hook::default() };
    assert!(needs(&Content { probe: Some(hook), ..plain() }).is_empty());
    assert_eq!(with(|file| file.owner = "root"), [SECOND]);
    assert_eq!(with(|file| file.group = "root"), [SECOND]);
    assert_eq!(with(|file| file.absent = true), [SECOND]);
    assert_eq!(with(|file| file.directory = true), [SECOND]);
    assert_eq!(with(|file| file.protected = true), [THIRD]);
    let elsewhere = Hook { working_directory: "/srv", ..hook };
    assert_eq!(needs(&Content { validate: Some(elsewhere), ..plain() }), [SECOND]);
    assert_eq!(needs(&Content { on_remove: Some(OnRemove::Leave), ..plain() }), [SECOND]);
    for mode in [Mode::Audit, Mode::Monitor, Mode::Correct] {
        assert_eq!(needs(&Content { mode: Some(mode), ..plain() }), [SECOND]);
    }
    let blob = FileBlob { sha256: &[0; 32], size_bytes: 1 };
    let of_blob = File { blob: Some(blob), owner: "root", ..file("/x") };
    assert_eq!(needs(&Content { files: vec![of_blob], ..plain() }), [THIRD]);
    let told = Hook { environment: &environment, ..hook };
    assert_eq!(needs(&Content { on_change: Some(told), ..plain() }), [SECOND]);
    assert_eq!(needs(&Content { confirm_after_s: 5, ..plain() }), [THIRD]);
    assert_eq!(needs(&Content { confirm_after_s: 5, on_change: Some(told), ..plain() }), [THIRD]);
}

#[test]
fn size_and_number_are_bounded() {
    let paths: Vec<_> = (0..65).map(|n| format!("/f{n}")).collect();
    let files =
        |n: usize, size| paths[..n].iter().map(|path| File { path, size, ..File::default() }).collect();
    assert!(of_files(files(64, 1024)).is_empty());
    let too_many = check_content(&Content { files: files(65, 1), ..Content::default() }).unwrap_err();
    assert_eq!(too_many[0].reason, Reason::TooLarge);
    let too_large = check_content(&Content { files: files(2, 33 * 1024), ..Content::default() }).unwrap_err();
    assert_eq!(too_large[0].reason, Reason::TooLarge);
    assert_eq!(of_files(files(2, usize::MAX)), ["content.files"]);
    assert_eq!(of_files(vec![]), ["content.files"]);
}

#[test]
fn blobs_have_a_bound_of_their_own() {
    let blob = |size_bytes| {
        let blob = FileBlob { sha256: &[7; 32], size_bytes };
        File { size: 0, blob: Some(blob), ..File::default() }
    };
    let (a, b) = (File { path: "/a", ..blob(MAX_BLOB_BYTES - 1) }, File { path: "/b", ..blob(1) });
    assert!(of_files(vec![a, b, File { size: MAX_BYTES, ..file("/c") }]).is_empty());
    let over = Content { files: vec![a, b, File { path: "/c", ..blob(1) }], ..Content::default() };
    let over = check_content(&over).unwrap_err();
    assert_eq!((over.len(), over[0].reason), (1, Reason::TooLarge));
    assert_eq!(of_files(vec![a, File { path: "/b", ..blob(u64::MAX) }]), ["content.files"]);
}

#[test]
fn a_confirmation_has_five_seconds_to_an_hour() {
    let of =
        |confirm_after_s| faults(&Content { files: vec![file("/x")], confirm_after_s, ..Content::default() });
    assert!([0, 5, 3600].into_iter().all(|seconds| of(seconds).is_empty()));
    for seconds in [1, 4, 3601, u32::MAX] {
        assert_eq!(of(seconds), ["content.confirm_after_s"], "{seconds}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let content = Content {
        on_remove: None,
        mode: None,
        files: vec![file("x"), File { mode: 0o4755, ..file("/y") }],
        probe: Some(Hook { timeout_s: 9999, ..Hook::default() }),
        ..Content::default()
    };
    assert_eq!(
        faults(&content),
        [
            "content.files[0].path",
            "content.files[1].mode",
            "content.probe.argv",
            "content.probe.timeout_s",
            "content.mode",
            "content.on_remove"
        ]
    );
}
