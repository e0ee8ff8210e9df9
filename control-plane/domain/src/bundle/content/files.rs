//! The files of a bundle: each for itself, and whether any two are in each other's way.

use std::collections::BTreeMap;

use super::{File, path_fault};
use crate::violation::Violation;

/// Longest name of a user or group, as most hosts have it.
const MAX_NAME: usize = 32;
/// Bytes of a digest.
const SHA256: usize = 32;

/// Finds what is wrong with the files, in their order.
pub(super) fn check(files: &[File], faults: &mut Vec<Violation>) {
    let mut taken = BTreeMap::new();
    for (n, file) in files.iter().enumerate() {
        let mut fault = |field: &str, text: &str| {
            faults.push(Violation::invalid(format!("content.files[{n}].{field}"), text));
        };
        if let Some(text) = path_fault(file.path) {
            fault("path", text);
        } else if taken.insert(file.path, file.directory).is_some() {
            fault("path", "a file before has the same path");
        }
        if let Some(text) = mode_fault(file.mode) {
            fault("mode", text);
        }
        if !is_account(file.owner) {
            fault("owner", ACCOUNT);
        }
        if !is_account(file.group) {
            fault("group", ACCOUNT);
        }
        if let Some((field, text)) = kind_fault(file) {
            fault(field, text);
        }
        if let Some(blob) = file.blob.filter(|blob| blob.sha256.len() != SHA256) {
            fault("blob.sha256", &format!("it has {} bytes; a SHA-256 has {SHA256}", blob.sha256.len()));
        }
    }
    for (n, file) in files.iter().enumerate() {
        let blocked = |parent: &&str| taken.get(parent).is_some_and(|directory| !directory);
        if let Some(parent) = parents(file.path).find(blocked) {
            let text = format!("it lies inside {parent:?}, which is a file of this bundle");
            faults.push(Violation::invalid(format!("content.files[{n}].path"), text));
        }
    }
}

/// The folders above a path, nearest first, without the root.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(parent, _)| parent.rsplit_once('/'))
        .map(|(parent, _)| parent)
        .filter(|parent| !parent.is_empty())
}

const fn mode_fault(mode: u32) -> Option<&'static str> {
    match mode {
        0..=0o777 => None,
        0o1000..=0o7777 => Some("set-user-id, set-group-id and sticky bits are refused"),
        _ => Some("it must be permission bits: at most octal 0777"),
    }
}

const ACCOUNT: &str = "it must be a name as hosts have them, or a number below 4294967295";

/// Whether a user or group can be called so; empty is nobody in particular.
fn is_account(name: &str) -> bool {
    let Some(first) = name.bytes().next() else { return true };
    if first.is_ascii_digit() {
        // The largest number says "leave it as it is" to the kernel.
        return name.bytes().all(|b| b.is_ascii_digit())
            && name.parse::<u32>().is_ok_and(|number| number != u32::MAX);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    name.len() <= MAX_NAME
        && (first.is_ascii_alphabetic() || first == b'_')
        && name.strip_suffix('$').unwrap_or(name).bytes().all(plain)
}

/// What does not go together in one entry.
const fn kind_fault(file: &File) -> Option<(&'static str, &'static str)> {
    if file.absent && file.directory {
        return Some(("absent", "only files can be absent, not folders"));
    }
    let has_content = file.size > 0 || file.blob.is_some();
    let has_rights = file.mode != 0 || !file.owner.is_empty() || !file.group.is_empty();
    if file.absent && (has_content || has_rights) {
        return Some(("absent", "what is absent has neither content nor mode, owner or group"));
    }
    if file.directory && has_content {
        return Some((if file.size > 0 { "content" } else { "blob" }, "a folder has none"));
    }
    if file.size > 0 && file.blob.is_some() {
        return Some(("blob", "a file has either content or a blob"));
    }
    protected_fault(file)
}

/// What is wrong with an entry that is protected, or half so.
const fn protected_fault(file: &File) -> Option<(&'static str, &'static str)> {
    let keeps = !file.protected_id.is_empty();
    match (file.protected, keeps) {
        (false, true) => Some(("protected_id", "only a protected file has one")),
        (true, _) if file.absent || file.directory => Some(("protected", "only a file can be")),
        (true, _) if file.blob.is_some() => Some(("blob", "the content of a protected file is no blob")),
        (true, true) if file.size > 0 => Some(("protected_id", "either this stays, or the content is new")),
        (true, false) if file.size == 0 => {
            Some(("content", "a protected file has content, or the protected_id of the one that stays"))
        }
        (true, _) if file.mode & 0o007 != 0 => Some(("mode", "a protected file gives others nothing")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::FileBlob, *};

    fn faults(files: &[File]) -> Vec<String> {
        let mut faults = Vec::new();
        check(files, &mut faults);
        faults.into_iter().map(|fault| fault.field).collect()
    }

    fn file(path: &str) -> File<'_> {
        File { path, size: 1, ..File::default() }
    }

    fn folder(path: &str) -> File<'_> {
        File { path, directory: true, ..File::default() }
    }

    #[test]
    fn no_two_files_are_in_each_others_way() {
        assert_eq!(faults(&[file("/a/b"), file("/c"), file("/a/b")]), ["content.files[2].path"]);
        assert_eq!(faults(&[file("/a/b/c/d"), file("/a/b")]), ["content.files[0].path"]);
        assert!(faults(&[file("/a/b"), file("/a/bc"), file("/a/c")]).is_empty());
        assert!(faults(&[file("/a/b/c"), folder("/a/b"), folder("/a")]).is_empty());
        let absent = File { absent: true, ..File::default() };
        assert_eq!(faults(&[file("/a/b"), File { path: "/a", ..absent }]), ["content.files[0].path"]);
    }

    #[test]
    fn modes_are_permission_bits_only() {
        for mode in [0o1000, 0o2755, 0o4755, 0o7777, 0o10000, u32::MAX] {
            assert_eq!(faults(&[File { mode, ..file("/x") }]), ["content.files[0].mode"], "{mode:o}");
        }
        assert!(faults(&[File { mode: 0o777, ..file("/x") }]).is_empty());
    }

    #[test]
    fn owners_are_names_or_numbers() {
        for name in ["", "root", "_apt", "www-data", "svc.app", "host$", "0", "65534"] {
            assert!(faults(&[File { owner: name, group: name, ..file("/x") }]).is_empty(), "{name}");
        }
        let long = "a".repeat(33);
        for name in ["-x", "a b", "a:b", "1x", "4294967295", "99999999999", "$", "é", &long, "a\n"] {
            assert_eq!(faults(&[File { owner: name, ..file("/x") }]), ["content.files[0].owner"], "{name}");
            assert_eq!(faults(&[File { group: name, ..file("/x") }]), ["content.files[0].group"], "{name}");
        }
    }

    #[test]
    fn an_entry_is_a_file_a_folder_or_absent() {
        let absent = File { path: "/x", absent: true, ..File::default() };
        assert!(faults(&[absent]).is_empty());
        let blob = Some(FileBlob { sha256: &[0; 32], size_bytes: 0 });
        let wrong = [
            File { size: 1, ..absent },
            File { blob, ..absent },
            File { mode: 0o644, ..absent },
            File { owner: "root", ..absent },
            File { group: "root", ..absent },
            File { directory: true, ..absent },
        ];
        for file in wrong {
            assert_eq!(faults(&[file]), ["content.files[0].absent"], "{file:?}");
        }
        assert_eq!(faults(&[File { size: 1, ..folder("/x") }]), ["content.files[0].content"]);
        assert_eq!(faults(&[File { blob, ..folder("/x") }]), ["content.files[0].blob"]);
        assert_eq!(faults(&[File { blob, ..file("/x") }]), ["content.files[0].blob"], "not beside content");
        assert!(faults(&[File { blob, size: 0, ..file("/x") }]).is_empty());
        let short = Some(FileBlob { sha256: &[0; 31], size_bytes: 1 });
        assert_eq!(faults(&[File { blob: short, size: 0, ..file("/x") }]), ["content.files[0].blob.sha256"]);
    }

    #[test]
    fn what_is_protected_is_a_file_with_a_content_that_others_do_not_read() {
        let given = File { protected: true, ..file("/x") };
        let kept = File { size: 0, protected_id: "some", ..given };
        for right in [given, kept, File { mode: 0o640, ..given }] {
            assert!(faults(&[right]).is_empty(), "{right:?}");
        }
        let wrong = [
            (File { size: 0, ..given }, "content"),
            (File { size: 1, ..kept }, "protected_id"),
            (File { protected: false, ..kept }, "protected_id"),
            (File { mode: 0o644, ..given }, "mode"),
            (File { blob: Some(FileBlob { sha256: &[7; 32], size_bytes: 1 }), ..kept }, "blob"),
            (File { mode: 0o601, ..kept }, "mode"),
            (File { protected: true, ..folder("/x") }, "protected"),
            (File { size: 0, absent: true, ..given }, "protected"),
        ];
        for (file, field) in wrong {
            assert_eq!(faults(&[file]), [format!("content.files[0].{field}")], "{file:?}");
        }
    }
}
