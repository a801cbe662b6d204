//! `SparkListenerEnvironmentUpdate`, `SparkListenerResourceProfileAdded`.
//!
//! Applications of one cluster have most of their properties in common, 100 kB of them: a section whose text was seen before, in
//! whatever log, is neither parsed again nor made rows of again. What was seen is kept for the process, up to `MAX_SEEN_BYTES`.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ParseError, Properties, Text};

/// What the process keeps of sections it has seen, in bytes as [`SeenSection::weight`] estimates them: some hundred clusters.
const MAX_SEEN_BYTES: usize = 64 << 20;

/// The properties of an application attempt, by section.
#[derive(Debug)]
pub struct EnvironmentUpdate<'a> {
    pub jvm_information: Section<'a>,
    pub spark_properties: Section<'a>,
    pub hadoop_properties: Option<Section<'a>>,
    pub system_properties: Section<'a>,
    /// Since Spark 3.4.
    pub metrics_properties: Option<Section<'a>>,
    pub classpath_entries: Section<'a>,
}

/// The sections as their text. `Section` is what a section becomes: text that is not parsed yet, or its properties.
#[derive(Deserialize)]
struct Sections<Section> {
    #[serde(rename = "JVM Information")]
    jvm_information: Section,
    #[serde(rename = "Spark Properties")]
    spark_properties: Section,
    #[serde(rename = "Hadoop Properties", default = "Option::default")]
    hadoop_properties: Option<Section>,
    #[serde(rename = "System Properties")]
    system_properties: Section,
    #[serde(rename = "Metrics Properties", default = "Option::default")]
    metrics_properties: Option<Section>,
    #[serde(rename = "Classpath Entries")]
    classpath_entries: Section,
}

impl<'a> EnvironmentUpdate<'a> {
    /// Parses a line that names this event.
    pub(super) fn parse(line: &'a [u8], name: &str) -> Result<Self, ParseError> {
        if let Some(event) = serde_json::from_slice(line)
            .ok()
            .and_then(|text| Self::of_text(&text).ok())
        {
            return Ok(event);
        }
        // What is wrong, and where in the line, only parsing it whole can say.
        let whole: Sections<Properties<'a>> = super::payload(line, name)?;
        Ok(EnvironmentUpdate {
            jvm_information: Section::unseen("JVM Information", whole.jvm_information),
            spark_properties: Section::unseen("Spark Properties", whole.spark_properties),
            hadoop_properties: whole
                .hadoop_properties
                .map(|properties| Section::unseen("Hadoop Properties", properties)),
            system_properties: Section::unseen("System Properties", whole.system_properties),
            metrics_properties: whole
                .metrics_properties
                .map(|properties| Section::unseen("Metrics Properties", properties)),
            classpath_entries: Section::unseen("Classpath Entries", whole.classpath_entries),
        })
    }

    fn of_text(text: &Sections<&'a RawValue>) -> Result<Self, serde_json::Error> {
        let optional = |name, text: Option<&'a RawValue>| text.map(|text| Section::of_text(name, text)).transpose();
        Ok(EnvironmentUpdate {
            jvm_information: Section::of_text("JVM Information", text.jvm_information)?,
            spark_properties: Section::of_text("Spark Properties", text.spark_properties)?,
            hadoop_properties: optional("Hadoop Properties", text.hadoop_properties)?,
            system_properties: Section::of_text("System Properties", text.system_properties)?,
            metrics_properties: optional("Metrics Properties", text.metrics_properties)?,
            classpath_entries: Section::of_text("Classpath Entries", text.classpath_entries)?,
        })
    }
}

/// One section of an [`EnvironmentUpdate`].
#[derive(Debug)]
pub struct Section<'a> {
    seen: Arc<SeenSection>,
    /// There if it was parsed just now.
    properties: Option<Properties<'a>>,
}

impl<'a> Section<'a> {
    fn of_text(name: &'static str, text: &'a RawValue) -> Result<Self, serde_json::Error> {
        let hash = hash_of(name, text.get());
        if let Some(seen) = lock(&SEEN).find(hash)
            && seen.name == name
            && *seen.text == *text.get()
        {
            return Ok(Section { seen, properties: None });
        }
        let properties = serde_json::from_str(text.get())?;
        let seen = Arc::new(SeenSection::new(name, text.get()));
        lock(&SEEN).add(hash, Arc::clone(&seen));
        Ok(Section {
            seen,
            properties: Some(properties),
        })
    }

    /// A section whose own text is not known.
    fn unseen(name: &'static str, properties: Properties<'a>) -> Self {
        Section {
            seen: Arc::new(SeenSection::new(name, "")),
            properties: Some(properties),
        }
    }

    /// What `prepare` makes of the properties: now, or when this text was seen first. It must be the same function for all sections of
    /// a name.
    pub fn prepared<T: Any + Send + Sync>(&self, prepare: impl FnOnce(&Properties<'_>) -> T) -> Arc<T> {
        let prepared = self.seen.prepared.get_or_init(|| match &self.properties {
            Some(properties) => Arc::new(prepare(properties)),
            // Another thread saw the text first and has not prepared it yet.
            None => {
                let properties = serde_json::from_str(&self.seen.text).expect("a text is seen once it was parsed");
                Arc::new(prepare(&properties))
            }
        });
        Arc::clone(prepared)
            .downcast()
            .expect("sections of a name are prepared by one function")
    }
}

/// A section of any log whose text could be parsed.
#[derive(Debug)]
struct SeenSection {
    name: &'static str,
    text: Box<str>,
    prepared: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl SeenSection {
    fn new(name: &'static str, text: &str) -> Self {
        SeenSection {
            name,
            text: text.into(),
            prepared: OnceLock::new(),
        }
    }

    /// Memory it takes with what is prepared of it, about: names and values once more.
    fn weight(&self) -> usize {
        self.text.len() * 2 + 2048
    }
}

/// Sections by hash, in two halves: what is not found again while the newer one fills goes with the older one.
#[derive(Debug, Default)]
struct SeenSections {
    newer: HashMap<u64, Arc<SeenSection>>,
    newer_bytes: usize,
    older: HashMap<u64, Arc<SeenSection>>,
}

static SEEN: LazyLock<Mutex<SeenSections>> = LazyLock::new(Mutex::default);

/// A panic elsewhere cannot leave it half changed in a way that matters: the texts are compared.
fn lock(seen: &Mutex<SeenSections>) -> std::sync::MutexGuard<'_, SeenSections> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash_of(name: &str, text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, text).hash(&mut hasher);
    hasher.finish()
}

impl SeenSections {
    /// What has this hash; the caller compares name and text.
    fn find(&mut self, hash: u64) -> Option<Arc<SeenSection>> {
        if let Some(seen) = self.newer.get(&hash) {
            return Some(Arc::clone(seen));
        }
        let seen = self.older.remove(&hash)?;
        self.add(hash, Arc::clone(&seen));
        Some(seen)
    }

    fn add(&mut self, hash: u64, seen: Arc<SeenSection>) {
        let weight = seen.weight();
        if weight > MAX_SEEN_BYTES / 8 {
            return;
        }
        if self.newer_bytes + weight > MAX_SEEN_BYTES / 2 {
            self.older = std::mem::take(&mut self.newer);
            self.newer_bytes = 0;
        }
        self.newer_bytes += weight;
        if let Some(replaced) = self.newer.insert(hash, seen) {
            self.newer_bytes -= replaced.weight();
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct ResourceProfileAdded<'a> {
    #[serde(rename = "Resource Profile Id")]
    pub id: i32,
    #[serde(borrow, rename = "Executor Resource Requests")]
    pub executor_resources: BTreeMap<Text<'a>, ExecutorResource<'a>>,
    #[serde(borrow, rename = "Task Resource Requests")]
    pub task_resources: BTreeMap<Text<'a>, TaskResource<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct ExecutorResource<'a> {
    #[serde(borrow, rename = "Resource Name")]
    pub resource_name: Option<Text<'a>>,
    #[serde(rename = "Amount", deserialize_with = "super::lenient::long")]
    pub amount: i64,
    #[serde(borrow, rename = "Discovery Script")]
    pub discovery_script: Option<Text<'a>>,
    #[serde(borrow, rename = "Vendor")]
    pub vendor: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct TaskResource<'a> {
    #[serde(borrow, rename = "Resource Name")]
    pub resource_name: Option<Text<'a>>,
    #[serde(rename = "Amount")]
    pub amount: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "SparkListenerEnvironmentUpdate";

    fn line(spark: &str) -> String {
        format!(
            r#"{{"Event":"{NAME}","JVM Information":{{}},"Spark Properties":{spark},"System Properties":{{}},"Classpath Entries":{{}}}}"#
        )
    }

    fn owned(properties: &Properties<'_>) -> Vec<(String, Option<String>)> {
        let text = |text: &Text<'_>| text.clone().into_owned();
        properties
            .iter()
            .map(|(name, value)| (text(name), value.as_ref().map(text)))
            .collect()
    }

    #[test]
    fn a_section_that_was_seen_is_prepared_once_and_one_that_differs_in_a_byte_is_another() {
        let prepared = |spark: &str| {
            let line = line(spark);
            let event = EnvironmentUpdate::parse(line.as_bytes(), NAME).unwrap();
            event.spark_properties.prepared(owned)
        };
        let first = prepared(r#"{"once.b":"1","once.a":null}"#);
        assert_eq!(
            *first,
            [("once.a".to_owned(), None), ("once.b".to_owned(), Some("1".to_owned()))]
        );
        assert!(Arc::ptr_eq(&first, &prepared(r#"{"once.b":"1","once.a":null}"#)));
        let other = prepared(r#"{"once.b":"2","once.a":null}"#);
        assert_eq!(other[1].1.as_deref(), Some("2"));
    }

    #[test]
    fn what_cannot_be_read_is_named_as_by_parsing_the_line_whole() {
        let damaged = [
            r#"{"a":1}"#,
            "null",
            "[]",
            r#"{"a":"\ud83d"}"#,
            r#"{"a":"b""#,
            r#"{},"Spark Properties":{}"#,
        ];
        for spark in damaged {
            let line = line(spark);
            let ours = EnvironmentUpdate::parse(line.as_bytes(), NAME).unwrap_err().to_string();
            let whole = crate::event::payload::<Sections<Properties<'_>>>(line.as_bytes(), NAME);
            assert_eq!(ours, whole.err().expect("it is damaged").to_string());
        }
        let without = line("{}").replace(r#""System Properties":{},"#, "");
        let error = EnvironmentUpdate::parse(without.as_bytes(), NAME)
            .unwrap_err()
            .to_string();
        assert!(error.contains("missing field `System Properties`"), "{error}");
    }

    #[test]
    fn what_is_not_found_again_goes_and_what_is_stays() {
        let mut seen = SeenSections::default();
        let section = || Arc::new(SeenSection::new("Spark Properties", &"x".repeat(1 << 20)));
        seen.add(0, section());
        let mut largest = 0;
        for hash in 1..200 {
            seen.add(hash, section());
            assert!(seen.find(0).is_some(), "found each time");
            let all = seen.newer.values().chain(seen.older.values());
            largest = largest.max(all.map(|seen| seen.weight()).sum());
        }
        assert!(largest <= MAX_SEEN_BYTES, "{largest}");
        assert!(seen.find(1).is_none());
    }
}
