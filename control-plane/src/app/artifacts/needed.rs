//! What of the published files somebody needs: those stay published.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::{digest::Sha256, reason::Reason};
use muster_domain::{
    artifact::{Kind, Target},
    assignment,
    page::{MAX_SIZE, Page},
};
use muster_store::{
    ReadArtifacts as _, ReadAssignments as _, ReadExtensions as _, ReadReleases as _, WriteTx,
};

use crate::app::Error;

/// By whom each is needed, for people.
#[derive(Default)]
struct Needed {
    releases: BTreeMap<String, String>,
    /// By publisher, type and version of the package.
    packages: BTreeMap<[String; 3], String>,
}

/// Refuses a state that does not name, or names with other bytes, what somebody needs: hosts could
/// not fetch it any more, nor go back to it.
pub(super) fn check(tx: &mut WriteTx<'_>, next: &[Target]) -> Result<(), Error> {
    let named: BTreeSet<(&str, Sha256)> = next.iter().map(|it| (it.name.as_str(), it.sha256)).collect();
    let mut gone = tx.target_all()?;
    gone.retain(|it| !named.contains(&(it.name.as_str(), it.sha256)));
    if gone.is_empty() {
        return Ok(());
    }
    let needed = Needed::read(tx)?;
    let first = gone.iter().find_map(|it| Some((it, needed.by(it)?)));
    let Some((file, by)) = first else { return Ok(()) };
    let message = format!("{by} needs {}, and this state does not name it with the bytes it has", file.name);
    Err(Error::refused(Reason::InUse, message))
}

impl Needed {
    fn read(tx: &mut WriteTx<'_>) -> Result<Self, Error> {
        let mut needed = Self::default();
        for channel in tx.channel_all()? {
            needed.releases.insert(channel.version, format!("channel {:?}", channel.name));
        }
        for assignment in tx.assignment_all()? {
            let by = format!("assignment {:?}", assignment.name);
            // With what rollouts bring, what they came from, and what touched nodes return to.
            for target in assignment.targets().chain([&assignment.target]) {
                if let assignment::Target::Release { version } = target {
                    needed.releases.insert(version.clone(), by.clone());
                }
            }
        }
        let mut page = Page { size: MAX_SIZE, after: None };
        loop {
            let listed = tx.extension_list(&page, None)?;
            for it in listed.rows {
                let by = format!("version {} of extension {:?}", it.version, it.name);
                needed.packages.insert([it.publisher, it.of_type, it.package_version], by);
            }
            if listed.next.is_none() {
                return Ok(needed);
            }
            page.after = listed.next;
        }
    }

    fn by(&self, file: &Target) -> Option<&String> {
        match file.kind {
            Kind::Release => self.releases.get(&file.version),
            Kind::Extension => {
                let package = [&file.publisher, &file.of_type, &file.version].map(Clone::clone);
                self.packages.get(&package)
            }
        }
    }
}
