//! What `SHOW`, `current_setting` and `pg_settings` say about the server. All of it is true of this gateway or what PostgreSQL has
//! by default; nothing here can be changed except by `SET` on the session's own variables.

use super::{SERVER_VERSION, SERVER_VERSION_NUM};
use crate::catalog::SessionVars;

/// A run-time parameter, as PostgreSQL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub name: &'static str,
    pub value: String,
    pub description: &'static str,
    /// `bool`, `integer`, `string` or `enum`.
    pub kind: &'static str,
}

/// Every parameter with its value in this session, by name.
pub fn parameters(vars: &SessionVars) -> Vec<Parameter> {
    let search_path = vars
        .search_path
        .iter()
        .map(|schema| super::quote_identifier(schema))
        .collect::<Vec<_>>()
        .join(", ");
    let session: [(&'static str, &str, &'static str, &'static str); 4] = [
        (
            "application_name",
            &vars.application_name,
            "string",
            "Sets the application name to be reported in statistics and logs.",
        ),
        (
            "search_path",
            &search_path,
            "string",
            "Sets the schema search order for names that are not schema-qualified.",
        ),
        (
            "session_authorization",
            &vars.user,
            "string",
            "Sets the current session user name.",
        ),
        (
            "TimeZone",
            &vars.time_zone,
            "string",
            "Sets the time zone for displaying and interpreting time stamps.",
        ),
    ];
    let mut all: Vec<Parameter> = FIXED
        .iter()
        .copied()
        .chain(session)
        .map(|(name, value, kind, description)| Parameter {
            name,
            value: value.to_owned(),
            description,
            kind,
        })
        .collect();
    all.sort_by_key(|parameter| parameter.name.to_lowercase());
    all
}

const FIXED: &[(&str, &str, &str, &str)] = &[
    ("bytea_output", "hex", "enum", "Sets the output format for bytea."),
    (
        "client_encoding",
        "UTF8",
        "string",
        "Sets the client's character set encoding.",
    ),
    (
        "client_min_messages",
        "notice",
        "enum",
        "Sets the message levels that are sent to the client.",
    ),
    (
        "DateStyle",
        "ISO, MDY",
        "string",
        "Sets the display format for date and time values.",
    ),
    (
        "default_table_access_method",
        "heap",
        "string",
        "Sets the default table access method for new tables.",
    ),
    (
        "default_tablespace",
        "",
        "string",
        "Sets the default tablespace to create tables and indexes in.",
    ),
    (
        "default_transaction_isolation",
        "read committed",
        "enum",
        "Sets the transaction isolation level of each new transaction.",
    ),
    (
        "default_transaction_read_only",
        "on",
        "bool",
        "Sets the default read-only status of new transactions.",
    ),
    (
        "extra_float_digits",
        "1",
        "integer",
        "Sets the number of digits displayed for floating-point values.",
    ),
    (
        "in_hot_standby",
        "off",
        "bool",
        "Shows whether hot standby is currently active.",
    ),
    (
        "integer_datetimes",
        "on",
        "bool",
        "Shows whether datetimes are integer based.",
    ),
    (
        "IntervalStyle",
        "postgres",
        "enum",
        "Sets the display format for interval values.",
    ),
    (
        "is_superuser",
        "off",
        "bool",
        "Shows whether the current user is a superuser.",
    ),
    ("lc_collate", "C.UTF-8", "string", "Shows the collation order locale."),
    (
        "lc_ctype",
        "C.UTF-8",
        "string",
        "Shows the character classification and case conversion locale.",
    ),
    (
        "max_identifier_length",
        "63",
        "integer",
        "Shows the maximum identifier length.",
    ),
    (
        "max_index_keys",
        "32",
        "integer",
        "Shows the maximum number of index keys.",
    ),
    ("row_security", "on", "bool", "Enable row security."),
    (
        "server_encoding",
        "UTF8",
        "string",
        "Shows the server (database) character set encoding.",
    ),
    ("server_version", SERVER_VERSION, "string", "Shows the server version."),
    (
        "server_version_num",
        SERVER_VERSION_NUM,
        "integer",
        "Shows the server version as an integer.",
    ),
    (
        "standard_conforming_strings",
        "on",
        "bool",
        "Causes '...' strings to treat backslashes literally.",
    ),
    (
        "transaction_isolation",
        "read committed",
        "enum",
        "Sets the current transaction's isolation level.",
    ),
    (
        "transaction_read_only",
        "on",
        "bool",
        "Sets the current transaction's read-only status.",
    ),
];
