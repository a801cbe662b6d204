//! Views: each a file of `sql/views` or `sql/rollups` whose header is its documentation. Schemas `advice` (what to look at) and `rollup`
//! (sums; those that are stored are tables, which `crate::rollup` fills).
//!
//! A view names tables with stored rows only, and is planned in a session of its own: the first statement that names it pays, and
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

/// A path in the repository, and what is there.
type File = (&'static str, &'static str);

macro_rules! file {
    ($path:literal) => {
        ($path, include_str!(concat!("../../", $path)))
    };
}

/// Every view, in the order of the documentation.
const FILES: &[File] = &[
    file!("sql/views/advice_skewed_stages.sql"),
    file!("sql/views/advice_spilling_stages.sql"),
    file!("sql/views/advice_gc_pressure.sql"),
    file!("sql/views/advice_idle_executors.sql"),
    file!("sql/views/advice_over_provisioned_memory.sql"),
    file!("sql/views/advice_failed_work.sql"),
    file!("sql/views/advice_small_partitions.sql"),
    file!("sql/views/advice_large_partitions.sql"),
    file!("sql/views/advice_slow_starts.sql"),
    file!("sql/views/advice_expensive_recurring.sql"),
    file!("sql/rollups/application_daily.sql"),
];

/// Schemas that have views, and what they are for.
pub(crate) const SCHEMAS: &[(&str, &str)] = &[
    ("advice", "what to look at in applications, with reasons and settings"),
    ("rollup", "sums and quantiles over the tables of public"),
];

static VIEWS: LazyLock<Vec<View>> = LazyLock::new(|| {
    let read = FILES.iter().map(|(path, file)| View::read(path, file));
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
    /// Its file, as a path in the repository.
    pub file: &'static str,
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
    fn read(path: &'static str, file: &'static str) -> std::result::Result<Self, String> {
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
        // Files of `sql/views` are called after schema and view, those of `sql/rollups` after the view alone.
        let name = full
            .strip_prefix(schema)
            .and_then(|rest| rest.strip_prefix('_'))
            .unwrap_or(full);
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
            file: path,
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
            "\n## `{}.{}`\n\n{}{rest}. A view over {} (`{}`).",
            view.schema,
            view.name,
            first.to_uppercase(),
            view.reads.join(", "),
            view.file
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
        for (path, file) in FILES {
            let view = View::read(path, file).unwrap();
            let schema = if path.starts_with("sql/rollups/") {
                "rollup"
            } else {
                "advice"
            };
            assert_eq!(view.schema, schema, "{path}");
        }
        let mut listed: Vec<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        // The other rollups are tables.
        let stored = crate::table::all().iter().filter(|table| table.schema == "rollup");
        listed.extend(stored.map(|table| format!("sql/rollups/{}.sql", table.name)));
        listed.sort_unstable();
        let mut files = Vec::new();
        for folder in ["sql/views", "sql/rollups"] {
            let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
            files.extend(entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap())));
        }
        files.sort_unstable();
        assert_eq!(files, listed);
    }

    #[test]
    fn a_stored_rollup_has_the_header_of_its_definition() {
        for table in crate::table::all().iter().filter(|table| table.schema == "rollup") {
            let path = format!("{}/sql/rollups/{}.sql", env!("CARGO_MANIFEST_DIR"), table.name);
            let file = std::fs::read_to_string(&path).unwrap();
            let line = |word: &str| {
                let start = format!("-- {word}: ");
                let found = file.lines().find_map(|line| line.strip_prefix(start.as_str()));
                found.unwrap_or_else(|| panic!("{path} has no line {word}"))
            };
            assert_eq!(
                [line("name"), line("schema"), line("grain"), line("parameters")],
                [table.name, "rollup", table.grain, "none"]
            );
            assert!(
                !line("freshness").is_empty() && file.contains("\n-- notes:\n"),
                "{path}"
            );
            for read in line("reads").split(", ") {
                assert_reads(&path, &file, read);
            }
        }
    }

    /// `read` is a table with stored rows, in its schema unless that is `public`, and `sql` names it.
    fn assert_reads(of: &str, sql: &str, read: &str) {
        let (schema, name) = read.split_once('.').unwrap_or(("public", read));
        let is_table = crate::table::all()
            .iter()
            .any(|def| (def.schema, def.name) == (schema, name));
        assert!(is_table, "{of} reads {read}, which has no stored rows");
        let named = |word: &str| sql.contains(&format!("{word} {read}"));
        assert!(named("FROM") || named("JOIN"), "{of} does not read {read}");
    }

    #[test]
    fn every_view_is_documented() {
        for (view, (path, file)) in views().iter().zip(FILES) {
            assert_eq!(
                Path::new(path).file_stem().unwrap().to_str(),
                file.lines().find_map(|line| line.strip_prefix("-- name: "))
            );
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
                assert_reads(&full, view.sql, table);
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
            "x.sql",
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
        assert!(View::read("x.sql", "-- name: advice_x\n").is_err());
    }
}
