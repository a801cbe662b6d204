//! Views: each a file of `sql/views` whose header is its documentation. Schemas `advice` (what to look at) and `rollup` (sums).
//!
//! A view names base tables and other views only, and is planned in a session of its own: the first statement that names it pays, and
//! what `SET` changes in a client's session changes no view. The plan serves every statement, because a base table finds the snapshot
//! of the statement when it is scanned. It is expanded into the statement's own plan, so filters go through it down to the scans.
//!
//! Columns are what the header says; a test holds them to the plan, so that no view has to be planned for the catalog.

use std::fmt;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use datafusion::catalog::TableProvider;
use datafusion::common::internal_datafusion_err;
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use tokio::sync::OnceCell;

use super::rewrite::rewrite_statement;
use crate::table::Type;

/// Every file of `sql/views`, in the order of the documentation.
const FILES: &[&str] = &[
    include_str!("../../sql/views/advice_skewed_stages.sql"),
    include_str!("../../sql/views/advice_spilling_stages.sql"),
    include_str!("../../sql/views/advice_gc_pressure.sql"),
    include_str!("../../sql/views/advice_idle_executors.sql"),
    include_str!("../../sql/views/advice_over_provisioned_memory.sql"),
    include_str!("../../sql/views/advice_failed_work.sql"),
    include_str!("../../sql/views/advice_small_partitions.sql"),
    include_str!("../../sql/views/advice_large_partitions.sql"),
    include_str!("../../sql/views/advice_slow_starts.sql"),
    include_str!("../../sql/views/advice_expensive_recurring.sql"),
    include_str!("../../sql/views/rollup_application_daily.sql"),
    include_str!("../../sql/views/rollup_executor_hourly.sql"),
    include_str!("../../sql/views/rollup_stage_summary.sql"),
];

/// Schemas that have views only, and what they are for.
pub(crate) const SCHEMAS: &[(&str, &str)] = &[
    ("advice", "what to look at in applications, with reasons and settings"),
    ("rollup", "sums and quantiles over the tables of public"),
];

static VIEWS: LazyLock<Vec<View>> = LazyLock::new(|| {
    let read = FILES.iter().map(|file| View::read(file));
    // A test reads each of them, so none is lost here.
    read.filter_map(|view| view.map_err(|error| tracing::error!(error, "a view is left out")).ok())
        .collect()
});

/// Every view, in the order of the documentation.
pub fn views() -> &'static [View] {
    &VIEWS
}

/// A view as its file says.
#[derive(Debug)]
pub struct View {
    pub schema: &'static str,
    pub name: &'static str,
    /// "one row per …"
    pub grain: &'static str,
    /// Tables that it names.
    pub reads: Vec<&'static str>,
    pub columns: Vec<ViewColumn>,
    /// Thresholds, and what else a reader should know.
    pub notes: Vec<&'static str>,
    /// The file without its header.
    pub sql: &'static str,
}

/// Any column may be null, as in PostgreSQL's views.
#[derive(Debug)]
pub struct ViewColumn {
    pub name: &'static str,
    pub ty: Type,
    pub doc: &'static str,
}

impl View {
    /// Reads a file: a header of comment lines (`-- word: value`, goes on in lines of `--   value`), then one SELECT.
    fn read(file: &'static str) -> std::result::Result<Self, String> {
        let sql_at = file.lines().take_while(|line| line.starts_with("--"));
        let sql_at: usize = sql_at.map(|line| line.len() + 1).sum();
        let (header, sql) = file.split_at_checked(sql_at).ok_or("a view has no statement")?;
        let values = |word: &str| -> Vec<&'static str> {
            let mut is_wanted = false;
            let mut values = Vec::new();
            for line in header.lines().filter_map(|line| line.strip_prefix("-- ")) {
                let value = if line.starts_with(' ') {
                    line
                } else {
                    let (key, value) = line.split_once(':').unwrap_or(("", line));
                    is_wanted = key == word;
                    value
                };
                if is_wanted && !value.trim().is_empty() {
                    values.push(value.trim());
                }
            }
            values
        };
        let value = |word: &str| match values(word).as_slice() {
            [value] => Ok(*value),
            _ => Err(format!("a view has no line {word} in {header}")),
        };
        let (full, schema) = (value("name")?, value("schema")?);
        let name = full.strip_prefix(schema).and_then(|rest| rest.strip_prefix('_'));
        let name = name.ok_or_else(|| format!("{full} does not begin with its schema, {schema}"))?;
        let column = |line: &&'static str| match line.splitn(3, '|').map(str::trim).collect::<Vec<_>>()[..] {
            [column, ty, doc] => Ok(ViewColumn {
                name: column,
                ty: type_named(ty).ok_or_else(|| format!("{full}.{column}: {ty} is no type of a view"))?,
                doc,
            }),
            _ => Err(format!("{full}: {line} is not name | type | meaning")),
        };
        Ok(View {
            schema,
            name,
            grain: value("grain")?,
            reads: value("reads")?.split(", ").collect(),
            columns: values("columns")
                .iter()
                .map(column)
                .collect::<std::result::Result<_, _>>()?,
            notes: values("notes"),
            sql: sql.trim(),
        })
    }
}

/// The types that columns of views have.
fn type_named(name: &str) -> Option<Type> {
    const TYPES: [Type; 7] = [
        Type::Bool,
        Type::Int32,
        Type::Int64,
        Type::Float64,
        Type::Text,
        Type::Timestamp,
        Type::List(&Type::Float64),
    ];
    TYPES.into_iter().find(|ty| ty.sql_name() == name)
}

/// The part of `docs/schema.md` that is about views.
pub fn render(views: &[View]) -> String {
    let mut page = String::new();
    for view in views {
        let (first, rest) = view.grain.split_at(1);
        let _ = writeln!(
            page,
            "\n## `{}.{}`\n\n{}{rest}. A view over {} (`sql/views/{0}_{1}.sql`).",
            view.schema,
            view.name,
            first.to_uppercase(),
            view.reads.join(", ")
        );
        if !view.notes.is_empty() {
            page.push('\n');
        }
        for note in &view.notes {
            let _ = writeln!(page, "- {note}");
        }
        page.push_str("\n| column | type | meaning |\n| --- | --- | --- |\n");
        for column in &view.columns {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} |",
                column.name,
                column.ty.sql_name(),
                column.doc
            );
        }
    }
    page
}

/// The plans of views, made when they are first named.
pub(crate) struct ViewPlans {
    plans: Vec<OnceCell<Arc<ViewTable>>>,
}

impl fmt::Debug for ViewPlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewPlans").finish_non_exhaustive()
    }
}

impl ViewPlans {
    pub(crate) fn new() -> Self {
        ViewPlans {
            plans: views().iter().map(|_| OnceCell::new()).collect(),
        }
    }

    /// The place of a view.
    pub(crate) fn find(schema: &str, name: &str) -> Option<usize> {
        views()
            .iter()
            .position(|view| view.schema == schema && view.name == name)
    }

    /// The view at a place; `session` is asked for only where it has no plan yet.
    pub(crate) async fn table(
        &self,
        at: usize,
        session: impl FnOnce() -> SessionState,
    ) -> Result<Arc<dyn TableProvider>> {
        let (Some(cell), Some(view)) = (self.plans.get(at), views().get(at)) else {
            return Err(internal_datafusion_err!("there is no view {at}"));
        };
        let plan = cell.get_or_try_init(|| plan(view, session())).await?;
        Ok(Arc::clone(plan) as _)
    }
}

async fn plan(view: &View, session: SessionState) -> Result<Arc<ViewTable>> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, view.sql)?;
    let (Some(mut statement), None) = (statements.pop(), statements.pop()) else {
        return Err(internal_datafusion_err!(
            "{}.{} is not one statement",
            view.schema,
            view.name
        ));
    };
    rewrite_statement(&mut statement);
    let plan = session
        .statement_to_plan(Statement::Statement(Box::new(statement)))
        .await?;
    Ok(Arc::new(ViewTable::new(plan, Some(view.sql.to_owned()))))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_a_view_and_listed() {
        for file in FILES {
            View::read(file).unwrap();
        }
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/views");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort_unstable();
        let mut listed: Vec<String> = views()
            .iter()
            .map(|view| format!("{}_{}.sql", view.schema, view.name))
            .collect();
        listed.sort_unstable();
        assert_eq!(files, listed);
    }

    #[test]
    fn every_view_is_documented() {
        for (view, file) in views().iter().zip(FILES) {
            let full = format!("{}.{}", view.schema, view.name);
            assert!(SCHEMAS.iter().any(|(schema, _)| *schema == view.schema), "{full}");
            assert!(view.grain.starts_with("one row per "), "{full}");
            for word in ["freshness", "parameters"] {
                assert!(file.contains(&format!("\n-- {word}: ")), "{full} has no line {word}");
            }
            let is_advice = view.schema == "advice";
            assert!(
                !is_advice || !view.notes.is_empty(),
                "{full} does not say its thresholds"
            );
            for table in &view.reads {
                let is_table = crate::table::all().iter().any(|def| def.name == *table);
                assert!(is_table, "{full} reads {table}, which is no base table");
                let named = |word: &str| view.sql.contains(&format!("{word} {table}"));
                assert!(named("FROM") || named("JOIN"), "{full} does not read {table}");
            }
            for (at, column) in view.columns.iter().enumerate() {
                assert!(!column.doc.is_empty(), "{full}.{}", column.name);
                let twice = view.columns[..at].iter().any(|other| other.name == column.name);
                assert!(!twice, "{full}.{} is there twice", column.name);
            }
        }
    }

    #[test]
    fn a_header_goes_on_in_indented_lines() {
        let view = View::read(
            "-- name: advice_x\n-- schema: advice\n-- grain: one row per y\n-- reads: a, b\n-- columns:\n--   k | text | key: of y\n--   n | double precision[] | numbers | bars\n-- notes: one\n--   two\nSELECT\n  1\n",
        )
        .unwrap();
        assert_eq!((view.schema, view.name, view.sql), ("advice", "x", "SELECT\n  1"));
        assert_eq!(view.reads, ["a", "b"]);
        assert_eq!(view.notes, ["one", "two"]);
        let columns: Vec<_> = view.columns.iter().map(|c| (c.name, c.ty.sql_name(), c.doc)).collect();
        assert_eq!(
            columns,
            [
                ("k", "text".to_owned(), "key: of y"),
                ("n", "double precision[]".to_owned(), "numbers | bars")
            ]
        );
        assert!(View::read("-- name: advice_x\n").is_err());
    }
}
