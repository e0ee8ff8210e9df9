//! What rests while the host's administrator wants it.

use std::time::Duration;

use muster_common::drain::Drain;

use super::*;
use crate::state::{Pause, Pulse};

impl Lab {
    fn pause(&self) {
        let pause = Pause { reason: "work".to_owned(), since: UnixMillis(1), until: None, uid: 0 };
        self.pauses.set(Some(pause));
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_pause_of_any_length_the_task_gets_on() {
    let lab = Lab::new();
    lab.pause();
    let (drain, pulse) = (Drain::default(), Pulse::default());
    let (_handle, task) = Task::new(lab.open().await);
    let watch = async {
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(pulse.late(Clock::System.monotonic()), None);
        }
        drain.begin();
    };
    tokio::join!(task.beating(pulse.clone()).run(drain.clone()), watch);
}

#[tokio::test]
async fn what_differs_in_a_pause_is_left_and_seen_to_afterwards() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let mut content = lab.bundle(&[("a", "a")]);
    content.set_mode(types::BundleMode::ApplyAndCorrect);
    applier.apply(offer(1, &content)).await;
    fs::write(lab.file("a"), "other").unwrap();
    lab.pause();
    let items = vec!["bundle/app".to_owned()];
    let again = applier.look_after(items).await.again;
    assert_eq!(lab.read("a").as_deref(), Some("other"));
    lab.pauses.set(None);
    applier.look_after(again.into_keys().collect()).await;
    assert_eq!(lab.read("a").as_deref(), Some("a"));
}
