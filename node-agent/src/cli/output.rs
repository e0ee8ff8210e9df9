//! How commands answer: results on standard output, everything else on standard error.
//!
//! Colour is only where a terminal is, and nobody asked for none. A reader that went away
//! is no error: what it does not want to read is not written.

use std::{
    ffi::OsStr,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use serde_json::Value;

/// How something is meant, and so how it looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Doubtful,
    Bad,
    /// Names, headings.
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Doubtful => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
            Self::Strong => "\x1b[1m",
        }
    }
}

/// What the common flags and the streams ask for. Cheap to copy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Output {
    json: bool,
    verbose: bool,
    /// On standard output and on standard error.
    colour: (bool, bool),
    /// Standard error is a terminal: a line may be written over.
    live: bool,
}

impl Output {
    pub(super) fn new(json: bool, no_color: bool, verbose: bool) -> Self {
        let wanted = !no_color && allows_colour(|name| std::env::var_os(name));
        let live = io::stderr().is_terminal();
        Self { json, verbose, colour: (wanted && io::stdout().is_terminal(), wanted && live), live }
    }

    /// Whether the answer is to be one JSON object.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// Whether more is to be told.
    pub(super) const fn is_verbose(self) -> bool {
        self.verbose
    }

    /// Whether a line on standard error may be written over.
    pub(super) const fn is_live(self) -> bool {
        self.live
    }

    /// One line of the answer.
    pub(super) fn line(self, text: &(impl Display + ?Sized)) {
        let _ = writeln!(io::stdout().lock(), "{text}");
    }

    /// The whole answer as one object, with the name and version of its shape.
    pub(super) fn document(self, schema: &str, answer: &Value) {
        let mut answer = answer.clone();
        if let Some(object) = answer.as_object_mut() {
            object.insert("schema".to_owned(), schema.into());
        }
        if io::stdout().is_terminal() { self.line(&format!("{answer:#}")) } else { self.line(&answer) }
    }

    /// One line beside the answer.
    pub(super) fn note(self, text: &(impl Display + ?Sized)) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Of the answer.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        painted(self.colour.0, tone, text)
    }

    /// Beside the answer.
    pub(super) fn paint_note(self, tone: Tone, text: &str) -> String {
        painted(self.colour.1, tone, text)
    }
}

fn painted(colour: bool, tone: Tone, text: &str) -> String {
    if colour { format!("{}{text}\x1b[0m", tone.code()) } else { text.to_owned() }
}

/// Whether the environment allows colour: https://no-color.org, and terminals that have none.
fn allows_colour<T: AsRef<OsStr>>(variable: impl Fn(&str) -> Option<T>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.as_ref().is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term.as_ref() != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_can_ask_for_no_colour() {
        let with = |name: &'static str, value: &'static str| {
            allows_colour(move |asked: &str| (asked == name).then_some(value))
        };
        assert!(with("TERM", "xterm") && with("NO_COLOR", ""));
        assert!(!with("NO_COLOR", "1") && !with("TERM", "dumb"));
        assert_eq!(painted(true, Tone::Good, "x"), "\x1b[32mx\x1b[0m");
        assert_eq!(painted(false, Tone::Good, "x"), "x");
    }
}
