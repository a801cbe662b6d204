//! Parameters: `?` in a statement, the types they have, and values that a client binds.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::server::query::QueryError;
use crate::server::sql_text::lexemes;

/// `?` becomes `$1`, `$2`, … where the statement has no such parameters itself. `??` is the operator `?`, as PostgreSQL's JDBC driver has it.
pub(super) fn numbered(sql: &str) -> Result<String, QueryError> {
    if !sql.contains('?') {
        return Ok(sql.to_owned());
    }
    let tokens = lexemes(sql)?;
    let is_numbered = |token: &Token| matches!(token, Token::Placeholder(name) if name.starts_with('$'));
    if tokens.iter().any(|lexeme| is_numbered(&lexeme.token)) {
        return Ok(sql.to_owned());
    }
    let (mut text, mut copied, mut count) = (String::with_capacity(sql.len() + 8), 0, 0);
    let mut tokens = tokens.iter().peekable();
    while let Some(lexeme) = tokens.next() {
        if &sql[lexeme.start..lexeme.end] != "?" {
            continue;
        }
        text.push_str(&sql[copied..lexeme.start]);
        copied = lexeme.end;
        // `??`, and `??|` and `??&`, as drivers write the operators `?`, `?|` and `?&`.
        let doubled = tokens.next_if(|next| next.start == lexeme.end && sql[next.start..].starts_with('?'));
        match doubled {
            Some(second) => copied = second.start,
            None => {
                count += 1;
                text.push_str(&format!("${count}"));
            }
        }
    }
    text.push_str(&sql[copied..]);
    Ok(text)
}

/// What a client is told to bind.
pub(super) fn schema(types: &[DataType]) -> Schema {
    let field = |(index, data_type): (usize, &DataType)| Field::new(format!("${}", index + 1), data_type.clone(), true);
    Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>())
}

/// The types to plan with for values of these types. What the statement says holds, with two exceptions in which a value would otherwise be
/// lost: a number for what is only text because nothing says what it is, and a fraction for a whole number.
pub(super) fn types_for(inferred: &[DataType], bound: &Schema) -> Vec<DataType> {
    let choose = |(inferred, field): (&DataType, &Arc<Field>)| {
        let bound = plain(field.data_type());
        let keeps = match inferred {
            DataType::Utf8 => matches!(bound, DataType::Utf8 | DataType::Null | DataType::Binary),
            inferred if inferred.is_integer() => !(bound.is_floating() || bound.is_decimal()),
            _ => true,
        };
        if keeps { inferred.clone() } else { bound }
    };
    inferred.iter().zip(bound.fields()).map(choose).collect()
}

/// A bound type as statements know it.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// One row of values in the types of the parameters.
pub(super) fn cast_row(row: &RecordBatch, types: &[DataType]) -> Result<RecordBatch, QueryError> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let columns = row.columns().iter().zip(types).enumerate();
    let columns = columns.map(|(index, (column, data_type))| {
        cast_with_options(column, data_type, &strict).map_err(|error| QueryError::InvalidText {
            message: format!("parameter ${}: {error}", index + 1),
        })
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(row.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(schema(types)), columns, &options).map_err(defect)
}

pub(super) fn encode(row: &RecordBatch) -> Result<Vec<u8>, QueryError> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &row.schema()).map_err(defect)?;
    writer.write(row).map_err(defect)?;
    writer.finish().map_err(defect)?;
    drop(writer);
    Ok(bytes)
}

/// The types and values that [`encode`] was given.
pub(super) fn decode(bytes: &[u8]) -> Result<(Vec<DataType>, Vec<ScalarValue>), QueryError> {
    let mut reader = StreamReader::try_new(bytes, None).map_err(defect)?;
    let row = reader.next().transpose().map_err(defect)?;
    let missing = || QueryError::Internal {
        message: "a ticket without the row of its parameters".into(),
    };
    let row = row.filter(|row| row.num_rows() == 1).ok_or_else(missing)?;
    let values = row
        .columns()
        .iter()
        .map(|column| ScalarValue::try_from_array(column, 0));
    let values = values.collect::<Result<_, _>>()?;
    Ok((
        row.columns().iter().map(|column| column.data_type().clone()).collect(),
        values,
    ))
}

fn defect(error: ArrowError) -> QueryError {
    QueryError::Internal {
        message: format!("parameters: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn question_marks_become_numbers_outside_of_texts_and_comments() {
        for (sql, expected) in [
            ("select 1", "select 1"),
            ("select ?", "select $1"),
            (
                "select * from t where a > ? and b=?",
                "select * from t where a > $1 and b=$2",
            ),
            (
                "select '?', \"a?\" /* ? */ from t where a = ? -- ?",
                "select '?', \"a?\" /* ? */ from t where a = $1 -- ?",
            ),
            ("select j ?? 'key', ?", "select j ? 'key', $1"),
            ("select j ??| a, j ??& b", "select j ?| a, j ?& b"),
            ("select $1, j ? 'key'", "select $1, j ? 'key'"),
            ("select (?, ?)", "select ($1, $2)"),
            ("select ?::int, 'ä' || ?", "select $1::int, 'ä' || $2"),
            ("values (?,?)", "values ($1,$2)"),
        ] {
            assert_eq!(numbered(sql).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn values_are_cast_to_what_the_statement_says_and_never_cut() {
        let row = RecordBatch::try_from_iter([
            ("a", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
            ("b", Arc::new(Float64Array::from(vec![1.5])) as ArrayRef),
            ("c", Arc::new(Int64Array::from(vec![3])) as ArrayRef),
            ("d", Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef),
        ])
        .unwrap();
        let inferred = [DataType::Int32, DataType::Int64, DataType::Utf8, DataType::Boolean];
        let types = types_for(&inferred, &row.schema());
        assert_eq!(
            types,
            [DataType::Int32, DataType::Float64, DataType::Int64, DataType::Boolean]
        );
        let (decoded, values) = decode(&encode(&cast_row(&row, &types).unwrap()).unwrap()).unwrap();
        assert_eq!(decoded, types);
        assert_eq!(
            values,
            [
                ScalarValue::Int32(Some(7)),
                ScalarValue::Float64(Some(1.5)),
                ScalarValue::Int64(Some(3)),
                ScalarValue::Boolean(None)
            ]
        );
        let large =
            RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1_i64 << 40])) as ArrayRef)]).unwrap();
        let error = cast_row(&large, &[DataType::Int32]).unwrap_err();
        assert!(error.to_string().starts_with("parameter $1: "), "{error}");
    }
}
