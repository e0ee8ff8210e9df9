//! Takes credentials out of what a host says, by how they look.
//!
//! Bytes go in as they come and come out line by line, each as it was but for what
//! looks like a password, a token or a private key: [`MARK`] stands there. What is not
//! text goes through as it is. No pattern knows every secret: this makes an accident
//! harmless, and is no reason to print one.

mod patterns;

use std::borrow::Cow;

/// What stands where a credential was.
pub const MARK: &str = "[redacted]";

/// A line that is longer is looked at in parts.
const LINE: usize = 64 * 1024;
/// Of a part that was passed on, as much is kept to see what goes on from it.
const OVERLAP: usize = 4 * 1024;
/// A private key that does not end is none after so many bytes.
const KEY: usize = 32 * 1024;

/// Redacts a stream. What it has taken and not given is less than a line.
#[derive(Debug, Default)]
pub struct Redactor {
    /// The line that is not over, as it came.
    line: Vec<u8>,
    /// What was passed on of that line.
    said: Vec<u8>,
    /// Within a private key: how many bytes of it have come.
    key: Option<usize>,
}

impl Redactor {
    /// Takes bytes; gives the lines that are over, without their credentials.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            let room = LINE - self.line.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n').map(|at| at + 1);
            let (now, later) = bytes.split_at(end.unwrap_or(room.min(bytes.len())));
            self.line.extend_from_slice(now);
            bytes = later;
            if end.is_some() {
                self.say(&mut out);
                self.line.clear();
                self.said.clear();
            } else if self.line.len() == LINE {
                self.say(&mut out);
                self.forget();
            }
        }
        out
    }

    /// Gives what there is of a line that is not over: someone waits for it, or it is
    /// the last. A credential that is cut by it is seen if its beginning looks like one.
    pub fn flush(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.say(&mut out);
        out
    }

    /// Passes on what of the line was not.
    fn say(&mut self, out: &mut Vec<u8>) {
        let over = self.line.last() == Some(&b'\n');
        let before = self.key;
        let now = self.redact_line();
        if !over {
            self.key = before; // decided when the line is over
        }
        let same = now.iter().zip(&self.said).take_while(|(now, said)| now == said).count();
        out.extend_from_slice(&now[same..]);
        self.said = now;
    }

    /// Keeps only the end of a part that was passed on.
    fn forget(&mut self) {
        self.redact_line(); // whether a key began in it
        self.line.drain(..LINE - OVERLAP);
        let before = self.key;
        self.said = self.redact_line();
        self.key = before;
    }

    fn redact_line(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.line.len());
        let mut rest = self.line.as_slice();
        loop {
            if let Some(seen) = self.key {
                let Some(after) = patterns::key_end(rest) else {
                    let seen = seen + rest.len();
                    self.key = (seen < KEY).then_some(seen);
                    return out;
                };
                self.key = None;
                rest = &rest[after..];
            }
            let Some(after) = patterns::key_begin(rest) else {
                out.extend_from_slice(&patterns::redact(rest));
                return out;
            };
            out.extend_from_slice(&patterns::redact(&rest[..after]));
            out.extend_from_slice(MARK.as_bytes());
            if rest[after..].ends_with(b"\n") && patterns::key_end(&rest[after..]).is_none() {
                out.push(b'\n');
            }
            rest = &rest[after..];
            self.key = Some(0);
        }
    }
}

/// A whole text without its credentials.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut redactor = Redactor::default();
    let mut out = redactor.push(text.as_bytes());
    out.extend(redactor.flush());
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(same) => same.to_owned(),
        Cow::Owned(mended) => mended,
    }
}

#[cfg(test)]
mod tests;
