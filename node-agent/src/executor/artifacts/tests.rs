//! A daemon that was taken over, at the executor's socket.

use std::{os::unix::net::UnixListener, thread};

use muster_common::reason::Reason;

use super::*;
use crate::{
    admission::tests::{Lab, wanted},
    state::Cause,
    verbs::{
        Client,
        messages::{Document, Request},
    },
};

/// A socket where the verbs are done, for one host.
fn listen(lab: &Lab) -> Client {
    let artifacts = Artifacts::new(lab.options(1 << 20));
    let socket = lab.folder.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    // Ends with the process: it waits for the next one for ever.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let Ok(request) = frame::read::<Request>(&stream) else { continue };
            let Some(verb) = request.verb else { continue };
            let said = Some(artifacts.say(verb, &stream));
            let _ = frame::write(&stream, &Answer { said });
        }
    });
    Client::new(&socket)
}

fn artifact(content: &[u8]) -> Artifact {
    let Wanted { target, size, sha256 } = wanted(content);
    Artifact { target, size, sha256: sha256.as_bytes().to_vec() }
}

fn file(content: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, content).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    file
}

#[test]
fn a_daemon_that_was_taken_over_brings_nothing_in_that_is_not_signed() {
    let (lab, evil) = (Lab::new(), Lab::new());
    let client = listen(&lab);
    let reason = |no: crate::verbs::No| no.reason;
    assert_eq!(client.believe(&evil.metadata(9, &[b"evil"])).map_err(reason), Err(Reason::ArtifactUntrusted));
    assert_eq!(client.admit(artifact(b"evil"), &file(b"evil")).map_err(reason), Err(Reason::FetchFailed));
    client.believe(&lab.metadata(2, &[b"good", b"more"])).unwrap();
    assert_eq!(client.believe(&lab.metadata(1, &[b"old"])).map_err(reason), Err(Reason::ArtifactRolledBack));
    assert_eq!(client.admit(artifact(b"evil"), &file(b"evil")).map_err(reason), Err(Reason::ArtifactUnknown));
    // The right name and digest, and other bytes.
    assert_eq!(
        client.admit(artifact(b"good"), &file(b"evil")).map_err(reason),
        Err(Reason::ArtifactUntrusted)
    );
    let lying = Artifact { sha256: artifact(b"evil").sha256, ..artifact(b"good") };
    assert_eq!(client.admit(lying, &file(b"evil")).map_err(reason), Err(Reason::ArtifactUnknown));
    let path = Artifact { target: "../../../etc/muster/root.json".to_owned(), ..artifact(b"good") };
    assert_eq!(client.admit(path, &file(b"good")).map_err(reason), Err(Reason::ArtifactUnknown));
    assert_eq!(client.admitted(artifact(b"good")), Ok(None));
    let about = client.admit(artifact(b"good"), &file(b"good")).unwrap();
    assert!(about.contains("\"extension\""), "{about}");
    assert_eq!(client.admitted(artifact(b"good")), Ok(Some(about)));
}

#[test]
fn a_daemon_that_promises_more_than_it_gives_holds_nobody_up() {
    let lab = Lab::new();
    let client = listen(&lab);
    client.believe(&lab.metadata(1, &[b"good"])).unwrap();
    let no = client.admit(artifact(b"good"), &file(b"go")).unwrap_err();
    assert_eq!(no.cause, Cause::Host, "{no:?}");
    let most = vec![Document { path: "metadata/timestamp.json".to_owned(), size: MOST_CONTENT + 1 }];
    let many = vec![Document::default(); MOST_DOCUMENTS + 1];
    for documents in [most, many] {
        let said = client.with_bytes(&Verb::Believe(Believe { documents }), |_| Ok(()), PIECE).unwrap();
        assert!(matches!(said, Said::Refused(_)), "{said:?}");
    }
    client.admit(artifact(b"good"), &file(b"good")).unwrap();
}
