//! Rows of a result as JSON values. Reports show a few of them.

use polars::prelude::{AnyValue, DataFrame, TimeUnit};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::error::{Result, bail};
use crate::time;

/// One row of a result, with its columns in order. A timestamp is a text as in RFC 3339, in UTC with six fractional
/// digits.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row(pub Vec<(String, Value)>);

impl Row {
    /// The value of a column; null when there is no such column.
    pub fn get(&self, column: &str) -> &Value {
        self.0.iter().find(|(name, _)| name == column).map_or(&Value::Null, |(_, value)| value)
    }

    /// The text of a column; `None` for null and for other types.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.get(column).as_str()
    }

    /// The integer of a column; `None` for null and for other types.
    pub fn int(&self, column: &str) -> Option<i64> {
        self.get(column).as_i64()
    }

    /// The number of a column; `None` for null and for other types.
    pub fn number(&self, column: &str) -> Option<f64> {
        self.get(column).as_f64()
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The rows of a frame.
pub(super) fn from_frame(frame: &DataFrame) -> Result<Vec<Row>> {
    let mut rows = vec![Row::default(); frame.height()];
    for column in frame.columns() {
        for (row, values) in rows.iter_mut().enumerate() {
            values.0.push((column.name().to_string(), value(&column.get(row)?)?));
        }
    }
    Ok(rows)
}

fn value(value: &AnyValue<'_>) -> Result<Value> {
    Ok(match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(b) => Value::from(*b),
        AnyValue::String(s) => Value::from(*s),
        AnyValue::StringOwned(s) => Value::from(s.as_str()),
        AnyValue::Int64(n) => Value::from(*n),
        AnyValue::Int32(n) => Value::from(*n),
        AnyValue::Int16(n) => Value::from(*n),
        AnyValue::Int8(n) => Value::from(*n),
        AnyValue::UInt64(n) => Value::from(*n),
        AnyValue::UInt32(n) => Value::from(*n),
        // JSON cannot represent infinities and NaN.
        AnyValue::Float64(n) => Value::from(*n),
        AnyValue::Float32(n) => Value::from(*n),
        AnyValue::Datetime(n, unit, _) | AnyValue::DatetimeOwned(n, unit, _) => {
            let micros = match unit {
                TimeUnit::Nanoseconds => n.div_euclid(1000),
                TimeUnit::Microseconds => *n,
                TimeUnit::Milliseconds => n.saturating_mul(1000),
            };
            time::micros_to_rfc3339(micros).map_or(Value::Null, Value::from)
        }
        AnyValue::Date(days) => Value::from(time::day(*days)),
        other => bail!("a value of type {} is not supported in a report", other.dtype()),
    })
}
