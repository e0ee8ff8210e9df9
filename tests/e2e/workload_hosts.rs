//! Identities of programs on a host that boots systemd: by unit and by user.

use std::process::Output;

use muster_tests::{
    binaries::repository,
    eventually::{LONG, eventually},
    host::Host,
    netns::Network,
    plane::{Plane, TRUST_DOMAIN},
};

/// Users that every Debian has: systemd starts nothing as one that is not there.
const WWW_DATA: u32 = 33;
const BACKUP: u32 = 34;

/// What the page says.
fn line_of_page() -> Vec<String> {
    let page = std::fs::read_to_string(repository().join("docs/workload-identity.md")).unwrap();
    let line = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let line = line.replace("\\\n", " ");
    assert!(line.starts_with("grpcurl "), "{line}");
    vec!["sh".to_owned(), "-c".to_owned(), format!("PATH=/usr/bin:/bin:/root/bin; {line}")]
}

/// Asks for a token as a service of this name and user.
fn ask_as(host: &Host, unit: &str, uid: u32) -> Output {
    let mut command = vec!["systemd-run".to_owned()];
    command.extend(["--quiet", "--pipe", "--wait", "--collect"].map(str::to_owned));
    command.extend([format!("--unit={unit}"), format!("--uid={uid}"), "--".to_owned()]);
    command.extend(line_of_page());
    host.exec(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_program_is_who_its_unit_and_its_user_say_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::create();
    let plane = Plane::in_network(folder.path(), &network).await;
    let mut host = Host::boot(folder.path(), "host", &network).await;
    host.install_agent(
        "[[workload.identities]]\nname = \"web\"\nunit = \"web.service\"\nuid = 33\n\
         [[workload.identities]]\nname = \"app\"\nunit = \"app-*.service\"\n",
    );
    host.copy_in(&repository().join(".tools/bin/grpcurl"), "/usr/bin/grpcurl", 0o755);
    host.connect(&plane.join(1, &[]).await);
    let name = |name: &str| format!("spiffe://{TRUST_DOMAIN}/workload/{}/{name}\"", host.node);
    eventually("the web gets its token", LONG, || {
        let asked = ask_as(&host, "web.service", WWW_DATA);
        let is_served = asked.status.success() && said(&asked).contains(&name("web"));
        if !is_served {
            eprintln!("not yet: {}", said(&asked));
        }
        std::future::ready(is_served.then_some(()))
    })
    .await;
    let app = ask_as(&host, "app-1.service", BACKUP);
    assert!(app.status.success() && said(&app).contains(&name("app")), "{}", said(&app));
    assert!(!said(&app).contains(&name("web")));
    for (unit, uid) in [("web.service", BACKUP), ("other.service", WWW_DATA), ("other.service", 0)] {
        let refused = ask_as(&host, unit, uid);
        assert!(!refused.status.success(), "{unit} as {uid}: {}", said(&refused));
        assert!(said(&refused).contains("PermissionDenied"), "{}", said(&refused));
        assert!(said(&refused).contains(&format!("uid {uid}, gid")), "{}", said(&refused));
        assert!(said(&refused).contains(&format!("unit {unit}")), "{}", said(&refused));
    }
}
