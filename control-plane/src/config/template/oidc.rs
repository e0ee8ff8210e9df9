//! Issuers in the file.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{entry, list, quoted};
use crate::config::{Oidc, Values};

/// One example, for who writes the first; then those that are there.
const EXAMPLE: &str = r#"
# Tokens of OpenID Connect that let hosts in; one section for each issuer. Since 0.1.
# [[enrollment.oidc]]
# name = "ci"
# issuer = "https://issuer.example"
# audience = "muster-hosts"
# jwks = "https://issuer.example/jwks"
# claims = { repository = "acme/app", ref = ["refs/heads/main", "refs/heads/next"] }
# labels = { repository = "repository_name" }
# static-labels = { role = "runner" }
# requestable-labels = ["rack", "dc=eu-*"]
# device-login = { client-id = "muster-hosts", scopes = ["openid"] } # people's tokens name it as audience
"#;

pub(super) fn write(text: &mut String, issuers: &[Oidc]) {
    text.push_str(EXAMPLE);
    for oidc in issuers {
        let _ = write!(text, "\n[[enrollment.oidc]]\n");
        entry(text, "name", &quoted(&oidc.name), "As nodes' enrolled_with shows it.");
        entry(text, "issuer", &quoted(&oidc.issuer), "`iss` of its tokens.");
        entry(text, "audience", &quoted(&oidc.audience), "`aud` that they must name.");
        entry(text, "jwks", &quoted(&oidc.jwks), "Its keys: an https URL, http on this machine, or a file.");
        if let Some(file) = &oidc.ca_file {
            entry(text, "ca-file", &quoted(file.display()), "Roots for that URL, instead of the system's.");
        }
        let claims = oidc.claims.iter().map(|(claim, values)| (claim, wanted(values)));
        if oidc.any_subject {
            entry(text, "any-subject", "true", "Every token of the issuer for this audience is good.");
        }
        entry(text, "claims", &table(claims), "Claims that must have this value, or one of these.");
        entry(text, "labels", &labels(&oidc.labels), "Label = claim that gives its value.");
        entry(text, "static-labels", &labels(&oidc.static_labels), "Labels of every node.");
        requestable(text, &oidc.requestable_labels);
        if let Some(login) = &oidc.device_login {
            let table =
                format!("{{ client-id = {}, scopes = {} }}", quoted(&login.client_id), list(&login.scopes));
            entry(text, "device-login", &table, "By which people sign in with `connect --login`.");
        }
    }
}

fn wanted(values: &Values) -> String {
    match values {
        Values::One(value) => quoted(value),
        Values::Any(values) => list(values),
    }
}

pub(super) fn labels(map: &BTreeMap<String, String>) -> String {
    table(map.iter().map(|(key, value)| (key, quoted(value))))
}

pub(super) fn requestable(text: &mut String, patterns: &[String]) {
    let what = "Labels that a host may ask for: KEY, KEY=VALUE or KEY=START*.";
    entry(text, "requestable-labels", &list(patterns), what);
}

fn table<'a>(entries: impl Iterator<Item = (&'a String, String)>) -> String {
    let entries: Vec<String> = entries.map(|(key, value)| format!("{} = {value}", quoted(key))).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}
