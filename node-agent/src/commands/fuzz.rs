//! A way for the fuzz targets to the orders. Compiled with the feature `fuzzing` only.

use super::kinds;

/// Whether an order of this kind with these arguments could be run.
#[must_use]
pub fn order(kind: &str, args: &[u8]) -> bool {
    kinds::parse(kind, args).is_ok()
}
