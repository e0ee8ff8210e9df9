use super::*;

fn in_lane(text: &str) -> Ticket {
    Ticket { lane: "db".to_owned(), ..script(text) }
}

/// Waits for the file at `gate`; then says what is there of `trace`, and adds to it.
fn step(folder: &std::path::Path, gate: &str, name: &str) -> Ticket {
    let (gate, trace) = (folder.join(gate), folder.join("trace"));
    in_lane(&format!(
        "echo begun; while [ ! -e {} ]; do sleep 0.02; done; echo {name} >> {}",
        gate.display(),
        trace.display()
    ))
}

#[tokio::test]
async fn orders_of_one_lane_run_one_after_the_other_and_others_beside_them() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let folder = room.folder.path().to_owned();
    let (first, second) = (step(&folder, "gate", "first"), step(&folder, "gate", "second"));
    for order in [&first, &second] {
        room.handle.deliver(order.clone()).await;
    }
    room.running(first.id, "begun").await;
    let beside = script("echo beside");
    room.handle.deliver(beside.clone()).await;
    assert_eq!(end(&room.ended(beside.id).await).0, CommandState::Succeeded);
    assert_eq!(room.handle.reports(second.id, 0, 0).await, [], "it waits for the first");
    std::fs::write(folder.join("gate"), "").unwrap();
    room.ended(second.id).await;
    assert_eq!(std::fs::read_to_string(folder.join("trace")).unwrap(), "first\nsecond\n");
    room.end().await;
}

#[tokio::test]
async fn any_end_of_an_order_lets_the_next_of_its_lane_go() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let orders = [
        in_lane("exit 3"),
        Ticket { kind: "who-knows".to_owned(), ..in_lane("") },
        Ticket { finish_by: Some(UnixMillis(5)), ..in_lane("") },
        Ticket { not_before: Some(Clock::System.now() + Duration::from_secs(600)), ..in_lane("") },
        in_lane("echo last"),
    ];
    for order in &orders {
        room.handle.deliver(order.clone()).await;
    }
    assert_eq!(end(&room.ended(orders[2].id).await).0, CommandState::TimedOut);
    room.ended(orders[1].id).await;
    assert_eq!(room.handle.reports(orders[4].id, 0, 0).await, [], "one before it waits for its time");
    room.handle.cancel(orders[3].id, false).await;
    assert_eq!(end(&room.ended(orders[4].id).await).0, CommandState::Succeeded);
    room.end().await;
}

#[tokio::test]
async fn a_lane_keeps_its_order_over_a_restart_of_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_owned();
    let orders = ["first", "second", "third"].map(|name| step(&place, "gate", name));
    let before = room(folder, OPEN).await;
    for order in &orders {
        before.handle.deliver(order.clone()).await;
    }
    before.running(orders[0].id, "begun").await;
    let after = room(before.end().await, OPEN).await;
    after.handle.heard(Vec::new()).await;
    assert_eq!(end(&after.ended(orders[0].id).await).0, CommandState::Interrupted);
    after.running(orders[1].id, "begun").await;
    assert_eq!(after.handle.reports(orders[2].id, 0, 0).await, [], "its lane is not forgotten");
    std::fs::write(place.join("gate"), "").unwrap();
    after.ended(orders[2].id).await;
    assert_eq!(std::fs::read_to_string(place.join("trace")).unwrap(), "second\nthird\n");
    after.end().await;
}
