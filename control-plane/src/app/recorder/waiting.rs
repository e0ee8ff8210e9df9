//! How much waits to be written down.

use super::Recorder;

impl Recorder {
    /// By queue: nodes with news, nodes whose reports were put off, steps of commands.
    #[must_use]
    pub fn waiting(&self) -> [(&'static str, usize); 3] {
        let (nodes, later) = (self.nodes.lock().len(), self.later.lock().len());
        [("recorder-nodes", nodes), ("recorder-later", later), ("recorder", self.steps.lock().len())]
    }
}
