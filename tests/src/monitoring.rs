//! The real Alertmanager, as Debian packages it and `make tools` unpacks it. It ends with its owner.

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
    prometheus::{body, program},
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
    folder: PathBuf,
    process: Process,
}

impl Alertmanager {
    /// Starts one below a folder.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(folder: &Path) -> Self {
        let folder = folder.join("alertmanager");
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("config.yml");
        fs::write(&config, "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n").unwrap();
        let address = free_port();
        let process = launched(&folder, address).await;
        Self { address, folder, process }
    }

    /// It is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// It is there again, at the same address.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn run(&mut self) {
        self.process = launched(&self.folder, self.address).await;
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
        body(&answer).as_array().expect("a list").clone()
    }
}

async fn launched(folder: &Path, address: SocketAddr) -> Process {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", AT_HOME, "sh"]);
    command.arg(unpacked().join("usr/share")).arg(program("prometheus-alertmanager"));
    command.arg(format!("--config.file={}", folder.join("config.yml").display()));
    command.arg(format!("--storage.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address={address}")).arg("--cluster.listen-address=");
    let mut process = Process::start(command, &folder.join("log"));
    eventually("it is ready", LONG, || {
        assert!(process.is_running(), "it ended: {}", process.log());
        async move { http_get(address, "/-/ready").await.filter(|answer| answer.starts_with("HTTP/1.1 200")) }
    })
    .await;
    process
}

fn unpacked() -> PathBuf {
    binaries::repository().join(".tools/monitoring")
}

/// One that nobody uses now.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
