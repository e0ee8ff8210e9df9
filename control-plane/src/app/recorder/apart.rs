//! Many at once, and each for itself when that fails: a batch that cannot be
//! written is halved until what is to blame stands alone.

use std::future::Future;

use crate::app::Error;

/// What became of a part of a batch.
#[derive(Debug)]
pub(super) enum Became<T, R> {
    /// Written together.
    Written(Vec<T>, R),
    /// It cannot be written, and nothing else is to blame.
    Refused(T, Error),
}

/// What was not written because the store takes nothing at all now.
#[derive(Debug)]
pub(super) struct Left<T> {
    pub(super) batch: Vec<T>,
    pub(super) error: Error,
}

/// Writes a batch, or what of it can be written, in its order.
///
/// # Errors
/// If it is the store that fails: what is left of the batch, in its order.
pub(super) async fn write_apart<T, R, F>(
    batch: Vec<T>,
    write: impl Fn(Vec<T>) -> F,
    mut became: impl FnMut(Became<T, R>),
) -> Result<(), Left<T>>
where
    T: Clone,
    F: Future<Output = Result<R, Error>>,
{
    // The next part is the last one here.
    let mut waiting = vec![batch];
    while let Some(mut part) = waiting.pop() {
        if part.is_empty() {
            continue;
        }
        match write(part.clone()).await {
            Ok(written) => became(Became::Written(part, written)),
            Err(error) if is_everybodys(&error) => {
                waiting.push(part);
                return Err(Left { batch: waiting.into_iter().rev().flatten().collect(), error });
            }
            Err(_) if part.len() > 1 => {
                let later = part.split_off(part.len() / 2);
                waiting.extend([later, part]);
            }
            Err(error) => became(Became::Refused(part.remove(0), error)),
        }
    }
    Ok(())
}

/// Whether an error is of the store as a whole, and not of what was to be written.
fn is_everybodys(error: &Error) -> bool {
    matches!(error, Error::Store(error) if !error.is_of_the_request())
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Writes numbers; those in `bad` fail, and so does everything after `room` of them.
    async fn story(count: u32, bad: &[u32], room: usize) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let (disk, refused) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let write = async |part: Vec<u32>| {
            let mut disk = disk.lock();
            if disk.len() + part.len() > room {
                return Err(Error::Store(muster_store::Error::Busy));
            }
            if part.iter().any(|number| bad.contains(number)) {
                return Err(Error::Store(muster_store::Error::Panicked("bad".to_owned())));
            }
            disk.extend(part);
            Ok(())
        };
        let done = write_apart((0..count).collect(), write, |became| {
            if let Became::Refused(number, _) = became {
                refused.lock().push(number);
            }
        });
        let left = done.await.err().map(|left| left.batch).unwrap_or_default();
        (disk.into_inner(), refused.into_inner(), left)
    }

    #[tokio::test]
    async fn what_cannot_be_written_harms_nobody_else() {
        let (disk, refused, left) = story(512, &[0, 77, 511], 600).await;
        let good: Vec<u32> = (0..512).filter(|number| ![0, 77, 511].contains(number)).collect();
        assert_eq!((disk, refused, left), (good, vec![0, 77, 511], vec![]), "and the order stays");
    }

    #[tokio::test]
    async fn a_store_that_takes_nothing_blames_nobody() {
        let (disk, refused, left) = story(10, &[], 5).await;
        assert_eq!((disk, refused), (vec![], vec![]));
        assert_eq!(left, (0..10).collect::<Vec<u32>>());
    }
}
