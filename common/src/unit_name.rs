//! Names of systemd units, as commands may have them: what systemd could take for a
//! pattern, an option or a path is none.

/// Longest name that systemd takes.
const LONGEST: usize = 255;
/// What a command may act on. No targets and slices: through these a host is switched
/// to other states as a whole.
const ENDINGS: [&str; 7] = ["service", "socket", "timer", "path", "mount", "automount", "swap"];
/// Units that take the host down or to sleep.
const ENDS_HOST: [&str; 9] = [
    "systemd-reboot",
    "systemd-soft-reboot",
    "systemd-poweroff",
    "systemd-halt",
    "systemd-kexec",
    "systemd-suspend",
    "systemd-hibernate",
    "systemd-hybrid-sleep",
    "systemd-suspend-then-hibernate",
];

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a unit's name: up to {LONGEST} letters, digits and : _ . \\ @ -, the first a letter or digit, with \
     one of the endings .service, .socket, .timer, .path, .mount, .automount, .swap"
)]
pub struct Invalid(String);

/// Checks a name.
///
/// # Errors
/// If it is not one.
pub fn check(name: &str) -> Result<(), Invalid> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\@-".contains(&byte);
    let (stem, ending) = name.rsplit_once('.').unwrap_or(("", ""));
    let fits = name.len() <= LONGEST
        && name.bytes().all(is_plain)
        && stem.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && ENDINGS.contains(&ending);
    if fits { Ok(()) } else { Err(Invalid(name.chars().take(LONGEST).collect())) }
}

/// Whether starting a unit takes the host down or to sleep.
#[must_use]
pub fn ends_host(name: &str) -> bool {
    name.split_once('.').is_some_and(|(stem, _)| ENDS_HOST.contains(&stem))
}

/// Whether a pattern, in which `*` stands for any letters, covers a name.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_pattern_an_option_or_a_path_is_no_name() {
        for good in ["nginx.service", "app@1.service", "dev-sda1.swap", "a\\x2db.mount", "1.timer"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = format!("{}.service", "x".repeat(250));
        for bad in [
            "",
            "nginx",
            ".service",
            "-a.service",
            "a*.service",
            "a/b.service",
            "a.target",
            "a\n.service",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn units_that_end_the_host_are_known() {
        assert!(ends_host("systemd-poweroff.service") && !ends_host("systemd-networkd.service"));
    }

    #[test]
    fn a_star_stands_for_any_letters() {
        assert!(matches("*", "a.service") && matches("app-*.service", "app-1.service"));
        assert!(matches("a*b*c", "a1b2c") && matches("app.service", "app.service"));
        assert!(!matches("app-*.service", "app-1.timer") && !matches("app", "app.service"));
        assert!(!matches("", "a") && !matches("a*a", "a"));
    }
}
