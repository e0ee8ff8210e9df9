//! A web server for the files of a folder, as a mirror of a package repository is one; it
//! can break off in the middle of what it sends. It has threads of its own, so that it goes
//! on while a test waits for a program, and ends with its owner.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// A running server.
#[derive(Debug)]
pub struct Mirror {
    address: SocketAddr,
    /// Bytes of a file after which the connection is closed.
    limit: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Mirror {
    /// Serves a folder at an address of this machine.
    ///
    /// # Panics
    /// If nobody may listen there.
    #[must_use]
    pub fn start(folder: &Path, at: IpAddr) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mirror = Self { address, limit: Arc::new(AtomicU64::new(u64::MAX)), over: Arc::default() };
        let (folder, limit, over) = (folder.to_owned(), Arc::clone(&mirror.limit), Arc::clone(&mirror.over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (folder, limit) = (folder.clone(), Arc::clone(&limit));
                thread::spawn(move || answer(stream, &folder, &limit));
            }
        });
        mirror
    }

    /// Where it is, as an address of the web.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the connection is closed after so many bytes of a file.
    pub fn break_off_after(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::SeqCst);
    }

    /// From now on files are sent whole.
    pub fn heal(&self) {
        self.break_off_after(u64::MAX);
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes who listens
    }
}

/// One request, one answer. A client that goes away ends it.
fn answer(stream: TcpStream, folder: &Path, limit: &AtomicU64) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut from) = (String::new(), 0);
    stream.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim().split('-').next().and_then(|from| from.parse().ok()).unwrap_or(0);
        }
    }
    let mut stream = stream.into_inner();
    let Some(content) = path(&first, folder).and_then(|path| fs::read(path).ok()) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let (from, all): (usize, usize) = (usize::min(from, content.len()), content.len());
    let status = if from == 0 {
        "200 OK".to_owned()
    } else {
        format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{all}", all - 1)
    };
    let length = all - from;
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let sent = usize::try_from(limit.load(Ordering::SeqCst)).unwrap_or(usize::MAX).min(length);
    stream.write_all(&content[from..from + sent])?;
    stream.shutdown(Shutdown::Write)
}

/// The file that a request asks for, never one outside of the folder.
fn path(request: &str, folder: &Path) -> Option<PathBuf> {
    let asked = request.split(' ').nth(1)?.trim_start_matches('/').replace("%2b", "+").replace("%7e", "~");
    let inside = Path::new(&asked).components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| folder.join(asked))
}
