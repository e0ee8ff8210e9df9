//! The section of the doors, with where its numbers come from.

use super::{section, span};
use crate::config::{Door, Doors, Rates};

/// A key, its value, its meaning.
type Key = (&'static str, String, &'static str);

/// Writes the whole section.
pub(super) fn write(text: &mut String, doors: &Doors) {
    shared(text, doors);
    rates(text, &doors.rates);
    let lives =
        "An operator's program reconnects by itself: half an hour spreads a fleet of them over replicas.";
    let (host, day) = (
        "A stranger needs one call.",
        "A node is asked to move first, and does so within half a heartbeat interval: it is not late for it.",
    );
    door(text, "agents", "For nodes. 18,000 sessions of 30 KiB are 540 MiB.", &doors.agents, day);
    door(text, "enrollment", "For hosts without an identity.", &doors.enrollment, host);
    door(text, "operators", "For operators and services.", &doors.operators, lives);
    let browser = "A browser opens another one by itself.";
    door(text, "fleet-console", "For browsers, if there is a fleet console.", &doors.fleet_console, browser);
}

fn shared(text: &mut String, doors: &Doors) {
    section(
        text,
        "doors",
        "Bounds of the ports. Whoever is turned away for one is counted in muster_door_limits under its name.",
        &[waits(doors), counts(doors)].concat(),
    );
}

fn waits(doors: &Doors) -> Vec<Key> {
    vec![
        (
            "backlog",
            doors.backlog.to_string(),
            "Connections that wait in the kernel: all nodes may come at once. net.core.somaxconn bounds it, too.",
        ),
        (
            "unacknowledged-within",
            span(doors.unacknowledged_within),
            "Until the kernel gives up on bytes that the peer does not acknowledge: two heartbeat intervals.",
        ),
        (
            "descriptors-reserved",
            doors.descriptors_reserved.to_string(),
            "File descriptors kept free for store, logs and console (about 40); what the process may open less than all doors need is taken from the agents' connections.",
        ),
        (
            "hello-within",
            span(doors.hello_within),
            "From the connection to the first words of TLS, which a client says at once: one lost packet and its repetition.",
        ),
        (
            "turn-within",
            span(doors.turn_within),
            "Longest wait for a turn at the handshake: half of what an agent waits for its end.",
        ),
        (
            "turn",
            span(doors.turn),
            "How long a handshake keeps others waiting; then it goes on without its turn. Computing takes 2 ms, the rest is the way to the peer.",
        ),
        (
            "handshake-within",
            span(doors.handshake_within),
            "For a handshake that has its turn: two ways around the world and a lost packet.",
        ),
    ]
}

fn counts(doors: &Doors) -> Vec<Key> {
    vec![
        (
            "first-request-within",
            span(doors.first_request_within),
            "From the handshake to the first request, which every client of ours sends at once.",
        ),
        (
            "grace",
            span(doors.grace),
            "From the asking of a connection to end to its cut: a long call's time.",
        ),
        (
            "leave-within",
            span(doors.leave_within),
            "From the end of a node's session (fenced, removed, silent) to the cut of its connection: time for the last words.",
        ),
        ("header-list", doors.header_list.to_string(), "Bytes of one header list; ours have some hundred."),
        (
            "local-resets",
            doors.local_resets.to_string(),
            "Resets of our making that one connection may cause (MadeYouReset); hyper's own default.",
        ),
        (
            "pending-resets",
            doors.pending_resets.to_string(),
            "Streams that a peer may reset before they were accepted (rapid reset); hyper's own default.",
        ),
        (
            "frames",
            doors.frames.to_string(),
            "HTTP/2 frames of one connection at once after a rest: a call is about four; DATA does not count.",
        ),
        (
            "frames-per-second",
            doors.frames_per_second.to_string(),
            "The same in a second (floods of PING, SETTINGS, resets); who says more is read no faster.",
        ),
        (
            "denials-per-minute",
            doors.denials_per_minute.to_string(),
            "Denials of one caller, or of one address, that are written to the audit; more are only counted.",
        ),
        (
            "denials-per-minute-in-all",
            doors.denials_per_minute_in_all.to_string(),
            "The same for all together: 600 entries of 500 bytes are 430 MB a day at most.",
        ),
    ]
}

fn rates(text: &mut String, rates: &Rates) {
    section(
        text,
        "doors.rates",
        "Calls of one caller in a second, and at once after a rest: a program in a loop must not delay others.",
        &[
            ("reads", rates.reads.to_string(), "Reads of one operator."),
            ("reads-burst", rates.reads_burst.to_string(), "At once."),
            (
                "writes",
                rates.writes.to_string(),
                "Writes of one operator: a tenth of what the store commits.",
            ),
            ("writes-burst", rates.writes_burst.to_string(), "At once."),
            ("sessions", rates.sessions.to_string(), "Sessions and certificates of one node."),
            ("sessions-burst", rates.sessions_burst.to_string(), "At once: a bad network breaks many."),
            (
                "workloads",
                rates.workloads.to_string(),
                "Issues of identities for programs of one node; each can bring many.",
            ),
            (
                "workloads-burst",
                rates.workloads_burst.to_string(),
                "At once: all programs of a host start together.",
            ),
            (
                "renames",
                rates.renames.to_string(),
                "New names that one node gives itself in an hour: each is in the audit for ever.",
            ),
            ("renames-burst", rates.renames_burst.to_string(), "At once."),
            (
                "enrollments",
                rates.enrollments.to_string(),
                "Enrollments from one address: a site behind one address enrolls in minutes, a guesser of 256 bits gets nowhere.",
            ),
            ("enrollments-burst", rates.enrollments_burst.to_string(), "At once."),
            (
                "enrollments-at-once",
                rates.enrollments_at_once.to_string(),
                "Enrollments at work, from everywhere: a crowd of strangers must not starve the nodes.",
            ),
            (
                "watches-per-caller",
                rates.watches_per_caller.to_string(),
                "Open watches of one caller: each holds a task and up to 32 messages of at most 256 KiB.",
            ),
        ],
    );
}

fn door(text: &mut String, name: &str, meaning: &str, door: &Door, age: &str) {
    let age = format!("Age after which a connection is asked to end, spread by a fifth both ways. {age}");
    section(
        text,
        &format!("doors.{name}"),
        meaning,
        &[
            ("connections", door.connections.to_string(), "At once; at the cap nobody is accepted."),
            (
                "per-address",
                door.per_address.to_string(),
                "Of them from one address, counted from the first words on. Nodes may all come from one: a gateway, a balancer.",
            ),
            (
                "per-identity",
                door.per_identity.to_string(),
                "Of them with one identity; the oldest makes room. A node that reconnects has two for a moment.",
            ),
            (
                "silent",
                door.silent.to_string(),
                "Connections that have not said a word of TLS; the oldest makes room, so silence keeps nobody out.",
            ),
            ("silent-per-address", door.silent_per_address.to_string(), "Of them from one address."),
            (
                "half-open",
                door.half_open.to_string(),
                "Handshakes that wait for their peer longer than a turn, 35 KiB each; the oldest makes room. Turns come so often that whoever is half a second away is through before that.",
            ),
            ("half-open-per-address", door.half_open_per_address.to_string(), "Of them from one address."),
            (
                "handshakes",
                door.handshakes.to_string(),
                "Turns at the handshake at once: enough to keep the cores busy, few enough that the first are done before the last give up.",
            ),
            (
                "handshakes-per-address",
                door.handshakes_per_address.to_string(),
                "Of them for one address: half, so that no address has all.",
            ),
            (
                "handshakes-per-second",
                door.handshakes_per_second.to_string(),
                "Handshakes that begin in a second, half a millisecond each; 0: for each core 500 of nodes, 100 of others.",
            ),
            (
                "waiting",
                door.waiting.to_string(),
                "Connections that wait for a turn; one more is closed at once, and comes again later or elsewhere. Not more than begin within turn-within.",
            ),
            (
                "waiting-per-address",
                door.waiting_per_address.to_string(),
                "Of them from one address, so that none has the whole line.",
            ),
            ("age", span(door.age), &age),
            ("streams", door.streams.to_string(), "At once on a connection."),
            (
                "stream-window",
                door.stream_window.to_string(),
                "Bytes that a peer may send ahead on a stream.",
            ),
            (
                "connection-window",
                door.connection_window.to_string(),
                "And on all of a connection's streams.",
            ),
            (
                "send-buffer",
                door.send_buffer.to_string(),
                "Bytes that wait on a stream for a peer that does not read.",
            ),
            (
                "ping",
                span(door.ping),
                "How often a peer that says nothing is asked if it lives; 0s: never. Nodes say so by themselves.",
            ),
        ],
    );
}
