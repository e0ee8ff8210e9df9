use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use muster_common::{clock::Clock, drain::Drain};
use tonic_types::StatusExt as _;

use super::*;
use crate::{
    locks,
    workload::{remote::tests::remote, svid::Svid, tokens::Token},
};

const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k",
    "x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}"#;

/// An agent whose control plane cannot be reached; user 7 is web and db.
struct Room {
    folder: tempfile::TempDir,
    handler: Handler,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("locks.toml");
        let rule = |name| format!("[[workload.identities]]\nname = {name:?}\nuid = 7\n");
        std::fs::write(&file, rule("web") + &rule("db")).unwrap();
        let workloads = Workloads::new(locks::Reader::new(file), Clock::test(UnixMillis(7)));
        *workloads.0.remote.lock() = Some(remote("127.0.0.1:1"));
        workloads.0.view.send_replace(Arc::default());
        Self { folder, handler: Handler { shared: workloads.0, who: |_| None } }
    }

    fn hold(&self, name: &str) {
        let (token, key) = (name.to_owned(), "k".to_owned());
        let token = Token { token, key, expires_at: UnixMillis(10), fresh_until: UnixMillis(5) };
        self.handler.shared.tokens.lock().put(key_of(name), token, UnixMillis(0));
    }

    async fn tokens(&self, names: &[&str]) -> Result<Vec<String>, Option<Reason>> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let given = self.handler.tokens(7, &names, &["queue".to_owned()]).await;
        let reason = |status: Status| Reason::parse(&status.get_details_error_info()?.reason);
        given.map(|given| given.into_iter().map(|one| one.svid).collect()).map_err(reason)
    }
}

fn key_of(name: &str) -> Key {
    (name.to_owned(), vec!["queue".to_owned()])
}

fn caller() -> Caller {
    Caller { uid: 7, gid: 7, unit: None }
}

#[tokio::test]
async fn a_token_that_holds_is_given_without_a_call_and_replaced_beside() {
    let room = Room::new();
    room.hold("web");
    let given = room.tokens(&["web"]).now_or_never().expect("nobody is asked");
    assert_eq!(given.unwrap(), ["web"]);
    assert!(room.handler.shared.old.lock().contains(&key_of("web")));
    assert!(room.handler.shared.wants(Clock::System.monotonic()).contains(&Want::Bundles));
}

#[tokio::test]
async fn a_token_that_cannot_be_had_takes_none_of_the_others_away() {
    let room = Room::new();
    room.hold("web");
    assert_eq!(room.tokens(&["web", "db"]).await.unwrap(), ["web"]);
    assert_eq!(room.tokens(&["db"]).await, Err(Some(Reason::WorkloadUnavailable)));
}

#[tokio::test]
async fn a_user_that_wants_too_many_tokens_is_told_and_keeps_those_that_it_has() {
    let room = Room::new();
    for _ in 0..20 {
        assert_eq!(room.tokens(&["db"]).await, Err(Some(Reason::WorkloadUnavailable)));
    }
    assert_eq!(room.tokens(&["db"]).await, Err(Some(Reason::RateLimited)));
    room.hold("db");
    assert_eq!(room.tokens(&["db"]).await.unwrap(), ["db"]);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_had_takes_none_of_the_others_away() {
    let room = Room::new();
    let shared = &room.handler.shared;
    let svid = Svid {
        id: remote("127.0.0.1:1").id("web"),
        chain_der: vec![vec![1]],
        key_der: vec![2].into(),
        not_after: UnixMillis(10),
        renew_at: UnixMillis(8),
    };
    let view = View {
        svids: [("web".to_owned(), Arc::new(svid))].into(),
        bundles: Some(Arc::new(Bundles {
            trust_domain: "fleet.example".parse().unwrap(),
            x509_der: vec![vec![3]],
            jwks: JWKS.to_owned(),
            keys: crate::workload::jwt::Keys::read(JWKS).unwrap(),
            refresh_after: Duration::from_secs(1),
        })),
        ..View::default()
    };
    shared.view.send_replace(Arc::new(view.clone()));
    let mut open = stream::x509(shared, caller());
    let waits = tokio::time::timeout(Duration::from_millis(50), open.next()).await;
    assert!(waits.is_err(), "the other one may be on its way");
    let trouble = Trouble { is_refusal: false, reason: Reason::WorkloadUnavailable, message: String::new() };
    shared.view.send_replace(Arc::new(View { trouble: Some(trouble), turns: 1, ..view }));
    let mut open = stream::x509(shared, caller());
    assert_eq!(open.next().await.unwrap().unwrap().svids.len(), 1);
}

#[tokio::test]
async fn nothing_of_a_node_is_left_however_its_task_ends() {
    let room = Room::new();
    let shared = Arc::clone(&room.handler.shared);
    let workloads = Workloads(Arc::clone(&shared));
    let keep = workloads.clone().keep(remote("127.0.0.1:1"), Drain::default());
    let cut = async {
        while shared.remote.lock().is_none() || shared.tokens.lock().holds_any(UnixMillis(0)) {
            tokio::task::yield_now().await;
        }
        room.hold("web");
    };
    tokio::select! {
        biased;
        () = keep => panic!("it goes on until it is ended"),
        () = cut => {}
    }
    assert!(shared.remote.lock().is_none() && !shared.tokens.lock().holds_any(UnixMillis(0)));
    assert_eq!(shared.view.borrow().trouble, Some(Trouble::no_fleet()));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (silent, drain) = (remote(&listener.local_addr().unwrap().to_string()), Drain::default());
    let _listening = shared.listen(vec![Want::Bundles]);
    let end = async {
        let asked = listener.accept().await.unwrap();
        drain.begin();
        asked
    };
    let ended = async { tokio::join!(workloads.keep(silent, drain.clone()), end) };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("an end in the middle of a call");
    assert!(room.folder.path().exists());
}
