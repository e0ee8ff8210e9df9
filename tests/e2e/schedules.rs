//! Operations that start by themselves, with real processes.

use std::time::Duration;

use muster_proto::admin::v1::{self as pb, Liveness, ScheduleOutcome};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, reason, script},
    plane::{Options, Plane},
};

/// Until the next full minute, and then some.
const MINUTE: Duration = Duration::from_secs(90);

fn schedule(name: &str, cron: &str, time_zone: &str, text: &str) -> pb::Schedule {
    pb::Schedule {
        name: name.to_owned(),
        cron: cron.to_owned(),
        time_zone: time_zone.to_owned(),
        operation: Some(pb::StartOperationRequest {
            selector: "*".to_owned(),
            spec: Some(script(text)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn create(operator: &Operator, schedule: pb::Schedule) -> Result<pb::Schedule, tonic::Status> {
    let request = pb::CreateScheduleRequest { schedule: Some(schedule), validate_only: false };
    let made = operator.schedules.clone().create_schedule(request).await?;
    Ok(made.into_inner().schedule.unwrap())
}

async fn get(operator: &Operator, name: &str) -> pb::Schedule {
    let request = pb::GetScheduleRequest { name: name.to_owned() };
    let got = eventually("the schedule is told", LONG, || async {
        operator.schedules.clone().get_schedule(request.clone()).await.ok()
    });
    got.await.into_inner().schedule.unwrap()
}

#[tokio::test]
async fn a_time_starts_one_operation_though_the_control_plane_is_killed_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let text = format!("echo x >> {}", agent.file("count").display());
    create(&operator, schedule("often", "* * * * *", "UTC", &text)).await.unwrap();
    plane.kill();
    plane.serve(&[("MUSTER_CRASH_AT", "app.schedule.started")]).await;
    let ended = eventually("it ends where a schedule has started its operation", MINUTE, || {
        std::future::ready((!plane.process().is_running()).then_some(()))
    });
    ended.await;
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let fires = || async {
        let fires = get(&operator, "often").await.last_fires;
        (fires.len() >= 2).then_some(fires)
    };
    let fires = eventually("the time after that starts another", MINUTE, fires).await;
    let listed = operator.operations.clone().list_operations(pb::ListOperationsRequest::default()).await;
    let operations = listed.unwrap().into_inner().operations;
    for fire in &fires {
        assert_eq!(fire.outcome(), ScheduleOutcome::Started, "{fires:?}");
        let minute = fire.time.unwrap().seconds;
        assert_eq!(minute % 60, 0);
        assert_eq!(fires.iter().filter(|other| other.time == fire.time).count(), 1);
        assert_eq!(operations.iter().filter(|operation| operation.id == fire.operation_id).count(), 1);
        operator.ended(&fire.operation_id, LONG).await;
    }
    let first_two = fires.len();
    assert!(
        operations.len() >= first_two && operations.iter().all(|operation| operation.schedule == "often")
    );
    assert!(operations.len() <= first_two + 1, "none without a time: {operations:?}");
    let ran = agent.read("count").unwrap().lines().count();
    assert!((first_two..=first_two + 1).contains(&ran), "each ran once: {ran} of {first_two}");
}

#[tokio::test]
async fn hosts_have_their_own_clocks() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let join = plane.join(2, &[]).await;
    for (name, zone) in [("east", "Asia/Kolkata"), ("south", "Africa/Johannesburg")] {
        let mut agent = Agent::host(folder.path(), name, OPEN);
        agent.connect(&join);
        agent.run_with(&[("TZ", zone)]);
        operator.until_liveness(&agent.node, Liveness::Online).await;
        eventually("its facts are known", LONG, || async {
            let facts = operator.node(&agent.node).await?.facts?;
            (facts.timezone == zone).then_some(())
        })
        .await;
        // The process ends with its owner, and what it told stays.
    }
    let made = create(&operator, schedule("noon", "0 12 * * *", "host", "date")).await.unwrap();
    let mut at: Vec<(&str, i64)> = made
        .next_times
        .iter()
        .map(|time| (time.time_zone.as_str(), time.time.unwrap().seconds % 86_400))
        .collect();
    at.sort_unstable();
    assert_eq!(at, [("Africa/Johannesburg", 10 * 3600), ("Asia/Kolkata", 6 * 3600 + 1800)]);
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused_with_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let good = || schedule("nightly", "0 3 * * *", "UTC", "true");
    let with = |change: fn(&mut pb::StartOperationRequest)| {
        let mut schedule = good();
        change(schedule.operation.as_mut().unwrap());
        schedule
    };
    let invalid = muster_common::reason::Reason::InvalidArgument;
    let selector = muster_common::reason::Reason::SelectorInvalid;
    for (wrong, field, why) in [
        (pb::Schedule { name: "Nightly".to_owned(), ..good() }, "schedule.name", invalid),
        (pb::Schedule { cron: "0 3 * *".to_owned(), ..good() }, "schedule.cron", invalid),
        (pb::Schedule { cron: "0 3 31 2 *".to_owned(), ..good() }, "schedule.cron", invalid),
        (pb::Schedule { time_zone: "Mars/North".to_owned(), ..good() }, "schedule.time_zone", invalid),
        (pb::Schedule { operation: None, ..good() }, "schedule.operation", invalid),
        (with(|it| it.request_id = "x".to_owned()), "schedule.operation.request_id", invalid),
        (with(|it| it.validate_only = true), "schedule.operation.validate_only", invalid),
        (
            with(|it| it.not_before = Some(prost_types::Timestamp::default())),
            "schedule.operation.not_before",
            invalid,
        ),
        (with(|it| it.selector = "a=b=c".to_owned()), "schedule.operation.selector", selector),
        (with(|it| it.lane = "A B".to_owned()), "schedule.operation.lane", invalid),
    ] {
        let refused = create(&operator, wrong).await.unwrap_err();
        assert_eq!(reason(&refused), Some(why), "{field}");
        assert!(refused.message().starts_with(&format!("{field}:")), "{field}: {}", refused.message());
    }
    let made = create(&operator, good()).await.unwrap();
    assert_eq!(create(&operator, good()).await.unwrap().etag, made.etag, "once more");
    let other = pb::Schedule { paused: true, ..good() };
    let taken = create(&operator, other.clone()).await.unwrap_err();
    assert_eq!(reason(&taken), Some(muster_common::reason::Reason::AlreadyExists));
    let request = |etag: &str| pb::UpdateScheduleRequest {
        schedule: Some(pb::Schedule { etag: etag.to_owned(), ..other.clone() }),
        validate_only: false,
    };
    let stale = operator.schedules.clone().update_schedule(request("\"1\"")).await.unwrap_err();
    assert_eq!(reason(&stale), Some(muster_common::reason::Reason::EtagMismatch));
    operator.schedules.clone().update_schedule(request(&made.etag)).await.unwrap();
    assert!(get(&operator, "nightly").await.paused);
}
