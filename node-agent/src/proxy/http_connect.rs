//! Opens a connection through a proxy by HTTP's CONNECT, with basic authentication where
//! the proxy's address has a user. Names are resolved by the proxy.

use std::io;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use muster_common::settings::ProxyUrl;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use zeroize::Zeroizing;

use super::{
    Error, WITHIN,
    answer::{self, Answer},
};

/// A proxy that wants to know who is there; tinyproxy says 401 to a wrong password.
const WHO_ARE_YOU: [u16; 2] = [407, 401];

/// A connection to `host:port`, through a proxy.
///
/// # Errors
/// Told apart by what is to be done about it.
pub async fn open(proxy: &ProxyUrl, target: &str) -> Result<TcpStream, Error> {
    let slow = |_| Error::Slow { proxy: proxy.to_string(), target: target.to_owned() };
    timeout(WITHIN, connect(proxy, target)).await.map_err(slow)?
}

async fn connect(proxy: &ProxyUrl, target: &str) -> Result<TcpStream, Error> {
    let unreachable = |source| Error::Unreachable { proxy: proxy.to_string(), source };
    let ended = |source| Error::Ended { proxy: proxy.to_string(), source: Some(source) };
    let mut stream = TcpStream::connect((proxy.host(), proxy.port())).await.map_err(unreachable)?;
    stream.write_all(request(proxy, target).as_bytes()).await.map_err(ended)?;
    let answer = hear(&mut stream, proxy).await?;
    if answer.is_open() {
        return Ok(stream);
    }
    let (proxy, given) = (proxy.to_string(), proxy.credentials().is_some());
    Err(match answer.status {
        status if WHO_ARE_YOU.contains(&status) => Error::Authentication { proxy, given, status },
        status => Error::Refused { proxy, target: target.to_owned(), status, phrase: answer.phrase },
    })
}

fn request(proxy: &ProxyUrl, target: &str) -> Zeroizing<String> {
    let authorization = proxy.credentials().map(|pair| {
        let pair = Zeroizing::new(BASE64_STANDARD.encode(pair));
        Zeroizing::new(format!("Proxy-Authorization: Basic {}\r\n", *pair))
    });
    let authorization = authorization.as_deref().map_or("", String::as_str);
    Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n"))
}

async fn hear(stream: &mut TcpStream, proxy: &ProxyUrl) -> Result<Answer, Error> {
    let ended = |source: Option<io::Error>| Error::Ended { proxy: proxy.to_string(), source };
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let read = (&mut *stream).take((answer::MAX - bytes.len()) as u64).read_buf(&mut bytes).await;
        if read.map_err(|error| ended(Some(error)))? == 0 {
            return Err(ended(None));
        }
        match answer::read(&bytes) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(why) => return Err(Error::NoProxy { proxy: proxy.to_string(), why }),
        }
    }
}
