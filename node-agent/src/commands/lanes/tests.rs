use muster_common::ids::OperationId;
use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000);
const LATER: UnixMillis = UnixMillis(2_000);

fn ticket(n: u128, kind: &str, lane: &str) -> Ticket {
    Ticket {
        id: CommandId::from_u128(n),
        operation: OperationId::from_u128(1),
        kind: kind.to_owned(),
        args: Vec::new(),
        not_before: None,
        deliver_by: LATER,
        finish_by: None,
        lane: lane.to_owned(),
        trace: String::new(),
        traceparent: String::new(),
        came: None,
        epoch: 1,
    }
}

fn script(n: u128, lane: &str) -> Ticket {
    ticket(n, "run-script", lane)
}

/// The number of the next one.
fn after(waiting: &[Ticket], running: &[&Ticket]) -> Option<u128> {
    let running: Vec<Place<'_>> = running.iter().map(|ticket| Place::of(ticket)).collect();
    let found = next(waiting.iter().map(|ticket| (ticket, true)), &running, Some(NOW))?;
    (1..100).find(|n| CommandId::from_u128(*n) == found)
}

#[test]
fn an_order_waits_for_the_one_of_its_lane_and_others_pass() {
    let first = script(1, "db");
    let waiting = [script(2, "db"), script(3, "web"), script(4, "")];
    assert_eq!(after(&waiting, &[&first]), Some(3));
    assert_eq!(after(&waiting, &[]), Some(2));
    assert_eq!(after(&waiting[..1], &[&first]), None);
}

#[test]
fn an_order_that_waits_for_its_time_holds_its_lane_back() {
    let early = Ticket { not_before: Some(LATER), ..script(1, "db") };
    assert_eq!(after(&[early.clone(), script(2, "db")], &[]), None);
    assert_eq!(after(&[early.clone(), script(2, "db"), script(3, "web")], &[]), Some(3));
    assert_eq!(after(&[Ticket { lane: String::new(), ..early }, script(2, "")], &[]), Some(2));
}

#[test]
fn what_the_disk_has_not_taken_keeps_its_place() {
    let orders = [script(1, "db"), script(2, "db"), script(3, "web")];
    let may = |n: usize| n != 0;
    let found = next(orders.iter().enumerate().map(|(n, ticket)| (ticket, may(n))), &[], Some(NOW));
    assert_eq!(found, Some(CommandId::from_u128(3)));
}

#[test]
fn an_order_whose_time_is_over_waits_for_nobody() {
    let over = Ticket { finish_by: Some(NOW), ..script(2, "db") };
    let running: Vec<Ticket> = (10..10 + SLOTS as u128).map(|n| script(n, "db")).collect();
    assert_eq!(after(&[script(1, ""), over], &running.iter().collect::<Vec<_>>()), Some(2));
}

#[test]
fn a_reboot_waits_until_nothing_runs_and_nothing_overtakes_it() {
    for kind in EXCLUSIVE {
        let (long, reboot) = (script(1, ""), ticket(3, kind, ""));
        let waiting = [script(2, ""), reboot.clone(), script(4, "")];
        assert_eq!(after(&waiting, &[&long]), Some(2), "what came before it starts");
        assert_eq!(after(&waiting[1..], &[&long]), None, "what came after it does not");
        assert_eq!(after(&waiting[1..], &[]), Some(3));
        assert_eq!(after(&waiting[2..], &[&reboot]), None);
        let planned = Ticket { not_before: Some(LATER), ..reboot };
        assert_eq!(after(&[planned, script(4, "")], &[&long]), Some(4), "its time has not come");
    }
}

proptest! {
    /// Orders come and end in any order; whatever is started, the rules hold, and in
    /// the end everything was started.
    #[test]
    fn lanes_keep_their_order_and_nothing_starves(
        orders in prop::collection::vec((0usize..4, 0u8..8), 1..40),
        moves in prop::collection::vec(0usize..6, 0..120),
    ) {
        let lanes = ["", "a", "b", "c"];
        let mut coming: Vec<Ticket> = orders
            .iter()
            .enumerate()
            .map(|(n, (lane, kind))| {
                let kind = if *kind == 0 { "reboot" } else { "run-script" };
                ticket(n as u128 + 1, kind, lanes[*lane])
            })
            .rev()
            .collect();
        let (mut waiting, mut running): (Vec<Ticket>, Vec<Ticket>) = (Vec::new(), Vec::new());
        let mut begun = 0;
        // At last all come, and all that runs ends.
        let last = std::iter::repeat_n(0, orders.len()).chain(std::iter::repeat_n(5, orders.len()));
        for what in moves.into_iter().chain(last) {
            match what {
                0 | 1 => waiting.extend(coming.pop()),
                end => {
                    if !running.is_empty() {
                        running.remove(end % running.len());
                    }
                }
            }
            loop {
                let places: Vec<Place<'_>> = running.iter().map(Place::of).collect();
                let Some(id) = next(waiting.iter().map(|ticket| (ticket, true)), &places, Some(NOW)) else { break };
                let place = waiting.iter().position(|ticket| ticket.id == id).unwrap();
                let started = waiting.remove(place);
                let exclusive = |ticket: &Ticket| ticket.kind == "reboot";
                prop_assert!(running.len() < SLOTS);
                prop_assert!(!running.iter().any(&exclusive));
                prop_assert!(running.is_empty() || !exclusive(&started));
                if !started.lane.is_empty() {
                    prop_assert!(running.iter().all(|ticket| ticket.lane != started.lane));
                    prop_assert!(waiting[..place].iter().all(|ticket| ticket.lane != started.lane));
                }
                running.push(started);
                begun += 1;
            }
            prop_assert!(!running.is_empty() || waiting.is_empty(), "nothing runs and something waits");
        }
        prop_assert_eq!(begun, orders.len());
    }
}
