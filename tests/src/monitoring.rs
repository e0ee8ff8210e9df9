//! The real Alertmanager and Prometheus, as Debian packages them and `make tools` unpacks them. They
//! end with their owner.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    binaries,
    eventually::{LONG, eventually},
    plane::http_get,
    process::Process,
};

/// It looks for its templates where a package would have put them: there, for this process alone,
/// are those that were unpacked.
const AT_HOME: &str =
    "mount -t overlay overlay -o lowerdir=\"$1\":/usr/share /usr/share && shift && exec \"$@\"";

/// A running Alertmanager that tells nobody.
#[derive(Debug)]
pub struct Alertmanager {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
}

/// A running Prometheus that reads one control plane's numbers every second.
#[derive(Debug)]
pub struct Prometheus {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
}

impl Alertmanager {
    /// Starts one below a folder.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(folder: &Path) -> Self {
        let folder = made(folder, "alertmanager");
        let config = folder.join("config.yml");
        fs::write(&config, "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n").unwrap();
        let address = free_port();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", AT_HOME, "sh"]);
        command.arg(unpacked().join("usr/share")).arg(program("prometheus-alertmanager"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--cluster.listen-address=");
        let process = ready(Process::start(command, &folder.join("log")), address).await;
        Self { address, process }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The alerts that it takes to be so now.
    ///
    /// # Panics
    /// If it does not say.
    pub async fn alerts(&self) -> Vec<Value> {
        let answer = http_get(self.address, "/api/v2/alerts").await.expect("it answers");
        let alerts: Value =
            serde_json::from_str(&body(&answer)).unwrap_or_else(|error| panic!("{error}: {answer}"));
        alerts.as_array().expect("a list").clone()
    }

    /// The running process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Prometheus {
    /// Starts one below a folder that reads the numbers of the control plane with this console.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(folder: &Path, console: SocketAddr) -> Self {
        let folder = made(folder, "prometheus");
        let config = folder.join("config.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: muster\n    static_configs:\n      \
             - targets: ['{console}']\n"
        );
        fs::write(&config, text).unwrap();
        let address = free_port();
        let mut command = Command::new(program("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = ready(Process::start(command, &folder.join("log")), address).await;
        Self { address, process }
    }

    /// The value of a query that has one; none: it has none yet.
    pub async fn value(&self, query: &str) -> Option<f64> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = http_get(self.address, &format!("/api/v1/query?query={encoded}")).await?;
        let answer: Value = serde_json::from_str(&body(&answer)).ok()?;
        answer.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
    }

    /// The running process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

async fn ready(mut process: Process, address: SocketAddr) -> Process {
    eventually("it is ready", LONG, || {
        assert!(process.is_running(), "it ended: {}", process.log());
        async move { http_get(address, "/-/ready").await.filter(|answer| answer.starts_with("HTTP/1.1 200")) }
    })
    .await;
    process
}

fn made(folder: &Path, name: &str) -> PathBuf {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn unpacked() -> PathBuf {
    binaries::repository().join(".tools/monitoring")
}

fn program(name: &str) -> PathBuf {
    let program = unpacked().join("usr/bin").join(name);
    assert!(program.exists(), "{} is missing: run make tools", program.display());
    program
}

/// One that nobody uses now.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What stands behind the head of an answer; if it comes in chunks, their bytes.
fn body(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        whole += after.get(..size).unwrap_or_default();
        rest = after.get(size + 2..).unwrap_or_default();
    }
    whole
}
