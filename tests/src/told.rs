//! A program that does what it is told: a line on its standard input, and a line back when that
//! is done.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::ensure;

use crate::{binaries, process::Process};

/// A running program. Dropped: killed.
#[derive(Debug)]
pub struct Told {
    /// Its process.
    pub process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Told {
    /// Starts one of our programs.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(program: &str, args: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(binaries::path(program));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let (process, stdin, stdout) = Process::piped(command)?;
        Ok(Self { process, stdin, stdout: BufReader::new(stdout) })
    }

    /// Tells it something.
    ///
    /// # Errors
    /// If it has ended.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.stdin, "{line}")?;
        Ok(self.stdin.flush()?)
    }

    /// Waits for its next line, and blocks meanwhile.
    ///
    /// # Errors
    /// If it has ended.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the program ended");
        Ok(line.trim().to_owned())
    }
}
