//! Orders that the executor refuses as they begin: the lock file was changed after they were
//! let through.

use std::{io, os::unix::net::UnixListener, thread};

use super::*;
use crate::verbs::{
    Client, Hands, Runs, frame,
    messages::{Answer, Request, Said},
};

const WHY: &str = "profile monitor, locks.toml line 3";

/// An executor that refuses one verb.
fn refusing(folder: &std::path::Path) -> (Client, thread::JoinHandle<()>) {
    let socket = folder.join("executor.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let answering = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        frame::read::<Request>(&stream).unwrap();
        frame::write(&stream, &Answer { said: Some(Said::Locked(WHY.to_owned())) }).unwrap();
    });
    (Client::new(&socket), answering)
}

fn is_denied(report: &Report) {
    assert_eq!((report.state, report.reason), (CommandState::Denied, Some(Reason::LocalLock)));
    assert_eq!(report.message, WHY);
}

#[tokio::test]
async fn what_the_executor_refuses_as_it_begins_is_denied_and_has_not_failed() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let order = ticket("run-script", Vec::new());
    let voice = voice::Voice::new(order.id, room.ledger.clone(), Arc::default(), Clock::System, 1);
    let args = types::RunScript { script: "true".to_owned(), ..Default::default() };
    let kind = kinds::parse("run-script", &args.encode_to_vec()).unwrap();
    let (client, answering) = refusing(room.folder.path());
    let runs = Some(Runs::Executor(client));
    let options = Options { runs, ..options(room.folder.path(), room.server_time.clone()) };
    let run = kinds::run(kind, &order, &options, &voice, std::future::pending());
    is_denied(&tokio::time::timeout(Duration::from_secs(20), run).await.unwrap());
    answering.join().unwrap();

    // A boot, an act on a unit: any verb of the executor.
    let (client, answering) = refusing(room.folder.path());
    let refused = Hands::Executor(client).reboot().await.unwrap_err();
    answering.join().unwrap();
    is_denied(&kinds::not_begun(&refused, "it could not", &voice));
    let failed = kinds::not_begun(&io::Error::other("no"), "it could not", &voice);
    assert_eq!((failed.state, failed.reason), (CommandState::Failed, Some(Reason::StartFailed)));
    room.end().await;
}
