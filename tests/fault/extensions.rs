//! kill -9 of an agent wherever it can die with an extension: at each step, verb and end of
//! its stories, at each piece of a package, while it is admitted. The next agent takes it up
//! where it was; whoever dies there, too, is followed by another one. Each story ends, no verb
//! runs beside another, and nothing half done is left.

mod victim;

use futures_util::future::join_all;
use muster_proto::types::v1::{ItemOutcome, ItemState};
use muster_tests::{
    catalogue::{Catalogue, Package, content, pack},
    operator::reported,
    plane::{Options, Plane},
    repository::Repository,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use victim::{ITEM, NAME, Victim, Way};

/// Where it dies, and how often it must have done so in all four stories: as often as it comes by.
const POINTS: &[(&str, usize)] = &[
    ("extensions.step.begun", 5 + 6 + 9 + 3),
    ("extensions.step.done", 5 + 6 + 9 + 3),
    ("extensions.verb.marked", 4 + 5 + 8 + 2),
    ("extensions.verb.ended", 3 + 4 + 7 + 2),
    ("extensions.story.ended", 3),
    ("agent.artifact.piece", 3 * 3),
    ("admission.believe", 3),
    ("admission.copied", 3),
];
/// Bytes in a package that do not become fewer by packing it.
const BULK: usize = 200_000;
/// What runs, in the end and on the way, if each verb runs to its end: in order.
const INSTALLED: &[&str] = &["install 1.0.0", "enable 1.0.0", "run 1.0.0"];
const UPDATED: &[&str] = &["disable 1.0.0", "update 2.0.0", "enable 2.0.0", "run 2.0.0"];
const RETURNED: &[&str] = &[
    "disable 2.0.0",
    "update 3.0.0",
    "enable 3.0.0",
    "disable 3.0.0",
    "update 2.0.0",
    "enable 2.0.0",
    "run 2.0.0",
];
const REMOVED: &[&str] = &["disable 2.0.0", "uninstall 2.0.0"];

struct Lab {
    victims: Vec<Victim>,
    catalogue: Catalogue,
    _plane: Plane,
    _folder: tempfile::TempDir,
}

impl Lab {
    async fn new(ways: impl IntoIterator<Item = Way>) -> Self {
        let (folder, repository) = (tempfile::tempdir().unwrap(), Repository::new());
        let mut plane = Plane::init(folder.path(), &Options::default());
        let root = repository.path().join("metadata/1.root.json");
        plane.configure("root", &format!("{root:?}"));
        plane.serve(&[]).await;
        let catalogue = Catalogue { repository, operator: plane.operator().await };
        let mut victims = Vec::new();
        for (number, way) in ways.into_iter().enumerate() {
            let name = format!("host-{number}");
            victims.push(Victim::new(folder.path(), &name, &root, &plane.join(1, &[]).await, way));
        }
        Self { victims, catalogue, _plane: plane, _folder: folder }
    }

    /// Gives a version to all, and sees every one to its end.
    async fn brings(&mut self, version: &str) -> Vec<ItemState> {
        let bytes = package(version);
        let package = Package { publisher: "acme", kind: "app", version, bytes: &bytes };
        self.catalogue.publish(&[package]).await;
        let wanted = self.catalogue.extension(NAME, content("acme", "app", version, ""), "").await;
        self.catalogue.give(NAME, "*").await;
        let operator = &self.catalogue.operator;
        let wanted = &wanted;
        join_all(self.victims.iter_mut().map(|victim| async move {
            let ended = |state: Option<&ItemState>| {
                state.is_some_and(|state| {
                    state.attempted.as_ref().is_some_and(|it| it.sha256 == wanted[..])
                        && state.outcome() != ItemOutcome::Unspecified
                })
            };
            let node = victim.through(operator, |node| ended(reported(node, ITEM))).await;
            reported(&node, ITEM).cloned().unwrap()
        }))
        .await
    }

    async fn takes_away(&mut self) {
        self.catalogue.take_away(NAME).await;
        let operator = &self.catalogue.operator;
        join_all(
            self.victims
                .iter_mut()
                .map(|victim| victim.through(operator, |node| reported(node, ITEM).is_none())),
        )
        .await;
    }

    async fn are_whole(&mut self, runs: Option<&str>) {
        let operator = &self.catalogue.operator;
        join_all(self.victims.iter_mut().map(|victim| victim.is_whole(operator, runs))).await;
    }
}

/// A version of the extension, of which the third cannot be enabled. Its one program tells of
/// each verb, and of another that runs beside it: one that is ended with its agent takes a moment.
fn package(version: &str) -> Vec<u8> {
    let verb = |verb: &str| format!("[verbs.{verb}]\nargv = [\"bin/app\"]\n");
    let verbs: String = ["install", "enable", "disable", "update", "uninstall"].map(verb).concat();
    let manifest = format!(
        "publisher = \"acme\"\ntype = \"app\"\nversion = {version:?}\n{verbs}\
         [verbs.health]\nargv = [\"bin/app\"]\ninterval-s = 3600\n[run]\nargv = [\"bin/app\"]\n"
    );
    let fails = if version == "3.0.0" { "[ $MUSTER_EXT_VERB != enable ] || exit 3\n" } else { "" };
    // The agent's own folder is where its state is.
    let program = format!(
        "#!/bin/sh\n[ $MUSTER_EXT_VERB != health ] || exit 0\ntrace=${{MUSTER_EXT_STATE%%/state/*}}/trace\n\
         kind=verb; [ $MUSTER_EXT_VERB != run ] || kind=run\n\
         exec 9>>$trace.$kind; flock -w 2 9 || echo two at once >> $trace\n\
         echo $MUSTER_EXT_VERB $MUSTER_EXT_VERSION >> $trace\n{fails}\
         [ $MUSTER_EXT_VERB != run ] || exec sleep 120\n"
    );
    let mut random = StdRng::seed_from_u64(version.len() as u64);
    let bulk: String = (0..BULK).map(|_| char::from(random.random_range(b' '..b'~'))).collect();
    pack(&[("manifest.toml", 0o644, &manifest), ("bin/app", 0o755, &program), ("bulk", 0o644, &bulk)])
}

fn outcomes(states: &[ItemState]) -> Vec<(ItemOutcome, &str)> {
    states
        .iter()
        .map(|state| (state.outcome(), state.running.as_ref().map_or("", |it| it.version.as_str())))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_wherever_it_comes_by_ends_each_story_of_an_extension() {
    let _alone = crate::ALONE.lock().await;
    let mut lab = Lab::new(POINTS.iter().map(|(point, _)| Way::EachTime(point))).await;
    for (version, outcome, runs) in [
        ("1.0.0", ItemOutcome::Applied, "1"),
        ("2.0.0", ItemOutcome::Applied, "2"),
        ("3.0.0", ItemOutcome::RolledBack, "2"),
    ] {
        let states = lab.brings(version).await;
        assert_eq!(outcomes(&states), vec![(outcome, runs); POINTS.len()], "{states:?}");
        lab.are_whole(Some(if runs == "1" { "1.0.0" } else { "2.0.0" })).await;
    }
    lab.takes_away().await;
    lab.are_whole(None).await;
    let expected = [INSTALLED, UPDATED, RETURNED, REMOVED].concat();
    for (victim, (point, deaths)) in lab.victims.iter().zip(POINTS) {
        eprintln!("extensions: {} deaths at {point}", victim.deaths());
        assert!(victim.deaths() >= *deaths, "{point}: {} deaths", victim.deaths());
        assert_eq!(victim.verbs(), expected, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_at_random_ends_each_story_of_an_extension() {
    let _alone = crate::ALONE.lock().await;
    let seed = crate::number("MUSTER_SEED", rand::random());
    let rounds = crate::number("MUSTER_ROUNDS", 6).div_ceil(6);
    for round in 0..rounds {
        let seed = seed.wrapping_add(round);
        eprintln!("extensions: seed {seed}");
        let ways = (0..4_u64).map(|host| {
            Way::Random(Box::new(StdRng::seed_from_u64(seed.wrapping_mul(4).wrapping_add(host))))
        });
        let mut lab = Lab::new(ways).await;
        // What it may end with: a step that ends its agent again and again is given up.
        for (version, number) in [("1.0.0", "1"), ("2.0.0", "2"), ("3.0.0", "3")] {
            let states = lab.brings(version).await;
            for (outcome, running) in outcomes(&states) {
                let is_legal = match outcome {
                    ItemOutcome::Applied => running == number && number != "3",
                    ItemOutcome::RolledBack | ItemOutcome::Rejected => running < number,
                    ItemOutcome::Broken => running.is_empty(),
                    _ => false,
                };
                assert!(is_legal, "{version}: {states:?}");
            }
        }
        lab.takes_away().await;
        lab.are_whole(None).await;
        for victim in &lab.victims {
            assert!(!victim.verbs().contains(&"two at once".to_owned()), "{:?}", victim.verbs());
        }
    }
}
