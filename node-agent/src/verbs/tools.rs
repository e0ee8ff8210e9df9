//! Units, journals and boots: by this process, or by the executor.

use std::{io, pin::pin, time::Duration};

use muster_common::{clock::UnixMillis, tasks};

use super::{
    Hands,
    client::{Client, is_broken, unexpected},
    frame,
    messages::{self, Journal, Reboot, Said, Service, Verb},
};
use crate::platform::{
    journal, power,
    services::{self, Act, Acted},
    systemd,
    tool::Broken,
};

/// For a unit to come up: longer than systemd waits by itself.
const SERVICE: Duration = Duration::from_secs(24 * 3600);
/// Pieces of a journal that wait to be taken.
const PIECES: usize = 4;

impl Hands {
    /// Acts on a unit of systemd, or looks at it.
    ///
    /// # Errors
    /// If systemd does not answer, or it is stopped.
    pub async fn service<S>(
        &self,
        act: Act,
        unit: &str,
        stop: impl Future<Output = S>,
    ) -> Result<Acted, Broken<S>> {
        let client = match self {
            Self::Here => {
                let own: Vec<String> = systemd::own_unit().into_iter().collect();
                return services::act(act, unit, &own, stop).await;
            }
            Self::Executor(client) => client.clone(),
        };
        let verb = Verb::Service(Service { unit: unit.to_owned(), act: number(act) });
        let call = tasks::blocking(move || client.begin(&verb)).await.map_err(Broken::Io)?;
        let end = call.end().map_err(Broken::Io)?;
        let mut answer = pin!(tasks::blocking(move || call.answer(SERVICE)));
        let answer = tokio::select! {
            biased;
            why = stop => {
                end();
                // It is called back first.
                let _ = answer.await;
                return Err(Broken::Stopped(why));
            }
            answer = &mut answer => answer,
        };
        acted(answer.map_err(Broken::Io)?.said()).map_err(Broken::Io)
    }

    /// Reads the journal of a unit; empty: of that around this agent. `false`: there is none, or
    /// it may not leave the host.
    ///
    /// # Errors
    /// If it cannot be read, or is stopped.
    pub async fn journal<S>(
        &self,
        unit: &str,
        since: UnixMillis,
        mut take: impl FnMut(&[u8]),
        stop: impl Future<Output = S>,
    ) -> Result<bool, Broken<S>> {
        let client = match self {
            Self::Here => {
                let read = journal::read(unit, since, take, stop).await;
                return read.map(|()| true).map_err(Broken::Stopped);
            }
            Self::Executor(client) => client.clone(),
        };
        let (pieces, mut taken) = tokio::sync::mpsc::channel(PIECES);
        let verb = Verb::Journal(Journal { unit: unit.to_owned(), since_ms: since.0 });
        let mut reading = pin!(tasks::blocking(move || pass_on(&client, &verb, &pieces)));
        let (mut stop, mut read) = (pin!(stop), None);
        loop {
            tokio::select! {
                biased;
                why = &mut stop => return Err(Broken::Stopped(why)),
                piece = taken.recv() => match piece {
                    Some(piece) => take(&piece),
                    None => break,
                },
                done = &mut reading, if read.is_none() => read = Some(done),
            }
        }
        match read {
            Some(read) => read,
            None => reading.await,
        }
        .map_err(Broken::Io)
    }

    /// Whether the journal of the unit around this agent is for this half to ask for.
    #[must_use]
    pub const fn asks_for_own_journal(&self) -> bool {
        matches!(self, Self::Executor(_))
    }

    /// Whether this host can be booted anew; if not, why.
    ///
    /// # Errors
    /// With a sentence.
    pub fn can_reboot(&self) -> Result<(), &'static str> {
        power::can_reboot(matches!(self, Self::Executor(_)))
    }

    /// Asks systemd to boot the host.
    ///
    /// # Errors
    /// If it does not want to; `TimedOut`: it does not say.
    pub async fn reboot(&self) -> io::Result<()> {
        match self {
            Self::Here => power::reboot().await,
            Self::Executor(client) => match client.ask_once(Verb::Reboot(Reboot { tell: None })).await {
                // A host that goes down may have ended it before it could answer.
                Err(error) if is_broken(&error) => Err(io::ErrorKind::TimedOut.into()),
                answer => answer?.done(),
            },
        }
    }

    /// Tells everyone who is logged in.
    pub async fn tell(&self, message: &str) {
        match self {
            Self::Here => power::tell(message).await,
            Self::Executor(client) => {
                let verb = Verb::Reboot(Reboot { tell: Some(message.to_owned()) });
                if let Err(error) = client.ask_once(verb).await {
                    tracing::warn!(%error, "people could not be told");
                }
            }
        }
    }
}

/// Hands on the pieces of a journal until it ends or nobody wants them.
fn pass_on(client: &Client, verb: &Verb, pieces: &tokio::sync::mpsc::Sender<Vec<u8>>) -> io::Result<bool> {
    let call = client.begin(verb)?;
    loop {
        match call.next()? {
            Said::Bytes(piece) => {
                if pieces.blocking_send(piece).is_err() {
                    return Ok(true); // nobody listens any more
                }
            }
            Said::Done(_) => return Ok(true),
            Said::None(_) => return Ok(false),
            other => return Err(unexpected(other)),
        }
    }
}

const fn number(act: Act) -> u32 {
    match act {
        Act::Look => 0,
        Act::Start => 1,
        Act::Stop => 2,
        Act::Restart => 3,
    }
}

/// What is to be done to a unit.
///
/// # Errors
/// If the number says nothing.
pub fn act(number: u32) -> io::Result<Act> {
    match number {
        0 => Ok(Act::Look),
        1 => Ok(Act::Start),
        2 => Ok(Act::Stop),
        3 => Ok(Act::Restart),
        _ => Err(frame::invalid(format!("{number} is nothing that is done to a unit"))),
    }
}

fn acted(said: Said) -> io::Result<Acted> {
    match said {
        Said::Unit(messages::Acted { never: Some(why), .. }) => Ok(Acted::Never(why)),
        Said::Unit(messages::Acted { shown, tool: None, .. }) => Ok(Acted::Looked(systemd::unit(&shown))),
        Said::Unit(messages::Acted { shown, tool: Some(tool), .. }) => {
            let messages::Tool { exit_code, stderr } = tool;
            Ok(Acted::Done { exit_code, stderr, unit: systemd::unit(&shown) })
        }
        Said::None(_) => Ok(Acted::NotFound),
        other => Err(unexpected(other)),
    }
}

/// The same as an answer.
#[must_use]
pub fn told(acted: Acted) -> Said {
    let none = messages::Acted::default();
    Said::Unit(match acted {
        Acted::NotFound => return frame::NONE,
        Acted::Never(why) => messages::Acted { never: Some(why), ..none },
        Acted::Looked(unit) => messages::Acted { shown: unit.to_string(), ..none },
        Acted::Done { exit_code, stderr, unit } => {
            let tool = Some(messages::Tool { exit_code, stderr });
            messages::Acted { shown: unit.to_string(), tool, ..none }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;
    use crate::verbs::Locked;

    /// What comes of a wish to boot whose executor says this last, or nothing.
    async fn rebooted(said: Option<Said>) -> io::Error {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let hands = Hands::Executor(Client::new(&folder.path().join("socket")));
        let answering = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            frame::read::<messages::Request>(&stream).unwrap();
            if said.is_some() {
                frame::write(&stream, &messages::Answer { said }).unwrap();
            }
        });
        let error = hands.reboot().await.unwrap_err();
        answering.join().unwrap();
        error
    }

    #[tokio::test]
    async fn an_executor_that_ends_before_it_answers_has_not_said_that_the_host_stays_up() {
        assert_eq!(rebooted(None).await.kind(), io::ErrorKind::TimedOut);
        let failed = frame::failed(&io::Error::other("it does not want to"));
        assert_eq!(rebooted(Some(failed)).await.kind(), io::ErrorKind::Other);
        let locked = rebooted(Some(Said::Locked("profile monitor".to_owned()))).await;
        assert_eq!(Locked::within(&locked).unwrap().to_string(), "profile monitor");
        assert_eq!(locked.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_came_of_an_act_comes_over_whole() {
        let unit = systemd::Unit {
            id: "a.service".to_owned(),
            load_state: "loaded".to_owned(),
            main_pid: 7,
            exit_status: -1,
            since_us: 9,
            ..systemd::Unit::default()
        };
        let done = Acted::Done { exit_code: Some(5), stderr: b"no".to_vec(), unit: unit.clone() };
        for acted_there in [Acted::NotFound, Acted::Never("so".to_owned()), Acted::Looked(unit), done] {
            assert_eq!(acted(told(acted_there.clone())).unwrap(), acted_there);
        }
        assert!(act(4).is_err());
    }
}
