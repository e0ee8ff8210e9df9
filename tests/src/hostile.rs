//! A static mirror of a signed repository that can be made to lie: by path, what it does
//! instead of giving the file. It speaks plain HTTP/1.1, one answer for each connection.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// What it does when it is asked for a file.
#[derive(Debug, Clone)]
pub enum Trick {
    /// Gives it.
    Honest,
    /// Gives these bytes.
    Bytes(Vec<u8>),
    /// Gives bytes without end.
    Endless,
    /// Gives a byte at a time, so often.
    Dribble(Duration),
    /// Ends the connection after so many bytes.
    CutAfter(usize),
    /// Sends elsewhere.
    Elsewhere(String),
    /// Answers so.
    Status(u16),
    /// Gives the whole, whichever part was asked for.
    NoRanges,
}

/// A mirror. Dropped: gone.
#[derive(Debug)]
pub struct Mirror {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    folder: Mutex<PathBuf>,
    tricks: Mutex<BTreeMap<String, VecDeque<Trick>>>,
    asked: Mutex<Vec<(String, u64)>>,
}

impl Mirror {
    /// Serves a folder.
    #[allow(clippy::disallowed_methods)] // one task, ended on drop with all that it began
    pub async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = Mutex::new(folder.to_owned());
        let shared = Arc::new(Shared { folder, tricks: Mutex::default(), asked: Mutex::default() });
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut answers = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&of_task);
                answers.spawn(async move {
                    let _ = shared.answer(stream).await; // who asked hung up
                });
            }
        });
        Self { address, shared, task }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it does when it is asked for paths with this part: one after the other, the last
    /// of them for ever.
    pub fn does(&self, part: &str, tricks: impl IntoIterator<Item = Trick>) {
        self.shared.tricks.lock().unwrap().insert(part.to_owned(), tricks.into_iter().collect());
    }

    /// Serves this folder, and is honest again.
    pub fn serve(&self, folder: &Path) {
        *self.shared.folder.lock().unwrap() = folder.to_owned();
        self.shared.tricks.lock().unwrap().clear();
    }

    /// What it was asked for since the last look: paths, and from which byte on.
    #[must_use]
    pub fn asked(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn trick(&self, path: &str) -> Trick {
        let mut tricks = self.tricks.lock().unwrap();
        let found = tricks.iter_mut().find(|(part, _)| path.contains(part.as_str()));
        found.map_or(Trick::Honest, |(_, queue)| {
            let last = queue.len() <= 1;
            if last { queue.front().cloned() } else { queue.pop_front() }.unwrap_or(Trick::Honest)
        })
    }

    async fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let (mut line, mut offset) = (String::new(), 0);
        stream.read_line(&mut line).await?;
        let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').replace("%2B", "+");
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            if line.trim().is_empty() {
                break;
            }
            let range = line.to_ascii_lowercase();
            if let Some(range) = range.strip_prefix("range: bytes=") {
                offset = range.split('-').next().unwrap_or_default().parse().unwrap_or(0);
            }
        }
        self.asked.lock().unwrap().push((path.clone(), offset));
        let file = std::fs::read(self.folder.lock().unwrap().join(&path));
        let trick = self.trick(&path);
        let mut stream = stream.into_inner();
        play(&mut stream, trick, file, usize::try_from(offset).unwrap_or(usize::MAX)).await
    }
}

async fn play(to: &mut TcpStream, trick: Trick, file: io::Result<Vec<u8>>, offset: usize) -> io::Result<()> {
    match trick {
        Trick::Elsewhere(url) => {
            return head(to, &format!("302 Found\r\nLocation: {url}\r\nContent-Length: 0")).await;
        }
        Trick::Status(status) => return head(to, &format!("{status} So\r\nContent-Length: 0")).await,
        Trick::Endless => {
            head(to, "200 OK").await?;
            loop {
                to.write_all(&[b' '; 16 * 1024]).await?;
            }
        }
        Trick::Bytes(bytes) => {
            head(to, &format!("200 OK\r\nContent-Length: {}", bytes.len())).await?;
            return to.write_all(&bytes).await;
        }
        Trick::Honest | Trick::CutAfter(_) | Trick::Dribble(_) | Trick::NoRanges => {}
    }
    let Ok(bytes) = file else { return head(to, "404 Not Found\r\nContent-Length: 0").await };
    let whole = bytes.len();
    let ranged = offset > 0 && !matches!(trick, Trick::NoRanges);
    let part = if ranged { bytes.get(offset..).unwrap_or_default() } else { &bytes };
    let length = part.len();
    if ranged {
        let range = format!("bytes {offset}-{}/{whole}", whole.saturating_sub(1));
        head(to, &format!("206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: {length}"))
            .await?;
    } else {
        head(to, &format!("200 OK\r\nContent-Length: {length}")).await?;
    }
    match trick {
        Trick::CutAfter(most) => to.write_all(&part[..most.min(length)]).await,
        Trick::Dribble(every) => {
            for byte in part {
                to.write_all(&[*byte]).await?;
                tokio::time::sleep(every).await;
            }
            Ok(())
        }
        _ => to.write_all(part).await,
    }
}

async fn head(to: &mut TcpStream, lines: &str) -> io::Result<()> {
    to.write_all(format!("HTTP/1.1 {lines}\r\nConnection: close\r\n\r\n").as_bytes()).await
}
