//! What PostgreSQL clients read about the database: `pg_catalog` and `information_schema`.
//!
//! Every relation of PostgreSQL 15 is there with its own columns, order and types (`data/relations.tsv`, taken from a PostgreSQL 15);
//! [`rows`] fills those that have something to say, from the [`TableDef`]s. All others are empty, which is the truth: there are no
//! indexes, triggers, sequences or policies here.
//!
//! Oids: PostgreSQL's own for its own objects; a hash of the name for ours, so that they stay when tables are added or reordered.

mod cells;
mod information_schema;
mod parameters;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::error::Result;

pub(crate) use parameters::parameter_value;
pub use parameters::{Parameter, parameters};
pub(crate) use rows::{role_oid, schema_comment, table_size};

use super::activity::Activity;
use super::fixed::FixedTable;
use super::{SessionVars, View, ViewColumn, pg_types};
use crate::history::Snapshot;
use crate::table::TableDef;

/// The version of PostgreSQL whose catalog this is, and which clients are told.
pub const SERVER_VERSION: &str = "15.18";
/// The same as `server_version_num`.
pub const SERVER_VERSION_NUM: &str = "150018";
/// Owner of every object.
pub(crate) const OWNER: &str = "sparkgate";
pub(crate) const OWNER_OID: u32 = 10;
pub(crate) const PG_CATALOG_OID: u32 = 11;
pub(crate) const PUBLIC_OID: u32 = 2200;
pub(crate) const DATABASE_OID: u32 = 16384;

/// A table or view as `pg_class` has it.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) schema: &'static str,
    pub(crate) name: &'static str,
    /// `r` or `v`.
    pub(crate) kind: &'static str,
    pub(crate) columns: Vec<RelationColumn>,
    /// The grain of a table or view of ours.
    pub(crate) comment: Option<String>,
    /// The statement of a view of ours.
    pub(crate) definition: Option<&'static str>,
}

#[derive(Debug)]
pub(crate) struct RelationColumn {
    pub(crate) name: &'static str,
    pub(crate) type_oid: u32,
    pub(crate) not_null: bool,
    pub(crate) comment: Option<String>,
}

impl Relation {
    fn arrow_schema(&self) -> SchemaRef {
        let field = |column: &RelationColumn| {
            let field = Field::new(column.name, pg_types::catalog_arrow_type(column.type_oid), true);
            match column.type_oid {
                oid @ (pg_types::INT2VECTOR | pg_types::OIDVECTOR) => field.with_metadata(pg_types::stating(oid, -1)),
                _ => field,
            }
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    fn ours(table: &'static TableDef) -> Self {
        let column = |column: &crate::table::Column| RelationColumn {
            name: column.name,
            type_oid: pg_types::pg_type_oid(&column.ty.arrow()),
            not_null: !column.nullable,
            comment: Some(match column.source {
                "" => column.doc.to_owned(),
                source => format!("{} (source: {source})", column.doc),
            }),
        };
        Relation {
            oid: stable_oid(&format!("{}.{}", table.schema, table.name)),
            schema: table.schema,
            name: table.name,
            kind: "r",
            columns: table.columns.iter().map(column).collect(),
            comment: Some(table.grain.to_owned()),
            definition: None,
        }
    }

    fn view(view: &View) -> Self {
        let column = |column: &ViewColumn| RelationColumn {
            name: column.name,
            type_oid: pg_types::pg_type_oid(&column.ty.arrow()),
            not_null: false,
            comment: Some(column.doc.to_owned()),
        };
        Relation {
            oid: stable_oid(&format!("{}.{}", view.schema, view.name)),
            schema: view.schema,
            name: view.name,
            kind: "v",
            columns: view.columns.iter().map(column).collect(),
            comment: Some(view.grain.to_owned()),
            definition: Some(view.sql),
        }
    }
}

/// The same oid for the same name, for ever: above what PostgreSQL gives to its own objects and below 2^31.
pub(crate) fn stable_oid(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    0x4000_0000 | (hash & 0x3fff_ffff)
}

/// Every relation and schema there is, by name and by oid. Made once.
pub(crate) struct Directory {
    pub(crate) relations: Vec<Relation>,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<(&'static str, &'static str), usize>,
    /// Name and oid.
    pub(crate) schemas: BTreeMap<&'static str, u32>,
    batches: Mutex<HashMap<u32, RecordBatch>>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("relations", &self.relations.len())
            .finish_non_exhaustive()
    }
}

impl Directory {
    pub(crate) fn new<'a>(tables: impl IntoIterator<Item = &'a &'static TableDef>, views: &[View]) -> Self {
        let mut relations: Vec<Relation> = tables.into_iter().map(|table| Relation::ours(table)).collect();
        relations.extend(views.iter().map(Relation::view));
        relations.extend(postgres_relations());
        let mut by_oid = HashMap::new();
        let mut by_name = HashMap::new();
        let mut schemas = BTreeMap::from([("pg_catalog", PG_CATALOG_OID), ("public", PUBLIC_OID)]);
        for (at, relation) in relations.iter_mut().enumerate() {
            while by_oid.contains_key(&relation.oid) {
                relation.oid += 1;
            }
            by_oid.insert(relation.oid, at);
            by_name.insert((relation.schema, relation.name), at);
            schemas
                .entry(relation.schema)
                .or_insert_with(|| stable_oid(relation.schema));
        }
        Directory {
            relations,
            by_oid,
            by_name,
            schemas,
            batches: Mutex::default(),
        }
    }

    pub(crate) fn relation(&self, oid: u32) -> Option<&Relation> {
        self.by_oid.get(&oid).map(|at| &self.relations[*at])
    }

    pub(crate) fn relation_named(&self, schema: &str, name: &str) -> Option<&Relation> {
        let (key, _) = self.by_name.get_key_value(&(schema, name) as &(&str, &str))?;
        self.by_name.get(key).map(|at| &self.relations[*at])
    }

    /// The relation an SQL name means: `schema.name`, or `name` looked for along the search path. Quotes are taken off.
    pub(crate) fn resolve(&self, name: &str, search_path: &[String]) -> Option<&Relation> {
        let parts = split_identifier(name)?;
        match parts.as_slice() {
            [name] => std::iter::once("pg_catalog")
                .chain(search_path.iter().map(String::as_str))
                .find_map(|schema| self.relation_named(schema, name)),
            [.., schema, name] => self.relation_named(schema, name),
            [] => None,
        }
    }

    pub(crate) fn schema_name(&self, oid: u32) -> Option<&'static str> {
        self.schemas
            .iter()
            .find(|(_, schema)| **schema == oid)
            .map(|(name, _)| *name)
    }

    /// Is it found by its bare name?
    pub(crate) fn is_visible(&self, relation: &Relation, search_path: &[String]) -> bool {
        self.resolve(&quote_identifier(relation.name), search_path)
            .is_some_and(|found| found.oid == relation.oid)
    }

    /// Names of the relations of a schema.
    pub(crate) fn names(&self, schema: &str) -> Vec<String> {
        self.relations
            .iter()
            .filter(|relation| relation.schema == schema)
            .map(|relation| relation.name.to_owned())
            .collect()
    }

    /// A relation of `pg_catalog` or `information_schema` with its rows of this moment.
    pub(crate) fn table(
        &self,
        schema: &str,
        name: &str,
        vars: &SessionVars,
        snapshot: &Snapshot,
        activity: &Activity,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(relation) = self.relation_named(schema, name) else {
            return Ok(None);
        };
        let cached = rows::FIXED.contains(&relation.name);
        let known = cached.then(|| self.batches().get(&relation.oid).cloned()).flatten();
        let batch = match known {
            Some(batch) => batch,
            None => {
                let rows = match schema {
                    "information_schema" => information_schema::rows(self, relation.name, vars),
                    _ => rows::rows(self, relation.name, vars, snapshot, activity),
                };
                let batch = cells::batch(relation, &rows)?;
                if cached {
                    self.batches().insert(relation.oid, batch.clone());
                }
                batch
            }
        };
        Ok(Some(if relation.kind == "v" {
            FixedTable::view(batch)
        } else {
            FixedTable::table(batch)
        }))
    }

    /// Nothing panics while it is held, and half an insert cannot be seen: a poisoned lock is still good.
    fn batches(&self) -> std::sync::MutexGuard<'_, HashMap<u32, RecordBatch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `a."B".c` → its parts, unquoted ones in lower case. `None` if it is no identifier.
pub(crate) fn split_identifier(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut part = String::new();
                let mut chars = quoted.char_indices().peekable();
                let end = loop {
                    match chars.next()? {
                        (_, '"') if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                            chars.next();
                            part.push('"');
                        }
                        (at, '"') => break at + 1,
                        (_, other) => part.push(other),
                    }
                };
                (part, quoted.get(end..)?)
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest.get(..end)?.trim().to_lowercase(), rest.get(end..)?)
            }
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match after.trim_start().strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if after.trim().is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// As `quote_ident`: quotes only what needs it.
pub(crate) fn quote_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// PostgreSQL's reserved key words: as names they need quotes.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

/// The relations PostgreSQL itself has.
fn postgres_relations() -> impl Iterator<Item = Relation> {
    let lines = include_str!("data/relations.tsv").lines().skip(1);
    lines.filter_map(|line| {
        let mut fields = line.split('\t');
        let (schema, name) = (fields.next()?, fields.next()?);
        let oid = fields.next()?.parse().ok()?;
        let kind = fields.next()?;
        let column = |text: &'static str| {
            let (name, ty) = text.split_once(':')?;
            let not_null = ty.ends_with('!');
            let type_oid = pg_types::pg_type_by_name(ty.trim_end_matches('!')).map_or(pg_types::TEXT, |ty| ty.oid);
            Some(RelationColumn {
                name,
                type_oid,
                not_null,
                comment: None,
            })
        };
        let columns = fields.next()?.split(' ').filter_map(column).collect();
        Some(Relation {
            oid,
            schema,
            name,
            kind,
            columns,
            comment: None,
            definition: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_split_as_postgresql_reads_them() {
        assert_eq!(
            split_identifier("public.Tasks"),
            Some(vec!["public".into(), "tasks".into()])
        );
        assert_eq!(split_identifier(r#""A""b" . c"#), Some(vec!["A\"b".into(), "c".into()]));
        assert_eq!(split_identifier(r#""open"#), None);
        assert_eq!(split_identifier("a..b"), None);
    }

    #[test]
    fn every_relation_has_its_own_oid_and_known_column_types() {
        let directory = Directory::new(&[], &[]);
        assert!(
            directory.relations.len() > 190,
            "{} relations",
            directory.relations.len()
        );
        assert_eq!(
            directory.relation_named("pg_catalog", "pg_class").map(|r| r.oid),
            Some(1259)
        );
        assert_eq!(directory.by_oid.len(), directory.relations.len());
    }
}
