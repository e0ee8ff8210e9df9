//! Those who come to the fleet console without a certificate, and what others have browsers ask.

use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    eventually::{LONG, eventually},
    plane::{Options, Plane},
    visitor::Visitor,
};

use crate::fleet_console::{is_refused, nobody, operator, plane, rollout, someone};

/// Whoever came by a link, and its name.
async fn guest(plane: &Plane) -> (Visitor, String) {
    let mut guest = nobody(plane).await;
    guest.come_by(&plane.cli(&["console-link"])).await;
    let page = guest.get("/").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let name = page.text.split_once("console-link/").unwrap().1.split_once(',').unwrap().0.to_owned();
    (guest, name)
}

/// Reads the first piece of a stream.
async fn first(events: &mut Incoming) -> String {
    let frame = tokio::time::timeout(LONG, events.frame()).await.expect("it begins").unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

/// Reads a stream to its end.
async fn ends(events: &mut Incoming) {
    let read = async { while let Some(Ok(_)) = events.frame().await {} };
    tokio::time::timeout(LONG, read).await.expect("the stream ends");
}

#[tokio::test]
async fn browsers_that_show_nothing_keep_nobody_out_and_do_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure_in("fleet-console", "listen", "\"127.0.0.1:0\"");
    for (key, value) in [("connections", "8"), ("per-address", "8"), ("age", "\"1m\"")] {
        plane.configure_in("doors.fleet-console", key, value);
    }
    plane.serve(&[]).await;
    let (guest, _) = guest(&plane).await;
    let mut strangers = Vec::new();
    for _ in 0..8 {
        strangers.push(nobody(&plane).await);
    }
    let operator = operator(&plane).await;
    assert_eq!(operator.get("/").await.status, StatusCode::OK);
    let stay = |most: usize| {
        let stay = strangers.iter().filter(|stranger| !stranger.is_cut()).count();
        std::future::ready((stay <= most).then_some(()))
    };
    eventually("half of the door is theirs", LONG, || stay(4)).await;
    let limit = "muster_door_limits_total{door=\"fleet-console\",limit=\"per-address\"}";
    assert!(plane.metric(limit).await >= 4);
    eventually("they go by themselves", LONG, || stay(0)).await;
    for known in [&guest, &operator] {
        assert_eq!(known.get("/").await.status, StatusCode::OK, "whoever is known stays");
    }
}

#[tokio::test]
async fn whoever_came_by_a_link_is_ended_and_what_they_are_told_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let api = plane.operator().await;
    let events = format!("/rollouts/{}/events", rollout(&api, "*").await);
    let ((one, name), (other, _)) = (guest(&plane).await, guest(&plane).await);
    is_refused(&one.get("/audit").await, StatusCode::FORBIDDEN, "PERMISSION_DENIED");
    let waits = plane.cli(&["console-link"]);
    let mut told = one.open("GET", &events).await.into_body();
    assert!(first(&mut told).await.starts_with("event: progress\n"));

    let unknown = plane.try_cli(&["console-link", "--end", "0123456789ab"]);
    assert!(!unknown.status.success(), "{}", String::from_utf8_lossy(&unknown.stderr));
    assert_eq!(plane.cli(&["console-link", "--end", &name]).trim(), name);
    ends(&mut told).await;
    is_refused(&one.get("/").await, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED");
    assert_eq!(other.get("/").await.status, StatusCode::OK, "the other one stays");

    assert_eq!(plane.cli(&["console-link", "--end-all"]).lines().count(), 2, "and the one that waits");
    eventually("nobody stays who came by a link", LONG, || async {
        (other.get("/").await.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    let mut late = nobody(&plane).await;
    is_refused(&late.come_by(&waits).await, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED");
    let (again, _) = guest(&plane).await;
    assert_eq!(again.get("/").await.status, StatusCode::OK, "others may come");

    eventually("who was refused and who was ended is in the audit", LONG, || async {
        let request = pb::ListAuditEntriesRequest { page_size: 100, ..Default::default() };
        let entries = api.audit.clone().list_audit_entries(request).await.unwrap().into_inner().entries;
        let subject = format!("console-link/{name}");
        let denied = entries.iter().any(|it| it.denied && it.actor == subject);
        let ended = entries.iter().any(|it| it.action == "console-links.end" && it.subject == subject);
        (denied && ended).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_operator_who_is_revoked_is_told_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let events = format!("/rollouts/{}/events", rollout(&plane.operator().await, "*").await);
    let olga = someone(&plane, folder.path(), "olga", "viewer", "*").await;
    let mut told = olga.open("GET", &events).await.into_body();
    assert!(first(&mut told).await.starts_with("event: progress\n"));
    let _ = plane.cli(&["operator", "revoke", "olga", "--reason", "left"]);
    ends(&mut told).await;
}

#[tokio::test]
async fn other_sites_ask_for_nothing_and_a_head_uses_no_link_up() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let mut operator = operator(&plane).await;
    let mut ask = async |site: &'static str, mode: &'static str, dest: &'static str| {
        operator.said = vec![("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        operator.get("/nodes").await.status
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(ask(site, "no-cors", "image").await, StatusCode::FORBIDDEN, "{site}");
        assert_eq!(ask(site, "navigate", "iframe").await, StatusCode::FORBIDDEN, "{site}");
        assert_eq!(ask(site, "navigate", "document").await, StatusCode::OK, "somebody follows a link");
    }
    assert_eq!(ask("same-origin", "cors", "empty").await, StatusCode::OK);
    assert_eq!(ask("none", "navigate", "document").await, StatusCode::OK);

    let link = plane.cli(&["console-link"]);
    let path = format!("/link/{}", link.trim().rsplit('/').next().unwrap());
    let mut visitor = nobody(&plane).await;
    assert_eq!(visitor.ask("HEAD", &path).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(visitor.come_by(&link).await.status, StatusCode::OK, "it is still there");
}
