//! A loss of power at each moment: real code works on a file system in memory that writes down
//! what is done, and for each moment the disk is laid out as a cut leaves it: with all that was
//! not synced lost, with none of it, and with what chance leaves. Then the real code goes on
//! from there, and what it has promised must hold.
//!
//! `MUSTER_CUTS`: how often chance is asked for each moment. Without it, once, and at half of the
//! moments only, by chance.

mod applier;
mod artifacts;
mod cut;
mod disk;
mod ledger;
mod served;
mod slots;

use std::{
    fs,
    path::{Path, PathBuf},
};

use cut::Loss;
use muster_common::clock::Clock;
use muster_tests::mount::Mount;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use served::Served;

use crate::number;

/// A story that is told on a disk: what was promised, and after how much.
pub(crate) struct Story<F> {
    /// Where the disk is, also when it is laid out: what is written names paths.
    place: PathBuf,
    disk: Served,
    settled: usize,
    facts: Vec<(usize, F)>,
    /// In memory: who goes on after a cut syncs a lot.
    _memory: Mount,
    _folder: tempfile::TempDir,
}

impl<F: Clone> Story<F> {
    pub(crate) fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = Mount::small(&folder.path().join("memory"), "64M");
        let place = folder.path().join("memory/disk");
        fs::create_dir(&place).unwrap();
        let disk = Served::mount(&place);
        Self { place, disk, settled: 0, facts: Vec::new(), _memory: memory, _folder: folder }
    }

    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// All that was done until now was there before the story.
    pub(crate) fn settle(&mut self) {
        self.settled = self.disk.done();
    }

    /// From now on this is so.
    pub(crate) fn promise(&mut self, fact: F) {
        self.facts.push((self.disk.done(), fact));
    }

    /// Cuts the power after each thing that was done, and looks each time, with what was
    /// promised before it.
    pub(crate) fn cut(self, name: &str, mut look: impl FnMut(&Path, &[F])) {
        let Self { place, disk, settled, facts, _memory, _folder } = self;
        let deeds = disk.finish();
        let seed = number("MUSTER_SEED", rand::rng().next_u64() % 1_000_000);
        let mut random = StdRng::seed_from_u64(seed);
        let (begun, mut cuts) = (Clock::System.monotonic(), 0);
        let is_whole = std::env::var_os("MUSTER_CUTS").is_some();
        for done in settled..=deeds.len() {
            if !is_whole && random.random_bool(0.5) {
                continue;
            }
            let promised: Vec<F> =
                facts.iter().filter(|(at, _)| *at <= done).map(|(_, fact)| fact.clone()).collect();
            let by_chance = usize::try_from(number("MUSTER_CUTS", 1)).unwrap();
            let losses =
                [Loss::All, Loss::Nothing].into_iter().chain(std::iter::repeat_n(Loss::Some, by_chance));
            for loss in losses {
                let tree = cut::after(&deeds[..done], settled, loss, &mut random);
                let _ = fs::remove_dir_all(&place);
                tree.lay_out(&place);
                let _at = At { name, done, loss, seed };
                look(&place, &promised);
                cuts += 1;
            }
        }
        let (moments, seconds) = (deeds.len() - settled + 1, (Clock::System.monotonic() - begun).as_secs());
        eprintln!("power: {name}: {moments} moments, {cuts} cuts, {seconds} s, MUSTER_SEED={seed}");
        crate::report(
            &format!("power-{name}.md"),
            &format!("| {name} | {moments} | {cuts} | {seconds} | {seed} |\n"),
        );
    }
}

/// Says where it was, if what is looked at is not as it should be.
struct At<'a> {
    name: &'a str,
    done: usize,
    loss: Loss,
    seed: u64,
}

impl Drop for At<'_> {
    fn drop(&mut self) {
        let Self { name, done, loss, seed } = self;
        if std::thread::panicking() {
            eprintln!("power: {name}: a cut after {done} deeds, {loss:?} lost, MUSTER_SEED={seed}");
        }
    }
}
