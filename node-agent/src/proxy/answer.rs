//! What a proxy answers to CONNECT, as far as it is read. Pure, and made for proxies that
//! mean harm: it is never longer than [`MAX`], and nothing of it is told but a status and
//! a phrase of printable characters.

/// Longest head of an answer.
pub const MAX: usize = 16 * 1024;
/// Longest phrase that is told.
const PHRASE: usize = 80;
/// How every answer begins.
const BEGIN: &[u8] = b"HTTP/1.";

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP, 100 to 999.
    pub status: u16,
    /// What it says, made printable and short.
    pub phrase: String,
}

/// It is not the answer of an HTTP proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbage {
    /// Another protocol.
    #[error("it does not answer with HTTP/1")]
    Protocol,
    /// HTTP, but broken.
    #[error("its answer has no status")]
    Status,
    /// It does not end.
    #[error("its answer has no end within {} KiB", MAX / 1024)]
    Endless,
    /// It speaks before it is spoken to.
    #[error("it sends more than it was asked for")]
    Extra,
}

/// Reads what has come so far. `None`: more must come.
///
/// # Errors
/// If no more can make it an answer.
pub fn read(bytes: &[u8]) -> Result<Option<Answer>, Garbage> {
    let begin = bytes.len().min(BEGIN.len());
    if bytes[..begin] != BEGIN[..begin] {
        return Err(Garbage::Protocol);
    }
    let end = bytes[..bytes.len().min(MAX)].windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else {
        return if bytes.len() < MAX { Ok(None) } else { Err(Garbage::Endless) };
    };
    let line = bytes[..end].split(|byte| *byte == b'\r').next().unwrap_or_default();
    let answer = status_line(line).ok_or(Garbage::Status)?;
    // A proxy that opened the way hears nothing from the other side before we have spoken.
    if answer.is_open() && bytes.len() > end + 4 {
        return Err(Garbage::Extra);
    }
    Ok(Some(answer))
}

/// `HTTP/1.1 200 Connection established`.
fn status_line(line: &[u8]) -> Option<Answer> {
    let rest = line.strip_prefix(BEGIN)?;
    let (version, rest) = rest.split_first()?;
    let rest = rest.strip_prefix(b" ")?;
    let (digits, rest) = rest.split_at_checked(3)?;
    let plain = version.is_ascii_digit() && digits.iter().all(u8::is_ascii_digit);
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let phrase = match rest {
        [] => b"",
        [b' ', phrase @ ..] => phrase,
        _ => return None,
    };
    (plain && status >= 100).then(|| Answer { status, phrase: printable(phrase) })
}

fn printable(phrase: &[u8]) -> String {
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' };
    phrase.iter().take(PHRASE).map(shown).collect::<String>().trim().to_owned()
}

impl Answer {
    /// The way is open.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.status / 100 == 2
    }
}
