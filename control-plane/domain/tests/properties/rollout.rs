//! A rollout against a fleet that does what it wants: nodes answer, refuse, vanish,
//! come and go in any order, and the clock jumps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_common::{
    clock::UnixMillis,
    ids::{NodeId, RolloutId},
};
use muster_domain::rollout::{
    Budget, Decision, Hold, Member, OnFailure, Phase, Plan, Portion, Presence, Rollout, Share, Standing,
    Step, View, Weather, Wish, allowed_failures, decide, order_of, tally,
};
use proptest::prelude::*;

const GROUPS: u32 = 3;

#[derive(Debug, Clone)]
enum Event {
    /// A node that was given it says what became of it.
    Answer {
        node: u8,
        good: bool,
    },
    /// It has it, and what runs falls ill.
    Sicken(u8),
    /// It does not take part.
    Excuse(u8),
    Presence {
        node: u8,
        presence: Presence,
    },
    Window {
        node: u8,
        open: bool,
    },
    Join(u8),
    Leave(u8),
    Brake(bool),
    Vanish(bool),
    /// Also backwards.
    Clock(i32),
    Ask(Wish),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let node = 0_u8..40;
    let presence = prop_oneof![
        4 => Just(Presence::Here), 1 => Just(Presence::Away),
        1 => Just(Presence::Lost { since: UnixMillis(0) })
    ];
    let wish = prop_oneof![
        Just(Wish::Pause),
        Just(Wish::Resume),
        Just(Wish::Approve(0)),
        Just(Wish::Abort),
        Just(Wish::RollBack)
    ];
    let event = prop_oneof![
        30 => (node.clone(), prop::bool::weighted(0.9)).prop_map(|(node, good)| Event::Answer { node, good }),
        1 => node.clone().prop_map(Event::Excuse),
        2 => node.clone().prop_map(Event::Sicken),
        5 => (node.clone(), presence).prop_map(|(node, presence)| Event::Presence { node, presence }),
        3 => (node.clone(), any::<bool>()).prop_map(|(node, open)| Event::Window { node, open }),
        2 => node.clone().prop_map(Event::Join),
        1 => node.prop_map(Event::Leave),
        1 => any::<bool>().prop_map(Event::Brake),
        1 => prop::bool::weighted(0.3).prop_map(Event::Vanish),
        3 => (-5000_i32..20_000).prop_map(Event::Clock),
        1 => wish.prop_map(Event::Ask),
    ];
    prop::collection::vec(event, 0..250)
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![(0_u32..5).prop_map(Share::Count), (0_u8..40).prop_map(Share::Percent)]
}

fn plans() -> impl Strategy<Value = Plan> {
    let soak = (0_u64..3).prop_map(Duration::from_secs);
    let reach = prop_oneof![
        (1_u8..100).prop_map(Portion::Percent),
        (1_u32..20).prop_map(Portion::Count),
        Just(Portion::Selector("canary".to_owned())),
    ];
    let step = (reach, soak.clone(), prop::bool::weighted(0.1));
    let steps = (prop::collection::vec(step, 0..4), soak).prop_map(|(steps, last)| {
        let steps = steps.into_iter().map(|(reach, soak, approval)| Step { reach, soak, approval });
        steps.chain([Step { reach: Portion::Percent(100), soak: last, approval: false }]).collect()
    });
    let budget = prop::option::of(share().prop_map(|max| Budget { label: "rack".to_owned(), max }));
    let on_failure = prop_oneof![Just(OnFailure::RollBack), Just(OnFailure::Pause)];
    (steps, 0_u32..6, share(), 50_u8..=100, on_failure, budget).prop_map(
        |(steps, max_in_flight, max_failed, success_percent, on_failure, budget)| Plan {
            steps,
            max_in_flight,
            max_failed,
            success_percent,
            on_failure,
            budget,
            windows: Vec::new(),
            patience: Duration::from_secs(10),
        },
    )
}

/// A fleet, and a rollout over it.
struct World {
    rollout: Rollout,
    members: BTreeMap<u8, Member>,
    weather: Weather,
    now: UnixMillis,
}

impl World {
    fn new(plan: Plan) -> Self {
        let rollout = Rollout {
            id: RolloutId::from_u128(7),
            assignment: "web".to_owned(),
            from: None,
            to: None,
            plan,
            phase: Phase::Running,
            reason: String::new(),
            message: String::new(),
            step: 0,
            settled_at: None,
            approved: 0,
            created_at: UnixMillis(0),
            created_by: String::new(),
            since: UnixMillis(0),
            end: None,
            traced: None,
            revision: 0,
        };
        let mut world = Self {
            rollout,
            members: BTreeMap::new(),
            weather: Weather::default(),
            now: UnixMillis(1_000_000),
        };
        (0..30).for_each(|node| world.join(node));
        world
    }

    fn join(&mut self, node: u8) {
        let id = NodeId::from_u128(u128::from(node) + 1);
        self.members.entry(node).or_insert(Member {
            node: id,
            order: order_of(self.rollout.id, id),
            presence: Presence::Here,
            is_open: true,
            is_selected: true,
            group: u32::from(node) % GROUPS,
            standing: Standing::Untouched,
        });
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Answer { node, good } => {
                if let Some(member) = self.members.get_mut(node)
                    && member.presence == Presence::Here
                    && matches!(member.standing, Standing::Given { .. } | Standing::Failed)
                {
                    member.standing = if *good { Standing::Done } else { Standing::Failed };
                }
            }
            Event::Sicken(node) => {
                if let Some(member) = self.members.get_mut(node)
                    && member.standing == Standing::Done
                {
                    member.standing = Standing::Failed;
                }
            }
            Event::Excuse(node) => {
                if let Some(member) = self.members.get_mut(node)
                    && matches!(member.standing, Standing::Given { .. })
                {
                    member.standing = Standing::Excused;
                }
            }
            Event::Presence { node, presence } => {
                if let Some(member) = self.members.get_mut(node) {
                    member.presence = match presence {
                        Presence::Lost { .. } => Presence::Lost { since: self.now },
                        heard => *heard,
                    };
                }
            }
            Event::Window { node, open } => {
                if let Some(member) = self.members.get_mut(node) {
                    member.is_open = *open;
                }
            }
            Event::Join(node) => self.join(*node),
            Event::Leave(node) => drop(self.members.remove(node)),
            Event::Brake(on) => self.weather.brake = *on,
            Event::Vanish(many) => self.weather.vanished = if *many { 9 } else { 0 },
            Event::Clock(ms) => self.now = UnixMillis((self.now.0 + i64::from(*ms)).max(0)),
            Event::Ask(wish) => {
                if let Ok(Some(next)) = self.rollout.asked(*wish, self.now) {
                    if next.phase == Phase::RollingBack && self.rollout.phase != Phase::RollingBack {
                        self.turn();
                    }
                    self.rollout = next;
                }
            }
        }
    }

    /// Who is silent comes back, who has failed is mended.
    fn mend(&mut self) {
        for node in 0..40 {
            self.happens(&Event::Presence { node, presence: Presence::Here });
            self.happens(&Event::Answer { node, good: true });
        }
    }

    /// What was brought is taken back: who has it is given what it had.
    fn turn(&mut self) {
        let since = self.now;
        for member in self.members.values_mut() {
            if !matches!(member.standing, Standing::Untouched | Standing::Excused) {
                member.standing = Standing::Given { since };
            }
        }
    }

    fn decide(&self) -> (Decision, Vec<Member>) {
        let members: Vec<Member> = self.members.values().cloned().collect();
        let view = View { members: &members, weather: self.weather, now: self.now };
        (decide(&self.rollout, &view), members)
    }

    fn failed_and_allowed(&self) -> (usize, usize) {
        let members: Vec<Member> = self.members.values().cloned().collect();
        let view = View { members: &members, weather: self.weather, now: self.now };
        let tally = tally(&self.rollout, &view);
        (tally.failed, allowed_failures(&self.rollout, tally.touched))
    }

    /// Does what is decided, and answers whether anything was.
    fn obey(&mut self) -> Result<bool, TestCaseError> {
        let (decision, _) = self.decide();
        match decision {
            Decision::Touch(nodes) => {
                self.check_touch(&nodes)?;
                let since = self.now;
                for member in self.members.values_mut().filter(|member| nodes.contains(&member.node)) {
                    member.standing = Standing::Given { since };
                }
                self.rollout.settled_at = None;
            }
            Decision::Settle => self.rollout.settled_at = Some(self.now),
            Decision::Advance => {
                let (failed, allowed) = self.failed_and_allowed();
                prop_assert!(failed <= allowed, "it goes on with {failed} failed of {allowed}");
                self.rollout.step += 1;
                self.rollout.settled_at = None;
                prop_assert!((self.rollout.step as usize) < self.rollout.plan.steps.len());
            }
            Decision::Succeed => {
                let (failed, allowed) = self.failed_and_allowed();
                prop_assert!(failed <= allowed, "it succeeds with {failed} failed of {allowed}");
                prop_assert!(self.rollout.phase == Phase::Running);
                self.rollout = self.rollout.moved(Phase::Succeeded, "Done", String::new(), self.now);
            }
            Decision::Stop { to, .. } => {
                if to == Phase::RollingBack {
                    self.turn();
                }
                self.rollout = self.rollout.moved(to, "TooManyFailed", String::new(), self.now);
            }
            Decision::Returned => {
                prop_assert!(self.rollout.phase == Phase::RollingBack);
                self.rollout = self.rollout.moved(Phase::RolledBack, "Done", String::new(), self.now);
            }
            Decision::Wait(_) => return Ok(false),
        }
        Ok(true)
    }

    /// What must hold whenever nodes are touched.
    fn check_touch(&self, nodes: &[NodeId]) -> Result<(), TestCaseError> {
        let plan = &self.rollout.plan;
        let chosen: BTreeSet<NodeId> = nodes.iter().copied().collect();
        prop_assert_eq!(chosen.len(), nodes.len(), "nobody twice");
        prop_assert!(
            self.rollout.phase == Phase::Running && !self.weather.brake && self.weather.vanished == 0
        );
        let (failed, allowed) = self.failed_and_allowed();
        prop_assert!(failed <= allowed, "more are touched with {} failed of {}", failed, allowed);
        let step = &plan.steps[self.rollout.step as usize];
        prop_assert!(!step.approval || self.rollout.approved > self.rollout.step);
        for member in self.members.values().filter(|member| chosen.contains(&member.node)) {
            prop_assert!(member.presence == Presence::Here && member.is_open);
            prop_assert_eq!(member.standing, Standing::Untouched);
        }
        if plan.max_in_flight > 0 {
            let late = self.now - plan.patience;
            let in_flight = self.members.values().filter(|member| {
                // Who is late or was lost for long has failed: it is in nobody's way.
                matches!(member.standing, Standing::Given { since } if since >= late)
                    && !matches!(member.presence, Presence::Lost { .. })
            });
            prop_assert!(in_flight.count() + chosen.len() <= plan.max_in_flight as usize);
        }
        if let Some(budget) = &plan.budget {
            for group in 0..GROUPS {
                let of_group: Vec<&Member> = self.members.values().filter(|it| it.group == group).collect();
                let taken = of_group.iter().filter(|it| chosen.contains(&it.node)).count();
                let disturbed = of_group.iter().filter(|it| {
                    let is_bad = matches!(it.standing, Standing::Given { .. } | Standing::Failed);
                    it.presence != Presence::Here || is_bad
                });
                let most = budget.max.of(of_group.len()).max(1);
                prop_assert!(taken == 0 || disturbed.count() + taken <= most);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_a_bound_or_passes_a_failing_change(plan in plans(), events in events()) {
        let mut world = World::new(plan);
        for event in &events {
            world.happens(event);
            // Called again and again it comes to rest.
            let mut calls = 0;
            while world.obey()? {
                calls += 1;
                prop_assert!(calls < 100, "it never comes to rest");
            }
        }
    }

    /// The soak is there for this: who had it and falls ill then counts as if it had refused.
    #[test]
    fn what_falls_ill_in_the_soak_stops_the_step(plan in plans(), sick in 1_usize..30) {
        let mut world = World::new(plan);
        for _ in 0..200 {
            while world.obey()? {}
            match world.decide().0 {
                Decision::Wait(Hold::Answers { .. } | Hold::Budget { .. } | Hold::Nobody) => world.mend(),
                Decision::Wait(Hold::Approval) => world.happens(&Event::Ask(Wish::Approve(0))),
                _ => break,
            }
        }
        let Decision::Wait(Hold::Soak { until }) = world.decide().0 else { return Ok(()) };
        let done: Vec<u8> =
            world.members.iter().filter(|(_, it)| it.standing == Standing::Done).map(|(node, _)| *node).collect();
        done.iter().take(sick).for_each(|node| world.happens(&Event::Sicken(*node)));
        world.now = until;
        let (failed, allowed) = world.failed_and_allowed();
        let decision = world.decide().0;
        let stops = matches!(decision, Decision::Stop { .. });
        prop_assert_eq!(stops, failed > allowed, "{} of {}: {:?}", failed, allowed, decision);
    }

    #[test]
    fn every_rollout_ends_or_waits_for_a_named_thing(plan in plans(), events in events()) {
        let mut world = World::new(plan);
        for event in &events {
            world.happens(event);
            while world.obey()? {}
        }
        // From now on the world is kind: whoever it waits for comes.
        world.weather = Weather::default();
        (0..30).for_each(|node| world.join(node));
        for _ in 0..1000 {
            while world.obey()? {}
            let (decision, members) = world.decide();
            let Decision::Wait(hold) = decision else { continue };
            match hold {
                Hold::Phase if world.rollout.phase.is_over() => return Ok(()),
                Hold::Phase => {
                    world.mend();
                    world.happens(&Event::Ask(Wish::Resume));
                }
                Hold::Approval => world.happens(&Event::Ask(Wish::Approve(0))),
                Hold::Soak { until } => {
                    prop_assert!(until > world.now);
                    world.now = until;
                }
                Hold::Answers { .. } => {
                    // Who has it and fell silent owes a sign of life.
                    let owes = |it: &Member| match it.standing {
                        Standing::Given { .. } => true,
                        Standing::Done => matches!(it.presence, Presence::Lost { .. }),
                        Standing::Untouched | Standing::Failed | Standing::Excused => false,
                    };
                    let waits = members.iter().any(owes);
                    prop_assert!(waits, "it waits for answers that nobody owes");
                    world.mend();
                }
                Hold::Window { count } => {
                    prop_assert!(count > 0);
                    (0..40).for_each(|node| world.happens(&Event::Window { node, open: true }));
                }
                Hold::Budget { .. } | Hold::Nobody => {
                    world.mend();
                    if members.iter().all(|it| it.standing == Standing::Excused) {
                        return Ok(()); // nobody takes part: a person must see that
                    }
                }
                Hold::Brake | Hold::Vanished { .. } => prop_assert!(false, "nobody holds it: {hold:?}"),
            }
        }
        prop_assert!(false, "it neither ends nor waits: {:?}", world.decide().0);
    }
}
