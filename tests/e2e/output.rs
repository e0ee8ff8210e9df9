//! What commands print, on its way from a host to whoever reads it.

use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::CommandState,
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, script},
    plane::{Options, Plane},
};

async fn page(
    operator: &Operator,
    command: &str,
    offset: u64,
    max_bytes: u32,
) -> pb::ReadCommandOutputResponse {
    let request = pb::ReadCommandOutputRequest {
        command_id: command.to_owned(),
        offset,
        max_bytes,
        ..Default::default()
    };
    operator.operations.clone().read_command_output(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn what_looks_like_a_credential_never_leaves_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    // In two pieces, so that no look at one of them alone finds it.
    let text = "printf 'db password=hun'; sleep 0.5; echo 'ter2x9 and on'; echo 'token: s3cr3tvalue' >&2; \
                printf 'no end of line'; sleep 600";
    let operation = operator.start("*", script(text)).await;
    eventually("a line without an end is shown, too", LONG, || async {
        let stdout = operator.commands(&operation).await[&agent.node].stdout.clone();
        stdout.ends_with(b"\nno end of line").then_some(())
    })
    .await;
    let command = operator.commands(&operation).await.remove(&agent.node).unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&command.stdout), String::from_utf8_lossy(&command.stderr));
    assert!(stdout.starts_with("db password=[redacted]"), "{stdout}");
    assert!(!stdout.contains("ter2x9") && !stderr.contains("s3cr3tvalue"), "{stdout}{stderr}");
    let ledger = agent.state().join("nodes").join(&agent.node).join("ledger");
    let spool = std::fs::read_to_string(ledger.join("spool").join(&command.id)).unwrap();
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(spool.contains(&hex("no end of line")), "output lies there in hex");
    assert!(!spool.contains(&hex("ter2x9")) && !spool.contains(&hex("s3cr3tvalue")), "{spool}");
}

#[tokio::test]
async fn output_over_its_limits_is_cut_at_a_line_and_what_is_kept_is_read_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::init(folder.path(), &Options::default());
    plane.configure("output-limit", "20000");
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let operation = operator.start("*", script("yes 'a line of output' | head -n 3000")).await;
    let command = operator.ended(&operation, LONG).await.remove(&agent.node).unwrap();
    assert_eq!(command.state(), CommandState::Succeeded);
    let said = String::from_utf8(command.stdout.to_vec()).unwrap();
    let (kept, marker) = said.trim_end().rsplit_once('\n').unwrap();
    assert!(kept.lines().all(|line| line == "a line of output"), "{said}");
    assert_eq!(command.dropped_output_bytes, 3000 * 17 - (kept.len() as u64 + 1));
    assert_eq!(marker, format!("[muster: output cut here, {} bytes not kept]", command.dropped_output_bytes));
    assert_eq!((command.stdout_bytes, command.stderr_bytes), (said.len() as u64, 0));
    let (mut read, mut offset) = (Vec::new(), 0);
    loop {
        let page = page(&operator, &command.id, offset, 3000).await;
        assert!(page.offset == offset && page.data.len() <= 3000);
        read.extend_from_slice(&page.data);
        offset = page.next_offset;
        if page.ended {
            break;
        }
    }
    assert_eq!(String::from_utf8(read).unwrap(), said);
    // The limit of an operation is held over a restart of the control plane.
    let gate = agent.file("gate");
    let text = format!(
        "yes first | head -n 100; while [ ! -e {} ]; do sleep 0.05; done; yes second | head -n 200",
        gate.display()
    );
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script(&text)),
        output_limit_bytes: 1000,
        ..Default::default()
    };
    let started = operator.operations.clone().start_operation(request).await.unwrap().into_inner();
    let operation = started.operation.unwrap().id;
    eventually("the first lines are stored", LONG, || async {
        (operator.commands(&operation).await[&agent.node].stdout.len() == 600).then_some(())
    })
    .await;
    plane.kill();
    plane.serve(&[]).await;
    std::fs::write(gate, "").unwrap();
    let operator = plane.operator().await;
    let command = operator.ended(&operation, LONG).await.remove(&agent.node).unwrap();
    let said = String::from_utf8(command.stdout.to_vec()).unwrap();
    assert_eq!(said.matches("second\n").count(), 57, "400 of 1000 bytes were left");
    assert!(said.ends_with("second\n[muster: output cut here, at the limit of its operation]\n"), "{said}");
    assert_eq!(command.dropped_output_bytes, 143 * 7);
}

#[tokio::test]
async fn limits_and_pages_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let request = pb::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(script("true")),
        output_limit_bytes: 256 * 1024 * 1024 + 1,
        ..Default::default()
    };
    let refused = operator.operations.clone().start_operation(request).await.unwrap_err();
    assert!(refused.message().contains("output_limit_bytes"), "{}", refused.message());
    for (command_id, max_bytes, code) in [
        ("x", 0, tonic::Code::InvalidArgument),
        ("00000000-0000-0000-0000-000000000001", 0, tonic::Code::NotFound),
        ("00000000-0000-0000-0000-000000000001", 1024 * 1024 + 1, tonic::Code::InvalidArgument),
    ] {
        let request = pb::ReadCommandOutputRequest {
            command_id: command_id.to_owned(),
            max_bytes,
            ..Default::default()
        };
        let refused = operator.operations.clone().read_command_output(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{command_id} {max_bytes}");
    }
}
