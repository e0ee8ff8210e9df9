//! The file that `init` writes and `config print` shows: every key, its value,
//! and what it means.

mod doors;
mod host_ca;
mod oidc;

use std::{fmt::Write as _, time::Duration};

use muster_common::telemetry::Format;

use super::Config;

/// A configuration as a commented file.
#[must_use]
pub fn render(config: &Config) -> String {
    let mut text = String::from(
        "# Muster control plane. Unknown keys are refused; `muster-control-plane config check` tells.\n",
    );
    top(&mut text, config);
    section(&mut text, "store", "Where what is known is kept.", &config.store.keys());
    section(
        &mut text,
        "listen",
        "Ports. Port 0 lets the system choose; STATE-DIR/addresses.json tells which.",
        &[
            ("agents", quoted(config.listen.agents), "For nodes: mTLS."),
            ("enrollment", quoted(config.listen.enrollment), "For hosts without an identity: TLS."),
            ("operators", quoted(config.listen.operators), "For operators and services: mTLS."),
            ("console", quoted(config.listen.console), "For probes and scrapers: plain HTTP, read only."),
        ],
    );
    let public = &config.public;
    section(
        &mut text,
        "public",
        "How others reach these ports.",
        &[
            (
                "session-addresses",
                list(&public.session_addresses),
                "host:port told to agents. Empty: the first server name with the port of listen.agents.",
            ),
            (
                "enrollment-addresses",
                list(&public.enrollment_addresses),
                "host:port in join strings. Empty: the same with the port of listen.enrollment.",
            ),
            ("server-names", list(&public.server_names), "DNS names in the server's certificate."),
            ("server-ips", list(&public.server_ips), "IP addresses in the server's certificate."),
        ],
    );
    let identity = &config.identity;
    section(
        &mut text,
        "identity",
        "How long certificates live.",
        &[
            (
                "node-certificate-ttl",
                span(identity.node_certificate_ttl),
                "Of a node; renewed at half of it. 10s to 365 days.",
            ),
            (
                "operator-certificate-ttl",
                span(identity.operator_certificate_ttl),
                "Of an operator or service. 10s to 365 days.",
            ),
            (
                "server-certificate-ttl",
                span(identity.server_certificate_ttl),
                "Of the control plane; renewed at half of it. 10s to 365 days.",
            ),
            (
                "renew-spread",
                span(identity.renew_spread),
                "Renewals that the control plane asks for, after a change of its authority, are spread over this time. At most 7 days.",
            ),
            (
                "recover-within",
                quoted(identity.recover_within),
                "How long after the end of its certificate a node may come back by proof of its key; or \"unlimited\".",
            ),
            (
                "recover-limit",
                identity.recover_limit.to_string(),
                "How often it may, before a person must allow more (NodesService.AllowRecovery).",
            ),
        ],
    );
    let session = &config.session;
    section(
        &mut text,
        "session",
        "The rhythm of nodes, told to them when they connect.",
        &[
            (
                "heartbeat-interval",
                span(session.heartbeat_interval),
                "Between heartbeats. 200ms to 1 day. A node is late after 1.5 and offline after 2.5 of it.",
            ),
            (
                "heartbeat-jitter",
                span(session.heartbeat_jitter),
                "Each heartbeat is spread by up to this, both ways. At most half the interval.",
            ),
            (
                "reconnect-min",
                span(session.reconnect_min),
                "First wait of an agent before it tries a broken session again. 50ms to 1 minute.",
            ),
            ("reconnect-max", span(session.reconnect_max), "Longest such wait. At most 1 hour."),
            (
                "output-limit",
                session.output_limit.to_string(),
                "Bytes of output kept of one command; the rest is counted and cut. At most 3 MiB.",
            ),
            (
                "operation-output-limit",
                session.operation_output_limit.to_string(),
                "Bytes of output kept of all commands of one operation; one may ask for less. At most 64 GiB.",
            ),
        ],
    );
    section(
        &mut text,
        "enrollment",
        "How hosts become nodes.",
        &[
            (
                "enabled",
                config.enrollment.enabled.to_string(),
                "Whether new nodes may come. The port stays open either way.",
            ),
            (
                "recover",
                config.enrollment.recover.to_string(),
                "Whether nodes may come back after their certificate has run out.",
            ),
            (
                "join-requests",
                config.enrollment.join_requests.to_string(),
                "Hosts that may wait for approval at once, those denied until their token ends included.",
            ),
            (
                "join-requests-per-token",
                config.enrollment.join_requests_per_token.to_string(),
                "Of them with one token: who holds one keeps no other's hosts out.",
            ),
            (
                "hosts-may-rename",
                config.enrollment.hosts_may_rename.to_string(),
                "Whether a host may give its node another display name; operators always may.",
            ),
        ],
    );
    oidc::write(&mut text, &config.enrollment.oidc);
    host_ca::write(&mut text, &config.enrollment.host_ca);
    doors::write(&mut text, &config.doors);
    let retention = &config.retention;
    section(
        &mut text,
        "retention",
        "What is kept, and how long; a worker takes the rest away in small steps.",
        &[
            (
                "revisions",
                retention.revisions.to_string(),
                "Newest revisions of the change feed that can be resumed from. A watch that was away longer starts anew. At least 10.",
            ),
            (
                "operations",
                span(retention.operations),
                "How long an operation that ended is kept with its commands, their output and its request id. At least 1s.",
            ),
            (
                "operations-at-most",
                retention.operations_at_most.to_string(),
                "Ended operations that are kept at most: beyond, those that ended first go before their time. At least 1.",
            ),
            ("events", span(retention.events), "How long an event is kept. At least 1s."),
            (
                "events-at-most",
                retention.events_at_most.to_string(),
                "Events that are kept at most, the newest ones. A watch that was away longer starts anew. At least 1.",
            ),
            (
                "schedule-fires",
                retention.schedule_fires.to_string(),
                "What became of the last times of each schedule; those older than `operations` go, too. At least 10.",
            ),
            ("every", span(retention.every), "How often the worker looks. 1s to 1 day."),
        ],
    );
    section(
        &mut text,
        "authority",
        "The certificate authority, if it is one of your own.",
        &config.authority.keys(),
    );
    section(&mut text, "audit", "How often the audit is signed.", &config.audit.keys());
    section(
        &mut text,
        "blobs",
        "Bytes that operators upload and bundles refer to, known by their digest.",
        &config.blobs.keys(),
    );
    section(
        &mut text,
        "artifacts",
        "The signed repository of extensions and releases.",
        &config.artifacts.keys(),
    );
    section(
        &mut text,
        "secrets",
        "Contents of bundles that are marked protected: the store has them encrypted.",
        &config.secrets.keys(),
    );
    section(
        &mut text,
        "workload",
        "Identities for programs on hosts, as SPIFFE has them.",
        &config.workload.keys(),
    );
    section(
        &mut text,
        "fleet-console",
        "Pages about the fleet for a browser, read only: TLS, with an operator's certificate or a one-time link.",
        &config.fleet_console.keys(),
    );
    section(&mut text, "traces", "What becomes of a call, as OpenTelemetry has it.", &config.traces.keys());
    let format = match config.log.format {
        Format::Text => "text",
        Format::Json => "json",
    };
    section(
        &mut text,
        "log",
        "What is logged, on standard error.",
        &[
            (
                "filter",
                quoted(&config.log.filter),
                "A level, or levels by module: \"info,muster_control_plane::session=debug\".",
            ),
            ("format", quoted(format), "\"text\" or \"json\"."),
        ],
    );
    text
}

fn top(text: &mut String, config: &Config) {
    let keys = [
        (
            "trust-domain",
            quoted(&config.trust_domain),
            "Under which all names stand. Fixed when the installation was made.",
        ),
        (
            "state-dir",
            quoted(config.state_dir.display()),
            "Where everything is kept: the store, the certificate authority, operators' certificates.",
        ),
        ("replica", quoted(&config.replica), "Name of this process among others on one store."),
        ("drain-within", span(config.drain_within), "Time for finishing work after SIGTERM."),
    ];
    for (key, value, meaning) in keys {
        entry(text, key, &value, meaning);
    }
}

fn section(text: &mut String, name: &str, meaning: &str, keys: &[(&str, String, &str)]) {
    let _ = write!(text, "\n# {meaning}\n[{name}]\n");
    for (key, value, meaning) in keys {
        entry(text, key, value, meaning);
    }
}

fn entry(text: &mut String, key: &str, value: &str, meaning: &str) {
    let _ = write!(text, "# {meaning} Since 0.1.\n{key} = {value}\n");
}

pub(super) fn quoted(value: impl std::fmt::Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}

pub(super) fn span(value: Duration) -> String {
    quoted(humantime::format_duration(value))
}

fn list(values: &[impl ToString]) -> String {
    let values: Vec<String> = values.iter().map(|value| quoted(value.to_string())).collect();
    format!("[{}]", values.join(", "))
}
