//! Times that come again: the five fields of cron, on the clock of a time zone.
//!
//! A time that the clock passes over when it is turned forward happens once, right
//! after; one that it shows twice when it is turned back happens at the first.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};
use muster_common::clock::UnixMillis;

/// Days looked ahead: there are eight years between two that have a 29th of February.
const AHEAD: usize = 9 * 366;
/// Longest expression, in bytes.
const LONGEST: usize = 256;

/// Minutes, hours, days of the month, months, days of the week; as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of days are named: one of them is enough.
    either: bool,
}

/// An expression cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCron {
    /// It is longer than any that is meant.
    #[error("it has {0} bytes; it must have at most {LONGEST}")]
    Long(usize),
    /// It has not five fields.
    #[error("it has {0} fields; it must have 5: minute, hour, day of month, month, day of week")]
    Fields(usize),
    /// A field cannot be read.
    #[error(
        "{field}: {part:?} is not *, a value from {low} to {high}, a range a-b, or one of them with /step"
    )]
    Part {
        /// Which.
        field: &'static str,
        /// What stands there.
        part: String,
        /// Smallest value.
        low: u8,
        /// Largest value.
        high: u8,
    },
    /// No day is ever named by it.
    #[error("there is no such day")]
    Never,
}

struct Field {
    name: &'static str,
    low: u8,
    high: u8,
    /// Words for the values from `low` on.
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, words: &[] },
    Field { name: "hour", low: 0, high: 23, words: &[] },
    Field { name: "day of month", low: 1, high: 31, words: &[] },
    Field {
        name: "month",
        low: 1,
        high: 12,
        words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { name: "day of week", low: 0, high: 7, words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

impl FromStr for Cron {
    type Err = InvalidCron;
    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        if text.len() > LONGEST {
            return Err(InvalidCron::Long(text.len()));
        }
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(InvalidCron::Fields(fields.len()));
        };
        let weekdays = FIELDS[4].values(weekday)?;
        let cron = Self {
            text: fields.join(" "),
            minutes: FIELDS[0].values(minute)?,
            hours: FIELDS[1].values(hour)?,
            days: FIELDS[2].values(day)?,
            months: FIELDS[3].values(month)?,
            weekdays: weekdays | (weekdays >> 7), // 7 is Sunday, too
            either: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        let leap = DateTime::constant(2024, 1, 1, 0, 0, 0, 0);
        cron.after(leap).map(|_| cron).ok_or(InvalidCron::Never)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cron {
    /// The first time after a moment, by the clock of a zone.
    #[must_use]
    pub fn next(&self, zone: &TimeZone, after: UnixMillis) -> Option<UnixMillis> {
        let after = Timestamp::from_millisecond(after.0).ok()?;
        let mut shown = zone.to_datetime(after);
        // What the clock shows twice was taken at the first.
        loop {
            shown = self.after(shown)?;
            let at = moment(zone, shown)?;
            if at > after {
                return Some(UnixMillis(at.as_millisecond()));
            }
        }
    }

    /// The first time after this one, on a clock that nobody turns.
    fn after(&self, shown: DateTime) -> Option<DateTime> {
        let mut date = shown.date();
        let mut from = minute_of(shown) + 1;
        for _ in 0..AHEAD {
            if self.has_day(date)
                && let Some(minute) = (from..24 * 60).find(|minute| self.has_minute(*minute))
            {
                let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
                return Some(date.at(hour, minute, 0, 0));
            }
            date = date.checked_add(1.day()).ok()?;
            from = 0;
        }
        None
    }

    fn has_minute(&self, minute: u16) -> bool {
        has(self.hours, minute / 60) && has(self.minutes, minute % 60)
    }

    fn has_day(&self, date: Date) -> bool {
        let (day, weekday) = (
            has(self.days, date.day().unsigned_abs()),
            has(self.weekdays, date.weekday().to_sunday_zero_offset().unsigned_abs()),
        );
        let is_day = if self.either { day || weekday } else { day && weekday };
        is_day && has(self.months, date.month().unsigned_abs())
    }
}

/// When the clock of a zone shows this.
fn moment(zone: &TimeZone, shown: DateTime) -> Option<Timestamp> {
    let when = zone.to_ambiguous_timestamp(shown);
    match when.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => when.compatible().ok(),
        AmbiguousOffset::Gap { after, .. } => {
            let before = after.to_timestamp(shown).ok()?;
            zone.following(before).next().map(|turned| turned.timestamp())
        }
    }
}

fn minute_of(shown: DateTime) -> u16 {
    u16::from(shown.hour().unsigned_abs()) * 60 + u16::from(shown.minute().unsigned_abs())
}

fn has(set: u64, value: impl Into<u32>) -> bool {
    set & (1 << value.into()) != 0
}

impl Field {
    /// The values of a list, as bits.
    fn values(&self, text: &str) -> Result<u64, InvalidCron> {
        text.split(',').try_fold(0, |all, part| Ok(all | self.part(part).ok_or_else(|| self.refuse(part))?))
    }

    fn part(&self, part: &str) -> Option<u64> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u8>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (low, high) = match (range, range.split_once('-')) {
            ("*", _) => (self.low, self.high),
            (_, Some((low, high))) => (self.value(low)?, self.value(high)?),
            (one, None) => (self.value(one)?, if step.is_some() { self.high } else { self.value(one)? }),
        };
        let values = (low..=high).step_by(usize::from(step.unwrap_or(1)));
        let set = values.fold(0, |set, value| set | (1 << value));
        (set != 0).then_some(set)
    }

    fn value(&self, text: &str) -> Option<u8> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let value = match word {
            Some(at) => self.low + u8::try_from(at).ok()?,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (self.low..=self.high).contains(&value).then_some(value)
    }

    fn refuse(&self, part: &str) -> InvalidCron {
        let part = part.chars().take(20).collect();
        InvalidCron::Part { field: self.name, part, low: self.low, high: self.high }
    }
}

#[cfg(test)]
mod tests;
