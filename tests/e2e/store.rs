//! The store on a PostgreSQL server: the main job, the loss of the server, and the way there.

use std::{fs, path::Path, process::Command};

use muster_cluster::Cluster;
use muster_proto::{
    admin::v1::Liveness,
    types::v1::{BundleContent, CommandState},
};
use muster_tests::{
    agent::{Agent, OPEN},
    binaries,
    eventually::LONG,
    operator::{Operator, file, script},
    plane::{Options, Plane},
};

/// A script runs on the one host.
async fn order(operator: &Operator) {
    let operation = operator.start("*", script("echo done")).await;
    let commands = operator.ended(&operation, LONG).await;
    assert!(!commands.is_empty());
    for command in commands.values() {
        assert_eq!(command.state(), CommandState::Succeeded, "{}", command.message);
        assert_eq!(command.stdout.as_ref(), b"done\n");
    }
}

async fn joined(plane: &Plane, operator: &Operator, folder: &Path) -> Agent {
    let mut agent = Agent::host(folder, "host", OPEN);
    agent.connect(&plane.join(1, &[("role", "web")]).await);
    agent.run();
    operator.until_liveness(&agent.node, Liveness::Online).await;
    agent
}

#[tokio::test]
async fn the_main_job_runs_on_a_server_and_goes_on_when_it_was_lost() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::start(""));
    let options = Options { store_url: Some(cluster.database()), ..Options::default() };
    let plane = Plane::start(folder.path(), &options).await;
    assert!(!plane.state().join("muster.db").exists());
    for word in ["backup", "restore"] {
        let refused = plane.try_cli(&[word, folder.path().join("muster.tar").to_str().unwrap()]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("the store is on a server"), "{said}");
    }
    let operator = plane.operator().await;
    let agent = joined(&plane, &operator, folder.path()).await;
    let content =
        BundleContent { files: vec![file(&agent.file("motd"), "kept\n")], ..BundleContent::default() };
    operator.bundle("motd", content).await;
    operator.assign("motd-for-web", "role=web", "motd").await;
    let applied = |node: &muster_proto::admin::v1::Node| {
        node.items.iter().any(|item| item.item == "bundle/motd" && item.in_sync)
    };
    operator.until("the bundle is applied", &agent.node, applied).await;
    order(&operator).await;

    cluster.kill();
    // The order waits for the server; nobody starts anything again but the server itself.
    let ((), cluster) = tokio::join!(order(&operator), async {
        tokio::task::spawn_blocking(move || {
            cluster.start_again();
            cluster
        })
        .await
        .unwrap()
    });
    operator.until_liveness(&agent.node, Liveness::Online).await;
    drop((plane, cluster));
}

#[tokio::test]
async fn an_installation_moves_to_a_server_with_all_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::shared();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let agent = joined(&plane, &operator, folder.path()).await;
    order(&operator).await;
    let url = cluster.database();

    let refused = plane.try_cli(&["store", "copy", "--to", &url]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("stop the control plane first"), "{said}");

    assert!(plane.process().stop().await.success());
    let said = plane.cli(&["store", "copy", "--to", &url]);
    assert!(said.contains("the same on both sides"), "{said}");
    let text = fs::read_to_string(plane.config()).unwrap();
    let text = text.replacen("\nurl = \"\"", &format!("\nurl = {url:?}"), 1);
    fs::write(plane.config(), text).unwrap();
    assert!(plane.cli(&["store", "migrate"]).contains("has schema"));
    let said = plane.cli(&["store", "check"]);
    assert!(said.contains("nodes") && said.contains("revision"), "{said}");
    fs::remove_file(plane.state().join("muster.db")).unwrap();

    plane.serve(&[]).await;
    let operator = plane.operator().await;
    operator.until_liveness(&agent.node, Liveness::Online).await;
    order(&operator).await;
    let _ = plane.cli(&["audit", "verify"]);
}

#[test]
fn an_init_that_fails_leaves_an_empty_database_and_the_next_one_is_not_in_its_way() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::shared());
    let url = cluster.database();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let init = |config: &Path| {
        let mut init = Command::new(binaries::path("muster-control-plane"));
        init.args(["init", "--trust-domain", "fleet.test", "--store-url", &url, "--state-dir"]);
        init.arg(folder.path().join("state")).arg("--config").arg(config).output().unwrap()
    };
    let refused = init(&file.join("control-plane.toml"));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot make"), "{refused:?}");
    assert_eq!(cluster.sql(&url, "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    assert!(!folder.path().join("state").exists());
    let config = folder.path().join("control-plane.toml");
    let made = init(&config);
    assert!(made.status.success(), "{made:?}");

    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replacen("postgres://postgres@", "postgres://postgres:secret@", 1)).unwrap();
    let mut check = Command::new(binaries::path("muster-control-plane"));
    let refused = check.args(["config", "check", "--config"]).arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("store.password-file"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}
