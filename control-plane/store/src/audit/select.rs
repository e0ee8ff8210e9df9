//! Finding the entries that a filter wants. One of its conditions drives: an
//! index brings its entries in the order of places; the others are looked at
//! row by row. All texts take the same parameters.

use muster_domain::audit::{Entry, Filter, Placed};

use crate::{
    engine::{Row, params},
    error::Error,
    tx::Reader,
};

/// Places between two others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Not included.
    pub(super) above: u64,
    /// Not included.
    pub(super) below: u64,
}

/// Of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// They fall.
    Newest,
    /// They rise.
    Oldest,
}

/// What brings the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Subject,
    Actor,
    Action,
    Denied,
    Replica,
    Place,
}

macro_rules! columns {
    ($rest:expr) => {
        concat!(
            "SELECT place, replica, seq, actor, action, at, remote_address, trace_id, subject, before_json, \
             after_json, denied, previous, hash FROM audit ",
            $rest
        )
    };
}
pub(super) use columns;

/// A pair of texts, rising and falling; the conditions on subject, actor,
/// action, denial and replica in this order.
macro_rules! texts {
    ($subject:literal, $actor:literal, $action:literal, $denied:literal, $replica:literal) => {
        [texts!(@ "ASC" $subject, $actor, $action, $denied, $replica),
         texts!(@ "DESC" $subject, $actor, $action, $denied, $replica)]
    };
    (@ $order:literal $subject:literal, $actor:literal, $action:literal, $denied:literal, $replica:literal) => {
        columns!(concat!(
            "WHERE place > $1 AND place < $2 AND at >= $3 AND at < $4 AND ",
            $subject, " AND ", $actor, " AND ", $action, " AND ", $denied, " AND ", $replica,
            " ORDER BY place ", $order, " LIMIT $10"
        ))
    };
}

const SUBJECT: [&str; 2] = texts!(
    "subject = $5",
    "($6 = '' OR actor = $6)",
    "substr(action, 1, length($7)) = $7",
    "denied >= $8",
    "($9 = '' OR replica = $9)"
);
const ACTOR: [&str; 2] = texts!(
    "($5 = '' OR subject = $5)",
    "actor = $6",
    "substr(action, 1, length($7)) = $7",
    "denied >= $8",
    "($9 = '' OR replica = $9)"
);
const ACTION: [&str; 2] = texts!(
    "($5 = '' OR subject = $5)",
    "($6 = '' OR actor = $6)",
    "action = $7",
    "denied >= $8",
    "($9 = '' OR replica = $9)"
);
const DENIED: [&str; 2] = texts!(
    "($5 = '' OR subject = $5)",
    "($6 = '' OR actor = $6)",
    "substr(action, 1, length($7)) = $7",
    "(denied = 1 AND denied >= $8)",
    "($9 = '' OR replica = $9)"
);
const REPLICA: [&str; 2] = texts!(
    "($5 = '' OR subject = $5)",
    "($6 = '' OR actor = $6)",
    "substr(action, 1, length($7)) = $7",
    "denied >= $8",
    "replica = $9"
);
const PLACE: [&str; 2] = texts!(
    "($5 = '' OR subject = $5)",
    "($6 = '' OR actor = $6)",
    "substr(action, 1, length($7)) = $7",
    "denied >= $8",
    "($9 = '' OR replica = $9)"
);

/// Entries that a filter wants, within a span of places, at most so many.
pub(super) fn entries<R: Reader + ?Sized>(
    tx: &mut R,
    filter: &Filter,
    span: Span,
    order: Order,
    limit: u64,
) -> Result<Vec<Placed<Entry>>, Error> {
    let driver = Driver::of(filter);
    if driver != Driver::Action {
        return run(tx, (driver, order), filter, span, limit);
    }
    // Actions are few, and each has its entries in the order of places: the
    // best of each, put together, are the best of all.
    let mut found: Vec<Placed<Entry>> = Vec::new();
    let (mut span, keep) = (span, usize::try_from(limit).unwrap_or(usize::MAX));
    for action in actions(tx, &filter.action_prefix)? {
        let one = Filter { action_prefix: action, ..filter.clone() };
        found.extend(run(tx, (driver, order), &one, span, limit)?);
        found.sort_by_key(|(place, _)| *place);
        if order == Order::Newest {
            found.reverse();
        }
        found.truncate(keep);
        // Whoever comes after the last of a full answer is not wanted any more.
        match (order, found.last().filter(|_| found.len() == keep)) {
            (Order::Newest, Some((last, _))) => span.above = *last,
            (Order::Oldest, Some((last, _))) => span.below = *last,
            (_, None) => {}
        }
    }
    Ok(found)
}

/// The times of a filter, as a text compares them.
pub(super) fn times(filter: &Filter) -> (i64, i64) {
    (filter.since.map_or(i64::MIN, |at| at.0), filter.until.map_or(i64::MAX, |at| at.0))
}

pub(super) fn placed(row: &mut Row) -> Result<Placed<Entry>, Error> {
    Ok((row.u64("audit place")?, super::decode(row)?))
}

fn run<R: Reader + ?Sized>(
    tx: &mut R,
    (driver, order): (Driver, Order),
    filter: &Filter,
    span: Span,
    limit: u64,
) -> Result<Vec<Placed<Entry>>, Error> {
    let (since, until) = times(filter);
    let values = params![
        span.above,
        span.below,
        since,
        until,
        &filter.subject,
        &filter.actor,
        &filter.action_prefix,
        filter.denied_only,
        &filter.replica,
        limit,
    ];
    tx.rows(driver.text(order), values, placed)
}

/// Every action that starts so, by leaps through the index.
fn actions<R: Reader + ?Sized>(tx: &mut R, prefix: &str) -> Result<Vec<String>, Error> {
    const FIRST: &str = "SELECT action FROM audit WHERE action >= $1 ORDER BY action LIMIT 1";
    const NEXT: &str = "SELECT action FROM audit WHERE action > $1 ORDER BY action LIMIT 1";
    let mut actions: Vec<String> = Vec::new();
    loop {
        let (sql, from) = actions.last().map_or((FIRST, prefix), |last| (NEXT, last.as_str()));
        match tx.row(sql, params![from], |row| row.text("action"))? {
            Some(action) if action.starts_with(prefix) => actions.push(action),
            _ => return Ok(actions),
        }
    }
}

impl Driver {
    /// The condition that leaves least.
    fn of(filter: &Filter) -> Self {
        match filter {
            filter if !filter.subject.is_empty() => Self::Subject,
            filter if !filter.actor.is_empty() => Self::Actor,
            filter if !filter.action_prefix.is_empty() => Self::Action,
            filter if filter.denied_only => Self::Denied,
            filter if !filter.replica.is_empty() => Self::Replica,
            _ => Self::Place,
        }
    }

    const fn text(self, order: Order) -> &'static str {
        let texts = match self {
            Self::Subject => &SUBJECT,
            Self::Actor => &ACTOR,
            Self::Action => &ACTION,
            Self::Denied => &DENIED,
            Self::Replica => &REPLICA,
            Self::Place => &PLACE,
        };
        match order {
            Order::Oldest => texts[0],
            Order::Newest => texts[1],
        }
    }
}

#[cfg(test)]
mod tests;
