//! Functions that PostgreSQL has and DataFusion lacks, or has otherwise: what they answer depends on their arguments and the session's
//! time zone alone, so they are registered once for all sessions.
//!
//! **To add one**, add a [`Plain`] to the file of its subject; its `doc` goes into `docs/sql.md`.

use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::timezone::Tz;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::catalog::sql_error::raise;
use crate::catalog::{pg_types, values};

/// The session's time zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zone(pub(crate) Tz);

/// One function.
pub(crate) struct Plain {
    pub(crate) name: &'static str,
    pub(crate) arguments: RangeInclusive<usize>,
    pub(crate) returns: fn(&[DataType]) -> Result<DataType>,
    /// Null as soon as one argument is.
    pub(crate) strict: bool,
    pub(crate) eval: fn(Zone, &[ScalarValue]) -> Result<ScalarValue>,
    /// Whole columns at once, for what is called on every row of large tables; `None` where it is left to `eval`.
    pub(crate) columns: Option<Columns>,
    /// One line for `docs/sql.md`; empty for what only the rewrite calls.
    pub(crate) doc: &'static str,
}

pub(crate) type Columns = fn(Zone, &[ColumnarValue]) -> Result<Option<ArrayRef>>;

impl Plain {
    pub(super) const fn by_column(mut self, columns: Columns) -> Plain {
        self.columns = Some(columns);
        self
    }

    /// The same under another name, which the line of the first speaks of.
    pub(super) const fn under(self, name: &'static str) -> Plain {
        Plain { name, doc: "", ..self }
    }
}

/// Null as soon as one argument is.
pub(super) const fn plain(
    name: &'static str,
    arguments: RangeInclusive<usize>,
    returns: fn(&[DataType]) -> Result<DataType>,
    eval: fn(Zone, &[ScalarValue]) -> Result<ScalarValue>,
    doc: &'static str,
) -> Plain {
    Plain {
        name,
        arguments,
        returns,
        strict: true,
        eval,
        columns: None,
        doc,
    }
}

/// Called with nulls too.
pub(super) const fn lenient(
    name: &'static str,
    arguments: RangeInclusive<usize>,
    returns: fn(&[DataType]) -> Result<DataType>,
    eval: fn(Zone, &[ScalarValue]) -> Result<ScalarValue>,
    doc: &'static str,
) -> Plain {
    Plain {
        strict: false,
        ..plain(name, arguments, returns, eval, doc)
    }
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them, by subject.
pub(crate) fn all() -> impl Iterator<Item = &'static Plain> {
    [
        super::text::FUNCTIONS,
        super::math::FUNCTIONS,
        super::time::FUNCTIONS,
        super::format::FUNCTIONS,
        super::array::FUNCTIONS,
        super::json::FUNCTIONS,
        super::operators::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Name and line of those that people call, by subject.
pub fn documented_functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    all()
        .filter(|function| !function.doc.is_empty())
        .map(|function| (function.name, function.doc))
}

/// All of them, for DataFusion.
pub(crate) fn plain_functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    all().map(|function| Arc::new(udf(function)))
}

/// A call of one of them, for rules that plan one.
pub(crate) fn named(name: &str) -> Option<ScalarUDF> {
    all().find(|function| function.name == name).map(udf)
}

fn udf(function: &'static Plain) -> ScalarUDF {
    ScalarUDF::new_from_impl(PlainFunction {
        function,
        signature: Signature::one_of(
            vec![TypeSignature::Nullary, TypeSignature::VariadicAny],
            Volatility::Stable,
        ),
    })
}

#[derive(Debug)]
struct PlainFunction {
    function: &'static Plain,
    signature: Signature,
}

impl PartialEq for PlainFunction {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.function, other.function)
    }
}

impl Eq for PlainFunction {}

impl Hash for PlainFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for PlainFunction {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if !self.function.arguments.contains(&arguments.len()) {
            return no_such_function(self.function.name, arguments);
        }
        (self.function.returns)(arguments)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let returns = call.return_type().clone();
        let zone = Zone(values::zone(
            call.config_options.execution.time_zone.as_deref().unwrap_or("UTC"),
        )?);
        if let Some(columns) = self.function.columns
            && let Some(column) = columns(zone, &call.args)?
        {
            return Ok(ColumnarValue::Array(column));
        }
        let one = |arguments: &[ScalarValue]| -> Result<ScalarValue> {
            if self.function.strict && arguments.iter().any(ScalarValue::is_null) {
                return ScalarValue::try_from(&returns);
            }
            let value = (self.function.eval)(zone, arguments)?;
            if value.is_null() {
                ScalarValue::try_from(&returns)
            } else if value.data_type() == returns {
                Ok(value)
            } else {
                value.cast_to(&returns)
            }
        };
        let scalars: Option<Vec<ScalarValue>> = call
            .args
            .iter()
            .map(|argument| match argument {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        if let Some(arguments) = scalars {
            return Ok(ColumnarValue::Scalar(one(&arguments)?));
        }
        let mut rows = Vec::with_capacity(call.number_rows);
        let mut arguments = vec![ScalarValue::Null; call.args.len()];
        for row in 0..call.number_rows {
            for (argument, value) in call.args.iter().zip(&mut arguments) {
                *value = match argument {
                    ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row)?,
                    ColumnarValue::Scalar(scalar) => scalar.clone(),
                };
            }
            rows.push(one(&arguments)?);
        }
        if rows.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&returns)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(rows)?))
    }
}

/// As PostgreSQL says it: with the types of the arguments.
pub(super) fn no_such_function<T>(name: &str, arguments: &[DataType]) -> Result<T> {
    let types: Vec<String> = arguments.iter().map(sql_type).collect();
    raise("42883", format!("function {name}({}) does not exist", types.join(", ")))
}

fn sql_type(ty: &DataType) -> String {
    match ty {
        DataType::Null => "unknown".into(),
        other => pg_types::sql_name(pg_types::pg_type_oid(other), None),
    }
}

// What functions return

pub(super) fn text_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Utf8)
}
pub(super) fn texts_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::new_list(DataType::Utf8, true))
}
pub(super) fn bool_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Boolean)
}
pub(super) fn int4_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Int32)
}
pub(super) fn int4s_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::new_list(DataType::Int32, true))
}
pub(super) fn int8s_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::new_list(DataType::Int64, true))
}
pub(super) fn float8_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Float64)
}
pub(super) fn bytea_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Binary)
}
pub(super) fn date_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Date32)
}
pub(super) fn time_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Time64(arrow::datatypes::TimeUnit::Microsecond))
}
pub(super) fn timestamp_type(_: &[DataType]) -> Result<DataType> {
    Ok(values::TIMESTAMP)
}
pub(super) fn timestamptz_type(_: &[DataType]) -> Result<DataType> {
    Ok(values::timestamptz_type())
}
pub(super) fn interval_type(_: &[DataType]) -> Result<DataType> {
    Ok(values::INTERVAL)
}
pub(super) fn json_type(_: &[DataType]) -> Result<DataType> {
    Ok(values::JSON)
}
pub(super) fn jsons_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::new_list(values::JSON, true))
}
/// The type of the first argument.
pub(super) fn first_type(arguments: &[DataType]) -> Result<DataType> {
    Ok(match arguments.first() {
        None | Some(DataType::Null) => DataType::Utf8,
        Some(ty) => ty.clone(),
    })
}

// Arguments

/// The text of an argument; of a value that is none, as it prints.
pub(super) fn text(zone: Zone, arguments: &[ScalarValue], at: usize) -> String {
    arguments
        .get(at)
        .and_then(|value| values::text_of(value, zone.0))
        .unwrap_or_default()
}

/// A whole number; a text is read as one.
pub(super) fn int(arguments: &[ScalarValue], at: usize) -> Result<i64> {
    match arguments.get(at).map(|value| value.cast_to(&DataType::Int64)) {
        Some(Ok(ScalarValue::Int64(Some(value)))) => Ok(value),
        _ => raise("22P02", "an integer is expected here"),
    }
}

pub(super) fn small(arguments: &[ScalarValue], at: usize) -> Result<i32> {
    i32::try_from(int(arguments, at)?).or_else(|_| raise("22003", "integer out of range"))
}

/// A number.
pub(super) fn float(arguments: &[ScalarValue], at: usize) -> Result<f64> {
    match arguments.get(at).map(|value| value.cast_to(&DataType::Float64)) {
        Some(Ok(ScalarValue::Float64(Some(value)))) => Ok(value),
        _ => raise("22P02", "a number is expected here"),
    }
}

pub(super) fn utf8(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

pub(super) fn utf8s(items: impl IntoIterator<Item = Option<String>>) -> ScalarValue {
    let items: Vec<ScalarValue> = items.into_iter().map(ScalarValue::Utf8).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
}
