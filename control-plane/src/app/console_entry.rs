//! Who came into the fleet console by a one-time link: the audit knows.

use muster_domain::{
    access::Role,
    audit::{Note, Stamp},
};
use serde_json::json;

use super::{App, Error};

impl App {
    /// Notes that somebody came by a link, before they see anything.
    ///
    /// # Errors
    /// If that cannot be stored.
    pub async fn note_console_entry(&self, link: &str, role: Role, remote: &str) -> Result<(), Error> {
        let subject = format!("console-link/{link}");
        let stamp = Stamp {
            actor: subject.clone(),
            action: "console-links.use".to_owned(),
            at: self.clock.now(),
            remote_address: remote.to_owned(),
            trace_id: String::new(),
        };
        let after = json!({ "role": role.as_str() }).to_string();
        self.commit(stamp, move |tx| {
            let (subject, after) = (subject.clone(), after.clone());
            Ok(tx.audit(Note { subject, after, ..Note::default() })?)
        })
        .await
    }
}
