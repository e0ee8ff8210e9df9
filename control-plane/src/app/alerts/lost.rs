//! Replicas that were declared lost, and did not come back: the audit says so.

use std::{collections::BTreeMap, time::Duration};

use muster_common::clock::UnixMillis;
use muster_domain::{alert::Signs, audit::Filter};
use muster_store::{ReadAudit as _, ReadReplicas as _};
use serde_json::Value;

use crate::app::{App, Error};

/// One that is not back by then was taken away for good.
const FOR: Duration = Duration::from_secs(24 * 3600);
/// Entries of the audit read in one go.
const BATCH: u32 = 500;

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Of the audit. `None`: nothing was read.
    place: Option<u64>,
    since: BTreeMap<String, UnixMillis>,
}

impl App {
    /// Finds replicas that are lost.
    pub(super) async fn lost_replicas(
        &self,
        lost: &mut Lost,
        now: UnixMillis,
        signs: &mut Signs,
    ) -> Result<(), Error> {
        if !self.replicas.is_shared() {
            return Ok(());
        }
        self.read_lost(lost, now).await?;
        lost.since.retain(|_, at| now.since(*at) < FOR);
        for (name, at) in &lost.since {
            let message = format!("replica {name} of the control plane beats no more; start it again");
            signs.add_thing(format!("replica/{name}"), "Lost", message, Some(*at));
        }
        Ok(())
    }

    async fn read_lost(&self, lost: &mut Lost, now: UnixMillis) -> Result<(), Error> {
        let (known, since) = (lost.place, now - FOR);
        let read = self.store.read_own(move |tx| {
            let filter = Filter { action_prefix: "replicas.beat".to_owned(), ..Filter::default() };
            let newest = tx.audit_place()?;
            let from = match known {
                Some(place) => place,
                None => {
                    let window = tx.audit_window(&Filter { since: Some(since), ..filter.clone() })?;
                    window.map_or(newest, |(first, _)| first.saturating_sub(1))
                }
            };
            let found = tx.audit_after(from, &filter, BATCH)?;
            let is_all = found.len() < BATCH as usize;
            let reached =
                found.last().map_or(newest, |(place, _)| if is_all { newest.max(*place) } else { *place });
            // Whoever is declared lost is taken away by the same write: one that is there is back.
            Ok::<_, Error>((found, reached, tx.replica_all()?))
        });
        let (found, reached, there) = read.await?;
        lost.place = Some(reached);
        for (_, entry) in found {
            let says_lost =
                serde_json::from_str::<Value>(&entry.note.after).is_ok_and(|it| it["lost"] == true);
            if let Some(name) = entry.note.subject.strip_prefix("replica/").filter(|_| says_lost) {
                lost.since.insert(name.to_owned(), entry.stamp.at);
            }
        }
        lost.since.retain(|name, _| !there.iter().any(|it| it.name == *name));
        Ok(())
    }
}
