//! The rows of checkpoints.

use muster_domain::audit::{Checkpoint, Placed};

use crate::{
    engine::{Row, params},
    error::Error,
    tx::Reader,
};

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT place, trust_domain, replica, seq, hash, at, key_id, signature FROM audit_checkpoints ",
            $rest
        )
    };
}

pub(super) fn last<R: Reader + ?Sized>(tx: &mut R, replica: &str) -> Result<Option<Checkpoint>, Error> {
    let sql = columns!("WHERE replica = $1 ORDER BY seq DESC LIMIT 1");
    Ok(tx.row(sql, params![replica], placed)?.map(|(_, checkpoint)| checkpoint))
}

pub(super) fn before<R: Reader + ?Sized>(
    tx: &mut R,
    place: u64,
    replica: Option<&str>,
    limit: u64,
) -> Result<Vec<Placed<Checkpoint>>, Error> {
    match replica {
        None => {
            let sql = columns!("WHERE place < $1 ORDER BY place DESC LIMIT $2");
            tx.rows(sql, params![place, limit], placed)
        }
        Some(replica) => {
            let sql = columns!("WHERE replica = $1 AND place < $2 ORDER BY place DESC LIMIT $3");
            tx.rows(sql, params![replica, place, limit], placed)
        }
    }
}

pub(super) fn between<R: Reader + ?Sized>(
    tx: &mut R,
    after: u64,
    to: u64,
    limit: u32,
) -> Result<Vec<Placed<Checkpoint>>, Error> {
    let sql = columns!("WHERE place > $1 AND place <= $2 ORDER BY place LIMIT $3");
    tx.rows(sql, params![after, to, limit], placed)
}

fn placed(row: &mut Row) -> Result<Placed<Checkpoint>, Error> {
    let place = row.u64("audit place")?;
    let checkpoint = Checkpoint {
        trust_domain: row.text("trust domain")?,
        replica: row.text("audit replica")?,
        seq: row.u64("audit seq")?,
        hash: super::digest(row, "hash")?,
        at: row.millis("at")?,
        key_id: super::digest(row, "key id")?,
        signature: row.bytes("signature")?,
    };
    Ok((place, checkpoint))
}
