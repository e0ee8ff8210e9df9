use super::*;

const LIMITS: Limits = Limits {
    probation: Duration::from_secs(10),
    patience: Duration::from_secs(30),
    longest: Duration::from_secs(300),
};
const SECOND: Duration = Duration::from_secs(1);

fn seen(runs: Option<Which>, is_well: bool) -> Seen {
    Seen { installed: Place::Has(runs.unwrap_or(Which::New)), runs, deaths: 0, is_well, way_is_open: true }
}

/// Looks the same for so many seconds, or until the stage is another one.
fn looked(mut stage: Stage, seen: Seen, seconds: u32) -> Stage {
    let name = stage.name();
    for _ in 0..seconds {
        stage = stage.after(Event::Looked(SECOND, seen), LIMITS);
        if stage.name() != name {
            break;
        }
    }
    stage
}

fn probation() -> Stage {
    Stage::Probation(Watch::default())
}

fn why(stage: &Stage) -> Kind {
    match stage {
        Stage::RollingBack { why, .. } => why.kind,
        Stage::Ended(End::Refused(why) | End::RolledBack(why) | End::Failed(why)) => why.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_version_is_kept_once_it_was_well_for_the_whole_probation_without_a_break() {
    let well = seen(Some(Which::New), true);
    let almost = looked(probation(), well, 9);
    assert_eq!((almost.name(), almost.percent(LIMITS)), ("probation", 90));
    let broken = looked(almost, seen(Some(Which::New), false), 1);
    assert_eq!(looked(broken.clone(), well, 9).name(), "probation");
    assert_eq!(looked(broken, well, 10), Stage::Ended(End::Committed));
}

#[test]
fn what_is_silent_is_blamed_only_while_the_way_is_open() {
    let silent = seen(Some(Which::New), false);
    assert_eq!(why(&looked(probation(), silent, 30)), Kind::Silent);
    let closed = Seen { way_is_open: false, ..silent };
    let waits = looked(probation(), closed, 299);
    assert_eq!(waits.name(), "probation");
    let after = looked(waits, closed, 1);
    assert_eq!((why(&after), why(&after).blames_version()), (Kind::CutOff, false));
    // What never comes up needs no way for that.
    let down = Seen { runs: None, way_is_open: false, ..silent };
    assert_eq!(why(&looked(probation(), down, 30)), Kind::Crashed);
}

#[test]
fn others_may_kill_it_and_what_dies_again_and_again_is_blamed() {
    let dead = |deaths| Seen { deaths, ..seen(Some(Which::New), true) };
    assert_eq!(looked(probation(), dead(DEATHS - 1), 20), Stage::Ended(End::Committed));
    assert_eq!(why(&looked(probation(), dead(DEATHS), 20)), Kind::Crashed);
}

#[test]
fn going_back_is_tried_again_and_what_neither_version_can_is_nobodys_fault() {
    let back = Stage::RollingBack { why: Failure::new(Kind::Silent, "so"), tries: 0 };
    let failed = || Event::Done(Err(Failure::new(Kind::DiskFull, "full")));
    let again = back.clone().after(failed(), LIMITS);
    assert_eq!((again.name(), why(&again)), ("rolling-back", Kind::Silent));
    let mut stage = back.clone();
    for _ in 0..TRIES {
        stage = stage.after(failed(), LIMITS);
    }
    assert_eq!((stage.name(), why(&stage)), ("failed", Kind::DiskFull));
    let returned = || back.clone().after(Event::Done(Ok(())), LIMITS);
    let old = |is_well| seen(Some(Which::Old), is_well);
    assert_eq!(why(&looked_to_end(returned(), old(true))), Kind::Silent);
    assert_eq!(why(&looked_to_end(returned(), old(false))), Kind::CutOff);
    let none = Seen { installed: Place::Has(Which::Old), ..seen(None, false) };
    let failed = looked_to_end(returned(), none);
    assert_eq!((failed.name(), why(&failed)), ("failed", Kind::Host));
}

fn looked_to_end(stage: Stage, seen: Seen) -> Stage {
    looked(stage, seen, 1000)
}

#[test]
fn before_it_switches_a_failure_changes_nothing() {
    let failed = || Event::Done(Err(Failure::new(Kind::Invalid, "so")));
    for stage in [Stage::Verified, Stage::Staged] {
        assert_eq!(stage.after(failed(), LIMITS).name(), "refused");
    }
    assert_eq!(Stage::Switching.after(failed(), LIMITS).name(), "rolling-back");
    let over = Stage::Ended(End::Committed);
    assert_eq!(over.clone().after(failed(), LIMITS), over, "what is over stays");
}
