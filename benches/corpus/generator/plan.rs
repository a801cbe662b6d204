//! The SQL plan of one job: a scan, then aggregations over shuffles, then a write. Its metrics are the accumulators that the tasks
//! update; its three texts are those of `SQLExecutionStart` and of the updates that adaptive execution sends stage by stage.

use serde_json::{Value, json};

use super::Spark;
use super::task::{Line, Slot};

type Metric = (&'static str, &'static str);

const SCAN: [Metric; 5] = [
    ("number of output rows", "sum"),
    ("scan time", "timing"),
    ("number of files read", "sum"),
    ("size of files read", "size"),
    ("metadata time", "timing"),
];
const AGGREGATE: [Metric; 6] = [
    ("number of output rows", "sum"),
    ("peak memory", "size"),
    ("spill size", "size"),
    ("time in aggregation build", "timing"),
    ("avg hash probes per key", "average"),
    ("number of sort fallback tasks", "sum"),
];
const CODEGEN: [Metric; 1] = [("duration", "timing")];
const EXCHANGE: [Metric; 22] = [
    ("data size", "size"),
    ("number of partitions", "sum"),
    ("remote blocks read", "sum"),
    ("local blocks read", "sum"),
    ("remote bytes read", "size"),
    ("remote bytes read to disk", "size"),
    ("local bytes read", "size"),
    ("fetch wait time", "timing"),
    ("records read", "sum"),
    ("corrupt merged block chunks", "sum"),
    ("merged fetch fallback count", "sum"),
    ("remote merged blocks fetched", "sum"),
    ("local merged blocks fetched", "sum"),
    ("remote merged chunks fetched", "sum"),
    ("local merged chunks fetched", "sum"),
    ("remote merged bytes read", "size"),
    ("local merged bytes read", "size"),
    ("remote reqs duration", "timing"),
    ("remote merged reqs duration", "timing"),
    ("shuffle bytes written", "size"),
    ("shuffle records written", "sum"),
    ("shuffle write time", "nsTiming"),
];
const WRITE: [Metric; 5] = [
    ("number of written files", "sum"),
    ("written output", "size"),
    ("number of output rows", "sum"),
    ("task commit time", "timing"),
    ("job commit time", "timing"),
];

/// First accumulator ids of the operators of one stage.
struct StageIds {
    scan: Option<u64>,
    aggregate: u64,
    codegen: u64,
    exchange: Option<u64>,
    write: Option<u64>,
}

pub(crate) struct Plan {
    spark: Spark,
    stages: Vec<StageIds>,
}

impl Plan {
    /// Takes accumulator ids from `next_id` on.
    pub(crate) fn new(spark: Spark, stages: u64, next_id: &mut u64) -> Self {
        let mut take = |metrics: usize| {
            let first = *next_id;
            *next_id += metrics as u64;
            first
        };
        let stages = (0..stages)
            .map(|stage| StageIds {
                scan: (stage == 0).then(|| take(SCAN.len())),
                aggregate: take(AGGREGATE.len()),
                codegen: take(CODEGEN.len()),
                exchange: (stage + 1 < stages).then(|| take(EXCHANGE.len())),
                write: (stage + 1 == stages).then(|| take(WRITE.len())),
            })
            .collect();
        Plan { spark, stages }
    }

    /// The metrics that the tasks of a stage update, by id.
    pub(crate) fn task_metrics(&self, stage: usize) -> Vec<(u64, &'static str, Slot)> {
        let mut metrics = Vec::new();
        let mut add = |definition: &[Metric], first: u64, updated: &[(usize, Slot)]| {
            metrics.extend(
                updated
                    .iter()
                    .map(|&(at, slot)| (first + at as u64, definition[at].0, slot)),
            );
        };
        let ids = &self.stages[stage];
        if let Some(read) = stage.checked_sub(1).and_then(|previous| self.stages[previous].exchange) {
            let updated = [
                (3, Slot::LocalBlocks),
                (4, Slot::RemoteBytes),
                (6, Slot::LocalBytes),
                (7, Slot::FetchWaitTime),
                (8, Slot::RecordsRead),
            ];
            add(&EXCHANGE, read, &updated);
        }
        if let Some(scan) = ids.scan {
            add(&SCAN, scan, &[(0, Slot::InputRecords), (1, Slot::DeserializeTime)]);
        }
        let rows = if ids.exchange.is_some() {
            Slot::RecordsWritten
        } else {
            Slot::OutputRecords
        };
        add(
            &AGGREGATE,
            ids.aggregate,
            &[(0, rows), (1, Slot::PeakMemory), (3, Slot::RunTime)],
        );
        if stage > 0 {
            add(&AGGREGATE, ids.aggregate, &[(4, Slot::HashProbes)]);
        }
        add(&CODEGEN, ids.codegen, &[(0, Slot::RunTime)]);
        if let Some(exchange) = ids.exchange {
            let updated = [
                (0, Slot::BytesWritten),
                (19, Slot::BytesWritten),
                (20, Slot::RecordsWritten),
                (21, Slot::WriteTime),
            ];
            add(&EXCHANGE, exchange, &updated);
        }
        if let Some(write) = ids.write {
            add(&WRITE, write, &[(3, Slot::SerializationTime)]);
        }
        metrics
    }

    /// `accumUpdates` of `SparkListenerDriverAccumUpdates`: what the driver knows of the files.
    pub(crate) fn driver_updates(&self, files: u64, bytes: u64) -> Value {
        let scan = self.stages.first().and_then(|stage| stage.scan).unwrap_or_default();
        json!([[scan + 2, files], [scan + 3, bytes], [scan + 4, 12]])
    }

    /// `sparkPlanInfo`, as text, after adaptive execution has planned `planned` stages: 0 at the start, all of them in the final plan.
    pub(crate) fn info(&self, planned: usize) -> String {
        let mut child = String::new();
        for (number, ids) in self.stages.iter().enumerate() {
            child = match ids.scan {
                Some(scan) => {
                    let text = "FileScan parquet lake.events[user_id#0L,item#1,price#2,day#3] Batched: true, DataFilters: \
                        [isnotnull(user_id#0L)], Format: Parquet, Location: InMemoryFileIndex(1 paths)[hdfs://lake/events], \
                        PartitionFilters: [], PushedFilters: [IsNotNull(user_id)], ReadSchema: struct<user_id:bigint,item:string>";
                    node("Scan parquet lake.events", text, "", &SCAN, scan)
                }
                None => child,
            };
            let aggregate = |child: &str| {
                let text = "HashAggregate(keys=[user_id#0L], functions=[sum(price#2), count(1)])";
                node("HashAggregate", text, child, &AGGREGATE, ids.aggregate)
            };
            let fused = number < planned;
            child = if fused {
                let name = format!("WholeStageCodegen ({})", number + 1);
                let input = plain_node("InputAdapter", "InputAdapter", &child);
                node(&name, &name, &aggregate(&input), &CODEGEN, ids.codegen)
            } else {
                aggregate(&child)
            };
            if let Some(exchange) = ids.exchange {
                let text = format!(
                    "Exchange hashpartitioning(user_id#0L, 200), ENSURE_REQUIREMENTS, [plan_id={}]",
                    60 + number * 9
                );
                child = node("Exchange", &text, &child, &EXCHANGE, exchange);
                if fused {
                    child = plain_node("ShuffleQueryStage", &format!("ShuffleQueryStage {number}"), &child);
                }
            }
        }
        let is_final = planned == self.stages.len();
        if is_final && self.spark.has_new_fields() {
            child = plain_node(
                "ResultQueryStage",
                &format!("ResultQueryStage {}", self.stages.len() - 1),
                &child,
            );
        }
        let child = plain_node(
            "AdaptiveSparkPlan",
            &format!("AdaptiveSparkPlan isFinalPlan={is_final}"),
            &child,
        );
        if planned > 0 {
            // The updates tell of the adaptive part only, not of the command around it.
            return child;
        }
        let write = self.stages.last().and_then(|stage| stage.write).unwrap_or_default();
        let text = "Execute InsertIntoHadoopFsRelationCommand hdfs://lake/daily, false, Parquet, [path=hdfs://lake/daily], Overwrite";
        node("Execute InsertIntoHadoopFsRelationCommand", text, &child, &WRITE, write)
    }

    /// `physicalPlanDescription`: the tree, then every operator.
    pub(crate) fn description(&self, planned: usize) -> String {
        let mut operators = vec!["Scan parquet lake.events"];
        for ids in &self.stages {
            operators.push("HashAggregate");
            if ids.exchange.is_some() {
                operators.push("Exchange");
            }
        }
        operators.push("AdaptiveSparkPlan");
        operators.push("Execute InsertIntoHadoopFsRelationCommand");
        let mut text = "== Physical Plan ==\n".to_owned();
        for (depth, (number, name)) in operators.iter().enumerate().rev().enumerate() {
            let branch = if depth == 0 {
                String::new()
            } else {
                format!("{}+- ", "   ".repeat(depth - 1))
            };
            let fused = if number / 2 < planned { "* " } else { "" };
            text.push_str(&format!("{branch}{fused}{name} ({})\n", number + 1));
        }
        text.push_str("\n\n");
        for (number, name) in operators.iter().enumerate() {
            let number = number + 1;
            text.push_str(&format!("({number}) {name}"));
            if number / 2 < planned {
                text.push_str(&format!(" [codegen id : {}]", number / 2 + 1));
            }
            text.push_str(match *name {
                "HashAggregate" => {
                    "\nInput [3]: [user_id#0L, sum#12, count#13L]\nKeys [1]: [user_id#0L]\nFunctions [2]: [sum(price#2), count(1)]\n\
                    Aggregate Attributes [2]: [sum(price#2)#14, count(1)#15L]\n\
                    Results [3]: [user_id#0L, sum(price#2)#14 AS total#16, count(1)#15L AS n#17L]\n\n"
                }
                "Exchange" => {
                    "\nInput [3]: [user_id#0L, sum#12, count#13L]\n\
                    Arguments: hashpartitioning(user_id#0L, 200), ENSURE_REQUIREMENTS, [plan_id=77]\n\n"
                }
                "Scan parquet lake.events" => {
                    "\nOutput [4]: [user_id#0L, item#1, price#2, day#3]\nBatched: true\n\
                    Location: InMemoryFileIndex [hdfs://lake/events]\nPushedFilters: [IsNotNull(user_id)]\n\
                    ReadSchema: struct<user_id:bigint,item:string,price:double,day:date>\n\n"
                }
                _ => "\nOutput [3]: [user_id#0L, total#16, n#17L]\nArguments: isFinalPlan=false\n\n",
            });
        }
        text
    }
}

/// A node with its child, which is text already, or none if that is empty. No name needs escapes.
fn node(name: &str, text: &str, child: &str, metrics: &[Metric], first_id: u64) -> String {
    let mut node = Vec::with_capacity(256 + child.len() + metrics.len() * 96);
    for part in [
        r#"{"nodeName":""#,
        name,
        r#"","simpleString":""#,
        text,
        r#"","children":["#,
        child,
    ] {
        node.text(part);
    }
    node.text(r#"],"metadata":{},"metrics":["#);
    let mut before = r#"{"name":""#;
    for (id, (name, kind)) in (first_id..).zip(metrics) {
        node.text(before);
        node.text(name);
        node.text(r#"","accumulatorId":"#);
        node.number(id);
        node.text(r#","metricType":""#);
        node.text(kind);
        before = r#""},{"name":""#;
    }
    node.text(if metrics.is_empty() { "]}" } else { "\"}]}" });
    String::from_utf8(node).expect("all its parts are text")
}

fn plain_node(name: &str, text: &str, child: &str) -> String {
    node(name, text, child, &[], 0)
}
