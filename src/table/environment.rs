//! `environment`, the sections that its rows are stored as, and `resource_profiles`.

use super::{Column, TableDef, Type, keys};

pub static ENVIRONMENT: TableDef = TableDef {
    schema: "public",
    name: "environment",
    grain: "one row per property of an application attempt",
    sort_order: &["app_id", "attempt_id", "section", "name"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        Column::new(
            "section",
            Type::Text,
            "",
            "EnvironmentUpdate",
            "runtime, spark, hadoop, system, metrics or classpath",
        ),
        Column::new(
            "name",
            Type::Text,
            "",
            "EnvironmentUpdate",
            "name of the property, or a class path entry",
        ),
        Column::null(
            "value",
            Type::Text,
            "",
            "EnvironmentUpdate",
            "its value; secrets are redacted as Spark redacts them",
        ),
    ],
};

/// How the rows of [`ENVIRONMENT`] are stored: an application has 1,650 of them, nearly all the same as those of every other application
/// of its cluster. As one text for each section they are written once for hundreds of applications.
pub static ENVIRONMENT_SECTIONS: TableDef = TableDef {
    schema: "public",
    name: "environment_sections",
    grain: "one row per section of the environment of an application attempt that has properties",
    sort_order: &["app_id", "attempt_id", "section"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        Column::new("section", Type::Text, "", "EnvironmentUpdate", "as in `environment`"),
        Column::new(
            "num_properties",
            Type::Int32,
            "",
            "EnvironmentUpdate",
            "rows that the section has in `environment`",
        ),
        Column::new(
            "properties",
            Type::SharedText,
            "",
            "EnvironmentUpdate",
            "a JSON array of the properties sorted by name, each an array of name and value, which may be null",
        ),
    ],
};

/// About how many properties a section has: 1,650 for each application, in six sections. For estimates alone.
pub const PROPERTIES_OF_A_SECTION: usize = 275;

const EXECUTOR_RESOURCE: Type = Type::Struct(&[
    ("resource_name", Type::Text),
    ("amount", Type::Int64),
    ("discovery_script", Type::Text),
    ("vendor", Type::Text),
]);
const TASK_RESOURCE: Type = Type::Struct(&[("resource_name", Type::Text), ("amount", Type::Float64)]);

pub static RESOURCE_PROFILES: TableDef = TableDef {
    schema: "public",
    name: "resource_profiles",
    grain: "one row per resource profile of an application attempt",
    sort_order: &["app_id", "attempt_id", "resource_profile_id"],
    columns: &[
        keys::APP_ID,
        keys::ATTEMPT_ID,
        Column::new(
            "resource_profile_id",
            Type::Int32,
            "id",
            "ResourceProfileAdded: Resource Profile Id",
            "0 is the default profile",
        ),
        Column::new(
            "executor_resources",
            Type::Map(&EXECUTOR_RESOURCE),
            "executorResources",
            "ResourceProfileAdded: Executor Resource Requests",
            "what an executor is asked for, by resource",
        ),
        Column::new(
            "task_resources",
            Type::Map(&TASK_RESOURCE),
            "taskResources",
            "ResourceProfileAdded: Task Resource Requests",
            "what a task needs, by resource",
        ),
    ],
};
