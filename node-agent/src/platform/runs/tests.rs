use super::*;

fn runs(folder: &Path) -> Runs {
    Runs { units: Units::by(Path::new("/bin/true")), folder: folder.join("runs") }
}

fn order() -> Order {
    Order {
        id: CommandId::generate(),
        text: None,
        program: vec!["/bin/true".to_owned()],
        arguments: Vec::new(),
        environment: BTreeMap::new(),
        folder: "/".into(),
        user: String::new(),
        limits: Limits::default(),
        output: 10,
        survives: true,
    }
}

#[tokio::test]
async fn an_id_is_taken_once_whatever_became_of_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, order) = (runs(folder.path()), order());
    let place = runs.place(order.id);
    let (one, other) = tokio::join!(runs.reserve(order.id), runs.reserve(order.id));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    prepare(&order, &place).unwrap();
    assert!(runs.look(order.id, [0, 0], 10).survives);
    assert!(place.claim().unwrap().is_some());
    assert!(!runs.call_off(order.id).await, "it runs");
    let again = runs.reserve(order.id).await.unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(runs.list(), [order.id]);
    runs.clear(order.id).unwrap();
    runs.clear(order.id).unwrap();
    assert_eq!(runs.look(order.id, [0, 0], 10), State::default());
    assert!(runs.list().is_empty());
}

#[tokio::test]
async fn what_was_called_off_never_runs_however_late_its_order_comes() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs(folder.path());
    let unknown = order();
    assert!(runs.call_off(unknown.id).await);
    assert!(runs.reserve(unknown.id).await.is_err());

    let late = order();
    runs.reserve(late.id).await.unwrap();
    assert!(runs.call_off(late.id).await);
    prepare(&late, &runs.place(late.id)).unwrap();
    assert!(runs.place(late.id).claim().unwrap().is_none());
    assert!(!runs.look(late.id, [0, 0], 10).is_known);

    let later = order();
    runs.reserve(later.id).await.unwrap();
    runs.clear(later.id).unwrap();
    assert!(prepare(&later, &runs.place(later.id)).is_err());
    assert!(!runs.place(later.id).folder().exists());
}

#[tokio::test]
async fn no_more_is_kept_than_there_is_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs(folder.path());
    for _ in 0..MOST_KEPT {
        fs::create_dir_all(runs.place(CommandId::generate()).folder()).unwrap();
    }
    let more = CommandId::generate();
    assert_eq!(runs.reserve(more).await.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    runs.clear(runs.list()[0]).unwrap();
    runs.reserve(more).await.unwrap();
}

#[test]
fn what_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let runs = runs(folder.path());
    let ghost = Order { user: "no-such-user".to_owned(), ..order() };
    assert!(matches!(prepare(&ghost, &runs.place(ghost.id)), Err(NotStarted::UserUnknown)));
    let nothing = Order { program: vec!["/no/program".to_owned()], ..order() };
    assert!(matches!(prepare(&nothing, &runs.place(nothing.id)), Err(NotStarted::Host(_))));
    assert!(runs.place(nothing.id).job().is_none());
}

#[test]
fn output_is_read_on_from_where_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stdout");
    assert_eq!(piece(&path, 0, 10), b"");
    fs::write(&path, "0123456789").unwrap();
    assert_eq!((piece(&path, 0, 4), piece(&path, 4, 100)), (b"0123".to_vec(), b"456789".to_vec()));
    assert_eq!(piece(&path, 11, 1), b"");
}
