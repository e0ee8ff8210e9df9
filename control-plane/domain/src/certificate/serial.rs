//! The serial number of a certificate, small: there may be a million nodes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Octets of the longest serial number that RFC 5280 allows (section 4.1.2.2).
const LONGEST: usize = 20;

/// A serial number, written in lower-case hexadecimal, two digits for each octet. Any other text is kept
/// as it is.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Serial(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// So many of these octets; the others are zero.
    Octets(u8, [u8; LONGEST]),
    Text(Box<str>),
}

impl From<&str> for Serial {
    fn from(text: &str) -> Self {
        Self(octets(text).unwrap_or_else(|| Form::Text(text.into())))
    }
}

fn octets(text: &str) -> Option<Form> {
    let (count, mut octets) = (text.len() / 2, [0; LONGEST]);
    if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    hex::decode_to_slice(text, octets.get_mut(..count)?).ok()?;
    Some(Form::Octets(u8::try_from(count).ok()?, octets))
}

impl From<String> for Serial {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

impl PartialEq<str> for Serial {
    fn eq(&self, text: &str) -> bool {
        match &self.0 {
            Form::Octets(..) => octets(text).as_ref() == Some(&self.0),
            Form::Text(ours) => **ours == *text,
        }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Octets(count, octets) => {
                octets[..usize::from(*count)].iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
            Form::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was_and_is_only_itself() {
        let longest = "7f".repeat(LONGEST);
        let too_long = "7f".repeat(LONGEST + 1);
        let texts = ["", "0a", "000a", "a", "0A", "zz", "é", &longest, &too_long];
        for text in texts {
            let serial = Serial::from(text);
            assert_eq!(serial.to_string(), text);
            for other in texts {
                let same = Serial::from(other);
                assert_eq!(
                    (serial == *other, serial == same),
                    (text == other, text == other),
                    "{text}, {other}"
                );
            }
        }
    }

    #[test]
    fn it_takes_no_memory_beside_its_own() {
        assert!(size_of::<Serial>() <= 24);
        assert!(matches!(Serial::from("7f".repeat(LONGEST)).0, Form::Octets(20, _)));
    }
}
