//! A part of a trace that is done for somebody who may go away meanwhile.

use muster_common::trace::Context;

use super::{Attribute, Begun, Kind, Traces};

/// Why a part failed of which nobody waited for the end.
const CANCELLED: &str = "cancelled";

/// A part that has begun. Dropped without its end, it is told as cancelled.
pub struct Part {
    traces: Traces,
    begun: Begun,
    name: String,
    kind: Kind,
    attributes: Vec<Attribute>,
    is_told: bool,
}

impl Part {
    pub(super) fn new(
        traces: Traces,
        begun: Begun,
        name: String,
        kind: Kind,
        attributes: Vec<Attribute>,
    ) -> Self {
        Self { traces, begun, name, kind, attributes, is_told: false }
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> Context {
        self.begun.at
    }

    /// It is over, and more is known about it. `error` is empty if it went well.
    pub fn end(mut self, error: &str, more: Vec<Attribute>) {
        self.attributes.extend(more);
        self.tell(error);
    }

    fn tell(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_told, true) {
            let (name, attributes) = (std::mem::take(&mut self.name), std::mem::take(&mut self.attributes));
            self.traces.end(&self.begun, name, self.kind, error, attributes);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.tell(CANCELLED);
    }
}
