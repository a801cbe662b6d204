//! `sql_executions`, `sql_plan_nodes` and `sql_plan_edges`.

use super::{Column, TableDef, Type, keys};

const EXECUTION_ID: Column = Column::new(
    "execution_id",
    Type::Int64,
    "id",
    "SQLExecutionStart: executionId",
    "unique within an application attempt",
);

pub static SQL_EXECUTIONS: TableDef = TableDef {
    schema: "public",
    name: "sql_executions",
    grain: "one row per SQL execution",
    sort_order: &["app_id", "attempt_id", "execution_id"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        EXECUTION_ID,
        Column::null(
            "root_execution_id",
            Type::Int64,
            "",
            "SQLExecutionStart: rootExecutionId",
            "execution that this one is a part of; its own id where it is none's",
        ),
        Column::null(
            "description",
            Type::Text,
            "description",
            "SQLExecutionStart: description",
            "description set by the application, or the call site",
        ),
        Column::null(
            "details",
            Type::Text,
            "",
            "SQLExecutionStart: details",
            "call stack of the execution",
        ),
        Column::null(
            "plan_description",
            Type::Text,
            "planDescription",
            "SQLExecutionStart, SQLAdaptiveExecutionUpdate: physicalPlanDescription",
            "the physical plan as text, the last one of an adaptive execution",
        ),
        Column::new(
            "status",
            Type::Text,
            "status",
            "SQLExecutionEnd: errorMessage; JobEnd",
            "RUNNING, COMPLETED or FAILED",
        ),
        Column::null(
            "submission_time",
            Type::Timestamp,
            "submissionTime",
            "SQLExecutionStart: time",
            "when the execution began",
        ),
        Column::null(
            "completion_time",
            Type::Timestamp,
            "",
            "SQLExecutionEnd: time",
            "when the execution ended; null until then",
        ),
        Column::null(
            "duration_ms",
            Type::Int64,
            "duration",
            "completion_time - submission_time",
            "null until the execution ended",
        ),
        Column::new(
            "job_ids",
            Type::List(&Type::Int32),
            "",
            "JobStart: Properties / spark.sql.execution.id",
            "all jobs of the execution, in ascending order",
        ),
        Column::new(
            "running_job_ids",
            Type::List(&Type::Int32),
            "runningJobIds",
            "JobStart, JobEnd",
            "jobs that run, in Spark's order",
        ),
        Column::new(
            "success_job_ids",
            Type::List(&Type::Int32),
            "successJobIds",
            "JobEnd: Job Result",
            "jobs that succeeded, in Spark's order",
        ),
        Column::new(
            "failed_job_ids",
            Type::List(&Type::Int32),
            "failedJobIds",
            "JobEnd: Job Result",
            "jobs that failed, in Spark's order",
        ),
        Column::null(
            "error_message",
            Type::Text,
            "",
            "SQLExecutionEnd: errorMessage",
            "why the execution failed; null if it did not, or before Spark 3.4",
        ),
        Column::null(
            "modified_configs",
            Type::Map(&Type::Text),
            "",
            "SQLExecutionStart: modifiedConfigs",
            "configuration of the session that differs from the application's; null before Spark 3.3",
        ),
        Column::null(
            "job_tags",
            Type::List(&Type::Text),
            "",
            "SQLExecutionStart: jobTags",
            "job tags, sorted; null before Spark 3.5",
        ),
    ],
};

/// Numbers are in the unit of the type: `size` bytes, `timing` milliseconds, `nsTiming` nanoseconds.
const METRICS: Type = Type::List(&Type::Struct(&[
    ("name", Type::Text),
    ("value", Type::Text),
    ("type", Type::Text),
    ("total", Type::Float64),
    ("min", Type::Float64),
    ("median", Type::Float64),
    ("max", Type::Float64),
]));

const EXECUTION_OF_PLAN: Column = Column::new(
    "execution_id",
    Type::Int64,
    "",
    "SQLExecutionStart: executionId",
    "SQL execution whose plan it is",
);

pub static SQL_PLAN_NODES: TableDef = TableDef {
    schema: "public",
    name: "sql_plan_nodes",
    grain: "one row per operator of the last plan of a SQL execution",
    sort_order: &["app_id", "attempt_id", "execution_id", "node_id"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        EXECUTION_OF_PLAN,
        Column::new(
            "node_id",
            Type::Int64,
            "nodeId",
            "SQLExecutionStart, SQLAdaptiveExecutionUpdate: sparkPlanInfo",
            "unique within the plan, from 0 at the root; REST shows the highest first",
        ),
        Column::new(
            "node_name",
            Type::Text,
            "nodeName",
            "sparkPlanInfo / nodeName",
            "name of the operator",
        ),
        Column::null(
            "whole_stage_codegen_id",
            Type::Int64,
            "wholeStageCodegenId",
            "sparkPlanInfo / nodeName of the WholeStageCodegen around it",
            "generated code that the operator is a part of; null outside of any",
        ),
        Column::new(
            "description",
            Type::Text,
            "",
            "sparkPlanInfo / simpleString",
            "the operator with its arguments, cut as Spark cuts it",
        ),
        Column::new(
            "metrics",
            METRICS,
            "metrics",
            "TaskEnd, ExecutorMetricsUpdate: accumulators; DriverAccumUpdates",
            "metrics that were set: the value as Spark shows it, and as numbers: size in bytes, timing in ms, nsTiming in ns, sum and average without a unit",
        ),
    ],
};

pub static SQL_PLAN_EDGES: TableDef = TableDef {
    schema: "public",
    name: "sql_plan_edges",
    grain: "one row per edge of the last plan of a SQL execution",
    sort_order: &["app_id", "attempt_id", "execution_id", "edge_index"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        EXECUTION_OF_PLAN,
        Column::new(
            "edge_index",
            Type::Int64,
            "",
            "sparkPlanInfo",
            "place of the edge in REST's list, from 0",
        ),
        Column::new(
            "from_id",
            Type::Int64,
            "fromId",
            "sparkPlanInfo / children",
            "node_id of the operator that is read",
        ),
        Column::new(
            "to_id",
            Type::Int64,
            "toId",
            "sparkPlanInfo / children",
            "node_id of the operator that reads it",
        ),
    ],
};
