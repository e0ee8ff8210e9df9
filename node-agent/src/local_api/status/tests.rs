use super::*;

pub(in crate::local_api) fn healthy() -> Status {
    Status {
        schema_version: SCHEMA_VERSION,
        updated_at: UnixMillis(9),
        health: Health::Healthy,
        problems: Vec::new(),
        agent_version: "0.1.0".to_owned(),
        pid: 7,
        started_at: UnixMillis(1),
        node: Some(Node {
            id: NodeId::generate(),
            display_name: "web".to_owned(),
            trust_domain: "muster.example".to_owned(),
            epoch: 3,
            control_plane: vec!["a:8443".to_owned()],
            certificate: Certificate {
                generation: 2,
                issued_at: UnixMillis(1),
                renewed_from: UnixMillis(2),
                expires_at: UnixMillis(3),
            },
        }),
        session: Session {
            state: SessionState::Connected,
            since: UnixMillis(5),
            id: "s".to_owned(),
            error: String::new(),
            next_try: None,
            last_contact: Some(UnixMillis(8)),
            cut_off_since: None,
        },
        items: vec![Item {
            item: "bundle/web".to_owned(),
            running: "7".to_owned(),
            attempted: "7".to_owned(),
            outcome: Outcome::Applied,
            reason: None,
            message: String::new(),
            changed_at: UnixMillis(4),
            drifted: false,
        }],
        commands: vec![Command {
            id: "c".to_owned(),
            kind: "run-script".to_owned(),
            state: "running".to_owned(),
            unacknowledged: 2,
        }],
        outbox_depth: 2,
        locks: Locks { path: "/etc/muster/locks.toml".to_owned(), error: String::new() },
        pause: None,
        log: Log { level: "info".to_owned(), until: None, overridden: false },
        conditions: vec![Condition {
            kind: "ClockOk".to_owned(),
            holds: Some(true),
            reason: "InStep".to_owned(),
            message: String::new(),
            since: UnixMillis(5),
        }],
        settings: vec![EffectiveSetting {
            key: "log-level".to_owned(),
            value: "info".to_owned(),
            origin: crate::state::Origin::Lock,
            desired: Some("debug".to_owned()),
        }],
    }
}

fn judged(change: impl FnOnce(&mut Status)) -> (Health, Vec<String>) {
    let mut status = healthy();
    change(&mut status);
    let status = status.judged();
    (status.health, status.problems.into_iter().map(|problem| problem.code).collect())
}

fn pause() -> Option<Pause> {
    Some(Pause { reason: "a test".to_owned(), since: UnixMillis(1), until: None, uid: 0 })
}

#[test]
fn health_is_the_gravest_of_what_is_wrong() {
    let codes = |list: &[&str]| -> Vec<String> { list.iter().map(|one| (*one).to_owned()).collect() };
    assert_eq!(judged(|_| {}), (Health::Healthy, codes(&[])));
    assert_eq!(judged(|it| it.node = None), (Health::NotInAFleet, codes(&["NotInAFleet"])));
    assert_eq!(judged(|it| it.pause = pause()), (Health::Paused, codes(&["Paused"])));
    let locked = |it: &mut Status| it.locks.error = "unreadable".to_owned();
    assert_eq!(judged(locked), (Health::Degraded, codes(&["EverythingLocked"])));
    let cut_off = |it: &mut Status| {
        it.session.state = SessionState::Waiting;
        it.pause = pause();
        it.items[0].drifted = true;
    };
    assert_eq!(judged(cut_off), (Health::CutOff, codes(&["NoSession", "ItemDrifted"])));
    let broken = |it: &mut Status| {
        it.items[0].outcome = Outcome::Broken;
        it.items[0].reason = Some(Reason::RollbackFailed);
        it.pause = pause();
    };
    assert_eq!(judged(broken), (Health::Degraded, codes(&["ItemBroken"])));
    let failed = |it: &mut Status| it.items[0].reason = Some(Reason::DiskFull);
    assert_eq!(judged(failed), (Health::Degraded, codes(&["ItemFailed"])));
}

#[test]
fn only_the_owner_reads_texts_that_may_quote_others() {
    let mut status = healthy();
    status.items[0].message = "hook said: password".to_owned();
    assert_eq!(status.for_all().items[0].message, "");
}

#[test]
fn a_heartbeat_is_no_news_and_the_end_of_a_session_is() {
    let status = healthy();
    let mut later = status.clone();
    (later.updated_at, later.session.last_contact) = (UnixMillis(99), Some(UnixMillis(99)));
    assert!(status.says_the_same(&later));
    later.session.state = SessionState::Waiting;
    assert!(!status.says_the_same(&later));
}

#[test]
fn its_json_is_the_documented_one() {
    let json = serde_json::to_value(healthy()).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let page = include_str!("../../../../docs/local-api.md");
    for key in keys {
        assert!(page.contains(&format!("| `{key}` |")), "{key} is not in docs/local-api.md");
    }
    assert_eq!(json["session"]["state"], "connected");
    assert_eq!(json["health"], "healthy");
}
