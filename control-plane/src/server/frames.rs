//! What a peer says in HTTP/2, counted frame by frame below hyper, which answers
//! PING and SETTINGS and takes requests back for as long as somebody sends them.
//!
//! Each frame costs one, a block of headers one more for each KiB; DATA with
//! something in it costs nothing, for it has flow control. Whoever has spent more
//! than a peer has at once is not read until time has paid for it: nothing is
//! lost and nobody is cut, the peer's own kernel makes it wait.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use muster_common::clock::{Clock, Instant};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// Who hears that a limit was met, by its name in the configuration.
pub(super) type Met = Arc<dyn Fn(&'static str) + Send + Sync>;

/// The limit that a peer meets when hyper has had enough of it. hyper says no more
/// than that; which one follows from the last frames. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Excess(Arc<AtomicU8>);

const LOCAL_RESETS: u8 = 0;
const PENDING_RESETS: u8 = 1;
const HEADER_LIST: u8 = 2;

/// What the client says before its first frame.
const PREFACE: usize = 24;
/// DATA of fewer bytes costs as much as any other frame.
const SMALL: usize = 64;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Frames at once after a rest.
    pub(super) burst: u32,
    /// Frames in a second.
    pub(super) per_second: u32,
    /// Bytes of one header list: more than these cannot be one that fits.
    pub(super) header_list: u32,
}

/// A connection whose frames are counted.
pub(super) struct Metered<S> {
    stream: S,
    frames: Frames,
    budget: Budget,
    bounds: Bounds,
    clock: Clock,
    pause: Option<Pin<Box<Sleep>>>, // while it has to wait
    met: Met,
    excess: Excess,
}

/// What is left of what a peer may say. Below zero: it has to wait.
#[derive(Debug)]
struct Budget {
    left: f64,
    at: Instant,
}

/// Where in the stream of frames the bytes are.
#[derive(Debug)]
struct Frames {
    skip: usize,
    head: [u8; 9],
    have: usize,
    block: usize,
    open: bool,
}

/// What some bytes came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    cost: u32,
    large_headers: bool,
    resets: bool,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, bounds: Bounds, clock: Clock, met: Met) -> Self {
        let budget = Budget { left: f64::from(bounds.burst), at: clock.monotonic() };
        let (frames, excess) = (Frames::default(), Excess::default());
        Self { stream, frames, budget, bounds, clock, pause: None, met, excess }
    }

    /// What its peer says too much of, if it does.
    pub(super) fn excess(&self) -> Excess {
        self.excess.clone()
    }

    fn count(&mut self, bytes: &[u8]) {
        let said = self.frames.read(bytes, self.bounds.header_list as usize);
        if said.large_headers {
            (self.met)("header-list");
        }
        if said.cost == 0 {
            return;
        }
        let excess = match said {
            _ if self.frames.open || said.large_headers => HEADER_LIST,
            _ if said.resets => PENDING_RESETS,
            _ => LOCAL_RESETS,
        };
        self.excess.0.store(excess, Ordering::Relaxed);
        let now = self.clock.monotonic();
        if let Some(wait) = self.budget.spend(said.cost, now, &self.bounds) {
            (self.met)("frames");
            self.pause = Some(Box::pin(tokio::time::sleep_until(now + wait)));
        }
    }
}

impl Excess {
    /// Its name in the configuration.
    pub(super) fn limit(&self) -> &'static str {
        match self.0.load(Ordering::Relaxed) {
            HEADER_LIST => "header-list",
            PENDING_RESETS => "pending-resets",
            _ => "local-resets",
        }
    }
}

impl Budget {
    /// Spends; answers how long the peer has to wait, if it has to.
    fn spend(&mut self, cost: u32, now: Instant, bounds: &Bounds) -> Option<Duration> {
        let per_second = f64::from(bounds.per_second);
        let paid = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        self.at = now;
        self.left = (self.left + paid).min(f64::from(bounds.burst)) - f64::from(cost);
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / per_second))
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self { skip: PREFACE, head: [0; 9], have: 0, block: 0, open: false }
    }
}

impl Frames {
    /// Passes over bytes; only the heads of frames are looked at.
    fn read(&mut self, mut bytes: &[u8], header_list: usize) -> Said {
        let mut said = Said::default();
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = (self.head.len() - self.have).min(bytes.len());
            self.head[self.have..self.have + wanted].copy_from_slice(&bytes[..wanted]);
            self.have += wanted;
            bytes = &bytes[wanted..];
            if self.have == self.head.len() {
                self.have = 0;
                self.frame(header_list, &mut said);
            }
        }
        said
    }

    fn frame(&mut self, header_list: usize, said: &mut Said) {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let bytes = length as usize;
        self.skip = bytes;
        let before = self.block;
        self.block = match kind {
            HEADERS => bytes,
            CONTINUATION => before.saturating_add(bytes),
            _ => 0,
        };
        self.open = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
        said.resets |= kind == RST_STREAM;
        // Once for each list.
        said.large_headers |= self.block > header_list && (kind == HEADERS || before <= header_list);
        let cost = match kind {
            DATA if bytes >= SMALL || flags & END_STREAM != 0 => 0,
            HEADERS | CONTINUATION => 1 + length / 1024,
            _ => 1,
        };
        said.cost = said.cost.saturating_add(cost);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.count(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
