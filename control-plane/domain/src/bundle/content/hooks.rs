//! The programs of a bundle.

use std::collections::BTreeMap;

use super::{Hook, path_fault};
use crate::violation::Violation;

/// Longest time for a hook.
pub const MAX_HOOK_TIMEOUT_S: u32 = 600;
/// Most words of a hook and most bytes in all of them.
const MAX_ARGV: usize = 64;
const MAX_ARGV_BYTES: usize = 16 * 1024;
/// Most variables of a hook and most bytes in all of them, names included.
const MAX_VARIABLES: usize = 64;
const MAX_VARIABLES_BYTES: usize = 16 * 1024;
/// Names that begin so are the agent's to say.
const OURS: &str = "MUSTER_";

/// Finds what is wrong with a hook. `field`: what its fields are named from.
pub(super) fn check(field: &str, hook: Hook, faults: &mut Vec<Violation>) {
    check_argv(&format!("{field}.argv"), hook.argv, faults);
    if hook.timeout_s > MAX_HOOK_TIMEOUT_S {
        let text = format!("at most {MAX_HOOK_TIMEOUT_S} seconds");
        faults.push(Violation::invalid(format!("{field}.timeout_s"), text));
    }
    let folder = hook.working_directory;
    if let Some(fault) = path_fault(folder).filter(|_| !matches!(folder, "" | "/")) {
        faults.push(Violation::invalid(format!("{field}.working_directory"), fault));
    }
    check_environment(&format!("{field}.environment"), hook.environment, faults);
}

fn check_argv(field: &str, argv: &[String], faults: &mut Vec<Violation>) {
    match argv.first() {
        None => faults.push(Violation::invalid(field, "it must name a program")),
        Some(program) => {
            if let Some(fault) = path_fault(program) {
                faults.push(Violation::invalid(format!("{field}[0]"), fault));
            }
        }
    }
    let bytes = argv.iter().map(String::len).fold(0, usize::saturating_add);
    if argv.len() > MAX_ARGV || bytes > MAX_ARGV_BYTES {
        let text = format!("at most {MAX_ARGV} words with {MAX_ARGV_BYTES} bytes in all");
        faults.push(Violation::too_large(field, text));
    }
    if let Some(n) = argv.iter().position(|word| word.contains('\0')) {
        faults.push(Violation::invalid(format!("{field}[{n}]"), "no NUL characters"));
    }
}

fn check_environment(field: &str, environment: &BTreeMap<String, String>, faults: &mut Vec<Violation>) {
    let bytes =
        environment.iter().map(|(name, value)| name.len() + value.len()).fold(0, usize::saturating_add);
    if environment.len() > MAX_VARIABLES || bytes > MAX_VARIABLES_BYTES {
        let text = format!("at most {MAX_VARIABLES} variables with {MAX_VARIABLES_BYTES} bytes in all");
        faults.push(Violation::too_large(field, text));
        return; // a fault for each of thousands helps nobody
    }
    for (name, value) in environment {
        if let Some(text) = variable_fault(name, value) {
            let name: String = name.chars().take(64).collect();
            faults.push(Violation::invalid(format!("{field}[{name:?}]"), text));
        }
    }
}

fn variable_fault(name: &str, value: &str) -> Option<&'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = name.bytes().next();
    if !name.bytes().all(plain) || first.is_none_or(|first| first.is_ascii_digit()) {
        Some("a name has letters, digits and '_', and begins with no digit")
    } else if name.starts_with(OURS) {
        Some("names that begin with MUSTER_ are the agent's")
    } else if value.contains('\0') {
        Some("no NUL characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(hook: Hook) -> Vec<String> {
        let mut faults = Vec::new();
        check("content.on_change", hook, &mut faults);
        faults.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn hooks_name_a_program_by_its_absolute_path() {
        let check = |argv: &[&str], timeout_s| {
            let argv: Vec<_> = argv.iter().map(|word| (*word).to_owned()).collect();
            faults(Hook { argv: &argv, timeout_s, ..Hook::default() })
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
    fn a_working_directory_is_absolute_and_in_normal_form() {
        let argv = ["/bin/true".to_owned()];
        let check = |working_directory| faults(Hook { argv: &argv, working_directory, ..Hook::default() });
        assert!(["", "/", "/srv/app"].into_iter().all(|folder| check(folder).is_empty()));
        for folder in ["srv", "/srv/", "/srv/../etc", "//"] {
            assert_eq!(check(folder), ["content.on_change.working_directory"], "{folder}");
        }
    }

    #[test]
    fn variables_have_names_that_a_shell_can_say() {
        let argv = ["/bin/true".to_owned()];
        let check = |name: &str, value: &str| {
            let environment = [(name.to_owned(), value.to_owned())].into();
            faults(Hook { argv: &argv, environment: &environment, ..Hook::default() })
        };
        assert!(["A", "_", "PATH", "a1"].into_iter().all(|name| check(name, "x\ny").is_empty()));
        for name in ["", "1A", "A-B", "A=B", "é", "MUSTER_ITEM"] {
            assert_eq!(check(name, ""), [format!("content.on_change.environment[{name:?}]")]);
        }
        assert_eq!(check("A", "\0"), ["content.on_change.environment[\"A\"]"]);
        assert_eq!(check("A", &"x".repeat(16 * 1024)), ["content.on_change.environment"]);
    }
}
