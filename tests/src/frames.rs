//! HTTP/2 written by hand, frame by frame: for what no library lets one say.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::client::TlsStream;

/// What a client says first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest payload of a frame that everyone takes.
pub const LARGEST: usize = 16 * 1024;

/// Kinds of frames.
#[allow(missing_docs)]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
#[allow(missing_docs)]
pub mod flag {
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// A frame, whatever it means.
///
/// # Panics
/// If it is longer than a frame can be.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short enough").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A list of headers in as many frames as it needs; the last ends it.
#[must_use]
pub fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = block.chunks(LARGEST).collect();
    let last = parts.len().saturating_sub(1);
    let one = |(n, part): (usize, &&[u8])| {
        let kind = if n == 0 { kind::HEADERS } else { kind::CONTINUATION };
        let first = if n == 0 { flags } else { 0 };
        frame(kind, if n == last { first | flag::END_HEADERS } else { first }, stream, part)
    };
    parts.iter().enumerate().flat_map(one).collect()
}

/// The headers of a gRPC call, each as it is: nothing is indexed.
#[must_use]
pub fn call(path: &str) -> Vec<u8> {
    // POST and https are in the table that everyone has.
    let mut block = vec![0x83, 0x87];
    for (name, value) in
        [(":path", path), (":authority", "muster"), ("content-type", "application/grpc"), ("te", "trailers")]
    {
        block.extend(literal(name.as_bytes(), value.as_bytes()));
    }
    block
}

/// One header that stays out of the table.
#[must_use]
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(&mut bytes, text.len());
        bytes.extend(text);
    }
    bytes
}

/// The length of a text, as HPACK writes it.
fn length(bytes: &mut Vec<u8>, length: usize) {
    const FITS: usize = 127;
    if length < FITS {
        bytes.push(u8::try_from(length).unwrap());
        return;
    }
    bytes.push(127);
    let mut rest = length - FITS;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// A connection from an address of our choice.
///
/// # Errors
/// If there is none.
pub async fn tcp(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection after its handshake, on which nothing was said.
///
/// # Errors
/// If there is none.
pub async fn tls(
    from: IpAddr,
    to: SocketAddr,
    tls: Arc<ClientConfig>,
) -> io::Result<(ReadHalf<TlsStream<TcpStream>>, WriteHalf<TlsStream<TcpStream>>)> {
    let stream = tcp(from, to).await?;
    let name = ServerName::from(to.ip());
    Ok(tokio::io::split(tokio_rustls::TlsConnector::from(tls).connect(name, stream).await?))
}

/// Says what every client says first: the preface and settings.
///
/// # Errors
/// If nobody listens.
pub async fn begin(write: &mut WriteHalf<TlsStream<TcpStream>>) -> io::Result<()> {
    write.write_all(&[PREFACE.as_slice(), &frame(kind::SETTINGS, 0, 0, &[])].concat()).await?;
    write.flush().await
}

/// The first words of a handshake.
///
/// # Panics
/// If rustls has none.
#[must_use]
pub fn client_hello(to: SocketAddr, tls: Arc<ClientConfig>) -> Vec<u8> {
    let mut connection = ClientConnection::new(tls, ServerName::from(to.ip())).expect("a client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a vector takes everything");
    hello
}
