//! The functions PostgreSQL clients call on the catalog and the session. What they answer comes from the session's variables, the
//! directory of relations and the pinned snapshot.
//!
//! Advisory locks lock nothing: there is nothing to be kept from others.
//! Names with `__` in them are what [`super::rewrite`] makes of casts to and from the `reg*` types.

mod array;
mod format;
mod json;
mod math;
mod operators;
pub(crate) mod plain;
mod text;
mod time;

use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

pub use plain::documented_functions;
pub(crate) use plain::{named, plain_functions};

use arrow::array::{Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::catalog::activity::Activity;
use crate::catalog::pg_catalog::{self, Directory, Relation};
use crate::catalog::sql_error::sql_error;
use crate::catalog::{NewSetting, SessionVars, pg_types};
use crate::history::Snapshot;

/// What the functions of a session know.
pub(crate) struct FunctionContext {
    pub(crate) vars: SessionVars,
    pub(crate) directory: Arc<Directory>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) activity: Arc<Activity>,
    /// Start of the program, microseconds since the epoch.
    pub(crate) started: i64,
}

/// Without its content: error messages print functions, and whose session it is must not be in them.
impl std::fmt::Debug for FunctionContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FunctionContext")
    }
}

type Eval = fn(&FunctionContext, &[ScalarValue]) -> Result<ScalarValue>;
type ReturnType = fn(&[DataType]) -> DataType;

struct Definition {
    name: &'static str,
    arguments: RangeInclusive<usize>,
    returns: ReturnType,
    /// Null as soon as one argument is.
    strict: bool,
    /// It does something, so it must not be computed while a statement is planned.
    acts: bool,
    eval: Eval,
}

#[derive(Debug)]
struct PgFunction {
    definition: &'static Definition,
    signature: Signature,
    context: Arc<FunctionContext>,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name && Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for PgFunction {}

impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if !self.definition.arguments.contains(&arguments.len()) {
            return plan_err!(
                "function {} does not take {} arguments",
                self.definition.name,
                arguments.len()
            );
        }
        Ok((self.definition.returns)(arguments))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let returns = call.return_type().clone();
        let one = |arguments: &[ScalarValue]| -> Result<ScalarValue> {
            if self.definition.strict && arguments.iter().any(ScalarValue::is_null) {
                return ScalarValue::try_from(&returns);
            }
            let value = (self.definition.eval)(&self.context, arguments)?;
            if value.is_null() {
                ScalarValue::try_from(&returns)
            } else {
                Ok(value)
            }
        };
        if call
            .args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)))
        {
            let arguments: Vec<ScalarValue> = call
                .args
                .into_iter()
                .filter_map(|argument| match argument {
                    ColumnarValue::Scalar(value) => Some(value),
                    ColumnarValue::Array(_) => None,
                })
                .collect();
            return Ok(ColumnarValue::Scalar(one(&arguments)?));
        }
        let arrays = call
            .args
            .iter()
            .map(|argument| argument.to_array(call.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let mut values = Vec::with_capacity(call.number_rows);
        for row in 0..call.number_rows {
            let arguments = arrays
                .iter()
                .map(|array| ScalarValue::try_from_array(array, row))
                .collect::<Result<Vec<_>>>()?;
            values.push(one(&arguments)?);
        }
        if values.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&returns)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }
}

/// The functions of one session.
pub(crate) fn functions(context: &Arc<FunctionContext>) -> impl Iterator<Item = Arc<ScalarUDF>> {
    let signature =
        |volatility| Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility);
    // Not immutable: they read the session. Not volatile, unless they act: within a statement they do not change.
    let (reads, acts) = (signature(Volatility::Stable), signature(Volatility::Volatile));
    DEFINITIONS.iter().map(move |definition| {
        let function = PgFunction {
            definition,
            signature: if definition.acts { acts.clone() } else { reads.clone() },
            context: Arc::clone(context),
        };
        Arc::new(ScalarUDF::new_from_impl(function))
    })
}

/// Functions that give a list here and rows in PostgreSQL: the rewrite puts `unnest` around them.
pub(crate) const SET_RETURNING: &[&str] = &[
    "generate_subscripts",
    "_pg_expandarray",
    "generate_series",
    "pg_get_keywords",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "jsonb_array_elements",
    "json_array_elements",
    "jsonb_array_elements_text",
    "json_array_elements_text",
    "jsonb_object_keys",
    "json_object_keys",
    "jsonb_each",
    "json_each",
    "jsonb_each_text",
    "json_each_text",
];

/// Those of them whose rows have columns, by name.
pub(crate) const RECORD_RETURNING: &[(&str, &[&str])] = &[
    ("_pg_expandarray", &["x", "n"]),
    (
        "pg_get_keywords",
        &["word", "catcode", "barelabel", "catdesc", "baredesc"],
    ),
    ("jsonb_each", &["key", "value"]),
    ("json_each", &["key", "value"]),
    ("jsonb_each_text", &["key", "value"]),
    ("json_each_text", &["key", "value"]),
];

/// The name of the column of a set of values, where it is not the function's.
pub(crate) fn set_column(function: &str) -> Option<&'static str> {
    matches!(
        function,
        "jsonb_array_elements" | "json_array_elements" | "jsonb_array_elements_text" | "json_array_elements_text"
    )
    .then_some("value")
}

fn text_type(_: &[DataType]) -> DataType {
    DataType::Utf8
}
fn bool_type(_: &[DataType]) -> DataType {
    DataType::Boolean
}
fn int4_type(_: &[DataType]) -> DataType {
    DataType::Int32
}
fn int8_type(_: &[DataType]) -> DataType {
    DataType::Int64
}
fn oid_type(_: &[DataType]) -> DataType {
    DataType::UInt32
}
fn texts_type(_: &[DataType]) -> DataType {
    DataType::new_list(DataType::Utf8, true)
}
fn int4s_type(_: &[DataType]) -> DataType {
    DataType::new_list(DataType::Int32, true)
}
fn time_type(_: &[DataType]) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
fn expanded_type(arguments: &[DataType]) -> DataType {
    let element = match arguments.first() {
        Some(DataType::List(item)) => item.data_type().clone(),
        _ => DataType::Int16,
    };
    let fields = Fields::from(vec![
        Field::new("x", element, true),
        Field::new("n", DataType::Int32, true),
    ]);
    DataType::new_list(DataType::Struct(fields), true)
}

const fn function(name: &'static str, arguments: RangeInclusive<usize>, returns: ReturnType, eval: Eval) -> Definition {
    Definition {
        name,
        arguments,
        returns,
        strict: true,
        acts: false,
        eval,
    }
}

const fn with_nulls(
    name: &'static str,
    arguments: RangeInclusive<usize>,
    returns: ReturnType,
    eval: Eval,
) -> Definition {
    Definition {
        strict: false,
        ..function(name, arguments, returns, eval)
    }
}

/// One that does something, each time a row asks for it.
const fn action(name: &'static str, arguments: RangeInclusive<usize>, returns: ReturnType, eval: Eval) -> Definition {
    Definition {
        acts: true,
        ..function(name, arguments, returns, eval)
    }
}

fn null(_: &FunctionContext, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(ScalarValue::Null)
}
fn yes(_: &FunctionContext, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(ScalarValue::Boolean(Some(true)))
}
fn no(_: &FunctionContext, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(ScalarValue::Boolean(Some(false)))
}
fn zero(_: &FunctionContext, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(ScalarValue::Int64(Some(0)))
}
fn empty_text(_: &FunctionContext, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(text(""))
}
fn user(context: &FunctionContext, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(text(&context.vars.user))
}
fn database(context: &FunctionContext, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(text(&context.vars.database))
}

/// Takes effect when the statement has ended.
fn set_config(context: &FunctionContext, arguments: &[ScalarValue]) -> Result<ScalarValue> {
    let [name, value, is_local] = arguments else {
        return exec_err!("set_config takes a name, a value and whether it is for the transaction only");
    };
    let Some(name) = string(name) else {
        return Err(sql_error("22004", "SET requires parameter name"));
    };
    let value = string(value);
    context.vars.set_config.push(NewSetting {
        name,
        value: value.clone(),
        is_local: matches!(is_local, ScalarValue::Boolean(Some(true))),
    });
    Ok(value.map_or_else(|| text(""), |value| text(&value)))
}

/// Users may end what is their own, the role admin what is anybody's.
fn signal_session(
    context: &FunctionContext,
    arguments: &[ScalarValue],
    verb: &'static str,
    signal: fn(&Activity, i32) -> bool,
) -> Result<ScalarValue> {
    let pid = arguments
        .first()
        .and_then(integer)
        .and_then(|pid| i32::try_from(pid).ok());
    let Some((pid, user)) = pid.and_then(|pid| Some((pid, context.activity.user_of(pid)?))) else {
        return Ok(ScalarValue::Boolean(Some(false)));
    };
    if !context.vars.is_admin && user != context.vars.user {
        let message = format!("must be a user with the role admin to {verb} the statements of other users");
        return Err(sql_error("42501", message));
    }
    Ok(ScalarValue::Boolean(Some(signal(&context.activity, pid))))
}

static DEFINITIONS: &[Definition] = &[
    // The session
    function("version", 0..=0, text_type, |_, _| Ok(text(&version()))),
    function("current_database", 0..=0, text_type, database),
    function("current_catalog", 0..=0, text_type, database),
    function("current_user", 0..=0, text_type, user),
    function("current_role", 0..=0, text_type, user),
    function("session_user", 0..=0, text_type, user),
    function("user", 0..=0, text_type, user),
    function("current_schema", 0..=0, text_type, |context, _| {
        Ok(schemas_of(context).next().map_or(ScalarValue::Null, text))
    }),
    function("current_schemas", 1..=1, texts_type, |context, arguments| {
        let implicit =
            matches!(arguments, [ScalarValue::Boolean(Some(true))]) && !schemas_of(context).any(|s| s == "pg_catalog");
        Ok(texts(
            implicit.then_some("pg_catalog").into_iter().chain(schemas_of(context)),
        ))
    }),
    function("current_setting", 1..=2, text_type, current_setting),
    Definition {
        strict: false,
        ..action("set_config", 3..=3, text_type, set_config)
    },
    function("pg_backend_pid", 0..=0, int4_type, |context, _| {
        Ok(ScalarValue::Int32(Some(context.vars.backend_pid)))
    }),
    function("pg_export_snapshot", 0..=0, text_type, |context, _| {
        Ok(text(&format!("{:08X}-{:08X}-1", context.vars.backend_pid, 1)))
    }),
    function("pg_client_encoding", 0..=0, text_type, |_, _| Ok(text("UTF8"))),
    function("getdatabaseencoding", 0..=0, text_type, |_, _| Ok(text("UTF8"))),
    function("pg_is_in_recovery", 0..=0, bool_type, no),
    function("pg_is_wal_replay_paused", 0..=0, bool_type, no),
    function("pg_is_in_backup", 0..=0, bool_type, no),
    function("pg_postmaster_start_time", 0..=0, time_type, started),
    function("pg_conf_load_time", 0..=0, time_type, started),
    function("txid_current", 0..=0, int8_type, |_, _| Ok(ScalarValue::Int64(Some(1)))),
    function("txid_current_if_assigned", 0..=0, int8_type, null),
    function("pg_current_xact_id", 0..=0, int8_type, |_, _| {
        Ok(ScalarValue::Int64(Some(1)))
    }),
    function("pg_my_temp_schema", 0..=0, oid_type, |_, _| {
        Ok(ScalarValue::UInt32(Some(0)))
    }),
    function("pg_is_other_temp_schema", 1..=1, bool_type, no),
    function("inet_server_addr", 0..=0, text_type, null),
    function("inet_server_port", 0..=0, int4_type, null),
    function("inet_client_addr", 0..=0, text_type, null),
    function("inet_client_port", 0..=0, int4_type, null),
    function("pg_blocking_pids", 1..=1, int4s_type, |_, _| {
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(&[], &DataType::Int32)))
    }),
    action("pg_cancel_backend", 1..=1, bool_type, |context, arguments| {
        signal_session(context, arguments, "cancel", Activity::cancel)
    }),
    action("pg_terminate_backend", 1..=2, bool_type, |context, arguments| {
        signal_session(context, arguments, "terminate", Activity::terminate)
    }),
    function("pg_advisory_lock", 1..=2, text_type, empty_text),
    function("pg_advisory_unlock", 1..=2, bool_type, yes),
    function("pg_advisory_unlock_all", 0..=0, text_type, empty_text),
    function("pg_try_advisory_lock", 1..=2, bool_type, yes),
    function("pg_encoding_to_char", 1..=1, text_type, |_, arguments| {
        Ok(text(if arguments.first().and_then(integer) == Some(6) {
            "UTF8"
        } else {
            ""
        }))
    }),
    function("pg_char_to_encoding", 1..=1, int4_type, |_, arguments| {
        let is_utf8 = arguments
            .first()
            .and_then(string)
            .is_some_and(|name| matches!(&*name.to_lowercase(), "utf8" | "utf-8"));
        Ok(ScalarValue::Int32(Some(if is_utf8 { 6 } else { -1 })))
    }),
    // Visibility
    function("pg_table_is_visible", 1..=1, bool_type, |context, arguments| {
        let visible = relation(context, arguments).map(|r| context.directory.is_visible(r, &context.vars.search_path));
        Ok(ScalarValue::Boolean(visible))
    }),
    function("pg_type_is_visible", 1..=1, bool_type, |_, arguments| {
        Ok(ScalarValue::Boolean(
            arguments
                .first()
                .and_then(oid)
                .and_then(pg_types::pg_type)
                .map(|_| true),
        ))
    }),
    function("pg_function_is_visible", 1..=1, bool_type, yes),
    function("pg_operator_is_visible", 1..=1, bool_type, yes),
    function("pg_opclass_is_visible", 1..=1, bool_type, yes),
    function("pg_opfamily_is_visible", 1..=1, bool_type, yes),
    function("pg_collation_is_visible", 1..=1, bool_type, yes),
    function("pg_conversion_is_visible", 1..=1, bool_type, yes),
    function("pg_statistics_obj_is_visible", 1..=1, bool_type, yes),
    function("pg_ts_config_is_visible", 1..=1, bool_type, yes),
    function("pg_ts_dict_is_visible", 1..=1, bool_type, yes),
    function("pg_ts_parser_is_visible", 1..=1, bool_type, yes),
    function("pg_ts_template_is_visible", 1..=1, bool_type, yes),
    function("pg_get_viewdef", 1..=2, text_type, |context, arguments| {
        let definition = relation(context, arguments).and_then(|relation| relation.definition);
        Ok(ScalarValue::Utf8(definition.map(str::to_owned)))
    }),
    // Definitions of objects there are none of
    with_nulls("pg_get_expr", 2..=3, text_type, null),
    function("pg_get_ruledef", 1..=2, text_type, null),
    function("pg_get_triggerdef", 1..=2, text_type, null),
    function("pg_get_indexdef", 1..=3, text_type, null),
    function("pg_get_constraintdef", 1..=2, text_type, null),
    function("pg_get_partkeydef", 1..=1, text_type, null),
    function("pg_get_partition_constraintdef", 1..=1, text_type, null),
    function("pg_get_functiondef", 1..=1, text_type, null),
    function("pg_get_function_sqlbody", 1..=1, text_type, null),
    function("pg_get_statisticsobjdef", 1..=1, text_type, null),
    function("pg_get_statisticsobjdef_columns", 1..=1, text_type, null),
    function("pg_get_serial_sequence", 2..=2, text_type, null),
    function("pg_relation_is_publishable", 1..=1, bool_type, no),
    function("pg_tablespace_location", 1..=1, text_type, empty_text),
    // Names
    with_nulls("format_type", 2..=2, text_type, format_type),
    function("pg_get_userbyid", 1..=1, text_type, |context, arguments| {
        Ok(text(&role_name(context, arguments)))
    }),
    function("pg_get_function_arguments", 1..=1, text_type, |_, arguments| {
        Ok(function_arguments(arguments))
    }),
    function(
        "pg_get_function_identity_arguments",
        1..=1,
        text_type,
        |_, arguments| Ok(function_arguments(arguments)),
    ),
    function("pg_get_function_result", 1..=1, text_type, |_, arguments| {
        let known = arguments
            .first()
            .and_then(oid)
            .and_then(|oid| FUNCTIONS.iter().find(|f| f.oid == oid));
        Ok(known.map_or(ScalarValue::Null, |f| {
            let result = pg_types::sql_name(f.result, None);
            text(&if f.returns_set {
                format!("SETOF {result}")
            } else {
                result
            })
        }))
    }),
    function("to_regclass", 1..=1, text_type, |context, arguments| {
        let name = arguments.first().and_then(string).unwrap_or_default();
        Ok(context
            .directory
            .resolve(&name, &context.vars.search_path)
            .map_or(ScalarValue::Null, |r| text(&relation_name(context, r))))
    }),
    function("to_regtype", 1..=1, text_type, |_, arguments| {
        let name = arguments.first().and_then(string).unwrap_or_default();
        Ok(pg_types::pg_type_by_name(&name).map_or(ScalarValue::Null, |ty| text(&pg_types::sql_name(ty.oid, None))))
    }),
    function("to_regnamespace", 1..=1, text_type, |context, arguments| {
        let name = arguments.first().and_then(string).unwrap_or_default();
        Ok(if context.directory.schemas.contains_key(name.as_str()) {
            text(&name)
        } else {
            ScalarValue::Null
        })
    }),
    function("to_regproc", 1..=1, text_type, |_, arguments| {
        let name = arguments.first().and_then(string).unwrap_or_default();
        let name = name.trim_start_matches("pg_catalog.");
        Ok(if FUNCTIONS.iter().any(|f| f.name == name) {
            text(name)
        } else {
            ScalarValue::Null
        })
    }),
    function("to_regrole", 1..=1, text_type, |context, arguments| {
        let name = arguments.first().and_then(string).unwrap_or_default();
        Ok(if name == context.vars.user || name == pg_catalog::OWNER {
            text(&name)
        } else {
            ScalarValue::Null
        })
    }),
    function("like__pattern", 2..=2, text_type, |_, arguments| {
        let [pattern, escape] = arguments else {
            return Ok(ScalarValue::Null);
        };
        like_pattern(
            &string(pattern).unwrap_or_default(),
            &string(escape).unwrap_or_default(),
        )
    }),
    function("regclass__oid", 1..=1, oid_type, |context, arguments| {
        reg_oid(arguments, "relation", |name| {
            context
                .directory
                .resolve(name, &context.vars.search_path)
                .map(|r| r.oid)
        })
    }),
    function("regclass__text", 1..=1, text_type, |context, arguments| {
        reg_text(
            arguments,
            "relation",
            |name| {
                context
                    .directory
                    .resolve(name, &context.vars.search_path)
                    .map(|r| r.oid)
            },
            |oid| context.directory.relation(oid).map(|r| relation_name(context, r)),
        )
    }),
    function("regtype__oid", 1..=1, oid_type, |_, arguments| {
        reg_oid(arguments, "type", |name| {
            pg_types::pg_type_by_name(name).map(|ty| ty.oid)
        })
    }),
    function("regtype__text", 1..=1, text_type, |_, arguments| {
        let by_name = |name: &str| pg_types::pg_type_by_name(name).map(|ty| ty.oid);
        reg_text(arguments, "type", by_name, |oid| {
            pg_types::pg_type(oid).map(|ty| pg_types::sql_name(ty.oid, None))
        })
    }),
    function("regnamespace__oid", 1..=1, oid_type, |context, arguments| {
        reg_oid(arguments, "schema", |name| context.directory.schemas.get(name).copied())
    }),
    function("regnamespace__text", 1..=1, text_type, |context, arguments| {
        let by_name = |name: &str| context.directory.schemas.get(name).copied();
        reg_text(arguments, "schema", by_name, |oid| {
            context.directory.schema_name(oid).map(str::to_owned)
        })
    }),
    function("regrole__oid", 1..=1, oid_type, |_, arguments| {
        reg_oid(arguments, "role", |name| Some(pg_catalog::role_oid(name)))
    }),
    function("regrole__text", 1..=1, text_type, |context, arguments| {
        Ok(text(&role_name(context, arguments)))
    }),
    function("regproc__oid", 1..=1, oid_type, |_, arguments| {
        reg_oid(arguments, "function", |name| {
            FUNCTIONS
                .iter()
                .find(|f| f.name == name.trim_start_matches("pg_catalog."))
                .map(|f| f.oid)
        })
    }),
    // Columns of this type hold names here, so a name needs no lookup.
    function("regproc__text", 1..=1, text_type, |_, arguments| {
        Ok(match arguments.first() {
            Some(name) if string(name).is_some_and(|name| name.parse::<u32>().is_err()) => {
                text(string(name).unwrap_or_default().trim_start_matches("pg_catalog."))
            }
            other => {
                let oid = other.and_then(oid).unwrap_or_default();
                let known = FUNCTIONS.iter().find(|f| f.oid == oid);
                text(&known.map_or_else(
                    || if oid == 0 { "-".into() } else { oid.to_string() },
                    |f| f.name.to_owned(),
                ))
            }
        })
    }),
    function("quote_ident", 1..=1, text_type, |_, arguments| {
        Ok(text(&pg_catalog::quote_identifier(
            &arguments.first().and_then(string).unwrap_or_default(),
        )))
    }),
    function("quote_literal", 1..=1, text_type, |_, arguments| {
        Ok(text(&quote_literal(arguments.first())))
    }),
    with_nulls("quote_nullable", 1..=1, text_type, |_, arguments| {
        Ok(text(&quote_literal(arguments.first())))
    }),
    function("parse_ident", 1..=2, texts_type, |_, arguments| {
        let name = arguments.first().and_then(string).unwrap_or_default();
        match pg_catalog::split_identifier(&name) {
            Some(parts) => Ok(texts(parts.iter().map(String::as_str))),
            None => exec_err!("string is not a valid identifier: {name:?}"),
        }
    }),
    // Comments
    function("obj_description", 1..=2, text_type, |context, arguments| {
        // One counter gives all oids here, so the kind of the object need not be known, but it may be asked for.
        let wants = |catalog: &str| arguments.get(1).and_then(string).is_none_or(|asked| asked == catalog);
        let comment = match relation(context, arguments) {
            Some(relation) if wants("pg_class") => relation.comment.clone(),
            _ if wants("pg_namespace") => schema(context, arguments)
                .and_then(pg_catalog::schema_comment)
                .map(str::to_owned),
            _ => None,
        };
        Ok(ScalarValue::Utf8(comment))
    }),
    function("col_description", 2..=2, text_type, |context, arguments| {
        let number = arguments
            .get(1)
            .and_then(integer)
            .and_then(|n| usize::try_from(n).ok())
            .and_then(|n| n.checked_sub(1));
        let column = relation(context, arguments)
            .zip(number)
            .and_then(|(relation, at)| relation.columns.get(at));
        Ok(ScalarValue::Utf8(column.and_then(|column| column.comment.clone())))
    }),
    function("shobj_description", 2..=2, text_type, null),
    // Sizes: what the rows take in memory
    function("pg_relation_size", 1..=2, int8_type, relation_size),
    function("pg_table_size", 1..=1, int8_type, relation_size),
    function("pg_total_relation_size", 1..=1, int8_type, relation_size),
    function("pg_indexes_size", 1..=1, int8_type, zero),
    function("pg_database_size", 1..=1, int8_type, |context, _| {
        let sizes = context
            .directory
            .relations
            .iter()
            .map(|relation| pg_catalog::table_size(&context.snapshot, relation).1);
        Ok(ScalarValue::Int64(Some(sizes.fold(0, i64::saturating_add))))
    }),
    function("pg_tablespace_size", 1..=1, int8_type, zero),
    function("pg_size_pretty", 1..=1, text_type, |_, arguments| {
        Ok(arguments
            .first()
            .and_then(integer)
            .map_or(ScalarValue::Null, |bytes| text(&size_pretty(bytes))))
    }),
    function("pg_stat_get_numscans", 1..=1, int8_type, zero),
    function("pg_stat_get_live_tuples", 1..=1, int8_type, |context, arguments| {
        let rows = relation(context, arguments).map(|relation| pg_catalog::table_size(&context.snapshot, relation).0);
        Ok(ScalarValue::Int64(Some(rows.unwrap_or_default())))
    }),
    function("pg_stat_get_dead_tuples", 1..=1, int8_type, zero),
    function("pg_stat_get_tuples_inserted", 1..=1, int8_type, zero),
    function("pg_stat_get_tuples_updated", 1..=1, int8_type, zero),
    function("pg_stat_get_tuples_deleted", 1..=1, int8_type, zero),
    // Privileges: everything may be read, nothing changed
    function("has_table_privilege", 2..=3, bool_type, may_read),
    function("has_any_column_privilege", 2..=3, bool_type, may_read),
    function("has_column_privilege", 3..=4, bool_type, may_read),
    function("has_schema_privilege", 2..=3, bool_type, may_read),
    function("has_database_privilege", 2..=3, bool_type, may_read),
    function("has_function_privilege", 2..=3, bool_type, may_read),
    function("has_language_privilege", 2..=3, bool_type, may_read),
    function("has_type_privilege", 2..=3, bool_type, may_read),
    function("has_sequence_privilege", 2..=3, bool_type, may_read),
    function("has_tablespace_privilege", 2..=3, bool_type, no),
    function("has_server_privilege", 2..=3, bool_type, no),
    function("has_foreign_data_wrapper_privilege", 2..=3, bool_type, no),
    function("pg_has_role", 2..=3, bool_type, |context, arguments| {
        // The role asked for is the last argument but one.
        let role = arguments.len().checked_sub(2).and_then(|at| arguments.get(at));
        let name = role.and_then(string).filter(|name| name.parse::<u32>().is_err());
        let is_own = match name {
            Some(name) => name == context.vars.user,
            None => role.and_then(oid) == Some(pg_catalog::role_oid(&context.vars.user)),
        };
        Ok(ScalarValue::Boolean(Some(is_own)))
    }),
    function("row_security_active", 1..=1, bool_type, no),
    // Arrays
    function("array_upper", 2..=2, int4_type, |_, arguments| {
        let length = array_length(arguments)?;
        Ok(ScalarValue::Int32(length.filter(|length| *length > 0)))
    }),
    function("array_lower", 2..=2, int4_type, |_, arguments| {
        let length = array_length(arguments)?;
        Ok(ScalarValue::Int32(length.filter(|length| *length > 0).map(|_| 1)))
    }),
    function("generate_subscripts", 2..=3, int4s_type, |_, arguments| {
        let length = array_length(arguments)?.unwrap_or_default();
        let numbers: Vec<ScalarValue> = (1..=length).map(|number| ScalarValue::Int32(Some(number))).collect();
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(
            &numbers,
            &DataType::Int32,
        )))
    }),
    function("_pg_expandarray", 1..=1, expanded_type, expand_array),
];

/// `version()`: clients look for `PostgreSQL` and a number in front.
pub fn version() -> String {
    format!(
        "PostgreSQL {} (Sparkgate {}, DataFusion {})",
        pg_catalog::SERVER_VERSION,
        env!("CARGO_PKG_VERSION"),
        datafusion::DATAFUSION_VERSION
    )
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ScalarValue {
    let values: Vec<ScalarValue> = values.map(text).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8))
}

/// The text of any value; `None` for null.
fn string(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => text.clone(),
        other if other.is_null() => None,
        other => Some(other.to_string()),
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Utf8(_) | ScalarValue::LargeUtf8(_) | ScalarValue::Utf8View(_) => {
            string(value)?.trim().parse().ok()
        }
        other => match other.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(number)) => number,
            _ => None,
        },
    }
}

fn oid(value: &ScalarValue) -> Option<u32> {
    integer(value).and_then(|number| u32::try_from(number).ok())
}

/// The schema of a first argument: an oid or a name.
fn schema(context: &FunctionContext, arguments: &[ScalarValue]) -> Option<&'static str> {
    let argument = arguments.first()?;
    match oid(argument) {
        Some(oid) => context.directory.schema_name(oid),
        None => {
            let schema = context.directory.schemas.get_key_value(string(argument)?.as_str());
            schema.map(|(name, _)| *name)
        }
    }
}

/// The relation of a first argument: an oid or a name.
fn relation<'a>(context: &'a FunctionContext, arguments: &[ScalarValue]) -> Option<&'a Relation> {
    let argument = arguments.first()?;
    match oid(argument) {
        Some(oid) => context.directory.relation(oid),
        None => context.directory.resolve(&string(argument)?, &context.vars.search_path),
    }
}

/// Its name as SQL would have to write it here.
fn relation_name(context: &FunctionContext, relation: &Relation) -> String {
    let name = pg_catalog::quote_identifier(relation.name);
    if context.directory.is_visible(relation, &context.vars.search_path) {
        name
    } else {
        format!("{}.{name}", pg_catalog::quote_identifier(relation.schema))
    }
}

/// Schemas of the search path that exist.
fn schemas_of(context: &FunctionContext) -> impl Iterator<Item = &str> {
    context
        .vars
        .search_path
        .iter()
        .map(String::as_str)
        .filter(|schema| context.directory.schemas.contains_key(schema))
}

fn started(context: &FunctionContext, _: &[ScalarValue]) -> Result<ScalarValue> {
    Ok(ScalarValue::TimestampMicrosecond(
        Some(context.started),
        Some("UTC".into()),
    ))
}

fn current_setting(context: &FunctionContext, arguments: &[ScalarValue]) -> Result<ScalarValue> {
    let name = arguments.first().and_then(string).unwrap_or_default();
    match pg_catalog::parameter_value(&context.vars, &name) {
        Some(value) => Ok(text(&value)),
        None if matches!(arguments.get(1), Some(ScalarValue::Boolean(Some(true)))) => Ok(ScalarValue::Null),
        None => exec_err!("unrecognized configuration parameter \"{name}\""),
    }
}

fn role_name(context: &FunctionContext, arguments: &[ScalarValue]) -> String {
    let Some(argument) = arguments.first() else {
        return String::new();
    };
    match oid(argument) {
        Some(pg_catalog::OWNER_OID) => pg_catalog::OWNER.to_owned(),
        Some(oid) if oid == pg_catalog::role_oid(&context.vars.user) => context.vars.user.clone(),
        Some(oid) => format!("unknown (OID={oid})"),
        None => string(argument).unwrap_or_default(),
    }
}

fn format_type(_: &FunctionContext, arguments: &[ScalarValue]) -> Result<ScalarValue> {
    let modifier = arguments.get(1).and_then(integer).and_then(|m| i32::try_from(m).ok());
    Ok(arguments
        .first()
        .and_then(oid)
        .map_or(ScalarValue::Null, |oid| text(&pg_types::sql_name(oid, modifier))))
}

fn reg_oid(arguments: &[ScalarValue], kind: &str, by_name: impl Fn(&str) -> Option<u32>) -> Result<ScalarValue> {
    let Some(argument) = arguments.first() else {
        return Ok(ScalarValue::Null);
    };
    if let Some(oid) = oid(argument) {
        return Ok(ScalarValue::UInt32(Some(oid)));
    }
    let name = string(argument).unwrap_or_default();
    if name == "-" {
        return Ok(ScalarValue::UInt32(Some(0)));
    }
    let oid = by_name(&name).ok_or_else(|| exec_datafusion_err!("{kind} \"{name}\" does not exist"))?;
    Ok(ScalarValue::UInt32(Some(oid)))
}

fn reg_text(
    arguments: &[ScalarValue],
    kind: &str,
    by_name: impl Fn(&str) -> Option<u32>,
    name: impl Fn(u32) -> Option<String>,
) -> Result<ScalarValue> {
    match reg_oid(arguments, kind, by_name)? {
        ScalarValue::UInt32(Some(0)) => Ok(text("-")),
        // As PostgreSQL: an oid without an object is shown as its number.
        ScalarValue::UInt32(Some(oid)) => Ok(text(&name(oid).unwrap_or_else(|| oid.to_string()))),
        _ => Ok(ScalarValue::Null),
    }
}

/// A pattern in which `escape` keeps the next character (empty: nothing does) as one in which the backslash does.
fn like_pattern(pattern: &str, escape: &str) -> Result<ScalarValue> {
    let mut escapes = escape.chars();
    let (escape, None) = (escapes.next(), escapes.next()) else {
        return exec_err!("invalid escape string: it must be empty or one character");
    };
    let mut result = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let Some(kept) = chars.next() else {
                return exec_err!("LIKE pattern must not end with escape character");
            };
            result.push('\\');
            result.push(kept);
        } else {
            if c == '\\' {
                result.push('\\');
            }
            result.push(c);
        }
    }
    Ok(text(&result))
}

fn quote_literal(value: Option<&ScalarValue>) -> String {
    text::quote_literal(value.and_then(string).as_deref())
}

fn relation_size(context: &FunctionContext, arguments: &[ScalarValue]) -> Result<ScalarValue> {
    let bytes = relation(context, arguments).map(|relation| pg_catalog::table_size(&context.snapshot, relation).1);
    Ok(ScalarValue::Int64(bytes))
}

/// As PostgreSQL: a unit is used up to 10240 of it.
fn size_pretty(bytes: i64) -> String {
    let mut size = bytes;
    let mut units = ["bytes", "kB", "MB", "GB", "TB"].into_iter().peekable();
    loop {
        let unit = units.next().unwrap_or("PB");
        if size.unsigned_abs() < 10 * 1024 || units.peek().is_none() {
            return format!("{size} {unit}");
        }
        size = (size + 512 * size.signum()) / 1024;
    }
}

fn may_read(_: &FunctionContext, arguments: &[ScalarValue]) -> Result<ScalarValue> {
    let privileges = arguments.last().and_then(string).unwrap_or_default().to_uppercase();
    // `SELECT, INSERT` asks for any of them.
    let allowed = privileges
        .split(',')
        .any(|privilege| matches!(privilege.trim(), "SELECT" | "USAGE" | "CONNECT" | "EXECUTE"));
    Ok(ScalarValue::Boolean(Some(allowed)))
}

/// Length of a list in its first dimension; `None` for other dimensions.
fn array_length(arguments: &[ScalarValue]) -> Result<Option<i32>> {
    if arguments.get(1).and_then(integer) != Some(1) {
        return Ok(None);
    }
    let Some(list) = arguments.first() else { return Ok(None) };
    match list {
        ScalarValue::List(list) => Ok(i32::try_from(list.value(0).len()).ok()),
        ScalarValue::LargeList(list) => Ok(i32::try_from(list.value(0).len()).ok()),
        ScalarValue::FixedSizeList(list) => Ok(i32::try_from(list.value(0).len()).ok()),
        other => exec_err!("{} is no array", other.data_type()),
    }
}

fn expand_array(_: &FunctionContext, arguments: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(ScalarValue::List(list)) = arguments.first() else {
        return exec_err!("_pg_expandarray wants an array");
    };
    let values = list.value(0);
    let numbers: arrow::array::Int32Array = (1..=i32::try_from(values.len()).unwrap_or(i32::MAX)).collect();
    let fields = Fields::from(vec![
        Field::new("x", values.data_type().clone(), true),
        Field::new("n", DataType::Int32, true),
    ]);
    let pairs = StructArray::try_new(fields, vec![values, Arc::new(numbers)], None)?;
    let rows = (0..pairs.len())
        .map(|row| ScalarValue::try_from_array(&pairs, row))
        .collect::<Result<Vec<_>>>()?;
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(
        &rows,
        pairs.data_type(),
    )))
}

/// What `pg_proc` says of a function.
#[derive(Debug)]
struct KnownFunction {
    oid: u32,
    name: &'static str,
    arguments: Vec<u32>,
    result: u32,
    returns_set: bool,
}

static FUNCTIONS: LazyLock<Vec<KnownFunction>> = LazyLock::new(|| {
    let mut lines = include_str!("../pg_catalog/data/pg_proc.tsv").lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .filter_map(|line| {
            let fields: Vec<&'static str> = line.split('\t').collect();
            let field = |name: &str| {
                header
                    .iter()
                    .position(|h| *h == name)
                    .and_then(|at| fields.get(at).copied())
            };
            Some(KnownFunction {
                oid: field("oid")?.parse().ok()?,
                name: field("proname")?,
                arguments: field("proargtypes")?
                    .split_whitespace()
                    .filter_map(|oid| oid.parse().ok())
                    .collect(),
                result: field("prorettype")?.parse().ok()?,
                returns_set: field("proretset")? == "t",
            })
        })
        .collect()
});

fn function_arguments(arguments: &[ScalarValue]) -> ScalarValue {
    let known = arguments
        .first()
        .and_then(oid)
        .and_then(|oid| FUNCTIONS.iter().find(|f| f.oid == oid));
    known.map_or(ScalarValue::Null, |f| {
        text(
            &f.arguments
                .iter()
                .map(|oid| pg_types::sql_name(*oid, None))
                .collect::<Vec<_>>()
                .join(", "),
        )
    })
}
