//! What the fuzz targets share: inputs of several parts, a folder to write
//! them to, and the seeds of the corpus.

use std::{
    fs,
    path::{Path, PathBuf},
};

use muster_common::digest::Sha256;

/// Parts of an input: the length of each stands before it, in two bytes; the
/// last is whatever is left.
pub fn parts(mut input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let (part, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        parts.push(part);
        input = rest;
    }
    parts
}

/// An input of these parts.
pub fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let one = |part: &&[u8]| {
        let length = u16::try_from(part.len()).expect("a part of a seed is short");
        [length.to_le_bytes().as_slice(), part].concat()
    };
    parts.iter().flat_map(one).collect()
}

/// Text of lines as the ledger writes them: each with its checksum. Without this
/// no changed byte would ever get behind the checksum.
pub fn sealed(text: &[u8]) -> Vec<u8> {
    let seal = |json: &[u8]| {
        let sum = Sha256::of(json).to_string();
        [&sum.as_bytes()[..8], b" ", json, b"\n"].concat()
    };
    text.split(|byte| *byte == b'\n').filter(|json| !json.is_empty()).flat_map(seal).collect()
}

/// The JSON of sealed lines.
pub fn unsealed(text: &[u8]) -> Vec<u8> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| line.len() > 9);
    lines.map(|line| &line[9..]).collect::<Vec<_>>().join(&b'\n')
}

/// A folder of this process, in memory where there is such a place.
pub struct Scratch(PathBuf);

impl Default for Scratch {
    fn default() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Self(parent.join(format!("muster-fuzz-{}", std::process::id())))
    }
}

impl Scratch {
    /// The folder, empty.
    pub fn empty(&self) -> &Path {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => fs::create_dir(&self.0).expect("a scratch folder can be made"),
        }
        &self.0
    }

    /// A file with this content, in the folder as it is.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder can be made");
        fs::write(&path, content).expect("a scratch file can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes the seeds of a target and ends the process, if that is what was asked
/// for: `fuzz/run.sh seeds`.
pub fn seeds<const N: usize>(target: &str, seeds: impl FnOnce() -> [Vec<u8>; N]) {
    let Some(corpus) = std::env::var_os("MUSTER_FUZZ_SEEDS") else { return };
    let folder = Path::new(&corpus).join(target);
    fs::create_dir_all(&folder).expect("a folder for seeds can be made");
    for (number, seed) in seeds().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed).expect("a seed can be written");
    }
    std::process::exit(0);
}
