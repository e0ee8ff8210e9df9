//! Random callers do everything to random nodes: what is outside of their scope
//! is as it was, and they hear nothing of it.

use std::collections::BTreeMap;

use muster_domain::{access::Reach, node::Node};
use muster_store::{ReadCommands as _, ReadNodes as _};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::*;

const NODES: u128 = 12;
const CALLERS: usize = 40;

const KEYS: [&str; 3] = ["env", "rack", "role"];
const VALUES: [&str; 3] = ["a", "b", "c"];

fn pick<'a>(dice: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(dice).unwrap()
}

fn random_labels(dice: &mut StdRng) -> Labels {
    let mut labels = Labels::new();
    for key in KEYS {
        if dice.random_bool(0.7) {
            labels.insert(key.to_owned(), pick(dice, &VALUES).to_owned());
        }
    }
    labels
}

fn random_selector(dice: &mut StdRng) -> Selector {
    let (key, value, other) = (pick(dice, &KEYS), pick(dice, &VALUES), pick(dice, &VALUES));
    let text = match dice.random_range(0..5) {
        0 => format!("{key}={value}"),
        1 => format!("{key}!={value}"),
        2 => format!("!{key}"),
        3 => format!("{key} in ({value},{other})"),
        _ => format!("{key},{}={other}", pick(dice, &KEYS)),
    };
    Selector::parse(&text).unwrap()
}

/// All that callers can change of nodes, by node.
async fn rows(bench: &Bench) -> BTreeMap<NodeId, (Node, usize)> {
    let read = bench.app.store.read(|tx| {
        let mut rows = BTreeMap::new();
        for node in tx.node_all()? {
            let commands = tx.command_open_for_node(node.id)?.len();
            rows.insert(node.id, (node, commands));
        }
        Ok::<_, Error>(rows)
    });
    read.await.unwrap()
}

/// Everything that names one node. Whether each went through.
async fn touch(bench: &Bench, who: &Actor, id: NodeId, dice: &mut StdRng) -> Vec<Result<(), Error>> {
    let app = &bench.app;
    let rename = Edit { display_name: Some(format!("n{}", dice.random::<u16>())), ..Edit::default() };
    let relabel = Edit { labels: Some(random_labels(dice)), ..Edit::default() };
    let mut done = vec![
        app.node(&who.scope, id).map(drop),
        app.edit_node(who, id, rename).await.map(drop),
        app.quarantine_node(who, id, String::new()).await,
        app.release_quarantine(who, id, None, String::new()).await,
        app.allow_recovery(who, id).await,
    ];
    let relabelled = app.edit_node(who, id, relabel).await.map(drop);
    if !matches!(&relabelled, Err(error) if reason(error) == Reason::PermissionDenied) {
        done.push(relabelled); // else it would have given the node away
    }
    done
}

#[tokio::test]
async fn whatever_a_caller_does_no_row_outside_of_its_scope_is_touched() {
    let mut dice = StdRng::seed_from_u64(20_251_125);
    let bench = Bench::following().await;
    for number in 1..=NODES {
        labelled(&bench, number, random_labels(&mut dice)).await;
    }
    bench.app.follow().await.unwrap();
    profile(&bench).await;
    let (mut inside, mut outside) = (0, 0);
    for round in 0..CALLERS {
        let reach = Reach::of((0..dice.random_range(1..3)).map(|_| random_selector(&mut dice)));
        let name = format!("operator/r{round}");
        let who = actor(&name, Scope { principal: name.clone(), permission: Permission::EditNodes, reach });
        let before = rows(&bench).await;
        let sees = |node: &Node| who.scope.sees(node);
        for (id, (node, _)) in &before {
            for done in touch(&bench, &who, *id, &mut dice).await {
                let refused = done.err().map(|error| reason(&error));
                assert_eq!(
                    refused,
                    (!sees(node)).then_some(Reason::NotFound),
                    "{name} {:?} {node:?}",
                    who.scope
                );
            }
            if sees(node) { inside += 1 } else { outside += 1 }
        }
        let started = bench.app.start_operation(&who, wish("*")).await.unwrap();
        let now = rows(&bench).await;
        let mine = now.values().filter(|(node, _)| sees(node)).count();
        assert_eq!((started.0.total as usize, started.1.total() as usize), (mine, mine));
        assert_eq!(bench.app.nodes(&who.scope, &Selector::all(), &page()).unwrap().1, mine);
        let assigned =
            bench.app.create_assignment(&who, assign(&format!("r{round}"), "*"), false).await.unwrap();
        assert_eq!(bench.app.reach(&whole(), &[assigned]).await, [mine]);
        bench.app.delete_assignment(&who, format!("r{round}"), String::new()).await.unwrap();
        for (id, row) in before.iter().filter(|(_, (node, _))| !sees(node)) {
            assert_eq!(&now[id], row, "{name} {:?}", who.scope);
        }
        bench.app.cancel_operation(&who, started.0.id, String::new(), false).await.unwrap();
    }
    assert!(inside > 50 && outside > 50, "both were tried: {inside} {outside}");
}

#[tokio::test]
async fn nobody_removes_a_node_that_is_not_theirs() {
    let (bench, ids) = bench(&["dev", "prod"], "env=dev").await;
    let remove = async |id| bench.app.remove_node(&dave(&bench), id, String::new(), String::new()).await;
    assert_eq!(reason(&remove(ids[1]).await.unwrap_err()), Reason::NotFound);
    remove(ids[0]).await.unwrap();
    assert_eq!(rows(&bench).await.into_keys().collect::<Vec<_>>(), [ids[1]]);
}
