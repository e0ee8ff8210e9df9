//! Text of callers and hosts in the audit: of bounded length, and unable to
//! forge a line, a colour or an order of reading, wherever it is shown.

use std::{borrow::Cow, fmt::Write as _};

use muster_common::digest::Sha256;

use super::{Note, Stamp};

/// Most bytes of a name, an address, an action.
const MAX_WORD: usize = 1024;
/// Most bytes of what was before or after.
const MAX_JSON: usize = 64 * 1024;
/// What is kept of a longer one.
const HEAD: usize = 512;

impl Stamp {
    /// The same, as it may be written down.
    #[must_use]
    pub fn bounded(&self) -> Self {
        Self {
            actor: word(&self.actor),
            action: word(&self.action),
            at: self.at,
            remote_address: word(&self.remote_address),
            trace_id: word(&self.trace_id),
        }
    }
}

impl Note {
    /// The same, as it may be written down.
    #[must_use]
    pub fn bounded(&self) -> Self {
        Self {
            subject: word(&self.subject),
            before: json(&self.before),
            after: json(&self.after),
            denied: self.denied,
        }
    }
}

/// Text in which every character that a terminal or a reader would obey rather
/// than see is written as JSON writes it: `\u001b`. In JSON text it means the
/// same as before.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, is_hostile)
}

/// The same for everything that is not ASCII, too.
#[must_use]
pub fn ascii(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !c.is_ascii() || is_hostile(c))
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_bad(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// Control characters; what turns the order of reading; what is not seen; other
/// ends of lines.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A word: the start of a longer one, with the digest of all of it.
fn word(text: &str) -> String {
    let shown = plain(text);
    if shown.len() <= MAX_WORD {
        return shown.into_owned();
    }
    format!("{}… ({} bytes, sha256 {})", head(&shown), text.len(), Sha256::of(text.as_bytes()))
}

/// JSON: in place of a longer one, what tells it from others.
fn json(text: &str) -> String {
    let shown = plain(text);
    if shown.len() <= MAX_JSON {
        return shown.into_owned();
    }
    let cut = serde_json::json!({
        "cut": { "bytes": text.len(), "sha256": Sha256::of(text.as_bytes()), "start": head(&shown) }
    });
    cut.to_string()
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(HEAD)]
}

#[cfg(test)]
mod tests {
    use muster_common::clock::UnixMillis;

    use super::*;

    const HOSTILE: [(&str, &str); 8] = [
        ("line\nfeed\r", r"line\u000afeed\u000d"),
        ("\u{1b}[2Jansi", r"\u001b[2Jansi"),
        ("bell\u{7}\u{0}\u{7f}", r"bell\u0007\u0000\u007f"),
        ("csi\u{9b}31m", r"csi\u009b31m"),
        ("bidi\u{202e}txt.exe\u{2066}", r"bidi\u202etxt.exe\u2066"),
        ("mark\u{200f}\u{61c}", r"mark\u200f\u061c"),
        ("lines\u{2028}\u{85}", r"lines\u2028\u0085"),
        ("hidden\u{e0041}\u{feff}", r"hidden\udb40\udc41\ufeff"),
    ];

    fn stamp(text: &str) -> Stamp {
        Stamp {
            actor: text.into(),
            action: text.into(),
            at: UnixMillis(1),
            remote_address: text.into(),
            trace_id: text.into(),
        }
    }

    fn fields(text: &str) -> [String; 5] {
        let stamp = stamp(text).bounded();
        let note = Note { subject: text.into(), ..Note::default() }.bounded();
        [stamp.actor, stamp.action, stamp.remote_address, stamp.trace_id, note.subject]
    }

    #[test]
    fn no_field_keeps_what_a_terminal_would_obey() {
        for (text, shown) in HOSTILE {
            for field in fields(text) {
                assert_eq!(field, shown);
            }
        }
        for field in fields("ordinary: Müller, 東京, 🚀 \"quoted\" \\ back") {
            assert_eq!(field, "ordinary: Müller, 東京, 🚀 \"quoted\" \\ back");
        }
    }

    #[test]
    fn json_means_the_same_after_it() {
        for (text, _) in HOSTILE {
            let value = serde_json::json!({ "reason": text });
            let note =
                Note { before: value.to_string(), after: value.to_string(), ..Note::default() }.bounded();
            for field in [note.before, note.after] {
                assert!(field.chars().all(|c| !is_hostile(c)), "{field:?}");
                assert_eq!(serde_json::from_str::<serde_json::Value>(&field).unwrap(), value);
            }
        }
    }

    #[test]
    fn a_mebibyte_in_any_field_is_cut_and_named() {
        let huge = "ü".repeat(512 * 1024);
        let digest = Sha256::of(huge.as_bytes()).to_string();
        for field in fields(&huge) {
            assert!(field.len() < 1024, "{}", field.len());
            assert!(field.starts_with("üü") && field.contains("1048576 bytes") && field.contains(&digest));
        }
        let value = serde_json::json!({ "reason": huge }).to_string();
        let note = Note { before: value.clone(), after: value.clone(), ..Note::default() }.bounded();
        for field in [note.before, note.after] {
            let cut: serde_json::Value = serde_json::from_str(&field).unwrap();
            assert_eq!(cut["cut"]["bytes"], value.len());
            assert_eq!(cut["cut"]["sha256"], Sha256::of(value.as_bytes()).to_string());
            assert!(field.len() < 2048);
        }
    }

    #[test]
    fn escapes_that_grow_are_bounded_too() {
        for field in fields(&"\u{1b}".repeat(1024)) {
            assert!(field.len() < 1024, "{}", field.len());
        }
    }

    #[test]
    fn ascii_is_ascii() {
        assert_eq!(ascii("ü🚀\n"), r"\u00fc\ud83d\ude80\u000a");
        assert!(matches!(ascii("plain"), Cow::Borrowed(_)));
    }
}
