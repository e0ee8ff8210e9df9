//! How SQLite goes about a text: tests ask, where it must not go through all of a table.

use std::{fs::File, path::Path, time::Duration};

use crate::{
    engine::{Engine as _, Param},
    migrate,
    sqlite::Sqlite,
};

/// Its plan, with so many values.
pub(crate) fn plan(engine: &mut Sqlite, text: &str, values: usize) -> String {
    let values: Vec<Param<'_>> = (0..values).map(|_| Param::Int(1)).collect();
    let mut plan = Vec::new();
    let explain = format!("EXPLAIN QUERY PLAN {text}");
    engine
        .query(&explain, &values, &mut |mut row| {
            for what in ["id", "parent", "notused"] {
                row.i64(what)?;
            }
            plan.push(row.text("detail")?);
            Ok(())
        })
        .unwrap();
    plan.join("; ")
}

/// One with all tables and nothing in them.
pub(crate) fn engine(folder: &Path) -> Sqlite {
    let path = folder.join("store.db");
    File::create(&path).unwrap();
    let mut engine = Sqlite::writer(&path, Duration::from_secs(5)).unwrap();
    migrate::run(&mut engine).unwrap();
    engine
}
