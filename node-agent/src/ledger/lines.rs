//! Lines with a checksum: eight hexadecimal digits of the SHA-256 of what
//! follows, a space, JSON, a newline. A person can read them.

use std::io;

use muster_common::digest::Sha256;
use serde::{Serialize, de::DeserializeOwned};

pub(super) fn encode<T: Serialize>(value: &T, into: &mut Vec<u8>) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    into.extend_from_slice(check(&json).as_bytes());
    into.push(b' ');
    into.extend_from_slice(&json);
    into.push(b'\n');
    Ok(())
}

/// Whole lines, and how many bytes they have. What follows the last whole line
/// was being written when the process ended.
///
/// # Errors
/// `InvalidData` if a line before the last is not what was written.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<(Vec<T>, usize)> {
    let mut values = Vec::new();
    let mut good = 0;
    while let Some(length) = bytes[good..].iter().position(|byte| *byte == b'\n') {
        let end = good + length + 1;
        match line(&bytes[good..end - 1]) {
            Some(value) => values.push(value),
            None if end == bytes.len() => break,
            None => {
                let message = format!("the line at byte {good} is damaged");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        good = end;
    }
    Ok((values, good))
}

/// All lines that are whole, whatever lies between them: for what is better in parts than not at all.
pub(super) fn salvage<T: DeserializeOwned>(bytes: &[u8]) -> Vec<T> {
    bytes.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn line<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (sum, json) = line.split_at_checked(9)?;
    if sum[8] != b' ' || check(json).as_bytes() != &sum[..8] {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn check(json: &[u8]) -> String {
    let mut sum = Sha256::of(json).to_string();
    sum.truncate(8);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&"first", &mut bytes).unwrap();
        encode(&"second", &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_cut_at_any_byte_loses_only_the_last_line() {
        let bytes = two();
        let first = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
        for cut in 0..=bytes.len() {
            let (values, good) = decode::<String>(&bytes[..cut]).unwrap();
            let expected: &[&str] = match cut {
                cut if cut < first => &[],
                cut if cut < bytes.len() => &["first"],
                _ => &["first", "second"],
            };
            assert_eq!(values, expected, "cut at {cut}");
            assert!(good <= cut);
        }
    }

    #[test]
    fn damage_before_the_last_line_is_told() {
        let mut bytes = two();
        bytes[12] ^= 1;
        assert_eq!(decode::<String>(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
