//! Control planes behind a TCP load balancer, a real haproxy with the configuration that is
//! shipped: TLS passes through it, and who speaks is known by the certificate alone.

use std::{net::SocketAddr, path::Path, sync::Arc};

use muster_common::reason::Reason;
use muster_node_agent::dial;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    agent::Agent,
    haproxy::Haproxy,
    operator::{Operator, reason},
    plane::{Addresses, Options, Plane, TRUST_DOMAIN},
};

/// One control plane behind a balancer; the balancer's second one is not there.
struct Lab {
    balancer: Haproxy,
    plane: Plane,
}

impl Lab {
    async fn new(folder: &Path) -> Self {
        let mut plane = Plane::start(folder, &Options::default()).await;
        let balancer = Haproxy::start(folder, &[plane.addresses(), nobody()]).await;
        plane.configure("session-addresses", &format!("[\"{}\"]", balancer.agents));
        plane.configure("enrollment-addresses", &format!("[\"{}\"]", balancer.enrollment));
        plane.kill();
        plane.serve(&[]).await;
        balancer.until(0, true).await;
        balancer.until(1, false).await;
        Self { balancer, plane }
    }

    /// An operator who comes through the balancer.
    async fn operator(&self) -> Operator {
        Operator::connect(self.balancer.operators, self.plane.operator_tls()).await
    }
}

/// Addresses at which nobody listens: those ports are the system's.
fn nobody() -> Addresses {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    Addresses {
        agents: address,
        enrollment: address,
        operators: address,
        console: address,
        fleet_console: None,
    }
}

#[tokio::test]
async fn whoever_comes_through_a_balancer_is_who_the_certificate_says() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path()).await;
    let operator = lab.operator().await;
    let me = operator.system.clone().get_caller(pb::GetCallerRequest {}).await.unwrap().into_inner();
    assert_eq!(me.principal, "operator/admin");

    // Enrollment and session go through it: the host was told no other address.
    let agents: Vec<Agent> = {
        let join = lab.plane.join(2, &[]).await;
        assert_eq!(join.addresses, [lab.balancer.enrollment.to_string()]);
        ["one", "two"].map(|name| Agent::start(folder.path(), name, &join)).into()
    };
    for agent in &agents {
        operator.until_liveness(&agent.node, pb::Liveness::Online).await;
    }
    assert_eq!(lab.balancer.sees(0).await.connections, 2);
    assert_eq!(lab.balancer.sees(1).await.connections, 0);

    // Nobody else becomes anybody by coming from where all come from.
    let stranger = lab.plane.tls_named(&format!("spiffe://{TRUST_DOMAIN}/control-plane/a"));
    let channel = dial::channel(&lab.balancer.operators.to_string(), Arc::new(stranger)).await.unwrap();
    let call = Operator::over(channel).system.clone().get_caller(pb::GetCallerRequest {}).await;
    assert_eq!(reason(&call.unwrap_err()), Some(Reason::WrongKindOfCaller));
}

#[tokio::test]
async fn a_control_plane_that_died_gets_no_connections_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path()).await;
    let agent = Agent::start(folder.path(), "host", &lab.plane.join(1, &[]).await);
    lab.operator().await.until_liveness(&agent.node, pb::Liveness::Online).await;

    lab.plane.kill();
    lab.balancer.until(0, false).await;
    // What it had was ended: a session does not hang at a balancer with nobody behind it.
    assert_eq!(lab.balancer.sees(0).await.connections, 0);

    lab.plane.serve(&[]).await;
    lab.balancer.until(0, true).await;
    lab.operator().await.until_liveness(&agent.node, pb::Liveness::Online).await;
    assert_eq!(lab.balancer.sees(0).await.connections, 1);
}
