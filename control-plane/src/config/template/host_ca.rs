//! Authorities of others in the file.

use std::fmt::Write as _;

use super::{
    entry, list,
    oidc::{labels, requestable},
    quoted,
};
use crate::config::HostCa;

/// One example, for who writes the first; then those that are there.
const EXAMPLE: &str = r#"
# Authorities of others whose certificates let hosts in; one section for each. Since 0.1.
# [[enrollment.host-ca]]
# name = "corp"
# ca-file = "/etc/muster/corp-ca.pem"
# crl-file = "/etc/muster/corp.crl"
# dns = ["*.prod.example"]
# name-label = "host"
# static-labels = { site = "berlin" }
# requestable-labels = ["rack"]
"#;

pub(super) fn write(text: &mut String, authorities: &[HostCa]) {
    text.push_str(EXAMPLE);
    for ca in authorities {
        let _ = write!(text, "\n[[enrollment.host-ca]]\n");
        entry(text, "name", &quoted(&ca.name), "As nodes' enrolled_with shows it.");
        entry(text, "ca-file", &quoted(ca.ca_file.display()), "Its certificates that are trusted, PEM.");
        if let Some(file) = &ca.crl_file {
            entry(text, "crl-file", &quoted(file.display()), "Its revocation lists, PEM.");
        }
        entry(text, "dns", &list(&ca.dns), "Names of hosts; *.NAME for all below, * for every name.");
        entry(text, "uri", &list(&ca.uri), "URIs of hosts; * at the end for anything.");
        if let Some(label) = &ca.name_label {
            entry(text, "name-label", &quoted(label), "Label with the DNS name that fits.");
        }
        entry(text, "static-labels", &labels(&ca.static_labels), "Labels of every node.");
        requestable(text, &ca.requestable_labels);
    }
}
