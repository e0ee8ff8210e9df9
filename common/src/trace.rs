//! To which request something belongs, over processes and over time: W3C Trace Context.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

/// Most parts of one order that its host tells.
pub const OF_ORDER: usize = 32;

/// Of one request, and of all that comes of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Of one part of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpanId([u8; 8]);

/// The variable by which a program knows where it is in a trace.
pub const VARIABLE: &str = "TRACEPARENT";

/// A place in a trace: what follows from it is below this part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context {
    /// Which trace.
    pub trace: TraceId,
    /// Which part of it.
    pub span: SpanId,
    /// Whether anybody collects its parts.
    pub sampled: bool,
}

/// The text is no place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form 00-TRACE-SPAN-FLAGS")]
pub struct Invalid;

impl TraceId {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        // Sixteen zeros are no id, and as likely as two equal ids.
        Self(rand::random())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it is among this part of all ids, from 0 to 1: every process comes to the same
    /// answer.
    #[must_use]
    pub fn is_within(&self, ratio: f64) -> bool {
        let [.., a, b, c, d] = self.0;
        let place = f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0);
        place < ratio
    }
}

impl SpanId {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// The one of a part that can be named: whoever knows the trace and the name knows it.
    #[must_use]
    pub fn of(trace: &TraceId, name: &str) -> Self {
        let digest = Sha256::of_parts([trace.as_bytes().as_slice(), name.as_bytes()]);
        let mut id = [0; 8];
        id.copy_from_slice(&digest.as_bytes()[..8]);
        Self(id)
    }

    /// From the wire. `None`: it is none.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().filter(|id| *id != [0; 8]).map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl Context {
    /// The same trace, at another part of it.
    #[must_use]
    pub const fn at(self, span: SpanId) -> Self {
        Self { span, ..self }
    }

    /// The id, in the trace, of a part that a host counts as `given` in an order at this place: none
    /// of a host's can be that of others.
    #[must_use]
    pub fn part_of_host(&self, given: &[u8]) -> SpanId {
        SpanId::of(&self.trace, &format!("{}/{}", self.span, hex::encode(given)))
    }

    /// From a text that is empty, or whose parts somebody collects. `None`: nobody does.
    #[must_use]
    pub fn sampled(text: &str) -> Option<Self> {
        text.parse().ok().filter(|it: &Self| it.sampled)
    }
}

impl FromStr for Context {
    type Err = Invalid;

    /// Later versions may say more behind what the first one says.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits).ok_or(Invalid)?;
            let is_small = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            is_small.then_some(part).ok_or(Invalid)
        };
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(Invalid);
        }
        let (mut trace_id, mut span_id, mut flag) = ([0; 16], [0; 8], [0]);
        hex::decode_to_slice(trace, &mut trace_id).map_err(|_| Invalid)?;
        hex::decode_to_slice(span, &mut span_id).map_err(|_| Invalid)?;
        hex::decode_to_slice(flags, &mut flag).map_err(|_| Invalid)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return Err(Invalid);
        }
        Ok(Self { trace: TraceId(trace_id), span: SpanId(span_id), sampled: flag[0] & 1 == 1 })
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-0{}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl TryFrom<String> for SpanId {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        let mut id = [0; 8];
        hex::decode_to_slice(text, &mut id).map_err(|_| Invalid)?;
        Ok(Self(id))
    }
}

impl From<SpanId> for String {
    fn from(id: SpanId) -> Self {
        hex::encode(id.0)
    }
}

macro_rules! shown_in_hex {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

shown_in_hex! { TraceId SpanId }

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_place_in_a_trace_is_written_as_it_was_read() {
        let read: Context = WHOLE.parse().unwrap();
        assert!(read.sampled);
        assert_eq!(read.to_string(), WHOLE);
        let unsampled: Context = WHOLE.replace("-01", "-00").parse().unwrap();
        assert!(!unsampled.sampled && Context::sampled(&unsampled.to_string()).is_none());
        assert_eq!(Context::sampled(WHOLE), Some(read));
        let other = read.at(SpanId::of(&read.trace, "command/1"));
        assert_eq!(other.to_string().parse(), Ok(other));
    }

    #[test]
    fn what_is_malformed_is_no_place() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_eq!(text.parse::<Context>(), Err(Invalid), "{text:?}");
        }
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(later.parse::<Context>().is_ok(), "a later version may say more");
    }

    #[test]
    fn a_ratio_takes_its_part_of_all_traces_and_the_same_everywhere() {
        let ids: Vec<TraceId> = (0..4000).map(|_| TraceId::generate()).collect();
        let count = |ratio| ids.iter().filter(|id| id.is_within(ratio)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 4000));
        assert!((800..1200).contains(&count(0.25)), "{}", count(0.25));
        assert!(ids.iter().all(|id| !id.is_within(0.1) || id.is_within(0.2)), "more takes those of less");
    }

    #[test]
    fn a_part_has_the_same_id_for_all_who_can_name_it() {
        let (one, other) = (TraceId::generate(), TraceId::generate());
        assert_eq!(SpanId::of(&one, "a"), SpanId::of(&one, "a"));
        assert_ne!(SpanId::of(&one, "a"), SpanId::of(&one, "b"));
        assert_ne!(SpanId::of(&one, "a"), SpanId::of(&other, "a"));
    }
}
