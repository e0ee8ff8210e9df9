//! A store from before operations had a limit for their output: what is there counts.

use muster_common::ids::{CommandId, OperationId};
use muster_store::{Error, Options, ReadCommands as _, ReadOperations as _, Store};

use crate::profiles::schema_of;

const OPERATION: &str = "00000000-0000-0000-0000-000000000001";
const COMMAND: &str = "00000000-0000-0000-0000-000000000002";

fn before() -> String {
    format!(
        "INSERT INTO meta VALUES ('epoch', '1');
INSERT INTO meta VALUES ('trust-domain', 'example.test');
INSERT INTO operations VALUES ('{OPERATION}', '*', 'run-script', x'', NULL, x'', 'operator/alice', 1, NULL, 2, 3, 0,
    NULL, 1, '');
INSERT INTO commands VALUES ('{COMMAND}', '{OPERATION}', '00000000-0000-0000-0000-000000000003', 'running', NULL,
    NULL, NULL, '', 0, 3, 12, 0, 1, 1, NULL, 2);
INSERT INTO command_output VALUES ('{COMMAND}', 2, 0, 0, CAST('standard' AS BLOB), 0);
INSERT INTO command_output VALUES ('{COMMAND}', 3, 1, 0, CAST('oops' AS BLOB), 0);"
    )
}

#[test]
fn output_of_before_counts_as_kept() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::sqlite(folder.path().join("store.db"));
    let raw = schema_of(&options, 10);
    raw.execute_batch(&before()).unwrap();
    drop(raw);
    let store = Store::open(&options).unwrap();
    let read = |tx: &mut muster_store::ReadTx<'_>| {
        let command = tx.command_get(COMMAND.parse::<CommandId>().unwrap())?.unwrap();
        let id: OperationId = OPERATION.parse().unwrap();
        Ok::<_, Error>((command, tx.operation_get(id)?.unwrap(), tx.operation_output_room(id)?))
    };
    let (command, operation, room) = store.read_blocking(read).unwrap();
    assert_eq!((command.output_bytes, command.stderr_bytes), (12, 4));
    assert_eq!((operation.output_limit, operation.lane.as_str()), (256 * 1024 * 1024, ""));
    assert_eq!(room, 256 * 1024 * 1024 - 12);
}
