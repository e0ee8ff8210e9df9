//! On which clocks a schedule goes, and when it is due by them.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use muster_common::clock::UnixMillis;
use muster_domain::schedule::{Cron, HOST, Schedule, zone};

use crate::app::App;

/// In the place of a zone: hosts that tell none we know. They go by UTC.
pub(super) const UNKNOWN: &str = "unknown";
/// The selector of hosts that have told their facts: all agents tell their version.
const SAID: &str = "facts.agent-version";
/// Zones of hosts that are told apart; the rest goes by UTC. A host can say what it wants.
const ZONES: usize = 100;
/// Next times told of one clock, and clocks told of.
const TIMES: usize = 5;
const CLOCKS: usize = 20;

/// A time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// When.
    pub at: UnixMillis,
    /// On whose clock.
    pub zone: String,
}

/// The zones that hosts tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Zones {
    known: BTreeSet<String>,
    /// Whether some host tells another, or none.
    others: bool,
}

/// A clock by which a schedule goes.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pub(super) name: String,
    pub(super) zone: TimeZone,
}

impl Zones {
    /// Takes in what a host tells.
    pub(super) fn add(&mut self, told: &str) {
        if self.known.contains(told) {
            return;
        }
        // Facts that no selector could name are as good as none; and a zone is found in any
        // spelling, but has one name.
        let is_plain = !told.is_empty()
            && told.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/+".contains(&byte));
        if self.known.len() < ZONES && is_plain && told != UNKNOWN && is_name(told) {
            self.known.insert(told.to_owned());
        } else {
            self.others = true;
        }
    }

    /// The clocks of a schedule.
    pub(super) fn clocks(&self, schedule: &Schedule) -> Vec<Clock> {
        let clock = |name: &str| Clock {
            name: name.to_owned(),
            zone: if name == UNKNOWN { TimeZone::UTC } else { zone(name).unwrap_or(TimeZone::UTC) },
        };
        if schedule.time_zone != HOST {
            return vec![clock(&schedule.time_zone)];
        }
        let others = self.others.then_some(UNKNOWN);
        self.known.iter().map(String::as_str).chain(others).map(clock).collect()
    }

    /// The selector of a schedule's nodes that go by a clock.
    pub(super) fn selector(&self, schedule: &Schedule, selector: &str, clock: &str) -> String {
        if schedule.time_zone != HOST {
            return selector.to_owned();
        }
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        let of_clock = match clock {
            UNKNOWN if known.is_empty() => SAID.to_owned(),
            UNKNOWN => format!("{SAID},facts.timezone notin ({})", known.join(",")),
            name => format!("facts.timezone={name}"),
        };
        if selector.trim() == "*" { of_clock } else { format!("{selector},{of_clock}") }
    }
}

/// Whether this is how the time zone of that name is written.
fn is_name(told: &str) -> bool {
    zone(told).is_some_and(|zone| zone.iana_name() == Some(told))
}

impl App {
    /// Of hosts that have told their facts: the others have no clock yet.
    pub(super) fn zones(&self) -> Zones {
        let mut zones = Zones::default();
        self.fleet.for_each(|entry| {
            if !entry.node.facts_sha256.is_empty() {
                zones.add(entry.node.facts.timezone());
            }
        });
        zones
    }

    /// When a schedule starts next; never while it is paused.
    pub(super) fn next_times(&self, schedule: &Schedule, now: UnixMillis) -> Vec<Time> {
        let Ok(cron) = schedule.cron.parse::<Cron>() else { return Vec::new() };
        if schedule.paused {
            return Vec::new();
        }
        let zones = if schedule.time_zone == HOST { self.zones() } else { Zones::default() };
        let clocks = zones.clocks(schedule);
        let each = if schedule.time_zone == HOST { 1 } else { TIMES };
        let times = |clock: &Clock| {
            let next = |after: &UnixMillis| cron.next(&clock.zone, *after);
            let named = |at| Time { at, zone: clock.name.clone() };
            std::iter::successors(next(&now), next).take(each).map(named).collect::<Vec<Time>>()
        };
        let mut all: Vec<Time> = clocks.iter().flat_map(times).collect();
        all.sort();
        all.truncate(CLOCKS);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_domain::labels::Selector;

    use super::*;

    fn schedule(time_zone: &str) -> Schedule {
        Schedule {
            name: "nightly".to_owned(),
            cron: "0 3 * * *".to_owned(),
            time_zone: time_zone.to_owned(),
            operation: Vec::new(),
            paused: false,
            catch_up: Duration::from_secs(600),
            overlap: false,
            owner: String::new(),
            created_at: UnixMillis(0),
            updated_at: UnixMillis(0),
            since: UnixMillis(0),
            traceparent: String::new(),
            revision: 0,
        }
    }

    fn names(zones: &Zones, time_zone: &str) -> Vec<String> {
        zones.clocks(&schedule(time_zone)).into_iter().map(|clock| clock.name).collect()
    }

    #[test]
    fn hosts_go_by_the_zones_they_tell_and_by_utc_where_nobody_knows_them() {
        let mut zones = Zones::default();
        for told in
            ["Europe/Berlin", "UTC", "Etc/GMT+1", "Europe/Berlin", "", "Mars/North", "a) or (b", UNKNOWN]
        {
            zones.add(told);
        }
        assert_eq!(names(&zones, HOST), ["Etc/GMT+1", "Europe/Berlin", "UTC", UNKNOWN]);
        assert_eq!(names(&zones, "Asia/Tokyo"), ["Asia/Tokyo"]);
        let selector = |clock: &str| zones.selector(&schedule(HOST), "env=prod,!old", clock);
        assert_eq!(selector("Europe/Berlin"), "env=prod,!old,facts.timezone=Europe/Berlin");
        assert_eq!(
            selector(UNKNOWN),
            "env=prod,!old,facts.agent-version,facts.timezone notin (Etc/GMT+1,Europe/Berlin,UTC)"
        );
        assert_eq!(zones.selector(&schedule(HOST), " * ", "UTC"), "facts.timezone=UTC");
        assert_eq!(zones.selector(&schedule("UTC"), "*", "UTC"), "*");
        for clock in names(&zones, HOST) {
            Selector::parse(&selector(&clock)).unwrap();
        }
    }

    #[test]
    fn hosts_cannot_make_more_clocks_than_are_looked_after() {
        let mut zones = Zones::default();
        // As zones are found in any spelling, a host could tell ever new ones.
        for n in 0..1000_u32 {
            let name = "america/new_york".char_indices();
            let spelled = name.map(|(at, c)| if n & (1 << at) == 0 { c } else { c.to_ascii_uppercase() });
            zones.add(&spelled.collect::<String>());
        }
        assert_eq!(names(&zones, HOST), [UNKNOWN], "none of them is its name");
        jiff::tz::db().available().for_each(|name| zones.add(name.as_str()));
        assert_eq!(names(&zones, HOST).len(), ZONES + 1);
    }
}
