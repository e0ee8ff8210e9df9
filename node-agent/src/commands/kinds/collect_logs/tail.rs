//! The end of a text, without its credentials.

use std::collections::VecDeque;

use crate::redaction::Redactor;

/// Keeps the newest lines of a text that comes in pieces.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    redactor: Redactor,
    kept: VecDeque<u8>,
    cut: u64,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, redactor: Redactor::default(), kept: VecDeque::new(), cut: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let lines = self.redactor.push(bytes);
        self.keep(&lines);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let fits = &bytes[bytes.len().saturating_sub(self.limit)..];
        let over = (self.kept.len() + fits.len()).saturating_sub(self.limit);
        self.kept.drain(..over);
        self.kept.extend(fits);
        self.cut += (over + bytes.len() - fits.len()) as u64;
    }

    /// The text, and whether it is not the whole: then a line before it says so.
    pub(super) fn finish(mut self) -> (Vec<u8>, bool) {
        let last = self.redactor.flush();
        self.keep(&last);
        if self.cut == 0 {
            return (self.kept.into(), false);
        }
        // What is left of a line says nothing.
        let half = self.kept.iter().position(|byte| *byte == b'\n').map_or(self.kept.len(), |at| at + 1);
        self.kept.drain(..half);
        let mut text = format!("[cut: {} bytes before this]\n", self.cut + half as u64).into_bytes();
        text.extend(self.kept);
        (text, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_lines_are_kept_and_what_was_cut_is_counted() {
        let text: String = (0..100).map(|n| format!("line {n:02}\n")).collect();
        let mut tail = Tail::new(20);
        text.as_bytes().chunks(7).for_each(|piece| tail.push(piece));
        let (kept, cut) = tail.finish();
        assert_eq!(
            (String::from_utf8(kept).unwrap().as_str(), cut),
            ("[cut: 784 bytes before this]\nline 98\nline 99\n", true)
        );
    }

    #[test]
    fn what_fits_is_kept_whole_and_without_credentials() {
        let mut tail = Tail::new(1000);
        tail.push(b"token=abc\nlast");
        assert_eq!(tail.finish(), (b"token=[redacted]\nlast".to_vec(), false));
        let mut none = Tail::new(0);
        none.push(b"x\n");
        assert_eq!(none.finish(), (b"[cut: 2 bytes before this]\n".to_vec(), true));
    }
}
