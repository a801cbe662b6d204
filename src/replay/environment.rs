//! Properties of an application attempt, and its resource profiles.

use std::collections::BTreeMap;

use crate::event::Properties;
use crate::event::environment::{EnvironmentUpdate, ResourceProfileAdded};
use crate::table::{Rows, Value};

/// What the last `SparkListenerEnvironmentUpdate` said, redacted as Spark's REST API redacts it.
#[derive(Debug)]
pub(super) struct Environment {
    /// By section, name.
    properties: BTreeMap<(&'static str, String), Option<String>>,
}

/// What Spark shows instead of a secret.
const REDACTED: &str = "*********(redacted)";

/// Spark's default `spark.redaction.regex`: `(?i)secret|password|token|access[.]?key`.
fn is_secret(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["secret", "password", "token", "accesskey", "access.key"]
        .iter()
        .any(|word| lower.contains(word))
}

impl Environment {
    pub(super) fn of(event: &EnvironmentUpdate<'_>) -> Self {
        let mut properties = BTreeMap::new();
        for (json, name) in [
            ("Java Home", "javaHome"),
            ("Java Version", "javaVersion"),
            ("Scala Version", "scalaVersion"),
        ] {
            if let Some(value) = event.jvm_information.get(json) {
                properties.insert(("runtime", name.to_owned()), value.as_deref().map(str::to_owned));
            }
        }
        let mut section = |section: &'static str, redact: bool, entries: Option<&Properties<'_>>| {
            for (name, value) in entries.into_iter().flatten() {
                let secret = redact && (is_secret(name) || value.as_deref().is_some_and(is_secret));
                let shown = if secret {
                    Some(REDACTED.to_owned())
                } else {
                    value.as_deref().map(str::to_owned)
                };
                properties.insert((section, name.clone().into_owned()), shown);
            }
        };
        section("spark", true, Some(&event.spark_properties));
        section("hadoop", true, event.hadoop_properties.as_ref());
        section("system", true, Some(&event.system_properties));
        section("metrics", true, event.metrics_properties.as_ref());
        section("classpath", false, Some(&event.classpath_entries));
        Environment { properties }
    }

    pub(super) fn push_rows(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        for ((section, name), value) in &self.properties {
            rows.push(app_id)
                .push(attempt_id)
                .push(*section)
                .push(name)
                .push(value.as_ref());
            rows.end_row();
        }
    }
}

/// What an executor is asked for of one resource.
#[derive(Debug)]
struct ExecutorRequest {
    name: Option<String>,
    amount: i64,
    discovery_script: Option<String>,
    vendor: Option<String>,
}

/// What executors and tasks of a profile ask for.
#[derive(Debug)]
pub(super) struct ResourceProfile {
    id: i32,
    executor_resources: BTreeMap<String, ExecutorRequest>,
    task_resources: BTreeMap<String, (Option<String>, f64)>,
}

impl ResourceProfile {
    pub(super) fn of(event: &ResourceProfileAdded<'_>) -> Self {
        let text = |text: &Option<crate::event::Text<'_>>| text.as_deref().map(str::to_owned);
        ResourceProfile {
            id: event.id,
            executor_resources: event
                .executor_resources
                .iter()
                .map(|(key, r)| {
                    let request = ExecutorRequest {
                        name: text(&r.resource_name),
                        amount: r.amount,
                        discovery_script: text(&r.discovery_script),
                        vendor: text(&r.vendor),
                    };
                    (key.clone().into_owned(), request)
                })
                .collect(),
            task_resources: event
                .task_resources
                .iter()
                .map(|(key, r)| (key.clone().into_owned(), (text(&r.resource_name), r.amount)))
                .collect(),
        }
    }

    /// Cores that a task takes, where the profile says so.
    #[allow(clippy::cast_possible_truncation, reason = "Spark's own `toInt`")]
    pub(super) fn cpus_per_task(&self) -> Option<i32> {
        self.task_resources.get("cpus").map(|(_, amount)| *amount as i32)
    }

    pub(super) fn push_row(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        rows.push(app_id).push(attempt_id).push(self.id);
        rows.push(Value::map(self.executor_resources.iter().map(|(key, request)| {
            let ExecutorRequest {
                name,
                amount,
                discovery_script,
                vendor,
            } = request;
            let fields = vec![
                name.as_ref().into(),
                (*amount).into(),
                discovery_script.as_ref().into(),
                vendor.as_ref().into(),
            ];
            (key.as_str(), Value::Struct(fields))
        })));
        rows.push(Value::map(self.task_resources.iter().map(|(key, (name, amount))| {
            (
                key.as_str(),
                Value::Struct(vec![name.as_ref().into(), Value::Float(*amount)]),
            )
        })));
        rows.end_row();
    }
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn secrets_are_what_sparks_default_expression_finds_in_any_case() {
        for secret in [
            "spark.hadoop.fs.s3a.Secret.key",
            "PASSWORD",
            "my.token",
            "access.key",
            "AccessKey",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["spark.app.name", "access-key", "pass word"] {
            assert!(!is_secret(open), "{open}");
        }
    }
}
