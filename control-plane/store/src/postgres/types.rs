//! Values on their way to a server and back.

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::engine::{Param, Value};

/// A column of a type that no statement of ours has.
#[derive(Debug, thiserror::Error)]
#[error("a value of ours does not fit the type {0}")]
pub(super) struct WrongType(Type);

type Failed = Box<dyn std::error::Error + Sync + Send>;

/// Parameters that outlive the call; a statement may be sent before its answer is waited for.
pub(super) fn owned(params: &[Param<'_>]) -> Vec<Value> {
    let one = |param: &Param<'_>| match param {
        Param::Null => Value::Null,
        Param::Int(number) => Value::Int(*number),
        Param::Text(text) => Value::Text(text.clone().into_owned()),
        Param::Blob(bytes) => Value::Blob(bytes.to_vec()),
    };
    params.iter().map(one).collect()
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(number), &Type::INT8) => number.to_sql(ty, out),
            (Self::Int(number), &Type::INT4) => i32::try_from(*number)?.to_sql(ty, out),
            (Self::Text(text), &Type::TEXT) => text.to_sql(ty, out),
            (Self::Blob(bytes), &Type::BYTEA) => bytes.to_sql(ty, out),
            _ => Err(Box::new(WrongType(ty.clone()))),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // and says so when a value does not fit
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failed> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::TEXT | Type::NAME | Type::VARCHAR => Self::Text(String::from_sql(ty, raw)?),
            Type::BYTEA => Self::Blob(raw.to_vec()),
            _ => return Err(Box::new(WrongType(ty.clone()))),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failed> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
