//! When nodes may be touched, by the clock of the host.

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

/// Longest window.
const LONGEST_MINUTES: u32 = 24 * 60;
/// Days looked ahead for the next opening: a week, and the day it begins on.
const AHEAD: i32 = 8;

/// A time of some days of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// On which it begins: 1 is Monday, 7 is Sunday. None: on all.
    pub days: Vec<u8>,
    /// Minutes after midnight at which it begins.
    pub start_minute: u16,
    /// How long it is open. It may go on after midnight.
    pub minutes: u32,
}

/// A window cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a window has days 1 to 7, begins before 1440 minutes after midnight, and is open for 1 minute to 24 hours"
)]
pub struct InvalidWindow;

impl Window {
    /// Whether it can be.
    ///
    /// # Errors
    /// If it cannot.
    pub fn check(&self) -> Result<(), InvalidWindow> {
        let days = self.days.len() <= 7 && self.days.iter().all(|day| (1..=7).contains(day));
        let time = self.start_minute < 24 * 60 && (1..=LONGEST_MINUTES).contains(&self.minutes);
        if days && time { Ok(()) } else { Err(InvalidWindow) }
    }

    /// Its begin on the day that is so many days from this one, if it begins on that day.
    fn begins(&self, zone: &TimeZone, today: Date, days: i32) -> Option<Timestamp> {
        let date = today.checked_add(days.days()).ok()?;
        let number = u8::try_from(date.weekday().to_monday_one_offset()).ok()?;
        if !self.days.is_empty() && !self.days.contains(&number) {
            return None;
        }
        let (hour, minute) = (self.start_minute / 60, self.start_minute % 60);
        let begin = date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
        // Where the clock is turned forward over it, it begins right after; where it is
        // turned back, at the first of the two.
        zone.to_ambiguous_timestamp(begin).compatible().ok()
    }
}

/// The time zone of a host, as it names it. One that nobody knows is UTC.
#[must_use]
pub fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// Whether one of the windows is open there. Without any it always is.
#[must_use]
pub fn is_open(windows: &[Window], zone: &TimeZone, now: UnixMillis) -> bool {
    if windows.is_empty() {
        return true;
    }
    let Some((now, today)) = local(zone, now) else { return false };
    windows.iter().any(|window| {
        let open = Duration::from_secs(u64::from(window.minutes) * 60);
        // One of yesterday may go on.
        [-1, 0].into_iter().filter_map(|day| window.begins(zone, today, day)).any(|begin| {
            let end = begin.checked_add(open).unwrap_or(Timestamp::MAX);
            begin <= now && now < end
        })
    })
}

/// When the next window opens there. `None`: one is open, or none ever opens.
#[must_use]
pub fn opens_at(windows: &[Window], zone: &TimeZone, now: UnixMillis) -> Option<UnixMillis> {
    if is_open(windows, zone, now) {
        return None;
    }
    let (now, today) = local(zone, now)?;
    let begins = (0..=AHEAD).flat_map(|day| windows.iter().filter_map(move |it| it.begins(zone, today, day)));
    begins.filter(|begin| *begin > now).min().map(|begin| UnixMillis(begin.as_millisecond()))
}

fn local(zone: &TimeZone, now: UnixMillis) -> Option<(Timestamp, Date)> {
    let now = Timestamp::from_millisecond(now.0).ok()?;
    Some((now, zone.to_datetime(now).date()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMillis {
        UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn nightly() -> Window {
        Window { days: vec![], start_minute: 23 * 60, minutes: 180 }
    }

    #[test]
    fn a_window_is_of_the_hosts_clock_and_may_go_on_after_midnight() {
        let (berlin, utc) = (zone("Europe/Berlin"), zone("nowhere"));
        assert_eq!(utc, TimeZone::UTC);
        let open = |zone, text| is_open(&[nightly()], zone, at(text));
        assert!(!open(&berlin, "2026-01-10T21:59:59Z") && open(&berlin, "2026-01-10T22:00:00Z"));
        assert!(open(&berlin, "2026-01-11T00:59:59Z") && !open(&berlin, "2026-01-11T01:00:00Z"));
        assert!(!open(&utc, "2026-01-10T22:00:00Z") && open(&utc, "2026-01-10T23:00:00Z"));
        assert!(is_open(&[], &utc, at("2026-01-10T12:00:00Z")));
    }

    #[test]
    fn days_are_those_on_which_it_begins() {
        let saturday = Window { days: vec![6], ..nightly() };
        let open = |text| is_open(std::slice::from_ref(&saturday), &TimeZone::UTC, at(text));
        assert!(open("2026-01-10T23:30:00Z") && open("2026-01-11T01:30:00Z"), "Saturday night");
        assert!(!open("2026-01-11T23:30:00Z") && !open("2026-01-10T01:30:00Z"));
        let next = |text| opens_at(std::slice::from_ref(&saturday), &TimeZone::UTC, at(text));
        assert_eq!(next("2026-01-11T02:00:00Z"), Some(at("2026-01-17T23:00:00Z")));
        assert_eq!(next("2026-01-10T23:30:00Z"), None, "it is open");
    }

    #[test]
    fn a_night_in_which_the_clock_is_turned_has_its_window() {
        let berlin = zone("Europe/Berlin");
        let window = [Window { days: vec![], start_minute: 2 * 60 + 30, minutes: 30 }];
        // 2026-03-29: 02:00 becomes 03:00, there is no 02:30.
        assert_eq!(opens_at(&window, &berlin, at("2026-03-29T00:30:00Z")), Some(at("2026-03-29T01:30:00Z")));
        // 2026-10-25: 03:00 becomes 02:00, there are two.
        assert_eq!(opens_at(&window, &berlin, at("2026-10-24T23:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
    }

    #[test]
    fn windows_that_cannot_be_are_refused() {
        assert_eq!(nightly().check(), Ok(()));
        for wrong in [
            Window { days: vec![0], ..nightly() },
            Window { days: vec![8], ..nightly() },
            Window { start_minute: 1440, ..nightly() },
            Window { minutes: 0, ..nightly() },
            Window { minutes: 1441, ..nightly() },
        ] {
            assert_eq!(wrong.check(), Err(InvalidWindow), "{wrong:?}");
        }
    }
}
