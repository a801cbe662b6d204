//! [`HistoryTable`]: the one table provider for every base table.
//!
//! It plans and does not work. Rows of applications that grow are in memory; the others lie in segments of the column cache, and which
//! of these a statement touches is decided by the manifest: exactly for filters on `app_id` and `attempt_id`, by bounds otherwise. The few
//! rows of one application are kept decoded. Everything is filtered by DataFusion again, so no filter is exact.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, internal_datafusion_err};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown};
use datafusion::physical_expr::utils::{Guarantee, LiteralGuarantee};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use super::segments::SegmentScan;
use crate::cache::{AttemptOrd, CacheView, Segment};
use crate::history::{NotReadYet, Snapshot};
use crate::table::TableDef;

/// A base table. Which moment it shows is decided when it is scanned: that of the snapshot its session is pinned on, so both sides of a
/// join see the same applications, and a plan can be kept and run again later.
pub struct HistoryTable {
    table: &'static TableDef,
    schema: SchemaRef,
}

impl fmt::Debug for HistoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryTable")
            .field("table", &self.table.name)
            .finish_non_exhaustive()
    }
}

impl HistoryTable {
    pub fn new(table: &'static TableDef) -> Self {
        HistoryTable {
            table,
            schema: table.arrow_schema(),
        }
    }

    /// Whoever names an application waits for its rows before planning; where they have left the cache since, an error is better than none of
    /// them.
    fn check_read(&self, snapshot: &Snapshot, wanted: &Wanted) -> Result<()> {
        if snapshot.unread.is_empty() || snapshot.listing.table(self.table.name).is_some() {
            return Ok(());
        }
        let mut named = wanted.app_ids.iter().flatten();
        match named.find(|app_id| snapshot.unread.contains(app_id.as_str())) {
            None => Ok(()),
            Some(app_id) => Err(DataFusionError::External(Box::new(NotReadYet::Evicted {
                app_id: app_id.clone(),
            }))),
        }
    }

    /// Batches in memory of the applications that the filters leave.
    async fn batches(&self, snapshot: &Snapshot, wanted: &Wanted) -> Result<Vec<RecordBatch>> {
        if let Some(all) = snapshot.listing.table(self.table.name) {
            let Some(app_ids) = &wanted.app_ids else {
                return Ok(all.into_iter().cloned().collect());
            };
            let mut app_ids: Vec<&String> = app_ids.iter().collect();
            app_ids.sort();
            let of_application = |app_id: &String| snapshot.listing.of_application(self.table.name, app_id);
            return Ok(app_ids.into_iter().filter_map(of_application).collect());
        }
        let mut batches = Vec::new();
        match wanted.app_ids {
            None => {
                let tables = snapshot.in_memory.iter().map(|attempt| &attempt.tables);
                batches.extend(
                    tables
                        .filter_map(|tables| tables.get(self.table.name))
                        .flatten()
                        .cloned(),
                );
            }
            Some(_) => {
                for attempt in wanted.attempts(snapshot) {
                    snapshot.uses.note(&attempt.app_id);
                    batches.extend(attempt.tables.get(self.table.name).into_iter().flatten().cloned());
                    if let (Some(cache), Some(ord)) = (&snapshot.cache, attempt.stored)
                        && self.is_decoded(cache, ord)
                    {
                        let rows = cache.rows(self.table, ord).await;
                        let rows = rows.map_err(|error| DataFusionError::External(Box::new(error)))?;
                        batches.extend(rows.iter().cloned());
                    }
                }
            }
        }
        batches.retain(|batch| batch.num_rows() > 0);
        Ok(batches)
    }

    /// Whether the rows of one attempt are worth to be kept decoded: more are read where they lie.
    fn is_decoded(&self, cache: &CacheView, ord: AttemptOrd) -> bool {
        cache.row_count(self.table, ord) <= MOST_DECODED_ROWS
    }

    /// The segments that hold what is not in memory, each with the attempts in it that must not be seen.
    fn segments(&self, snapshot: &Snapshot, wanted: &Wanted) -> Vec<(Arc<Segment>, Vec<AttemptOrd>)> {
        let Some(cache) = &snapshot.cache else {
            return Vec::new();
        };
        if snapshot.listing.table(self.table.name).is_some() {
            return Vec::new();
        }
        let manifest = cache.snapshot();
        let mut segments: BTreeMap<&str, &Arc<Segment>> = BTreeMap::new();
        match wanted.app_ids {
            None => segments.extend(
                manifest
                    .segments(self.table.name)
                    .map(|segment| (segment.path.as_str(), segment)),
            ),
            Some(_) => {
                let stored = wanted
                    .attempts(snapshot)
                    .into_iter()
                    .filter_map(|attempt| attempt.stored);
                for ord in stored.filter(|ord| !self.is_decoded(cache, *ord)) {
                    let with_rows = manifest.rows_of(self.table.name, ord).into_iter();
                    segments.extend(with_rows.map(|(segment, _)| (segment.path.as_str(), segment)));
                }
            }
        }
        let with_mask = segments.into_values().filter_map(|segment| {
            let mut masked: Vec<AttemptOrd> = manifest.dead_in(segment).into_iter().flatten().copied().collect();
            if !snapshot.hidden.is_empty() {
                let ords = segment.attempts.iter().map(|range| range.ord);
                masked.extend(ords.filter(|ord| snapshot.hidden.contains(ord)));
            }
            (masked.len() < segment.attempts.len()).then(|| (Arc::clone(segment), masked))
        });
        with_mask.collect()
    }
}

#[async_trait]
impl TableProvider for HistoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Only the choice of applications is made here, and only where the filters guarantee it.
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
        let wanted = Wanted::from_filters(session, self.table, &self.schema, filters)?;
        // Rows may still be filtered out above, so a limit holds here only without filters.
        let limit = limit.filter(|_| filters.is_empty());
        let snapshot = session.config().get_extension::<Snapshot>();
        let snapshot = snapshot.ok_or_else(|| internal_datafusion_err!("the session is not pinned on a snapshot"))?;
        self.check_read(&snapshot, &wanted)?;
        let mut segments = self.segments(&snapshot, &wanted);
        if let Some(limit) = limit
            && let Some(enough) = segments_with_rows(&segments, limit)
        {
            segments.truncate(enough);
            return SegmentScan {
                schema: &self.schema,
                session,
                projection,
                filter: None,
                limit: Some(limit),
            }
            .plans(segments)
            .map(|mut plans| plans.remove(0));
        }
        let batches = self.batches(&snapshot, &wanted).await?;
        let batches: Vec<RecordBatch> = match &wanted.keys {
            Some((key, values)) => batches.iter().flat_map(|batch| rows_of(batch, *key, values)).collect(),
            None => take_rows(batches, limit),
        };
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !batches.is_empty() {
            let partitions = spread(batches, session.config().target_partitions());
            let source = MemorySourceConfig::try_new(&partitions, Arc::clone(&self.schema), projection.cloned())?;
            plans.push(DataSourceExec::from_data_source(source.with_limit(limit)));
        }
        if !segments.is_empty() {
            let scan = SegmentScan {
                schema: &self.schema,
                session,
                projection,
                filter: wanted.filter.clone(),
                limit,
            };
            plans.extend(scan.plans(segments)?);
        }
        match plans.len() {
            0 => {
                let schema = match projection {
                    Some(columns) => Arc::new(self.schema.project(columns)?),
                    None => Arc::clone(&self.schema),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}

/// More rows of one attempt are not decoded as a whole for a statement that may want a few of them.
const MOST_DECODED_ROWS: u64 = 32_768;

/// The applications that scans of an optimised plan are restricted to.
pub(crate) fn named_applications(session: &dyn Session, plan: &LogicalPlan) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    // Plans inside of expressions are scans too.
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(filter) = conjunction(scan.filters.iter().cloned())
        {
            let schema = DFSchema::try_from(scan.source.schema())?;
            let filter = unqualified(filter)?;
            let filter = session.create_physical_expr(filter, &schema)?;
            for guarantee in LiteralGuarantee::analyze(&filter) {
                if guarantee.guarantee == Guarantee::In && guarantee.column.name() == "app_id" {
                    named.extend(guarantee.literals.iter().filter_map(literal_text));
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if let Err(error) = visited {
        tracing::debug!(%error, "a plan does not say which applications it names");
    }
    named
}

fn unqualified(filter: Expr) -> Result<Expr> {
    let unqualify = |expr: Expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        other => Ok(Transformed::no(other)),
    };
    Ok(filter.transform(unqualify)?.data)
}

/// Whether a scan may look at a filter: never as its only reader.
pub(crate) fn filter_support(filter: &Expr) -> TableProviderFilterPushDown {
    let has_subquery = filter_contains_subquery(filter);
    if filter.is_volatile() || has_subquery || filter.column_refs().is_empty() {
        TableProviderFilterPushDown::Unsupported
    } else {
        TableProviderFilterPushDown::Inexact
    }
}

fn filter_contains_subquery(filter: &Expr) -> bool {
    filter
        .exists(|expr| {
            Ok(matches!(
                expr,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..)
            ))
        })
        .unwrap_or(true)
}

/// What the filters of a scan guarantee about the keys of its rows; `None` is no guarantee.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) app_ids: Option<HashSet<String>>,
    pub(crate) attempt_ids: Option<HashSet<String>>,
    /// The column that rows of an attempt are sorted by, with its values; only few whole numbers.
    keys: Option<(usize, Vec<i64>)>,
    /// All filters together, for statistics of files.
    filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Wanted {
    pub(crate) fn from_filters(
        session: &dyn Session,
        table: &TableDef,
        schema: &SchemaRef,
        filters: &[Expr],
    ) -> Result<Self> {
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(Wanted::default());
        };
        let sorted_by = table.sort_order.get(2).copied().unwrap_or_default();
        let filter = session.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(schema))?)?;
        let mut wanted = Wanted::default();
        for guarantee in LiteralGuarantee::analyze(&filter) {
            if guarantee.guarantee != Guarantee::In {
                continue;
            }
            let key = match guarantee.column.name() {
                "app_id" => &mut wanted.app_ids,
                "attempt_id" => &mut wanted.attempt_ids,
                name if name == sorted_by => {
                    let values: Option<Vec<i64>> = guarantee.literals.iter().map(literal_number).collect();
                    if let Some(mut values) = values.filter(|values| values.len() <= MOST_KEYS) {
                        values.sort_unstable();
                        wanted.keys = schema.index_of(name).ok().map(|column| (column, values));
                    }
                    continue;
                }
                _ => continue,
            };
            let texts: Option<HashSet<String>> = guarantee.literals.iter().map(literal_text).collect();
            let Some(texts) = texts else { continue };
            *key = Some(match key.take() {
                Some(known) => known.intersection(&texts).cloned().collect(),
                None => texts,
            });
        }
        wanted.filter = Some(filter);
        Ok(wanted)
    }

    /// The attempts that can have rows, by key. Looked up one by one where the applications are known.
    pub(crate) fn attempts<'a>(&self, snapshot: &'a Snapshot) -> Vec<&'a Arc<crate::history::AttemptRows>> {
        let attempt_fits = |attempt: &&'a Arc<crate::history::AttemptRows>| {
            self.attempt_ids
                .as_ref()
                .is_none_or(|attempt_ids| attempt_ids.contains(&*attempt.attempt_id))
        };
        let mut attempts: Vec<&Arc<crate::history::AttemptRows>> = match &self.app_ids {
            None => snapshot.attempts.iter().filter(attempt_fits).collect(),
            Some(app_ids) => {
                let attempts = app_ids
                    .iter()
                    .flat_map(|app_id| snapshot.attempts.of_application(app_id));
                attempts.filter(attempt_fits).collect()
            }
        };
        attempts.sort_by(|a, b| (&a.app_id, &a.attempt_id).cmp(&(&b.app_id, &b.attempt_id)));
        attempts
    }
}

/// `None` for what is no text: then nothing is known.
fn literal_text(literal: &ScalarValue) -> Option<String> {
    match literal {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            Some(text.clone())
        }
        ScalarValue::Dictionary(_, value) => literal_text(value),
        _ => None,
    }
}

fn literal_number(literal: &ScalarValue) -> Option<i64> {
    match literal {
        ScalarValue::Int32(Some(value)) => Some(i64::from(*value)),
        ScalarValue::Int64(Some(value)) => Some(*value),
        _ => None,
    }
}

/// More values than these are not looked up one by one.
const MOST_KEYS: usize = 16;

/// The rows of a batch whose key may be one of `values` (ascending). Most batches are sorted by their key; tasks stand as they ended, so of
/// those at least the batches of other stages are left out.
fn rows_of(batch: &RecordBatch, key: usize, values: &[i64]) -> Vec<RecordBatch> {
    let keys = batch.column(key);
    if let Some(keys) = keys.as_primitive_opt::<Int32Type>() {
        rows_of_keys(batch, keys.values(), values)
    } else if let Some(keys) = keys.as_primitive_opt::<Int64Type>() {
        rows_of_keys(batch, keys.values(), values)
    } else {
        vec![batch.clone()]
    }
}

fn rows_of_keys<T: Copy + Ord + Into<i64>>(batch: &RecordBatch, keys: &[T], values: &[i64]) -> Vec<RecordBatch> {
    let (Some(least), Some(most)) = (keys.iter().min(), keys.iter().max()) else {
        return Vec::new();
    };
    let (least, most) = ((*least).into(), (*most).into());
    if !values.iter().any(|value| (least..=most).contains(value)) {
        return Vec::new();
    }
    if !keys.is_sorted() {
        return vec![batch.clone()];
    }
    values
        .iter()
        .filter_map(|value| {
            let start = keys.partition_point(|key| (*key).into() < *value);
            let end = keys.partition_point(|key| (*key).into() <= *value);
            (start < end).then(|| batch.slice(start, end - start))
        })
        .collect()
}

/// How many of the first segments have so many rows, if all of theirs are to be seen: a statement that wants a few rows opens a file, and
/// gets the same ones each time.
fn segments_with_rows(segments: &[(Arc<Segment>, Vec<AttemptOrd>)], limit: usize) -> Option<usize> {
    let mut rows: u64 = 0;
    let clean = segments.iter().take_while(|(_, masked)| masked.is_empty());
    let enough = clean
        .map(|(segment, _)| {
            rows += segment.rows;
            rows
        })
        .position(|rows| rows >= limit as u64)?;
    (limit > 0).then_some(enough + 1)
}

/// The first rows, whole batches where possible.
fn take_rows(batches: Vec<RecordBatch>, limit: Option<usize>) -> Vec<RecordBatch> {
    let Some(mut left) = limit else {
        return batches;
    };
    let mut taken = Vec::new();
    for batch in batches {
        if left == 0 {
            break;
        }
        let rows = left.min(batch.num_rows());
        taken.push(batch.slice(0, rows));
        left -= rows;
    }
    taken
}

/// A batch with fewer rows is not worth a task of its own.
const MIN_ROWS_PER_PARTITION: usize = 8192;

/// Spreads batches over at most `partitions` of about equal rows, cutting large batches. Order is kept from one partition to the next.
fn spread(batches: Vec<RecordBatch>, partitions: usize) -> Vec<Vec<RecordBatch>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let target = rows.div_ceil(partitions.max(1)).max(MIN_ROWS_PER_PARTITION);
    let mut spread = vec![Vec::new()];
    let mut filled = 0;
    for batch in batches {
        let mut offset = 0;
        while offset < batch.num_rows() {
            if filled >= target {
                spread.push(Vec::new());
                filled = 0;
            }
            let taken = (batch.num_rows() - offset).min(target - filled);
            if let Some(partition) = spread.last_mut() {
                partition.push(batch.slice(offset, taken));
            }
            offset += taken;
            filled += taken;
        }
    }
    spread
}
