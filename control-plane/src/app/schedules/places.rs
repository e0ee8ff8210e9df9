//! Where the clocks of hosts begin: at the first look all that are there begin with their
//! schedule, and those that come later when they come.
//!
//! A time zone is new because a host is: it has not missed the times of before. And one that
//! no host tells any more is forgotten: hosts say what they want.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::clock::UnixMillis;
use muster_domain::schedule::{HOST, Schedule};
use muster_store::{SchedulePlace, WriteSchedules as _};

use super::{fire::Planned, times::Zones};
use crate::app::{App, Error};

/// What of the places is to be others.
#[derive(Debug, Default)]
struct Moves {
    begun: Vec<SchedulePlace>,
    gone: Vec<(String, String)>,
}

impl App {
    /// Writes down where new clocks begin, and forgets those that are gone.
    pub(super) async fn keep_places(&self, planned: &mut Planned, zones: &Zones) -> Result<(), Error> {
        let Moves { begun, gone } = moves(planned, zones, self.clock.now());
        if begun.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let write = self.store.write(self.own_stamp("schedules.clocks"), move |tx| {
            for place in &begun {
                tx.schedule_begin(place)?;
            }
            for (schedule, zone) in &gone {
                tx.schedule_place_delete(schedule, zone)?;
            }
            Ok::<_, Error>(())
        });
        write.await?;
        planned.forget();
        self.read_schedules(planned).await
    }
}

fn moves(planned: &Planned, zones: &Zones, now: UnixMillis) -> Moves {
    let mut moves = Moves::default();
    let mut kept: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for schedule in planned.schedules.iter().map(|(schedule, _)| schedule).filter(|it| !it.paused) {
        let mut names: BTreeSet<String> = zones.clocks(schedule).into_iter().map(|it| it.name).collect();
        if schedule.time_zone == HOST {
            names.insert(HOST.to_owned()); // no zone: it tells that there was a first look
            moves.begun.extend(begun(planned, schedule, &names, now));
        }
        kept.insert(&schedule.name, names);
    }
    let is_gone = |place: &&SchedulePlace| {
        kept.get(place.schedule.as_str()).is_some_and(|names| !names.contains(&place.zone))
    };
    let gone = planned.places.values().filter(is_gone);
    moves.gone = gone.map(|place| (place.schedule.clone(), place.zone.clone())).collect();
    moves
}

fn begun(
    planned: &Planned,
    schedule: &Schedule,
    names: &BTreeSet<String>,
    now: UnixMillis,
) -> Vec<SchedulePlace> {
    let key = |zone: &str| (schedule.name.clone(), zone.to_owned());
    let until = if planned.places.contains_key(&key(HOST)) { now } else { schedule.since };
    let new = names.iter().filter(|zone| !planned.places.contains_key(&key(zone)));
    let begins = |zone: &String| SchedulePlace {
        schedule: schedule.name.clone(),
        zone: zone.clone(),
        until,
        operation: None,
    };
    new.map(begins).collect()
}
