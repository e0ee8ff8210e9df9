//! The audit as an auditor meets it: exported, checked offline, watched.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use muster_common::reason::Reason;
use muster_proto::admin::v1::{self as pb, watch_audit_entries_response::Event};
use muster_tests::{
    binaries,
    eventually::{LONG, eventually},
    operator::{Operator, reason},
    plane::{Options, Plane},
    raw::RawNode,
};
use tonic::{Code, Streaming};

/// A control plane that signs often.
fn plane(folder: &Path) -> Plane {
    let plane = Plane::init(folder, &Options::default());
    plane.configure("checkpoint-every", "\"1s\"");
    plane.configure("checkpoint-every-entries", "3");
    plane
}

async fn make_token(operator: &Operator, description: &str) {
    let request = pb::CreateJoinTokenRequest { description: description.into(), ..Default::default() };
    operator.join_tokens.clone().create_join_token(request).await.unwrap();
}

async fn list(operator: &Operator, request: pb::ListAuditEntriesRequest) -> Vec<pb::AuditEntry> {
    operator.audit.clone().list_audit_entries(request).await.unwrap().into_inner().entries
}

async fn checkpoints(operator: &Operator, replica: &str) -> Vec<pb::AuditCheckpoint> {
    let request = pb::ListCheckpointsRequest { replica: replica.into(), ..Default::default() };
    operator.audit.clone().list_checkpoints(request).await.unwrap().into_inner().checkpoints
}

/// Waits until the newest entry of our chain and of the command line's is signed.
async fn all_is_signed(operator: &Operator) {
    for replica in ["a", "cli"] {
        eventually("the newest entry is signed", LONG, || async {
            let request = pb::ListAuditEntriesRequest { replica: replica.into(), ..Default::default() };
            let newest = list(operator, request).await.first().map(|entry| (entry.seq, entry.hash.clone()));
            let signed = checkpoints(operator, replica).await;
            let signed = signed.first().map(|checkpoint| (checkpoint.seq, checkpoint.hash.clone()));
            (newest == signed).then_some(())
        })
        .await;
    }
}

async fn exported(operator: &Operator, request: pb::ExportAuditEntriesRequest) -> String {
    let mut stream = operator.audit.clone().export_audit_entries(request).await.unwrap().into_inner();
    let mut text = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        text.extend_from_slice(&message.chunk);
    }
    String::from_utf8(text).unwrap()
}

/// `audit verify` of a file, with nothing but that file and the public key.
struct Offline<'a> {
    folder: &'a Path,
}

impl Offline<'_> {
    fn verify(&self, export: &str, more: &[&str]) -> Output {
        let file = self.folder.join("given.jsonl");
        fs::write(&file, export).unwrap();
        let mut verify = Command::new(binaries::path("muster-control-plane"));
        verify.args(["audit", "verify", "--config", "/nonexistent", "--export"]).arg(file);
        verify.arg("--public-key").arg(self.folder.join("audit.pub")).args(more).output().unwrap()
    }

    fn holds(&self, export: &str, more: &[&str]) -> String {
        let done = self.verify(export, more);
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// It must not hold, for a reason that names all of these.
    fn names(&self, export: &str, more: &[&str], words: &[&str]) {
        let done = self.verify(export, more);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let told = String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap();
        for word in words {
            assert!(told.contains(word), "{word:?} is not in: {told}");
        }
    }
}

fn line_of(export: &str, replica: &str, seq: u64) -> usize {
    let is = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        json["kind"] == "entry" && json["replica"] == replica && json["seq"] == seq
    };
    export.lines().position(is).unwrap_or_else(|| panic!("no entry {seq} of {replica} in {export}"))
}

fn without(export: &str, line: usize) -> String {
    let kept = export.lines().enumerate().filter(|(n, _)| *n != line);
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

#[tokio::test]
async fn the_audit_survives_a_kill_and_is_verified_with_nothing_but_a_file_and_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = plane(folder.path());
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    for n in 0..5 {
        make_token(&operator, &format!("before {n}")).await;
    }
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    for n in 0..3 {
        make_token(&operator, &format!("after {n}")).await;
    }
    all_is_signed(&operator).await;
    let export = exported(&operator, pb::ExportAuditEntriesRequest::default()).await;
    assert_eq!(plane.cli(&["audit", "export"]), export, "the command line writes the same");
    let kept = folder.path().join("kept.jsonl");
    fs::write(&kept, checkpoints(&operator, "a").await[0].line.clone() + "\n").unwrap();

    // One more, and a last signature when it ends well.
    make_token(&operator, "last").await;
    assert!(plane.process().stop().await.success());
    let out = folder.path().join("audit.jsonl");
    let _ = plane.cli(&["audit", "export", "--out", out.to_str().unwrap()]);
    let export = fs::read_to_string(&out).unwrap();
    assert!(export.lines().last().unwrap().contains("\"kind\":\"checkpoint\""), "{export}");
    let told = plane.cli(&["audit", "verify", "--checkpoint", kept.to_str().unwrap()]);
    assert!(
        told.lines().count() == 2 && told.lines().all(|line| line.contains("every entry fits")),
        "{told}"
    );

    let offline = Offline { folder: folder.path() };
    fs::copy(plane.state().join("ca/audit.pub"), folder.path().join("audit.pub")).unwrap();
    let with_kept = ["--checkpoint", kept.to_str().unwrap()];
    let told = offline.holds(&export, &with_kept);
    assert!(told.contains("a: every entry fits the one before: 1 to 10, 10 in all"), "{told}");
    tamper(&offline, &export, &with_kept);
}

fn tamper(offline: &Offline<'_>, export: &str, with_kept: &[&str]) {
    let lines: Vec<&str> = export.lines().collect();
    let fourth = line_of(export, "a", 4);
    let edited = lines[fourth].replace("operator/admin", "operator/eve");
    assert_ne!(edited, lines[fourth]);
    let number = format!("line {}", fourth + 1);
    offline.names(
        &export.replace(lines[fourth], &edited),
        &[],
        &["a: CHANGED: entry 4: its hash does not fit its content", &number],
    );
    offline.names(&without(export, fourth), &[], &["a: CHANGED: entry 5: entries before it are missing"]);
    let fifth = line_of(export, "a", 5);
    let swapped = export.replace(lines[fourth], "#").replace(lines[fifth], lines[fourth]);
    let swapped = swapped.replace('#', lines[fifth]);
    offline.names(
        &swapped,
        &[],
        &["a: CHANGED: entry 5: entries before it are missing, repeated or out of order"],
    );
    offline.names(&export.replace(lines[fourth], "{}"), &[], &[&number, "is damaged"]);
    offline.names(&export[..export.len() - 5], &[], &["is damaged", "has no end"]);

    // All that follows some entry of `a` is cut off: what is left fits, but not what is known from elsewhere.
    let cut: String = export.lines().take(fourth + 1).map(|line| format!("{line}\n")).collect();
    offline.holds(&cut, &[]);
    offline.names(
        &cut,
        with_kept,
        &["a: CHANGED: the checkpoint that was kept elsewhere", "the chain ends with 4"],
    );
    let signature = export.lines().find(|line| line.contains("\"kind\":\"checkpoint\"")).unwrap();
    let forged = signature.replacen("\"time_ms\":1", "\"time_ms\":2", 1);
    assert_ne!(forged, signature);
    offline.names(&export.replace(signature, &forged), &[], &["its signature does not fit"]);
}

/// The next entries of a watch, up to the bookmark that says there are no more.
async fn news(
    watch: &mut Streaming<pb::WatchAuditEntriesResponse>,
    count: usize,
) -> Vec<(pb::AuditEntry, String)> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let message = tokio::time::timeout(LONG, watch.message()).await.expect("news").unwrap().unwrap();
        if let Some(Event::Entry(entry)) = message.event {
            entries.push((entry, message.resume_token));
        }
    }
    entries
}

#[tokio::test]
async fn a_watch_goes_on_after_any_message_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = plane(folder.path());
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    make_token(&operator, "before").await;
    let request = pb::WatchAuditEntriesRequest { action_prefix: "join-tokens.".into(), ..Default::default() };
    let mut watch = operator.audit.clone().watch_audit_entries(request.clone()).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert!(matches!(first.event, Some(Event::Bookmark(_))), "from now on: {first:?}");
    for n in 0..3 {
        make_token(&operator, &format!("token {n}")).await;
    }
    let seen = news(&mut watch, 3).await;
    drop(watch);
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    for n in 0..250 {
        make_token(&operator, &format!("more {n}")).await;
    }
    let asked = |resume_token: &str| pb::WatchAuditEntriesRequest {
        resume_token: resume_token.to_owned(),
        ..request.clone()
    };
    let wanted = pb::ListAuditEntriesRequest {
        action_prefix: "join-tokens.".into(),
        page_size: 1000,
        ..Default::default()
    };
    let mut all = list(&operator, wanted).await;
    all.reverse();
    assert_eq!(all.len(), 254);
    for (token, from) in [(&first.resume_token, 1), (&seen[0].1, 2), (&seen[1].1, 3), (&seen[2].1, 4)] {
        let mut watch = operator.audit.clone().watch_audit_entries(asked(token)).await.unwrap().into_inner();
        let found = news(&mut watch, all.len() - from).await;
        let found: Vec<_> = found.into_iter().map(|(entry, _)| entry).collect();
        assert!(found == all[from..], "each once, in order, from {from}");
        let next = watch.message().await.unwrap().unwrap();
        assert!(matches!(next.event, Some(Event::Bookmark(_))), "{next:?}");
    }
    let since = pb::WatchAuditEntriesRequest { since: all[0].time, ..request.clone() };
    let mut watch = operator.audit.clone().watch_audit_entries(since).await.unwrap().into_inner();
    assert_eq!(news(&mut watch, 1).await[0].0, all[0], "from a time on");
    let other = pb::WatchAuditEntriesRequest { actor: "operator/admin".into(), ..asked(&seen[0].1) };
    for wrong in [other, asked("nonsense")] {
        let refused = operator.audit.clone().watch_audit_entries(wrong).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::InvalidArgument, Some(Reason::InvalidArgument))
        );
    }
}

#[tokio::test]
async fn denials_are_there_and_do_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = plane(folder.path());
    let certs = folder.path().join("viewer");
    let _ =
        plane.cli(&["operator", "create", "victor", "--role", "viewer", "--out", certs.to_str().unwrap()]);
    plane.serve(&[]).await;
    let admin = plane.operator().await;
    let viewer = Operator::connect(plane.addresses().operators, plane.tls_of(&certs, "victor")).await;
    let request = pb::WatchAuditEntriesRequest { denied_only: true, ..Default::default() };
    let mut watch = admin.audit.clone().watch_audit_entries(request).await.unwrap().into_inner();
    assert!(matches!(watch.message().await.unwrap().unwrap().event, Some(Event::Bookmark(_))));
    for _ in 0..200 {
        let refused = viewer
            .audit
            .clone()
            .list_audit_entries(pb::ListAuditEntriesRequest::default())
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::PermissionDenied));
    }
    let (entry, _) = news(&mut watch, 1).await.remove(0);
    assert_eq!((entry.actor.as_str(), entry.denied), ("operator/victor", true));
    assert_eq!(entry.action, "denied.PERMISSION_DENIED");
    assert_eq!(entry.subject, "/muster.admin.v1.AuditService/ListAuditEntries");
    assert!(!entry.remote_address.is_empty());
    let request = pb::ListAuditEntriesRequest {
        denied_only: true,
        actor: "operator/victor".into(),
        ..Default::default()
    };
    let denials = list(&admin, request).await;
    assert!((1..=15).contains(&denials.len()), "ten a minute, not {}", denials.len());
    assert!(plane.cli(&["audit", "verify"]).contains("every entry fits"));
}

#[tokio::test]
async fn an_older_installation_gets_a_key_and_says_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = plane(folder.path());
    for name in ["audit.key", "audit.pub"] {
        fs::remove_file(plane.state().join("ca").join(name)).unwrap();
    }
    let told = plane.cli(&["audit", "verify"]);
    assert!(told.contains("no checkpoints"), "{told}");
    for _ in 0..2 {
        plane.serve(&[]).await;
        let operator = plane.operator().await;
        all_is_signed(&operator).await;
        let request = pb::ListAuditEntriesRequest {
            action_prefix: "audit.create-key".into(),
            replica: "a".into(),
            ..Default::default()
        };
        let made = list(&operator, request).await;
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].actor, "control-plane/a");
        let key = hex(&checkpoints(&operator, "a").await[0].key_id);
        assert_eq!(made[0].subject, format!("audit-key/{key}"));
        plane.kill();
    }
    assert!(plane.cli(&["audit", "verify"]).lines().all(|line| line.contains("every entry fits")));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn what_callers_say_forges_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = plane(folder.path());
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let hostile = "gone\u{1b}[2J\u{9b}1m\u{202e}\u{2028}\"}\n{\"kind\":\"entry\"}";
    let id = node.identity.node.to_string();
    let request = pb::DeleteNodeRequest { id: id.clone(), reason: hostile.into(), ..Default::default() };
    operator.nodes.clone().delete_node(request).await.unwrap();
    let request = pb::ListAuditEntriesRequest { subject: format!("node/{id}"), ..Default::default() };
    let entry = list(&operator, request).await.remove(0);
    let after: serde_json::Value = serde_json::from_str(&entry.after).unwrap();
    assert_eq!(after["reason"], hostile, "nothing is lost");
    assert!(entry.after.chars().all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{2028}'), "{entry:?}");
    let export = exported(&operator, pb::ExportAuditEntriesRequest::default()).await;
    assert!(export.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)), "{export:?}");
    let of_node = export.lines().filter(|line| line.contains("\"action\":\"nodes.delete\"")).count();
    assert_eq!(of_node, 1);
    let offline = Offline { folder: folder.path() };
    fs::copy(plane.state().join("ca/audit.pub"), folder.path().join("audit.pub")).unwrap();
    offline.holds(&export, &[]);
    let place = entry.place;
    let request = pb::ExportAuditEntriesRequest { from_place: place, to_place: place, ..Default::default() };
    let one = exported(&operator, request).await;
    assert_eq!(one.lines().filter(|line| line.contains("\"kind\":\"entry\"")).count(), 1, "{one}");
}
