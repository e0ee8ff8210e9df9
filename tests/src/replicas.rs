//! Several control planes that serve one store, each as a process.

use std::{net::SocketAddr, path::Path};

use crate::{
    eventually::{LONG, eventually},
    haproxy::Haproxy,
    operator::Operator,
    plane::{Addresses, Options, Plane},
};

/// Replicas of one control plane.
#[derive(Debug)]
pub struct Replicas {
    /// Each of them.
    pub planes: Vec<Plane>,
}

impl Replicas {
    /// Makes and starts so many on the store of a server. Agents are told the addresses of all.
    ///
    /// # Panics
    /// If the options name no server, or one of them does not start.
    pub async fn start(folder: &Path, count: usize, options: &Options) -> Self {
        let mut replicas = Self::begin(folder, count, options).await;
        let all: Vec<SocketAddr> = replicas.planes.iter().map(|plane| plane.addresses().agents).collect();
        replicas.tell_addresses(&all).await;
        replicas.all_here().await;
        replicas
    }

    /// The same behind a balancer, whose address agents are told.
    ///
    /// # Panics
    /// If the options name no server, or one of them does not start.
    pub async fn start_behind_one(folder: &Path, count: usize, options: &Options) -> (Self, Haproxy) {
        let mut replicas = Self::begin(folder, count, options).await;
        let planes: Vec<Addresses> = replicas.planes.iter().map(Plane::addresses).collect();
        let balancer = Haproxy::start(folder, &planes).await;
        replicas.tell_addresses(&[balancer.agents]).await;
        replicas.all_here().await;
        (replicas, balancer)
    }

    async fn begin(folder: &Path, count: usize, options: &Options) -> Self {
        assert!(options.store_url.is_some(), "a file belongs to one process");
        let mut first = Plane::init(folder, options);
        first.configure("replica", "\"r0\"");
        first.serve(&[]).await;
        let mut planes = vec![first];
        for number in 1..count {
            let mut plane = planes[0].beside(&format!("r{number}"));
            plane.serve(&[]).await;
            planes.push(plane);
        }
        Self { planes }
    }

    /// They choose their ports when they first start; then agents are told of them.
    async fn tell_addresses(&mut self, addresses: &[SocketAddr]) {
        let all: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        for plane in &mut self.planes {
            plane.process().stop().await;
            plane.configure("session-addresses", &format!("[{}]", all.join(", ")));
            plane.serve(&[]).await;
        }
    }

    /// Waits until each knows that all of them are there, and one leads.
    pub async fn all_here(&self) {
        all_here(&self.planes.iter().collect::<Vec<_>>()).await;
    }
}

/// Waits until each of these knows that all of them are there, and one leads.
pub async fn all_here(planes: &[&Plane]) {
    for plane in planes {
        let operator = plane.operator().await;
        eventually("every replica knows of every other one", LONG, || async {
            let system = about(&operator).await;
            let leaders = system.replicas.iter().filter(|replica| replica.leads).count();
            (system.replicas.len() == planes.len() && leaders == 1).then_some(())
        })
        .await;
    }
}

/// What a control plane says of itself.
///
/// # Panics
/// If it refuses to.
pub async fn about(operator: &Operator) -> muster_proto::admin::v1::GetSystemResponse {
    let request = muster_proto::admin::v1::GetSystemRequest {};
    operator.system.clone().get_system(request).await.unwrap().into_inner()
}
