use std::time::Duration;

use muster_common::{clock::UnixMillis, ids::OperationId};
use muster_domain::schedule::{Fire, Outcome, Schedule};
use muster_store::{
    ChangeKind, Error, ReadChanges as _, ReadSchedules as _, SchedulePlace, Store, WriteSchedules as _,
};

use crate::harness::{Database, NOW, pages, read, report, stamp, write};

pub(crate) fn schedule(name: &str) -> Schedule {
    Schedule {
        name: name.into(),
        cron: "0 3 * * mon".into(),
        time_zone: "host".into(),
        operation: vec![0, 255, 1],
        paused: true,
        catch_up: Duration::from_secs(90),
        overlap: true,
        owner: "operator/alice".into(),
        created_at: NOW,
        updated_at: NOW + Duration::from_secs(1),
        since: NOW + Duration::from_secs(2),
        traceparent: "00-trace-span-01".into(),
        revision: 0,
    }
}

fn fire(name: &str, minutes: u64, outcome: Outcome) -> Fire {
    Fire {
        schedule: name.into(),
        zone: "Europe/Berlin".into(),
        at: NOW + Duration::from_secs(60 * minutes),
        outcome,
        operation: (outcome == Outcome::Started).then(|| OperationId::from_u128(minutes.into())),
        message: "why".into(),
    }
}

fn settle(store: &Store, fire: Fire) {
    report(store, move |tx| tx.schedule_settle(&fire, fire.at));
}

pub(crate) fn schedules_come_back_and_are_on_the_feed(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.schedule_mark()), (0, 0));
    for name in ["b", "a", "c"] {
        write(&store, move |tx| tx.schedule_put(&schedule(name)));
    }
    let changed = Schedule { paused: false, overlap: false, ..schedule("b") };
    let put = changed.clone();
    let revision = write(&store, move |tx| tx.schedule_put(&put)).revision;
    assert_eq!(read(&store, |tx| tx.schedule_get("b")), Some(Schedule { revision, ..changed }));
    assert_eq!(read(&store, |tx| tx.schedule_mark()), (3, revision));
    let changes = read(&store, move |tx| tx.changes_since(revision - 1, 10));
    assert_eq!(
        changes.iter().map(|it| (it.kind, it.id.as_str())).collect::<Vec<_>>(),
        [(ChangeKind::Schedule, "b")]
    );
    let listed = pages(2, |page| read(&store, move |tx| tx.schedule_list(&page)));
    assert_eq!(listed, read(&store, |tx| tx.schedule_all()));
    assert_eq!(listed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(write(&store, |tx| tx.schedule_delete("b")).value);
    assert!(!write(&store, |tx| tx.schedule_delete("b")).value);
    assert_eq!(read(&store, |tx| tx.schedule_get("b")), None);
}

pub(crate) fn a_time_is_done_with_once_and_the_last_operation_is_known(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.schedule_put(&schedule("a")));
    let (started, skipped) = (fire("a", 1, Outcome::Started), fire("a", 2, Outcome::Overlapped));
    settle(&store, started.clone());
    settle(&store, skipped.clone());
    let again = started.clone();
    let twice = store.write_blocking(stamp(), move |tx| tx.schedule_settle(&again, again.at));
    assert!(matches!(twice, Err(Error::Constraint(_))));
    let stranger = fire("b", 1, Outcome::Started);
    let foreign = store.write_blocking(stamp(), move |tx| tx.schedule_settle(&stranger, stranger.at));
    assert!(matches!(foreign, Err(Error::Constraint(_))), "there is no such schedule");
    let place = SchedulePlace {
        schedule: "a".into(),
        zone: "Europe/Berlin".into(),
        until: skipped.at,
        operation: started.operation,
    };
    assert_eq!(read(&store, |tx| tx.schedule_place("a", "Europe/Berlin")).as_ref(), Some(&place));
    assert_eq!(read(&store, |tx| tx.schedule_place("a", "UTC")), None);
    assert_eq!(read(&store, |tx| tx.schedule_place_all()), [place]);
    assert_eq!(read(&store, |tx| tx.schedule_fires("a", 9)), [skipped.clone(), started]);
    assert_eq!(read(&store, |tx| tx.schedule_fires("a", 1)), [skipped]);
    write(&store, |tx| tx.schedule_delete("a"));
    assert_eq!(read(&store, |tx| tx.schedule_fires("a", 9)), []);
    assert_eq!(read(&store, |tx| tx.schedule_place_all()), []);
}

/// The clock of Berlin begins for a schedule, so many minutes on.
pub(crate) fn begun(store: &Store, schedule: &str, minutes: u64) -> SchedulePlace {
    let place = SchedulePlace {
        schedule: schedule.into(),
        zone: "Europe/Berlin".into(),
        until: NOW + Duration::from_secs(60 * minutes),
        operation: None,
    };
    let begins = place.clone();
    report(store, move |tx| tx.schedule_begin(&begins));
    place
}

pub(crate) fn a_clock_begins_once_and_ends(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.schedule_put(&schedule("a")));
    let first = [begun(&store, "a", 1)];
    begun(&store, "a", 2);
    begun(&store, "b", 1);
    assert_eq!(read(&store, |tx| tx.schedule_place_all()), first);
    report(&store, |tx| tx.schedule_place_delete("a", "UTC"));
    assert_eq!(read(&store, |tx| tx.schedule_place_all()), first);
    report(&store, |tx| tx.schedule_place_delete("a", "Europe/Berlin"));
    assert_eq!(read(&store, |tx| tx.schedule_place_all()), []);
}

pub(crate) fn times_of_long_ago_and_too_many_go(database: &impl Database) {
    let store = database.open();
    for name in ["a", "b"] {
        write(&store, move |tx| tx.schedule_put(&schedule(name)));
        for minutes in 1..=5 {
            settle(&store, fire(name, minutes, Outcome::Missed));
        }
    }
    settle(&store, fire("a", 6, Outcome::Started));
    let left = |name: &'static str| -> Vec<i64> {
        let minute = |at: UnixMillis| (at.0 - NOW.0) / 60_000;
        read(&store, move |tx| tx.schedule_fires(name, 99)).iter().map(|fire| minute(fire.at)).collect()
    };
    let prune = |minutes: u64, keep, step| {
        let before = NOW + Duration::from_secs(60 * minutes);
        report(&store, move |tx| tx.schedule_fire_prune(before, keep, step)).value
    };
    assert_eq!((prune(3, 9, 3), prune(3, 9, 3), prune(3, 9, 3)), (3, 1, 0));
    assert_eq!((left("a"), left("b")), (vec![6, 5, 4, 3], vec![5, 4, 3]));
    assert_eq!(prune(0, 3, 9), 1);
    assert_eq!((left("a"), left("b")), (vec![6, 5, 4], vec![5, 4, 3]));
}
