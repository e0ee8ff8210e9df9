//! A steady stream of writes and commands that survives the control plane's
//! deaths, and remembers what was acknowledged.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use muster_node_agent::dial;
use muster_proto::admin::v1 as pb;
use muster_tests::{
    operator::{Operator, script},
    plane::Plane,
};
use rustls::ClientConfig;
use tokio::task::JoinHandle;

use crate::tree::content;

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// Acknowledged writes of all kinds.
    pub(crate) writes: usize,
    /// By node: its acknowledged names, in order.
    pub(crate) names: HashMap<String, Vec<String>>,
    /// By name and version.
    pub(crate) bundles: BTreeMap<(String, u64), Bundle>,
    /// By name: the version of the bundle of that name, as last acknowledged.
    pub(crate) assignments: BTreeMap<String, u64>,
    /// Operations by id.
    pub(crate) operations: Vec<String>,
}

/// A version of a bundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Its digest.
    pub(crate) sha256: Vec<u8>,
    /// Which of the contents it has.
    pub(crate) n: u64,
}

/// A steady load.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    stop: AtomicBool,
    in_flight: AtomicUsize,
    acknowledged: Mutex<Acknowledged>,
}

impl Load {
    /// Begins, for nodes with the folders that bundles may write on them. Every
    /// run of a command adds a line to the file of its id below `ran`.
    #[allow(clippy::disallowed_methods)] // a test's own tasks, awaited in `end`
    pub(crate) fn begin(plane: &Plane, hosts: &[(String, PathBuf)], ran: &Path) -> Self {
        let shared = Arc::new(Shared {
            address: plane.addresses().operators,
            tls: Arc::new(plane.operator_tls()),
            stop: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            acknowledged: Mutex::default(),
        });
        let mut tasks = vec![tokio::spawn(command(Arc::clone(&shared), ran.to_owned()))];
        for (node, files) in hosts {
            tasks.push(tokio::spawn(rename(Arc::clone(&shared), node.clone())));
            tasks.push(tokio::spawn(configure(Arc::clone(&shared), node.clone(), files.clone())));
        }
        Self { shared, tasks }
    }

    /// Writes that were sent and not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Operations acknowledged so far.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.shared.acknowledged.lock().unwrap().operations.clone()
    }

    /// Acknowledged writes so far.
    pub(crate) fn writes(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().writes
    }

    /// Stops when what is under way is done; answers what was acknowledged.
    pub(crate) async fn end(self) -> Acknowledged {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(60), task)
                .await
                .expect("the load ends")
                .expect("it did not fail");
        }
        std::mem::take(&mut self.shared.acknowledged.lock().unwrap())
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Sends until it is acknowledged: each of these calls may be repeated.
    async fn send<T, F>(&self, operator: &mut Option<Operator>, call: impl Fn(Operator) -> F) -> T
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        loop {
            let Some(connected) = operator.clone() else {
                match dial::channel(&self.address.to_string(), Arc::clone(&self.tls)).await {
                    Ok(channel) => *operator = Some(Operator::over(channel)),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
                continue;
            };
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let answer = tokio::time::timeout(Duration::from_secs(5), call(connected)).await;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            match answer {
                Ok(Ok(done)) => {
                    self.acknowledged.lock().unwrap().writes += 1;
                    return done.into_inner();
                }
                Ok(Err(status)) => {
                    let passing = matches!(
                        status.code(),
                        tonic::Code::Unavailable
                            | tonic::Code::Unknown
                            | tonic::Code::Cancelled
                            | tonic::Code::Internal
                    );
                    let too_fast = status.code() == tonic::Code::ResourceExhausted;
                    assert!(passing || too_fast, "{status}");
                    if passing {
                        *operator = None;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(_) => *operator = None,
            }
        }
    }
}

async fn rename(shared: Arc<Shared>, node: String) {
    let mut operator = None;
    for n in 0_u64.. {
        if !shared.goes_on() {
            return;
        }
        let name = format!("name-{n}");
        shared
            .send(&mut operator, |operator| {
                let changed = pb::Node { id: node.clone(), display_name: name.clone(), ..Default::default() };
                let request = pb::UpdateNodeRequest { node: Some(changed), ..Default::default() };
                async move { operator.nodes.clone().update_node(request).await }
            })
            .await;
        shared.acknowledged.lock().unwrap().names.entry(node.clone()).or_default().push(name);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The bundle of a node.
pub(crate) fn bundle_of(node: &str) -> String {
    format!("app-{}", &node[node.len() - 8..])
}

async fn configure(shared: Arc<Shared>, node: String, files: PathBuf) {
    let (mut operator, name) = (None, bundle_of(&node));
    for n in 1_u64.. {
        if !shared.goes_on() {
            return;
        }
        let content = content(&files, n);
        let create = |operator: Operator| {
            let content = Some(content.clone());
            let request = pb::CreateBundleRequest { name: name.clone(), content, validate_only: false };
            async move { operator.bundles.clone().create_bundle(request).await }
        };
        let made = shared.send(&mut operator, create).await.bundle.unwrap();
        let bundle = Bundle { sha256: made.sha256.to_vec(), n };
        shared.acknowledged.lock().unwrap().bundles.insert((made.name, made.version), bundle);
        let update = |operator: Operator| {
            let target = pb::assignment::Target::Bundle(pb::BundleTarget { name: name.clone(), version: 0 });
            let assignment = Some(pb::Assignment {
                name: name.clone(),
                selector: format!("host={node}"),
                target: Some(target),
                ..Default::default()
            });
            let request = pb::UpdateAssignmentRequest { assignment, validate_only: false };
            async move { operator.assignments.clone().update_assignment(request).await }
        };
        let updated = shared.send(&mut operator, update).await.assignment.unwrap();
        let Some(pb::assignment::Target::Bundle(target)) = updated.target else { panic!("{updated:?}") };
        shared.acknowledged.lock().unwrap().assignments.insert(updated.name, target.version);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

async fn command(shared: Arc<Shared>, ran: PathBuf) {
    let mut operator = None;
    let text = format!("echo x >> {}/$MUSTER_COMMAND_ID; echo begun; sleep 0.2; echo done", ran.display());
    for n in 0_u64.. {
        if !shared.goes_on() {
            return;
        }
        let start = |operator: Operator| {
            let request = pb::StartOperationRequest {
                // Hosts that run no agent have no such label: an order would wait for them for ever.
                selector: "host".to_owned(),
                spec: Some(script(&text)),
                request_id: format!("operation-{n}"),
                ..Default::default()
            };
            async move { operator.operations.clone().start_operation(request).await }
        };
        let started = shared.send(&mut operator, start).await;
        shared.acknowledged.lock().unwrap().operations.push(started.operation.unwrap().id);
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
}
