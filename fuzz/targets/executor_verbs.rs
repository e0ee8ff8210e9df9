//! T-F7: what the daemon of a split agent says to the executor, and what that answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster_common::ids::CommandId;
use muster_node_agent::{
    platform::runs::Order,
    verbs::{
        frame,
        messages::{Act, Answer, FileVerb, Id, LookAt, Request, Rights, Run, RunState, Said, Service, Verb},
    },
};
use prost::Message as _;

fuzz_target!(init: muster_fuzz::seeds("executor_verbs", seeds), |input: &[u8]| {
    if let Ok(verb) = frame::verb(input) {
        let again = Request { verb: Some(verb.clone()) };
        assert_eq!(again.encode_to_vec(), input, "there is one way to say it");
        if let Verb::Start(run) | Verb::Judge(run) = verb {
            look(run);
        }
    }
    if let Ok(answer) = frame::decode::<Answer>(input) {
        drop(frame::said(answer));
    }
    if let Ok(request) = frame::read::<Request>(input) {
        let framed = frame::encode(&request).expect("what was read can be written");
        assert!(input.starts_with(&framed));
    }
});

/// A run that is taken says the same when it is said again.
fn look(run: Run) {
    let Ok(order) = Order::try_from(run) else { return };
    assert!(order.program.first().is_some_and(|program| program.starts_with('/')));
    let words = order.program.iter().chain(&order.arguments);
    assert!(words.chain(order.environment.keys()).all(|word| !word.contains('\0')));
    assert_eq!(Order::try_from(Run::from(&order)).expect("it was taken before"), order);
}

fn seeds() -> [Vec<u8>; 6] {
    let id = CommandId::from_u128(7).to_string();
    let rights = Some(Rights { mode: 0o640, user: 1, group: 2 });
    let file = FileVerb { rights, size: 3, ..FileVerb::of("/etc/app/a".as_ref(), Act::Stage) };
    let script = Run {
        id: id.clone(),
        text: Some("echo hello".to_owned()),
        program: vec!["/bin/sh".to_owned()],
        arguments: vec!["-x".to_owned()],
        environment: [("A".to_owned(), "1".to_owned())].into(),
        folder: "/".to_owned(),
        user: "app".to_owned(),
        time_ms: Some(1000),
        ..Run::default()
    };
    let said = |verb| Request { verb: Some(verb) };
    let state = RunState { known: true, stdout: b"out".to_vec(), ..RunState::default() };
    [
        said(Verb::File(file)).encode_to_vec(),
        said(Verb::Start(script)).encode_to_vec(),
        said(Verb::Look(LookAt { id: id.clone(), stdout: 5, ..LookAt::default() })).encode_to_vec(),
        said(Verb::Service(Service { unit: "app.service".to_owned(), act: 3 })).encode_to_vec(),
        Answer { said: Some(Said::Run(state)) }.encode_to_vec(),
        frame::encode(&said(Verb::Kill(Id { id }))).expect("it is short"),
    ]
}
