//! Arrow types and PostgreSQL types: the one mapping, used by `pg_catalog`, `information_schema` and the wire encoder.
//!
//! The types themselves (`pg_catalog/data/pg_type.tsv`) are PostgreSQL 15's own rows, so oids, lengths and in/out functions are the
//! ones clients have compiled in.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

pub const BOOL: u32 = 16;
pub const BYTEA: u32 = 17;
pub const CHAR: u32 = 18;
pub const NAME: u32 = 19;
pub const INT8: u32 = 20;
pub const INT2: u32 = 21;
pub const INT2VECTOR: u32 = 22;
pub const INT4: u32 = 23;
pub const TEXT: u32 = 25;
pub const OID: u32 = 26;
pub const XID: u32 = 28;
pub const OIDVECTOR: u32 = 30;
pub const CID: u32 = 29;
pub const JSON: u32 = 114;
pub const FLOAT4: u32 = 700;
pub const FLOAT8: u32 = 701;
pub const UNKNOWN: u32 = 705;
pub const BPCHAR: u32 = 1042;
pub const VARCHAR: u32 = 1043;
pub const DATE: u32 = 1082;
pub const TIME: u32 = 1083;
pub const TIMESTAMP: u32 = 1114;
pub const TIMESTAMPTZ: u32 = 1184;
pub const INTERVAL: u32 = 1186;
pub const NUMERIC: u32 = 1700;
pub const REGCLASS: u32 = 2205;
pub const REGTYPE: u32 = 2206;
pub const VOID: u32 = 2278;
pub const UUID: u32 = 2950;
pub const JSONB: u32 = 3802;

/// One row of `pg_type`, as far as code asks for it.
#[derive(Debug, Clone, Copy)]
pub struct PgType {
    pub oid: u32,
    /// As in `pg_type.typname`: `int4`, `_text`.
    pub name: &'static str,
    /// Bytes of a value; -1 for variable length.
    pub len: i16,
    pub by_value: bool,
    pub align: &'static str,
    pub storage: &'static str,
    /// The element type of an array (also of `name` and a few fixed ones), else 0.
    pub element: u32,
    /// The array over this type, or 0.
    pub array: u32,
    pub collation: u32,
}

impl PgType {
    fn is_array(&self) -> bool {
        self.len == -1 && self.element != 0 && self.name.starts_with('_')
    }
}

pub(crate) const PG_TYPE_ROWS: &str = include_str!("pg_catalog/data/pg_type.tsv");

#[derive(Debug)]
struct Types {
    by_oid: HashMap<u32, PgType>,
    by_name: HashMap<&'static str, u32>,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let mut lines = PG_TYPE_ROWS.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let mut types = Types {
        by_oid: HashMap::new(),
        by_name: HashMap::new(),
    };
    for line in lines {
        let fields: Vec<&'static str> = line.split('\t').collect();
        let field = |name: &str| {
            header
                .iter()
                .position(|h| *h == name)
                .and_then(|at| fields.get(at).copied())
                .unwrap_or_default()
        };
        let number = |name: &str| field(name).parse::<u32>().unwrap_or(0);
        let ty = PgType {
            oid: number("oid"),
            name: field("typname"),
            len: field("typlen").parse().unwrap_or(-1),
            by_value: field("typbyval") == "t",
            align: field("typalign"),
            storage: field("typstorage"),
            element: number("typelem"),
            array: number("typarray"),
            collation: number("typcollation"),
        };
        types.by_name.insert(ty.name, ty.oid);
        types.by_oid.insert(ty.oid, ty);
    }
    types
});

/// The type with this oid.
pub fn pg_type(oid: u32) -> Option<&'static PgType> {
    TYPES.by_oid.get(&oid)
}

/// The type with this `typname`, or with an SQL spelling (`integer`, `character varying`, `text[]`).
pub fn pg_type_by_name(name: &str) -> Option<&'static PgType> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"');
    if let Some(element) = name.strip_suffix("[]") {
        return pg_type_by_name(element).and_then(|element| pg_type(element.array));
    }
    let name = match name.split('(').next().unwrap_or(name).trim() {
        "boolean" => "bool",
        "smallint" => "int2",
        "integer" | "int" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "double precision" => "float8",
        "decimal" => "numeric",
        "character varying" => "varchar",
        "character" => "bpchar",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        other => other,
    };
    TYPES.by_name.get(name).and_then(|oid| pg_type(*oid))
}

/// How SQL spells a type: what `format_type(oid, typmod)` answers and `information_schema.columns.data_type` builds on.
pub fn sql_name(oid: u32, type_modifier: Option<i32>) -> String {
    if oid == 0 {
        return "-".into();
    }
    let Some(ty) = pg_type(oid) else { return "???".into() };
    if ty.is_array() {
        return format!("{}[]", sql_name(ty.element, type_modifier));
    }
    let modifier = type_modifier.filter(|m| *m >= 0);
    match ty.oid {
        BOOL => "boolean".into(),
        INT2 => "smallint".into(),
        INT4 => "integer".into(),
        INT8 => "bigint".into(),
        FLOAT4 => "real".into(),
        FLOAT8 => "double precision".into(),
        CHAR => "\"char\"".into(),
        TIME => "time without time zone".into(),
        1266 => "time with time zone".into(),
        TIMESTAMP => "timestamp without time zone".into(),
        TIMESTAMPTZ => "timestamp with time zone".into(),
        1560 => "bit".into(),
        1562 => "bit varying".into(),
        VARCHAR => modifier.map_or("character varying".into(), |m| format!("character varying({})", m - 4)),
        BPCHAR => modifier.map_or("character".into(), |m| format!("character({})", m - 4)),
        NUMERIC => modifier.map_or("numeric".into(), |m| {
            let digits = m - 4;
            format!("numeric({},{})", (digits >> 16) & 0xffff, digits & 0x7ff)
        }),
        _ => ty.name.into(),
    }
}

/// The PostgreSQL type of a column: lists of scalars are arrays; structs, maps and lists of those are `jsonb`.
pub fn pg_type_oid(ty: &DataType) -> u32 {
    match ty {
        DataType::Boolean => BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => INT2,
        DataType::Int32 | DataType::UInt16 => INT4,
        DataType::Int64 => INT8,
        // `pg_catalog` has its oids in this type, and no table has it.
        DataType::UInt32 => OID,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => NUMERIC,
        DataType::Float16 | DataType::Float32 => FLOAT4,
        DataType::Float64 => FLOAT8,
        DataType::Null | DataType::Utf8 | DataType::Utf8View => TEXT,
        // JSON that SQL computes; no table has it.
        DataType::LargeUtf8 => JSONB,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => BYTEA,
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => TIMESTAMPTZ,
        DataType::Date32 | DataType::Date64 => DATE,
        DataType::Time32(_) | DataType::Time64(_) => TIME,
        DataType::Duration(_) | DataType::Interval(_) => INTERVAL,
        DataType::Dictionary(_, value) => pg_type_oid(value),
        DataType::RunEndEncoded(_, values) => pg_type_oid(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            match pg_type_oid(item.data_type()) {
                JSONB if *item.data_type() != DataType::LargeUtf8 => JSONB,
                // Lists may differ in length, the rows of a two-dimensional array may not.
                element => {
                    pg_type(element).map_or(JSONB, |element| if element.array == 0 { JSONB } else { element.array })
                }
            }
        }
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => JSONB,
    }
}

/// Metadata of a field: the oid of a type that has no Arrow type of its own (`varchar`, `bpchar`, `name`, `json`, `uuid`, vectors), and its
/// modifier, as `1043:-1`. Its values are those of the Arrow type.
const STATED_TYPE: &str = "pg_type";

/// The metadata of a field that is of such a type.
pub(crate) fn stating(oid: u32, modifier: i32) -> HashMap<String, String> {
    HashMap::from([(STATED_TYPE.to_owned(), format!("{oid}:{modifier}"))])
}

/// The PostgreSQL type of a field and its modifier, if that is more than its Arrow type says.
pub(crate) fn stated_type(field: &Field) -> Option<(u32, i32)> {
    let (oid, modifier) = field.metadata().get(STATED_TYPE)?.split_once(':')?;
    Some((oid.parse().ok()?, modifier.parse().ok()?))
}

/// The Arrow type a parameter of a declared type is planned with; `None` leaves it to inference.
pub fn parameter_type(oid: u32) -> Option<DataType> {
    Some(match oid {
        BOOL => DataType::Boolean,
        INT2 => DataType::Int16,
        INT4 => DataType::Int32,
        INT8 | OID | XID | CID => DataType::Int64,
        FLOAT4 => DataType::Float32,
        FLOAT8 => DataType::Float64,
        NUMERIC => DataType::Decimal128(38, 10),
        BYTEA => DataType::Binary,
        DATE => DataType::Date32,
        TIME => DataType::Time64(TimeUnit::Nanosecond),
        TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        UNKNOWN | VOID => return None,
        _ => match pg_type(oid)? {
            array if array.is_array() => DataType::new_list(parameter_type(array.element)?, true),
            // A `reg*` parameter too is a name or a number, to be looked up.
            _ => DataType::Utf8,
        },
    })
}

/// The `typname` of a column's type.
pub fn pg_type_name(ty: &DataType) -> &'static str {
    pg_type(pg_type_oid(ty)).map_or("text", |ty| ty.name)
}

/// Bytes of a value as `RowDescription` gives them; -1 for variable length.
pub fn pg_type_len(oid: u32) -> i16 {
    pg_type(oid).map_or(-1, |ty| ty.len)
}

/// The Arrow type a column of `pg_catalog` or `information_schema` has here. Oids are `UInt32`; what only PostgreSQL can read
/// (`pg_node_tree`, `aclitem`, `pg_lsn`, the `reg*` names) is text.
pub(crate) fn catalog_arrow_type(oid: u32) -> DataType {
    match oid {
        BOOL => DataType::Boolean,
        INT2 => DataType::Int16,
        INT4 => DataType::Int32,
        INT8 => DataType::Int64,
        OID | XID => DataType::UInt32,
        FLOAT4 => DataType::Float32,
        FLOAT8 => DataType::Float64,
        NUMERIC => DataType::Decimal128(38, 0),
        BYTEA => DataType::Binary,
        TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        INT2VECTOR => DataType::new_list(DataType::Int16, true),
        OIDVECTOR => DataType::new_list(DataType::UInt32, true),
        // _float4, _float8, _int2, _oid, _bool
        1021 => DataType::new_list(DataType::Float32, true),
        1022 => DataType::new_list(DataType::Float64, true),
        1005 => DataType::new_list(DataType::Int16, true),
        1028 => DataType::new_list(DataType::UInt32, true),
        1000 => DataType::new_list(DataType::Boolean, true),
        _ => match pg_type(oid) {
            Some(ty) if ty.name.starts_with('_') => DataType::new_list(DataType::Utf8, true),
            _ => DataType::Utf8,
        },
    }
}
