//! Pages of lists: how many, and after what. Tokens that callers hold between
//! calls: opaque to them, bound to what they asked.

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use muster_common::digest::Sha256;

/// Rows of a page when the caller does not say.
pub const DEFAULT_SIZE: u32 = 100;
/// Most rows of a page; a caller who asks for more gets this many.
pub const MAX_SIZE: u32 = 1000;
/// Longest token worth decoding.
const MAX_TOKEN: usize = 2048;
const PAGE_V1: u8 = 1;
const RESUME_V1: u8 = 0x81;

/// One page of a list, by a key that rises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most this many.
    pub size: u32,
    /// Only what comes after this key; `None`: from the start.
    pub after: Option<String>,
}

/// What a page holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// In order.
    pub rows: Vec<T>,
    /// Key of the last row if more follow.
    pub next: Option<String>,
}

/// A caller asked for a negative number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("page_size is {0}; it must be 0 (for {DEFAULT_SIZE}) or more")]
pub struct InvalidSize(pub i32);

/// The text is not a token for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Nothing this release has made.
    #[error("the token is not one that this server gave out")]
    Malformed,
    /// Made for a request with another filter, order or parent.
    #[error("the token belongs to another request; send the same request again with only the token changed")]
    OtherRequest,
}

impl Page {
    /// The page a request asks for. An empty token is the first page.
    ///
    /// # Errors
    /// When the token is not one for this request.
    pub fn resume(size: u32, token: &str, fingerprint: Sha256) -> Result<Self, InvalidToken> {
        let after = if token.is_empty() { None } else { Some(decode_token(token, fingerprint)?) };
        Ok(Self { size, after })
    }
}

/// How many rows a request gets: 0 means the default, too many means the most.
///
/// # Errors
/// When the number is negative.
pub const fn size(asked: i32) -> Result<u32, InvalidSize> {
    match asked {
        ..0 => Err(InvalidSize(asked)),
        0 => Ok(DEFAULT_SIZE),
        #[expect(clippy::cast_sign_loss, reason = "the arm holds positive numbers only")]
        1.. if (asked as u32) < MAX_SIZE => Ok(asked as u32),
        1.. => Ok(MAX_SIZE),
    }
}

/// What binds a token to its request: the method and everything of the request
/// that chooses or orders rows, page size and token aside.
#[must_use]
pub fn fingerprint(method: &str, parts: &[&str]) -> Sha256 {
    let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
    let pairs = lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), part.as_bytes()]);
    Sha256::of_parts([method.as_bytes(), b"\0"].into_iter().chain(pairs))
}

/// The token for the rows after `after`.
#[must_use]
pub fn encode_token(fingerprint: Sha256, after: &str) -> String {
    let mut bytes = vec![PAGE_V1];
    bytes.extend_from_slice(&fingerprint.as_bytes()[..8]);
    bytes.extend_from_slice(after.as_bytes());
    BASE64.encode(bytes)
}

/// The key in a token made by `encode_token` for the same request.
///
/// # Errors
/// When it is not that.
pub fn decode_token(token: &str, fingerprint: Sha256) -> Result<String, InvalidToken> {
    let bytes = decode(token)?;
    let (head, after) = bytes.split_at_checked(9).ok_or(InvalidToken::Malformed)?;
    if head[0] != PAGE_V1 {
        return Err(InvalidToken::Malformed);
    }
    if head[1..] != fingerprint.as_bytes()[..8] {
        return Err(InvalidToken::OtherRequest);
    }
    String::from_utf8(after.to_vec()).map_err(|_| InvalidToken::Malformed)
}

/// Where a watch takes up again. Its epoch tells whether the history it
/// belongs to is still the one that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeToken {
    /// Number of the history.
    pub epoch: u64,
    /// Last revision the caller has seen whole.
    pub revision: u64,
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![RESUME_V1];
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.revision.to_be_bytes());
        f.write_str(&BASE64.encode(bytes))
    }
}

impl FromStr for ResumeToken {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let bytes = decode(text)?;
        let (version, rest) = bytes.split_first().ok_or(InvalidToken::Malformed)?;
        let (epoch, revision) = rest.split_at_checked(8).ok_or(InvalidToken::Malformed)?;
        match (version, epoch.try_into(), revision.try_into()) {
            (&RESUME_V1, Ok(epoch), Ok(revision)) => {
                Ok(Self { epoch: u64::from_be_bytes(epoch), revision: u64::from_be_bytes(revision) })
            }
            _ => Err(InvalidToken::Malformed),
        }
    }
}

fn decode(token: &str) -> Result<Vec<u8>, InvalidToken> {
    if token.len() > MAX_TOKEN {
        return Err(InvalidToken::Malformed);
    }
    BASE64.decode(token).map_err(|_| InvalidToken::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_brings_back_its_key_for_its_request_only() {
        let mine = fingerprint("ListNodes", &["env=prod"]);
        let token = encode_token(mine, "0192f-key/ü");
        assert_eq!(decode_token(&token, mine).as_deref(), Ok("0192f-key/ü"));
        for other in [fingerprint("ListNodes", &["env=test"]), fingerprint("ListBundles", &["env=prod"])] {
            assert_eq!(decode_token(&token, other), Err(InvalidToken::OtherRequest));
        }
        assert_eq!(Page::resume(7, "", mine), Ok(Page { size: 7, after: None }));
        assert_eq!(Page::resume(7, &token, mine), Ok(Page { size: 7, after: Some("0192f-key/ü".into()) }));
    }

    #[test]
    fn parts_of_a_fingerprint_cannot_borrow_from_each_other() {
        assert_ne!(fingerprint("m", &["ab", "c"]), fingerprint("m", &["a", "bc"]));
        assert_ne!(fingerprint("m", &["a"]), fingerprint("m", &["a", ""]));
    }

    #[test]
    fn nonsense_is_malformed_and_never_a_key() {
        let mine = fingerprint("m", &[]);
        let resume = ResumeToken { epoch: 1, revision: 2 }.to_string();
        for text in ["", "x", "!!!!", "AA", resume.as_str(), &"A".repeat(5000)] {
            assert_eq!(decode_token(text, mine), Err(InvalidToken::Malformed), "{text:.20}");
        }
    }

    #[test]
    fn a_resume_token_survives_its_text_and_is_no_page_token() {
        let token = ResumeToken { epoch: 3, revision: u64::MAX };
        assert_eq!(token.to_string().parse(), Ok(token));
        let page = encode_token(fingerprint("m", &[]), "12345678");
        let longer = BASE64.encode([RESUME_V1; 18]);
        for text in ["", "AAAA", page.as_str(), longer.as_str()] {
            assert_eq!(text.parse::<ResumeToken>(), Err(InvalidToken::Malformed));
        }
    }

    #[test]
    fn a_page_has_a_sensible_size() {
        assert_eq!(
            [0, 1, 999, 1000, 1001, i32::MAX].map(|n| size(n).unwrap()),
            [100, 1, 999, 1000, 1000, 1000]
        );
        assert_eq!(size(-1), Err(InvalidSize(-1)));
    }
}
