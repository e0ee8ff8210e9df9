//! A long, thin cable between hosts and their control plane: it delays what goes over it,
//! each piece by another time, and lets through only so much a second. The kernel of a test
//! machine cannot do that by itself. What goes in comes out whole and in its order.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_common::clock::{Clock, Instant};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

/// The largest piece that is sent at once, in bytes.
const PIECE: usize = 4096;
/// Pieces that are under way in one direction of one connection.
const UNDER_WAY: usize = 64;

/// How a cable is. The default: as if it were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nature {
    /// Time that each piece is under way at least, in each direction.
    pub delay: Duration,
    /// What may come on top of it.
    pub jitter: Duration,
    /// Bytes a second of each direction of each connection; none: any number.
    pub rate: Option<u32>,
}

/// A cable. Dropped: all connections over it are cut.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    nature: Nature,
    chance: StdRng,
}

/// A piece, and when it is at the other end.
struct Piece {
    at: Instant,
    bytes: Vec<u8>,
}

impl Cable {
    /// A cable from an address of this machine. Its chance is of this seed.
    ///
    /// # Panics
    /// If the address is not of this machine.
    #[allow(clippy::disallowed_methods)] // a test's own tasks, ended with their owner
    pub async fn lay(near: Ipv4Addr, to: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind((near, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { nature: Nature::default(), chance: StdRng::seed_from_u64(seed) };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                ways.spawn(lead(near, to, Arc::clone(&shared)));
                while ways.try_join_next().is_some() {}
            }
        });
        Self { address, state, task }
    }

    /// Where it begins.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it is so, for what is sent from now on.
    pub fn turn(&self, nature: Nature) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).nature = nature;
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    /// How long a piece that is sent now is under way, and how long it fills the cable.
    fn passage(&mut self, bytes: usize) -> (Duration, Duration) {
        let Nature { delay, jitter, rate } = self.nature;
        let fill = rate
            .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1))));
        (delay + jitter.mul_f64(self.chance.random()), fill)
    }
}

async fn lead(near: TcpStream, to: SocketAddr, state: Arc<Mutex<State>>) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    let (near_reads, near_writes) = near.into_split();
    let (far_reads, far_writes) = far.into_split();
    // Each direction ends by itself, as those of a connection do; a reset ends both.
    tokio::join!(carry(near_reads, far_writes, &state), carry(far_reads, near_writes, &state));
}

async fn carry(from: tcp::OwnedReadHalf, to: tcp::OwnedWriteHalf, state: &Mutex<State>) {
    let (send, receive) = mpsc::channel(UNDER_WAY);
    tokio::join!(take(from, send, state), give(to, receive));
}

async fn take(mut from: tcp::OwnedReadHalf, pieces: mpsc::Sender<Piece>, state: &Mutex<State>) {
    let mut buffer = vec![0; PIECE];
    let (mut last, mut free) = (Clock::System.monotonic(), Clock::System.monotonic());
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let now = Clock::System.monotonic();
        let (passage, fill) = state.lock().unwrap_or_else(PoisonError::into_inner).passage(count);
        free = free.max(now) + fill;
        // None overtakes the one before.
        last = last.max(free + passage);
        let piece = Piece { at: last, bytes: buffer[..count].to_vec() };
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
}

async fn give(mut to: tcp::OwnedWriteHalf, mut pieces: mpsc::Receiver<Piece>) {
    while let Some(piece) = pieces.recv().await {
        tokio::time::sleep_until(piece.at).await;
        if to.write_all(&piece.bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await; // the other side may have gone first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cable to something that sends back what it gets.
    #[allow(clippy::disallowed_methods)] // ends with the test
    async fn to_an_echo() -> (Cable, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut reads, mut writes) = stream.split();
            let _ = tokio::io::copy(&mut reads, &mut writes).await;
        });
        let cable = Cable::lay(Ipv4Addr::LOCALHOST, to, 1).await;
        let stream = TcpStream::connect(cable.address()).await.unwrap();
        (cable, stream)
    }

    async fn there_and_back(stream: &mut TcpStream, bytes: &[u8]) -> Duration {
        let begun = Clock::System.monotonic();
        stream.write_all(bytes).await.unwrap();
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).await.unwrap();
        assert!(back == bytes, "it comes back whole and in its order");
        Clock::System.monotonic() - begun
    }

    #[tokio::test]
    async fn a_cable_delays_and_lets_only_so_much_through_and_loses_nothing() {
        let (cable, mut stream) = to_an_echo().await;
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let millis = Duration::from_millis;
        cable.turn(Nature { delay: millis(50), jitter: millis(40), rate: None });
        assert!(there_and_back(&mut stream, b"ping").await >= millis(100));
        let _ = there_and_back(&mut stream, &bytes).await;
        cable.turn(Nature { rate: Some(100_000), ..Nature::default() });
        assert!(there_and_back(&mut stream, &bytes).await >= millis(380));
        cable.turn(Nature::default());
        for _ in 0..100 {
            if there_and_back(&mut stream, b"ping").await < millis(50) {
                return;
            }
        }
        panic!("the cable stays long");
    }
}
