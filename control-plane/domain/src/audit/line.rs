//! Records as lines of JSON, for those who check the audit without a store.
//!
//! One line, one record; ASCII only, so that no line shows anything but itself
//! on any terminal; digests and signatures in hexadecimal. What a line holds is
//! exactly what its hash or signature covers, and its place.

use muster_common::{clock::UnixMillis, digest::Sha256};
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Entry, Note, Placed, Record, Stamp, text::ascii};

/// No line of ours is longer.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

/// A line that is not a record.
#[derive(Debug, thiserror::Error)]
#[error("it is not a record of the audit")]
pub struct Invalid(#[from] serde_json::Error);

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    Entry {
        place: u64,
        replica: String,
        seq: u64,
        time_ms: i64,
        actor: String,
        action: String,
        remote_address: String,
        trace_id: String,
        subject: String,
        before: String,
        after: String,
        denied: bool,
        previous: Sha256,
        hash: Sha256,
    },
    Checkpoint {
        place: u64,
        trust_domain: String,
        replica: String,
        seq: u64,
        hash: Sha256,
        time_ms: i64,
        key_id: Sha256,
        #[serde(with = "hex::serde")]
        signature: Vec<u8>,
    },
}

/// The line of a record, its end not included.
#[must_use]
pub fn write(record: &Placed<Record>) -> String {
    let json = serde_json::to_string(&Line::from(record.clone()));
    let json = json.expect("fields of numbers and text always have a JSON form");
    // Outside of strings, JSON is ASCII: what is escaped here stands in a string.
    ascii(&json).into_owned()
}

/// The record of a line.
///
/// # Errors
/// If it is none, or holds more than a record.
pub fn read(line: &str) -> Result<Placed<Record>, Invalid> {
    Ok(serde_json::from_str::<Line>(line)?.into())
}

impl From<Placed<Record>> for Line {
    fn from((place, record): Placed<Record>) -> Self {
        match record {
            Record::Entry(Entry { replica, seq, stamp, note, previous, hash }) => Self::Entry {
                place,
                replica,
                seq,
                time_ms: stamp.at.0,
                actor: stamp.actor,
                action: stamp.action,
                remote_address: stamp.remote_address,
                trace_id: stamp.trace_id,
                subject: note.subject,
                before: note.before,
                after: note.after,
                denied: note.denied,
                previous,
                hash,
            },
            Record::Checkpoint(it) => Self::Checkpoint {
                place,
                trust_domain: it.trust_domain,
                replica: it.replica,
                seq: it.seq,
                hash: it.hash,
                time_ms: it.at.0,
                key_id: it.key_id,
                signature: it.signature,
            },
        }
    }
}

impl From<Line> for Placed<Record> {
    fn from(line: Line) -> Self {
        match line {
            Line::Entry {
                place,
                replica,
                seq,
                time_ms,
                actor,
                action,
                remote_address,
                trace_id,
                subject,
                before,
                after,
                denied,
                previous,
                hash,
            } => {
                let stamp = Stamp { actor, action, at: UnixMillis(time_ms), remote_address, trace_id };
                let note = Note { subject, before, after, denied };
                (place, Record::Entry(Entry { replica, seq, stamp, note, previous, hash }))
            }
            Line::Checkpoint { place, trust_domain, replica, seq, hash, time_ms, key_id, signature } => {
                let at = UnixMillis(time_ms);
                let checkpoint = Checkpoint { trust_domain, replica, seq, hash, at, key_id, signature };
                (place, Record::Checkpoint(checkpoint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{START, seal};

    fn entry(text: &str) -> Placed<Record> {
        let stamp = Stamp {
            actor: text.into(),
            action: text.into(),
            at: UnixMillis(-5),
            remote_address: text.into(),
            trace_id: text.into(),
        };
        let note = Note { subject: text.into(), before: text.into(), after: text.into(), denied: true };
        let hash = seal(text, 1, &stamp, &note, START);
        (9, Record::Entry(Entry { replica: text.into(), seq: 1, stamp, note, previous: START, hash }))
    }

    fn checkpoint(text: &str) -> Placed<Record> {
        let checkpoint = Checkpoint {
            trust_domain: text.into(),
            replica: text.into(),
            seq: 7,
            hash: Sha256::of(b"entry"),
            at: UnixMillis(5),
            key_id: Sha256::of(b"key"),
            signature: vec![0, 255, 16],
        };
        (9, Record::Checkpoint(checkpoint))
    }

    #[test]
    fn every_field_comes_back() {
        for text in ["", "a", "ü \"quoted\" \\ 🚀", "\u{1b}[2J\r\n\u{202e}\u{0}"] {
            for record in [entry(text), checkpoint(text)] {
                assert_eq!(read(&write(&record)).unwrap(), record);
            }
        }
    }

    #[test]
    fn no_field_can_leave_its_line_or_paint_the_terminal() {
        let hostile = "x\",\"denied\":false}\n{\"kind\":\"entry\"\r\u{1b}[31m\u{9b}\u{202e}\u{2028}\u{7f}ü";
        for record in [entry(hostile), checkpoint(hostile)] {
            let line = write(&record);
            assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
            assert_eq!(read(&line).unwrap(), record);
        }
    }

    #[test]
    fn a_line_with_more_or_less_than_a_record_is_none() {
        let line = write(&entry("a"));
        assert!(read(&line.replacen('{', "{\"note\":\"trust me\",", 1)).is_err(), "an unknown field");
        assert!(read(&line.replacen('{', "{\"seq\":1,", 1)).is_err(), "a repeated field");
        assert!(read(&line.replace("\"denied\":true,", "")).is_err(), "a missing field");
        assert!(read(&format!("{line}{line}")).is_err(), "two records");
        for line in ["", "{}", "null", "{\"kind\":\"other\"}"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
