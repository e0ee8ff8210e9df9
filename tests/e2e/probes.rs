//! What probes are told of a running control plane. How readiness goes while one
//! starts and ends is in the console's own tests.

use muster_tests::plane::{Options, Plane, http_get};

/// Status and body of an answer.
fn parts(answer: &str) -> (&str, &str) {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body))
}

#[tokio::test]
async fn a_control_plane_is_alive_and_ready_and_gone_when_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let console = plane.addresses().console;
    let get = async |path: &str| http_get(console, path).await;
    assert_eq!(parts(&get("/livez").await.unwrap()), ("200", "alive\n"));
    assert_eq!(parts(&get("/readyz").await.unwrap()), ("200", "ready\n"));
    assert_eq!(parts(&get("/nothing").await.unwrap()).0, "404");
    assert!(plane.process().stop().await.success());
    assert_eq!(get("/livez").await, None);
}
