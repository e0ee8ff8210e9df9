use std::{ffi::OsString, future::Future, net::SocketAddr};

use muster_common::clock::Clock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{
    answer::{Answer, Garbage, MAX, read},
    *,
};

const CONFIGURATION: Origin = Origin::Configuration;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let find = |name: &str| variables.iter().find(|(found, _)| *found == name);
    Environment::read("environment", |name| find(name).map(|(_, value)| OsString::from(value)))
}

fn told(rules: &Rules, service: Service, address: &str) -> String {
    rules.route(service, address).to_string()
}

#[test]
fn a_setting_wins_over_the_environment_and_the_environment_over_nothing() {
    let session = |rules: &Rules| told(rules, Service::Session, "cp.example:8443");
    let none = Rules::new(("", Origin::Default), "", environment(&[]));
    assert_eq!(session(&none), "none");
    let variables = [("HTTPS_PROXY", "http://u:hunter2@env:3128"), ("NO_PROXY", "other.example")];
    let by_environment = Rules::new(("", Origin::Default), "", environment(&variables));
    assert_eq!(session(&by_environment), "http://u:***@env:3128 (HTTPS_PROXY, environment)");
    let set = Rules::new(("http://set:1", CONFIGURATION), "", environment(&variables));
    assert_eq!(session(&set), "http://set:1 (setting, configuration file)");
    let lower = environment(&[("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "lower:2")]);
    let rules = Rules::new(("", Origin::Default), "", lower);
    assert_eq!(session(&rules), "http://lower:2 (https_proxy, environment)");
    let empty = environment(&[("https_proxy", ""), ("HTTPS_PROXY", "http://upper:1")]);
    let rules = Rules::new(("", Origin::Default), "", empty);
    assert_eq!(session(&rules), "http://upper:1 (HTTPS_PROXY, environment)");
}

#[test]
fn what_goes_past_the_proxy_is_told_with_the_entry_that_says_so() {
    let variables = [("HTTPS_PROXY", "http://env:3128"), ("NO_PROXY", ".intern.example")];
    let list = "Artifacts, 10.0.0.0/8, 2001:db8::/32";
    let set = Rules::new(("http://set:1", Origin::Lock), list, environment(&variables));
    for (service, address, way) in [
        (Service::Session, "cp.example:8443", "http://set:1 (setting, lock file)"),
        (Service::Enrollment, "cp.example:8444", "http://set:1 (setting, lock file)"),
        (Service::Artifacts, "cp.example:8443", "none (proxy.bypass has Artifacts)"),
        (Service::Session, "10.1.2.3:8443", "none (proxy.bypass has 10.0.0.0/8)"),
        (Service::Session, "[2001:db8::5]:8443", "none (proxy.bypass has 2001:db8::/32)"),
        // The exceptions of the environment are those of its own proxy.
        (Service::Session, "cp.intern.example:8443", "http://set:1 (setting, lock file)"),
    ] {
        assert_eq!(told(&set, service, address), way);
    }
    let both = Rules::new(("", Origin::Default), "Session", environment(&variables));
    assert_eq!(told(&both, Service::Session, "a:1"), "none (proxy.bypass has Session)");
    assert_eq!(told(&both, Service::Artifacts, "x.intern.example:1"), "none (NO_PROXY has .intern.example)");
    assert_eq!(told(&both, Service::Artifacts, "a:1"), "http://env:3128 (HTTPS_PROXY, environment)");
}

#[test]
fn no_proxy_is_read_as_curl_reads_it() {
    for (list, host, past) in [
        ("", "a.example", false),
        ("*", "a.example", true),
        ("*", "10.0.0.1", true),
        (" * ", "a.example", false),
        ("*,b.example", "a.example", false),
        ("*.example", "a.example", false),
        ("a.example", "a.example", true),
        ("A.Example", "a.eXAMPLE", true),
        ("a.example", "b.a.example", true),
        ("a.example", "ba.example", false),
        (".a.example", "a.example", true),
        ("a.example.", "a.example", true),
        ("a.example", "a.example.", true),
        ("b.example a.example", "a.example", true),
        ("b.example, a.example", "a.example", true),
        ("b.example\ta.example,", "a.example", true),
        ("a.example:8443", "a.example", false),
        ("10.0.0.0/8", "10.9.9.9", true),
        ("10.0.0.0/8", "11.9.9.9", false),
        ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.11", false),
        ("0.0.0.0/0", "10.0.0.1", false),
        ("2001:db8::/32", "[2001:db8::1]", true),
        ("2001:db8::1", "[2001:db8:0::1]", true),
        ("[2001:db8::1]", "[2001:db8::1]", false),
        ("example.com", "10.example.com", true),
        ("Session", "a.example", false),
        ("session", "session", true),
        ("http://x, a.example", "a.example", true),
    ] {
        let variables = [("https_proxy", "http://env:1"), ("no_proxy", list)];
        let rules = Rules::new(("", Origin::Default), "", environment(&variables));
        let way = rules.route(Service::Session, &format!("{host}:8443")).way;
        assert_eq!(way == Way::Direct, past, "{list:?} {host}");
    }
}

#[test]
fn a_proxy_that_nobody_can_name_is_no_leave_to_go_past_it() {
    let wrong = environment(&[("HTTPS_PROXY", "socks5://u:hunter2@p:1080")]);
    let route = Rules::new(("", Origin::Default), "", wrong).route(Service::Session, "a:1");
    let error = route.proxy().unwrap_err().to_string();
    assert!(error.contains("is named by HTTPS_PROXY, environment") && error.contains("http://"), "{error}");
    assert!(!format!("{error} {route} {route:?}").contains("hunter2"));
    assert!(route.to_string().starts_with("unusable (HTTPS_PROXY, environment): "), "{route}");
}

#[test]
fn an_answer_is_read_as_soon_as_it_is_whole() {
    let ok = |status, phrase: &str| Ok(Some(Answer { status, phrase: phrase.to_owned() }));
    for (bytes, answer) in [
        (&b""[..], Ok(None)),
        (b"HTT", Ok(None)),
        (b"HTTP/1.1 200", Ok(None)),
        (b"HTTP/1.1 200 OK\r\n", Ok(None)),
        (b"HTTP/1.1 200 OK\r\n\r\n", ok(200, "OK")),
        (b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n", ok(200, "Connection established")),
        (b"HTTP/1.1 200\r\n\r\n", ok(200, "")),
        (b"HTTP/1.1 204 \r\n\r\n", ok(204, "")),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\nbody", ok(407, "Proxy Authentication Required")),
        (b"HTTP/1.1 502 \x1b[31mBad\xff\r\n\r\n", ok(502, "?[31mBad?")),
        (b"HTTP/1.1 200 OK\r\n\r\nx", Err(Garbage::Extra)),
        (b"HTTP/2 200\r\n\r\n", Err(Garbage::Protocol)),
        (b"SSH-2.0-x\r\n", Err(Garbage::Protocol)),
        (b"HTTX", Err(Garbage::Protocol)),
        (b"HTTP/1.1 20\r\n\r\n", Err(Garbage::Status)),
        (b"HTTP/1.1 099 x\r\n\r\n", Err(Garbage::Status)),
        (b"HTTP/1.1 +20 x\r\n\r\n", Err(Garbage::Status)),
        (b"HTTP/1.x 200 x\r\n\r\n", Err(Garbage::Status)),
        (b"HTTP/1.1 2000\r\n\r\n", Err(Garbage::Status)),
        (b"HTTP/1.1  200 x\r\n\r\n", Err(Garbage::Status)),
    ] {
        assert_eq!(read(bytes), answer, "{}", String::from_utf8_lossy(bytes));
    }
    let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"X: y\r\n".repeat(MAX)].concat();
    assert_eq!((read(&endless[..MAX]), read(&endless[..MAX - 1])), (Err(Garbage::Endless), Ok(None)));
    // Also if its end came in the same breath.
    let late = [&endless[..MAX - 1], b"\r\n\r\n".as_slice()].concat();
    assert_eq!(read(&late), Err(Garbage::Endless));
    let Ok(Some(long)) = read(format!("HTTP/1.1 500 {}\r\n\r\n", "x".repeat(9000)).as_bytes()) else {
        panic!()
    };
    assert_eq!(long.phrase.len(), 80);
}

/// A proxy that does as it is told, once, and what came of a connection through it.
async fn through<F: Future<Output = ()>>(
    user: &str,
    proxy: impl FnOnce(TcpStream) -> F,
) -> Result<TcpStream, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = ProxyUrl::parse(&format!("http://{user}{}", listener.local_addr().unwrap())).unwrap();
    let serve = async { proxy(listener.accept().await.unwrap().0).await };
    let (opened, ()) = tokio::join!(open(&url, "cp.example:8443"), serve);
    opened
}

async fn heard(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
    }
    String::from_utf8(bytes).unwrap()
}

/// Answers, and takes what comes until the other side ends.
async fn answering(mut stream: TcpStream, bytes: &[u8]) {
    let _ = heard(&mut stream).await;
    let _ = stream.write_all(bytes).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn a_name_is_told_to_the_proxy_as_it_is_and_the_way_is_open_after_its_answer() {
    let proxy = async |mut stream: TcpStream| {
        let request = heard(&mut stream).await;
        // "u:p@ss" in base64.
        let login = "Proxy-Authorization: Basic dTpwQHNz\r\n";
        let wanted = format!("CONNECT cp.example:8443 HTTP/1.1\r\nHost: cp.example:8443\r\n{login}\r\n");
        assert_eq!(request, wanted);
        // In pieces.
        for byte in b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n" {
            stream.write_all(&[*byte]).await.unwrap();
        }
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await.unwrap();
        stream.write_all(&ping).await.unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = ProxyUrl::parse(&format!("http://u:p%40ss@{}", listener.local_addr().unwrap())).unwrap();
    let use_it = async {
        let mut stream = open(&url, "cp.example:8443").await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        stream.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"ping");
    };
    tokio::join!(use_it, async { proxy(listener.accept().await.unwrap().0).await });
}

#[tokio::test]
async fn each_fault_of_a_proxy_has_its_own_error() {
    let text = async |user: &str, bytes: &'static [u8]| {
        let opened = through(user, |stream| answering(stream, bytes)).await;
        opened.expect_err("no way is open").to_string()
    };
    let wants = text("", b"HTTP/1.1 407 Who are you\r\n\r\n").await;
    assert!(wants.contains("wants a user name and a password (407)"), "{wants}");
    let wrong = text("u:hunter2@", b"HTTP/1.1 407 Who are you\r\n\r\n").await;
    assert!(wrong.contains("does not accept") && !wrong.contains("hunter2"), "{wrong}");
    let refused = text("", b"HTTP/1.1 502 Bad\x07 Gateway\r\n\r\n<html>").await;
    assert!(refused.contains("refuses cp.example:8443: 502 (Bad? Gateway)"), "{refused}");
    assert!(text("", b"220 mail.example ESMTP\r\n").await.contains("does not answer with HTTP/1"));
    assert!(text("", b"HTTP/1.1 200 OK\r\n\r\nmore").await.contains("more than it was asked for"));
    let closed = through("", |mut stream| async move {
        let _ = heard(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200").await.unwrap();
    });
    assert!(matches!(closed.await.unwrap_err(), Error::Ended { .. }));
    let endless = through("", |mut stream| async move {
        let _ = heard(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert!(matches!(endless.await.unwrap_err(), Error::NoProxy { why: Garbage::Endless, .. }));
    let nobody: SocketAddr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = ProxyUrl::parse(&format!("http://u:hunter2@{nobody}")).unwrap();
    let error = open(&url, "cp.example:8443").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && !format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_says_nothing_is_waited_for_and_not_for_ever() {
    let slow = through("", |mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let begun = Clock::System.monotonic();
    assert!(matches!(slow.await.unwrap_err(), Error::Slow { .. }));
    let took = Clock::System.monotonic() - begun;
    assert!(took >= WITHIN && took < WITHIN * 2);
}
