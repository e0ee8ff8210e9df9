//! Why a node is in its state, in one word: there may be a million nodes.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize};

/// One stable CamelCase word: `HeartbeatMissed`. Those that are given here take no memory of
/// their own; one that another version has written down does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Word(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    /// Its place in `WORDS`.
    Ours(u8),
    Other(Box<str>),
}

/// Why a node is in its first state.
pub const ENROLLED: &str = "Enrolled";
/// Why a node is offline whose stream is open.
pub const SILENT: &str = "Silent";
/// Why a node is unknown.
pub const AWAY: &str = "ControlPlaneAway";
/// Why a node is unknown that was told to go to another replica.
pub(super) const MOVED: &str = "NotBackFromMove";

/// Why a node is unknown whose stream broke together with many.
pub(super) const CROWD: &str = "NotBackFromCrowd";

/// The reasons that are given here.
pub const WORDS: [&str; 18] = [
    ENROLLED,
    "Connected",
    "HeartbeatReceived",
    "StreamClosed",
    "Goodbye",
    "HeartbeatMissed",
    SILENT,
    "DidNotReturn",
    "DidNotReturnFromReboot",
    "AgentStopped",
    "Disconnected",
    AWAY,
    MOVED,
    CROWD,
    "CertificateExpired",
    "CertificateRenewed",
    "Quarantined",
    "Released",
];

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        let ours = WORDS.into_iter().zip(0..).find(|(word, _)| *word == text);
        Self(ours.map_or_else(|| Form::Other(text.into()), |(_, place)| Form::Ours(place)))
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.to_string()
    }
}

impl Deref for Word {
    type Target = str;
    fn deref(&self) -> &str {
        match &self.0 {
            Form::Ours(place) => WORDS[usize::from(*place)],
            Form::Other(text) => text,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_was_written_whoever_wrote_it() {
        for text in WORDS.into_iter().chain(["", "OfAnotherVersion"]) {
            let word = Word::from(text);
            assert_eq!((&*word, word.to_string()), (text, text.to_owned()));
            let json = serde_json::to_string(&word).expect("JSON");
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Word>(&json).expect("a word"), word);
        }
        assert!(matches!(Word::from("Silent").0, Form::Ours(_)), "it takes no memory");
    }
}
