//! An issuer of OpenID Connect: says its keys, and lets people sign in for devices as it is
//! told beforehand.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use muster_common::clock::{Clock, Instant};
use rcgen::{PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use crate::plane::{Options, Plane};

/// Says its keys over HTTP, and counts how often it was asked for them.
#[derive(Debug)]
pub struct Issuer {
    key: rcgen::KeyPair,
    /// Where it listens.
    pub address: SocketAddr,
    desk: Arc<Desk>,
}

/// What it says, and what it was asked.
#[derive(Debug, Default)]
struct Desk {
    answer: Mutex<String>,
    asked: AtomicUsize,
    /// What it says to who asks for a token, one after the other: status and body. Then
    /// nothing more.
    answers: Mutex<VecDeque<(&'static str, Value)>>,
    /// What it was asked for a token, and when.
    questions: Mutex<Vec<(Instant, String)>>,
}

impl Issuer {
    /// On a port of its own. It ends with the process: nobody waits for it.
    #[must_use]
    pub fn start() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = Self { key, address, desk: Arc::default() };
        issuer.says("200 OK", &issuer.keys());
        let desk = Arc::clone(&issuer.desk);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&desk, address, stream.unwrap());
            }
        });
        issuer
    }

    /// Its URL, as who signs in for devices finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> String {
        let x = BASE64.encode(self.key.der_bytes());
        json!({ "keys": [{ "kid": "a", "kty": "OKP", "crv": "Ed25519", "x": x }] }).to_string()
    }

    /// From now on it says this to who asks for its keys.
    pub fn says(&self, status: &str, body: &str) {
        *self.desk.answer.lock().unwrap() = response(status, body);
    }

    /// How often it was asked for its keys.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.desk.asked.load(Ordering::SeqCst)
    }

    /// A token of it.
    #[must_use]
    pub fn token(&self, number: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let now = Clock::System.now().0 / 1000;
        let mut header = json!({ "alg": "EdDSA", "kid": "a" });
        let mut claims = json!({
            "iss": "https://issuer.test", "aud": "muster", "jti": number, "iat": now, "exp": now + 300,
            "ref": "main", "repository": "app",
        });
        change(&mut header, &mut claims);
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        format!("{message}.{}", BASE64.encode(self.key.sign(message.as_bytes()).unwrap()))
    }

    /// Says this to who asks for a token, one answer after the other.
    pub fn will_answer(&self, answers: impl IntoIterator<Item = (&'static str, Value)>) {
        *self.desk.answers.lock().unwrap() = answers.into_iter().collect();
        self.desk.questions.lock().unwrap().clear();
    }

    /// What it was asked for a token, each with the time since the question before.
    #[must_use]
    pub fn questions(&self) -> Vec<(Duration, String)> {
        let questions = self.desk.questions.lock().unwrap();
        let before = questions.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        let since = |n: usize, at: Instant| at.duration_since(before[n.saturating_sub(1)]);
        questions.iter().enumerate().map(|(n, (at, form))| (since(n, *at), form.clone())).collect()
    }

    /// A control plane that trusts it.
    pub async fn plane(&self, folder: &Path) -> Plane {
        self.plane_with(folder, "https://issuer.test", "").await
    }

    /// A control plane that trusts it under this name, with more about it.
    pub async fn plane_with(&self, folder: &Path, issuer: &str, more: &str) -> Plane {
        let mut plane = Plane::init(folder, &Options::default());
        let config = std::fs::read_to_string(plane.config()).unwrap();
        let section = format!(
            "\n[[enrollment.oidc]]\nname = \"ci\"\nissuer = {issuer:?}\naudience = \"muster\"\n\
             jwks = \"http://{}/keys\"\nclaims = {{ ref = \"main\" }}\nlabels = {{ repo = \"repository\" }}\n\
             static-labels = {{ role = \"runner\" }}\n{more}",
            self.address
        );
        std::fs::write(plane.config(), config + &section).unwrap();
        plane.serve(&[]).await;
        plane
    }
}

fn serve(desk: &Desk, address: SocketAddr, mut stream: TcpStream) {
    let Some((head, form)) = request(&mut stream) else { return };
    let url = format!("http://{address}");
    let answer = match head.split(' ').nth(1) {
        Some("/.well-known/openid-configuration") => {
            let device = format!("{url}/device");
            let token = format!("{url}/token");
            let said =
                json!({ "issuer": url, "device_authorization_endpoint": device, "token_endpoint": token });
            response("200 OK", &said.to_string())
        }
        Some("/device") => {
            let code = json!({
                "device_code": "device & code", "user_code": "WDJB-MJHT", "verification_uri": format!("{url}/enter"),
                "verification_uri_complete": format!("{url}/enter?code=WDJB-MJHT"), "expires_in": 60, "interval": 1,
            });
            response("200 OK", &code.to_string())
        }
        Some("/token") => {
            desk.questions.lock().unwrap().push((Clock::System.monotonic(), form));
            let Some((status, body)) = desk.answers.lock().unwrap().pop_front() else { return };
            response(status, &body.to_string())
        }
        _ => {
            desk.asked.fetch_add(1, Ordering::SeqCst);
            desk.answer.lock().unwrap().clone()
        }
    };
    let _ = stream.write_all(answer.as_bytes());
}

/// The head and the body of a request.
fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).ok()?;
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        if read == 0 {
            return None;
        }
    }
}

fn response(status: &str, body: &str) -> String {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\nlocation: http://127.0.0.1:1/\r\n");
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}
