//! Looks at a history: what of it is of one kind.

use std::time::Duration;

use super::{Command, Entry, History, Order, Ran, Read, Trouble, What, Write};

impl History {
    /// What a look at each event picks out, with its time.
    pub fn of<'a, T>(
        &'a self,
        pick: impl Fn(&'a What) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (Duration, T)> + 'a {
        self.events.iter().filter_map(move |event| pick(&event.what).map(|found| (event.at, found)))
    }

    /// Writes, and when each was answered or given up.
    pub fn writes(&self) -> impl Iterator<Item = (Duration, &Write)> {
        self.of(|what| if let What::Write(write) = what { Some(write) } else { None })
    }

    /// Readings, and when each was answered.
    pub fn reads(&self) -> impl Iterator<Item = (Duration, &Read)> {
        self.of(|what| if let What::Read(read) = what { Some(read) } else { None })
    }

    /// Orders, and when each was answered or given up.
    pub fn orders(&self) -> impl Iterator<Item = (Duration, &Order)> {
        self.of(|what| if let What::Order(order) = what { Some(order) } else { None })
    }

    /// Commands as they were told, and when.
    pub fn commands(&self) -> impl Iterator<Item = (Duration, &Command)> {
        self.of(|what| if let What::Command(command) = what { Some(command) } else { None })
    }

    /// Commands as their hosts count them.
    pub fn ran(&self) -> impl Iterator<Item = &Ran> {
        self.of(|what| if let What::Ran(ran) = what { Some(ran) } else { None }).map(|(_, ran)| ran)
    }

    /// The audit, in its order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.of(|what| if let What::Entry(entry) = what { Some(entry) } else { None }).map(|(_, entry)| entry)
    }

    /// Trouble, and when each was over.
    pub fn troubles(&self) -> impl Iterator<Item = (Duration, &Trouble)> {
        self.of(|what| if let What::Trouble(trouble) = what { Some(trouble) } else { None })
    }

    /// What nodes were said to be: which, and how.
    pub fn liveness(&self) -> impl Iterator<Item = (Duration, (&str, &str))> {
        self.of(|what| match what {
            What::Liveness { node, state, .. } => Some((node.as_str(), state.as_str())),
            _ => None,
        })
    }

    /// Control planes that have a node from then on: which, and which node.
    pub fn held(&self) -> impl Iterator<Item = (Duration, (usize, &str))> {
        self.of(|what| match what {
            What::Held { by, node } => Some((*by, node.as_str())),
            _ => None,
        })
    }

    /// Nodes that were heard again, after all trouble.
    pub fn live(&self) -> impl Iterator<Item = (Duration, &str)> {
        self.of(|what| if let What::Live { node } = what { Some(node.as_str()) } else { None })
    }

    /// Nodes that run what they should: which, of what, and which value.
    pub fn in_sync(&self) -> impl Iterator<Item = (Duration, (&str, &str, &str))> {
        self.of(|what| match what {
            What::InSync { node, key, value } => Some((node.as_str(), key.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// Values that were in force on nodes, as `in_sync`.
    pub fn applied(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let applied = self.of(|what| match what {
            What::Applied { node, key, value } => Some((node.as_str(), key.as_str(), value.as_str())),
            _ => None,
        });
        applied.map(|(_, applied)| applied)
    }

    /// Operations that requests have made: the request, the operation, its commands.
    pub fn made(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        let made = self.of(|what| match what {
            What::Made { request, operation, commands } => {
                Some((request.as_str(), operation.as_str(), *commands))
            }
            _ => None,
        });
        made.map(|(_, made)| made)
    }

    /// Nodes that were barred, and by which control plane.
    pub fn barred(&self) -> impl Iterator<Item = (Duration, (usize, &str))> {
        self.of(|what| match what {
            What::Barred { plane, node } => Some((*plane, node.as_str())),
            _ => None,
        })
    }

    /// Looks at the sessions of nodes: at which control plane, of which, and whether it has one.
    pub fn sessions(&self) -> impl Iterator<Item = (Duration, (usize, &str, bool))> {
        self.of(|what| match what {
            What::Welcomed { plane, node } => Some((*plane, node.as_str(), true)),
            What::Session { plane, node, session } => Some((*plane, node.as_str(), !session.is_empty())),
            _ => None,
        })
    }

    /// Entries that watchers of the audit were sent: which watcher, by which control plane, the
    /// entry's place and its hash.
    pub fn fed(&self) -> impl Iterator<Item = (usize, usize, u64, &[u8])> {
        let fed = self.of(|what| match what {
            What::Fed { watcher, plane, place, hash } => Some((*watcher, *plane, *place, hash.as_slice())),
            _ => None,
        });
        fed.map(|(_, fed)| fed)
    }

    /// Values that the watcher of the fleet was sent: by which control plane, of what, and which.
    pub fn shown(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        let shown = self.of(|what| match what {
            What::Shown { plane, key, value } => Some((*plane, key.as_str(), value.as_str())),
            _ => None,
        });
        shown.map(|(_, shown)| shown)
    }
}
