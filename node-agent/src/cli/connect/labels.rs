//! `--labels`: what this host asks to be labelled with.

use std::collections::BTreeSet;

use crate::cli::exit::{self, Failure};

/// One of the list. What a label can be is the control plane's to say.
pub(super) fn one(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, several with commas between".to_owned()),
    }
}

/// Which of two values is meant nobody can know.
pub(super) fn each_once(labels: &[(String, String)]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    match labels.iter().find(|(key, _)| !seen.insert(key)) {
        None => Ok(()),
        Some((key, _)) => {
            Err(Failure::told(exit::COMMAND_LINE, format!("--labels: {key} stands there more than once")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_key_and_a_value_and_stands_once() {
        assert_eq!(one("rack=7").unwrap(), ("rack".to_owned(), "7".to_owned()));
        assert_eq!(one("empty=").unwrap().1, "");
        for bad in ["", "rack", "=7"] {
            assert!(one(bad).is_err(), "{bad}");
        }
        let list = |texts: &[&str]| texts.iter().map(|text| one(text).unwrap()).collect::<Vec<_>>();
        assert!(each_once(&list(&["a=1", "b=1"])).is_ok());
        assert!(each_once(&list(&["a=1", "b=1", "a=1"])).is_err());
    }
}
