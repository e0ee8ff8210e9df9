//! A control plane in a network of its own.

use super::Plane;
use crate::netns::Namespace;

impl Plane {
    /// Has it run in a network namespace from its next start on, and listen there on these ports: for
    /// nodes, hosts without an identity, operators and probes.
    #[must_use]
    pub fn within(self, place: &Namespace, ports: [u16; 4]) -> Self {
        for (name, port) in ["agents", "enrollment", "operators", "console"].into_iter().zip(ports) {
            self.configure(name, &format!("\"{}:{port}\"", place.address()));
        }
        self.configure("server-ips", &format!("[\"127.0.0.1\", \"{}\"]", place.address()));
        Self { namespace: Some(place.name().to_owned()), ..self }
    }
}
