use std::time::Duration;

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, NodeId},
};

use super::*;
use crate::mass_loss::{Candidates, Seen};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

/// The alerts of one rule over time.
struct Story {
    rule: Rule,
    memory: Memory,
    open: Vec<Alert>,
    ended: Vec<Alert>,
    next: u128,
    now: UnixMillis,
}

impl Story {
    fn new(rule: Rule) -> Self {
        Self { rule, memory: Memory::default(), open: Vec::new(), ended: Vec::new(), next: 0, now: NOW }
    }

    /// One look after another second; what changed.
    fn look(&mut self, signs: &Signs) -> Vec<Alert> {
        self.now = self.now + SECOND;
        let next = &mut self.next;
        let id = || {
            *next += 1;
            AlertId::from_u128(*next)
        };
        let changes = evaluate(&self.rule, signs, &self.open, &mut self.memory, id, self.now);
        for change in &changes {
            self.open.retain(|alert| alert.id != change.id);
            let list = if change.ended_at.is_some() { &mut self.ended } else { &mut self.open };
            list.push(change.clone());
        }
        changes
    }

    fn subjects(&self) -> Vec<String> {
        let mut subjects: Vec<String> = self.open.iter().map(|alert| alert.subject.to_string()).collect();
        subjects.sort();
        subjects
    }

    fn ends(&self) -> Vec<&str> {
        self.ended.iter().map(|alert| alert.end_reason.as_str()).collect()
    }
}

fn offline() -> Rule {
    built_in().into_iter().find(|rule| rule.name == "node-offline").unwrap()
}

fn found(node: u128, group: &str) -> Found {
    Found {
        subject: Subject::Node(NodeId::from_u128(node)),
        labels: [("site".to_owned(), group.to_owned())].into_iter().collect(),
        group: group.to_owned(),
        since: None,
        reason: "Silent".to_owned(),
        message: "the node is offline".to_owned(),
        mark: String::new(),
    }
}

/// Of a fleet of so many these are found, and these are near.
fn signs(total: usize, of: impl IntoIterator<Item = u128>, near: impl IntoIterator<Item = u128>) -> Signs {
    Signs {
        totals: [(String::new(), total)].into(),
        found: of.into_iter().map(|node| found(node, "")).collect(),
        near: near.into_iter().map(|node| (NodeId::from_u128(node), String::new())).collect(),
        unknown: Vec::new(),
    }
}

#[test]
fn a_node_has_one_alert_from_when_it_is_so_until_it_is_not() {
    let mut story = Story::new(offline());
    let begun = story.look(&signs(10, [1], []));
    assert_eq!((begun.len(), begun[0].reason.as_str(), begun[0].state()), (1, "Silent", State::Open));
    assert_eq!(story.look(&signs(10, [1], [])), [], "nothing new is nothing to write");
    story.look(&signs(10, [], []));
    assert_eq!((story.open.len(), story.ends()), (0, vec!["Resolved"]));
    story.look(&signs(10, [1], []));
    assert_ne!(story.open[0].id, begun[0].id, "the next one is another");
}

#[test]
fn what_must_hold_for_a_time_holds_for_all_of_it() {
    let mut story = Story::new(Rule { hold: SECOND * 3, ..offline() });
    for _ in 0..3 {
        assert_eq!(story.look(&signs(10, [1], [])), []);
    }
    assert_eq!(story.look(&signs(10, [1], [])).len(), 1);
    story.look(&signs(10, [], []));
    assert_eq!(story.look(&signs(10, [1], [])), [], "it began anew");
}

#[test]
fn what_moves_is_not_stuck() {
    let mut story = Story::new(Rule { hold: SECOND * 2, ..offline() });
    let at = |mark: &str| {
        let mut signs = signs(10, [1], []);
        signs.found[0].mark = mark.to_owned();
        signs
    };
    for mark in ["a", "a", "b", "b"] {
        assert_eq!(story.look(&at(mark)), [], "{mark}");
    }
    assert_eq!(story.look(&at("b")).len(), 1);
    story.look(&at("c"));
    assert_eq!((story.open.len(), story.ends()), (0, vec!["Resolved"]));
}

#[test]
fn an_alert_stays_while_nobody_can_say_and_when_another_process_looks() {
    let mut story = Story::new(Rule { hold: SECOND * 2, ..offline() });
    for _ in 0..3 {
        story.look(&signs(10, [1], []));
    }
    let unknown = Signs { unknown: vec![(NodeId::from_u128(1), String::new())], ..signs(10, [], []) };
    assert_eq!(story.look(&unknown), []);
    story.memory = Memory::default();
    assert_eq!(story.look(&signs(10, [1], [])), [], "it is open, though this one saw it just now");
    assert_eq!(story.open.len(), 1);
}

#[test]
fn many_at_once_are_one_alert_and_not_one_before_it() {
    let mut story = Story::new(offline());
    // Three of two hundred are silent for long enough, and the others will be in a moment.
    let first = story.look(&signs(200, 0..3, 3..200));
    assert_eq!((first.len(), story.subjects()), (1, vec!["fleet".to_owned()]));
    story.look(&signs(200, 0..200, []));
    assert_eq!((story.open[0].count, story.open[0].nodes.len()), (200, SHOWN_MEMBERS));
    assert_eq!(story.look(&signs(200, 0..200, [])), []);
    // Most are back: twenty, half of what makes one, are many still; fewer are not.
    story.look(&signs(200, 0..20, []));
    assert_eq!((story.open[0].count, story.ends().len()), (20, 0));
    story.look(&signs(200, 0..3, []));
    assert_eq!(
        (story.open.len(), story.ends()),
        (3, vec!["MostAreBack"]),
        "those that are left have their own"
    );
    story.look(&signs(200, [], []));
    assert_eq!((story.open.len(), story.ended.len()), (0, 4));
}

#[test]
fn those_of_a_moment_before_become_part_of_it_and_those_of_long_ago_do_not() {
    let mut story = Story::new(offline());
    story.look(&signs(100, [1], []));
    story.now = story.now + Duration::from_secs(600);
    story.look(&signs(100, 1..10, []));
    assert_eq!(story.open.len(), 9, "nine are not many of a hundred");
    story.look(&signs(100, 1..30, []));
    assert_eq!(story.subjects().len(), 2, "that of the first, and the one of all others");
    assert_eq!(story.ends(), ["Grouped"; 8]);
    let group = story.open.iter().find(|alert| alert.subject == Subject::Group(String::new())).unwrap();
    assert_eq!((group.count, group.nodes.len()), (28, 28));
    assert_eq!(story.look(&signs(100, 1..30, [])), []);
}

#[test]
fn groups_are_by_the_label_that_the_rule_names() {
    let damping = Damping { by: "site".to_owned(), ..Damping::default() };
    let mut story = Story::new(Rule { damping, ..offline() });
    let two = |fra: u128| Signs {
        totals: [("fra".to_owned(), 20), ("ber".to_owned(), 20)].into(),
        found: (0..fra).map(|node| found(node, "fra")).chain([found(100, "ber")]).collect(),
        ..Signs::default()
    };
    story.look(&two(10));
    assert_eq!(story.subjects(), ["group/fra".to_owned(), format!("node/{}", NodeId::from_u128(100))]);
    story.look(&two(0));
    assert_eq!(story.subjects().len(), 1);
}

#[test]
fn a_group_stays_while_the_control_plane_does_not_know() {
    let mut story = Story::new(offline());
    story.look(&signs(100, 0..60, []));
    let unknown = |nodes: std::ops::Range<u128>| Signs {
        unknown: nodes.map(|node| (NodeId::from_u128(node), String::new())).collect(),
        ..signs(100, [], [])
    };
    assert_eq!(story.look(&unknown(0..60)), []);
    story.look(&signs(100, [], []));
    assert_eq!(story.ends(), ["MostAreBack"]);
}

#[test]
fn a_node_of_which_nobody_can_say_counts_in_a_group_only_if_it_was_one_of_it() {
    let mut story = Story::new(offline());
    story.look(&signs(100, 0..60, []));
    let unknown = |found: std::ops::Range<u128>, unknown: std::ops::Range<u128>| Signs {
        unknown: unknown.map(|node| (NodeId::from_u128(node), String::new())).collect(),
        ..signs(100, found, [])
    };
    assert_eq!(story.look(&unknown(0..50, 50..80)), [], "ten of these are of it, and twenty never were");
    story.look(&unknown(0..30, 50..80));
    let ids: Vec<NodeId> = (0..30).chain(50..60).map(NodeId::from_u128).collect();
    assert_eq!((story.open[0].count, &story.open[0].nodes), (40, &ids), "it is counted all the same");
    story.memory = Memory::default();
    assert_eq!(story.look(&unknown(0..30, 50..80)), [], "another process knows them by their names");
    story.look(&unknown(0..0, 60..80));
    assert_eq!(story.ends(), ["MostAreBack"], "those that never were in it do not hold it");
}

#[test]
fn a_threshold_is_a_number_or_a_share_and_never_a_handful() {
    let damping = |nodes, percent| Damping { nodes, percent, ..Damping::default() };
    for (total, expected) in [(3, 5), (25, 5), (26, 6), (200, 40), (1_000_000, 50)] {
        assert_eq!(damping(50, 20).threshold(total), Some(expected), "of {total}");
    }
    assert_eq!((damping(0, 20).threshold(9), damping(10, 0).threshold(9)), (None, Some(10)));
}

#[test]
fn a_silence_keeps_a_beginning_back_and_who_was_told_of_it_is_told_of_the_end() {
    let alert = offline().begun(AlertId::from_u128(1), Subject::Group(String::new()), NOW, NOW);
    let silence = Some(muster_common::ids::SilenceId::from_u128(1));
    let pager = &["pager".to_owned()];
    let news = |event| Some(News { event, to: pager.to_vec() });
    let (quiet, told) = Alert { silence, ..alert }.news(pager);
    assert_eq!((quiet.state(), told), (State::Silenced, None));
    assert_eq!(quiet.ended("Resolved", NOW).news(pager).1, None, "nobody knows of it");
    let (open, told) = Alert { silence: None, ..quiet }.news(pager);
    assert_eq!(told, news(Event::Opened));
    assert_eq!(open.clone().news(pager).1, None, "once");
    assert_eq!(Alert { silence, ..open }.ended("Resolved", NOW).news(pager).1, news(Event::Resolved));
}

#[test]
fn who_is_to_be_told_later_is_told_later_and_who_was_told_is_told_of_the_end() {
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let alert = offline().begun(AlertId::from_u128(1), Subject::Group(String::new()), NOW, NOW);
    let (alone, told) = alert.news(&[]);
    assert_eq!((alone.told, told), (true, None), "there is nobody");
    let (first, told) = alone.news(&names(&["a"]));
    assert_eq!(told, Some(News { event: Event::Opened, to: names(&["a"]) }));
    let (both, told) = first.news(&names(&["b"]));
    assert_eq!(told, Some(News { event: Event::Opened, to: names(&["b"]) }), "the rule names another one");
    let (_, told) = both.ended("Resolved", NOW).news(&names(&["b"]));
    assert_eq!(told, Some(News { event: Event::Resolved, to: names(&["a", "b"]) }));
}

#[test]
fn a_cause_is_the_label_that_tells_them_from_the_others() {
    let labels = |site: &str| -> Labels {
        [("env", "prod"), ("site", site)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into_iter()
            .collect()
    };
    let (fra, ber) = (labels("fra"), labels("ber"));
    let seen = |labels| Seen { labels, from: None, replica: None };
    let reasons = [("Silent".to_owned(), 58), ("StreamClosed".to_owned(), 2)].into();
    // Of others so many are at the same site, and so many are elsewhere.
    let cause = |here: usize, elsewhere: usize| {
        let mut common = Candidates::of((0..60).map(|_| seen(&fra)));
        (0..here).for_each(|_| common.there(seen(&fra)));
        (0..elsewhere).for_each(|_| common.there(seen(&ber)));
        of_group(Kind::NodeOffline, "", (60, 0), common, &reasons)
    };
    assert_eq!(
        (cause(2, 138).reason.as_str(), cause(2, 138).message.as_str()),
        (
            "CommonLabel",
            "60 of 200 nodes are offline: 60 of the 62 nodes with site=fra are among them; Silent for 58 of them"
        )
    );
    assert_eq!(cause(90, 50).reason, "ManyNodes");
    assert_eq!(cause(1, 2).reason, "WholeGroup");
}

#[test]
fn a_delivery_waits_longer_each_time_and_ends() {
    let mut delivery = Delivery {
        id: muster_common::ids::DeliveryId::from_u128(1),
        receiver: "pager".to_owned(),
        alert: AlertId::from_u128(1),
        event: Event::Opened,
        created_at: NOW,
        tries: 0,
        due_at: NOW,
        dead_at: None,
        error: String::new(),
    };
    let mut waits = Vec::new();
    for _ in 0..11 {
        delivery = after_failure(&delivery, 12, "no answer".to_owned(), 1.0, NOW);
        waits.push(delivery.due_at.since(NOW).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(
        after_failure(&delivery, 99, String::new(), 0.0, NOW).due_at.since(NOW).as_secs(),
        150,
        "spread"
    );
    assert_eq!(delivery.dead_at, None);
    assert_eq!(after_failure(&delivery, 12, String::new(), 0.0, NOW).dead_at, Some(NOW));
}

#[test]
fn a_subject_has_one_written_form() {
    let node = Subject::Node(NodeId::from_u128(7));
    for subject in [
        node,
        Subject::Group(String::new()),
        Subject::Group("fra".to_owned()),
        Subject::Thing("rollout/x".to_owned()),
    ] {
        assert_eq!(subject.to_string().parse(), Ok(subject));
    }
    for text in ["", "x", "node/x", "rollout/"] {
        assert!(text.parse::<Subject>().is_err(), "{text:?}");
    }
}

#[test]
fn built_in_rules_can_be_written_as_they_are() {
    for rule in built_in() {
        assert!(crate::item::is_resource_name(&rule.name) && is_built_in(&rule.name));
        assert_eq!(rule.threshold > Duration::ZERO, rule.kind.has_threshold(), "{}", rule.name);
    }
}
