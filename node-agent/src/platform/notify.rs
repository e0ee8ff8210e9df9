//! What systemd is told of a service by the service itself: that it is ready, and that it
//! still gets on. Nothing happens where nobody listens.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

/// Says that the service is ready.
pub fn ready() {
    say("READY=1");
}

/// Says that it goes down.
pub fn stopping() {
    say("STOPPING=1");
}

/// Says that it gets on.
pub fn alive() {
    say("WATCHDOG=1");
}

/// How often at least it must say that it gets on. `None`: nobody waits for it.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let pid = env::var("WATCHDOG_PID").ok();
    if pid.is_some_and(|pid| pid.parse() != Ok(std::process::id())) {
        return None; // it is meant for another process
    }
    interval(&env::var("WATCHDOG_USEC").ok()?)
}

fn interval(microseconds: &str) -> Option<Duration> {
    microseconds.parse().ok().filter(|microseconds| *microseconds > 0).map(Duration::from_micros)
}

fn say(words: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = path.as_encoded_bytes();
    let address = match bytes {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let told = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(words.as_bytes(), &address));
    if let Err(error) = told {
        tracing::warn!(%error, "systemd could not be told {words}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_microseconds_and_none_is_none() {
        assert_eq!(interval("30000000"), Some(Duration::from_secs(30)));
        assert_eq!((interval("0"), interval(""), interval("soon")), (None, None, None));
    }
}
