//! How words go over the socket: four bytes of length, then the message. A message that is
//! too long, or not exactly as it would be written here, ends the conversation.

use std::io::{self, Read, Write};

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::messages::{Answer, Failed, Nothing, Request, Said, Verb};

/// Longest message: the text of a script, its arguments and its environment fit.
pub const LONGEST: usize = 512 * 1024;
/// Most bytes that follow a request: what a place keeps at most.
pub const MOST_CONTENT: u64 = 16 * 1024 * 1024;

/// Failures that mean something to who asked; the rest is the first.
pub const KINDS: [io::ErrorKind; 10] = [
    io::ErrorKind::Other,
    io::ErrorKind::NotFound,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::InvalidData,
    io::ErrorKind::NotADirectory,
    io::ErrorKind::StorageFull,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::TimedOut,
];

/// The bytes of a message.
///
/// # Errors
/// If it is too long.
pub fn encode(message: &impl Message) -> io::Result<Vec<u8>> {
    let length = message.encoded_len();
    if length > LONGEST {
        return Err(invalid(format!("a message of {length} bytes; {LONGEST} are the most")));
    }
    let mut bytes = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.extend(message.encode_to_vec());
    Ok(bytes)
}

/// The length that a message begins with.
///
/// # Errors
/// If it is too long.
pub fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(head) as usize;
    if length > LONGEST {
        return Err(invalid(format!("a message of {length} bytes; {LONGEST} are the most")));
    }
    Ok(length)
}

/// Reads a message. What it would not write so itself it does not read: no unknown words,
/// no second way to say the same.
///
/// # Errors
/// If the bytes are no such message.
pub fn decode<M: Message + Default>(bytes: &[u8]) -> io::Result<M> {
    let message = M::decode(bytes).map_err(|error| invalid(error.to_string()))?;
    if message.encode_to_vec() == bytes {
        Ok(message)
    } else {
        Err(invalid("a message with words that are not known here, or in another order".to_owned()))
    }
}

/// Reads the verb of a request.
///
/// # Errors
/// If there is none.
pub fn verb(bytes: &[u8]) -> io::Result<Verb> {
    decode::<Request>(bytes)?.verb.ok_or_else(|| invalid("a request without a verb".to_owned()))
}

/// Reads a message from a pipe that may be waited for.
///
/// # Errors
/// From the pipe, and of the message.
pub fn read<M: Message + Default>(mut from: impl Read) -> io::Result<M> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let mut bytes = vec![0; length(head)?];
    from.read_exact(&mut bytes)?;
    decode(&bytes)
}

/// Writes a message there.
///
/// # Errors
/// From the pipe, and of the message.
pub fn write(mut to: impl Write, message: &impl Message) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

/// Reads the bytes of a request.
///
/// # Errors
/// From the pipe, and if it is too long.
pub async fn receive(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let mut bytes = vec![0; length(head)?];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Writes an answer.
///
/// # Errors
/// From the pipe, and if it is too long.
pub async fn answer(to: &mut (impl AsyncWrite + Unpin), said: Said) -> io::Result<()> {
    to.write_all(&encode(&Answer { said: Some(said) })?).await
}

/// A failure as an answer.
#[must_use]
pub fn failed(error: &io::Error) -> Said {
    let kind = KINDS.iter().position(|kind| *kind == error.kind()).unwrap_or(0);
    Said::Failed(Failed { kind: u32::try_from(kind).unwrap_or(0), message: error.to_string() })
}

/// An answer as a result: what failed there is an error here.
///
/// # Errors
/// If the answer is one.
pub fn said(answer: Answer) -> io::Result<Said> {
    match answer.said {
        None => Err(invalid("an answer that says nothing".to_owned())),
        Some(Said::Failed(Failed { kind, message })) => {
            let kind = KINDS.get(kind as usize).copied().unwrap_or(io::ErrorKind::Other);
            Err(io::Error::new(kind, message))
        }
        Some(said) => Ok(said),
    }
}

/// That it is done.
pub const DONE: Said = Said::Done(Nothing {});
/// That there is nothing.
pub const NONE: Said = Said::None(Nothing {});

/// A request or an answer that cannot be.
#[must_use]
pub fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::messages::{Act, FileVerb, Id};

    fn bytes(verb: Verb) -> Vec<u8> {
        Request { verb: Some(verb) }.encode_to_vec()
    }

    #[test]
    fn a_verb_comes_over_as_it_was_said() {
        let file = FileVerb { make: true, size: 7, ..FileVerb::of("/etc/app/a".as_ref(), Act::Stage) };
        for said in [Verb::File(file), Verb::Kill(Id { id: "x".to_owned() }), Verb::List(Nothing {})] {
            let mut pipe = Vec::new();
            write(&mut pipe, &Request { verb: Some(said.clone()) }).unwrap();
            assert_eq!(read::<Request>(pipe.as_slice()).unwrap().verb, Some(said));
        }
    }

    #[test]
    fn what_is_not_exactly_a_request_is_none() {
        let good = bytes(Verb::Kill(Id { id: "x".to_owned() }));
        assert!(verb(&good).is_ok());
        let unknown_verb = [0xa2, 0x06, 0x00];
        let unknown_word: Vec<u8> = good.iter().copied().chain([0x98, 0x06, 0x01]).collect();
        let twice: Vec<u8> = good.iter().chain(&good).copied().collect();
        let long_number = [0x42, 0x83, 0x00, 0x0a, 0x01, b'x'];
        for bad in [&[][..], &unknown_verb, &unknown_word, &twice, &long_number, &good[..good.len() - 1]] {
            assert!(verb(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_message_is_longer_than_it_may_be() {
        let long = "x".repeat(LONGEST);
        assert!(encode(&Request { verb: Some(Verb::Kill(Id { id: long })) }).is_err());
        let mut pipe = u32::MAX.to_be_bytes().to_vec();
        pipe.extend([0; 16]);
        let error = read::<Request>(pipe.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "nothing is set aside for it: {error}");
    }

    #[test]
    fn a_failure_keeps_what_it_means() {
        for kind in KINDS {
            let answer = Answer { said: Some(failed(&io::Error::new(kind, "so"))) };
            assert_eq!(said(answer).unwrap_err().kind(), kind);
        }
    }
}
