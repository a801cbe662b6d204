//! Arrow arrays to wire values, text and binary.
//!
//! A batch is opened once ([`RowEncoder::open`]): each column becomes a [`Cells`], a typed array, so a cell costs one match and no
//! allocation of its own; it is written where it is sent from. There is no I/O here.
//!
//! Text is as PostgreSQL 15 prints it with `IntervalStyle = postgres` and the session's [`Style`]; instants inside JSON are ISO-8601 in UTC.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalDayTimeArray,
    IntervalMonthDayNanoArray, IntervalYearMonthArray, LargeBinaryArray, LargeStringArray, RecordBatch, StringArray,
    StringViewArray, UInt32Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use bytes::{BufMut, BytesMut};
use chrono::{Offset, TimeZone};

use super::wire::{message, patch_length, put_text};
use crate::catalog::pg_types::{self, pg_type_len, pg_type_oid};
use crate::server::query::QueryError;

/// Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's binary instants begin.
const EPOCH_2000_US: i64 = 946_684_800_000_000;
const EPOCH_2000_DAYS: i32 = 10_957;
const US_PER_DAY: i64 = 86_400_000_000;

/// The session's time zone, for `timestamptz` in text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Zone {
    Utc,
    Other(Tz),
}

impl Zone {
    /// `None` for a name that is neither an IANA zone nor a fixed offset.
    pub(super) fn parse(name: &str) -> Option<Zone> {
        if ["utc", "gmt", "etc/utc", "z", "zulu", "+00", "+00:00"].contains(&name.to_ascii_lowercase().as_str()) {
            return Some(Zone::Utc);
        }
        Tz::from_str(name).ok().map(Zone::Other)
    }

    fn offset_seconds(self, utc_us: i64) -> i32 {
        match self {
            Zone::Utc => 0,
            Zone::Other(tz) => match chrono::DateTime::from_timestamp_micros(utc_us) {
                Some(instant) => tz
                    .offset_from_utc_datetime(&instant.naive_utc())
                    .fix()
                    .local_minus_utc(),
                None => 0,
            },
        }
    }
}

/// How a session wants values as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) zone: Zone,
    pub(super) dates: DateStyle,
    /// Above 0: the shortest digits that read back as the same number; else so many digits more than are always exact.
    pub(super) extra_float_digits: i32,
    /// `bytea_output = escape`.
    pub(super) escapes_bytes: bool,
}

impl Style {
    /// What answers of the door itself have, in which nothing depends on it.
    pub(super) const PLAIN: Style = Style {
        zone: Zone::Utc,
        dates: DateStyle {
            form: DateForm::Iso,
            order: DateOrder::Mdy,
        },
        extra_float_digits: 1,
        escapes_bytes: false,
    };

    /// Digits to round a number to that has `exact` reliable ones.
    fn rounded(self, exact: i32) -> Option<usize> {
        let digits = (exact + self.extra_float_digits).max(1);
        (self.extra_float_digits <= 0).then(|| usize::try_from(digits).unwrap_or(1))
    }
}

/// `DateStyle`: <https://www.postgresql.org/docs/15/datatype-datetime.html#DATATYPE-DATETIME-OUTPUT>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DateStyle {
    form: DateForm,
    order: DateOrder,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum DateForm {
    #[default]
    Iso,
    Sql,
    Postgres,
    German,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum DateOrder {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

impl DateStyle {
    /// What a value of the setting makes of the style that was set before.
    pub(super) fn parse(value: &str, before: DateStyle) -> Option<DateStyle> {
        let mut style = before;
        let mut has_order = false;
        for word in value.split(',') {
            match word.trim().to_ascii_lowercase().as_str() {
                "iso" => style.form = DateForm::Iso,
                "sql" => style.form = DateForm::Sql,
                "postgres" => style.form = DateForm::Postgres,
                "german" => {
                    style.form = DateForm::German;
                    if !has_order {
                        style.order = DateOrder::Dmy;
                    }
                }
                "mdy" | "us" | "noneuro" | "noneuropean" => (style.order, has_order) = (DateOrder::Mdy, true),
                "dmy" | "euro" | "european" => (style.order, has_order) = (DateOrder::Dmy, true),
                "ymd" => (style.order, has_order) = (DateOrder::Ymd, true),
                "default" => style = DateStyle::default(),
                _ => return None,
            }
        }
        Some(style)
    }
}

impl std::fmt::Display for DateStyle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let form = match self.form {
            DateForm::Iso => "ISO",
            DateForm::Sql => "SQL",
            DateForm::Postgres => "Postgres",
            DateForm::German => "German",
        };
        let order = match self.order {
            DateOrder::Mdy => "MDY",
            DateOrder::Dmy => "DMY",
            DateOrder::Ymd => "YMD",
        };
        write!(f, "{form}, {order}")
    }
}

/// One column as described to the client.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) type_oid: u32,
    /// Precision and scale of a numeric that has them; -1 for all others.
    modifier: i32,
    pub(super) binary: bool,
}

/// As `atttypmod` has it. What has all the digits there are is a sum or a product, and has no limit in PostgreSQL.
fn type_modifier(data_type: &DataType) -> i32 {
    let (precision, scale, widest) = match data_type {
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => (*precision, *scale, u8::MAX),
        DataType::Decimal128(precision, scale) => (*precision, *scale, 38),
        DataType::Decimal256(precision, scale) => (*precision, *scale, 76),
        DataType::List(item) => return type_modifier(item.data_type()),
        _ => return -1,
    };
    match u8::try_from(scale) {
        Ok(scale) if precision < widest => (i32::from(precision) << 16 | i32::from(scale)) + 4,
        _ => -1,
    }
}

/// Columns of a schema under the result formats of a `Bind`: none is text, one is for all, else one a column.
pub(super) fn columns(schema: &Schema, formats: &[i16]) -> Vec<Column> {
    let describe = |(index, field): (usize, &arrow::datatypes::FieldRef)| {
        let format = if formats.len() == 1 {
            formats[0]
        } else {
            formats.get(index).copied().unwrap_or(0)
        };
        let (type_oid, modifier) = pg_types::stated_type(field)
            .unwrap_or_else(|| (pg_type_oid(field.data_type()), type_modifier(field.data_type())));
        Column {
            name: field.name().clone(),
            type_oid,
            modifier,
            binary: format == 1,
        }
    };
    schema.fields().iter().enumerate().map(describe).collect()
}

pub(super) fn row_description(out: &mut BytesMut, columns: &[Column]) {
    message(out, b'T', |out| {
        out.put_u16(column_count(columns.len()));
        for column in columns {
            put_text(out, &column.name);
            out.put_i32(0);
            out.put_i16(0);
            out.put_u32(column.type_oid);
            out.put_i16(pg_type_len(column.type_oid));
            out.put_i32(column.modifier);
            out.put_i16(i16::from(column.binary));
        }
    });
}

pub(super) fn column_count(columns: usize) -> u16 {
    u16::try_from(columns).unwrap_or(u16::MAX)
}

/// A batch ready to be written row by row.
#[derive(Debug)]
pub(super) struct RowEncoder {
    cells: Vec<Cells>,
    pub(super) rows: usize,
    style: Style,
}

impl RowEncoder {
    /// `schema` is what the client was told.
    pub(super) fn open(batch: &RecordBatch, schema: &Schema, style: Style) -> Result<RowEncoder, QueryError> {
        let cells = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| {
                Ok(match (pg_types::stated_type(field), Cells::open(array)?) {
                    (Some((pg_types::UUID, _)), cells) => Cells::Uuid(Box::new(cells)),
                    (Some((pg_types::JSON, _)), Cells::LargeText(array)) => Cells::PlainJson(array),
                    (Some((pg_types::INT2VECTOR | pg_types::OIDVECTOR, _)), cells) => cells.into_vector(),
                    (_, cells) => cells,
                })
            })
            .collect::<Result<Vec<_>, QueryError>>()?;
        Ok(RowEncoder {
            cells,
            rows: batch.num_rows(),
            style,
        })
    }

    /// One `DataRow` message; `columns` says in which format each field goes.
    pub(super) fn data_row(&self, row: usize, columns: &[Column], out: &mut BytesMut) {
        message(out, b'D', |out| {
            out.put_u16(column_count(self.cells.len()));
            for (cells, column) in self.cells.iter().zip(columns) {
                sized(out, cells, row, column.binary, self.style);
            }
        });
    }

    /// One row of binary COPY.
    pub(super) fn binary_tuple(&self, row: usize, out: &mut BytesMut) {
        out.put_u16(column_count(self.cells.len()));
        for cells in &self.cells {
            sized(out, cells, row, true, self.style);
        }
    }

    pub(super) fn width(&self) -> usize {
        self.cells.len()
    }

    /// The text of one cell, or false if it is null.
    pub(super) fn text(&self, row: usize, column: usize, out: &mut BytesMut) -> bool {
        let cells = &self.cells[column];
        if cells.is_null(row) {
            return false;
        }
        cells.text(row, out, self.style);
        true
    }
}

fn sized(out: &mut BytesMut, cells: &Cells, row: usize, binary: bool, style: Style) {
    if cells.is_null(row) {
        out.put_i32(-1);
        return;
    }
    let at = out.len();
    out.put_i32(0);
    if binary {
        cells.binary(row, out, style)
    } else {
        cells.text(row, out, style)
    }
    patch_length(out, at, at + 4);
}

/// A column by what is written, not by how Arrow stores it.
#[derive(Debug)]
enum Cells {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Oid(UInt32Array),
    UInt8(UInt64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Numeric(Decimal128Array),
    WideNumeric(Decimal256Array),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Bytes(BinaryArray),
    LargeBytes(LargeBinaryArray),
    BytesView(BinaryViewArray),
    FixedBytes(FixedSizeBinaryArray),
    Date(Int32Array),
    /// Microseconds of the day.
    Time(Int64Array),
    /// Raw values, how many make a microsecond (positive) or how many microseconds one makes (negative), with a zone or not.
    Instant {
        values: Int64Array,
        unit: TimeUnit,
        zoned: bool,
    },
    Months(IntervalYearMonthArray),
    DayTime(IntervalDayTimeArray),
    MonthDayNano(IntervalMonthDayNanoArray),
    Elapsed {
        values: Int64Array,
        unit: TimeUnit,
    },
    List {
        array: ArrayRef,
        items: Box<Cells>,
        ranges: Vec<(usize, usize)>,
        item_type: u32,
        /// `int2vector` and `oidvector`: items without commas and braces, counted from 0.
        is_vector: bool,
    },
    Json(ArrayRef),
    /// The same without a version before it.
    PlainJson(LargeStringArray),
    /// Texts of UUIDs.
    Uuid(Box<Cells>),
}

fn internal(error: &arrow::error::ArrowError) -> QueryError {
    QueryError::Internal {
        message: format!("cannot encode a column: {error}"),
    }
}

impl Cells {
    fn open(array: &ArrayRef) -> Result<Cells, QueryError> {
        let as_type = |target: &DataType| cast(array, target).map_err(|error| internal(&error));
        Ok(match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Boolean => Cells::Bool(array.as_boolean().clone()),
            DataType::Int8 | DataType::UInt8 | DataType::Int16 => {
                Cells::Int2(as_type(&DataType::Int16)?.as_primitive().clone())
            }
            DataType::UInt16 | DataType::Int32 => Cells::Int4(as_type(&DataType::Int32)?.as_primitive().clone()),
            DataType::UInt32 => Cells::Oid(array.as_primitive().clone()),
            DataType::Int64 => Cells::Int8(array.as_primitive().clone()),
            DataType::UInt64 => Cells::UInt8(array.as_primitive().clone()),
            DataType::Float16 | DataType::Float32 => Cells::Float4(as_type(&DataType::Float32)?.as_primitive().clone()),
            DataType::Float64 => Cells::Float8(array.as_primitive().clone()),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
                Cells::Numeric(as_type(&DataType::Decimal128(38, *scale))?.as_primitive().clone())
            }
            DataType::Decimal256(..) => Cells::WideNumeric(array.as_primitive().clone()),
            DataType::Utf8 => Cells::Text(array.as_string().clone()),
            DataType::LargeUtf8 => Cells::LargeText(array.as_string().clone()),
            DataType::Utf8View => Cells::TextView(array.as_string_view().clone()),
            DataType::Binary => Cells::Bytes(array.as_binary().clone()),
            DataType::LargeBinary => Cells::LargeBytes(array.as_binary().clone()),
            DataType::BinaryView => Cells::BytesView(array.as_binary_view().clone()),
            DataType::FixedSizeBinary(_) => Cells::FixedBytes(array.as_fixed_size_binary().clone()),
            DataType::Date32 | DataType::Date64 => {
                let days = cast(&as_type(&DataType::Date32)?, &DataType::Int32).map_err(|error| internal(&error))?;
                Cells::Date(days.as_primitive().clone())
            }
            DataType::Time32(_) | DataType::Time64(_) => {
                let micros = as_type(&DataType::Time64(TimeUnit::Microsecond))?;
                let micros = cast(&micros, &DataType::Int64).map_err(|error| internal(&error))?;
                Cells::Time(micros.as_primitive().clone())
            }
            DataType::Timestamp(unit, zone) => Cells::Instant {
                values: as_type(&DataType::Int64)?.as_primitive().clone(),
                unit: *unit,
                zoned: zone.is_some(),
            },
            DataType::Interval(IntervalUnit::YearMonth) => Cells::Months(array.as_primitive().clone()),
            DataType::Interval(IntervalUnit::DayTime) => Cells::DayTime(array.as_primitive().clone()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Cells::MonthDayNano(array.as_primitive().clone()),
            DataType::Duration(unit) => Cells::Elapsed {
                values: as_type(&DataType::Int64)?.as_primitive().clone(),
                unit: *unit,
            },
            DataType::Dictionary(_, value) => Cells::open(&as_type(value)?)?,
            DataType::RunEndEncoded(_, value) => Cells::open(&as_type(value.data_type())?)?,
            DataType::ListView(item) => Cells::open(&as_type(&DataType::List(Arc::clone(item)))?)?,
            DataType::LargeListView(item) => Cells::open(&as_type(&DataType::LargeList(Arc::clone(item)))?)?,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Self::open_list(array, item)?
            }
            DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => Cells::Json(Arc::clone(array)),
        })
    }

    fn open_list(array: &ArrayRef, item: &Field) -> Result<Cells, QueryError> {
        let item_type = pg_type_oid(item.data_type());
        if pg_type_oid(array.data_type()) == pg_types::JSONB {
            return Ok(Cells::Json(Arc::clone(array)));
        }
        let (values, ranges): (ArrayRef, Vec<(usize, usize)>) = if let Some(list) = array.as_list_opt::<i32>() {
            let range = |pair: &[i32]| {
                (
                    usize::try_from(pair[0]).unwrap_or(0),
                    usize::try_from(pair[1]).unwrap_or(0),
                )
            };
            (
                Arc::clone(list.values()),
                list.value_offsets().windows(2).map(range).collect(),
            )
        } else if let Some(list) = array.as_list_opt::<i64>() {
            let range = |pair: &[i64]| {
                (
                    usize::try_from(pair[0]).unwrap_or(0),
                    usize::try_from(pair[1]).unwrap_or(0),
                )
            };
            (
                Arc::clone(list.values()),
                list.value_offsets().windows(2).map(range).collect(),
            )
        } else {
            let list = array.as_fixed_size_list();
            let size = usize::try_from(list.value_length()).unwrap_or(0);
            (
                Arc::clone(list.values()),
                (0..list.len()).map(|row| (row * size, (row + 1) * size)).collect(),
            )
        };
        Ok(Cells::List {
            array: Arc::clone(array),
            items: Box::new(Cells::open(&values)?),
            ranges,
            item_type,
            is_vector: false,
        })
    }

    fn into_vector(mut self) -> Cells {
        if let Cells::List { is_vector, .. } = &mut self {
            *is_vector = true;
        }
        self
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Null => true,
            Cells::Bool(a) => a.is_null(row),
            Cells::Int2(a) => a.is_null(row),
            Cells::Int4(a) | Cells::Date(a) => a.is_null(row),
            Cells::Int8(a) | Cells::Time(a) => a.is_null(row),
            Cells::Instant { values, .. } | Cells::Elapsed { values, .. } => values.is_null(row),
            Cells::Oid(a) => a.is_null(row),
            Cells::UInt8(a) => a.is_null(row),
            Cells::Float4(a) => a.is_null(row),
            Cells::Float8(a) => a.is_null(row),
            Cells::Numeric(a) => a.is_null(row),
            Cells::WideNumeric(a) => a.is_null(row),
            Cells::Text(a) => a.is_null(row),
            Cells::LargeText(a) => a.is_null(row),
            Cells::TextView(a) => a.is_null(row),
            Cells::Bytes(a) => a.is_null(row),
            Cells::LargeBytes(a) => a.is_null(row),
            Cells::BytesView(a) => a.is_null(row),
            Cells::FixedBytes(a) => a.is_null(row),
            Cells::Months(a) => a.is_null(row),
            Cells::DayTime(a) => a.is_null(row),
            Cells::MonthDayNano(a) => a.is_null(row),
            Cells::List { array, .. } | Cells::Json(array) => array.is_null(row),
            Cells::PlainJson(a) => a.is_null(row),
            Cells::Uuid(texts) => texts.is_null(row),
        }
    }

    fn text(&self, row: usize, out: &mut BytesMut, style: Style) {
        match self {
            Cells::Null => {}
            Cells::Bool(a) => out.put_u8(if a.value(row) { b't' } else { b'f' }),
            Cells::Int2(a) => integer(out, i64::from(a.value(row))),
            Cells::Int4(a) => integer(out, i64::from(a.value(row))),
            Cells::Int8(a) => integer(out, a.value(row)),
            Cells::Oid(a) => integer(out, i64::from(a.value(row))),
            Cells::UInt8(a) => display(out, a.value(row)),
            Cells::Float4(a) => {
                let value = a.value(row);
                match style.rounded(6) {
                    Some(digits) => float(out, value.into(), &format_args!("{:.*e}", digits - 1, value), digits),
                    None => float(out, value.into(), &format_args!("{value:e}"), 6),
                }
            }
            Cells::Float8(a) => {
                let value = a.value(row);
                match style.rounded(15) {
                    Some(digits) => float(out, value, &format_args!("{:.*e}", digits - 1, value), digits),
                    None => float(out, value, &format_args!("{value:e}"), 15),
                }
            }
            Cells::Numeric(a) => out.put_slice(a.value_as_string(row).as_bytes()),
            Cells::WideNumeric(a) => out.put_slice(a.value_as_string(row).as_bytes()),
            Cells::Text(a) => out.put_slice(a.value(row).as_bytes()),
            Cells::LargeText(a) => out.put_slice(a.value(row).as_bytes()),
            Cells::TextView(a) => out.put_slice(a.value(row).as_bytes()),
            Cells::Bytes(a) => bytes(out, a.value(row), style),
            Cells::LargeBytes(a) => bytes(out, a.value(row), style),
            Cells::BytesView(a) => bytes(out, a.value(row), style),
            Cells::FixedBytes(a) => bytes(out, a.value(row), style),
            Cells::Date(a) => date(out, i64::from(a.value(row)), style.dates),
            Cells::Time(a) => time_of_day(out, a.value(row)),
            Cells::Instant { values, unit, zoned } => {
                let micros = to_micros(values.value(row), *unit);
                timestamp(out, micros, zoned.then_some(style.zone), style.dates);
            }
            Cells::Months(_) | Cells::DayTime(_) | Cells::MonthDayNano(_) | Cells::Elapsed { .. } => {
                let (months, days, micros) = self.interval(row);
                interval(out, months, days, micros);
            }
            Cells::List {
                items,
                ranges,
                is_vector: true,
                ..
            } => {
                let (start, end) = ranges[row];
                for item in start..end {
                    if item > start {
                        out.put_u8(b' ');
                    }
                    items.text(item, out, style);
                }
            }
            Cells::List {
                items,
                ranges,
                item_type,
                ..
            } => {
                let (start, end) = ranges[row];
                array_text(out, items, start..end, *item_type, style);
            }
            Cells::Json(array) => json(out, array, row),
            Cells::PlainJson(a) => out.put_slice(a.value(row).as_bytes()),
            Cells::Uuid(texts) => texts.text(row, out, style),
        }
    }

    fn binary(&self, row: usize, out: &mut BytesMut, style: Style) {
        match self {
            Cells::Null => {}
            Cells::Bool(a) => out.put_u8(u8::from(a.value(row))),
            Cells::Int2(a) => out.put_i16(a.value(row)),
            Cells::Int4(a) => out.put_i32(a.value(row)),
            Cells::Int8(a) => out.put_i64(a.value(row)),
            Cells::Oid(a) => out.put_u32(a.value(row)),
            Cells::UInt8(a) => numeric(out, &a.value(row).to_string()),
            Cells::Float4(a) => out.put_f32(a.value(row)),
            Cells::Float8(a) => out.put_f64(a.value(row)),
            Cells::Numeric(a) => numeric(out, &a.value_as_string(row)),
            Cells::WideNumeric(a) => numeric(out, &a.value_as_string(row)),
            Cells::Text(_) | Cells::TextView(_) => self.text(row, out, style),
            // JSON that SQL computed.
            Cells::LargeText(_) => {
                out.put_u8(1);
                self.text(row, out, style);
            }
            Cells::Bytes(a) => out.put_slice(a.value(row)),
            Cells::LargeBytes(a) => out.put_slice(a.value(row)),
            Cells::BytesView(a) => out.put_slice(a.value(row)),
            Cells::FixedBytes(a) => out.put_slice(a.value(row)),
            Cells::Date(a) => out.put_i32(a.value(row).saturating_sub(EPOCH_2000_DAYS)),
            Cells::Time(a) => out.put_i64(a.value(row)),
            Cells::Instant { values, unit, .. } => {
                out.put_i64(to_micros(values.value(row), *unit).saturating_sub(EPOCH_2000_US));
            }
            Cells::Months(_) | Cells::DayTime(_) | Cells::MonthDayNano(_) | Cells::Elapsed { .. } => {
                let (months, days, micros) = self.interval(row);
                out.put_i64(micros);
                out.put_i32(days);
                out.put_i32(months);
            }
            Cells::List {
                items,
                ranges,
                item_type,
                is_vector,
                ..
            } => {
                let (start, end) = ranges[row];
                let has_nulls = (start..end).any(|item| items.is_null(item));
                out.put_i32(i32::from(end > start));
                out.put_i32(i32::from(has_nulls));
                out.put_u32(*item_type);
                if end > start {
                    out.put_i32(i32::try_from(end - start).unwrap_or(i32::MAX));
                    out.put_i32(i32::from(!is_vector));
                    for item in start..end {
                        sized(out, items, item, true, style);
                    }
                }
            }
            Cells::Json(array) => {
                out.put_u8(1);
                json(out, array, row);
            }
            Cells::PlainJson(_) => self.text(row, out, style),
            Cells::Uuid(texts) => {
                let mut text = BytesMut::with_capacity(36);
                texts.text(row, &mut text, style);
                let digits = text.iter().filter_map(|byte| char::from(*byte).to_digit(16));
                let mut high = None;
                for digit in digits.filter_map(|digit| u8::try_from(digit).ok()) {
                    match high.take() {
                        None => high = Some(digit << 4),
                        Some(high) => out.put_u8(high | digit),
                    }
                }
            }
        }
    }

    /// Months, days, microseconds.
    fn interval(&self, row: usize) -> (i32, i32, i64) {
        match self {
            Cells::Months(a) => (a.value(row), 0, 0),
            Cells::DayTime(a) => (0, a.value(row).days, i64::from(a.value(row).milliseconds) * 1000),
            Cells::MonthDayNano(a) => {
                let value = a.value(row);
                (value.months, value.days, value.nanoseconds / 1000)
            }
            Cells::Elapsed { values, unit } => (0, 0, to_micros(values.value(row), *unit)),
            _ => (0, 0, 0),
        }
    }
}

fn to_micros(value: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => value.saturating_mul(1_000_000),
        TimeUnit::Millisecond => value.saturating_mul(1000),
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => value.div_euclid(1000),
    }
}

fn display(out: &mut BytesMut, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a buffer in memory grows");
}

fn integer(out: &mut BytesMut, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.put_slice(&digits[at..]);
}

/// At least `width` digits, zeros in front.
fn padded(out: &mut BytesMut, value: i64, width: usize) {
    let mut needed = 1;
    let mut bound = 10;
    while value >= bound && needed < 18 {
        needed += 1;
        bound *= 10;
    }
    for _ in needed..width {
        out.put_u8(b'0');
    }
    integer(out, value);
}

/// The digits of `scientific` without zeros at the end; exponents from `precision` digits on and below 1e-4, as `float8out` does.
fn float(out: &mut BytesMut, value: f64, scientific: &std::fmt::Arguments<'_>, precision: usize) {
    if value.is_nan() {
        return out.put_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.put_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let text = scientific.to_string();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.put_slice(sign.as_bytes());
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        significant => significant,
    };
    if exponent < -4 || usize::try_from(exponent).is_ok_and(|exponent| exponent >= precision) {
        let (first, rest) = digits.split_at(1);
        out.put_slice(first.as_bytes());
        if !rest.is_empty() {
            out.put_u8(b'.');
            out.put_slice(rest.as_bytes());
        }
        let (mark, size) = if exponent < 0 {
            (b'-', -exponent)
        } else {
            (b'+', exponent)
        };
        out.put_u8(b'e');
        out.put_u8(mark);
        return padded(out, i64::from(size), 2);
    }
    if exponent < 0 {
        out.put_slice(b"0.");
        out.put_bytes(b'0', usize::try_from(-exponent - 1).unwrap_or(0));
        return out.put_slice(digits.as_bytes());
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= whole {
        out.put_slice(digits.as_bytes());
        out.put_bytes(b'0', whole - digits.len());
    } else {
        out.put_slice(&digits.as_bytes()[..whole]);
        out.put_u8(b'.');
        out.put_slice(&digits.as_bytes()[whole..]);
    }
}

fn bytes(out: &mut BytesMut, bytes: &[u8], style: Style) {
    if !style.escapes_bytes {
        return hex(out, bytes);
    }
    for byte in bytes {
        match byte {
            b'\\' => out.put_slice(b"\\\\"),
            b' '..=b'~' => out.put_u8(*byte),
            other => {
                out.put_u8(b'\\');
                for shift in [6, 3, 0] {
                    out.put_u8(b'0' + (other >> shift & 7));
                }
            }
        }
    }
}

fn hex(out: &mut BytesMut, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.put_slice(b"\\x");
    for byte in bytes {
        out.put_u8(DIGITS[usize::from(byte >> 4)]);
        out.put_u8(DIGITS[usize::from(byte & 15)]);
    }
}

/// Days since 1970-01-01 to year, month, day (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn two(out: &mut BytesMut, value: i64) {
    padded(out, value, 2);
}

/// A day in the order of a style, with its own mark between the parts.
fn day_text(out: &mut BytesMut, (year, month, day): (i64, i64, i64), style: DateStyle) {
    let ((first, second), mark) = match (style.form, style.order) {
        (DateForm::Iso, _) => {
            padded(out, year, 4);
            out.put_u8(b'-');
            two(out, month);
            out.put_u8(b'-');
            return two(out, day);
        }
        (DateForm::German, _) => ((day, month), b'.'),
        (DateForm::Sql, DateOrder::Dmy) => ((day, month), b'/'),
        (DateForm::Sql, _) => ((month, day), b'/'),
        (DateForm::Postgres, DateOrder::Dmy) => ((day, month), b'-'),
        (DateForm::Postgres, _) => ((month, day), b'-'),
    };
    two(out, first);
    out.put_u8(mark);
    two(out, second);
    out.put_u8(mark);
    padded(out, year, 4);
}

/// The year before 1 is 1 BC.
fn common_year(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

fn date(out: &mut BytesMut, days: i64, style: DateStyle) {
    let (year, month, day) = civil(days);
    day_text(out, (common_year(year), month, day), style);
    if year <= 0 {
        out.put_slice(b" BC");
    }
}

fn time_of_day(out: &mut BytesMut, micros: i64) {
    let seconds = micros / 1_000_000;
    padded(out, seconds / 3600, 2);
    out.put_u8(b':');
    padded(out, seconds / 60 % 60, 2);
    out.put_u8(b':');
    padded(out, seconds % 60, 2);
    fraction(out, micros % 1_000_000);
}

/// `.123` for 123 000 microseconds; nothing for none.
fn fraction(out: &mut BytesMut, micros: i64) {
    if micros == 0 {
        return;
    }
    out.put_u8(b'.');
    let (mut value, mut width) = (micros, 6);
    while value % 10 == 0 {
        value /= 10;
        width -= 1;
    }
    padded(out, value, width);
}

fn timestamp(out: &mut BytesMut, utc_micros: i64, zone: Option<Zone>, style: DateStyle) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let offset = zone.map_or(0, |zone| zone.offset_seconds(utc_micros));
    let local = utc_micros.saturating_add(i64::from(offset) * 1_000_000);
    let (days, of_day) = (local.div_euclid(US_PER_DAY), local.rem_euclid(US_PER_DAY));
    let (year, month, day) = civil(days);
    if style.form == DateForm::Postgres {
        let place = |number: i64| usize::try_from(number).unwrap_or(0);
        out.put_slice(DAYS[place(days.rem_euclid(7))].as_bytes());
        let name = MONTHS[place(month - 1)];
        if style.order == DateOrder::Dmy {
            out.put_u8(b' ');
            two(out, day);
            out.put_u8(b' ');
            out.put_slice(name.as_bytes());
        } else {
            out.put_u8(b' ');
            out.put_slice(name.as_bytes());
            out.put_u8(b' ');
            two(out, day);
        }
        out.put_u8(b' ');
        time_of_day(out, of_day);
        out.put_u8(b' ');
        padded(out, common_year(year), 4);
    } else {
        day_text(out, (common_year(year), month, day), style);
        out.put_u8(b' ');
        time_of_day(out, of_day);
    }
    if let Some(zone) = zone {
        match (zone, style.form) {
            (_, DateForm::Iso) => {}
            (Zone::Utc, _) => out.put_slice(b" UTC"),
            // PostgreSQL has an abbreviation here where the zone has one that people use.
            (Zone::Other(_), _) => out.put_u8(b' '),
        }
        if style.form == DateForm::Iso || matches!(zone, Zone::Other(_)) {
            offset_text(out, offset);
        }
    }
    if year <= 0 {
        out.put_slice(b" BC");
    }
}

/// `+02`, `-03:30`.
fn offset_text(out: &mut BytesMut, offset: i32) {
    out.put_u8(if offset < 0 { b'-' } else { b'+' });
    let size = i64::from(offset.unsigned_abs());
    two(out, size / 3600);
    if size % 3600 != 0 {
        out.put_u8(b':');
        two(out, size / 60 % 60);
        if size % 60 != 0 {
            out.put_u8(b':');
            two(out, size % 60);
        }
    }
}

/// `1 year 2 mons 3 days 04:05:06.7`.
fn interval(out: &mut BytesMut, months: i32, days: i32, micros: i64) {
    let begin = out.len();
    let mut negative_before = false;
    for (value, one, many) in [
        (months / 12, "year", "years"),
        (months % 12, "mon", "mons"),
        (days, "day", "days"),
    ] {
        if value == 0 {
            continue;
        }
        if out.len() > begin {
            out.put_u8(b' ');
        }
        if negative_before && value > 0 {
            out.put_u8(b'+');
        }
        negative_before = value < 0;
        integer(out, i64::from(value));
        out.put_u8(b' ');
        out.put_slice(if value == 1 { one } else { many }.as_bytes());
    }
    if micros != 0 || out.len() == begin {
        if out.len() > begin {
            out.put_u8(b' ');
        }
        if micros < 0 {
            out.put_u8(b'-');
        } else if negative_before {
            out.put_u8(b'+');
        }
        time_of_day(out, micros.saturating_abs());
    }
}

fn array_text(out: &mut BytesMut, items: &Cells, range: std::ops::Range<usize>, item_type: u32, style: Style) {
    out.put_u8(b'{');
    let start = range.start;
    for item in range {
        if item > start {
            out.put_u8(b',');
        }
        if items.is_null(item) {
            out.put_slice(b"NULL");
            continue;
        }
        let at = out.len();
        items.text(item, out, style);
        let written = &out[at..];
        let may_need_quotes = !matches!(
            item_type,
            pg_types::BOOL
                | pg_types::INT2
                | pg_types::INT4
                | pg_types::INT8
                | pg_types::OID
                | pg_types::FLOAT4
                | pg_types::FLOAT8
        );
        if may_need_quotes && needs_quotes(written) {
            let value = written.to_vec();
            out.truncate(at);
            out.put_u8(b'"');
            for byte in value {
                if byte == b'"' || byte == b'\\' {
                    out.put_u8(b'\\');
                }
                out.put_u8(byte);
            }
            out.put_u8(b'"');
        }
    }
    out.put_u8(b'}');
}

fn needs_quotes(value: &[u8]) -> bool {
    value.is_empty()
        || value.eq_ignore_ascii_case(b"null")
        || value.iter().any(|byte| {
            matches!(
                byte,
                b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c
            )
        })
}

/// Base 10 000 digits, as `numeric_send` does.
fn numeric(out: &mut BytesMut, text: &str) {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (0x4000u16, rest),
        None => (0, text),
    };
    let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let whole = whole.trim_start_matches('0');
    let mut digits: Vec<u8> = vec![0; (4 - whole.len() % 4) % 4];
    digits.extend(whole.bytes().map(|byte| byte.wrapping_sub(b'0')));
    let mut weight = i16::try_from(digits.len() / 4).unwrap_or(i16::MAX) - 1;
    digits.extend(part.bytes().map(|byte| byte.wrapping_sub(b'0')));
    digits.resize(digits.len().next_multiple_of(4), 0);
    let mut groups: Vec<i16> = digits
        .chunks_exact(4)
        .map(|four| four.iter().fold(0i16, |sum, digit| sum * 10 + i16::from(*digit)))
        .collect();
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.put_u16(column_count(groups.len()));
    out.put_i16(weight);
    out.put_u16(if groups.is_empty() { 0 } else { sign });
    out.put_u16(column_count(part.len()));
    for group in groups {
        out.put_i16(group);
    }
}

/// One value as JSON. Separators as `jsonb` prints them.
fn json(out: &mut BytesMut, array: &ArrayRef, row: usize) {
    if array.is_null(row) {
        return out.put_slice(b"null");
    }
    match array.data_type() {
        DataType::Struct(fields) => {
            let columns = array.as_struct();
            out.put_u8(b'{');
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    out.put_slice(b", ");
                }
                json_string(out, field.name());
                out.put_slice(b": ");
                json(out, columns.column(index), row);
            }
            out.put_u8(b'}');
        }
        DataType::Map(..) => {
            let entries: ArrayRef = std::sync::Arc::new(array.as_map().value(row));
            let entries = entries.as_struct();
            out.put_u8(b'{');
            for entry in 0..entries.len() {
                if entry > 0 {
                    out.put_slice(b", ");
                }
                let mut key = BytesMut::new();
                if let Ok(cells) = Cells::open(entries.column(0)) {
                    cells.text(entry, &mut key, Style::PLAIN);
                }
                json_string(out, &String::from_utf8_lossy(&key));
                out.put_slice(b": ");
                json(out, entries.column(1), entry);
            }
            out.put_u8(b'}');
        }
        DataType::List(_) => json_array(out, &array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => json_array(out, &array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => json_array(out, &array.as_fixed_size_list().value(row)),
        DataType::Timestamp(unit, zone) => {
            let Ok(values) = cast(array, &DataType::Int64) else {
                return out.put_slice(b"null");
            };
            let micros = to_micros(values.as_primitive::<arrow::datatypes::Int64Type>().value(row), *unit);
            let (year, month, day) = civil(micros.div_euclid(US_PER_DAY));
            out.put_u8(b'"');
            day_text(out, (year, month, day), DateStyle::default());
            out.put_u8(b'T');
            let of_day = micros.rem_euclid(US_PER_DAY);
            time_of_day(out, of_day - of_day % 1_000_000);
            // Milliseconds always, so that texts compare as instants; more only if there is more.
            out.put_u8(b'.');
            match of_day % 1_000_000 {
                micros if micros % 1000 == 0 => padded(out, micros / 1000, 3),
                micros => padded(out, micros, 6),
            }
            out.put_slice(if zone.is_some() { b"Z\"" } else { b"\"" });
        }
        _ => match Cells::open(&array.slice(row, 1)) {
            Ok(Cells::Bool(a)) => out.put_slice(if a.value(0) { b"true" } else { b"false" }),
            Ok(cells @ (Cells::Float4(_) | Cells::Float8(_))) => {
                let at = out.len();
                cells.text(0, out, Style::PLAIN);
                // JSON has no infinities.
                if matches!(out[at..], [b'N', ..] | [b'I', ..] | [b'-', b'I', ..]) {
                    let word = String::from_utf8_lossy(&out[at..]).into_owned();
                    out.truncate(at);
                    json_string(out, &word);
                }
            }
            Ok(
                cells @ (Cells::Int2(_)
                | Cells::Int4(_)
                | Cells::Int8(_)
                | Cells::UInt8(_)
                | Cells::Numeric(_)
                | Cells::WideNumeric(_)),
            ) => cells.text(0, out, Style::PLAIN),
            Ok(cells) => {
                let mut text = BytesMut::new();
                cells.text(0, &mut text, Style::PLAIN);
                json_string(out, &String::from_utf8_lossy(&text));
            }
            Err(_) => out.put_slice(b"null"),
        },
    }
}

fn json_array(out: &mut BytesMut, items: &ArrayRef) {
    out.put_u8(b'[');
    for item in 0..items.len() {
        if item > 0 {
            out.put_slice(b", ");
        }
        json(out, items, item);
    }
    out.put_u8(b']');
}

fn json_string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    for character in text.chars() {
        match character {
            '"' => out.put_slice(b"\\\""),
            '\\' => out.put_slice(b"\\\\"),
            '\n' => out.put_slice(b"\\n"),
            '\r' => out.put_slice(b"\\r"),
            '\t' => out.put_slice(b"\\t"),
            control if control < ' ' => write!(out, "\\u{:04x}", u32::from(control)).expect("a buffer in memory grows"),
            other => out.put_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::{Int32Builder, MapBuilder, StringBuilder, StructArray};
    use arrow::datatypes::IntervalMonthDayNano;

    fn binary(array: ArrayRef) -> Vec<u8> {
        let mut out = BytesMut::new();
        Cells::open(&array).unwrap().binary(0, &mut out, Style::PLAIN);
        out.to_vec()
    }

    #[test]
    fn numerics_are_groups_of_four_digits() {
        let decimal = |digits: i128, scale: i8| -> ArrayRef {
            let array = Decimal128Array::from(vec![digits]);
            Arc::new(array.with_precision_and_scale(38, scale).unwrap())
        };
        let numeric = |weight: i16, sign: u16, scale: u16, groups: &[u16]| {
            let mut bytes = u16::try_from(groups.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend(weight.to_be_bytes());
            bytes.extend(sign.to_be_bytes());
            bytes.extend(scale.to_be_bytes());
            bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
            bytes
        };
        assert_eq!(binary(decimal(125, 2)), numeric(0, 0, 2, &[1, 2500]));
        assert_eq!(binary(decimal(-123_456, 0)), numeric(1, 0x4000, 0, &[12, 3456]));
        assert_eq!(binary(decimal(5, 4)), numeric(-1, 0, 4, &[5]));
        assert_eq!(
            binary(Arc::new(UInt64Array::from(vec![u64::MAX]))),
            numeric(4, 0, 0, &[1844, 6744, 737, 955, 1615])
        );
    }

    #[test]
    fn intervals_are_microseconds_days_and_months() {
        let interval = IntervalMonthDayNano {
            months: 14,
            days: -3,
            nanoseconds: 1_500_000_000,
        };
        let expected = [
            &1_500_000i64.to_be_bytes()[..],
            &(-3i32).to_be_bytes(),
            &14i32.to_be_bytes(),
        ];
        assert_eq!(
            binary(Arc::new(IntervalMonthDayNanoArray::from(vec![interval]))),
            expected.concat()
        );
    }

    #[test]
    fn oids_are_four_bytes() {
        assert_eq!(binary(Arc::new(UInt32Array::from(vec![u32::MAX]))), [0xff; 4]);
    }

    #[test]
    fn structs_and_maps_are_versioned_json() {
        let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let field = Arc::new(Field::new("a", DataType::Int32, true));
        let one: ArrayRef = Arc::new(StructArray::from(vec![(field, number)]));
        assert_eq!(binary(one), b"\x01{\"a\": 1}");

        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        map.keys().append_value("k\"");
        map.values().append_null();
        map.append(true).unwrap();
        assert_eq!(binary(Arc::new(map.finish())), b"\x01{\"k\\\"\": null}");
    }
}
