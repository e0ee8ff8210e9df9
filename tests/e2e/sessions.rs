//! What may be said in a session, and what ends it.

use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::Liveness,
    agent::v1::{self as pb, session_request::Kind, session_response::Kind as Answer},
    types::v1 as types,
};
use muster_tests::{
    operator::reason,
    plane::{Options, Plane},
    raw::{RawNode, hello},
};
use tonic::Code;

async fn node(folder: &std::path::Path) -> (Plane, RawNode) {
    let plane = Plane::start(folder, &Options::default()).await;
    let join = plane.join(1, &[]).await;
    let node = RawNode::enroll(&join).await;
    (plane, node)
}

fn beat(seq: u64) -> Kind {
    Kind::Heartbeat(pb::Heartbeat {
        seq,
        state_hash: muster_common::digest::state_hash([]).as_bytes().to_vec().into(),
        ..Default::default()
    })
}

#[tokio::test]
async fn a_message_before_hello_and_a_second_hello_end_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, node) = node(folder.path()).await;
    let mut early = node.open(beat(1)).await.unwrap();
    let ended = early.end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), (Code::FailedPrecondition, Some(Reason::HelloMissing)));
    let mut twice = node.session().await;
    twice.say(Kind::Hello(hello())).await;
    let ended = twice.end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), (Code::FailedPrecondition, Some(Reason::HelloRepeated)));
}

#[tokio::test]
async fn a_hello_that_makes_no_sense_or_comes_from_another_age_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, node) = node(folder.path()).await;
    let mut nameless = node.open(Kind::Hello(pb::Hello::default())).await.unwrap();
    let ended = nameless.end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), (Code::InvalidArgument, Some(Reason::MessageInvalid)));
    let future = pb::Hello { protocol_min: 90, protocol_max: 99, ..hello() };
    let ended = node.open(Kind::Hello(future)).await.unwrap().end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), (Code::FailedPrecondition, Some(Reason::ProtocolUnsupported)));
}

#[tokio::test]
async fn more_items_than_a_node_has_end_the_stream_at_once_or_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, node) = node(folder.path()).await;
    let item = |n: u32| types::ItemState {
        item: format!("bundle/b{n}"),
        running: Some(types::ItemVersion { sha256: vec![1; 32].into(), ..Default::default() }),
        ..Default::default()
    };
    let refused = (Code::InvalidArgument, Some(Reason::MessageInvalid));
    let many = pb::Hello { items: (0..257).map(item).collect(), ..hello() };
    let ended = node.open(Kind::Hello(many)).await.unwrap().end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), refused);
    let mut session = node.session().await;
    for n in 0..3 {
        let items = (n * 100..n * 100 + 100).map(item).collect();
        session.say(Kind::Items(pb::ItemReport { seq: u64::from(n) + 1, items, ..Default::default() })).await;
    }
    let ended = session.end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), refused);
}

#[tokio::test]
async fn heartbeats_that_go_back_end_the_stream_and_a_gap_is_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, node) = node(folder.path()).await;
    let mut session = node.session().await;
    session.say(beat(1)).await;
    session.say(beat(5)).await;
    let asked = loop {
        if let Some(Answer::ReportRequest(asked)) = session.next().await.unwrap().unwrap().kind {
            break asked;
        }
    };
    assert!(asked.items, "a gap means that something may be lost");
    session.say(beat(5)).await;
    let ended = session.end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), (Code::InvalidArgument, Some(Reason::SequenceOutOfOrder)));
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, node) = node(folder.path()).await;
    let mut session = node.session().await;
    let huge = pb::Goodbye { message: "x".repeat(300 * 1024), ..Default::default() };
    session.say(Kind::Goodbye(huge)).await;
    let ended = session.end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), (Code::ResourceExhausted, Some(Reason::FrameTooLarge)));
}

/// A message whose only field has the number 900, which no release knows: three bytes.
const FROM_TOMORROW: &[u8] = &[0xa2, 0x38, 0x03, b'n', b'e', b'w'];

#[tokio::test]
async fn an_unknown_kind_is_ignored_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, node) = node(folder.path()).await;
    let session = node.session().await;
    session.say_bytes(FROM_TOMORROW.to_vec()).await;
    session.say(beat(1)).await;
    let operator = plane.operator().await;
    operator.until_liveness(&node.identity.node.to_string(), Liveness::Online).await;
    muster_tests::eventually::eventually("it is counted", muster_tests::eventually::LONG, || async {
        let metrics = muster_tests::plane::http_get(plane.addresses().console, "/metrics").await?;
        metrics.lines().any(|line| line.starts_with("muster_unknown_messages_total 1")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_newer_session_fences_the_older() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, node) = node(folder.path()).await;
    let mut older = node.session().await;
    let newer = node.session().await;
    let ended = older.end().await.unwrap();
    assert_eq!((ended.code(), reason(&ended)), (Code::Aborted, Some(Reason::Fenced)));
    newer.say(beat(1)).await;
}

#[tokio::test]
async fn a_report_about_a_foreign_command_changes_nothing_and_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, node) = node(folder.path()).await;
    let mut session = node.session().await;
    let id = muster_common::ids::CommandId::generate().to_string();
    let report = pb::CommandReport { command_id: id.clone(), seq: 1, state: 5, ..Default::default() };
    session.say(Kind::Command(report)).await;
    let acked = loop {
        if let Some(Answer::Ack(ack)) = session.next().await.unwrap().unwrap().kind {
            break ack;
        }
    };
    assert_eq!(acked.commands[0].command_id, id);
}

#[tokio::test]
async fn a_connection_that_grows_old_moves_its_session_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { heartbeat: std::time::Duration::from_secs(20), ..Options::default() };
    let mut plane = Plane::init(folder.path(), &options);
    plane.configure("age", "\"2s\"");
    plane.serve(&[]).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let mut session = node.session().await;
    let moved = loop {
        if let Some(Answer::Reconnect(moved)) = session.next().await.unwrap().expect("a message").kind {
            break moved;
        }
    };
    assert_eq!(moved.reason, "connection-age");
    assert_eq!(session.end().await.map(|status| status.code()), None, "in peace");
}

#[tokio::test]
async fn the_newest_connection_of_a_node_gets_in_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("leave-within", "\"1h\""); // what is fenced stays, as a dead peer's connection would
    plane.configure("per-identity", "3");
    plane.serve(&[]).await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let mut older = Vec::new();
    for _ in 0..6 {
        older.push(node.session().await);
    }
    let newest = older.pop().unwrap();
    newest.say(beat(1)).await;
    let operator = plane.operator().await;
    operator.until_liveness(&node.identity.node.to_string(), Liveness::Online).await;
}
