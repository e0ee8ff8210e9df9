use super::*;

const BOUNDS: Bounds = Bounds { burst: 10, per_second: 100, header_list: 1000 };

fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, 1]);
    bytes.resize(9 + length, 0xff);
    bytes
}

fn said(frames: &[Vec<u8>], at_a_time: usize) -> (u32, usize) {
    let mut all = vec![0; PREFACE];
    all.extend(frames.concat());
    let (mut reader, mut cost, mut large) = (Frames::default(), 0, 0);
    for bytes in all.chunks(at_a_time) {
        let said = reader.read(bytes, BOUNDS.header_list as usize);
        cost += said.cost;
        large += usize::from(said.large_headers);
    }
    (cost, large)
}

#[test]
fn frames_are_counted_however_their_bytes_are_cut() {
    let frames = [
        frame(4, 0, 36),
        frame(6, 0, 8),
        frame(HEADERS, 4, 800),
        frame(DATA, 0, 5000),
        frame(DATA, 0, 1),
        frame(DATA, END_STREAM, 5),
        frame(DATA, 0, 0),
        frame(HEADERS, 4, 2048),
    ];
    for at_a_time in [1, 2, 7, 9, 100, 100_000] {
        assert_eq!(said(&frames, at_a_time), (2 + 1 + 2 + 3, 1), "{at_a_time} at a time");
    }
}

#[test]
fn a_list_of_headers_that_is_too_long_is_told_once() {
    let frames = [frame(HEADERS, 0, 600), frame(CONTINUATION, 0, 600), frame(CONTINUATION, 4, 600)];
    assert_eq!(said(&frames, 50), (3, 1));
    let fits = [frame(HEADERS, 0, 600), frame(CONTINUATION, 4, 300), frame(HEADERS, 4, 600)];
    assert_eq!(said(&fits, 50), (3, 0));
}

#[tokio::test]
async fn what_was_too_much_follows_from_the_last_frames() {
    let limit = |frames: &[Vec<u8>]| {
        let mut metered = Metered::new(tokio::io::empty(), BOUNDS, Clock::System, Arc::new(|_| {}));
        metered.count(&[vec![0; PREFACE], frames.concat()].concat());
        metered.excess().limit()
    };
    assert_eq!(limit(&[frame(HEADERS, 4, 10), frame(RST_STREAM, 0, 4)]), "pending-resets");
    assert_eq!(limit(&[frame(HEADERS, 0, 10), frame(CONTINUATION, 0, 0)]), "header-list");
    assert_eq!(limit(&[frame(HEADERS, 4, 10), frame(8, 0, 4)]), "local-resets");
}

#[test]
fn who_has_spent_too_much_waits_until_time_has_paid() {
    let begun = Clock::System.monotonic();
    let mut budget = Budget { left: f64::from(BOUNDS.burst), at: begun };
    assert_eq!(budget.spend(10, begun, &BOUNDS), None);
    let wait = budget.spend(5, begun, &BOUNDS).expect("it has nothing left");
    assert_eq!(wait, Duration::from_millis(50));
    assert_eq!(budget.spend(1, begun + wait + Duration::from_millis(10), &BOUNDS), None);
    assert_eq!(budget.spend(10, begun + Duration::from_secs(60), &BOUNDS), None, "rest fills it");
    assert!(budget.spend(1, begun + Duration::from_secs(60), &BOUNDS).is_some(), "and no more than that");
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_read_at_its_pace_and_counted() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut peer, ours) = tokio::io::duplex(64);
    let count = Arc::new(std::sync::atomic::AtomicUsize::default());
    let counting = Arc::clone(&count);
    let met: Met = Arc::new(move |limit| {
        assert_eq!(limit, "frames");
        counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let mut metered = Metered::new(ours, BOUNDS, Clock::System, met);
    let begun = Clock::System.monotonic();
    let say = async {
        peer.write_all(&[0; PREFACE]).await.unwrap();
        for _ in 0..110 {
            peer.write_all(&frame(6, 0, 8)).await.unwrap();
        }
    };
    let hear = async {
        let mut all = vec![0; PREFACE + 110 * 17];
        metered.read_exact(&mut all).await.unwrap();
        all
    };
    let (_, heard) = tokio::join!(say, hear);
    assert!(heard.ends_with(&frame(6, 0, 8)), "nothing is lost");
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(count.load(std::sync::atomic::Ordering::Relaxed) > 0);
}
