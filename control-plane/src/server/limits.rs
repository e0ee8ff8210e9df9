//! Bounds of a door, as configured, and the names under which those who are
//! turned away are counted: the keys of the configuration.

use std::time::Duration;

use super::DoorName;
use crate::config::Doors;

/// Handshakes in a second for which a core has time. At half a millisecond each, nodes
/// that come back take a quarter of it, and what their sessions then ask for as much again.
/// Strangers, operators and browsers are few, and each of these doors takes a twentieth.
const fn per_core(name: DoorName) -> u32 {
    match name {
        DoorName::Agents => 500,
        DoorName::Enrollment | DoorName::Operators | DoorName::FleetConsole => 100,
    }
}

/// Bounds of one door.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; at the cap nothing more is accepted.
    pub connections: usize,
    /// Of them from one address.
    pub per_address: usize,
    /// Of them with one identity: a node that reconnects holds two for a moment.
    pub per_identity: usize,
    /// Connections that have not said anything yet.
    pub silent: usize,
    /// Of them from one address.
    pub silent_per_address: usize,
    /// Handshakes that go on without their turn.
    pub half_open: usize,
    /// Of them from one address.
    pub half_open_per_address: usize,
    /// Handshakes at once: about what the cores can bear.
    pub handshakes: usize,
    /// Of them from one address.
    pub handshakes_per_address: usize,
    /// Handshakes that begin in a second.
    pub handshakes_per_second: u32,
    /// Connections that wait for a turn at the handshake.
    pub waiting: usize,
    /// Of them from one address.
    pub waiting_per_address: usize,
    /// From the connection to the first words of TLS.
    pub hello_within: Duration,
    /// Longest wait for a turn.
    pub turn_within: Duration,
    /// How long a handshake holds its turn.
    pub turn: Duration,
    /// For a handshake.
    pub handshake_within: Duration,
    /// From the handshake to the first request.
    pub first_request_within: Duration,
    /// Age after which a connection is asked to end, spread by a fifth both ways.
    pub age: Duration,
    /// From the asking to the cut.
    pub grace: Duration,
    /// From the end of a node's session to the cut.
    pub leave_within: Duration,
    /// Streams at once on a connection.
    pub streams: u32,
    /// Flow control window of a stream, in bytes.
    pub stream_window: u32,
    /// Flow control window of a connection, in bytes.
    pub connection_window: u32,
    /// Bytes that wait to be sent on a stream.
    pub send_buffer: usize,
    /// Bytes of one header list.
    pub header_list: u32,
    /// Resets of our making that a peer may cause.
    pub local_resets: usize,
    /// Streams reset before they were accepted.
    pub pending_resets: usize,
    /// HTTP/2 frames of a connection at once.
    pub frames: u32,
    /// HTTP/2 frames of a connection in a second.
    pub frames_per_second: u32,
    /// Until the kernel gives up on bytes that nobody acknowledges.
    pub unacknowledged_within: Duration,
    /// Whether to ask idle peers if they live; nodes say so by themselves.
    pub ping: Option<Duration>,
}

impl Limits {
    /// The bounds of a door, on so many cores.
    #[must_use]
    pub fn of(name: DoorName, doors: &Doors, cores: u32) -> Self {
        let door = match name {
            DoorName::Agents => &doors.agents,
            DoorName::Enrollment => &doors.enrollment,
            DoorName::Operators => &doors.operators,
            DoorName::FleetConsole => &doors.fleet_console,
        };
        Self {
            connections: door.connections,
            per_address: door.per_address,
            per_identity: door.per_identity,
            silent: door.silent,
            silent_per_address: door.silent_per_address,
            half_open: door.half_open,
            half_open_per_address: door.half_open_per_address,
            handshakes: door.handshakes,
            handshakes_per_address: door.handshakes_per_address,
            handshakes_per_second: match door.handshakes_per_second {
                0 => per_core(name).saturating_mul(cores.max(1)),
                set => set,
            },
            waiting: door.waiting,
            waiting_per_address: door.waiting_per_address,
            hello_within: doors.hello_within,
            turn_within: doors.turn_within,
            turn: doors.turn,
            handshake_within: doors.handshake_within,
            first_request_within: doors.first_request_within,
            age: door.age,
            grace: doors.grace,
            leave_within: doors.leave_within,
            streams: door.streams,
            stream_window: door.stream_window,
            connection_window: door.connection_window,
            send_buffer: door.send_buffer,
            header_list: doors.header_list,
            local_resets: doors.local_resets,
            pending_resets: doors.pending_resets,
            frames: doors.frames,
            frames_per_second: doors.frames_per_second,
            unacknowledged_within: doors.unacknowledged_within,
            ping: (!door.ping.is_zero()).then_some(door.ping),
        }
    }
}

/// Fits the doors' connections into the file descriptors that the process may
/// have open. The other ports keep theirs, up to an eighth of all each: agents come
/// again by themselves. A fleet console that is not there takes none.
pub fn fit(doors: &mut Doors, has_fleet_console: bool, descriptors: usize) {
    let eighth = (descriptors / 8).max(1);
    doors.operators.connections = doors.operators.connections.min(eighth);
    doors.enrollment.connections = doors.enrollment.connections.min(eighth);
    doors.fleet_console.connections = doors.fleet_console.connections.min(eighth);
    let pages = if has_fleet_console { doors.fleet_console.connections } else { 0 };
    let taken =
        doors.operators.connections + doors.enrollment.connections + pages + doors.descriptors_reserved;
    doors.agents.connections = doors.agents.connections.min(descriptors.saturating_sub(taken)).max(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(descriptors: usize) -> (usize, usize, usize) {
        let mut doors = Doors::default();
        fit(&mut doors, false, descriptors);
        (doors.agents.connections, doors.enrollment.connections, doors.operators.connections)
    }

    #[test]
    fn handshakes_are_as_many_as_the_cores_bear_or_as_is_set() {
        let mut doors = Doors::default();
        let of = |doors: &Doors, name, cores| Limits::of(name, doors, cores).handshakes_per_second;
        assert_eq!([1, 4, 0].map(|cores| of(&doors, DoorName::Agents, cores)), [500, 2000, 500]);
        let before = of(&doors, DoorName::Operators, 4);
        doors.agents.handshakes_per_second = 7;
        assert_eq!(of(&doors, DoorName::Agents, 4), 7);
        assert_eq!(of(&doors, DoorName::Operators, 4), before, "each door has its own");
    }

    #[test]
    fn the_doors_never_take_the_last_descriptors() {
        assert_eq!(fitted(1_000_000), (18_000, 512, 512));
        assert_eq!(fitted(10_000), (10_000 - 512 - 512 - 64, 512, 512));
        assert_eq!(
            fitted(1024),
            (1024 - 128 - 128 - 64, 128, 128),
            "operators come in on a small machine, too"
        );
        let mut doors = Doors::default();
        fit(&mut doors, true, 10_000);
        assert_eq!(doors.agents.connections, 10_000 - 512 - 512 - 128 - 64, "browsers have theirs");
    }
}
