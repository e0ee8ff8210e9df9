//! What may stand in a bundle. A host checks the same again, and its lock file
//! beside it; what is refused here never gets that far.

mod files;

use crate::violation::Violation;

/// Most bytes in all files of a bundle.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most bytes of a whole content as it is sent, paths and hooks included: a
/// message to a host holds one.
pub const MAX_WHOLE: usize = 128 * 1024;
/// Most files of a bundle.
pub const MAX_FILES: usize = 64;
/// Longest time for a hook.
pub const MAX_HOOK_TIMEOUT_S: u32 = 600;
/// The capability of agents that know more of a file than path, content and mode.
pub const SECOND: &str = "bundle-v2";
/// Longest path and longest part of one, as Linux has them.
const MAX_PATH: usize = 4095;
const MAX_PATH_PART: usize = 255;
/// Most words of a hook and most bytes in all of them.
const MAX_ARGV: usize = 64;
const MAX_ARGV_BYTES: usize = 16 * 1024;

/// The content of a bundle, looked at and not copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content<'a> {
    /// Files to write.
    pub files: Vec<File<'a>>,
    /// Run before anything is swapped.
    pub validate: Option<Hook<'a>>,
    /// Run after the swap.
    pub on_change: Option<Hook<'a>>,
    /// Run last.
    pub probe: Option<Hook<'a>>,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct File<'a> {
    /// Where on the host.
    pub path: &'a str,
    /// Bytes of its content.
    pub size: usize,
    /// Permission bits; 0: the default.
    pub mode: u32,
    /// User, by name or number; empty: as it is, or the agent's.
    pub owner: &'a str,
    /// Group, likewise.
    pub group: &'a str,
    /// It must not be there.
    pub absent: bool,
    /// It is a folder.
    pub directory: bool,
}

/// A program run on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// 0: the default.
    pub timeout_s: u32,
}

/// What an agent must be capable of to bring a content onto its host whole: an
/// older one would pass over what it does not know.
#[must_use]
pub fn needs(content: &Content) -> &'static [&'static str] {
    let plain =
        |file: &File| file.owner.is_empty() && file.group.is_empty() && !file.absent && !file.directory;
    if content.files.iter().all(plain) { &[] } else { &[SECOND] }
}

/// Finds everything that is wrong with a content. Fields are named from the
/// content on: `content.files[2].path`.
///
/// # Errors
/// All faults, at least one.
pub fn check_content(content: &Content) -> Result<(), Vec<Violation>> {
    let mut faults = Vec::new();
    check_files(&content.files, &mut faults);
    let hooks = [("validate", content.validate), ("on_change", content.on_change), ("probe", content.probe)];
    for (name, hook) in hooks {
        if let Some(hook) = hook {
            check_hook(&format!("content.{name}"), hook, &mut faults);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Checks the size of a whole content, as it is sent.
///
/// # Errors
/// When it is too large.
pub fn check_whole(bytes: usize) -> Result<(), Violation> {
    if bytes <= MAX_WHOLE {
        return Ok(());
    }
    let text = format!("{bytes} bytes with paths and hooks; at most {MAX_WHOLE}");
    Err(Violation::too_large("content", text))
}

fn check_files(files: &[File], faults: &mut Vec<Violation>) {
    if files.is_empty() {
        faults.push(Violation::invalid("content.files", "a bundle has at least one file"));
    }
    if files.len() > MAX_FILES {
        faults.push(Violation::too_large("content.files", format!("at most {MAX_FILES} files")));
        return; // a fault for each of thousands helps nobody
    }
    let total = files.iter().map(|file| file.size).fold(0, usize::saturating_add);
    if total > MAX_BYTES {
        let text = format!("{total} bytes in all files; at most {MAX_BYTES}");
        faults.push(Violation::too_large("content.files", text));
    }
    files::check(files, faults);
}

fn path_fault(path: &str) -> Option<&'static str> {
    let Some(inner) = path.strip_prefix('/') else { return Some("it must be absolute: begin with '/'") };
    if path.len() > MAX_PATH {
        Some("it is longer than 4095 bytes")
    } else if path.chars().any(char::is_control) {
        Some("no control characters")
    } else if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("it must be in normal form: without '.', '..', '//' and '/' at its end")
    } else if inner.split('/').any(|part| part.len() > MAX_PATH_PART) {
        Some("a part of it is longer than 255 bytes")
    } else {
        None
    }
}

fn check_hook(field: &str, hook: Hook, faults: &mut Vec<Violation>) {
    let argv = format!("{field}.argv");
    match hook.argv.first() {
        None => faults.push(Violation::invalid(&argv, "it must name a program")),
        Some(program) => {
            if let Some(fault) = path_fault(program) {
                faults.push(Violation::invalid(format!("{argv}[0]"), fault));
            }
        }
    }
    let bytes = hook.argv.iter().map(String::len).fold(0, usize::saturating_add);
    if hook.argv.len() > MAX_ARGV || bytes > MAX_ARGV_BYTES {
        let text = format!("at most {MAX_ARGV} words with {MAX_ARGV_BYTES} bytes in all");
        faults.push(Violation::too_large(&argv, text));
    }
    if let Some(n) = hook.argv.iter().position(|word| word.contains('\0')) {
        faults.push(Violation::invalid(format!("{argv}[{n}]"), "no NUL characters"));
    }
    if hook.timeout_s > MAX_HOOK_TIMEOUT_S {
        let text = format!("at most {MAX_HOOK_TIMEOUT_S} seconds");
        faults.push(Violation::invalid(format!("{field}.timeout_s"), text));
    }
}

#[cfg(test)]
mod tests {
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
            validate: Some(Hook { argv: &argv, timeout_s: 600 }),
            on_change: None,
            probe: Some(Hook { argv: &probe, timeout_s: 0 }),
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
    fn size_and_number_are_bounded() {
        let paths: Vec<_> = (0..65).map(|n| format!("/f{n}")).collect();
        let files =
            |n: usize, size| paths[..n].iter().map(|path| File { path, size, ..File::default() }).collect();
        assert!(of_files(files(64, 1024)).is_empty());
        let too_many = check_content(&Content { files: files(65, 1), ..Content::default() }).unwrap_err();
        assert_eq!(too_many[0].reason, Reason::TooLarge);
        let too_large =
            check_content(&Content { files: files(2, 33 * 1024), ..Content::default() }).unwrap_err();
        assert_eq!(too_large[0].reason, Reason::TooLarge);
        assert_eq!(of_files(files(2, usize::MAX)), ["content.files"]);
        assert_eq!(of_files(vec![]), ["content.files"]);
    }

    #[test]
    fn hooks_name_a_program_by_its_absolute_path() {
        let check = |argv: &[&str], timeout_s| {
            let argv: Vec<_> = argv.iter().map(|word| (*word).to_owned()).collect();
            let hook = Some(Hook { argv: &argv, timeout_s });
            faults(&Content { files: vec![file("/x")], on_change: hook, ..Content::default() })
        };
        assert_eq!(check(&[], 0), ["content.on_change.argv"]);
        assert_eq!(check(&["nginx"], 0), ["content.on_change.argv[0]"]);
        assert_eq!(check(&["/bin/../bin/sh"], 0), ["content.on_change.argv[0]"]);
        assert_eq!(check(&["/bin/sh", "a\0b"], 0), ["content.on_change.argv[1]"]);
        assert_eq!(check(&["/bin/sh"], 601), ["content.on_change.timeout_s"]);
        assert_eq!(check(&["/x"; 65], 0), ["content.on_change.argv"]);
        assert_eq!(check(&["/bin/sh", &"x".repeat(16 * 1024)], 0), ["content.on_change.argv"]);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let content = Content {
            files: vec![file("x"), File { mode: 0o4755, ..file("/y") }],
            probe: Some(Hook { argv: &[], timeout_s: 9999 }),
            ..Content::default()
        };
        assert_eq!(
            faults(&content),
            [
                "content.files[0].path",
                "content.files[1].mode",
                "content.probe.argv",
                "content.probe.timeout_s"
            ]
        );
    }
}
