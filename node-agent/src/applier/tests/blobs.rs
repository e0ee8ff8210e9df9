//! Files that are blobs: fetched before anything changes, from a source that fails,
//! breaks off and lies.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    future::{BoxFuture, LocalBoxFuture},
    stream::{self, BoxStream},
};
use muster_common::{clock::Instant, drain::Drain};
use parking_lot::Mutex;

use super::*;
use crate::applier::fetch::{Connection, Error, Pieces, Source};

/// Longest wait for something that takes a moment.
const LONG: Duration = Duration::from_secs(30);
/// Bytes of a piece.
const PIECE: usize = 1000;

/// What a source does when it is asked next.
#[derive(Debug, Clone, Copy)]
enum Trick {
    Unreachable,
    Refuses,
    /// It gives so many pieces, and then the stream breaks.
    Breaks(usize),
    /// Likewise, and the stream ends as if that was all.
    Ends(usize),
    /// Other bytes.
    Lies,
    /// More bytes than there are.
    Babbles,
    Hangs,
}

/// A control plane in this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    blobs: BTreeMap<Sha256, Vec<u8>>,
    tricks: VecDeque<Trick>,
    /// From then on, whatever else is said.
    always: Option<Trick>,
    /// What was asked for.
    opened: Vec<(Sha256, u64)>,
}

impl Fake {
    fn with(blobs: &[&[u8]]) -> Self {
        let fake = Self::default();
        fake.0.lock().blobs = blobs.iter().map(|blob| (Sha256::of(blob), blob.to_vec())).collect();
        fake
    }

    fn then(&self, tricks: &[Trick]) {
        self.0.lock().tricks.extend(tricks);
    }

    fn always(&self, trick: Option<Trick>) {
        self.0.lock().always = trick;
    }

    /// From where on blobs were asked for since this was asked last.
    fn offsets(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.lock().opened).into_iter().map(|(_, offset)| offset).collect()
    }

    fn pieces(&self, sha256: Sha256, offset: u64) -> Result<Pieces, Error> {
        let mut inner = self.0.lock();
        inner.opened.push((sha256, offset));
        let trick = inner.always.or_else(|| inner.tricks.pop_front());
        let refused = |message: &str| Error::Refused {
            reason: Some(Reason::PermissionDenied),
            message: message.to_owned(),
        };
        let whole = inner.blobs.get(&sha256).ok_or_else(|| refused("there is none"))?;
        let mut bytes = whole[usize::try_from(offset).unwrap()..].to_vec();
        let broken = || Err(Error::Network("it broke".to_owned()));
        let end: BoxStream<'static, _> = match trick {
            None | Some(Trick::Ends(_)) => stream::empty().boxed(),
            Some(Trick::Breaks(_)) => stream::iter([broken()]).boxed(),
            Some(Trick::Hangs) => stream::pending().boxed(),
            Some(Trick::Unreachable) => return Err(Error::Network("nobody is there".to_owned())),
            Some(Trick::Refuses) => return Err(refused("not for you")),
            Some(Trick::Lies) => {
                bytes.iter_mut().for_each(|byte| *byte ^= 1);
                stream::empty().boxed()
            }
            Some(Trick::Babbles) => {
                bytes.push(0);
                stream::empty().boxed()
            }
        };
        let most = match trick {
            Some(Trick::Breaks(pieces) | Trick::Ends(pieces)) => pieces,
            Some(Trick::Hangs) => 1,
            _ => usize::MAX,
        };
        let pieces: Vec<_> = bytes.chunks(PIECE).take(most).map(|it| Ok(it.to_vec().into())).collect();
        Ok(stream::iter(pieces).chain(end).boxed())
    }
}

impl Source for Fake {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, Error>> {
        let connection: Box<dyn Connection> = Box::new(self.clone());
        Box::pin(std::future::ready(Ok(connection)))
    }
}

impl Connection for Fake {
    fn open(&mut self, sha256: Sha256, offset: u64) -> BoxFuture<'_, Result<Pieces, Error>> {
        Box::pin(std::future::ready(self.pieces(sha256, offset)))
    }
}

impl Lab {
    /// A bundle with one file that is a blob, and a small one.
    fn with_blob(&self, blob: &[u8], beside: &str) -> types::BundleContent {
        let mut content = self.bundle(&[("big", ""), ("small", beside)]);
        content.files[0].blob = Some(file_blob(blob));
        content.files[0].mode = 0o640;
        content
    }

    async fn task(&self, fake: &Fake) -> (Handle, Task) {
        let (handle, task) = Task::new(self.open().await);
        (handle, task.fetching(Arc::new(fake.clone())))
    }

    fn cached(&self) -> usize {
        fs::read_dir(self.state().join("cache")).unwrap().count()
    }

    fn has(&self, name: &str, content: &[u8]) -> bool {
        fs::read(self.file(name)).is_ok_and(|found| found == content)
    }
}

fn file_blob(blob: &[u8]) -> types::FileBlob {
    types::FileBlob { sha256: Sha256::of(blob).as_bytes().to_vec().into(), size_bytes: blob.len() as u64 }
}

fn bytes(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap() ^ seed).collect()
}

/// Runs a task as long as something else takes. In a box: a task is large.
fn during<'a, T: 'a>(task: Task, steps: impl Future<Output = T> + 'a) -> LocalBoxFuture<'a, T> {
    Box::pin(async move {
        tokio::select! {
            () = task.run(Drain::default()) => panic!("it works until it is told to end"),
            done = tokio::time::timeout(LONG * 10_000, steps) => done.expect("in time"),
        }
    })
}

/// Waits until an item stands so.
async fn until(handle: &Handle, item: &str, stands: impl Fn(&ItemState) -> bool) -> ItemState {
    let mut states = handle.states();
    let found = states.wait_for(|states| states.iter().any(|it| it.item == item && stands(it))).await;
    found.unwrap().iter().find(|state| state.item == item).unwrap().clone()
}

async fn until_runs(handle: &Handle, number: u64) -> ItemState {
    until(handle, "bundle/app", |state| running(state) == Some(number)).await
}

async fn until_failed(handle: &Handle) -> ItemState {
    until(handle, "bundle/app", |state| state.error.is_some()).await
}

#[tokio::test]
async fn a_blob_comes_byte_for_byte_is_corrected_without_a_fetch_and_goes_with_the_bundle() {
    let lab = Lab::new();
    fs::write(lab.file("big"), "of before").unwrap();
    let blob = bytes(300_123, 1);
    let fake = Fake::with(&[&blob]);
    let mut content = lab.with_blob(&blob, "x");
    content.set_mode(types::BundleMode::ApplyAndCorrect);
    content.validate = sh(&format!(
        "cmp $MUSTER_STAGE{0} {0} && exit 1; test -s $MUSTER_STAGE{0}",
        lab.file("big").display()
    ));
    let (handle, task) = lab.task(&fake).await;
    during(task, async {
        handle.desire(vec![offer(1, &content)], vec![]);
        let state = until_runs(&handle, 1).await;
        assert_eq!(verdict(&state), (Outcome::Applied, None, None));
        assert!(lab.has("big", &blob) && lab.has("small", b"x"));
        assert_eq!(fs::metadata(lab.file("big")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!((fake.offsets(), lab.cached()), (vec![0], 1));

        fs::write(lab.file("big"), "theirs").unwrap();
        let state = until(&handle, "bundle/app", |state| state.drift.iter().any(|it| it.corrected)).await;
        let drift = &state.drift[0];
        assert_eq!((drift.before, drift.after), (Some(Sha256::of(&blob)), Some(Sha256::of(b"theirs"))));
        assert!(drift.diff.is_empty() && lab.has("big", &blob));
        assert_eq!(fake.offsets(), [0; 0], "what runs is kept");

        handle.desire(vec![], vec![removal(2)]);
        let mut states = handle.states();
        states.wait_for(|states| states.is_empty()).await.unwrap();
    })
    .await;
    assert_eq!(lab.read("big").as_deref(), Some("of before"));
    assert_eq!((lab.cached(), lab.litter()), (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_fetched_changes_nothing_counts_against_nobody_and_is_tried_again() {
    let blob = bytes(10 * PIECE, 2);
    let cases = [
        (Trick::Unreachable, Reason::FetchFailed, Cause::Network),
        (Trick::Breaks(2), Reason::FetchFailed, Cause::Network),
        (Trick::Ends(2), Reason::FetchFailed, Cause::Network),
        (Trick::Refuses, Reason::PermissionDenied, Cause::ControlPlane),
        (Trick::Lies, Reason::DigestMismatch, Cause::ControlPlane),
        (Trick::Babbles, Reason::DigestMismatch, Cause::ControlPlane),
    ];
    for (trick, reason, cause) in cases {
        let lab = Lab::new();
        let fake = Fake::with(&[&blob]);
        fake.then(&[trick; 3]);
        let (handle, task) = lab.task(&fake).await;
        during(task, async {
            handle.desire(vec![offer(1, &lab.bundle(&[("big", "one"), ("small", "one")]))], vec![]);
            until_runs(&handle, 1).await;
            handle.desire(vec![offer(2, &lab.with_blob(&blob, "two"))], vec![]);
            let state = until_failed(&handle).await;
            assert_eq!(verdict(&state), (Outcome::Rejected, Some(reason), Some(cause)), "{trick:?}");
            assert_eq!((running(&state), failure::is_unsettled(&state)), (Some(1), true));
            assert_eq!(
                (lab.read("big").as_deref(), lab.read("small").as_deref()),
                (Some("one"), Some("one"))
            );
            assert_eq!(lab.litter(), Vec::<String>::new());
            let state = until_runs(&handle, 2).await;
            assert_eq!(verdict(&state), (Outcome::Applied, None, None), "{trick:?}");
            assert!(lab.has("big", &blob) && lab.has("small", b"two"));
        })
        .await;
        let (two, again) = (2 * PIECE as u64, |offset| vec![0, offset, 2 * offset, 3 * offset]);
        let expected =
            if matches!(trick, Trick::Breaks(_) | Trick::Ends(_)) { again(two) } else { vec![0; 4] };
        assert_eq!(fake.offsets(), expected, "{trick:?}: what has come stays, what is wrong does not");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_session_is_reason_to_try_at_once() {
    let lab = Lab::new();
    let blob = bytes(10, 3);
    let fake = Fake::with(&[&blob]);
    fake.always(Some(Trick::Unreachable));
    let (handle, task) = lab.task(&fake).await;
    during(task, async {
        let now = || lab.clock_now();
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        until_failed(&handle).await;
        let begun: Instant = now();
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        let tries = fake.offsets().len();
        assert!((100..3000).contains(&tries), "{tries} tries in a day: at least every ten minutes");
        assert!(now() - begun >= Duration::from_secs(86_400));
        fake.always(None);
        // As a session does it: it is open, and says again what is wanted.
        handle.connected();
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        let met = now();
        until_runs(&handle, 1).await;
        assert!(now() - met < Duration::from_secs(2), "{:?}", now() - met);
    })
    .await;
}

impl Lab {
    fn clock_now(&self) -> Instant {
        self.options().clock.monotonic()
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_part_is_fetched_anew_and_no_reproach_to_anybody() {
    let lab = Lab::new();
    let blob = bytes(5 * PIECE, 4);
    let fake = Fake::with(&[&blob]);
    let (handle, task) = lab.task(&fake).await;
    let part = lab.state().join("cache").join(format!("{}.part", Sha256::of(&blob)));
    fs::write(&part, bytes(PIECE, 99)).unwrap();
    during(task, async {
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        assert_eq!(verdict(&until_runs(&handle, 1).await), (Outcome::Applied, None, None));
    })
    .await;
    assert_eq!(fake.offsets(), [PIECE as u64, 0]);
    assert!(lab.has("big", &blob) && !part.exists());
}

#[tokio::test]
async fn what_has_come_is_kept_for_the_next_process_whatever_else_it_does_first() {
    let lab = Lab::new();
    let blob = bytes(5 * PIECE, 5);
    let fake = Fake::with(&[&blob]);
    fake.then(&[Trick::Hangs]);
    let part = lab.state().join("cache").join(format!("{}.part", Sha256::of(&blob)));
    let (handle, task) = lab.task(&fake).await;
    during(task, async {
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        while fs::metadata(&part).map_or(0, |part| part.len()) < PIECE as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (handle, task) = lab.task(&fake).await;
    assert!(handle.states().borrow().is_empty(), "an attempt that ends with its process was none");
    during(task, async {
        let other = named("bundle/other", 1, lab.bundle(&[("o", "o")]).encode_to_vec());
        handle.desire(vec![other], vec![]);
        until(&handle, "bundle/other", |state| running(state) == Some(1)).await;
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        until_runs(&handle, 1).await;
    })
    .await;
    assert_eq!(fake.offsets(), [0, PIECE as u64]);
    assert!(lab.has("big", &blob));
}

#[tokio::test]
async fn a_slow_download_keeps_nothing_else_waiting_and_ends_when_something_newer_is_wanted() {
    let lab = Lab::new();
    let (blob, second) = (bytes(5 * PIECE, 6), bytes(PIECE, 7));
    let fake = Fake::with(&[&blob, &second]);
    fake.then(&[Trick::Hangs, Trick::Hangs]);
    let (handle, task) = lab.task(&fake).await;
    let opened = async |count| {
        while fake.0.lock().opened.len() < count {
            tokio::task::yield_now().await;
        }
    };
    during(task, async {
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        opened(1).await;
        let other = |number| named("bundle/other", number, lab.bundle(&[("o", "o")]).encode_to_vec());
        handle.desire(vec![other(1)], vec![]);
        until(&handle, "bundle/other", |state| running(state) == Some(1)).await;
        // The same again, as a new session says it, begins nothing anew; an older word changes nothing.
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        handle.desire(vec![other(2)], vec![]);
        until(&handle, "bundle/other", |state| running(state) == Some(2)).await;
        assert_eq!(fake.0.lock().opened.len(), 1);
        // Another version has another blob; the next has none.
        handle.desire(vec![offer(2, &lab.with_blob(&second, "x"))], vec![]);
        opened(2).await;
        handle.desire(vec![offer(3, &lab.bundle(&[("small", "y")]))], vec![]);
        until_runs(&handle, 3).await;
    })
    .await;
    assert!(lab.has("small", b"y") && !lab.file("big").exists());
    assert_eq!(lab.cached(), 0, "nothing needs what has come");
}

#[tokio::test(start_paused = true)]
async fn a_correction_fetches_what_the_cache_has_lost_and_says_if_it_cannot() {
    let lab = Lab::new();
    let blob = bytes(3 * PIECE, 8);
    let fake = Fake::with(&[&blob]);
    let mut content = lab.with_blob(&blob, "x");
    content.set_mode(types::BundleMode::ApplyAndCorrect);
    let (handle, task) = lab.task(&fake).await;
    during(task, async {
        handle.desire(vec![offer(1, &content)], vec![]);
        until_runs(&handle, 1).await;
        let cached = lab.state().join("cache").join(Sha256::of(&blob).to_string());
        fs::remove_file(&cached).unwrap();
        fake.then(&[Trick::Unreachable]);
        fs::remove_file(lab.file("big")).unwrap();
        let failed = |state: &ItemState| state.drift.iter().any(|it| !it.error.is_empty());
        let state = until(&handle, "bundle/app", failed).await;
        assert!(state.drift[0].error.starts_with("FETCH_FAILED"), "{:?}", state.drift);
        assert_eq!((verdict(&state), running(&state)), ((Outcome::Applied, None, None), Some(1)));
        until(&handle, "bundle/app", |state| state.drift.iter().all(|it| it.corrected)).await;
        assert!(lab.has("big", &blob) && cached.exists());
        assert_eq!(fake.offsets(), [0, 0, 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_was_changed_reaches_no_file_and_is_fetched_again() {
    let lab = Lab::new();
    let blob = bytes(3 * PIECE, 9);
    let fake = Fake::with(&[&blob]);
    let (handle, task) = lab.task(&fake).await;
    fs::write(lab.state().join("cache").join(Sha256::of(&blob).to_string()), bytes(3 * PIECE, 10)).unwrap();
    during(task, async {
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        let state = until_failed(&handle).await;
        assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::WriteFailed), Some(Cause::Host)));
        assert!(!lab.file("big").exists() && !lab.file("small").exists());
        until_runs(&handle, 1).await;
    })
    .await;
    assert!(lab.has("big", &blob));
    assert_eq!(fake.offsets(), [0]);
}

#[tokio::test]
async fn an_audit_compares_by_digest_and_fetches_nothing() {
    let lab = Lab::new();
    let blob = bytes(3 * PIECE, 11);
    let fake = Fake::with(&[&blob]);
    let mut content = lab.with_blob(&blob, "x");
    content.set_mode(types::BundleMode::Audit);
    content.files.pop();
    content.files[0].mode = 0o644;
    fs::write(lab.file("big"), "other").unwrap();
    fs::set_permissions(lab.file("big"), fs::Permissions::from_mode(0o644)).unwrap();
    let (handle, task) = lab.task(&fake).await;
    during(task, async {
        handle.desire(vec![offer(1, &content)], vec![]);
        let state = until_runs(&handle, 1).await;
        let drift = &state.drift[0];
        assert_eq!((drift.what.as_str(), drift.diff.as_str()), ("content", ""));
        assert_eq!((drift.before, drift.after), (Some(Sha256::of(&blob)), Some(Sha256::of(b"other"))));
        fs::write(lab.file("big"), &blob).unwrap();
        until(&handle, "bundle/app", |state| state.drift.is_empty()).await;
    })
    .await;
    assert_eq!((fake.offsets(), lab.cached()), (vec![], 0));
}

#[tokio::test]
async fn what_the_host_refuses_anyway_is_not_fetched() {
    let lab = Lab::new();
    let blob = bytes(PIECE, 12);
    let fake = Fake::with(&[&blob]);
    let with = |change: fn(&mut types::BundleFile)| {
        let mut content = lab.with_blob(&blob, "x");
        change(&mut content.files[0]);
        content
    };
    let cases = vec![
        (with(|file| file.path = "/etc/muster-outside".to_owned()), Reason::PathNotAllowed),
        (with(|file| file.content = b"x".to_vec().into()), Reason::PayloadInvalid),
        (with(|file| file.blob.as_mut().unwrap().sha256 = vec![1; 31].into()), Reason::PayloadInvalid),
        (with(|file| file.blob.as_mut().unwrap().size_bytes = 8 * 1024 * 1024 + 1), Reason::PayloadInvalid),
        (with(|file| file.blob.as_mut().unwrap().size_bytes = u64::MAX), Reason::PayloadInvalid),
        (with(|file| (file.mode, file.absent) = (0, true)), Reason::PayloadInvalid),
        (with(|file| file.directory = true), Reason::PayloadInvalid),
        (types::BundleContent { probe: sh("true"), ..with(|_| ()) }, Reason::HookDenied),
    ];
    lab.rules(false);
    let (handle, task) = lab.task(&fake).await;
    during(task, async {
        for (number, (content, reason)) in (1..).zip(cases) {
            handle.desire(vec![offer(number, &content)], vec![]);
            let tried =
                |state: &ItemState| state.attempted.as_ref().is_some_and(|it| it.generation.number == number);
            let state = until(&handle, "bundle/app", tried).await;
            assert_eq!(verdict(&state).1, Some(reason), "{content:?}");
        }
        let owner = named("bundle/owner", 1, lab.bundle(&[("small", "o")]).encode_to_vec());
        handle.desire(vec![owner], vec![]);
        until(&handle, "bundle/owner", |state| running(state) == Some(1)).await;
        handle.desire(vec![offer(20, &lab.with_blob(&blob, "x"))], vec![]);
        let taken = |state: &ItemState| state.error.as_ref().is_some_and(|it| it.reason == Reason::PathTaken);
        until(&handle, "bundle/app", taken).await;
    })
    .await;
    assert_eq!(fake.offsets(), [0; 0]);
}

#[tokio::test]
async fn a_disk_without_room_is_met_before_anything_is_fetched() {
    let lab = Lab::new();
    let blob = bytes(2 * 1024 * 1024, 13);
    let fake = Fake::with(&[&blob]);
    let _disk = SmallDisk::mount(lab.state(), "2m");
    let (handle, task) = lab.task(&fake).await;
    during(task, async {
        handle.desire(vec![offer(1, &lab.with_blob(&blob, "x"))], vec![]);
        let state = until_failed(&handle).await;
        assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::DiskFull), Some(Cause::Host)));
    })
    .await;
    assert_eq!((fake.offsets(), lab.cached()), (vec![], 0));
}

#[tokio::test]
async fn an_applier_without_its_blobs_refuses_and_changes_nothing() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let state = applier.apply(offer(1, &lab.with_blob(&bytes(PIECE, 14), "x"))).await;
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::FetchFailed), Some(Cause::Network)));
    assert_eq!((lab.read("small"), lab.litter()), (None, Vec::new()));
}
