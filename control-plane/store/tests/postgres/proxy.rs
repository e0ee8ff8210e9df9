//! Between a store and its server: loses a commit or its answer, and then everything.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

/// What becomes of the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fate {
    /// It passes.
    Pass,
    /// It is lost on its way.
    Lost,
    /// It comes about, and its answer is lost.
    Unanswered,
    /// The same, and nothing passes any more.
    Gone,
    /// Nothing passes.
    Closed,
}

/// One that runs until the test ends.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    fate: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let made = Self { port: listener.local_addr().unwrap().port(), fate: Arc::default() };
        let fate = Arc::clone(&made.fate);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let fate = Arc::clone(&fate);
                if fate.load(Ordering::SeqCst) != Fate::Closed as u8 {
                    thread::spawn(move || pass(client, server, &fate));
                }
            }
        });
        made
    }

    /// Whether it has come about.
    pub(crate) fn is_met(&self) -> bool {
        self.fate.load(Ordering::SeqCst) == Fate::Pass as u8
    }

    pub(crate) fn set(&self, fate: Fate) {
        self.fate.store(fate as u8, Ordering::SeqCst);
    }
}

fn pass(mut client: TcpStream, server: SocketAddr, fate: &AtomicU8) {
    let Ok(mut server) = TcpStream::connect(server) else { return };
    let (mut back, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 65536];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let sent = &buffer[..length];
        // A batch's own commit, which writes down its number.
        let is_commit =
            sent.windows(13).any(|window| window == b"store_writers") && contains(sent, b"; COMMIT");
        let now = fate.load(Ordering::SeqCst);
        if !is_commit || now == Fate::Pass as u8 {
            if server.write_all(sent).is_err() {
                break;
            }
            continue;
        }
        if now == Fate::Gone as u8 {
            // Before the client can come anew.
            fate.store(Fate::Closed as u8, Ordering::SeqCst);
        }
        // Nothing of what the server says from here on reaches the client.
        client.shutdown(Shutdown::Both).unwrap();
        if now != Fate::Lost as u8 {
            server.write_all(sent).unwrap();
        }
        if now != Fate::Gone as u8 {
            fate.store(Fate::Pass as u8, Ordering::SeqCst);
        }
        // It has all of it before it hears that we are gone.
        let _ = server.shutdown(Shutdown::Write);
        return;
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
