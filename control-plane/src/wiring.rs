//! Puts the rooms together, in phases: storage, identity, services, workers,
//! doors. Nothing is served before everything it needs is there.

mod audit;
mod callers;
mod end;
mod meter;
mod readiness;
pub mod store;
mod tls;
mod workloads;

use std::sync::Arc;

use anyhow::Context as _;
use muster_common::{
    clock::Clock,
    drain::Drain,
    tasks::{Kind, Tasks},
};
use muster_store::{ReadAuthority as _, ReadHistories as _, ReadMeta as _, ReadSecrets as _, Store};
use tokio::net::TcpListener;

use crate::{
    api,
    app::{self, App, Core, Fixed, SessionRules},
    ca::Ca,
    config::{Addresses, Config},
    console::{Console, Ready},
    fleet_console::FleetConsole,
    metrics::Metrics,
    server::{
        Door, DoorName, Gate, accept,
        connections::Registry,
        health,
        limits::{self, Limits},
        pages, policy,
        rates::Rates,
        reflection,
        watches::Watches,
    },
    session::hub::Hub,
    traces::Traces,
    vault::{KeyFile, Vault},
    work,
};

/// Runs the control plane until a signal ends it.
///
/// # Errors
/// If it cannot start, or a part of it ends that it cannot do without.
pub async fn serve(mut config: Config, descriptors: usize) -> anyhow::Result<()> {
    fit(&mut config, descriptors);
    // Before anything is there that must be finished well: until it is listened to, a
    // signal ends the process where it is.
    let asked = end::Asked::listen()?;
    let (tasks, drain, clock) = (Tasks::default(), Drain::default(), Clock::System);
    let (metrics, ready) = (Metrics::default(), Ready::default());
    ready.waits_for("doors");

    let store = open_store(&config)?;
    meter::measure(&store, &metrics);
    let authority = store.read(|tx| tx.authority_get()).await.context("cannot read the store")?;
    let vault = vault(&config, &store).await?;
    app::authority::keys::fetch(&store, &vault, &config.ca_dir(), &authority).await?;
    let ca = Arc::new(Ca::open(&config.ca_dir(), &config.trust_domain, authority)?);
    let workloads = workloads::open(&config, &store, &vault, &clock).await?;
    let identity = tls::Source::start(&config, &ca, &clock)?;

    // The ports are opened before the services are made: join strings name them.
    let console = Console::bind(
        config.listen.console,
        metrics.clone(),
        ready.clone(),
        workloads::published(&config, &workloads),
    )
    .await
    .with_context(|| format!("cannot listen on {} for the console", config.listen.console))?;
    let sockets = accept::Sockets::open(&config.listen, config.fleet_console.listen, config.doors.backlog)?;
    let addresses = Addresses {
        agents: sockets.agents.local_addr()?,
        enrollment: sockets.enrollment.local_addr()?,
        operators: sockets.operators.local_addr()?,
        console: console.local_addr()?,
        fleet_console: sockets.fleet_console.as_ref().map(TcpListener::local_addr).transpose()?,
    };

    let fixed = fixed(&config, &store, &addresses, clock.now()).await?;
    let (replica, epoch) = (fixed.replica.clone(), fixed.history.epoch);
    let (doors, connections) = (&config.doors, Registry::default());
    let limits = |name| Limits::of(name, doors, cores());
    let of_nodes = limits(DoorName::Agents);
    let (traces, exporter) = Traces::open(&config.traces, &replica, metrics.clone(), clock.clone())
        .context("cannot use [traces]")?;
    if let Some(exporter) = exporter {
        tasks.spawn("traces", Kind::BestEffort, exporter.run(drain.clone()));
    }
    let app = App::new(Core {
        store: store.clone(),
        fleet: app::fleet::Fleet::default(),
        catalog: app::catalog::Catalog::default(),
        open: app::operations::Open::default(),
        releases: app::releases::Releases::default(),
        rollouts: app::rollouts::Rollouts::default(),
        access: app::access::Access::default(),
        revocations: app::revocation::Revocations::default(),
        lines: Arc::new(connections.clone()),
        denials: app::denials::Denials::new(doors.denials_per_minute, doors.denials_per_minute_in_all),
        feed: app::feed::Feed::default(),
        recorder: app::recorder::Recorder::default(),
        dispatch: app::dispatch::Dispatch::default(),
        replicas: app::replicas::Replicas::new(store.is_shared()),
        hub: Hub::default(),
        herd: app::herd::Herd::new(of_nodes.connections, of_nodes.handshakes_per_second),
        losses: app::losses::Losses::default(),
        events: app::events::Events::default(),
        ca: Arc::clone(&ca),
        workloads,
        workshop: app::workshop::Workshop::default(),
        oidc: crate::oidc::Issuers::new(&config.enrollment.oidc).context("cannot use [[enrollment.oidc]]")?,
        host_cas: crate::host_ca::Authorities::new(&config.enrollment.host_ca)
            .context("cannot use [[enrollment.host-ca]]")?,
        challenges: crate::ca::proof::Challenges::default(),
        audit: audit::signer(&config, &store, &clock).await?,
        blobs: crate::blobs::Blobs::open(&config.blobs, &config.state_dir).context("cannot use [blobs]")?,
        warned: app::artifacts::Warned::default(),
        vault,
        metrics: metrics.clone(),
        traces: traces.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        drain: drain.clone(),
        fixed,
    });
    app.renew_secrets().await.context("cannot encrypt protected contents with the newest key")?;
    app.beat().await.context("cannot join the replicas of the store")?;
    load(&app).await?;
    work::start(&app, &tasks, &drain);

    let gate = Gate {
        callers: callers::Door::new(&app),
        rates: Rates::new(&doors.rates),
        watches: Watches::new(doors.rates.watches_per_caller),
        connections: connections.clone(),
        metrics: metrics.clone(),
        traces,
        clock,
        trust_domain: config.trust_domain.clone(),
    };
    let mut operators = api::operators(&app);
    reflection::add(&mut operators)?;
    let health = health::add(&mut operators);
    let door = |name, routes, tls| Door { name, limits: limits(name), routes, tls };
    let mut doors = vec![
        (sockets.agents, door(DoorName::Agents, api::agents(&app), identity.agents())),
        (
            sockets.enrollment,
            door(
                DoorName::Enrollment,
                api::enrollment(&app, doors.rates.enrollments_at_once),
                identity.enrollment(),
            ),
        ),
        (sockets.operators, door(DoorName::Operators, operators.routes(), identity.operators())),
    ];
    if let Some(listener) = sockets.fleet_console {
        let console = FleetConsole::open(app.clone(), gate.clone(), &config.fleet_console, &config.state_dir)
            .context("cannot make the folder of the fleet console's links")?;
        console.work(&tasks, &drain);
        let routes = pages(console.router());
        doors.push((listener, door(DoorName::FleetConsole, routes, identity.fleet_console())));
    }
    identity.renew_in_background(config.clone(), ca, &tasks, &drain);
    for (listener, door) in doors {
        let serve = accept::serve(listener, door, gate.clone(), drain.clone(), tasks.clone());
        tasks.spawn("door", Kind::Fatal, serve);
    }
    tasks.spawn("console", Kind::Fatal, console.serve(drain.clone(), tasks.clone()));
    addresses.write(&config.state_dir).context("cannot write addresses.json")?;
    ready.has("doors");
    health::report(&health, true).await;
    let watch = readiness::watch(app.clone(), ready.clone(), health.clone(), drain.clone());
    tasks.spawn("readiness", Kind::BestEffort, watch);
    let Addresses { agents, enrollment, operators, .. } = &addresses;
    tracing::info!(
        %replica, epoch, %agents, %enrollment, %operators,
        "control plane {replica} serves nodes on {agents}, enrollment on {enrollment}, operators on {operators}"
    );

    if let Some(address) = addresses.fleet_console {
        tracing::info!(%address, "browsers see the fleet on {address}");
    }

    let ended = end::wait_for_the_end(asked, &app, &tasks).await;
    health::report(&health, false).await;
    ready.waits_for("the end");
    end::finish(&app, &tasks, &drain, &connections, config.drain_within).await;
    drop(app);
    store.close().await.context("the store did not close well")?;
    ended
}

/// Reads everything, and lives meanwhile for the others.
async fn load(app: &App) -> Result<(), app::Error> {
    let mut loaded = std::pin::pin!(app.load());
    loop {
        tokio::select! {
            done = &mut loaded => return done,
            () = tokio::time::sleep(muster_domain::replica::BEAT) => app.beat().await?,
        }
    }
}

/// Of the machine, or of as much of it as the process may use.
fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// Fits the doors into the open files that the process is allowed.
fn fit(config: &mut Config, descriptors: usize) {
    let wanted = config.doors.agents.connections;
    limits::fit(&mut config.doors, config.fleet_console.listen.is_some(), descriptors);
    let agents = config.doors.agents.connections;
    if agents < wanted {
        tracing::warn!(
            descriptors,
            agents,
            "the process may open {descriptors} files: the agents' door takes {agents} connections instead of {wanted}"
        );
    }
}

fn open_store(config: &Config) -> anyhow::Result<Store> {
    let options = store::options(config, &config.replica)?;
    Store::open(&options).with_context(|| format!("cannot open the store {}", options.place))
}

/// The keys of protected contents. If the file is missing although contents are encrypted,
/// a new one would be in the way of its return: the fleet is served without any key.
async fn vault(config: &Config, store: &Store) -> anyhow::Result<Vault> {
    let file = KeyFile::at(&config.secrets_path());
    let needed = store.read(|tx| tx.secret_keys()).await.context("cannot read the store")?;
    let is_lost = !needed.is_empty() && !file.exists().context("cannot use [secrets]")?;
    let vault =
        if is_lost { Vault::locked() } else { file.open_or_create().context("cannot use [secrets]")? };
    for (key, count) in needed.iter().filter(|(key, _)| vault.key_ids().all(|known| known != key)) {
        tracing::error!(
            key,
            count,
            "{count} protected contents were encrypted with key {key}, which is not in {}: nodes do not get \
             them until it is back",
            file.path().display()
        );
    }
    Ok(vault)
}

async fn fixed(
    config: &Config,
    store: &Store,
    addresses: &Addresses,
    started: muster_common::clock::UnixMillis,
) -> anyhow::Result<Fixed> {
    let (history, domain) = store
        .read(|tx| Ok::<_, muster_store::Error>((tx.history()?, tx.trust_domain()?)))
        .await
        .context("cannot read the store")?;
    anyhow::ensure!(
        domain == config.trust_domain.as_str(),
        "the store was made for trust domain {domain:?}, the configuration says {:?}",
        config.trust_domain.as_str()
    );
    let session = &config.session;
    Ok(Fixed {
        replica: config.replica.clone(),
        history,
        trust_domain: config.trust_domain.clone(),
        started,
        session: SessionRules {
            heartbeat_interval: session.heartbeat_interval,
            heartbeat_jitter: session.heartbeat_jitter,
            reconnect_min: session.reconnect_min,
            reconnect_max: session.reconnect_max,
        },
        node_certificate_ttl: config.identity.node_certificate_ttl,
        renew_spread: config.identity.renew_spread,
        authority: config.authority.clone(),
        recovery: app::recovery::Policy {
            enabled: config.enrollment.recover,
            within: config.identity.recover_within.limit(),
            limit: config.identity.recover_limit,
        },
        enrollment_enabled: config.enrollment.enabled,
        hosts_may_rename: config.enrollment.hosts_may_rename,
        join_requests: app::join_requests::Bounds {
            in_all: config.enrollment.join_requests,
            of_token: config.enrollment.join_requests_per_token,
        },
        session_addresses: config.told(&config.public.session_addresses, addresses.agents),
        enrollment_addresses: config.told(&config.public.enrollment_addresses, addresses.enrollment),
        output_limit: session.output_limit,
        operation_output_limit: session.operation_output_limit,
        retention: config.retention.clone(),
        workload: config.workload.clone(),
        blobs: config.blobs.clone(),
        methods: policy::methods,
        wish_of: crate::api::schedule_operation,
        bundle_needs: crate::api::bundle_needs,
        bundle_paths: crate::api::bundle_paths,
        bundle_blobs: crate::api::bundle_blobs,
        artifacts_root: config
            .artifacts
            .pinned()
            .with_context(|| format!("cannot read [artifacts] root {}", config.artifacts.root.display()))?,
        release_of: crate::api::release_content,
        files_of_release: crate::api::release_files,
        item_outline: crate::api::item_outline,
    })
}
