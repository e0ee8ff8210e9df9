//! A server of somebody's that is told of alerts: it checks who tells it, and answers as it is told to.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use muster_common::{clock::Clock, digest::Sha256};
use serde_json::Value;

/// With what deliveries to it are signed.
pub const SECRET: &str = "a secret of this test";
/// A signature that is older than this, in seconds, is somebody's who has listened.
const FRESH: i64 = 60;

/// It listens on a port of its own, and ends with the process: nobody waits for it.
#[derive(Debug)]
pub struct Webhook {
    /// Where.
    pub address: SocketAddr,
    desk: Arc<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    told: Mutex<Vec<Value>>,
    /// So many are refused first.
    refuses: AtomicU64,
    refused: AtomicUsize,
    /// Requests without our signature over what they say.
    strange: AtomicUsize,
}

impl Webhook {
    /// One that answers the first so many with an error.
    #[must_use]
    pub fn start(refuses: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let webhook = Self { address, desk: Arc::default() };
        webhook.desk.refuses.store(refuses, Ordering::SeqCst);
        let desk = Arc::clone(&webhook.desk);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&desk, stream.unwrap());
            }
        });
        webhook
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/alerts", self.address)
    }

    /// From now on so many are refused.
    pub fn refuse(&self, count: u64) {
        self.desk.refuses.store(count, Ordering::SeqCst);
    }

    /// How many it has refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.desk.refused.load(Ordering::SeqCst)
    }

    /// How many came without our signature.
    #[must_use]
    pub fn strange(&self) -> usize {
        self.desk.strange.load(Ordering::SeqCst)
    }

    /// The events that it was told, in order.
    #[must_use]
    pub fn told(&self) -> Vec<Value> {
        self.desk.told.lock().unwrap().clone()
    }
}

fn serve(desk: &Desk, mut stream: TcpStream) {
    let Some((head, body)) = request(&mut stream) else { return };
    let status = if !is_signed(&head, &body) {
        desk.strange.fetch_add(1, Ordering::SeqCst);
        "401 Unauthorized"
    } else if desk.refuses.load(Ordering::SeqCst) > 0 {
        desk.refuses.fetch_sub(1, Ordering::SeqCst);
        desk.refused.fetch_add(1, Ordering::SeqCst);
        "503 Service Unavailable"
    } else {
        let body: Value = serde_json::from_slice(&body).unwrap();
        desk.told.lock().unwrap().extend(body["events"].as_array().unwrap().iter().cloned());
        "204 No Content"
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes());
}

/// The head and the body of a request.
fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).ok()?;
        bytes.extend_from_slice(&piece[..read]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length: usize = header(&head, "content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }
        if read == 0 {
            return None;
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// As docs/alerts.md tells whoever is told.
fn is_signed(head: &str, body: &[u8]) -> bool {
    let parts = header(head, "muster-signature").and_then(|value| value.split_once(','));
    let parts = parts.and_then(|(time, sign)| Some((time.strip_prefix("t=")?, sign.strip_prefix("v1=")?)));
    let Some((seconds, signature)) = parts else { return false };
    let now = Clock::System.now().0 / 1000;
    let is_fresh = seconds.parse::<i64>().is_ok_and(|at| (now - at).abs() <= FRESH);
    let message = [seconds.as_bytes(), b".", body].concat();
    is_fresh && hex::encode(hmac(SECRET.as_bytes(), &message)) == signature
}

/// HMAC-SHA256, as RFC 2104 writes it down, with a key that is no longer than a block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |with: u8| -> Vec<u8> {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        block.iter().map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::of(&[&pad(0x36), message].concat());
    *Sha256::of(&[&pad(0x5c), inner.as_bytes().as_slice()].concat()).as_bytes()
}
