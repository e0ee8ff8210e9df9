//! What the control plane is compared with: a bare tonic bidi server, as tonic's own
//! examples write one: a task and a channel for each stream. Its allocator is that
//! of the control plane.
//!
//! `muster-bare FOLDER INTERVAL_MS` says its address; each line on standard input
//! pushes 1 KiB to all; it says `acked` when all have answered.
#![allow(clippy::print_stdout)]

use std::{
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use muster_common::{
    clock::Clock,
    digest::Sha256,
    ids::SessionId,
    tls::{self, pem},
};
use muster_proto::{
    agent::v1::{
        self as pb,
        session_request::Kind,
        session_response::Kind as Answer,
        session_service_server::{SessionService, SessionServiceServer},
    },
    types::v1 as types,
};
use muster_tests::{limits, swarm};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::Connected};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, folder, interval] = args.as_slice() else {
        anyhow::bail!("usage: muster-bare FOLDER INTERVAL_MS");
    };
    limits::raise_open_files();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(server(Path::new(folder), interval.parse()?))
}

type Out = mpsc::Sender<Result<pb::SessionResponse, Status>>;

#[derive(Clone)]
struct Bare {
    interval_ms: u32,
    streams: Arc<Mutex<Vec<Out>>>,
    acked: Arc<AtomicUsize>,
}

#[allow(clippy::disallowed_methods)] // as the examples do it: that is what is compared with
async fn server(folder: &Path, interval_ms: u32) -> anyhow::Result<()> {
    let roots = tls::roots(&pem::certificates(&folder.join("ca.crt"))?)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(swarm::bare_identity(folder)?, roots)?));
    let socket = socket()?;
    println!("{}", socket.local_addr()?);
    let (ready, incoming) = mpsc::channel(128);
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = ready.send(Ok::<_, std::io::Error>(Secure(stream))).await;
                }
            });
        }
    });
    let bare = Bare { interval_ms, streams: Arc::default(), acked: Arc::default() };
    tokio::spawn(push(bare.clone()));
    tonic::transport::Server::builder()
        .add_service(SessionServiceServer::new(bare))
        .serve_with_incoming(ReceiverStream::new(incoming))
        .await?;
    Ok(())
}

fn socket() -> anyhow::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    Ok(socket.listen(4096)?)
}

async fn push(bare: Bare) {
    let (asked, mut pushes) = mpsc::channel(1);
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines().map_while(Result::ok) {
            let _ = asked.blocking_send(());
        }
    });
    let mut number = 0;
    while pushes.recv().await.is_some() {
        number += 1;
        bare.acked.store(0, Ordering::Relaxed);
        let payload = vec![b'x'; 1024];
        let version = types::ItemVersion {
            epoch: 1,
            generation: number,
            version: number.to_string(),
            sha256: Sha256::of(&payload).as_bytes().to_vec().into(),
        };
        let item = pb::DesiredItem {
            item: "bundle/bench".to_owned(),
            version: Some(version),
            body: Some(pb::desired_item::Body::Payload(payload.into())),
            ..Default::default()
        };
        let state = pb::DesiredState { complete: true, upserts: vec![item], ..Default::default() };
        let message =
            pb::SessionResponse { session_id: String::new(), kind: Some(Answer::DesiredState(state)) };
        let streams = bare.streams.lock().map(|streams| streams.clone()).unwrap_or_default();
        for stream in &streams {
            let _ = stream.send(Ok(message.clone())).await;
        }
        while bare.acked.load(Ordering::Relaxed) < streams.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("acked");
    }
}

#[tonic::async_trait]
impl SessionService for Bare {
    type SessionStream = ReceiverStream<Result<pb::SessionResponse, Status>>;

    #[allow(clippy::disallowed_methods)] // as the examples do it
    async fn session(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let (out, answers) = mpsc::channel(16);
        let bare = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = inbound.message().await {
                match message.kind {
                    Some(Kind::Hello(_)) => {
                        let _ = out.send(Ok(bare.welcome())).await;
                        if let Ok(mut streams) = bare.streams.lock() {
                            streams.push(out.clone());
                        }
                    }
                    Some(Kind::Items(_)) => {
                        bare.acked.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

impl Bare {
    fn welcome(&self) -> pb::SessionResponse {
        let welcome = pb::Welcome {
            epoch: 1,
            protocol: 1,
            server_time_ms: Clock::System.now().0,
            tune: Some(pb::Tune {
                heartbeat_interval_ms: self.interval_ms,
                heartbeat_jitter_ms: self.interval_ms / 10,
                reconnect_min_ms: 100,
                reconnect_max_ms: 5000,
                display_name: String::new(),
            }),
            ..Default::default()
        };
        pb::SessionResponse {
            session_id: SessionId::generate().to_string(),
            kind: Some(Answer::Welcome(welcome)),
        }
    }
}

/// A TLS stream that tonic takes.
struct Secure(TlsStream<TcpStream>);

impl Connected for Secure {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
