//! Rules, and the alerts that come of them; silences.

mod deliveries;
mod receivers;

use muster_common::{
    clock::UnixMillis,
    ids::{AlertId, SilenceId},
};
use muster_domain::{
    alert::{Alert, Rule, Silence},
    page::{Listed, Page},
};

pub use deliveries::{ReadDeliveries, WriteDeliveries};
pub use receivers::{ReadReceivers, WriteReceivers};

use crate::{
    changes::ChangeKind,
    engine::{Row, json, params},
    error::Error,
    page,
    tx::{ReadTx, Reader, WriteTx, Writer},
};

// Of what is open much is asked all the time, and of what is over there is a hundred times as much.
const OPEN: &str = "SELECT body, revision FROM alerts WHERE is_open = 1 ORDER BY id";
const OPEN_PAGE: &str =
    "SELECT body, revision FROM alerts WHERE is_open = 1 AND id < $1 ORDER BY id DESC LIMIT $2";
const MARK: &str = "SELECT COUNT(*), COALESCE(MAX(revision), 0) FROM \
                    (SELECT revision FROM alert_rules UNION ALL SELECT revision FROM alert_receivers \
                    UNION ALL SELECT revision FROM alert_silences \
                    UNION ALL SELECT revision FROM alerts WHERE is_open = 1) AS parts";
const NEWEST: &str = "SELECT ended_at FROM alerts WHERE is_open = 0 ORDER BY ended_at DESC LIMIT 1 OFFSET $1";

/// Reads rules, alerts and silences.
pub trait ReadAlerts: Reader {
    /// One rule that was written.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_rule_get(&mut self, name: &str) -> Result<Option<Rule>, Error> {
        self.row("SELECT body, revision FROM alert_rules WHERE name = $1", params![name], rule)
    }

    /// All that were written, by name.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_rule_all(&mut self) -> Result<Vec<Rule>, Error> {
        self.rows("SELECT body, revision FROM alert_rules ORDER BY name", &[], rule)
    }

    /// One alert.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_get(&mut self, id: AlertId) -> Result<Option<Alert>, Error> {
        self.row("SELECT body, revision FROM alerts WHERE id = $1", params![id], alert)
    }

    /// All that have not ended, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_open_all(&mut self) -> Result<Vec<Alert>, Error> {
        self.rows(OPEN, &[], alert)
    }

    /// One page of them, newest first; those that have ended, too, or not.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_list(&mut self, page: &Page, ended: bool) -> Result<Listed<Alert>, Error> {
        let sql = if ended {
            "SELECT body, revision FROM alerts WHERE id < $1 ORDER BY id DESC LIMIT $2"
        } else {
            OPEN_PAGE
        };
        let rows = self.rows(sql, params![page::before(page), page::limit(page)], alert)?;
        Ok(page::listed(page, rows, |alert| alert.id.to_string()))
    }

    /// Those that have ended, the last one first, at most so many.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_ended_last(&mut self, most: u64) -> Result<Vec<Alert>, Error> {
        const SQL: &str = "SELECT body, revision FROM alerts WHERE is_open = 0 \
                           ORDER BY ended_at DESC, id DESC LIMIT $1";
        self.rows(SQL, params![most], alert)
    }

    /// Since when so many of the newest have ended that have. `None`: not so many have.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_newest_since(&mut self, count: u64) -> Result<Option<UnixMillis>, Error> {
        self.row(NEWEST, params![count.saturating_sub(1)], |row| row.millis("ended_at"))
    }

    /// All silences, by id.
    ///
    /// # Errors
    /// If the store fails.
    fn silence_all(&mut self) -> Result<Vec<Silence>, Error> {
        self.rows("SELECT body, revision FROM alert_silences ORDER BY id", &[], silence)
    }

    /// One silence.
    ///
    /// # Errors
    /// If the store fails.
    fn silence_get(&mut self, id: SilenceId) -> Result<Option<Silence>, Error> {
        self.row("SELECT body, revision FROM alert_silences WHERE id = $1", params![id], silence)
    }

    /// What is another whenever a rule, a receiver, a silence or an open alert is.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_mark(&mut self) -> Result<(u64, u64), Error> {
        let mark = self.row(MARK, &[], |row| Ok((row.u64("count")?, row.u64("revision")?)))?;
        Ok(mark.unwrap_or_default())
    }
}

/// Writes rules, alerts and silences.
pub trait WriteAlerts: ReadAlerts + Writer {
    /// Makes a rule, or puts this in the place of the one with its name. Its revision becomes that
    /// of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_rule_put(&mut self, rule: &Rule) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO alert_rules (name, body, revision) VALUES ($1, $2, $3) \
                           ON CONFLICT (name) DO UPDATE SET body = excluded.body, revision = excluded.revision";
        self.needs_audit("a rule of alerts");
        self.changed(ChangeKind::Alert, format!("rule/{}", rule.name));
        let revision = self.own_revision();
        self.execute(SQL, params![&rule.name, json(rule), revision]).map(drop)
    }

    /// Deletes a rule. Whether there was one.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_rule_delete(&mut self, name: &str) -> Result<bool, Error> {
        let found = self.execute("DELETE FROM alert_rules WHERE name = $1", params![name])? > 0;
        if found {
            self.needs_audit("a rule of alerts");
            self.changed(ChangeKind::Alert, format!("rule/{name}"));
        }
        Ok(found)
    }

    /// Makes an alert, or puts this in the place of the one with its id, if that is as it was at
    /// this one's revision; its revision becomes that of this write. Follows from what nodes report: who
    /// asks for it writes an audit entry. Whether it was put: another may have made or changed it.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_put(&mut self, alert: &Alert) -> Result<bool, Error> {
        const NEW: &str = "INSERT INTO alerts (id, rule, subject, is_open, ended_at, body, revision) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        const OLD: &str = "UPDATE alerts SET is_open = $1, ended_at = $2, body = $3, revision = $4 \
                           WHERE id = $5 AND revision = $6";
        let (is_open, body) = (alert.ended_at.is_none(), json(alert));
        let revision = self.own_revision();
        let put = if alert.revision == 0 {
            let subject = alert.subject.to_string();
            let row = params![alert.id, &alert.rule, subject, is_open, alert.ended_at, body, revision];
            self.execute(NEW, row)?
        } else {
            let row = params![is_open, alert.ended_at, body, revision, alert.id, alert.revision];
            self.execute(OLD, row)?
        };
        if put > 0 {
            self.changed(ChangeKind::Alert, alert.id.to_string());
        }
        Ok(put > 0)
    }

    /// Takes away, at most so many, what ended before; with what was to be told of it. How many.
    ///
    /// # Errors
    /// If the store fails.
    fn alert_prune(&mut self, before: UnixMillis, step: u64) -> Result<u64, Error> {
        const SQL: &str = "DELETE FROM alerts WHERE id IN \
                           (SELECT id FROM alerts WHERE is_open = 0 AND ended_at < $1 LIMIT $2)";
        self.execute(SQL, params![before, step])
    }

    /// Makes a silence, or puts this in the place of the one with its id. Its revision becomes
    /// that of this write.
    ///
    /// # Errors
    /// If the store fails.
    fn silence_put(&mut self, silence: &Silence) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO alert_silences (id, ends_at, body, revision) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (id) DO UPDATE SET ends_at = excluded.ends_at, body = excluded.body, \
                           revision = excluded.revision";
        self.needs_audit("a silence");
        self.changed(ChangeKind::Alert, format!("silence/{}", silence.id));
        let revision = self.own_revision();
        self.execute(SQL, params![silence.id, silence.ends_at, json(silence), revision]).map(drop)
    }

    /// Takes away, at most so many, silences that ended before. How many.
    ///
    /// # Errors
    /// If the store fails.
    fn silence_prune(&mut self, before: UnixMillis, step: u64) -> Result<u64, Error> {
        const SQL: &str = "DELETE FROM alert_silences WHERE id IN \
                           (SELECT id FROM alert_silences WHERE ends_at < $1 LIMIT $2)";
        self.execute(SQL, params![before, step])
    }
}

fn rule(row: &mut Row) -> Result<Rule, Error> {
    let rule: Rule = row.json("rule of alerts")?;
    Ok(Rule { revision: row.u64("revision")?, ..rule })
}

fn alert(row: &mut Row) -> Result<Alert, Error> {
    let alert: Alert = row.json("alert")?;
    Ok(Alert { revision: row.u64("revision")?, ..alert })
}

fn silence(row: &mut Row) -> Result<Silence, Error> {
    let silence: Silence = row.json("silence")?;
    Ok(Silence { revision: row.u64("revision")?, ..silence })
}

impl ReadAlerts for ReadTx<'_> {}
impl ReadAlerts for WriteTx<'_> {}
impl WriteAlerts for WriteTx<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::{engine, plan};

    #[test]
    fn what_is_open_is_found_without_what_is_over_and_what_is_over_by_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = engine(folder.path());
        for (text, values, index) in [
            (OPEN, 0, "SCAN alerts USING INDEX alerts_open_by_id"),
            (OPEN_PAGE, 2, "SEARCH alerts USING INDEX alerts_open_by_id (id<?)"),
            (MARK, 0, "SCAN alerts USING INDEX alerts_open"),
            (NEWEST, 1, "INDEX alerts_ended"),
        ] {
            let plan = plan(&mut engine, text, values);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{text}: {plan}");
        }
    }
}
