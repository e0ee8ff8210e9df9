use super::*;

fn load(text: &str) -> Result<Config, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

fn fresh() -> Config {
    Config::new("fleet.example".parse().unwrap(), "/var/lib/muster".into())
}

#[test]
fn the_written_file_is_the_defaults_again() {
    let text = render(&fresh());
    let config = load(&text).unwrap();
    assert_eq!(render(&config), text);
    assert_eq!(config.session, Session::default());
    assert_eq!(config.listen, Listen::default());
    let minimal = load("trust-domain = \"fleet.example\"\nstate-dir = \"/var/lib/muster\"\n").unwrap();
    assert_eq!(render(&minimal), text, "what is left out has the same values as what is written");
}

#[test]
fn an_unknown_key_is_named() {
    let text = format!("{}colour = \"red\"\n", render(&fresh()));
    let error = load(&text).unwrap_err();
    let chain = muster_common::error_chain::Chain(&error).to_string();
    assert!(chain.contains("colour"), "{chain}");
}

#[test]
fn all_problems_are_told_at_once() {
    let mut config = fresh();
    config.session.heartbeat_interval = Duration::from_millis(1);
    config.identity.node_certificate_ttl = Duration::from_secs(1);
    let Err(Error::Invalid { problems, .. }) = load(&render(&config)) else { panic!("it must be refused") };
    assert!(problems.iter().any(|p| p.starts_with("session.heartbeat-interval")), "{problems:?}");
    assert!(problems.iter().any(|p| p.starts_with("identity.node-certificate-ttl")), "{problems:?}");
}

#[test]
fn one_key_of_a_door_leaves_the_others_as_they_are_there() {
    let minimal = "trust-domain = \"fleet.example\"\nstate-dir = \"/var/lib/muster\"\n";
    let config = load(&format!("{minimal}[doors.agents]\nper-identity = 5\n")).unwrap();
    let expected = Door { per_identity: 5, ..fresh().doors.agents };
    assert_eq!(config.doors.agents, expected);
    assert_eq!(config.doors.operators, fresh().doors.operators);
    let unknown = load(&format!("{minimal}[doors.agents]\ncolour = 5\n")).unwrap_err();
    assert!(muster_common::error_chain::Chain(&unknown).to_string().contains("colour"));
    let Err(Error::Invalid { problems, .. }) = load(&format!("{minimal}[doors.operators]\nsilent = 0\n"))
    else {
        panic!("it must be refused")
    };
    assert!(problems[0].starts_with("doors.operators.silent"), "{problems:?}");
}

#[test]
fn issuers_and_host_authorities_are_written_as_they_were_read() {
    let issuer = r#"
[[enrollment.oidc]]
name = "ci"
issuer = "https://issuer.example"
audience = "muster"
jwks = "/etc/muster/keys.json"
claims = { ref = ["main", "next"], "https://a/b" = "c" }
labels = { repo = "repository" }
static-labels = { role = "runner" }

[[enrollment.host-ca]]
name = "corp"
ca-file = "/etc/muster/corp.pem"
crl-file = "/etc/muster/corp.crl"
dns = ["*.prod.example", "one.example"]
uri = ["spiffe://corp/host/*"]
name-label = "host"
static-labels = { site = "berlin" }
"#;
    let minimal = "trust-domain = \"fleet.example\"\nstate-dir = \"/var/lib/muster\"\n";
    let config = load(&format!("{minimal}{issuer}")).unwrap();
    let again = load(&render(&config)).unwrap();
    assert_eq!(again.enrollment, config.enrollment);
    assert_eq!(again.enrollment.oidc[0].claims["ref"].all(), ["main", "next"]);
    let unsafe_place = issuer.replace("/etc/muster/keys.json", "http://issuer.example/keys");
    let Err(Error::Invalid { problems, .. }) = load(&format!("{minimal}{unsafe_place}")) else {
        panic!("it must be refused")
    };
    assert!(problems[0].starts_with("enrollment.oidc \"ci\": jwks"), "{problems:?}");
}

#[test]
fn a_fleet_console_is_there_at_its_address_and_nowhere_unless_one_is_set() {
    let minimal = "trust-domain = \"fleet.example\"\nstate-dir = \"/var/lib/muster\"\n";
    assert_eq!(load(minimal).unwrap().fleet_console.listen, None);
    let with = |keys: &str| load(&format!("{minimal}[fleet-console]\n{keys}"));
    assert_eq!(with("listen = \"\"\n").unwrap().fleet_console, FleetConsole::default());
    let set = with("listen = \"0.0.0.0:8446\"\n").unwrap();
    assert_eq!(set.fleet_console.listen, Some("0.0.0.0:8446".parse().unwrap()));
    assert_eq!(load(&render(&set)).unwrap().fleet_console, set.fleet_console);
    let error = with("listen = \"8446\"\n").unwrap_err();
    assert!(muster_common::error_chain::Chain(&error).to_string().contains("write IP:PORT"));
    let Err(Error::Invalid { problems, .. }) = with("session-ttl = \"1s\"\nsample-every = \"2h\"\n") else {
        panic!("it must be refused")
    };
    assert!(problems[0].starts_with("fleet-console.session-ttl is 1s"), "{problems:?}");
    assert!(problems[1].starts_with("fleet-console.sample-every is 2h"), "{problems:?}");
}
