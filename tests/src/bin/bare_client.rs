//! What the agent is compared with: a minimal tonic client that holds one session and
//! beats every 15 s. Its allocator is the system's, as the agent's.
//!
//! `muster-bare-client FOLDER ADDRESS`
#![allow(clippy::print_stdout)]

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use muster_common::tls::{self, pem};
use muster_node_agent::dial;
use muster_proto::agent::v1::{
    self as pb, session_request::Kind, session_service_client::SessionServiceClient,
};
use muster_tests::swarm;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, address] = args.as_slice() else {
        anyhow::bail!("usage: muster-bare-client FOLDER ADDRESS");
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(client(Path::new(folder), address))
}

async fn client(folder: &Path, address: &str) -> anyhow::Result<()> {
    let roots = tls::roots(&pem::certificates(&folder.join("ca.crt"))?)?;
    let domain = std::fs::read_to_string(folder.join("domain"))?;
    let config = tls::client_config(swarm::bare_identity(folder)?, roots, domain.trim().parse()?)?;
    let channel = dial::channel(address, Arc::new(config)).await?;
    let (out, messages) = mpsc::channel(16);
    out.send(pb::SessionRequest { kind: Some(Kind::Hello(pb::Hello::default())) }).await?;
    let mut inbound =
        SessionServiceClient::new(channel).session(ReceiverStream::new(messages)).await?.into_inner();
    inbound.message().await?.context("a welcome")?;
    println!("connected");
    for seq in 1.. {
        tokio::time::sleep(Duration::from_secs(15)).await;
        let beat = pb::Heartbeat { seq, ..Default::default() };
        out.send(pb::SessionRequest { kind: Some(Kind::Heartbeat(beat)) }).await?;
    }
    Ok(())
}
