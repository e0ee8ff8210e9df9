//! Issuers of OpenID Connect whose tokens let hosts in.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

use muster_common::issuer;
use serde::Deserialize;

/// Most issuers.
const MAX: usize = 32;
/// Longest word that hosts are told, and most scopes.
const MAX_WORD: usize = 256;
const MAX_SCOPES: usize = 16;

/// One issuer, and what its tokens must say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Oidc {
    /// For people, and in `enrolled_with` of the nodes.
    pub name: String,
    /// `iss` of its tokens, to the letter.
    pub issuer: String,
    /// `aud` that its tokens must name.
    pub audience: String,
    /// Where its keys are: an https URL, http on this machine, or a file.
    pub jwks: String,
    /// Roots for that URL; the system's, if there is none.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Claims that must have one of these values.
    #[serde(default)]
    pub claims: BTreeMap<String, Values>,
    /// Instead of claims: every token of the issuer for this audience is good.
    #[serde(default)]
    pub any_subject: bool,
    /// Labels that are claims of the token: label = claim.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Labels that every node gets.
    #[serde(default)]
    pub static_labels: BTreeMap<String, String>,
    /// Labels that its hosts may ask for: KEY, KEY=VALUE or KEY=START*.
    #[serde(default)]
    pub requestable_labels: Vec<String>,
    /// By which people sign in on a host that is to come (`connect --login`).
    #[serde(default)]
    pub device_login: Option<DeviceLogin>,
}

/// How people sign in for a host, with a code that they enter elsewhere (RFC 8628).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceLogin {
    /// As which program hosts ask; a public one, without a secret. Tokens name it as their audience.
    pub client_id: String,
    /// What they ask for; `openid` must be among it.
    #[serde(default = "openid")]
    pub scopes: Vec<String>,
}

fn openid() -> Vec<String> {
    vec!["openid".to_owned()]
}

impl DeviceLogin {
    /// Anybody who can reach the enrollment port is told this.
    fn problem(&self, Oidc { issuer, audience, .. }: &Oidc) -> Option<String> {
        let is_word = |text: &String| {
            !text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Err(what) = issuer::url(issuer) {
            return Some(format!("hosts find an issuer by its URL: {what}"));
        }
        if !is_word(&self.client_id) {
            return Some(format!("client-id must be 1 to {MAX_WORD} letters without spaces"));
        }
        // An ID token is made for the program that asks for it: with another audience none would be taken.
        if self.client_id != *audience {
            return Some(format!("client-id must be the audience, {audience:?}: tokens name it"));
        }
        if self.scopes.len() > MAX_SCOPES || !self.scopes.iter().all(is_word) {
            return Some(format!(
                "scopes are at most {MAX_SCOPES}, each of 1 to {MAX_WORD} letters without spaces"
            ));
        }
        let has_openid = self.scopes.iter().any(|scope| scope == "openid");
        (!has_openid).then(|| "without the scope openid there is no token that says who signed in".to_owned())
    }
}

/// One value or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// This one.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

impl Values {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Any(values) => values,
        }
    }
}

/// What cannot be, each as a sentence.
pub(super) fn problems(issuers: &[Oidc]) -> Vec<String> {
    let mut problems = Vec::new();
    if issuers.len() > MAX {
        problems.push(format!("enrollment.oidc stands {} times; at most {MAX}", issuers.len()));
    }
    let (mut names, mut urls) = (HashSet::new(), HashSet::new());
    for oidc in issuers {
        let name = &oidc.name;
        let mut problem = |what: &str| problems.push(format!("enrollment.oidc {name:?}: {what}"));
        if !super::is_name(name) {
            problem("name must be 1 to 63 of a-z, 0-9 and -");
        }
        if !names.insert(name) {
            problem("another one has this name");
        }
        if oidc.issuer.is_empty() || !urls.insert(&oidc.issuer) {
            problem("issuer is empty, or another one has it");
        }
        if oidc.audience.is_empty() {
            problem("audience is empty: tokens made for others would be taken");
        }
        if oidc.claims.is_empty() != oidc.any_subject {
            problem(
                "either claims say whose tokens are good, or any-subject = true: every token of the issuer for \
                 this audience, which with a public issuer is everybody's",
            );
        }
        if oidc.claims.values().any(|values| values.all().is_empty()) {
            problem("a claim that may have no value can never hold");
        }
        if let Err(error) = muster_domain::labels::check_labels(&oidc.static_labels.iter().collect()) {
            problem(&format!("static-labels: {error}"));
        }
        let named = oidc.labels.keys().map(|key| (key.clone(), String::new())).collect();
        if let Err(error) = muster_domain::labels::check_labels(&named) {
            problem(&format!("labels: {error}"));
        }
        if let Some(what) = super::not_requestable(&oidc.requestable_labels) {
            problem(&what);
        }
        let login = oidc.device_login.as_ref();
        if let Some(what) = login.and_then(|login| login.problem(oidc)) {
            problem(&format!("device-login: {what}"));
        }
        if let Some(what) = is_no_place(&oidc.jwks) {
            problem(&format!("jwks: {what}"));
        }
    }
    problems
}

/// Why keys cannot be had from there.
fn is_no_place(jwks: &str) -> Option<&'static str> {
    if jwks.starts_with('/') { None } else { issuer::url(jwks).err() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oidc() -> Oidc {
        Oidc {
            name: "ci".to_owned(),
            issuer: "https://issuer.example".to_owned(),
            audience: "muster".to_owned(),
            jwks: "https://issuer.example/keys".to_owned(),
            ca_file: None,
            claims: [("ref".to_owned(), Values::One("main".to_owned()))].into(),
            any_subject: false,
            labels: BTreeMap::new(),
            static_labels: BTreeMap::new(),
            requestable_labels: Vec::new(),
            device_login: None,
        }
    }

    #[test]
    fn keys_come_over_https_from_this_machine_or_from_a_file() {
        for good in ["https://a.example/k", "http://127.0.0.1:80/k", "http://[::1]:80/k", "/etc/keys.json"] {
            assert_eq!(problems(&[Oidc { jwks: good.to_owned(), ..oidc() }]), [""; 0], "{good}");
        }
        for bad in ["http://a.example/k", "http://localhost/k", "keys.json", "", "ftp://a.example/k"] {
            assert_eq!(problems(&[Oidc { jwks: bad.to_owned(), ..oidc() }]).len(), 1, "{bad}");
        }
    }

    #[test]
    fn every_problem_of_an_issuer_is_told() {
        assert_eq!(problems(&[oidc(), oidc()]).len(), 2, "name and issuer stand once");
        assert_eq!(problems(&[Oidc { audience: String::new(), ..oidc() }]).len(), 1);
        assert_eq!(problems(&[Oidc { name: "C I".to_owned(), ..oidc() }]).len(), 1);
        assert_eq!(problems(&[Oidc { claims: BTreeMap::new(), ..oidc() }]).len(), 1, "whose?");
        assert_eq!(problems(&[Oidc { any_subject: true, ..oidc() }]).len(), 1, "one or the other");
        assert_eq!(problems(&[Oidc { claims: BTreeMap::new(), any_subject: true, ..oidc() }]), [""; 0]);
        let claims = [("ref".to_owned(), Values::Any(Vec::new()))].into();
        assert_eq!(problems(&[Oidc { claims, ..oidc() }]).len(), 1);
        let labels = [("no label!".to_owned(), "claim".to_owned())].into();
        assert_eq!(problems(&[Oidc { labels, ..oidc() }]).len(), 1);
        let requestable_labels = vec!["rack".to_owned(), "a b".to_owned()];
        assert_eq!(problems(&[Oidc { requestable_labels, ..oidc() }]).len(), 1);
    }

    #[test]
    fn people_sign_in_at_an_issuer_that_hosts_can_find_and_that_says_who_they_are() {
        let login = |client_id: &str, scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            Some(DeviceLogin { client_id: client_id.to_owned(), scopes })
        };
        let good = login("muster", &["openid", "profile"]);
        assert_eq!(problems(&[Oidc { device_login: good.clone(), ..oidc() }]), [""; 0]);
        let nowhere = Oidc { issuer: "issuer".to_owned(), device_login: good, ..oidc() };
        assert_eq!(problems(&[nowhere]).len(), 1);
        for bad in [
            login("", &["openid"]),
            login("a", &["openid"]),
            login("muster", &[]),
            login("muster", &["openid", ""]),
        ] {
            assert_eq!(problems(&[Oidc { device_login: bad.clone(), ..oidc() }]).len(), 1, "{bad:?}");
        }
    }
}
