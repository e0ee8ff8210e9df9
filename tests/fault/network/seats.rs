//! The control planes, each in a network namespace of its own.

use std::{
    net::{SocketAddr, SocketAddrV4},
    path::Path,
};

use muster_tests::{
    netns::{Namespace, Network},
    plane::{Options, Plane},
    replicas::all_here,
};

use super::lab::HEARTBEAT;

/// Where each listens at its address, which nobody else has: for nodes, hosts without an identity,
/// operators and probes.
const PORTS: [u16; 4] = [8443, 8444, 8445, 8446];

/// A control plane and where it is.
pub(crate) struct Seat {
    pub(crate) plane: Plane,
    pub(crate) place: Namespace,
}

impl Seat {
    /// Where hosts reach it.
    pub(crate) fn agents(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.place.address(), PORTS[0])
    }

    /// Where operators do.
    pub(crate) fn operators(&self) -> SocketAddr {
        SocketAddrV4::new(self.place.address(), PORTS[2]).into()
    }
}

/// Makes and starts so many on one store. Agents are told the addresses of all.
pub(crate) async fn start(
    folder: &Path,
    network: &Network,
    count: usize,
    store_url: Option<String>,
) -> Vec<Seat> {
    let places: Vec<Namespace> = (0..count).map(|_| network.join()).collect();
    let told: Vec<String> =
        places.iter().map(|place| format!("\"{}:{}\"", place.address(), PORTS[0])).collect();
    let options = Options {
        heartbeat: HEARTBEAT,
        log: "warn".to_owned(),
        listen: places[0].address().into(),
        store_url,
        namespace: Some(places[0].name().to_owned()),
        ..Options::default()
    };
    let mut first = Plane::init(folder, &options).within(&places[0], PORTS);
    first.configure("replica", "\"r0\"");
    first.configure("session-addresses", &format!("[{}]", told.join(", ")));
    first.serve(&[]).await;
    let beside = |number: usize| first.beside(&format!("r{number}")).within(&places[number], PORTS);
    let mut planes: Vec<Plane> = (1..count).map(beside).collect();
    futures_util::future::join_all(planes.iter_mut().map(|plane| plane.serve(&[]))).await;
    planes.insert(0, first);
    if count > 1 {
        all_here(&planes.iter().collect::<Vec<_>>()).await;
    }
    planes.into_iter().zip(places).map(|(plane, place)| Seat { plane, place }).collect()
}
