//! The fleet console without a browser: who sees what, and that it is nothing but text.

use std::{path::Path, time::Duration};

use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use muster_common::clock::Clock;
use muster_proto::{
    admin::v1::{self as pb, rollout_step},
    types::v1 as types,
};
use muster_tests::{
    agent::{Agent, OPEN},
    binaries,
    eventually::{LONG, eventually},
    operator::{Operator, file, sh},
    plane::{Options, Plane},
    raw::RawNode,
    visitor::{Page, Visitor},
};

/// All pages but those of one node or rollout.
const PAGES: [&str; 5] = ["/", "/nodes", "/alerts", "/rollouts", "/audit"];

pub(crate) async fn plane(folder: &Path) -> Plane {
    let mut plane =
        Plane::init(folder, &Options { heartbeat: Duration::from_millis(300), ..Options::default() });
    plane.configure_in("fleet-console", "listen", "\"127.0.0.1:0\"");
    plane.serve(&[]).await;
    plane
}

pub(crate) async fn operator(plane: &Plane) -> Visitor {
    Visitor::connect(plane.addresses().fleet_console.unwrap(), plane.operator_tls()).await
}

pub(crate) async fn nobody(plane: &Plane) -> Visitor {
    Visitor::connect(plane.addresses().fleet_console.unwrap(), plane.nobody_tls()).await
}

/// Whoever has a role of its own, when the control plane knows it.
pub(crate) async fn someone(plane: &Plane, folder: &Path, name: &str, role: &str, selector: &str) -> Visitor {
    let out = folder.join("people");
    let args = ["operator", "create", name, "--role", role, "--selector", selector, "--out"];
    let _ = plane.cli(&[&args[..], &[out.to_str().unwrap()]].concat());
    let visitor = Visitor::connect(plane.addresses().fleet_console.unwrap(), plane.tls_of(&out, name)).await;
    eventually("the binding is known", LONG, || async {
        (visitor.get("/").await.status == StatusCode::OK).then_some(())
    })
    .await;
    visitor
}

pub(crate) fn is_refused(page: &Page, status: StatusCode, reason: &str) {
    assert!(page.status == status && page.text.contains(reason), "{} {}", page.status, page.text);
    assert!(!page.text.contains("<table"), "{}", page.text);
}

pub(super) async fn rename(operator: &Operator, id: &str, name: &str) {
    let node = pb::Node { id: id.to_owned(), display_name: name.to_owned(), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["display_name".to_owned()] });
    let request = pb::UpdateNodeRequest { node: Some(node), update_mask };
    operator.nodes.clone().update_node(request).await.unwrap();
}

/// A rollout that waits for a person's yes; answers its id.
pub(crate) async fn rollout(operator: &Operator, selector: &str) -> String {
    let content = |text| types::BundleContent {
        files: vec![file(Path::new("/proc/self/cwd/motd"), text)],
        ..Default::default()
    };
    operator.bundle("motd", content("one")).await;
    operator.assign("motd", selector, "motd").await;
    let (version, _) = operator.bundle("motd", content("two")).await;
    let reach = Some(rollout_step::Reach::Percent(100));
    let step = pb::RolloutStep { reach, approval: true, ..Default::default() };
    let bundle = pb::BundleTarget { name: "motd".to_owned(), version };
    let request = pb::CreateRolloutRequest {
        assignment: "motd".to_owned(),
        target: Some(pb::create_rollout_request::Target::Bundle(bundle)),
        plan: Some(pb::RolloutPlan { steps: vec![step], ..Default::default() }),
        ..Default::default()
    };
    operator.rollouts.clone().create_rollout(request).await.unwrap().into_inner().rollout.unwrap().id
}

#[tokio::test]
async fn there_is_no_fleet_console_unless_it_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    assert_eq!(plane.addresses().fleet_console, None);
    assert!(!plane.state().join("console-links").exists());
    let refused = plane.try_cli(&["console-link"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && told.contains("set listen in [fleet-console]"), "{told}");
}

#[tokio::test]
async fn strangers_see_no_page_and_a_link_lets_one_browser_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let mut visitor = nobody(&plane).await;
    for page in PAGES {
        is_refused(&visitor.get(page).await, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED");
    }
    visitor.cookie = "__Host-muster-console=guessed".to_owned();
    is_refused(&visitor.get("/").await, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED");
    let wrong = format!("/link/{}", "A".repeat(43));
    is_refused(&visitor.get(&wrong).await, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED");

    let link = plane.cli(&["console-link"]);
    let address = plane.addresses().fleet_console.unwrap();
    assert!(link.starts_with(&format!("https://{address}/link/")), "{link}");
    let page = visitor.come_by(&link).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let kept = page.headers[header::SET_COOKIE].to_str().unwrap();
    for part in ["__Host-", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=3600"] {
        assert!(kept.contains(part), "{kept}");
    }
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    let page = visitor.get("/").await;
    assert!(page.status == StatusCode::OK && page.text.contains("You are console-link/"), "{}", page.text);
    assert!(!page.text.contains("href=\"/audit\""), "a viewer is not shown the way to it");
    is_refused(&visitor.get("/audit").await, StatusCode::FORBIDDEN, "PERMISSION_DENIED");

    let mut second = nobody(&plane).await;
    is_refused(&second.come_by(&link).await, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED");
    let more = plane.cli(&["console-link", "--role", "security-admin"]);
    second.come_by(&more).await;
    let audit = second.get("/audit").await.text;
    for told in ["console-links.create", "console-links.use", "console-link/", "127.0.0.1:"] {
        assert!(audit.contains(told), "{told} is not in {audit}");
    }
    assert!(!audit.contains(link.trim().rsplit('/').next().unwrap()), "the secret is nowhere");
}

#[tokio::test]
async fn a_page_shows_what_the_api_would_and_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let node = RawNode::enroll(&plane.join(1, &[("env", "prod")]).await).await;
    let id = node.identity.node.to_string();
    let admin = operator(&plane).await;
    let page = admin.get("/nodes").await.text;
    assert!(page.contains(&id) && page.contains("1 node matches."), "{page}");
    assert_eq!(admin.get(&format!("/nodes/{id}")).await.status, StatusCode::OK);
    assert_eq!(admin.get("/audit").await.status, StatusCode::OK);

    let dev = someone(&plane, folder.path(), "dora", "viewer", "env=dev").await;
    let page = dev.get("/nodes").await.text;
    assert!(!page.contains(&id) && page.contains("0 nodes match."), "{page}");
    is_refused(&dev.get(&format!("/nodes/{id}")).await, StatusCode::NOT_FOUND, "NOT_FOUND");
    is_refused(&dev.get("/audit").await, StatusCode::FORBIDDEN, "PERMISSION_DENIED");
    let overview = dev.get("/").await.text;
    assert!(overview.contains("States of 0 nodes") && overview.contains("shown to those who see every node"));

    let as_node =
        Visitor::connect(plane.addresses().fleet_console.unwrap(), node.identity.client_config().unwrap())
            .await;
    is_refused(&as_node.get("/").await, StatusCode::UNAUTHORIZED, "WRONG_KIND_OF_CALLER");
    let audit = admin.get("/audit?denied=1").await.text;
    assert!(audit.contains("operator/dora"), "what was refused is written down: {audit}");

    let request = pb::RevokeRequest { subject: "operator/dora".to_owned(), ..Default::default() };
    plane.operator().await.identity.revoke(request).await.unwrap();
    eventually("whoever was revoked sees nothing", LONG, || async {
        let dora = plane.tls_of(&folder.path().join("people"), "dora");
        let again = Visitor::connect(plane.addresses().fleet_console.unwrap(), dora).await;
        (again.get("/").await.status == StatusCode::FORBIDDEN).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_page_is_read_only_and_takes_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let visitor = operator(&plane).await;
    for path in PAGES.into_iter().chain(["/assets/console.css", "/assets/console.js", "/assets/icon.svg"]) {
        let page = visitor.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let outside = page.text.match_indices("http").map(|(at, _)| &page.text[at..]);
        let outside = outside.filter(|rest| rest.starts_with("http://") || rest.starts_with("https://"));
        let mut outside = outside.filter(|rest| !rest.starts_with("http://www.w3.org/2000/svg"));
        assert_eq!(outside.next(), None, "{path} names something elsewhere");
        for within in [" style=", " onclick=", " onload=", "<style"] {
            assert!(!page.text.contains(within), "{path} has {within}");
        }
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(visitor.ask(method, "/nodes").await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    for path in ["/nowhere", "/nodes/x", "/rollouts/x", "/runbooks/x", "/assets/../console.js", "/assets/x"] {
        is_refused(&visitor.get(path).await, StatusCode::NOT_FOUND, "NOT_FOUND");
    }
    for path in ["/nodes?after=x", "/rollouts?after=x", "/audit?after=x"] {
        is_refused(&visitor.get(path).await, StatusCode::BAD_REQUEST, "INVALID_ARGUMENT");
    }
    let wrong = visitor.get("/nodes?selector=env%20=%20(").await;
    assert_eq!(wrong.status, StatusCode::OK, "it is said within the page");
    assert!(wrong.text.contains("SELECTOR_INVALID") && wrong.text.contains("column 7"), "{}", wrong.text);
}

#[tokio::test]
async fn what_hosts_and_people_write_is_text_on_every_page() {
    const EVIL: &str = "</title><script>alert(1)</script>'\"&";
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let mut agent = Agent::host(folder.path(), "host", OPEN);
    agent.allow(&["/proc/self/cwd".into()], OPEN);
    agent.connect(&plane.join(1, &[("role", "web")]).await);
    agent.run();
    let operator_api = plane.operator().await;
    operator_api.until_liveness(&agent.node, pb::Liveness::Online).await;
    rename(&operator_api, &agent.node, EVIL).await;
    let files = vec![file(Path::new("/proc/self/cwd/app.conf"), "one\n")];
    let probe = sh("echo '<script>alert(2)</script>' >&2; exit 1");
    let content = types::BundleContent { files, probe, ..Default::default() };
    let (_, sha256) = operator_api.bundle("app", content).await;
    operator_api.assign("app", "role=web", "app").await;
    operator_api.until_attempted(&agent.node, "bundle/app", &sha256).await;

    let rollout = rollout(&operator_api, "role=web").await;
    let request = pb::AbortRolloutRequest { id: rollout.clone(), reason: EVIL.to_owned() };
    operator_api.rollouts.clone().abort_rollout(request).await.unwrap();

    let visitor = operator(&plane).await;
    let node = format!("/nodes/{}", agent.node);
    let explain = format!("{node}/explain?item=bundle%2Fapp");
    let rollout = format!("/rollouts/{rollout}");
    let told = visitor.get(&rollout).await.text.matches("&lt;script&gt;alert(1)").count();
    assert!(told >= 2, "why it was aborted, and the node's name: {told}");
    for path in PAGES.into_iter().chain([node.as_str(), &explain, &rollout]) {
        let asked = format!("{path}{}label={}", if path.contains('?') { '&' } else { '?' }, "%3Cscript%3E");
        let page = visitor.get(&asked).await;
        assert_eq!(page.status, StatusCode::OK, "{asked}");
        assert_eq!(page.text.matches("<script").count(), 1, "{asked} has more than its own: {}", page.text);
    }
    // The host may be trying it once more at this moment.
    let page = eventually("what a hook wrote is shown", LONG, || async {
        let page = visitor.get(&node).await.text;
        (page.contains("&lt;script&gt;alert(2)") && page.contains("rolled back")).then_some(page)
    })
    .await;
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(1)") && page.contains("Enrolled"), "{page}");
    eventually("it is explained", LONG, || async {
        visitor.get(&explain).await.text.contains("Refused").then_some(())
    })
    .await;
    let found = visitor.get("/nodes?part=1&selector=%3Cscript%3Ealert(3)").await.text;
    assert!(!found.contains("<script"), "{found}");
}

#[tokio::test]
async fn a_rollout_is_told_of_as_it_moves_until_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let operator_api = plane.operator().await;
    let id = rollout(&operator_api, "role=web").await;

    let visitor = operator(&plane).await;
    let page = visitor.get(&format!("/rollouts/{id}")).await.text;
    assert!(page.contains(&format!("data-events=\"/rollouts/{id}/events\"")), "{page}");
    let mut events = visitor.open("GET", &format!("/rollouts/{id}/events")).await.into_body();
    let mut told = String::new();
    let mut until = async |what: &str| {
        while !told.contains(what) {
            let frame = tokio::time::timeout(LONG, events.frame()).await.expect(what);
            let frame = frame.expect("the stream goes on").unwrap();
            told.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    };
    until("Approval").await;
    let request = pb::ApproveRolloutRequest { id: id.clone(), ..Default::default() };
    operator_api.rollouts.clone().approve_rollout(request).await.unwrap();
    // Nobody is here: it waits for a node, which is other news; then a person ends it.
    until("NobodyHere").await;
    let request = pb::AbortRolloutRequest { id: id.clone(), ..Default::default() };
    operator_api.rollouts.clone().abort_rollout(request).await.unwrap();
    until("event: end\n").await;
    assert!(told.contains("aborted") && told.starts_with("event: progress\ndata: "), "{told}");
    let page = visitor.get(&format!("/rollouts/{id}")).await.text;
    assert!(!page.contains("data-events"), "there will be no more: {page}");
}

#[tokio::test]
async fn the_rows_of_nodes_are_told_as_their_states_change() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(folder.path()).await;
    let mut agent = Agent::start(folder.path(), "web-1", &plane.join(1, &[("role", "web")]).await);
    let visitor = operator(&plane).await;
    let page = visitor.get("/nodes?selector=role%3Dweb").await.text;
    assert!(page.contains("data-events=\"/nodes/events?selector=role%3Dweb\""), "{page}");
    let mut events = visitor.events("/nodes/events?selector=role%3Dweb").await;
    let told = events.until("state online").await;
    assert!(told.contains("1 node matches.") && told.contains("web-1"), "{told}");
    agent.kill();
    events.until("state offline").await;
    agent.run();
    events.until("state online").await;
    let mut wrong = visitor.events("/nodes/events?selector=role%20(").await;
    let told = wrong.until("SELECTOR_INVALID").await;
    assert!(told.contains("The selector cannot be read"), "it is said within the page: {told}");
    let refused = visitor.get("/nodes/events?after=x").await;
    is_refused(&refused, StatusCode::BAD_REQUEST, "INVALID_ARGUMENT");
}

/// What pages that are told of news cost: each of them looks once for each change here.
async fn told_at_once(plane: &mut Plane, visitor: &Visitor) -> Duration {
    const LOOKING: u32 = 10;
    const CHANGES: u32 = 3;
    let operator = plane.operator().await;
    let request = pb::ListNodesRequest { page_size: 1, ..Default::default() };
    let first = operator.nodes.clone().list_nodes(request).await.unwrap().into_inner().nodes.remove(0).id;
    let mut pages = Vec::new();
    for _ in 0..LOOKING {
        pages.push(visitor.events("/nodes/events").await);
    }
    for page in &mut pages {
        page.until("nodes match.").await;
    }
    let before = plane.process().cpu();
    for change in 0..CHANGES {
        let name = format!("changed-{change}");
        rename(&operator, &first, &name).await;
        for page in &mut pages {
            page.until(&name).await;
        }
    }
    (plane.process().cpu() - before) / (LOOKING * CHANGES)
}

#[tokio::test]
async fn a_page_over_ten_thousand_nodes_costs_little() {
    const NODES: usize = 10_000;
    const TIMES: u32 = 20;
    let folder = tempfile::tempdir().unwrap();
    // Nobody beats, and nobody is called gone meanwhile.
    let options = Options { heartbeat: Duration::from_secs(15), ..Options::default() };
    let mut plane = Plane::init(folder.path(), &options);
    let done = std::process::Command::new(binaries::path("examples/nodes"))
        .args([plane.state().join("muster.db").to_str().unwrap(), &NODES.to_string(), "3"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    plane.configure_in("fleet-console", "listen", "\"127.0.0.1:0\"");
    plane.serve(&[]).await;
    let visitor = operator(&plane).await;
    let mut path = "/nodes?selector=role%3Drole-7".to_owned();
    let mut seen = 0;
    loop {
        let page = visitor.get(&path).await.text;
        assert!(page.contains("250 nodes match."), "{path}");
        seen += page.matches("<th scope=\"row\">").count();
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&amp;", "&");
    }
    assert_eq!(seen, 250, "all pages together");
    let rollout = format!("/rollouts/{}", rollout(&plane.operator().await, "*").await);
    let paths = [
        "/",
        "/nodes",
        "/nodes?selector=role%3Drole-7&part=1",
        "/nodes?selector=facts.os%3Ddebian",
        &rollout,
    ];
    for path in paths {
        visitor.get(path).await;
        let before = plane.process().cpu();
        for _ in 0..TIMES {
            assert_eq!(visitor.get(path).await.status, StatusCode::OK);
        }
        let each = (plane.process().cpu() - before) / TIMES;
        println!("{path} over {NODES} nodes: {each:?} of CPU");
        // The page of a rollout asks each of its nodes for its place in line, a hash, without optimisation.
        let most = if path == rollout { 500 } else { 50 };
        assert!(each < Duration::from_millis(most), "{path} takes {each:?}");
    }
    // Ten pages that are told of it cost about what one does.
    let one = told_of(&mut plane, &visitor, &rollout, 1).await;
    let ten = told_of(&mut plane, &visitor, &rollout, 10).await;
    println!("of a second, told of a rollout over {NODES} nodes: one page {one:.2}, ten {ten:.2} of CPU");
    assert!(ten < one * 2.0, "one page {one:.2}, ten {ten:.2}");
    let each = told_at_once(&mut plane, &visitor).await;
    println!("a page of {NODES} nodes that is told of a change: {each:?} of CPU");
    assert!(each < Duration::from_millis(100), "to tell of a change takes {each:?}");
}

/// Which part of a CPU the control plane takes while so many pages are told of a rollout, until each was
/// told that there is nothing new.
async fn told_of(plane: &mut Plane, visitor: &Visitor, rollout: &str, pages: usize) -> f64 {
    let mut told = Vec::new();
    for _ in 0..pages {
        let mut body = visitor.open("GET", &format!("{rollout}/events")).await.into_body();
        body.frame().await.expect("how it stands").unwrap();
        told.push(body);
    }
    let before = (Clock::System.monotonic(), plane.process().cpu());
    for body in &mut told {
        eventually_quiet(body).await;
    }
    (plane.process().cpu() - before.1).div_duration_f64(Clock::System.monotonic() - before.0)
}

/// Reads until a line comes that says nothing.
async fn eventually_quiet(body: &mut hyper::body::Incoming) {
    loop {
        let frame = tokio::time::timeout(LONG, body.frame()).await.expect("it goes on").unwrap().unwrap();
        if frame.into_data().is_ok_and(|data| data.as_ref() == b":\n\n") {
            return;
        }
    }
}
