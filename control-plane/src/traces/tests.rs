use std::time::Duration;

use muster_common::{generation::Generation, ids::NodeId, trace::OF_ORDER};
use muster_domain::item::ItemName;

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Of which so much can be told, to whoever looks at the other end.
pub(crate) fn collected(sample: f64, room: usize, clock: Clock) -> (Traces, mpsc::Receiver<Span>) {
    let (queue, waiting) = mpsc::channel(room);
    let config = config::Traces { endpoint: String::new(), sample };
    (Traces::over(Some(queue), &config, Metrics::default(), clock), waiting)
}

fn on(sample: f64) -> (Traces, mpsc::Receiver<Span>, Clock) {
    let clock = Clock::test(NOW);
    let (traces, waiting) = collected(sample, 8, clock.clone());
    (traces, waiting, clock)
}

pub(crate) fn drained(waiting: &mut mpsc::Receiver<Span>) -> Vec<Span> {
    std::iter::from_fn(|| waiting.try_recv().ok()).collect()
}

#[test]
fn a_caller_decides_and_where_it_does_not_the_ratio_does() {
    let (traces, ..) = on(0.0);
    let sampled: Context = CALLER.parse().unwrap();
    let (trace, begun) = traces.call(Some(sampled));
    let begun = begun.unwrap();
    assert_eq!((trace, begun.at.trace, begun.parent), (sampled.trace, sampled.trace, Some(sampled.span)));
    assert!(traces.call(None).1.is_none());
    traces.sample(Some(1.0));
    let (trace, begun) = traces.call(None);
    assert_eq!(begun.map(|it| (it.at.trace, it.parent)), Some((trace, None)));
    let unsampled = Context { sampled: false, ..sampled };
    let (trace, begun) = traces.call(Some(unsampled));
    assert!(begun.is_none() && trace == sampled.trace, "whoever says no is not traced");
    traces.sample(None);
    assert!(traces.ratio() < 0.5 && traces.set().is_none() && traces.call(None).1.is_none());
}

#[test]
fn callers_cannot_have_more_traced_in_a_second_than_is_borne() {
    let (traces, _waiting, clock) = on(0.0);
    let sampled: Context = CALLER.parse().unwrap();
    let heard = || (0..WANTED * 2).filter(|_| traces.call(Some(sampled)).1.is_some()).count();
    assert_eq!((heard(), heard()), (WANTED as usize, 0));
    clock.advance(Duration::from_secs(1));
    assert_eq!(heard(), WANTED as usize);
    traces.sample(Some(1.0));
    assert!(traces.call(Some(sampled)).1.is_some(), "what is beyond it is sampled as all others are");
}

#[test]
fn what_nobody_waits_for_to_its_end_is_told_as_cancelled() {
    let (traces, mut waiting, _) = on(1.0);
    let begun = || traces.call(None).1.unwrap();
    let part = |name: &str| traces.part(begun(), name.to_owned(), Kind::Server, Vec::new());
    part("ended").end("", vec![("more", Value::Number(1))]);
    drop(part("left"));
    let told = drained(&mut waiting);
    let told: Vec<_> =
        told.iter().map(|it| (it.name.as_str(), it.error.as_str(), it.attributes.len())).collect();
    assert_eq!(told, [("ended", "", 1), ("left", "cancelled", 0)]);
}

#[test]
fn where_nobody_collects_nothing_is_sampled() {
    let traces = Traces::off(Metrics::default(), Clock::test(NOW));
    let sampled: Context = CALLER.parse().unwrap();
    traces.sample(Some(1.0));
    assert!(traces.call(Some(sampled)).1.is_none() && traces.call(None).1.is_none());
    assert_eq!(traces.items().given(item(1, 5), sampled), None);
    assert!(!traces.items().any());
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_is_dropped_and_counted() {
    let (traces, mut waiting, _) = on(1.0);
    let (_, begun) = traces.call(None);
    let begun = begun.unwrap();
    tokio::time::advance(Duration::from_millis(3)).await;
    for _ in 0..10 {
        traces.end(&begun, "call".to_owned(), Kind::Server, "", Vec::new());
    }
    let spans = drained(&mut waiting);
    assert_eq!(spans.len(), 8);
    assert_eq!(spans[0].end_us - spans[0].begin_us, 3000);
    let text = traces.0.metrics.encode();
    assert!(text.contains("muster_spans_total{what=\"dropped\"} 2"), "{text}");
}

fn item(node: u128, number: u64) -> Item {
    let item = ItemName::Bundle("web".to_owned());
    Item { node: NodeId::from_u128(node), item, generation: Generation::new(1, number) }
}

fn told(id: u8, parent: &[u8]) -> Told {
    let (id, parent) = (vec![id; 8], parent.to_vec());
    Told { name: "apply".to_owned(), id, parent, begin_us: 7, end_us: 3, ..Told::default() }
}

#[test]
fn an_item_is_a_tree_when_it_is_stored_and_waited_for_no_more() {
    let (traces, mut waiting, clock) = on(0.0);
    let asked: Context = CALLER.parse().unwrap();
    let given = traces.items().given(item(1, 5), asked).unwrap();
    assert_eq!(traces.items().given(item(1, 5), asked), Some(given), "given again, it is the same");
    assert_ne!(traces.items().given(item(2, 5), asked), Some(given), "another node's is another one");
    clock.advance(Duration::from_millis(10));
    traces.items().done(&item(1, 5), vec![told(1, &[]), told(2, &[1; 8])]);
    traces.items().stored(&item(1, 5), "web-1", "applied", false);
    let spans = drained(&mut waiting);
    assert_eq!(spans.len(), 4);
    assert_eq!((spans[0].id, spans[0].parent), (given.span, Some(asked.span)));
    assert_eq!((spans[1].name.as_str(), spans[1].parent), ("store report", Some(given.span)));
    assert_eq!((spans[2].parent, spans[3].parent), (Some(given.span), Some(spans[2].id)));
    assert!(matches!(&spans[3].by, By::Node { name, .. } if name == "web-1"));
    traces.items().stored(&item(1, 5), "web-1", "applied", false);
    assert_eq!(drained(&mut waiting), [], "it is told once");
    traces.items().stored(&item(2, 6), "web-2", "applied", false);
    assert_eq!(drained(&mut waiting), [], "what became of a newer one says nothing of it");
    assert!(!traces.items().any());
    assert_ne!(
        traces.items().given(item(1, 5), asked),
        Some(given),
        "given after its answer, it is another part"
    );
}

#[test]
fn what_hosts_tell_and_what_they_never_answer_takes_little() {
    let (traces, mut waiting, clock) = on(0.0);
    let (items, asked): (_, Context) = (traces.items(), CALLER.parse().unwrap());
    let lie: Vec<Told> = (0..OF_ORDER)
        .map(|n| Told { name: "x".repeat(256), ..told(u8::try_from(n).unwrap(), &[]) })
        .collect();
    for node in 0..2000 {
        items.given(item(node, 5), asked).unwrap();
        items.done(&item(node, 5), lie.clone());
    }
    items.stored(&item(1999, 5), "x", "applied", false);
    assert_eq!(drained(&mut waiting).len(), 2, "beyond four megabytes it says nothing of its own");
    items.stored(&item(0, 5), "x", "applied", false);
    assert_eq!(drained(&mut waiting).len(), 8, "what came before does");
    items.done(&item(1998, 5), vec![told(1, &[])]);
    items.stored(&item(1998, 5), "x", "applied", false);
    assert_eq!(drained(&mut waiting).len(), 3, "and there is room again");
    // Those whose hosts have left are forgotten soon, all others after an hour.
    (0..1000).for_each(|node| items.left(NodeId::from_u128(node)));
    clock.advance(Duration::from_secs(180));
    items.given(item(5000, 5), asked).unwrap();
    assert_eq!(traces.0.items.len(), 2000 - 1000 - 2 + 1);
    clock.advance(Duration::from_secs(3500));
    items.given(item(5000, 5), asked).unwrap();
    assert_eq!(traces.0.items.len(), 1, "the one that was given again has its time anew");
}

#[test]
fn a_host_speaks_below_its_own_order_only() {
    let below: Context = CALLER.parse().unwrap();
    let by = By::Node { id: NodeId::from_u128(1), name: "x".to_owned() };
    let foreign = below.span.as_bytes().to_vec();
    // It gives the id of its order as its own, a parent that is not there, and itself as parent.
    let life = (NOW, NOW + Duration::from_secs(9));
    let spans = span::of_host(
        &by,
        below,
        life,
        vec![Told { id: foreign, ..told(0, &[9; 8]) }, told(2, &[2; 8]), told(3, b"short")],
    );
    assert!(spans.iter().all(|it| it.trace == below.trace && it.id != below.span));
    assert!(spans.iter().all(|it| it.parent == Some(below.span)), "what hangs nowhere hangs below the order");
    assert!(spans.iter().all(|it| it.begin_us <= it.end_us));
    let other = below.at(SpanId::of(&below.trace, "command/2"));
    let others = span::of_host(&by, other, life, vec![told(2, &[])]);
    assert!(others.iter().all(|it| spans.iter().all(|one| one.id != it.id)), "of each order its own");
    let ring = span::of_host(&by, below, life, vec![told(4, &[5; 8]), told(5, &[4; 8]), told(5, &[])]);
    assert_eq!(ring.len(), 2, "a part has one id");
    assert_eq!((ring[0].parent, ring[1].parent), (Some(below.span), Some(ring[0].id)), "there are no rings");
    let many: Vec<Told> = (0..100).map(|n| told(n, &[])).collect();
    assert_eq!(span::of_host(&by, below, life, many).len(), OF_ORDER);
    let (begin_us, end_us) = (i64::MIN, i64::MAX);
    let ages = span::of_host(&by, below, life, vec![Told { begin_us, end_us, ..told(1, &[]) }]).remove(0);
    let hour = 3_600_000_000;
    assert_eq!(
        (ages.begin_us, ages.end_us),
        (life.0.micros() - hour, life.1.micros() + hour),
        "as far as a clock is off"
    );
}

#[tokio::test]
async fn only_what_is_done_for_a_call_is_a_part_of_it() {
    let here: Context = CALLER.parse().unwrap();
    assert_eq!(now(), None);
    assert_eq!(within(here, async { now() }).await, Some(here));
    assert_eq!(now(), None);
}
