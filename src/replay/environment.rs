//! Properties of an application attempt, and its resource profiles.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, Int32Array, RecordBatch, StringArray, StringViewArray, make_view};
use arrow::buffer::Buffer;
use arrow::compute::concat;

use super::acl::Acl;
use crate::event::Properties;
use crate::event::environment::{EnvironmentUpdate, ResourceProfileAdded, Section};
use crate::table::{ENVIRONMENT_SECTIONS, Rows, Value, repeated};

/// What the last `SparkListenerEnvironmentUpdate` said, redacted as Spark's REST API redacts it.
#[derive(Debug)]
pub(super) struct Environment {
    /// In the order of their names in the table.
    sections: Vec<Arc<PackedSection>>,
    pub(super) cpus_per_task: Option<i32>,
    /// As the properties say; they do not name the owner.
    pub(super) acl: Acl,
}

/// The row of one section but for the application it is of: applications with the same properties share it.
#[derive(Debug)]
struct PackedSection {
    name: &'static str,
    num_properties: i32,
    /// One text, whose bytes all rows share that are made of it.
    properties: StringViewArray,
}

/// What else the properties of Spark say.
#[derive(Debug)]
struct SparkProperties {
    section: Arc<PackedSection>,
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
                section: Arc::new(PackedSection::redacted("spark", properties)),
                cpus_per_task: cpus.and_then(|cpus| cpus.trim().parse().ok()),
                acl: Acl::of(properties),
            }
        });
        let redacted = |name: &'static str, section: Option<&Section<'_>>| {
            section.map(|section| section.prepared(|properties| PackedSection::redacted(name, properties)))
        };
        let classpath = |properties: &Properties<'_>| {
            PackedSection::of(
                "classpath",
                properties.iter().map(|(name, value)| (&**name, value.as_deref())),
            )
        };
        let sections = [
            Some(event.classpath_entries.prepared(classpath)),
            redacted("hadoop", event.hadoop_properties.as_ref()),
            redacted("metrics", event.metrics_properties.as_ref()),
            Some(event.jvm_information.prepared(PackedSection::of_runtime)),
            Some(Arc::clone(&spark.section)),
            redacted("system", Some(&event.system_properties)),
        ];
        Environment {
            sections: sections.into_iter().flatten().collect(),
            cpus_per_task: spark.cpus_per_task,
            acl: spark.acl.clone(),
        }
    }

    /// A row for each section that has any properties.
    pub(super) fn sections(&self, app_id: &str, attempt_id: &str) -> Option<RecordBatch> {
        let shown = self.sections.iter().filter(|section| section.num_properties > 0);
        let shown: Vec<&PackedSection> = shown.map(Arc::as_ref).collect();
        let texts: Vec<&dyn Array> = shown.iter().map(|section| &section.properties as _).collect();
        if texts.is_empty() {
            return None;
        }
        // Views are put together without a look at what they show.
        let properties = concat(&texts).expect("they are of one type");
        let names = shown.iter().map(|section| Some(section.name));
        let numbers = shown.iter().map(|section| section.num_properties);
        let columns = vec![
            repeated(app_id, shown.len()),
            repeated(attempt_id, shown.len()),
            Arc::new(names.collect::<StringArray>()),
            Arc::new(Int32Array::from_iter_values(numbers)),
            properties,
        ];
        let rows = RecordBatch::try_new(ENVIRONMENT_SECTIONS.arrow_schema(), columns);
        Some(rows.expect("the columns of the table"))
    }
}

impl PackedSection {
    fn redacted(section: &'static str, properties: &Properties<'_>) -> Self {
        let shown = properties.iter().map(|(name, value)| {
            let value = value.as_deref();
            let secret = is_secret(name) || value.is_some_and(is_secret);
            (&**name, if secret { Some(REDACTED) } else { value })
        });
        PackedSection::of(section, shown)
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
        PackedSection::of("runtime", shown)
    }

    /// Properties in the order of their names.
    fn of<'p>(name: &'static str, properties: impl Iterator<Item = (&'p str, Option<&'p str>)>) -> Self {
        let properties: Vec<(&str, Option<&str>)> = properties.collect();
        let mut text = serde_json::to_string(&properties).expect("texts can be written as JSON");
        // It may stay as long as the process does.
        text.shrink_to_fit();
        let view = make_view(text.as_bytes(), 0, 0);
        PackedSection {
            name,
            num_properties: i32::try_from(properties.len()).expect("they are of one line"),
            properties: StringViewArray::new(vec![view].into(), [Buffer::from(text.into_bytes())], None),
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
    use arrow::array::{AsArray, RecordBatch};
    use arrow::datatypes::Int32Type;

    use super::is_secret;
    use crate::event_log::EventLog;
    use crate::replay::LiveApplication;
    use crate::table::ENVIRONMENT_SECTIONS;

    /// The sections of an application with these properties.
    fn sections(spark: &str, classpath: &str) -> RecordBatch {
        let environment = format!(
            r#"{{"Event":"SparkListenerEnvironmentUpdate","JVM Information":{{"Java Home":"/java","Other":"x"}},"Spark Properties":{spark},"System Properties":{{}},"Classpath Entries":{classpath}}}"#
        );
        let start =
            r#"{"Event":"SparkListenerApplicationStart","App Name":"a","App ID":"app","Timestamp":1,"User":"u"}"#;
        let mut live = LiveApplication::new();
        live.apply_line(environment.as_bytes());
        live.apply_line(start.as_bytes());
        assert_eq!(live.report().problems, []);
        let log = EventLog {
            path: "/logs/app".into(),
            identity: "/logs/app".into(),
            rolling: false,
            files: Vec::new(),
            in_progress: false,
            open: None,
            size_bytes: 1,
            modified_ms: 0,
        };
        let rows = live.rows(&std::sync::Arc::new(log)).unwrap();
        let [sections] = &rows.tables[ENVIRONMENT_SECTIONS.name][..] else {
            panic!("they are one batch")
        };
        sections.clone()
    }

    #[test]
    fn a_section_is_one_text_of_its_properties_by_name_and_one_without_properties_is_none() {
        let rows = sections(
            r#"{"b":"ä \"1\"\n\u0001","a":null,"my.token":"x","":""}"#,
            r#"{"/x.jar":"System Classpath"}"#,
        );
        let texts = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>().iter().flatten();
        assert!(texts("app_id").eq(["app"; 3]));
        assert!(texts("section").eq(["classpath", "runtime", "spark"]));
        let counts = rows
            .column_by_name("num_properties")
            .unwrap()
            .as_primitive::<Int32Type>();
        assert_eq!(counts.values(), &[1, 1, 4]);
        let properties = rows.column_by_name("properties").unwrap().as_string_view();
        assert_eq!(properties.value(0), r#"[["/x.jar","System Classpath"]]"#);
        assert_eq!(properties.value(1), r#"[["javaHome","/java"]]"#);
        assert_eq!(
            properties.value(2),
            r#"[["",""],["a",null],["b","ä \"1\"\n\u0001"],["my.token","*********(redacted)"]]"#
        );
    }

    #[test]
    fn applications_with_the_same_section_share_its_bytes() {
        let [one, other] = ["1", "2"].map(|value| {
            let spark = format!(r#"{{"spark.app.id":"an application {value}"}}"#);
            sections(&spark, r#"{"/shared/by/both.jar":"System Classpath"}"#)
        });
        let place = |rows: &RecordBatch, section: usize| {
            let texts = rows.column_by_name("properties").unwrap().as_string_view();
            texts.value(section).as_ptr()
        };
        assert_eq!(place(&one, 0), place(&other, 0));
        assert_ne!(place(&one, 2), place(&other, 2));
    }

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
