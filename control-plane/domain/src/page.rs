//! Pages of lists: how many, and after what.

/// One page of a list, by a key that rises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most this many.
    pub size: u32,
    /// Only what comes after this key; `None`: from the start.
    pub after: Option<String>,
}

/// What a page holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// In order.
    pub rows: Vec<T>,
    /// Key of the last row if more follow.
    pub next: Option<String>,
}
