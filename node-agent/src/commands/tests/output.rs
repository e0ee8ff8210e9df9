use super::*;

#[tokio::test]
async fn output_over_the_limit_is_cut_and_counted() {
    let text = "yes 'a line of output' | head -c 80000; echo beside >&2";
    let reports = outcome(OPEN, script(text)).await;
    assert_eq!(end(&reports).0, CommandState::Succeeded);
    let said = output(&reports);
    let (kept, marker) = said.trim_end().rsplit_once('\n').unwrap();
    assert!(kept.lines().all(|line| line == "a line of output" || line == "beside"), "whole lines");
    assert!((49_000..50_000).contains(&said.len()), "{}", said.len());
    let dropped: u64 = reports.iter().filter_map(|r| r.output.as_ref()).map(|chunk| chunk.dropped).sum();
    let beside = "beside\n".len();
    assert_eq!(dropped, 80_000 - (kept.len() + 1 - beside) as u64);
    assert_eq!(marker, format!("[muster: output cut here, {dropped} bytes not kept]"));
}

#[tokio::test]
async fn a_command_that_says_little_at_a_time_is_cut_before_its_reports_fill_the_disk() {
    let room = room(tempfile::tempdir().unwrap(), OPEN).await;
    let order = ticket("run-script", Vec::new());
    let taken = order.clone();
    let started = move |ledger: &mut Ledger| ledger.take(&taken).and_then(|_| ledger.started(taken.id));
    room.ledger.with(started).await.unwrap();
    let voice = voice::Voice::new(order.id, room.ledger.clone(), Arc::default(), Clock::System, 1_000);
    for _ in 0..12 {
        voice.output(false, b"x\n").await;
    }
    voice.close().await;
    let reports = room.handle.reports(order.id, 1, usize::MAX).await;
    assert_eq!((reports.len(), output(&reports).matches('x').count()), (6, 5));
    assert_eq!(reports.last().and_then(|report| report.output.as_ref()).map(|chunk| chunk.dropped), Some(14));
    room.end().await;
}
