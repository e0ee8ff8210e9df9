//! Both engines keep the same.

use muster_cluster::Cluster;
use muster_store::{Options, Store};

use crate::made;

#[test]
fn both_engines_have_the_same_tables_columns_and_keys() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    made(&url);
    let theirs = cluster.sql(
        &url,
        "SELECT c.table_name, c.column_name, \
         CASE WHEN c.data_type = 'bigint' THEN 'INTEGER' WHEN c.data_type = 'bytea' THEN 'BLOB' ELSE 'TEXT' END, \
         COALESCE((SELECT k.ordinal_position FROM information_schema.key_column_usage AS k \
         JOIN information_schema.table_constraints AS t USING (constraint_name) \
         WHERE t.constraint_type = 'PRIMARY KEY' AND k.table_name = c.table_name AND k.column_name = c.column_name), 0), \
         CASE WHEN c.is_nullable = 'YES' THEN 0 ELSE 1 END FROM information_schema.columns AS c \
         WHERE c.table_schema = 'public' AND c.table_name <> 'store_writers'",
    );
    let folder = tempfile::tempdir().unwrap();
    let options = Options::sqlite(folder.path().join("store.db"));
    Store::create(&options, "example.test").unwrap().close_blocking().unwrap();
    let raw = rusqlite::Connection::open(options.file().unwrap()).unwrap();
    // A key that is a number is never null, and SQLite does not say so.
    let sql = "SELECT t.name || '|' || c.name || '|' || c.type || '|' || c.pk || '|' || \
               (c.\"notnull\" OR c.pk > 0) FROM sqlite_master AS t, pragma_table_info(t.name) AS c \
               WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
    let mut statement = raw.prepare(sql).unwrap();
    let ours: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(theirs.lines().map(str::to_owned).collect()), sorted(ours));
    let without = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'public' \
                   AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'";
    assert_eq!(cluster.sql(&url, without), "0", "text that is not compared by its bytes");
}
