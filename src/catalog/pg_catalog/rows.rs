//! The rows of `pg_catalog`, one function for each relation that has any.

use super::cells::{Cell, Row, read_tsv, row};
use super::parameters::set_in;
use super::{DATABASE_OID, Directory, OWNER, OWNER_OID, PG_CATALOG_OID, Relation, parameters, stable_oid};
use crate::catalog::activity::{Activity, SessionRow};
use crate::catalog::views::SCHEMAS as VIEW_SCHEMAS;
use crate::catalog::{SessionVars, pg_types};
use crate::history::Snapshot;
use crate::table::{self, PROPERTIES_OF_A_SECTION};

/// Oid of the tablespace `pg_default`.
const DEFAULT_TABLESPACE: u32 = 1663;
/// Oids of the catalogs that `pg_description.classoid` names.
const PG_CLASS: u32 = 1259;
const PG_NAMESPACE: u32 = 2615;

/// Relations whose rows never change while the program runs, and which are worth keeping.
pub(super) const FIXED: &[&str] = &["pg_attribute", "pg_type", "pg_description", "pg_proc", "pg_cast"];

pub(super) fn rows(
    directory: &Directory,
    relation: &str,
    vars: &SessionVars,
    snapshot: &Snapshot,
    activity: &Activity,
) -> Vec<Row> {
    match relation {
        "pg_am" => read_tsv(include_str!("data/pg_am.tsv")),
        "pg_cast" => read_tsv(include_str!("data/pg_cast.tsv")),
        "pg_collation" => read_tsv(include_str!("data/pg_collation.tsv")),
        "pg_language" => read_tsv(include_str!("data/pg_language.tsv")),
        "pg_proc" => functions(),
        "pg_type" => types(),
        "pg_namespace" => namespaces(directory),
        "pg_class" => directory
            .relations
            .iter()
            .map(|relation| class(directory, relation, snapshot))
            .collect(),
        "pg_attribute" => directory.relations.iter().flat_map(attributes).collect(),
        "pg_description" => descriptions(directory),
        "pg_database" => databases(vars),
        "pg_tablespace" => [(DEFAULT_TABLESPACE, "pg_default"), (1664, "pg_global")]
            .into_iter()
            .map(|(oid, name)| row![oid: oid, spcname: name, spcowner: OWNER_OID])
            .collect(),
        "pg_roles" | "pg_authid" => roles(vars),
        "pg_user" | "pg_shadow" => users(vars),
        "pg_settings" => settings(vars),
        "pg_tables" => relations_of_kind(directory, "r")
            .map(|r| row![schemaname: r.schema, tablename: r.name, tableowner: OWNER])
            .collect(),
        "pg_views" => relations_of_kind(directory, "v")
            .map(|r| row![schemaname: r.schema, viewname: r.name, viewowner: OWNER, definition: r.definition])
            .collect(),
        "pg_stat_activity" => sessions(vars, activity),
        "pg_stat_all_tables" => statistics(directory, snapshot, |_| true),
        "pg_stat_user_tables" => statistics(directory, snapshot, is_ours),
        "pg_stat_sys_tables" => statistics(directory, snapshot, |relation| !is_ours(relation)),
        "pg_timezone_names" | "pg_timezone_abbrevs" => {
            vec![row![name: "UTC", abbrev: "UTC", is_dst: false]]
        }
        _ => Vec::new(),
    }
}

pub(super) fn is_ours(relation: &Relation) -> bool {
    !matches!(relation.schema, "pg_catalog" | "information_schema")
}

pub(super) fn relations_of_kind<'a>(
    directory: &'a Directory,
    kind: &'static str,
) -> impl Iterator<Item = &'a Relation> {
    directory.relations.iter().filter(move |relation| relation.kind == kind)
}

/// The owner of everything has PostgreSQL's first oid; other users are known by name.
pub(crate) fn role_oid(name: &str) -> u32 {
    if name == OWNER {
        OWNER_OID
    } else {
        stable_oid(&format!("role {name}"))
    }
}

/// The sessions of all doors; what others ask is for the role admin to see.
fn sessions(vars: &SessionVars, activity: &Activity) -> Vec<Row> {
    let row = |session: SessionRow| {
        let client = &session.client;
        let is_readable = vars.is_admin || vars.user == client.user;
        let query = session.query.as_ref();
        let text = match (is_readable, query) {
            (true, query) => query.map_or("", |query| query.sql.as_str()),
            (false, _) => "<insufficient privilege>",
        };
        row![
            datid: DATABASE_OID, datname: vars.database.as_str(), pid: session.pid, usename: client.user.as_str(),
            usesysid: role_oid(&client.user), application_name: session.application_name.as_str(),
            client_addr: client.address.filter(|_| is_readable).map(|address| address.to_string()),
            backend_start: session.connected, query_start: query.map(|query| query.started),
            state_change: session.state_since, state: session.state.as_str(), query: text,
            backend_type: "client backend",
        ]
    };
    activity.sessions().into_iter().map(row).collect()
}

/// Rows of a table and bytes they take, in memory and in the column cache; rows that were dropped count until their segments are merged.
pub(crate) fn table_size(snapshot: &Snapshot, relation: &Relation) -> (i64, i64) {
    if relation.schema != "public" {
        return (0, 0);
    }
    let table = table::all()
        .iter()
        .find(|table| table.schema == relation.schema && table.name == relation.name);
    let stored_as = table.map_or(relation.name, |table| table.stored_as().name);
    let rows_of_each = if stored_as == relation.name {
        1
    } else {
        PROPERTIES_OF_A_SECTION as u64
    };
    // What is listed is all in memory, and in the cache only to come back from there.
    let (in_memory, cache): (Vec<&arrow::array::RecordBatch>, _) = match snapshot.listing.table(relation.name) {
        Some(batches) => (batches, None),
        None => {
            let tables = snapshot.in_memory.iter().map(|attempt| &attempt.tables);
            let batches = tables.filter_map(|tables| tables.get(stored_as)).flatten();
            (batches.collect(), snapshot.cache.as_ref())
        }
    };
    let stored = cache.into_iter().flat_map(|cache| cache.snapshot().segments(stored_as));
    let stored = stored.map(|segment| (segment.rows, segment.bytes));
    let in_memory = in_memory
        .into_iter()
        .map(|batch| (batch.num_rows() as u64, batch.get_array_memory_size() as u64));
    let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    in_memory
        .chain(stored)
        .fold((0, 0), |(rows, bytes), (more_rows, more_bytes)| {
            (rows + long(more_rows * rows_of_each), bytes + long(more_bytes))
        })
}

fn namespaces(directory: &Directory) -> Vec<Row> {
    directory
        .schemas
        .iter()
        .map(|(name, oid)| row![oid: *oid, nspname: *name, nspowner: OWNER_OID])
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "reltuples is an estimate of type real")]
fn class(directory: &Directory, relation: &Relation, snapshot: &Snapshot) -> Row {
    let is_table = relation.kind == "r";
    let (rows, bytes) = table_size(snapshot, relation);
    row![
        oid: relation.oid,
        relname: relation.name,
        relnamespace: directory.schemas.get(relation.schema).copied().unwrap_or_default(),
        relowner: OWNER_OID,
        relam: if is_table { 2 } else { 0 },
        relfilenode: if is_table { relation.oid } else { 0 },
        relpages: bytes / 8192,
        reltuples: if is_table { rows as f64 } else { -1.0 },
        relpersistence: "p",
        relkind: relation.kind,
        relnatts: i64::try_from(relation.columns.len()).unwrap_or_default(),
        relhasrules: !is_table,
        relispopulated: true,
        relreplident: if is_ours(relation) { "d" } else { "n" },
    ]
}

fn attributes(relation: &Relation) -> impl Iterator<Item = Row> + '_ {
    relation.columns.iter().zip(1_i32..).map(|(column, number)| {
        let ty = pg_types::pg_type(column.type_oid);
        let is_array = ty.is_some_and(|ty| ty.len == -1 && ty.element != 0);
        row![
            attrelid: relation.oid,
            attname: column.name,
            atttypid: column.type_oid,
            attstattarget: -1,
            attlen: ty.map_or(-1, |ty| ty.len),
            attnum: number,
            attndims: i32::from(is_array),
            attcacheoff: -1,
            atttypmod: -1,
            attbyval: ty.is_some_and(|ty| ty.by_value),
            attalign: ty.map_or("i", |ty| ty.align),
            attstorage: ty.map_or("x", |ty| ty.storage),
            attnotnull: column.not_null,
            attislocal: true,
            attcollation: ty.map_or(0, |ty| ty.collation),
        ]
    })
}

fn descriptions(directory: &Directory) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, oid) in &directory.schemas {
        if let Some(comment) = schema_comment(name) {
            rows.push(row![objoid: *oid, classoid: PG_NAMESPACE, objsubid: 0, description: comment]);
        }
    }
    for relation in &directory.relations {
        if let Some(comment) = &relation.comment {
            rows.push(row![objoid: relation.oid, classoid: PG_CLASS, objsubid: 0, description: comment.as_str()]);
        }
        for (column, number) in relation.columns.iter().zip(1_i32..) {
            if let Some(comment) = &column.comment {
                rows.push(
                    row![objoid: relation.oid, classoid: PG_CLASS, objsubid: number, description: comment.as_str()],
                );
            }
        }
    }
    rows
}

/// What a schema is for.
pub(crate) fn schema_comment(name: &str) -> Option<&'static str> {
    match name {
        "pg_catalog" => Some("system catalog schema"),
        "public" => Some("tables of all applications"),
        "system" => Some("the gateway's own state"),
        name => VIEW_SCHEMAS
            .iter()
            .find(|(schema, _)| *schema == name)
            .map(|(_, comment)| *comment),
    }
}

fn databases(vars: &SessionVars) -> Vec<Row> {
    vec![row![
        oid: DATABASE_OID, datname: vars.database.as_str(), datdba: OWNER_OID, encoding: 6, datlocprovider: "c", datallowconn: true,
        datconnlimit: -1, dattablespace: DEFAULT_TABLESPACE, datcollate: "C.UTF-8", datctype: "C.UTF-8",
    ]]
}

/// The owner, and who asks. Other users are none of the asker's business.
fn role_names(vars: &SessionVars) -> Vec<&str> {
    if vars.user == OWNER {
        vec![OWNER]
    } else {
        vec![OWNER, &vars.user]
    }
}

fn roles(vars: &SessionVars) -> Vec<Row> {
    role_names(vars)
        .into_iter()
        .map(|name| row![oid: role_oid(name), rolname: name, rolinherit: true, rolcanlogin: true, rolconnlimit: -1])
        .collect()
}

fn users(vars: &SessionVars) -> Vec<Row> {
    role_names(vars)
        .into_iter()
        .map(|name| row![usename: name, usesysid: role_oid(name), passwd: "********"])
        .collect()
}

fn settings(vars: &SessionVars) -> Vec<Row> {
    parameters()
        .iter()
        .filter(|parameter| parameter.listed)
        .map(|parameter| {
            let set = set_in(vars, parameter).filter(|value| value != parameter.default);
            let source = if set.is_some() { "session" } else { "default" };
            let setting = set.as_deref().unwrap_or(parameter.plain);
            let mut row = row![
                name: parameter.name, setting: setting, category: parameter.category, short_desc: parameter.description,
                context: parameter.context, vartype: parameter.kind, source: source, boot_val: parameter.plain,
                reset_val: parameter.plain, pending_restart: false,
            ];
            let optional = [
                ("unit", parameter.unit),
                ("min_val", parameter.min),
                ("max_val", parameter.max),
            ];
            row.extend(
                optional
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(name, value)| (name, Cell::from(value))),
            );
            if !parameter.values.is_empty() {
                row.push((
                    "enumvals",
                    Cell::Texts(parameter.values.split(',').map(str::to_owned).collect()),
                ));
            }
            row
        })
        .collect()
}

fn statistics(directory: &Directory, snapshot: &Snapshot, wanted: impl Fn(&Relation) -> bool) -> Vec<Row> {
    relations_of_kind(directory, "r")
        .filter(|relation| wanted(relation))
        .map(|relation| {
            let (rows, _) = table_size(snapshot, relation);
            row![relid: relation.oid, schemaname: relation.schema, relname: relation.name, n_live_tup: rows, n_dead_tup: 0]
        })
        .collect()
}

fn types() -> Vec<Row> {
    let mut rows = read_tsv(pg_types::PG_TYPE_ROWS);
    for row in &mut rows {
        row.push(("typnamespace", Cell::from(PG_CATALOG_OID)));
        row.push(("typowner", Cell::from(OWNER_OID)));
    }
    rows
}

fn functions() -> Vec<Row> {
    let mut rows = read_tsv(include_str!("data/pg_proc.tsv"));
    for row in &mut rows {
        let arguments = row.iter_mut().find(|(name, _)| *name == "proargtypes");
        if let Some((_, cell)) = arguments
            && let Cell::Text(oids) = cell
        {
            *cell = Cell::Texts(oids.split_whitespace().map(str::to_owned).collect());
        }
        row.push(("pronamespace", Cell::from(PG_CATALOG_OID)));
        row.push(("proowner", Cell::from(OWNER_OID)));
    }
    rows
}
