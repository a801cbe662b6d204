//! What there is: catalogs, schemas, tables with the Arrow types of their columns, types, keys.
//!
//! All of it is asked of the engine, as a client of PostgreSQL would: `information_schema` names the relations, `pg_catalog` has types and
//! comments of columns, and planning `SELECT *` gives the Arrow schema. None of these change while the program runs, so they are asked once.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, SqlInfoData, XdbcTypeInfoData};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo,
};
use futures::TryStreamExt;
use tokio::sync::OnceCell;
use tonic::Status;

use super::{FlightOptions, error, sql_info, stream};
use crate::catalog::{CATALOG, SessionVars};
use crate::server::query::{QueryEngine, QueryError};

/// Types of tables, as PostgreSQL's JDBC driver names them.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";
const SYSTEM_TABLE: &str = "SYSTEM TABLE";
const SYSTEM_VIEW: &str = "SYSTEM VIEW";

const RELATIONS: &str =
    "SELECT table_schema, table_name, table_type FROM information_schema.tables ORDER BY table_schema, table_name";

const COLUMNS: &str = "SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), d.description \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON a.attrelid = c.oid \
     JOIN pg_catalog.pg_namespace n ON c.relnamespace = n.oid \
     LEFT JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = a.attnum \
     WHERE a.attnum > 0";

#[derive(Debug)]
struct Relation {
    schema: String,
    name: String,
    table_type: &'static str,
    /// The SQL type and the comment of each column.
    columns: HashMap<String, (String, Option<String>)>,
    /// Planned when it is first asked for.
    arrow: OnceCell<SchemaRef>,
}

pub(super) struct Metadata {
    engine: Arc<QueryEngine>,
    relations: OnceCell<Vec<Relation>>,
    sql_info: SqlInfoData,
    types: XdbcTypeInfoData,
}

impl std::fmt::Debug for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metadata").finish_non_exhaustive()
    }
}

/// `GetPrimaryKeys`. No table declares a key: its rows are what logs say, and nothing keeps two logs from saying it twice.
pub(super) static PRIMARY_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

/// `GetImportedKeys`, `GetExportedKeys` and `GetCrossReference`.
pub(super) static FOREIGN_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
});

impl Metadata {
    pub(super) fn new(engine: Arc<QueryEngine>, options: &FlightOptions) -> Result<Metadata, FlightError> {
        Ok(Metadata {
            engine,
            relations: OnceCell::new(),
            sql_info: sql_info::infos(options)?,
            types: sql_info::types()?,
        })
    }

    pub(super) fn catalogs(&self, command: CommandGetCatalogs) -> Result<RecordBatch, Status> {
        let mut builder: GetCatalogsBuilder = command.into_builder();
        builder.append(CATALOG);
        builder.build().map_err(error::internal)
    }

    pub(super) async fn schemas(&self, command: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
        let mut builder = command.into_builder();
        for name in self.schema_names().await? {
            builder.append(CATALOG, name);
        }
        builder.build().map_err(error::internal)
    }

    /// Every schema that has a relation, which all have.
    pub(super) async fn schema_names(&self) -> Result<Vec<&str>, Status> {
        let relations = self.relations().await?;
        let mut names: Vec<&str> = relations.iter().map(|relation| relation.schema.as_str()).collect();
        names.dedup();
        Ok(names)
    }

    pub(super) fn tables_schema(command: CommandGetTables) -> SchemaRef {
        command.into_builder().schema()
    }

    pub(super) async fn tables(&self, command: CommandGetTables) -> Result<RecordBatch, Status> {
        // First those that match, so that only their schemas are planned.
        let mut names = CommandGetTables {
            include_schema: false,
            ..command.clone()
        }
        .into_builder();
        let relations = self.relations().await?;
        let empty = Schema::empty();
        for relation in relations {
            let row = names.append(CATALOG, &relation.schema, &relation.name, relation.table_type, &empty);
            row.map_err(error::internal)?;
        }
        let found = names.build().map_err(error::internal)?;
        if !command.include_schema {
            return Ok(found);
        }
        let (schemas, tables) = (found.column(1).as_string::<i32>(), found.column(2).as_string::<i32>());
        let found: std::collections::HashSet<_> = schemas.iter().flatten().zip(tables.iter().flatten()).collect();
        let mut builder = command.into_builder();
        for relation in relations {
            if found.contains(&(relation.schema.as_str(), relation.name.as_str())) {
                let schema = self.arrow_schema(relation).await?;
                let row = builder.append(CATALOG, &relation.schema, &relation.name, relation.table_type, &schema);
                row.map_err(error::internal)?;
            }
        }
        builder.build().map_err(error::internal)
    }

    pub(super) fn table_types(&self, command: CommandGetTableTypes) -> Result<RecordBatch, Status> {
        let mut builder = command.into_builder();
        for name in [TABLE, VIEW, SYSTEM_TABLE, SYSTEM_VIEW] {
            builder.append(name);
        }
        builder.build().map_err(error::internal)
    }

    pub(super) fn sql_info(&self, command: CommandGetSqlInfo) -> Result<RecordBatch, Status> {
        command.into_builder(&self.sql_info).build().map_err(error::internal)
    }

    pub(super) fn sql_info_schema(&self) -> SchemaRef {
        self.sql_info.schema()
    }

    pub(super) fn types(&self, command: CommandGetXdbcTypeInfo) -> Result<RecordBatch, Status> {
        command.into_builder(&self.types).build().map_err(error::internal)
    }

    pub(super) fn types_schema(&self) -> SchemaRef {
        self.types.schema()
    }

    async fn relations(&self) -> Result<&[Relation], Status> {
        let asked = self.relations.get_or_try_init(|| async {
            let mut relations = Vec::new();
            for batch in self.ask(RELATIONS).await? {
                let columns = texts(&batch)?;
                for row in 0..batch.num_rows() {
                    let [schema, name, kind] = [0, 1, 2].map(|column| columns[column].as_string::<i32>().value(row));
                    let is_system = matches!(schema, "pg_catalog" | "information_schema");
                    relations.push(Relation {
                        schema: schema.to_owned(),
                        name: name.to_owned(),
                        table_type: match (kind == "VIEW", is_system) {
                            (false, false) => TABLE,
                            (true, false) => VIEW,
                            (false, true) => SYSTEM_TABLE,
                            (true, true) => SYSTEM_VIEW,
                        },
                        columns: HashMap::new(),
                        arrow: OnceCell::new(),
                    });
                }
            }
            let names = relations.iter().enumerate();
            let places: HashMap<(String, String), usize> = names
                .map(|(place, relation)| ((relation.schema.clone(), relation.name.clone()), place))
                .collect();
            for batch in self.ask(COLUMNS).await? {
                let columns = texts(&batch)?;
                let columns: Vec<_> = columns.iter().map(|column| column.as_string::<i32>()).collect();
                for row in 0..batch.num_rows() {
                    let text = |column: usize| columns[column].value(row).to_owned();
                    let comment = columns[4].is_valid(row).then(|| text(4));
                    if let Some(place) = places.get(&(text(0), text(1))) {
                        relations[*place].columns.insert(text(2), (text(3), comment));
                    }
                }
            }
            Ok::<_, QueryError>(relations)
        });
        asked.await.map(Vec::as_slice).map_err(|error| error::of_query(&error))
    }

    /// The columns of a relation as a statement gives them, with what drivers show of them.
    async fn arrow_schema(&self, relation: &Relation) -> Result<SchemaRef, Status> {
        let planned = relation.arrow.get_or_try_init(|| async {
            let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            let sql = format!("SELECT * FROM {}.{}", quoted(&relation.schema), quoted(&relation.name));
            let timeout = self.engine.limits().timeout;
            let prepared = self.engine.prepare(&sql, &SessionVars::default(), &[], timeout).await?;
            let plain = stream::client_schema(&prepared.schema);
            let fields = plain.fields().iter().map(|field| {
                let mut about = HashMap::from([
                    ("CATALOG_NAME", CATALOG.to_owned()),
                    ("SCHEMA_NAME", relation.schema.clone()),
                    ("TABLE_NAME", relation.name.clone()),
                    ("IS_AUTO_INCREMENT", "0".to_owned()),
                    ("IS_CASE_SENSITIVE", "1".to_owned()),
                    ("IS_READ_ONLY", "1".to_owned()),
                    ("IS_SEARCHABLE", "1".to_owned()),
                ]);
                if let Some((sql_type, comment)) = relation.columns.get(field.name()) {
                    about.insert("TYPE_NAME", sql_type.clone());
                    if let Some(comment) = comment {
                        about.insert("REMARKS", comment.clone());
                    }
                }
                let about = about
                    .into_iter()
                    .map(|(key, value)| (format!("ARROW:FLIGHT:SQL:{key}"), value));
                Field::clone(field).with_metadata(about.collect())
            });
            Ok::<_, QueryError>(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
        });
        planned.await.cloned().map_err(|error| error::of_query(&error))
    }

    async fn ask(&self, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        let rows = self.engine.run(sql, &SessionVars::default()).await?;
        rows.batches.try_collect().await
    }
}

/// All columns as text.
fn texts(batch: &RecordBatch) -> Result<Vec<ArrayRef>, QueryError> {
    let texts = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
    texts.collect::<Result<_, _>>().map_err(|error| QueryError::Internal {
        message: format!("a name in the catalog is no text: {error}"),
    })
}
