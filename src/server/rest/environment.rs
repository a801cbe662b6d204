//! `environment`: properties by section, as pairs, and resource profiles.

use super::answer::{Failure, JsonBody};
use super::rows::text;
use super::{Attempt, Rest};

const PROPERTIES: &str = include_str!("../../../sql/rest/environment.sql");
const PROFILES: &str = include_str!("../../../sql/rest/resource_profiles.sql");
const NAME: &str = include_str!("../../../sql/rest/attempt_name.sql");

/// Our sections in the order of REST's lists of pairs.
const SECTIONS: [(&str, &str); 5] = [
    ("spark", "sparkProperties"),
    ("hadoop", "hadoopProperties"),
    ("system", "systemProperties"),
    ("metrics", "metricsProperties"),
    ("classpath", "classpathEntries"),
];

/// Fields of REST's `runtime`, and what our properties of that section are called.
const RUNTIME: [&str; 3] = ["javaVersion", "javaHome", "scalaVersion"];

impl Rest {
    pub(super) async fn environment(&self, attempt: &Attempt, body: &mut JsonBody) -> Result<(), Failure> {
        let batches = self.rows(PROPERTIES, attempt.key()).await?.all().await?;
        // Spark has no environment before the event that tells it.
        if batches.is_empty() {
            return Err(super::no_such_app(
                &attempt.app_id,
                Some(&*attempt.attempt_id).filter(|id| !id.is_empty()),
            ));
        }
        let properties = |section: &'static str| {
            batches
                .iter()
                .flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)))
                .filter(move |(batch, row)| text(batch, "section", *row) == Some(section))
                .map(|(batch, row)| (text(batch, "name", row).unwrap_or_default(), text(batch, "value", row)))
        };
        let json = &mut body.json;
        json.begin_object();
        json.key("runtime");
        json.begin_object();
        for field in RUNTIME {
            if let Some((_, Some(value))) = properties("runtime").find(|(name, _)| *name == field) {
                json.key(field);
                json.string(value);
            }
        }
        json.end_object();
        for (section, field) in SECTIONS {
            json.key(field);
            json.begin_array();
            for (name, value) in properties(section) {
                json.element();
                json.begin_array();
                json.element();
                json.string(name);
                json.element();
                match value {
                    Some(value) => json.string(value),
                    None => json.null(),
                }
                json.end_array();
            }
            json.end_array();
        }
        json.key("resourceProfiles");
        self.write_list(body, PROFILES, attempt.key()).await?;
        body.json.end_object();
        Ok(())
    }

    /// The endpoints of the old streaming API: its listener is there only while an application runs.
    pub(super) async fn streaming(&self, attempt: &Attempt) -> Result<(), Failure> {
        let batch = self.rows(NAME, attempt.key()).await?.next().await?;
        let name = batch
            .as_ref()
            .and_then(|batch| text(batch, "name", 0))
            .unwrap_or_default();
        Err(Failure::not_found(format!("no streaming listener attached to {name}")))
    }
}
