//! Plans that read segments of the column cache: stock Parquet scans, and a filter over those that hold rows not to be seen.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::DataSourceExec;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::expressions::{Column, in_list, lit};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use crate::cache::{APP_ORD, AttemptOrd, KeyValue, Segment};

/// Where sessions find the store of the column cache.
pub(crate) fn store_url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse("cache://columns").expect("a scheme and an authority")
}

/// What a scan of segments is asked for.
pub(super) struct SegmentScan<'a> {
    pub(super) schema: &'a SchemaRef,
    pub(super) session: &'a dyn Session,
    pub(super) projection: Option<&'a Vec<usize>>,
    /// Leaves out files, row groups and pages; rows are filtered by who asks.
    pub(super) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(super) limit: Option<usize>,
}

impl SegmentScan<'_> {
    /// One plan for the segments whose rows are all to be seen, one for the others.
    pub(super) fn plans(&self, segments: Vec<(Arc<Segment>, Vec<AttemptOrd>)>) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let (clean, dirty): (Vec<_>, Vec<_>) = segments.into_iter().partition(|(_, masked)| masked.is_empty());
        let mut plans = Vec::new();
        if !clean.is_empty() {
            let segments: Vec<Arc<Segment>> = clean.into_iter().map(|(segment, _)| segment).collect();
            plans.push(self.scan(&segments, self.schema, self.projection.cloned(), self.limit, true)?);
        }
        if !dirty.is_empty() {
            let (segments, masked): (Vec<_>, Vec<_>) = dirty.into_iter().unzip();
            plans.push(self.masked(&segments, masked.into_iter().flatten().collect())?);
        }
        Ok(plans)
    }

    /// Rows of some attempts are left out above the scan, and not in it: a plan that is shipped elsewhere keeps its filters.
    fn masked(&self, segments: &[Arc<Segment>], mut masked: Vec<AttemptOrd>) -> Result<Arc<dyn ExecutionPlan>> {
        masked.sort_unstable();
        masked.dedup();
        let mut fields = self.schema.fields().to_vec();
        fields.push(Arc::new(Field::new(APP_ORD, DataType::Int64, false)));
        let schema = Arc::new(Schema::new(fields));
        let mut columns: Vec<usize> = match self.projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let ord = columns.len();
        columns.push(self.schema.fields().len());
        let scan = self.scan(segments, &schema, Some(columns), None, false)?;
        let masked = masked.into_iter().map(|AttemptOrd(ord)| lit(ord)).collect();
        let column = Arc::new(Column::new(APP_ORD, ord));
        let is_seen = in_list(column, masked, &true, &scan.schema())?;
        let seen: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(is_seen, scan)?);
        let found = seen.schema();
        let of_table = found.fields().iter().take(ord).enumerate().map(|(at, field)| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
            (column, field.name().clone())
        });
        let of_table: Vec<_> = of_table.collect();
        Ok(Arc::new(ProjectionExec::try_new(of_table, seen)?))
    }

    fn scan(
        &self,
        segments: &[Arc<Segment>],
        schema: &SchemaRef,
        projection: Option<Vec<usize>>,
        limit: Option<usize>,
        all_are_seen: bool,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let runtime = self.session.runtime_env();
        let store = runtime.object_store(store_url())?;
        let footers = runtime.cache_manager.get_file_metadata_cache();
        let mut source = ParquetSource::new(TableSchema::from(Arc::clone(schema)))
            .with_table_parquet_options(self.session.default_table_options().parquet)
            // There are none: the manifest knows where the rows of an application are.
            .with_bloom_filter_on_read(false)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, footers)));
        if let Some(filter) = &self.filter {
            source = source.with_predicate(Arc::clone(filter));
        }
        let precise = |rows: u64| {
            let rows = usize::try_from(rows).unwrap_or(usize::MAX);
            if all_are_seen {
                Precision::Exact(rows)
            } else {
                Precision::Inexact(rows)
            }
        };
        let mut sum = Statistics::new_unknown(schema);
        sum.num_rows = precise(segments.iter().map(|segment| segment.rows).sum());
        let files = segments.iter().map(|segment| {
            let mut file = PartitionedFile::new(segment.path.as_str(), segment.bytes);
            file.metadata_size_hint = usize::try_from(segment.footer_bytes).ok();
            let mut statistics = Statistics::new_unknown(schema);
            statistics.num_rows = precise(segment.rows);
            bounds(schema, segment, all_are_seen, &mut statistics.column_statistics);
            file.with_statistics(Arc::new(statistics))
        });
        let config = FileScanConfigBuilder::new(store_url(), Arc::new(source))
            .with_file_group(FileGroup::new(files.collect()))
            .with_statistics(sum)
            .with_projection_indices(projection)?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// What the manifest says of the key columns.
fn bounds(schema: &Schema, segment: &Segment, exact: bool, columns: &mut [ColumnStatistics]) {
    for key in &segment.keys {
        let Ok(at) = schema.index_of(&key.column) else { continue };
        let bound = |value: &KeyValue| match (value, schema.field(at).data_type()) {
            (KeyValue::Text(text), DataType::Utf8) => Some(ScalarValue::Utf8(Some(text.clone()))),
            (KeyValue::Number(number), DataType::Int64) => Some(ScalarValue::Int64(Some(*number))),
            (KeyValue::Number(number), DataType::Int32) => i32::try_from(*number).ok().map(ScalarValue::from),
            (KeyValue::Number(number), DataType::Timestamp(_, zone)) => {
                Some(ScalarValue::TimestampMicrosecond(Some(*number), zone.clone()))
            }
            _ => None,
        };
        let precise = |value: Option<ScalarValue>| match value {
            Some(value) if exact => Precision::Exact(value),
            Some(value) => Precision::Inexact(value),
            None => Precision::Absent,
        };
        columns[at].min_value = precise(bound(&key.min));
        columns[at].max_value = precise(bound(&key.max));
    }
}
