//! What is being done, where it takes longer than a second: a line that is written over on
//! a terminal, one plain line otherwise. Always on standard error.

use std::{
    io::{self, Write as _},
    pin::pin,
    time::Duration,
};

use super::output::Output;

const TICK: Duration = Duration::from_secs(1);

/// Does something; `label` says what, as often as it is asked.
pub(super) async fn watched<T>(out: Output, label: impl Fn() -> String, doing: impl Future<Output = T>) -> T {
    let mut doing = pin!(doing);
    let mut shown = Shown { out, label: String::new(), seconds: 0 };
    loop {
        tokio::select! {
            biased;
            done = &mut doing => {
                shown.clear();
                return done;
            }
            () = tokio::time::sleep(TICK) => shown.tick(label()),
        }
    }
}

struct Shown {
    out: Output,
    label: String,
    /// For which the label has been the same.
    seconds: u32,
}

impl Shown {
    fn tick(&mut self, label: String) {
        let same = self.label == label;
        self.seconds = if same { self.seconds + 1 } else { 1 };
        self.label = label;
        if self.out.is_live() {
            let mut terminal = io::stderr().lock();
            let _ = write!(terminal, "\r\x1b[K{} … {} s", self.label, self.seconds);
            let _ = terminal.flush();
        } else if !same {
            self.out.note(&format!("{} …", self.label));
        }
    }

    fn clear(&self) {
        wipe(self.out);
    }
}

/// Takes the line away before another is written.
pub(super) fn wipe(out: Output) {
    if out.is_live() {
        let _ = write!(io::stderr().lock(), "\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_watched_comes_to_its_end() {
        let doing = async {
            tokio::time::sleep(TICK * 5).await;
            7
        };
        assert_eq!(watched(Output::default(), || "x".to_owned(), doing).await, 7);
    }
}
