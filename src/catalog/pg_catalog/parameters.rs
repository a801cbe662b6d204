//! What `SHOW`, `current_setting` and `pg_settings` say about the server: PostgreSQL 15's own list (`data/pg_settings.tsv`), with its
//! defaults, but for what is otherwise here. What can be set is set by `SET` on the session; the server has no parameters of its own.

use std::sync::LazyLock;

use super::SERVER_VERSION_NUM;
use crate::catalog::SessionVars;

/// The value of `server_version`: what drivers parse, then who really answers.
const SERVER_VERSION: &str = concat!("15.18 (Sparkgate ", env!("CARGO_PKG_VERSION"), ")");

/// A run-time parameter of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub name: &'static str,
    /// The default as `SHOW` prints it: with its unit.
    pub default: &'static str,
    /// The default as `pg_settings.setting` has it: in `unit`.
    pub(super) plain: &'static str,
    pub unit: &'static str,
    pub(super) category: &'static str,
    pub description: &'static str,
    /// Who may change it and when: `internal`, `postmaster`, `sighup`, `backend`, `superuser`, `user`.
    pub context: &'static str,
    /// `bool`, `integer`, `real`, `string` or `enum`.
    pub kind: &'static str,
    pub(super) min: &'static str,
    pub(super) max: &'static str,
    /// Of an `enum`, with commas between.
    pub values: &'static str,
    /// Is it in `SHOW ALL` and `pg_settings`?
    pub listed: bool,
}

/// All parameters, by name.
pub fn parameters() -> &'static [Parameter] {
    static ALL: LazyLock<Vec<Parameter>> = LazyLock::new(|| {
        let mut all: Vec<Parameter> = include_str!("data/pg_settings.tsv")
            .lines()
            .skip(1)
            .map(from_row)
            .collect();
        for (name, value) in [
            ("server_version", SERVER_VERSION),
            ("server_version_num", SERVER_VERSION_NUM),
        ] {
            for parameter in all.iter_mut().filter(|parameter| parameter.name == name) {
                (parameter.default, parameter.plain) = (value, value);
            }
        }
        // PostgreSQL shows these by name only.
        let hidden =
            |name: &'static str, default: &'static str, kind: &'static str, description: &'static str| Parameter {
                name,
                default,
                kind,
                description,
                context: "internal",
                listed: false,
                ..from_row("")
            };
        all.push(hidden(
            "is_superuser",
            "off",
            "bool",
            "Shows whether the current user is a superuser.",
        ));
        all.push(hidden(
            "session_authorization",
            "",
            "string",
            "Sets the current session user name.",
        ));
        all.sort_by_key(|parameter| parameter.name.to_lowercase());
        all
    });
    &ALL
}

/// Columns of the table: name, setting, shown, unit, category, short_desc, context, vartype, min_val, max_val, enumvals.
fn from_row(row: &'static str) -> Parameter {
    let mut fields = row.split('\t');
    let mut next = || fields.next().unwrap_or_default();
    let name = next();
    let plain = next();
    Parameter {
        name,
        plain,
        default: next(),
        unit: next(),
        category: next(),
        description: next(),
        context: next(),
        kind: next(),
        min: next(),
        max: next(),
        values: next(),
        listed: true,
    }
}

/// What a parameter is in a session; custom ones (with a dot in their name) are known once they are set.
pub(crate) fn parameter_value(vars: &SessionVars, name: &str) -> Option<String> {
    match parameters()
        .iter()
        .find(|parameter| parameter.name.eq_ignore_ascii_case(name))
    {
        Some(parameter) => Some(set_in(vars, parameter).unwrap_or_else(|| parameter.default.to_owned())),
        None => vars.settings.get(&name.to_ascii_lowercase()).cloned(),
    }
}

/// The value a session has instead of the default.
pub(super) fn set_in(vars: &SessionVars, parameter: &Parameter) -> Option<String> {
    match parameter.name {
        "application_name" => Some(vars.application_name.clone()),
        "session_authorization" => Some(vars.user.clone()),
        "TimeZone" => Some(vars.time_zone.clone()),
        "search_path" => Some(vars.settings.get(parameter.name).cloned().unwrap_or_else(|| {
            vars.search_path
                .iter()
                .map(|schema| super::quote_identifier(schema))
                .collect::<Vec<_>>()
                .join(", ")
        })),
        name => vars.settings.get(name).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_in_order() {
        let all = parameters();
        assert!(all.len() > 350);
        assert!(all.is_sorted_by_key(|parameter| parameter.name.to_lowercase()));
        for parameter in all {
            assert!(
                !parameter.name.is_empty() && !parameter.context.is_empty(),
                "{parameter:?}"
            );
            assert!(
                ["bool", "integer", "real", "string", "enum"].contains(&parameter.kind),
                "{parameter:?}"
            );
        }
    }

    #[test]
    fn a_session_overrides_defaults() {
        let mut vars = SessionVars::default();
        assert_eq!(parameter_value(&vars, "WORK_MEM").as_deref(), Some("4MB"));
        vars.settings.insert("work_mem".into(), "8MB".into());
        vars.settings.insert("my.own".into(), "1".into());
        assert_eq!(parameter_value(&vars, "work_mem").as_deref(), Some("8MB"));
        assert_eq!(parameter_value(&vars, "My.Own").as_deref(), Some("1"));
        assert_eq!(parameter_value(&vars, "no_such"), None);
        assert!(parameter_value(&vars, "server_version").is_some_and(|version| version.starts_with("15.")));
    }
}
