//! A real Prometheus, as Debian packages it and `make tools` unpacks it, that scrapes control planes
//! with the rules of `deploy/prometheus`. It ends with its owner.

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

/// A running Prometheus. Dropped: killed.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    process: Process,
}

/// A program of the package.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let program = binaries::repository().join(".tools/monitoring/usr/bin").join(name);
    assert!(program.exists(), "{} is missing: run make tools", program.display());
    program
}

impl Prometheus {
    /// One that scrapes these once in a second, as job `muster`.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(folder: &Path, targets: &[SocketAddr]) -> Self {
        let folder = folder.join("prometheus");
        fs::create_dir_all(&folder).unwrap();
        let rules = binaries::repository().join("deploy/prometheus");
        let file = |name: &str| format!("{:?}", rules.join(name));
        let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}, {}]\nscrape_configs:\n\
             - job_name: muster\n  static_configs: [{{targets: [{}]}}]\n",
            file("rules.yml"),
            file("alerts.yml"),
            targets.join(", ")
        );
        fs::write(&config, text).unwrap();
        // Nobody else takes it in the moment between.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(program("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        // The package's pages for browsers are not unpacked, and not asked for.
        command.current_dir(&folder);
        let mut process = Process::start(command, &folder.join("log"));
        eventually("prometheus is ready", LONG, || {
            assert!(process.is_running(), "prometheus ended: {}", process.log());
            async move { http_get(address, "/-/ready").await.filter(|it| it.starts_with("HTTP/1.1 200")) }
        })
        .await;
        Self { address, process }
    }

    /// What an expression gives now, one number for each series.
    ///
    /// # Errors
    /// What Prometheus says of an expression that it cannot work out.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn query(&self, expression: &str) -> Result<Vec<f64>, String> {
        let answer = self.ask(&format!("/api/v1/query?query={}", escaped(expression))).await;
        if answer["status"] != "success" {
            return Err(answer["error"].as_str().unwrap_or("no reason").to_owned());
        }
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let number = |it: &Value| it["value"][1].as_str().and_then(|number| number.parse().ok());
        Ok(series.iter().filter_map(number).collect())
    }

    async fn ask(&self, path: &str) -> Value {
        body(&http_get(self.address, path).await.expect("prometheus answers"))
    }

    /// The running process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// What an answer has, as JSON.
pub(crate) fn body(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a body");
    // What is long comes in pieces, each on a line after its length.
    let is_in_pieces = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let whole = if is_in_pieces { joined(body) } else { body.to_owned() };
    serde_json::from_str(&whole).unwrap_or_else(|error| panic!("{error}: {whole}"))
}

fn joined(body: &str) -> String {
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 {
            break;
        }
        whole += after.get(..length).unwrap_or(after);
        rest = after.get(length..).unwrap_or("").trim_start_matches("\r\n");
    }
    whole
}

/// As a value in a URL.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
