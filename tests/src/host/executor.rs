//! The executor of a host, as a daemon that somebody took over would speak with it.

use muster_node_agent::verbs::{
    SOCKET, frame,
    messages::{Answer, Request, Said, Verb},
};

use super::Host;
use crate::binaries;

impl Host {
    /// Brings the program that `say` needs onto the host.
    pub fn install_say(&self) {
        self.copy_in(&binaries::path("muster-say"), "/usr/bin/muster-say", 0o755);
    }

    /// Says a verb to the executor as the daemon's user, and gives its answer.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn say(&self, verb: Verb) -> Said {
        let hex = hex::encode(frame::encode(&Request { verb: Some(verb) }).unwrap());
        let as_daemon = ["setpriv", "--reuid=muster", "--regid=muster", "--init-groups"];
        let say = ["/usr/bin/muster-say", SOCKET, &hex, "1"];
        let done = self.exec(&[as_daemon.as_slice(), &say].concat());
        let heard = String::from_utf8_lossy(&done.stdout).into_owned();
        let heard = hex::decode(heard.trim()).unwrap_or_else(|_| panic!("{done:?}"));
        frame::read::<Answer>(heard.as_slice()).unwrap().said.unwrap()
    }
}
