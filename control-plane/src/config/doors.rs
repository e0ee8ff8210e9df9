//! Bounds of the doors. Every number is somebody's to turn; the template says
//! where each comes from.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Bounds of the ports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Doors {
    /// Connections that wait in the kernel.
    pub backlog: u32,
    /// Until the kernel gives up on bytes that nobody acknowledges.
    #[serde(with = "humantime_serde")]
    pub unacknowledged_within: Duration,
    /// File descriptors kept free for the store, logs and the console.
    pub descriptors_reserved: usize,
    /// From the connection to the first words of TLS.
    #[serde(with = "humantime_serde")]
    pub hello_within: Duration,
    /// Longest wait for a turn at the handshake.
    #[serde(with = "humantime_serde")]
    pub turn_within: Duration,
    /// How long a handshake holds its turn; it goes on without one.
    #[serde(with = "humantime_serde")]
    pub turn: Duration,
    /// For the handshake itself.
    #[serde(with = "humantime_serde")]
    pub handshake_within: Duration,
    /// From the handshake to the first request.
    #[serde(with = "humantime_serde")]
    pub first_request_within: Duration,
    /// From the asking of a connection to end to its cut.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// From the end of a node's session to the cut of its connection.
    #[serde(with = "humantime_serde")]
    pub leave_within: Duration,
    /// Bytes of one header list.
    pub header_list: u32,
    /// Resets of our making that a peer may cause.
    pub local_resets: usize,
    /// Streams reset before they were accepted.
    pub pending_resets: usize,
    /// HTTP/2 frames of one connection at once after a rest.
    pub frames: u32,
    /// HTTP/2 frames of one connection in a second.
    pub frames_per_second: u32,
    /// Denials of one caller that are written down in a minute.
    pub denials_per_minute: u32,
    /// Denials of all callers that are written down in a minute.
    pub denials_per_minute_in_all: u32,
    /// Calls of one caller.
    pub rates: Rates,
    /// For nodes.
    #[serde(deserialize_with = "agents")]
    pub agents: Door,
    /// For hosts without an identity.
    #[serde(deserialize_with = "enrollment")]
    pub enrollment: Door,
    /// For operators and services.
    #[serde(deserialize_with = "operators")]
    pub operators: Door,
    /// For browsers.
    #[serde(deserialize_with = "fleet_console")]
    pub fleet_console: Door,
}

/// Bounds of one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Door {
    /// Connections at once.
    pub connections: usize,
    /// Of them from one address.
    pub per_address: usize,
    /// Of them with one identity.
    pub per_identity: usize,
    /// Connections that have not said anything yet.
    pub silent: usize,
    /// Of them from one address.
    pub silent_per_address: usize,
    /// Handshakes that go on without their turn.
    pub half_open: usize,
    /// Of them from one address.
    pub half_open_per_address: usize,
    /// Handshakes at once.
    pub handshakes: usize,
    /// Of them from one address.
    pub handshakes_per_address: usize,
    /// Handshakes that begin in a second; 0: as many as the cores bear.
    pub handshakes_per_second: u32,
    /// Connections that wait for a turn at the handshake.
    pub waiting: usize,
    /// Of them from one address.
    pub waiting_per_address: usize,
    /// Age after which a connection is asked to end.
    #[serde(with = "humantime_serde")]
    pub age: Duration,
    /// Streams at once on a connection.
    pub streams: u32,
    /// Flow control window of a stream, in bytes.
    pub stream_window: u32,
    /// Flow control window of a connection, in bytes.
    pub connection_window: u32,
    /// Bytes that wait to be sent on a stream.
    pub send_buffer: usize,
    /// How often idle peers are asked if they live; zero: never.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
}

/// How often and how much one caller may call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rates {
    /// Reads in a second.
    pub reads: u32,
    /// Reads at once after a rest.
    pub reads_burst: u32,
    /// Writes in a second.
    pub writes: u32,
    /// Writes at once after a rest.
    pub writes_burst: u32,
    /// Sessions and certificates of one node in a second.
    pub sessions: u32,
    /// Of them at once after a rest.
    pub sessions_burst: u32,
    /// Issues of programs' identities to one node in a second.
    pub workloads: u32,
    /// Of them at once after a rest.
    pub workloads_burst: u32,
    /// New names that one node gives itself in an hour.
    pub renames: u32,
    /// Of them at once after a rest.
    pub renames_burst: u32,
    /// Enrollments from one address in a second.
    pub enrollments: u32,
    /// Of them at once after a rest.
    pub enrollments_burst: u32,
    /// Enrollments at work at once, from everywhere.
    pub enrollments_at_once: usize,
    /// Watches of one caller at once.
    pub watches_per_caller: usize,
}

impl Default for Doors {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            backlog: 4096,
            unacknowledged_within: seconds(30),
            descriptors_reserved: 64,
            hello_within: seconds(5),
            turn_within: seconds(10),
            turn: Duration::from_millis(100),
            handshake_within: seconds(5),
            first_request_within: seconds(5),
            grace: seconds(60),
            leave_within: seconds(5),
            header_list: 16 * 1024,
            local_resets: 1024,
            pending_resets: 20,
            frames: 4000,
            frames_per_second: 2000,
            denials_per_minute: 10,
            denials_per_minute_in_all: 600,
            rates: Rates::default(),
            agents: Door::agents(),
            enrollment: Door::enrollment(),
            operators: Door::operators(),
            fleet_console: Door::fleet_console(),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            reads: 500,
            reads_burst: 1000,
            writes: 200,
            writes_burst: 1000,
            sessions: 1,
            sessions_burst: 20,
            workloads: 5,
            workloads_burst: 50,
            renames: 6,
            renames_burst: 10,
            enrollments: 50,
            enrollments_burst: 500,
            enrollments_at_once: 32,
            watches_per_caller: 32,
        }
    }
}

impl Door {
    fn operators() -> Self {
        Self {
            connections: 512,
            per_address: 128,
            per_identity: 64,
            silent: 128,
            silent_per_address: 32,
            half_open: 64,
            half_open_per_address: 32,
            handshakes: 8,
            handshakes_per_address: 4,
            handshakes_per_second: 0,
            waiting: 256,
            waiting_per_address: 64,
            age: Duration::from_secs(30 * 60),
            streams: 64,
            stream_window: 256 * 1024,
            connection_window: 512 * 1024,
            send_buffer: 64 * 1024,
            ping: Duration::from_secs(30),
        }
    }

    fn enrollment() -> Self {
        Self { streams: 4, ping: Duration::ZERO, age: Duration::from_secs(60), ..Self::operators() }
    }

    fn fleet_console() -> Self {
        // As many with one identity as on the operators' port: those of both are counted together.
        Self { connections: 128, per_address: 64, ..Self::operators() }
    }

    fn agents() -> Self {
        Self {
            connections: 18_000,
            per_address: 18_000,
            per_identity: 4,
            silent: 4096,
            silent_per_address: 1024,
            half_open: 256,
            half_open_per_address: 128,
            handshakes: 16,
            handshakes_per_address: 8,
            handshakes_per_second: 0,
            waiting: 4096,
            waiting_per_address: 3072,
            age: Duration::from_secs(24 * 3600),
            streams: 32,
            stream_window: 64 * 1024,
            connection_window: 128 * 1024,
            send_buffer: 16 * 1024,
            ping: Duration::ZERO,
        }
    }
}

impl Doors {
    /// What cannot be, each as a sentence.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, door) in self.each() {
            let mut at_least = |key: &str, value: usize, least: usize| {
                if value < least {
                    problems.push(format!("doors.{name}.{key} is {value}; it must be at least {least}"));
                }
            };
            at_least("connections", door.connections, 1);
            at_least("per-address", door.per_address, 1);
            at_least("per-identity", door.per_identity, 1);
            at_least("silent", door.silent, 1);
            at_least("silent-per-address", door.silent_per_address, 1);
            at_least("half-open", door.half_open, 1);
            at_least("half-open-per-address", door.half_open_per_address, 1);
            at_least("handshakes", door.handshakes, 1);
            at_least("handshakes-per-address", door.handshakes_per_address, 1);
            at_least("waiting", door.waiting, 1);
            at_least("waiting-per-address", door.waiting_per_address, 1);
            at_least("streams", door.streams as usize, 1);
            at_least("stream-window", door.stream_window as usize, 16 * 1024);
            at_least("connection-window", door.connection_window as usize, 16 * 1024);
            at_least("send-buffer", door.send_buffer, 1024);
            for (key, window) in
                [("stream-window", door.stream_window), ("connection-window", door.connection_window)]
            {
                if window > i32::MAX.cast_unsigned() {
                    problems.push(format!("doors.{name}.{key} is {window}; HTTP/2 has at most {}", i32::MAX));
                }
            }
        }
        for (key, frames) in [("frames", self.frames), ("frames-per-second", self.frames_per_second)] {
            if frames == 0 {
                problems.push(format!("doors.{key} is 0; it must be at least 1"));
            }
        }
        let spans = [
            ("unacknowledged-within", self.unacknowledged_within),
            ("hello-within", self.hello_within),
            ("turn-within", self.turn_within),
            ("handshake-within", self.handshake_within),
            ("first-request-within", self.first_request_within),
            ("agents.age", self.agents.age),
            ("enrollment.age", self.enrollment.age),
            ("operators.age", self.operators.age),
            ("fleet-console.age", self.fleet_console.age),
        ];
        for (key, _) in spans.into_iter().filter(|(_, span)| span.is_zero()) {
            problems.push(format!("doors.{key} is nothing; it must be more"));
        }
        problems
    }

    fn each(&self) -> [(&'static str, &Door); 4] {
        [
            ("agents", &self.agents),
            ("enrollment", &self.enrollment),
            ("operators", &self.operators),
            ("fleet-console", &self.fleet_console),
        ]
    }
}

fn agents<'de, D: Deserializer<'de>>(given: D) -> Result<Door, D::Error> {
    over(&Door::agents(), given)
}

fn enrollment<'de, D: Deserializer<'de>>(given: D) -> Result<Door, D::Error> {
    over(&Door::enrollment(), given)
}

fn operators<'de, D: Deserializer<'de>>(given: D) -> Result<Door, D::Error> {
    over(&Door::operators(), given)
}

fn fleet_console<'de, D: Deserializer<'de>>(given: D) -> Result<Door, D::Error> {
    over(&Door::fleet_console(), given)
}

/// The keys that are given, over this door's own defaults.
fn over<'de, D: Deserializer<'de>>(default: &Door, given: D) -> Result<Door, D::Error> {
    let mut all = toml::Table::try_from(default).map_err(D::Error::custom)?;
    all.extend(toml::Table::deserialize(given)?);
    all.try_into().map_err(D::Error::custom)
}
