//! `environment`: unpacks [`ENVIRONMENT_SECTIONS`], whose rows hold the properties of a section as one text.
//!
//! [`EnvironmentTable`] scans the sections as any stored table is scanned, with the filters on what a section has: application, attempt,
//! section. [`UnpackExec`] makes a row of each property. Sections are few and shared by many applications, so a text is decoded once for all
//! rows that have it, and filters on names and values are applied to what was decoded, before there are rows. Everything is filtered by
//! DataFusion again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringBuilder, UInt32Array};
use arrow::compute::{concat, filter_record_batch, take};
use arrow::datatypes::{Int32Type, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, Statistics, internal_datafusion_err, internal_err};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use futures::TryStreamExt;
use serde::Deserialize;

use super::table::{HistoryTable, filter_support};
use crate::table::{ENVIRONMENT, ENVIRONMENT_SECTIONS, PROPERTIES_OF_A_SECTION};

/// Decoded sections, and the batches they are of, that are kept while a scan goes on.
const MOST_DECODED_BYTES: usize = 32 * 1024 * 1024;
/// Columns that a section has; the others are its properties.
const KEYS: [&str; 3] = ["app_id", "attempt_id", "section"];
const PROPERTY: [&str; 2] = ["name", "value"];

#[derive(Debug)]
pub(crate) struct EnvironmentTable {
    schema: SchemaRef,
    sections: HistoryTable,
}

impl EnvironmentTable {
    pub(crate) fn new() -> Self {
        EnvironmentTable {
            schema: ENVIRONMENT.arrow_schema(),
            sections: HistoryTable::new(&ENVIRONMENT_SECTIONS),
        }
    }
}

#[async_trait]
impl TableProvider for EnvironmentTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| filter_support(filter)).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Every section has a property, so that many sections are enough.
        let limit = limit.filter(|_| filters.is_empty());
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let of_keys = filters_on(filters, &KEYS);
        let of_properties = filters_on(filters, &PROPERTY);
        let is_read = |name: &str| {
            schema.field_with_name(name).is_ok()
                || of_keys
                    .iter()
                    .any(|filter| filter.column_refs().iter().any(|column| column.name == name))
        };
        let reads_properties = !of_properties.is_empty() || PROPERTY.iter().any(|name| is_read(name));
        let sections = self.sections.schema();
        let columns = sections
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| match field.name().as_str() {
                // An error names them.
                "app_id" | "attempt_id" if reads_properties => true,
                "properties" => reads_properties,
                "num_properties" => !reads_properties,
                key => is_read(key),
            });
        let columns: Vec<usize> = columns.map(|(at, _)| at).collect();
        let input = self.sections.scan(session, Some(&columns), &of_keys, limit).await?;
        let key_filters = predicates(session, of_keys, &input.schema())?;
        let property_filters = predicates(session, of_properties, &property_schema()?)?;
        Ok(Arc::new(UnpackExec::new(
            input,
            schema,
            key_filters,
            property_filters,
            limit,
        )))
    }
}

/// The filters that speak of some of these columns and of no others.
fn filters_on(filters: &[Expr], columns: &[&str]) -> Vec<Expr> {
    let is_on = |filter: &&Expr| {
        filter
            .column_refs()
            .iter()
            .all(|column| columns.contains(&column.name.as_str()))
    };
    filters.iter().filter(is_on).cloned().collect()
}

fn predicates(session: &dyn Session, filters: Vec<Expr>, schema: &SchemaRef) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let schema = DFSchema::try_from(Arc::clone(schema))?;
    let filters = filters.into_iter();
    filters
        .map(|filter| session.create_physical_expr(filter, &schema))
        .collect()
}

/// The columns of a decoded section.
fn property_schema() -> Result<SchemaRef> {
    let schema = ENVIRONMENT.arrow_schema();
    let columns = PROPERTY
        .iter()
        .map(|name| schema.index_of(name))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Arc::new(schema.project(&columns)?))
}

/// Makes the rows of `environment` of rows of [`ENVIRONMENT_SECTIONS`].
#[derive(Debug, Clone)]
struct UnpackExec {
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    /// On columns of the input, before anything is decoded.
    key_filters: Vec<Arc<dyn PhysicalExpr>>,
    /// On the columns of a decoded section.
    property_filters: Vec<Arc<dyn PhysicalExpr>>,
    /// More rows than these nobody wants, of all partitions; each may give as many.
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl UnpackExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        schema: SchemaRef,
        key_filters: Vec<Arc<dyn PhysicalExpr>>,
        property_filters: Vec<Arc<dyn PhysicalExpr>>,
        limit: Option<usize>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        UnpackExec {
            input,
            schema,
            key_filters,
            property_filters,
            limit,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for UnpackExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "UnpackExec: columns=[{}]", columns.join(", "))?;
        let filters = [("sections", &self.key_filters), ("properties", &self.property_filters)];
        for (of, filters) in filters.into_iter().filter(|(_, filters)| !filters.is_empty()) {
            let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
            write!(f, ", {of}=[{}]", filters.join(", "))?;
        }
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for UnpackExec {
    fn name(&self) -> &'static str {
        "UnpackExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for filter in self.key_filters.iter().chain(&self.property_filters) {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("UnpackExec has one input");
        };
        Ok(Arc::new(UnpackExec::new(
            input,
            Arc::clone(&self.schema),
            self.key_filters.clone(),
            self.property_filters.clone(),
            self.limit,
        )))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let children_properties = ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions { children_properties })
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let unpacking = Unpacking {
            batch_size: context.session_config().batch_size().max(1),
            input: self.input.execute(partition, context)?,
            schema: Arc::clone(&self.schema),
            key_filters: self.key_filters.clone(),
            decoder: Decoder {
                schema: property_schema()?,
                filters: self.property_filters.clone(),
                sections: HashMap::new(),
                decoded_from: Vec::new(),
                bytes: 0,
            },
            packed: None,
            left: self.limit.unwrap_or(usize::MAX),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let batches = futures::stream::try_unfold(unpacking, |mut unpacking| async move {
            Ok(unpacking.next_batch().await?.map(|batch| (batch, unpacking)))
        });
        let schema = Arc::clone(&self.schema);
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(
            schema, batches,
        ))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// About how many rows, so that a join knows that it is the large side.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let Some(sections) = inputs.first().and_then(|input| input.num_rows.get_value()) {
            let rows = sections.saturating_mul(PROPERTIES_OF_A_SECTION);
            statistics.num_rows = Precision::Inexact(self.limit.map_or(rows, |limit| rows.min(limit)));
        }
        Ok(Arc::new(statistics))
    }
}

/// A scan under way.
struct Unpacking {
    input: SendableRecordBatchStream,
    schema: SchemaRef,
    key_filters: Vec<Arc<dyn PhysicalExpr>>,
    decoder: Decoder,
    batch_size: usize,
    packed: Option<Packed>,
    /// Rows that are still wanted.
    left: usize,
    metrics: BaselineMetrics,
}

/// Sections that are being unpacked.
struct Packed {
    rows: RecordBatch,
    /// The next section, and how many of its rows are done.
    section: usize,
    done: usize,
}

/// Some rows of a section.
struct Piece {
    /// Its row in the input.
    section: u32,
    /// What was decoded, if that is wanted.
    properties: Option<RecordBatch>,
    rows: usize,
}

impl Unpacking {
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let compute = self.metrics.elapsed_compute().clone();
        while self.left > 0 {
            if self.packed.is_none() {
                let Some(batch) = self.input.try_next().await? else {
                    return Ok(None);
                };
                let _timer = compute.timer();
                let rows = kept(&self.key_filters, batch);
                self.decoder.begin(&rows);
                self.packed = Some(Packed {
                    rows,
                    section: 0,
                    done: 0,
                });
            }
            let timer = compute.timer();
            let batch = self.unpack()?;
            timer.done();
            if let Some(batch) = batch {
                self.left -= batch.num_rows();
                return Ok(Some(batch.record_output(&self.metrics)));
            }
        }
        Ok(None)
    }

    /// The next rows of the sections that are at hand; `None` at their end.
    fn unpack(&mut self) -> Result<Option<RecordBatch>> {
        let Some(packed) = &mut self.packed else {
            return Ok(None);
        };
        let wanted = self.batch_size.min(self.left);
        let (mut pieces, mut rows) = (Vec::new(), 0);
        while rows < wanted && packed.section < packed.rows.num_rows() {
            let (properties, all) = match self.decoder.section(&packed.rows, packed.section)? {
                Some(section) => {
                    let all = section.num_rows();
                    (Some(section), all)
                }
                None => (None, number_of_properties(&packed.rows, packed.section)?),
            };
            let taken = (all - packed.done).min(wanted - rows);
            if taken > 0 {
                pieces.push(Piece {
                    section: u32::try_from(packed.section)
                        .map_err(|_| internal_datafusion_err!("a batch is too long"))?,
                    properties: properties.map(|section| section.slice(packed.done, taken)),
                    rows: taken,
                });
            }
            rows += taken;
            packed.done += taken;
            if packed.done == all {
                packed.section += 1;
                packed.done = 0;
            }
        }
        let batch = match rows {
            0 => None,
            rows => Some(self.joined(&pieces, rows)?),
        };
        if self
            .packed
            .as_ref()
            .is_some_and(|packed| packed.section == packed.rows.num_rows())
        {
            self.packed = None;
        }
        Ok(batch)
    }

    /// Pieces of the sections at hand, which have so many rows together.
    fn joined(&self, pieces: &[Piece], rows: usize) -> Result<RecordBatch> {
        let Some(packed) = &self.packed else {
            return internal_err!("pieces are of sections");
        };
        let sections = pieces
            .iter()
            .flat_map(|piece| std::iter::repeat_n(piece.section, piece.rows));
        let sections = UInt32Array::from_iter_values(sections);
        let column = |name: &str| -> Result<ArrayRef> {
            if let Some(key) = packed.rows.column_by_name(name) {
                return Ok(take(key, &sections, None)?);
            }
            let of_pieces = pieces
                .iter()
                .filter_map(|piece| piece.properties.as_ref()?.column_by_name(name));
            let of_pieces: Vec<&dyn Array> = of_pieces.map(Arc::as_ref).collect();
            Ok(concat(&of_pieces)?)
        };
        let columns: Vec<ArrayRef> = self
            .schema
            .fields()
            .iter()
            .map(|field| column(field.name()))
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}

fn number_of_properties(sections: &RecordBatch, section: usize) -> Result<usize> {
    let numbers = sections.column_by_name("num_properties");
    let number = numbers.and_then(|numbers| Some(numbers.as_primitive_opt::<Int32Type>()?.value(section)));
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| internal_datafusion_err!("a section does not say how many properties it has"))
}

/// Decodes texts that many sections share once.
struct Decoder {
    /// Of a decoded section: name and value.
    schema: SchemaRef,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    /// What the filters left of a text, by where its bytes are.
    sections: HashMap<(usize, usize), RecordBatch>,
    /// The bytes stay where they are while these are held.
    decoded_from: Vec<ArrayRef>,
    bytes: usize,
}

impl Decoder {
    /// Sections to come.
    fn begin(&mut self, sections: &RecordBatch) {
        let Some(texts) = sections.column_by_name("properties") else {
            return;
        };
        if self.bytes > MOST_DECODED_BYTES {
            self.sections.clear();
            self.decoded_from.clear();
            self.bytes = 0;
        }
        self.bytes += texts.get_buffer_memory_size();
        self.decoded_from.push(Arc::clone(texts));
    }

    /// The properties of a section of those that were begun last; `None` where they are not read.
    fn section(&mut self, sections: &RecordBatch, at: usize) -> Result<Option<RecordBatch>> {
        let Some(texts) = sections.column_by_name("properties") else {
            return Ok(None);
        };
        let Some(texts) = texts.as_string_view_opt() else {
            return internal_err!("properties are {}", texts.data_type());
        };
        let text = texts.value(at);
        let place = (text.as_ptr().addr(), text.len());
        if let Some(known) = self.sections.get(&place) {
            return Ok(Some(known.clone()));
        }
        let decoded = decode(text, &self.schema).map_err(|error| {
            let key = |name: &str| {
                let texts = sections
                    .column_by_name(name)
                    .and_then(|column| column.as_string_opt::<i32>());
                texts.map_or("?", |texts| texts.value(at)).to_owned()
            };
            let (app_id, attempt_id) = (key("app_id"), key("attempt_id"));
            internal_datafusion_err!(
                "the stored environment of application {app_id:?}, attempt {attempt_id:?}: {error}"
            )
        })?;
        let decoded = kept(&self.filters, decoded);
        self.bytes += decoded.get_array_memory_size();
        self.sections.insert(place, decoded.clone());
        Ok(Some(decoded))
    }
}

/// The rows that filters leave, one after the other: what comes later is not asked about rows that an earlier one leaves out. One that fails
/// leaves all: whether it is asked about these rows at all, the filter above decides.
fn kept(filters: &[Arc<dyn PhysicalExpr>], rows: RecordBatch) -> RecordBatch {
    let kept = |rows: &RecordBatch, filter: &Arc<dyn PhysicalExpr>| -> Result<RecordBatch> {
        let is_kept = filter.evaluate(rows)?.into_array(rows.num_rows())?;
        Ok(filter_record_batch(rows, as_boolean_array(&is_kept)?)?)
    };
    filters
        .iter()
        .fold(rows, |rows, filter| kept(&rows, filter).unwrap_or(rows))
}

/// One property as `replay::environment` writes it.
#[derive(Deserialize)]
struct Property<'a>(#[serde(borrow)] Text<'a>, #[serde(borrow)] Option<Text<'a>>);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn decode(text: &str, schema: &SchemaRef) -> Result<RecordBatch> {
    let properties: Vec<Property<'_>> =
        serde_json::from_str(text).map_err(|error| internal_datafusion_err!("{error}"))?;
    let mut names = StringBuilder::with_capacity(properties.len(), text.len() / 2);
    let mut values = StringBuilder::with_capacity(properties.len(), text.len() / 2);
    for Property(name, value) in &properties {
        names.append_value(&name.0);
        values.append_option(value.as_ref().map(|value| &value.0));
    }
    Ok(RecordBatch::try_new(
        Arc::clone(schema),
        vec![Arc::new(names.finish()), Arc::new(values.finish())],
    )?)
}
