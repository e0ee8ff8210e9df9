//! Reading the audit.

use muster_domain::{
    audit::Entry,
    page::{Listed, Page},
};
use muster_store::ReadAudit as _;

use super::{App, Error};

impl App {
    /// A page of entries, the newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn audit_entries(
        &self,
        page: Page,
        subject: Option<String>,
        actor: Option<String>,
    ) -> Result<Listed<Entry>, Error> {
        self.store
            .read(move |tx| tx.audit_list(&page, subject.as_deref(), actor.as_deref()).map_err(Error::from))
            .await
    }
}
