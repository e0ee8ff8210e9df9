//! What is wished of settings, as values: all of it checked before any of it is done.

use std::collections::BTreeMap;

use muster_common::settings;

/// How values meet what stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// They take its place.
    Replace,
    /// Entries are added to a list.
    Add,
    /// Entries are taken out of a list.
    Remove,
}

/// Values by key; `None`: the file is to say nothing.
pub(super) type Wanted = BTreeMap<String, Option<String>>;

/// What the words of a command line ask for: `KEY=VALUE` each, or one key and its value.
/// `now`: what the file says.
pub(super) fn wanted(
    words: &[String],
    how: How,
    now: &BTreeMap<String, String>,
) -> Result<Wanted, Vec<String>> {
    let pairs: Vec<(String, String)> = match words {
        [key, value] if !key.contains('=') => vec![(key.clone(), value.clone())],
        _ => words.iter().map(|word| pair(word)).collect::<Result<_, _>>().map_err(|wrong| vec![wrong])?,
    };
    let (mut wanted, mut faults) = (Wanted::new(), Vec::new());
    for (key, value) in pairs {
        match value_of(&key, &value, how, now) {
            Ok(_) if wanted.contains_key(&key) => faults.push(format!("{key} stands there twice")),
            Ok(value) => drop(wanted.insert(key, Some(value))),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(wanted) } else { Err(faults) }
}

/// Keys of which the file is to say nothing.
pub(super) fn cleared(keys: &[String]) -> Result<Wanted, Vec<String>> {
    let (mut wanted, mut faults) = (Wanted::new(), Vec::new());
    for key in keys {
        match settings::find(key) {
            Some(_) => drop(wanted.insert(key.clone(), None)),
            None => faults.push(unknown(key)),
        }
    }
    if faults.is_empty() { Ok(wanted) } else { Err(faults) }
}

/// What is told of a key that there is not.
pub(super) fn unknown(key: &str) -> String {
    settings::check(key, "").err().map_or_else(String::new, |error| error.to_string())
}

/// Not repeated where it is no pair: it may be a credential.
fn pair(word: &str) -> Result<(String, String), String> {
    let (key, value) = word
        .split_once('=')
        .ok_or("each setting is written KEY=VALUE, or one alone as its key and its value".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

fn value_of(key: &str, value: &str, how: How, now: &BTreeMap<String, String>) -> Result<String, String> {
    let setting = settings::find(key).ok_or_else(|| unknown(key))?;
    let value = match how {
        How::Replace => value.to_owned(),
        How::Add | How::Remove if !setting.is_list() => {
            return Err(format!("{key} is no list: nothing can be added or removed"));
        }
        How::Add | How::Remove => {
            let had = entries(now.get(key).map_or(setting.default, String::as_str));
            changed(had, &entries(value), how).join(",")
        }
    };
    settings::check(key, &value).map_err(|error| error.to_string())?;
    Ok(value)
}

fn changed(mut had: Vec<String>, entries: &[String], how: How) -> Vec<String> {
    had.retain(|entry| !entries.iter().any(|other| other.eq_ignore_ascii_case(entry)));
    if how == How::Add {
        had.extend(entries.iter().cloned());
    }
    had
}

fn entries(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(words: &[&str], how: How, now: &[(&str, &str)]) -> Result<Wanted, Vec<String>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        wanted(
            &words,
            how,
            &now.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        )
    }

    #[test]
    fn several_keys_are_read_and_every_fault_is_told_at_once() {
        let both = ask(&["log-level=debug", "facts-interval=1h"], How::Replace, &[]).unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(ask(&["log-level", "debug"], How::Replace, &[]).unwrap().len(), 1);
        let faults =
            ask(&["log-level=loud", "colour=red", "facts-interval=1h"], How::Replace, &[]).unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("loud") && faults[1].contains("colour"), "{faults:?}");
        assert!(ask(&["log-level=warn", "log-level=info"], How::Replace, &[]).is_err());
        let fault = ask(&["a", "hunter2", "c"], How::Replace, &[]).unwrap_err();
        assert!(!fault[0].contains("hunter2"), "{fault:?}");
        assert!(cleared(&["log-level".to_owned(), "colour".to_owned()]).is_err());
    }

    #[test]
    fn entries_of_a_list_come_and_go_one_by_one() {
        let now = [("proxy.bypass", "10.0.0.0/8, Session")];
        let value = |asked: Result<Wanted, Vec<String>>| asked.unwrap()["proxy.bypass"].clone().unwrap();
        assert_eq!(value(ask(&["proxy.bypass=a.example"], How::Add, &now)), "10.0.0.0/8,Session,a.example");
        assert_eq!(
            value(ask(&["proxy.bypass=session"], How::Add, &now)),
            "10.0.0.0/8,session",
            "it is there"
        );
        assert_eq!(value(ask(&["proxy.bypass=session"], How::Remove, &now)), "10.0.0.0/8");
        assert_eq!(value(ask(&["proxy.bypass=Session,10.0.0.0/8"], How::Remove, &now)), "");
        assert!(ask(&["log-level=debug"], How::Add, &[]).unwrap_err()[0].contains("no list"));
    }
}
