//! `GetSqlInfo` and `GetXdbcTypeInfo`: what this server can do, in the words of ODBC. Drivers believe it, so tests try what is said here.

use std::collections::BTreeMap;

use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportedSubqueries,
    SqlSupportedTransaction, SqlSupportedUnions, SqlSupportsConvert, SqlTransactionIsolationLevel, SupportedSqlGrammar,
    XdbcDataType, XdbcDatetimeSubcode,
};

use super::FlightOptions;

/// Words that are reserved beside those of SQL:2003.
const KEYWORDS: &[&str] = &["ILIKE", "LIMIT", "OFFSET", "QUALIFY", "RETURNING"];

const NUMERIC_FUNCTIONS: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cot", "degrees", "exp", "floor", "ln", "log", "log10",
    "pi", "power", "radians", "random", "round", "signum", "sin", "sqrt", "tan", "trunc",
];

const STRING_FUNCTIONS: &[&str] = &[
    "ascii",
    "btrim",
    "character_length",
    "chr",
    "concat",
    "concat_ws",
    "initcap",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "octet_length",
    "position",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "translate",
    "upper",
];

const SYSTEM_FUNCTIONS: &[&str] = &["coalesce", "current_database", "current_schema", "nullif", "version"];

const DATETIME_FUNCTIONS: &[&str] = &["date_part", "date_trunc", "now", "to_char", "to_timestamp"];

/// One bit for each.
fn bits(values: &[i32]) -> i32 {
    values.iter().fold(0, |mask, value| mask | 1 << value)
}

fn milliseconds(span: std::time::Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}

/// What casts there are, tried by a test.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    use SqlSupportsConvert as Type;
    let numbers = [
        Type::SqlConvertSmallint,
        Type::SqlConvertInteger,
        Type::SqlConvertBigint,
        Type::SqlConvertReal,
        Type::SqlConvertFloat,
        Type::SqlConvertDecimal,
        Type::SqlConvertNumeric,
    ];
    let times = [Type::SqlConvertDate, Type::SqlConvertTimestamp];
    let texts = [Type::SqlConvertChar, Type::SqlConvertVarchar];
    let codes = |groups: &[&[Type]]| groups.concat().into_iter().map(|ty| ty as i32).collect::<Vec<_>>();
    let from_number = codes(&[&numbers, &texts]);
    let from_time = codes(&[&times, &texts]);
    let from_text = codes(&[&numbers, &times, &texts, &[Type::SqlConvertBit]]);
    let each = |types: &[Type], to: &Vec<i32>| types.iter().map(|ty| (*ty as i32, to.clone())).collect::<Vec<_>>();
    [
        each(&numbers, &from_number),
        each(&times, &from_time),
        each(&texts, &from_text),
    ]
    .concat()
    .into_iter()
    .collect()
}

pub(super) fn infos(options: &FlightOptions) -> Result<SqlInfoData, FlightError> {
    let mut infos = SqlInfoDataBuilder::new();
    let texts = [
        (SqlInfo::FlightSqlServerName, "Sparkgate"),
        (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
        (SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION),
        (SqlInfo::SqlIdentifierQuoteChar, "\""),
        (SqlInfo::SqlSearchStringEscape, "\\"),
        (SqlInfo::SqlExtraNameCharacters, "$"),
        (SqlInfo::SqlSchemaTerm, "schema"),
        (SqlInfo::SqlProcedureTerm, "function"),
        (SqlInfo::SqlCatalogTerm, "database"),
    ];
    let lists = [
        (SqlInfo::SqlKeywords, KEYWORDS),
        (SqlInfo::SqlNumericFunctions, NUMERIC_FUNCTIONS),
        (SqlInfo::SqlStringFunctions, STRING_FUNCTIONS),
        (SqlInfo::SqlSystemFunctions, SYSTEM_FUNCTIONS),
        (SqlInfo::SqlDatetimeFunctions, DATETIME_FUNCTIONS),
    ];
    let flags = [
        (SqlInfo::FlightSqlServerReadOnly, true),
        (SqlInfo::FlightSqlServerSql, true),
        (SqlInfo::FlightSqlServerSubstrait, false),
        (SqlInfo::FlightSqlServerCancel, true),
        (SqlInfo::FlightSqlServerBulkIngestion, false),
        (SqlInfo::FlightSqlServerIngestTransactionsSupported, false),
        (SqlInfo::SqlDdlCatalog, false),
        (SqlInfo::SqlDdlSchema, false),
        (SqlInfo::SqlDdlTable, false),
        (SqlInfo::SqlAllTablesAreSelectable, true),
        (SqlInfo::SqlSupportsColumnAliasing, true),
        (SqlInfo::SqlNullPlusNullIsNull, true),
        (SqlInfo::SqlSupportsTableCorrelationNames, true),
        (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
        (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
        (SqlInfo::SqlSupportsOrderByUnrelated, true),
        (SqlInfo::SqlSupportsLikeEscapeClause, true),
        (SqlInfo::SqlSupportsNonNullableColumns, true),
        (SqlInfo::SqlSupportsIntegrityEnhancementFacility, false),
        (SqlInfo::SqlCatalogAtStart, true),
        (SqlInfo::SqlSelectForUpdateSupported, false),
        (SqlInfo::SqlStoredProceduresSupported, false),
        (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
        (SqlInfo::SqlMaxRowSizeIncludesBlobs, true),
        (SqlInfo::SqlTransactionsSupported, false),
        (SqlInfo::SqlDataDefinitionCausesTransactionCommit, false),
        (SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false),
        (SqlInfo::SqlBatchUpdatesSupported, false),
        (SqlInfo::SqlSavepointsSupported, false),
        (SqlInfo::SqlNamedParametersSupported, false),
        (SqlInfo::SqlLocatorsUpdateCopy, false),
        (SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false),
    ];
    // Zero is without a limit, or without one that is known.
    let limits = [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
        SqlInfo::SqlMaxUsernameLength,
    ];
    let lengths = [
        (SqlInfo::SqlMaxConnections, options.max_connections),
        (SqlInfo::SqlMaxStatementLength, options.max_message_bytes),
    ];
    let numbers = [
        (
            SqlInfo::FlightSqlServerTransaction,
            SqlSupportedTransaction::None as i32,
        ),
        // Of prepared statements that nobody uses.
        (
            SqlInfo::FlightSqlServerStatementTimeout,
            milliseconds(options.token_lifetime),
        ),
        (SqlInfo::FlightSqlServerTransactionTimeout, 0),
        (
            SqlInfo::SqlIdentifierCase,
            SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32,
        ),
        // They are kept as they are, for which there is no value.
        (
            SqlInfo::SqlQuotedIdentifierCase,
            SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32,
        ),
        (SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32),
        (
            SqlInfo::SqlSupportedGroupBy,
            bits(&[
                SqlSupportedGroupBy::SqlGroupByUnrelated as i32,
                SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32,
            ]),
        ),
        (
            SqlInfo::SqlSupportedGrammar,
            bits(&[
                SupportedSqlGrammar::SqlMinimumGrammar as i32,
                SupportedSqlGrammar::SqlCoreGrammar as i32,
            ]),
        ),
        // Its lowest level has updates.
        (SqlInfo::SqlAnsi92SupportedLevel, 0),
        (
            SqlInfo::SqlOuterJoinsSupportLevel,
            bits(&[
                SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins as i32,
                SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32,
            ]),
        ),
        (SqlInfo::SqlSchemasSupportedActions, 0),
        (SqlInfo::SqlCatalogsSupportedActions, 0),
        (SqlInfo::SqlSupportedPositionedCommands, 0),
        (
            SqlInfo::SqlSupportedSubqueries,
            bits(&[
                SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
                SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
                SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
            ]),
        ),
        (
            SqlInfo::SqlSupportedUnions,
            bits(&[
                SqlSupportedUnions::SqlUnion as i32,
                SqlSupportedUnions::SqlUnionAll as i32,
            ]),
        ),
        (
            SqlInfo::SqlSupportedTransactionsIsolationLevels,
            bits(&[SqlTransactionIsolationLevel::SqlTransactionNone as i32]),
        ),
        (
            SqlInfo::SqlSupportedResultSetTypes,
            bits(&[SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32]),
        ),
        (SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 0),
        (
            SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly,
            bits(&[SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32]),
        ),
        (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0),
        (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0),
    ];
    let level = SqlTransactionIsolationLevel::SqlTransactionNone as i64;
    infos.append(SqlInfo::SqlDefaultTransactionIsolation, level);
    infos.append(SqlInfo::SqlSupportsConvert, conversions());
    for limit in limits {
        infos.append(limit, 0_i64);
    }
    for (info, length) in lengths {
        infos.append(info, i64::try_from(length).unwrap_or(i64::MAX));
    }
    for (info, is_so) in flags {
        infos.append(info, is_so);
    }
    for (info, text) in texts {
        infos.append(info, text);
    }
    for (info, words) in lists {
        infos.append(info, words);
    }
    for (info, number) in numbers {
        infos.append(info, number);
    }
    infos.build()
}

/// The types of columns and casts.
pub(super) fn types() -> Result<XdbcTypeInfoData, FlightError> {
    let plain = |name: &str, data_type: XdbcDataType, size: Option<i32>| XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type,
        column_size: size,
        literal_prefix: None,
        literal_suffix: None,
        create_params: None,
        nullable: Nullable::NullabilityNullable,
        case_sensitive: false,
        searchable: Searchable::Full,
        unsigned_attribute: None,
        fixed_prec_scale: false,
        auto_increment: Some(false),
        local_type_name: Some(name.to_owned()),
        minimum_scale: None,
        maximum_scale: None,
        sql_data_type: data_type,
        datetime_subcode: None,
        num_prec_radix: None,
        interval_precision: None,
    };
    let quoted = |info: XdbcTypeInfo| XdbcTypeInfo {
        literal_prefix: Some("'".into()),
        literal_suffix: Some("'".into()),
        case_sensitive: true,
        ..info
    };
    let number = |name: &str, data_type: XdbcDataType, digits: i32, scale: i32| XdbcTypeInfo {
        unsigned_attribute: Some(false),
        minimum_scale: Some(0),
        maximum_scale: Some(scale),
        num_prec_radix: Some(10),
        ..plain(name, data_type, Some(digits))
    };
    let time = |name: &str, data_type: XdbcDataType, size: i32, code: Option<XdbcDatetimeSubcode>| XdbcTypeInfo {
        case_sensitive: false,
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: code,
        ..quoted(plain(name, data_type, Some(size)))
    };
    let subcode = XdbcDatetimeSubcode::XdbcSubcodeTimestamp;
    let mut types = XdbcTypeInfoDataBuilder::new();
    for info in [
        plain("boolean", XdbcDataType::XdbcBit, Some(1)),
        number("bigint", XdbcDataType::XdbcBigint, 19, 0),
        quoted(plain("bytea", XdbcDataType::XdbcVarbinary, None)),
        quoted(plain("text", XdbcDataType::XdbcVarchar, None)),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".into(), "scale".into()]),
            ..number("numeric", XdbcDataType::XdbcNumeric, 76, 76)
        },
        number("integer", XdbcDataType::XdbcInteger, 10, 0),
        number("smallint", XdbcDataType::XdbcSmallint, 5, 0),
        number("real", XdbcDataType::XdbcReal, 7, 0),
        number("double precision", XdbcDataType::XdbcDouble, 15, 0),
        time(
            "date",
            XdbcDataType::XdbcDate,
            10,
            Some(XdbcDatetimeSubcode::XdbcSubcodeYear),
        ),
        time(
            "time",
            XdbcDataType::XdbcTime,
            15,
            Some(XdbcDatetimeSubcode::XdbcSubcodeTime),
        ),
        time("timestamp", XdbcDataType::XdbcTimestamp, 26, Some(subcode)),
        time(
            "timestamp with time zone",
            XdbcDataType::XdbcTimestamp,
            32,
            Some(XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone),
        ),
        time("interval", XdbcDataType::XdbcInterval, 49, None),
    ] {
        types.append(info);
    }
    types.build()
}
