//! The fleet as selectors see it, looked at when it is asked for: most changes need
//! nothing of it.

use std::{cell::OnceCell, ops::Deref};

use super::Labelled;
use crate::app::App;

/// Every node with its labels and facts, as of the first look.
pub(in crate::app) struct Nodes<'a> {
    app: &'a App,
    seen: OnceCell<Vec<Labelled>>,
}

impl<'a> Nodes<'a> {
    pub(in crate::app) const fn of(app: &'a App) -> Self {
        Self { app, seen: OnceCell::new() }
    }
}

impl Deref for Nodes<'_> {
    type Target = [Labelled];

    fn deref(&self) -> &[Labelled] {
        self.seen.get_or_init(|| self.app.labelled())
    }
}
