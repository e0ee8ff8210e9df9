use std::collections::BTreeMap;

use super::*;

fn job() -> Job {
    Job {
        command: vec!["/bin/sh".to_owned()],
        environment: BTreeMap::new(),
        folder: "/".into(),
        user: None,
        output_limit: 1,
        time_limit: Some(Duration::from_millis(7)),
        survives: true,
        boot_id: "boot".to_owned(),
    }
}

#[test]
fn an_order_is_taken_once_and_not_after_it_was_called_off() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::at(&folder.path().join("1"));
    place.reserve().unwrap();
    assert_eq!(place.reserve().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    place.order(&job()).unwrap();
    assert_eq!(place.job(), Some(job()));
    assert_eq!(place.claim().unwrap(), Some(job()));
    assert_eq!((place.claim().unwrap(), place.call_off()), (None, false));
    assert_eq!(place.job(), Some(job()), "the next agent can read it");
    let other = Place::at(&folder.path().join("2"));
    other.reserve().unwrap();
    other.order(&job()).unwrap();
    assert!(other.call_off() && other.call_off());
    assert_eq!((other.claim().unwrap(), other.job()), (None, None));
}

#[test]
fn what_was_written_down_is_read_and_half_a_file_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::at(folder.path());
    assert_eq!((place.ended(), place.asked()), (None, None));
    let ended = Ended { exit_code: Some(3), dropped: [0, 9], ..Ended::default() };
    place.end(&ended).unwrap();
    place.ask(Asked::TimedOut).unwrap();
    assert_eq!((place.ended(), place.asked()), (Some(ended), Some(Asked::TimedOut)));
    std::fs::write(folder.path().join("ended"), "{\"exit_code\":").unwrap();
    assert_eq!(place.ended(), None);
}

#[test]
fn who_is_asked_to_end_by_nobody_of_muster_is_stopped_from_outside_or_late() {
    for (limit, why) in [
        (None, Asked::Stopped),
        (Some(Duration::from_secs(900)), Asked::Stopped),
        (Some(Duration::ZERO), Asked::TimedOut),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (place, job) = (Place::at(folder.path()), Job { time_limit: limit, ..job() });
        Watch::new(&place, &job).asked();
        assert_eq!(place.asked(), Some(why));
    }
    let folder = tempfile::tempdir().unwrap();
    let (place, job) = (Place::at(folder.path()), job());
    place.ask(Asked::Cancelled).unwrap();
    Watch::new(&place, &job).asked();
    assert_eq!(place.asked(), Some(Asked::Cancelled), "it was noted before");
}

#[test]
fn what_a_full_disk_took_is_counted_as_kept() {
    let mut disk = io::Cursor::new([0_u8; 5]);
    assert_eq!(write_what_goes(&mut disk, b"abc"), 3);
    assert_eq!(write_what_goes(&mut disk, b"defg"), 2);
    assert_eq!(disk.into_inner(), *b"abcde");
}

#[tokio::test]
async fn nothing_runs_where_there_is_no_order() {
    let folder = tempfile::tempdir().unwrap();
    supervise(folder.path()).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
