//! What the environment says of proxies, read as curl reads it.

use std::ffi::OsString;

use ipnet::IpNet;
use muster_common::settings::{Bypass, Exception, ProxyUrl};

/// The names that count; of two, the first that is not empty.
const PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// A proxy and what goes past it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    pub(super) proxy: Option<(&'static str, Result<ProxyUrl, String>)>,
    pub(super) no_proxy: Bypass,
    pub(super) of: &'static str,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::read("environment", |name| std::env::var_os(name))
    }

    /// One that is read elsewhere; `of` says whose, for people.
    #[must_use]
    pub fn read(of: &'static str, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |names: [&'static str; 2]| {
            let mut set = names.into_iter().filter_map(|name| Some((name, variable(name)?)));
            set.find(|(_, value)| !value.is_empty())
        };
        let url = |value: OsString| {
            let text = value.into_string().map_err(|_| "it is no text".to_owned())?;
            ProxyUrl::parse(&text)
        };
        let proxy = set(PROXY).map(|(name, value)| (name, url(value)));
        let no_proxy = set(NO_PROXY).map(|(_, value)| no_proxy(&value.to_string_lossy())).unwrap_or_default();
        Self { proxy, no_proxy, of }
    }

    /// Whether it names a proxy.
    #[must_use]
    pub const fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }
}

/// Words between commas and blanks. `*` counts only alone; a word that curl would pass over
/// is passed over.
fn no_proxy(text: &str) -> Bypass {
    if text == "*" {
        return Bypass::of(vec![(text.to_owned(), Exception::Everything)]);
    }
    let words = text.split([',', ' ', '\t']).filter(|word| !word.is_empty() && *word != "*");
    Bypass::of(words.filter_map(|word| Some((word.to_owned(), exception(word)?))).collect())
}

/// The first entry of a list with commas that would mean something else in `NO_PROXY`, or
/// nothing.
#[must_use]
pub fn misread(list: &str) -> Option<&str> {
    if list.trim() == "*" {
        return None;
    }
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let is_kept = |entry: &str| entry != "*" && exception(entry) == entry.parse().ok();
    entries.into_iter().find(|entry| !is_kept(entry))
}

fn exception(word: &str) -> Option<Exception> {
    match word.parse().ok()? {
        // curl knows no services: these are names of hosts, if anything.
        Exception::Service(_) => Some(Exception::Host(word.to_ascii_lowercase())),
        // In curl an address has no brackets, and a network of no bits is one address.
        Exception::Network(_) if word.starts_with('[') => None,
        Exception::Network(net) if net.prefix_len() == 0 => Some(Exception::Network(IpNet::from(net.addr()))),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_the_environment_would_lose_is_found() {
        for good in ["", "*", " * ", "10.0.0.0/8, a.example,.b.example", "2001:db8::/32,::1"] {
            assert_eq!(misread(good), None, "{good}");
        }
        for (list, lost) in [
            ("a.example,*", "*"),
            ("a.example,[2001:db8::1]", "[2001:db8::1]"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("a.example, ::/0", "::/0"),
            ("Session", "Session"),
        ] {
            assert_eq!(misread(list), Some(lost), "{list}");
        }
    }
}
