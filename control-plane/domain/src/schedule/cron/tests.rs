use super::*;

fn cron(text: &str) -> Cron {
    text.parse().unwrap()
}

fn at(text: &str) -> UnixMillis {
    UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
}

/// The next few times after a moment.
fn times(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let (cron, zone) = (cron(text), TimeZone::get(zone).unwrap());
    let next = |after: &UnixMillis| cron.next(&zone, *after);
    let all = std::iter::successors(next(&at(after)), next).take(count);
    all.map(|at| Timestamp::from_millisecond(at.0).unwrap().to_string()).collect()
}

#[test]
fn fields_name_minutes_hours_and_days() {
    let utc = |text| times(text, "UTC", "2026-01-14T10:07:30Z", 2);
    assert_eq!(utc("* * * * *"), ["2026-01-14T10:08:00Z", "2026-01-14T10:09:00Z"]);
    assert_eq!(utc("*/20 * * * *"), ["2026-01-14T10:20:00Z", "2026-01-14T10:40:00Z"]);
    assert_eq!(utc("5/30 9-17/4 * * *"), ["2026-01-14T13:05:00Z", "2026-01-14T13:35:00Z"]);
    assert_eq!(utc("0 3 * * Sat,sun"), ["2026-01-17T03:00:00Z", "2026-01-18T03:00:00Z"]);
    assert_eq!(utc("0 3 * * 7"), ["2026-01-18T03:00:00Z", "2026-01-25T03:00:00Z"]);
    assert_eq!(utc("0 0 1 jan-mar *"), ["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]);
    assert_eq!(utc("0 0 29 2 *"), ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
}

#[test]
fn of_two_kinds_of_days_one_is_enough_if_both_are_named() {
    let utc = |text| times(text, "UTC", "2026-01-14T10:07:30Z", 3);
    let either = ["2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z", "2026-01-23T00:00:00Z"];
    assert_eq!(utc("0 0 15 * fri"), either);
    let both = ["2026-01-23T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-27T00:00:00Z"];
    assert_eq!(utc("0 0 */2 * fri"), both);
}

#[test]
fn a_time_that_the_clock_passes_over_happens_once_right_after() {
    // 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
    let berlin = |text| times(text, "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(berlin("30 2 * * *"), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    assert_eq!(berlin("15,30 2 29 * *"), ["2026-03-29T01:00:00Z", "2026-04-29T00:15:00Z"]);
    assert_eq!(
        times("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 4),
        ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z"]
    );
}

#[test]
fn a_time_that_the_clock_shows_twice_happens_at_the_first() {
    // 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
    let berlin = |text| times(text, "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(berlin("30 2 * * *"), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    assert_eq!(
        times("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", 3),
        ["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"]
    );
    let second = times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1);
    assert_eq!(second, ["2026-10-26T01:30:00Z"], "looked for between the two");
}

#[test]
fn what_cannot_be_is_refused_and_the_field_is_named() {
    let error = |text: &str| text.parse::<Cron>().unwrap_err().to_string();
    assert!(error("* * * *").starts_with("it has 4 fields"));
    for (text, field) in [
        ("60 * * * *", "minute: \"60\""),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "day of week"),
        ("5-1 * * * *", "minute: \"5-1\""),
        ("*/0 * * * *", "minute: \"*/0\""),
        ("1,,2 * * * *", "minute: \"\""),
        ("+1 * * * *", "minute: \"+1\""),
        ("* * * mon *", "month: \"mon\""),
    ] {
        assert!(error(text).starts_with(field), "{text}: {}", error(text));
    }
    assert_eq!("0 0 30 2 *".parse::<Cron>(), Err(InvalidCron::Never));
    assert_eq!(cron(" 0  3 * * mon ").to_string(), "0 3 * * mon");
}

/// Against what a clock shows minute by minute, over a year with its two turns.
#[test]
fn no_time_is_left_out_and_none_comes_twice() {
    for (text, zone) in [
        ("17 */5 * * *", "Europe/Berlin"),
        ("*/45 1-3 * * sun", "America/New_York"),
        ("30 0 1,15 * 5", "Australia/Lord_Howe"),
    ] {
        let (cron, zone) = (cron(text), TimeZone::get(zone).unwrap());
        let (start, end) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let next = |after: &UnixMillis| cron.next(&zone, *after).filter(|at| *at < end);
        let found: Vec<UnixMillis> = std::iter::successors(next(&start), next).collect();
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{text}");
        let mut shown = std::collections::BTreeSet::new();
        let mut expected = Vec::new();
        for minute in 1..365 * 24 * 60 {
            let now = UnixMillis(start.0 + minute * 60_000);
            let clock = zone.to_datetime(Timestamp::from_millisecond(now.0).unwrap());
            let is_named = cron.has_day(clock.date()) && cron.has_minute(minute_of(clock));
            if is_named && shown.insert(clock) {
                expected.push(now);
            }
        }
        let passed_over: Vec<_> = found.iter().filter(|at| !expected.contains(at)).collect();
        assert!(expected.iter().all(|at| found.contains(at)), "{text}");
        assert!(passed_over.len() <= 1, "{text}: only where the clock was turned forward: {passed_over:?}");
    }
}

#[test]
fn an_expression_has_a_bound() {
    let long = |minutes: usize| format!("{}0 * * * *", "0,".repeat(minutes));
    assert!(long(123).parse::<Cron>().is_ok());
    assert_eq!(long(124).parse::<Cron>(), Err(InvalidCron::Long(257)));
    assert_eq!(" ".repeat(300).parse::<Cron>(), Err(InvalidCron::Long(300)));
}
