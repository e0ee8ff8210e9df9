//! Identities for scripts, which have them by the command line.

use std::os::unix::fs::PermissionsExt as _;

use muster_common::tls;
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    plane::{Options, Plane, TRUST_DOMAIN},
};

use crate::{
    agent_cli::fits,
    workload_api::{enrolled, program, served, validate},
};

#[tokio::test]
async fn scripts_get_files_and_tokens_by_the_command_line_as_the_user_they_run_as() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let agent = enrolled(folder.path(), &plane, &["web", "db"]).await;
    let api = program(&agent).await;
    served(&api).await;
    let out = folder.path().join("new/identity");
    let x509 = |name: &str| agent.cli(&["workload", "x509", name, "--out", out.to_str().unwrap(), "--json"]);
    let given = fits(&x509("db"), "workload-x509/1");
    let id = |name: &str| format!("spiffe://{TRUST_DOMAIN}/workload/{}/{name}", agent.node);
    assert_eq!(given["spiffe-id"], id("db"));
    let mode = |name: &str| std::fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["svid.pem", "key.pem", "bundle.pem"].map(mode), [0o644, 0o600, 0o644]);
    let chain = tls::pem::certificates(&out.join("svid.pem")).unwrap();
    let pair = tls::Identity { chain, key: tls::pem::private_key(&out.join("key.pem")).unwrap() };
    let roots = tls::roots(&tls::pem::certificates(&out.join("bundle.pem")).unwrap()).unwrap();
    tls::client_config(pair, roots, TRUST_DOMAIN.parse().unwrap())
        .expect("key and certificate belong together");
    assert!(x509("db").status.success(), "files that are there are replaced");

    let jwt = |name: &str, more: &[&str]| {
        agent.cli(&[&["workload", "jwt", name, "--audience", "queue"], more].concat())
    };
    let plain = jwt("web", &[]);
    let told = String::from_utf8(plain.stdout).unwrap();
    let valid = validate(&mut api.clone(), told.trim(), "queue").await.unwrap();
    assert_eq!(valid.spiffe_id, id("web"));
    fits(&jwt("web", &["--json"]), "workload-jwt/1");
    assert_eq!(agent.cli(&["workload", "jwt", "web"]).status.code(), Some(2), "for whom?");

    let other = jwt("root", &["--json"]);
    assert_eq!((other.status.code(), fits(&other, "error/1")["error"]["reason"].is_null()), (Some(29), true));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let nowhere = agent.cli(&["workload", "x509", "web", "--out", file.to_str().unwrap()]);
    assert_eq!(nowhere.status.code(), Some(25));
    agent.rules(OPEN);
    let denied = eventually("the rules of now count", LONG, || async {
        let denied = jwt("web", &["--json"]);
        (!denied.status.success()).then_some(denied)
    });
    let denied = denied.await;
    assert_eq!(
        (denied.status.code(), fits(&denied, "error/1")["error"]["reason"].as_str()),
        (Some(29), Some("WORKLOAD_DENIED"))
    );
    let alone = Agent::host(folder.path(), "alone", OPEN);
    assert_eq!(alone.cli(&["workload", "jwt", "web", "--audience", "x"]).status.code(), Some(40));
}
