//! Bounds of a door, with where their numbers come from.

use std::time::Duration;

use super::DoorName;

/// Bounds of one door.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; at the cap nothing more is accepted.
    pub connections: usize,
    /// Of them from one address.
    pub per_address: usize,
    /// Of them with one identity: a node that reconnects holds two for a moment.
    pub per_identity: usize,
    /// Handshakes at once: about what the cores can bear.
    pub handshakes: usize,
    /// For a handshake.
    pub handshake_within: Duration,
    /// From the handshake to the first request.
    pub first_request_within: Duration,
    /// Age after which a connection is asked to end, spread by a fifth both ways.
    pub age: Duration,
    /// From the asking to the cut.
    pub grace: Duration,
    /// Streams at once on a connection.
    pub streams: u32,
    /// Flow control window of a stream, in bytes.
    pub stream_window: u32,
    /// Flow control window of a connection, in bytes.
    pub connection_window: u32,
    /// Bytes that wait to be sent on a stream.
    pub send_buffer: usize,
    /// Whether to ask idle peers if they live; nodes say so by themselves.
    pub ping: Option<Duration>,
}

/// Of one header list.
pub(super) const HEADER_LIST: u32 = 16 * 1024;
/// Resets of its own making that a peer may cause (MadeYouReset); hyper's own default.
pub(super) const LOCAL_RESETS: usize = 1024;
/// Streams reset before they were accepted (rapid reset); hyper's own default.
pub(super) const PENDING_RESETS: usize = 20;

impl Limits {
    /// The bounds of a door.
    #[must_use]
    pub fn of(door: DoorName) -> Self {
        let base = Self {
            connections: 512,
            per_address: 128,
            per_identity: 64,
            handshakes: 8,
            handshake_within: Duration::from_secs(5),
            first_request_within: Duration::from_secs(5),
            age: Duration::from_secs(30 * 60),
            grace: Duration::from_secs(60),
            streams: 64,
            stream_window: 256 * 1024,
            connection_window: 512 * 1024,
            send_buffer: 64 * 1024,
            ping: Some(Duration::from_secs(30)),
        };
        match door {
            DoorName::Operators => base,
            DoorName::Enrollment => Self { streams: 4, ping: None, age: Duration::from_secs(60), ..base },
            // A session lives as long as its connection: it is moved by Reconnect, not by age.
            DoorName::Agents => Self {
                connections: 18_000,
                per_address: 18_000,
                per_identity: 3,
                handshakes: 16,
                age: Duration::from_secs(24 * 3600),
                streams: 32,
                stream_window: 64 * 1024,
                connection_window: 128 * 1024,
                send_buffer: 16 * 1024,
                ping: None,
                ..base
            },
        }
    }
}
