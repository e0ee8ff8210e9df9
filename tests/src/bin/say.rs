//! Says bytes to a socket of this host and prints what comes back, both in hex: for tests
//! that attack the executor as the user of the daemon.
//! `muster-say SOCKET HEX [TIMES]`; with `hold` in the place of HEX, TIMES connections are
//! opened and kept until standard input ends.
#![allow(clippy::print_stdout)]

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    time::Duration,
};

/// Whoever does not answer within this will not.
const ANSWER: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "SOCKET HEX|hold [TIMES]");
    let [socket, said, rest @ ..] = words.as_slice() else { return Err(wrong()) };
    let times: usize = rest.first().map_or(Ok(1), |times| times.parse()).map_err(|_| wrong())?;
    if said == "hold" {
        let held: Vec<_> = (0..times).map(|_| UnixStream::connect(socket)).collect();
        println!("{}", held.iter().filter(|one| one.is_ok()).count());
        return io::stdin().read_to_end(&mut Vec::new()).map(drop);
    }
    let bytes = hex::decode(said).map_err(|_| wrong())?;
    for _ in 0..times {
        match say(socket, &bytes) {
            Ok(heard) => println!("{}", hex::encode(heard)),
            Err(error) => println!("error {:?}", error.kind()),
        }
    }
    Ok(())
}

fn say(socket: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    // What it does not want to hear to the end it answers all the same.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Err(error) if heard.is_empty() && error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(heard),
    }
}
