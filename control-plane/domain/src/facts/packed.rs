//! Words and numbers in few bytes, one behind the other: there may be a million nodes.

use std::net::IpAddr;

/// Bytes in the making.
#[derive(Default)]
pub(super) struct Packer(Vec<u8>);

/// What is left of packed bytes.
#[derive(Clone, Copy)]
pub(super) struct Unpacker<'a>(&'a [u8]);

/// How a word stands there: in half as many bytes, or less, if it is one of those that hosts
/// have many of.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    /// Lower-case hexadecimal.
    Hex,
    /// The same with the hyphens of a UUID.
    Uuid,
    /// An address in its one written form: 4 bytes or 16.
    Address,
}

/// Where the hyphens of a UUID stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl Packer {
    /// Adds a number: seven bits in each byte, the low ones first.
    pub(super) fn number(&mut self, number: u64) {
        let mut rest = number;
        loop {
            let low = u8::try_from(rest & 0x7f).unwrap_or_default();
            rest >>= 7;
            self.0.push(if rest > 0 { low | 0x80 } else { low });
            if rest == 0 {
                return;
            }
        }
    }

    /// Adds a word.
    pub(super) fn word(&mut self, word: &str) {
        let (form, bytes) = packed(word);
        self.number((bytes.len() as u64) << 2 | form as u64);
        self.0.extend_from_slice(&bytes);
    }

    /// Adds a word as it is.
    pub(super) fn plain(&mut self, word: &str) {
        self.number((word.len() as u64) << 2 | Form::Plain as u64);
        self.0.extend_from_slice(word.as_bytes());
    }

    pub(super) fn done(self) -> Box<[u8]> {
        self.0.into()
    }
}

impl<'a> Unpacker<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next number; 0 if nothing is left.
    pub(super) fn number(&mut self) -> u64 {
        let mut number = 0;
        for at in 0.. {
            let Some((byte, rest)) = self.0.split_first() else { break };
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << (7 * at).min(63);
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    /// The next word; empty if nothing is left.
    pub(super) fn word(&mut self) -> String {
        let (form, bytes) = self.part();
        match form {
            Form::Plain => String::from_utf8_lossy(bytes).into_owned(),
            Form::Hex => hex::encode(bytes),
            Form::Uuid => {
                let mut text = hex::encode(bytes);
                HYPHENS.into_iter().for_each(|at| text.insert(at, '-'));
                text
            }
            Form::Address => address(bytes).map(|it| it.to_string()).unwrap_or_default(),
        }
    }

    /// The next word, if it stands there as it is.
    pub(super) fn plain(&mut self) -> Option<&'a str> {
        let (form, bytes) = self.part();
        matches!(form, Form::Plain).then(|| std::str::from_utf8(bytes).ok()).flatten()
    }

    fn part(&mut self) -> (Form, &'a [u8]) {
        let head = self.number();
        let length = usize::try_from(head >> 2).unwrap_or(usize::MAX);
        let (bytes, rest) = self.0.split_at_checked(length).unwrap_or_default();
        self.0 = rest;
        let form = match head & 3 {
            1 => Form::Hex,
            2 => Form::Uuid,
            3 => Form::Address,
            _ => Form::Plain,
        };
        (form, bytes)
    }
}

fn packed(word: &str) -> (Form, Vec<u8>) {
    if let Some(bytes) = of_hex(word) {
        return (Form::Hex, bytes);
    }
    if word.len() == 36 && HYPHENS.into_iter().all(|at| word.as_bytes()[at] == b'-') {
        let digits: String = word.chars().filter(|c| *c != '-').collect();
        if let Some(bytes) = of_hex(&digits).filter(|bytes| bytes.len() == 16) {
            return (Form::Uuid, bytes);
        }
    }
    match word.parse::<IpAddr>() {
        Ok(IpAddr::V4(it)) if it.to_string() == word => (Form::Address, it.octets().to_vec()),
        Ok(IpAddr::V6(it)) if it.to_string() == word => (Form::Address, it.octets().to_vec()),
        _ => (Form::Plain, word.as_bytes().to_vec()),
    }
}

/// The bytes that a text writes in lower-case hexadecimal.
fn of_hex(word: &str) -> Option<Vec<u8>> {
    let is_lower = !word.is_empty() && !word.bytes().any(|byte| byte.is_ascii_uppercase());
    is_lower.then(|| hex::decode(word).ok()).flatten()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let of_four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    of_four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_packed_comes_out_again() {
        let (id, hyphens) = ("0".repeat(64), format!("{}\u{2212}", "-".repeat(33)));
        let words = [
            "",
            "web-1",
            "é",
            "a",
            "ab",
            "AB",
            "0f0",
            &id,
            "10.0.0.1",
            "010.0.0.1",
            "::1",
            "::ffff:10.0.0.1",
            "2001:db8::7",
            "2001:DB8::7",
            "01234567-89ab-cdef-0123-456789abcdef",
            "01234567-89AB-cdef-0123-456789abcdef",
            "01234567-89ab-cdef-0123-456789abcde-",
            &hyphens,
        ];
        let numbers = [0, 1, 127, 128, 1 << 36, u64::MAX];
        let mut packer = Packer::default();
        words.iter().for_each(|word| packer.word(word));
        numbers.iter().for_each(|number| packer.number(*number));
        let bytes = packer.done();
        let mut unpacker = Unpacker::of(&bytes);
        for word in words {
            assert_eq!(unpacker.word(), word);
        }
        for number in numbers {
            assert_eq!(unpacker.number(), number);
        }
        assert_eq!((unpacker.number(), unpacker.word()), (0, String::new()), "nothing is left");
    }

    #[test]
    fn what_hosts_have_many_of_takes_little() {
        let taken = |word: &str| {
            let mut packer = Packer::default();
            packer.word(word);
            packer.done().len()
        };
        assert_eq!(taken(&"ab".repeat(32)), 2 + 32, "a machine id");
        assert_eq!(taken("01234567-89ab-cdef-0123-456789abcdef"), 1 + 16, "a boot id");
        assert_eq!((taken("10.11.12.13"), taken("2001:db8:1:2:3:4:5:6")), (1 + 4, 1 + 16));
    }
}
