//! The floods: what each says, on which doors, and as what it may be counted.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_tests::frames::{self, flag, frame, kind, literal};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use super::Target;

const ALL: &[&str] = &["agents", "enrollment", "operators"];
const WITH_CERTIFICATES: &[&str] = &["agents", "operators"];
/// Connections that flood a door; a node may have no more.
const CONNECTIONS: usize = 3;
/// Connections that say nothing, or one byte, after their handshake.
const IDLE: usize = 60;
/// Between the bytes of somebody slow.
const SLOW: Duration = Duration::from_millis(50);

/// One kind of flood.
#[derive(Debug)]
pub(crate) struct Flood {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// Where.
    pub(crate) doors: &'static [&'static str],
    /// Limits of which it meets one.
    pub(crate) limits: &'static [&'static str],
    /// How its handshakes may fail.
    pub(crate) handshakes: &'static [&'static str],
    how: How,
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// Frames without end: from the next stream, bytes and how many streams they took.
    Frames(fn(&Target, u32) -> (Vec<u8>, u32)),
    /// The same, and no answer is read.
    Unread(fn(&Target, u32) -> (Vec<u8>, u32)),
    /// A whole call, a byte at a time.
    Slowly,
    /// Nothing after the handshake.
    NoPreface,
    /// The first words of a handshake.
    HalfOpen,
    /// Nothing at all.
    Silent,
    /// Handshakes without a certificate.
    Strangers,
}

/// A flood that goes on.
pub(crate) struct Flooding {
    tasks: JoinSet<()>,
    said: Arc<AtomicU64>,
}

const fn flood(name: &'static str, limits: &'static [&'static str], how: How) -> Flood {
    Flood { name, doors: ALL, limits, handshakes: &[], how }
}

/// All of them.
pub(crate) const FLOODS: &[Flood] = &[
    flood("rapid reset", &["pending-resets", "frames"], How::Frames(resets)),
    flood("CONTINUATION without end", &["header-list", "frames"], How::Frames(continuations)),
    flood("SETTINGS", &["frames"], How::Frames(settings)),
    flood("PING", &["frames"], How::Frames(pings)),
    flood("a header of 1 MiB", &["header-list"], How::Frames(large_header)),
    flood("10,000 headers", &["header-list"], How::Frames(many_headers)),
    flood("windows that overflow (MadeYouReset)", &["local-resets", "frames"], How::Frames(overflows)),
    flood(
        "calls whose answers are not read",
        &["unacknowledged-within", "local-resets", "frames"],
        How::Unread(calls),
    ),
    flood("a byte at a time", &["first-request-within", "per-identity"], How::Slowly),
    flood("TLS without HTTP/2", &["first-request-within", "per-identity"], How::NoPreface),
    Flood {
        handshakes: &["half-open"],
        ..flood(
            "half-open handshakes",
            &[
                "half-open",
                "half-open-per-address",
                "turn-within",
                "waiting",
                "waiting-per-address",
                "per-address",
            ],
            How::HalfOpen,
        )
    },
    Flood {
        handshakes: &["silent"],
        ..flood("silent connections", &["hello-within", "silent", "silent-per-address"], How::Silent)
    },
    Flood {
        doors: WITH_CERTIFICATES,
        handshakes: &["refused"],
        ..flood("handshakes without a certificate", &[], How::Strangers)
    },
];

fn batch(first: u32, streams: u32, one: impl Fn(u32) -> Vec<u8>) -> (Vec<u8>, u32) {
    ((0..streams).flat_map(|n| one(first + 2 * n)).collect(), streams)
}

fn call(target: &Target, stream: u32, flags: u8) -> Vec<u8> {
    frames::headers(flags, stream, &frames::call(target.path))
}

fn resets(target: &Target, first: u32) -> (Vec<u8>, u32) {
    const CANCEL: u32 = 8;
    batch(first, 100, |stream| {
        let reset = frame(kind::RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        [call(target, stream, 0), reset].concat()
    })
}

fn continuations(target: &Target, first: u32) -> (Vec<u8>, u32) {
    let begun = frame(kind::HEADERS, 0, first, &frames::call(target.path));
    ([begun, frame(kind::CONTINUATION, 0, first, &[]).repeat(1000)].concat(), 1)
}

fn settings(_: &Target, _: u32) -> (Vec<u8>, u32) {
    // The initial window is 65535, again and again.
    (frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(500), 0)
}

fn pings(_: &Target, _: u32) -> (Vec<u8>, u32) {
    (frame(kind::PING, 0, 0, b"and ping").repeat(500), 0)
}

fn large_header(target: &Target, first: u32) -> (Vec<u8>, u32) {
    let block = [frames::call(target.path), literal(b"x", &vec![b'x'; 1024 * 1024])].concat();
    (frames::headers(flag::END_STREAM, first, &block), 1)
}

fn many_headers(target: &Target, first: u32) -> (Vec<u8>, u32) {
    let block = [frames::call(target.path), literal(b"x", b"y").repeat(10_000)].concat();
    (frames::headers(flag::END_STREAM, first, &block), 1)
}

fn overflows(target: &Target, first: u32) -> (Vec<u8>, u32) {
    batch(first, 100, |stream| {
        let update = frame(kind::WINDOW_UPDATE, 0, stream, &(i32::MAX.cast_unsigned()).to_be_bytes());
        [call(target, stream, 0), update].concat()
    })
}

fn calls(target: &Target, first: u32) -> (Vec<u8>, u32) {
    // An empty message: five bytes of gRPC.
    let empty = |stream| frame(kind::DATA, flag::END_STREAM, stream, &[0; 5]);
    batch(first, 20, |stream| [call(target, stream, 0), empty(stream)].concat())
}

impl Flood {
    /// Begins; `half_open` is how many connections those have that say nothing.
    pub(crate) fn begin(&self, targets: &[Target], half_open: u64) -> Flooding {
        let (mut tasks, said) = (JoinSet::new(), Arc::<AtomicU64>::default());
        let many = usize::try_from(half_open).unwrap() / targets.len();
        let connections = match self.how {
            How::Frames(_) | How::Unread(_) | How::Strangers => CONNECTIONS,
            How::Slowly | How::NoPreface => IDLE,
            How::HalfOpen | How::Silent => many,
        };
        for target in targets {
            for n in 0..connections {
                let peer = Peer { target: target.clone(), from: address(n), said: Arc::clone(&said) };
                let how = self.how;
                tasks.spawn(async move {
                    loop {
                        // However it ended: the next one comes.
                        let _ = peer.flood(how).await;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                });
            }
        }
        Flooding { tasks, said }
    }
}

/// Not where the honest are.
fn address(n: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 7, u8::try_from(1 + n / 2000).unwrap()).into()
}

impl Flooding {
    /// Ends; answers how many frames or connections there were.
    pub(crate) async fn end(mut self) -> u64 {
        self.tasks.shutdown().await;
        self.said.load(Ordering::Relaxed)
    }
}

/// One connection of a flood.
struct Peer {
    target: Target,
    from: IpAddr,
    said: Arc<AtomicU64>,
}

impl Peer {
    async fn flood(&self, how: How) -> std::io::Result<()> {
        let Target { address, tls, nobody, hello, .. } = &self.target;
        match how {
            How::Frames(batch) => return self.frames(batch, true).await,
            How::Unread(batch) => return self.frames(batch, false).await,
            How::Slowly => return self.slowly().await,
            How::NoPreface => {
                let (mut read, _write) = frames::tls(self.from, *address, Arc::clone(tls)).await?;
                self.count(1);
                read.read_to_end(&mut Vec::new()).await?;
            }
            How::HalfOpen => {
                let mut stream = frames::tcp(self.from, *address).await?;
                stream.write_all(hello).await?;
                self.count(1);
                stream.read_to_end(&mut Vec::new()).await?;
            }
            How::Silent => {
                let mut stream = frames::tcp(self.from, *address).await?;
                self.count(1);
                stream.read_to_end(&mut Vec::new()).await?;
            }
            How::Strangers => {
                let (mut read, _write) = frames::tls(self.from, *address, Arc::clone(nobody)).await?;
                self.count(1);
                read.read_to_end(&mut Vec::new()).await?;
            }
        }
        Ok(())
    }

    async fn frames(&self, batch: fn(&Target, u32) -> (Vec<u8>, u32), reads: bool) -> std::io::Result<()> {
        let Target { address, tls, .. } = &self.target;
        let (mut read, mut write) = frames::tls(self.from, *address, Arc::clone(tls)).await?;
        frames::begin(&mut write).await?;
        let say = async {
            let mut stream = 1;
            loop {
                let (bytes, streams) = batch(&self.target, stream);
                stream += 2 * streams;
                write.write_all(&bytes).await?;
                self.count(heads(&bytes));
            }
        };
        let hear = async {
            if !reads {
                std::future::pending::<()>().await;
            }
            let mut heard = vec![0; 64 * 1024];
            while read.read(&mut heard).await? > 0 {}
            Ok(())
        };
        tokio::select! {
            said = say => said,
            heard = hear => heard,
        }
    }

    async fn slowly(&self) -> std::io::Result<()> {
        let Target { address, tls, .. } = &self.target;
        let (mut read, mut write) = frames::tls(self.from, *address, Arc::clone(tls)).await?;
        self.count(1);
        let settings = frame(kind::SETTINGS, 0, 0, &[]);
        let words = [frames::PREFACE.to_vec(), settings, call(&self.target, 1, flag::END_STREAM)].concat();
        let say = async {
            for byte in words {
                write.write_all(&[byte]).await?;
                write.flush().await?;
                tokio::time::sleep(SLOW).await;
            }
            std::future::pending::<std::io::Result<()>>().await
        };
        let mut heard = Vec::new();
        tokio::select! {
            said = say => said,
            ended = read.read_to_end(&mut heard) => ended.map(drop),
        }
    }

    fn count(&self, said: u64) {
        self.said.fetch_add(said, Ordering::Relaxed);
    }
}

/// How many frames these bytes are.
fn heads(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while let [a, b, c, ..] = bytes {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap() + 9;
        bytes = bytes.get(length..).unwrap_or_default();
        count += 1;
    }
    count
}
