//! Properties of an application attempt, and its resource profiles.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};

use super::acl::Acl;
use crate::event::Properties;
use crate::event::environment::{EnvironmentUpdate, ResourceProfileAdded, Section};
use crate::table::{ENVIRONMENT, Rows, Value, repeated};

/// What the last `SparkListenerEnvironmentUpdate` said, redacted as Spark's REST API redacts it.
#[derive(Debug)]
pub(super) struct Environment {
    /// In the order of their names in the table.
    sections: Vec<Arc<SectionRows>>,
    pub(super) cpus_per_task: Option<i32>,
    /// As the properties say; they do not name the owner.
    pub(super) acl: Acl,
}

/// The rows of one section but for the application they are of: applications with the same properties share them.
#[derive(Debug)]
struct SectionRows {
    rows: usize,
    /// Section, name, value.
    columns: [ArrayRef; 3],
}

/// What else the properties of Spark say.
#[derive(Debug)]
struct SparkProperties {
    section: Arc<SectionRows>,
    cpus_per_task: Option<i32>,
    acl: Acl,
}

/// What Spark shows instead of a secret.
const REDACTED: &str = "*********(redacted)";

/// Spark's default `spark.redaction.regex`: `(?i)secret|password|token|access[.]?key`.
fn is_secret(text: &str) -> bool {
    const WORDS: [&str; 5] = ["secret", "password", "token", "accesskey", "access.key"];
    if !text.is_ascii() {
        let lower = text.to_lowercase();
        return WORDS.iter().any(|word| lower.contains(word));
    }
    let starts = |at: usize, word: &str| {
        let here = text.as_bytes().get(at..at + word.len());
        here.is_some_and(|here| here.eq_ignore_ascii_case(word.as_bytes()))
    };
    text.bytes().enumerate().any(|(at, byte)| match byte {
        b's' | b'S' => starts(at, "secret"),
        b'p' | b'P' => starts(at, "password"),
        b't' | b'T' => starts(at, "token"),
        b'a' | b'A' => starts(at, "accesskey") || starts(at, "access.key"),
        _ => false,
    })
}

impl Environment {
    pub(super) fn of(event: &EnvironmentUpdate<'_>) -> Self {
        let spark = event.spark_properties.prepared(|properties| {
            let cpus = properties.get("spark.task.cpus").and_then(|cpus| cpus.as_deref());
            SparkProperties {
                section: Arc::new(SectionRows::redacted("spark", properties)),
                cpus_per_task: cpus.and_then(|cpus| cpus.trim().parse().ok()),
                acl: Acl::of(properties),
            }
        });
        let redacted = |name: &'static str, section: Option<&Section<'_>>| {
            section.map(|section| section.prepared(|properties| SectionRows::redacted(name, properties)))
        };
        let classpath = |properties: &Properties<'_>| {
            SectionRows::of(
                "classpath",
                properties.iter().map(|(name, value)| (&**name, value.as_deref())),
            )
        };
        let sections = [
            Some(event.classpath_entries.prepared(classpath)),
            redacted("hadoop", event.hadoop_properties.as_ref()),
            redacted("metrics", event.metrics_properties.as_ref()),
            Some(event.jvm_information.prepared(SectionRows::of_runtime)),
            Some(Arc::clone(&spark.section)),
            redacted("system", Some(&event.system_properties)),
        ];
        Environment {
            sections: sections.into_iter().flatten().collect(),
            cpus_per_task: spark.cpus_per_task,
            acl: spark.acl.clone(),
        }
    }

    /// The rows of an application, a batch for each section that has any.
    pub(super) fn batches(&self, app_id: &str, attempt_id: &str) -> Vec<RecordBatch> {
        let schema = ENVIRONMENT.arrow_schema();
        let shown = self.sections.iter().filter(|section| section.rows > 0);
        shown
            .map(|section| {
                let keys = [app_id, attempt_id].map(|key| repeated(key, section.rows));
                let columns = keys.into_iter().chain(section.columns.iter().cloned()).collect();
                RecordBatch::try_new(Arc::clone(&schema), columns).expect("the columns of the table")
            })
            .collect()
    }
}

impl SectionRows {
    fn redacted(section: &'static str, properties: &Properties<'_>) -> Self {
        let shown = properties.iter().map(|(name, value)| {
            let value = value.as_deref();
            let secret = is_secret(name) || value.is_some_and(is_secret);
            (&**name, if secret { Some(REDACTED) } else { value })
        });
        SectionRows::of(section, shown)
    }

    /// Of what Spark says of the JVM, three are shown.
    fn of_runtime(properties: &Properties<'_>) -> Self {
        let shown = [
            ("Java Home", "javaHome"),
            ("Java Version", "javaVersion"),
            ("Scala Version", "scalaVersion"),
        ];
        let shown = shown
            .into_iter()
            .filter_map(|(json, name)| Some((name, properties.get(json)?.as_deref())));
        SectionRows::of("runtime", shown)
    }

    fn of<'p>(section: &'static str, properties: impl Iterator<Item = (&'p str, Option<&'p str>)>) -> Self {
        let (mut names, mut values) = (StringBuilder::new(), StringBuilder::new());
        let mut rows = 0;
        for (name, value) in properties {
            names.append_value(name);
            values.append_option(value);
            rows += 1;
        }
        // They may stay as long as the process does.
        let (mut names, mut values) = (names.finish(), values.finish());
        names.shrink_to_fit();
        values.shrink_to_fit();
        SectionRows {
            rows,
            columns: [repeated(section, rows), Arc::new(names), Arc::new(values)],
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
