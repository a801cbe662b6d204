//! The rows of `information_schema`, as PostgreSQL 15 has them. PostgreSQL keeps comments out of it, so they are in `pg_description`.

use super::cells::{Row, row};
use super::{Directory, OWNER, Relation, RelationColumn};
use crate::catalog::{SessionVars, pg_types};

pub(super) fn rows(directory: &Directory, relation: &str, vars: &SessionVars) -> Vec<Row> {
    let catalog = vars.database.as_str();
    match relation {
        "information_schema_catalog_name" => vec![row![catalog_name: catalog]],
        "schemata" => directory
            .schemas
            .keys()
            .map(|schema| row![catalog_name: catalog, schema_name: *schema, schema_owner: OWNER])
            .collect(),
        "tables" => directory.relations.iter().map(|relation| table(relation, catalog)).collect(),
        "columns" => directory
            .relations
            .iter()
            .flat_map(|relation| relation.columns.iter().zip(1_i32..).map(move |(c, number)| column(relation, c, number, catalog)))
            .collect(),
        "views" => super::rows::relations_of_kind(directory, "v")
            .map(|view| {
                row![
                    table_catalog: catalog, table_schema: view.schema, table_name: view.name,
                    view_definition: view.definition, check_option: "NONE", is_updatable: "NO",
                    is_insertable_into: "NO", is_trigger_updatable: "NO", is_trigger_deletable: "NO", is_trigger_insertable_into: "NO",
                ]
            })
            .collect(),
        "enabled_roles" | "applicable_roles" => vec![row![role_name: vars.user.as_str(), grantee: vars.user.as_str()]],
        "table_privileges" | "role_table_grants" => directory
            .relations
            .iter()
            .map(|relation| {
                row![
                    grantor: OWNER, grantee: vars.user.as_str(), table_catalog: catalog, table_schema: relation.schema,
                    table_name: relation.name, privilege_type: "SELECT", is_grantable: "NO", with_hierarchy: "YES",
                ]
            })
            .collect(),
        "character_sets" => vec![row![character_set_name: "UTF8", character_repertoire: "UCS", form_of_use: "UTF8"]],
        "collations" => ["default", "C", "POSIX"]
            .into_iter()
            .map(|name| row![collation_catalog: catalog, collation_schema: "pg_catalog", collation_name: name, pad_attribute: "NO PAD"])
            .collect(),
        // No constraints, routines, sequences, triggers, domains: those relations are empty.
        _ => Vec::new(),
    }
}

fn table(relation: &Relation, catalog: &str) -> Row {
    row![
        table_catalog: catalog, table_schema: relation.schema, table_name: relation.name,
        table_type: if relation.kind == "v" { "VIEW" } else { "BASE TABLE" }, is_insertable_into: "NO", is_typed: "NO",
    ]
}

fn column(relation: &Relation, column: &RelationColumn, number: i32, catalog: &str) -> Row {
    let ty = pg_types::pg_type(column.type_oid);
    let is_array = ty.is_some_and(|ty| ty.len == -1 && ty.element != 0);
    // Bits of precision; radix 2 for all but numeric.
    let precision = match column.type_oid {
        pg_types::INT2 => Some(16),
        pg_types::INT4 => Some(32),
        pg_types::INT8 => Some(64),
        pg_types::FLOAT4 => Some(24),
        pg_types::FLOAT8 => Some(53),
        _ => None,
    };
    let is_integer = matches!(column.type_oid, pg_types::INT2 | pg_types::INT4 | pg_types::INT8);
    let is_time = matches!(
        column.type_oid,
        pg_types::TIMESTAMP | pg_types::TIMESTAMPTZ | pg_types::TIME | pg_types::INTERVAL
    );
    row![
        table_catalog: catalog,
        table_schema: relation.schema,
        table_name: relation.name,
        column_name: column.name,
        ordinal_position: number,
        is_nullable: if column.not_null { "NO" } else { "YES" },
        data_type: if is_array { "ARRAY".to_owned() } else { pg_types::sql_name(column.type_oid, None) },
        // The longest text PostgreSQL has, in bytes.
        character_octet_length: matches!(column.type_oid, pg_types::TEXT | pg_types::VARCHAR).then_some(1_073_741_824_i64),
        numeric_precision: precision,
        numeric_precision_radix: precision.map(|_| 2),
        numeric_scale: is_integer.then_some(0),
        datetime_precision: is_time.then_some(6),
        udt_catalog: catalog,
        udt_schema: "pg_catalog",
        udt_name: ty.map_or("text", |ty| ty.name),
        dtd_identifier: number.to_string(),
        is_self_referencing: "NO",
        is_identity: "NO",
        identity_cycle: "NO",
        is_generated: "NEVER",
        is_updatable: "NO",
    ]
}
