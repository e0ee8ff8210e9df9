//! The end of a text, without its credentials.

use std::{collections::VecDeque, io::Read};

use crate::redaction::Redactor;

/// Keeps the newest lines of a text that comes in pieces.
#[derive(Debug)]
pub(in crate::commands) struct Tail {
    limit: usize,
    redactor: Redactor,
    kept: VecDeque<u8>,
    cut: u64,
}

/// What is left of a text, with a line before it if it is not the whole.
#[derive(Debug)]
pub(in crate::commands) struct Text {
    mark: Vec<u8>,
    kept: VecDeque<u8>,
}

impl Text {
    pub(in crate::commands) fn is_cut(&self) -> bool {
        !self.mark.is_empty()
    }

    pub(in crate::commands) fn len(&self) -> u64 {
        (self.mark.len() + self.kept.len()) as u64
    }

    /// Its bytes, from where they lie: there can be many.
    pub(in crate::commands) fn bytes(&self) -> impl Read {
        let (first, second) = self.kept.as_slices();
        self.mark.as_slice().chain(first).chain(second)
    }
}

impl Tail {
    pub(in crate::commands) fn new(limit: usize) -> Self {
        Self { limit, redactor: Redactor::default(), kept: VecDeque::new(), cut: 0 }
    }

    pub(in crate::commands) fn push(&mut self, bytes: &[u8]) {
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

    pub(in crate::commands) fn finish(mut self) -> Text {
        let last = self.redactor.flush();
        self.keep(&last);
        if self.cut == 0 {
            return Text { mark: Vec::new(), kept: self.kept };
        }
        // What is left of a line says nothing.
        let half = self.kept.iter().position(|byte| *byte == b'\n').map_or(self.kept.len(), |at| at + 1);
        self.kept.drain(..half);
        let mark = format!("[cut: {} bytes before this]\n", self.cut + half as u64).into_bytes();
        Text { mark, kept: self.kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &Text) -> (String, bool) {
        let mut read = String::new();
        text.bytes().read_to_string(&mut read).unwrap();
        assert_eq!(text.len(), read.len() as u64);
        (read, text.is_cut())
    }

    #[test]
    fn the_newest_whole_lines_are_kept_and_what_was_cut_is_counted() {
        let text: String = (0..100).map(|n| format!("line {n:02}\n")).collect();
        let mut tail = Tail::new(20);
        text.as_bytes().chunks(7).for_each(|piece| tail.push(piece));
        let text = "[cut: 784 bytes before this]\nline 98\nline 99\n".to_owned();
        assert_eq!(read(&tail.finish()), (text, true));
    }

    #[test]
    fn what_fits_is_kept_whole_and_without_credentials() {
        let mut tail = Tail::new(1000);
        tail.push(b"token=abc\nlast");
        assert_eq!(read(&tail.finish()), ("token=[redacted]\nlast".to_owned(), false));
        let mut none = Tail::new(0);
        none.push(b"x\n");
        assert_eq!(read(&none.finish()), ("[cut: 2 bytes before this]\n".to_owned(), true));
    }
}
