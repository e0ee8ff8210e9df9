use super::*;

fn said(kind: In) -> Result<Inbound, Refusal> {
    inbound(pb::SessionRequest { kind: Some(kind) })
}

#[test]
fn numbers_that_no_host_can_mean_are_cut_down() {
    let output = pb::OutputChunk { dropped_bytes: u64::MAX, ..Default::default() };
    let mut report = pb::CommandReport {
        command_id: CommandId::from_u128(1).to_string(),
        output: Some(output),
        ..Default::default()
    };
    report.set_state(types::CommandState::Running);
    let Ok(Inbound::Command(report)) = said(In::Command(report)) else { panic!("a report") };
    assert_eq!(report.output.map(|chunk| chunk.dropped_bytes), Some(DROPPED));
}

#[test]
fn more_items_than_a_node_has_are_refused_before_they_are_looked_at() {
    let items = |count| {
        In::Items(pb::ItemReport {
            items: vec![types::ItemState { item: "settings".to_owned(), ..Default::default() }; count],
            ..Default::default()
        })
    };
    assert!(said(items(MAX_ITEMS)).is_ok());
    assert_eq!(said(items(MAX_ITEMS + 1)).unwrap_err().reason, Reason::MessageInvalid);
}
