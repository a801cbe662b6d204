//! `docs/schema.md` from the definitions.

use std::fmt::Write;

use super::{Column, TableDef, Type};

impl Type {
    /// The type as PostgreSQL calls it.
    pub fn sql_name(self) -> String {
        match self {
            Type::Bool => "boolean".into(),
            Type::Int32 => "integer".into(),
            Type::Int64 => "bigint".into(),
            Type::Float64 => "double precision".into(),
            Type::Text | Type::SharedText => "text".into(),
            Type::Timestamp => "timestamp with time zone".into(),
            Type::List(Type::Struct(_) | Type::Map(_) | Type::List(_)) | Type::Map(_) | Type::Struct(_) => {
                "jsonb".into()
            }
            Type::List(item) => format!("{}[]", item.sql_name()),
        }
    }
}

impl Column {
    /// The unit that the name says: `ms`, `ns`, `bytes`, or `""` for counts and everything that has none.
    pub fn unit(&self) -> &'static str {
        match self.name.trim_end_matches("_quantiles") {
            name if name.ends_with("_ms") => "ms",
            name if name.ends_with("_ns") => "ns",
            name if name.split('_').any(|word| word == "bytes") => "bytes",
            name if name.ends_with("_mb") => "MiB",
            _ => "",
        }
    }
}

/// The page that describes `tables`.
pub fn render(tables: &[&TableDef]) -> String {
    let mut page = String::from(
        "# Tables\n\n\
         Made from the code by `UPDATE_DOCS=1 cargo test --test it schema_page`; a test fails when it is stale.\n\n\
         A column is the field of Spark's v1 REST API in snake_case, with its unit in the name. What has not happened, and \
         what a log does not record, is NULL; counts and sums of what was seen are numbers. Instants are UTC. REST field: \
         its path in Spark's model of the entity, empty where Spark has none. Source: the event of the log and its field, \
         or the rule.\n",
    );
    for table in tables {
        let full = table.sql_name();
        let _ = write!(
            page,
            "\n## `{full}`\n\n{}{}.\n",
            table.grain[..1].to_uppercase(),
            &table.grain[1..]
        );
        if !table.sort_order.is_empty() {
            let _ = writeln!(page, "Sorted by {}.", table.sort_order.join(", "));
        }
        if table.schema == "rollup" {
            let _ = writeln!(
                page,
                "Stored; what the rows are is said by `sql/rollups/{}.sql`.",
                table.name
            );
        }
        page.push_str("\n| column | type | unit | null | REST field | source | meaning |\n| --- | --- | --- | --- | --- | --- | --- |\n");
        for column in table.columns {
            let null = if column.nullable { "yes" } else { "" };
            let (name, ty, unit, rest) = (column.name, column.ty.sql_name(), column.unit(), column.rest);
            let _ = writeln!(
                page,
                "| `{name}` | {ty} | {unit} | {null} | {rest} | {} | {} |",
                column.source, column.doc
            );
        }
    }
    page
}
