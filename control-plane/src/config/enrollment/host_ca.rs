//! Authorities of others whose certificates let hosts in.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

use serde::Deserialize;

/// Most authorities.
const MAX: usize = 32;

/// One authority, and which of its certificates are hosts of this fleet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HostCa {
    /// For people, and in `enrolled_with` of the nodes.
    pub name: String,
    /// Its certificates that are trusted, PEM: roots, or issuers of hosts.
    pub ca_file: PathBuf,
    /// Its revocation lists, PEM; a host under an issuer without one is refused.
    #[serde(default)]
    pub crl_file: Option<PathBuf>,
    /// Names of hosts; `*.` in front stands for any names below, `*` alone for every name.
    #[serde(default)]
    pub dns: Vec<String>,
    /// URIs of hosts; `*` at the end stands for anything.
    #[serde(default)]
    pub uri: Vec<String>,
    /// Label whose value is the DNS name that fits.
    #[serde(default)]
    pub name_label: Option<String>,
    /// Labels that every node gets.
    #[serde(default)]
    pub static_labels: BTreeMap<String, String>,
    /// Labels that its hosts may ask for: KEY, KEY=VALUE or KEY=START*.
    #[serde(default)]
    pub requestable_labels: Vec<String>,
}

impl HostCa {
    /// The first of these names that fits.
    pub fn fits_dns<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        names.find(|name| self.dns.iter().any(|pattern| dns_fits(pattern, name)))
    }

    /// Whether one of these URIs fits.
    pub fn fits_uri<'a>(&self, mut uris: impl Iterator<Item = &'a str>) -> bool {
        uris.any(|uri| {
            self.uri.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => uri.starts_with(start),
                None => uri == pattern,
            })
        })
    }
}

fn dns_fits(pattern: &str, name: &str) -> bool {
    // A certificate for a wildcard is not one host's.
    if name.contains('*') {
        return false;
    }
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(end) => name
            .len()
            .checked_sub(end.len())
            .and_then(|at| name.split_at_checked(at))
            .is_some_and(|(below, above)| !below.is_empty() && above.eq_ignore_ascii_case(end)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

/// What cannot be, each as a sentence.
pub(super) fn problems(authorities: &[HostCa]) -> Vec<String> {
    let mut problems = Vec::new();
    if authorities.len() > MAX {
        problems.push(format!("enrollment.host-ca stands {} times; at most {MAX}", authorities.len()));
    }
    let mut names = HashSet::new();
    for authority in authorities {
        let name = &authority.name;
        let mut problem = |what: &str| problems.push(format!("enrollment.host-ca {name:?}: {what}"));
        if !super::is_name(name) {
            problem("name must be 1 to 63 of a-z, 0-9 and -");
        }
        if !names.insert(name) {
            problem("another one has this name");
        }
        if authority.dns.is_empty() && authority.uri.is_empty() {
            problem("neither dns nor uri says whose certificates are hosts; dns = [\"*\"] takes every name");
        }
        let is_pattern = |pattern: &String| match pattern.strip_prefix('*') {
            Some(end) => end.is_empty() || (end.starts_with('.') && end.len() > 1 && !end.contains('*')),
            None => !pattern.is_empty() && !pattern.contains('*'),
        };
        if let Some(bad) = authority.dns.iter().find(|pattern| !is_pattern(pattern)) {
            problem(&format!("dns: {bad:?} is neither a name, nor *.NAME, nor *"));
        }
        let is_uri = |uri: &String| {
            let start = uri.strip_suffix('*').unwrap_or(uri);
            !start.is_empty() && !start.contains('*')
        };
        if let Some(bad) = authority.uri.iter().find(|uri| !is_uri(uri)) {
            problem(&format!("uri: {bad:?} is not a URI with at most one * at its end"));
        }
        let label = authority.name_label.iter().map(|key| (key.clone(), String::new())).collect();
        if let Err(error) = muster_domain::labels::check_labels(&label) {
            problem(&format!("name-label: {error}"));
        }
        if let Err(error) = muster_domain::labels::check_labels(&authority.static_labels.iter().collect()) {
            problem(&format!("static-labels: {error}"));
        }
        if let Some(what) = super::not_requestable(&authority.requestable_labels) {
            problem(&what);
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corp() -> HostCa {
        HostCa {
            name: "corp".to_owned(),
            ca_file: "/etc/corp.pem".into(),
            crl_file: None,
            dns: vec!["*.prod.example".to_owned(), "one.example".to_owned()],
            uri: vec!["spiffe://corp/host/*".to_owned()],
            name_label: None,
            static_labels: BTreeMap::new(),
            requestable_labels: Vec::new(),
        }
    }

    #[test]
    fn names_fit_below_a_star_and_not_beside_it() {
        for good in ["a.prod.example", "a.b.PROD.example", "one.example"] {
            assert_eq!(corp().fits_dns([good].into_iter()), Some(good));
        }
        for bad in [
            "prod.example",
            ".prod.example",
            "aprod.example",
            "a.prod.example.evil",
            "*.prod.example",
            "two.example",
            "",
        ] {
            assert_eq!(corp().fits_dns([bad].into_iter()), None, "{bad}");
        }
        let every = HostCa { dns: vec!["*".to_owned()], ..corp() };
        assert_eq!(every.fits_dns(["a"].into_iter()), Some("a"));
        assert!(corp().fits_uri(["spiffe://corp/host/7"].into_iter()));
        assert!(!corp().fits_uri(["spiffe://corp/user/7", "spiffe://corp/host"].into_iter()));
    }

    #[test]
    fn every_problem_of_an_authority_is_told() {
        assert_eq!(problems(&[corp()]), [""; 0]);
        assert_eq!(problems(&[corp(), corp()]).len(), 1, "names stand once");
        assert_eq!(problems(&[HostCa { dns: Vec::new(), uri: Vec::new(), ..corp() }]).len(), 1);
        for bad in ["*a.example", "a.*.example", "", "*.", "**"] {
            assert_eq!(problems(&[HostCa { dns: vec![bad.to_owned()], ..corp() }]).len(), 1, "{bad}");
        }
        for bad in ["", "spiffe://*/host", "spiffe://a/**"] {
            assert_eq!(problems(&[HostCa { uri: vec![bad.to_owned()], ..corp() }]).len(), 1, "{bad}");
        }
        assert_eq!(problems(&[HostCa { name_label: Some("no label!".to_owned()), ..corp() }]).len(), 1);
        let requestable_labels = vec!["a b".to_owned()];
        assert_eq!(problems(&[HostCa { requestable_labels, ..corp() }]).len(), 1);
        assert_eq!(problems(&[HostCa { name: "C".to_owned(), ..corp() }]).len(), 1);
    }
}
