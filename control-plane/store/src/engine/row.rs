//! Rows of answers, read column by column.

use std::{fmt::Debug, str::FromStr, vec};

use muster_common::{clock::UnixMillis, digest::Sha256};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(String),
    /// BYTEA, BLOB.
    Blob(Vec<u8>),
}

/// One row. Each call takes the next column; its name is for the error.
#[derive(Debug)]
pub struct Row {
    columns: vec::IntoIter<Value>,
}

impl Row {
    pub(crate) fn new(columns: Vec<Value>) -> Self {
        Self { columns: columns.into_iter() }
    }

    /// All that is left of it.
    pub(crate) fn into_values(self) -> Vec<Value> {
        self.columns.collect()
    }

    fn next(&mut self) -> Value {
        self.columns.next().unwrap_or(Value::Null)
    }

    pub(crate) fn opt_i64(&mut self, what: &'static str) -> Result<Option<i64>, Error> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(number)),
            other => Err(wrong(what, &other)),
        }
    }

    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, Error> {
        self.opt_i64(what)?.ok_or_else(|| wrong(what, &Value::Null))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.i64(what).map(i64::cast_unsigned)
    }

    pub(crate) fn opt_u64(&mut self, what: &'static str) -> Result<Option<u64>, Error> {
        Ok(self.opt_i64(what)?.map(i64::cast_unsigned))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        let number = self.i64(what)?;
        u32::try_from(number).map_err(|_| Error::row(what, number))
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, Error> {
        self.opt_i32(what)?.ok_or_else(|| wrong(what, &Value::Null))
    }

    pub(crate) fn opt_i32(&mut self, what: &'static str) -> Result<Option<i32>, Error> {
        let number = self.opt_i64(what)?;
        number.map(|n| i32::try_from(n).map_err(|_| Error::row(what, n))).transpose()
    }

    pub(crate) fn bool(&mut self, what: &'static str) -> Result<bool, Error> {
        self.i64(what).map(|number| number != 0)
    }

    pub(crate) fn millis(&mut self, what: &'static str) -> Result<UnixMillis, Error> {
        self.i64(what).map(UnixMillis)
    }

    pub(crate) fn opt_millis(&mut self, what: &'static str) -> Result<Option<UnixMillis>, Error> {
        Ok(self.opt_i64(what)?.map(UnixMillis))
    }

    pub(crate) fn opt_text(&mut self, what: &'static str) -> Result<Option<String>, Error> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            other => Err(wrong(what, &other)),
        }
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String, Error> {
        self.opt_text(what)?.ok_or_else(|| wrong(what, &Value::Null))
    }

    pub(crate) fn opt_bytes(&mut self, what: &'static str) -> Result<Option<Vec<u8>>, Error> {
        match self.next() {
            Value::Null => Ok(None),
            Value::Blob(bytes) => Ok(Some(bytes)),
            other => Err(wrong(what, &other)),
        }
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Vec<u8>, Error> {
        self.opt_bytes(what)?.ok_or_else(|| wrong(what, &Value::Null))
    }

    pub(crate) fn sha256(&mut self, what: &'static str) -> Result<Sha256, Error> {
        let bytes = self.bytes(what)?;
        Sha256::from_slice(&bytes).ok_or_else(|| Error::row(what, format!("{} bytes", bytes.len())))
    }

    /// An id, an item's name: anything with a written form.
    pub(crate) fn parsed<T: FromStr>(&mut self, what: &'static str) -> Result<T, Error> {
        let text = self.text(what)?;
        text.parse().map_err(|_| Error::row(what, text))
    }

    pub(crate) fn opt_parsed<T: FromStr>(&mut self, what: &'static str) -> Result<Option<T>, Error> {
        let Some(text) = self.opt_text(what)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Error::row(what, text))
    }

    /// A value with a JSON form.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, what: &'static str) -> Result<T, Error> {
        let text = self.text(what)?;
        serde_json::from_str(&text).map_err(|error| Error::row(what, format!("{error}: {text}")))
    }

    /// A value with a JSON form, or nothing.
    pub(crate) fn opt_json<T: DeserializeOwned>(&mut self, what: &'static str) -> Result<Option<T>, Error> {
        let Some(text) = self.opt_text(what)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| Error::row(what, format!("{error}: {text}")))
    }

    /// A word of a fixed list.
    pub(crate) fn word<T>(&mut self, what: &'static str, parse: fn(&str) -> Option<T>) -> Result<T, Error> {
        let text = self.text(what)?;
        parse(&text).ok_or_else(|| Error::row(what, text))
    }
}

/// The JSON form of a value of ours.
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("values of the domain have string keys only, so each has a JSON form")
}

fn wrong(what: &'static str, value: &impl Debug) -> Error {
    Error::row(what, format!("{value:?}"))
}
