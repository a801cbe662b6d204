//! Holds tables against Spark's answers, field by field. `docs/parity.md` has the rules for people.
//!
//! The REST path of a column (`Column::rest`) says which field it must equal; nothing else connects the two. A REST
//! scalar without a column is a difference, and so is a column that was never compared. Every exception is a constant
//! below, with its reason.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;

use chrono::{DateTime, NaiveDateTime};
use serde_json::{Map, Value, json};
use sparkgate::table::{Column, Type};

use crate::answers::{Answer, Attempt, Subject};

/// Differences shown for each field; the rest is counted.
const SHOWN_PER_FIELD: usize = 20;

/// REST fields that repeat another one.
const TWINS: &[&str] = &["isBlacklisted", "blacklistedInStages", "isBlacklistedForStage"];

/// REST fields that no column has to hold: the modification time of a file, and what a copied log does not keep.
const NOT_OF_THE_LOG: &[&str] = &["lastUpdated"];

/// REST lists and maps of other entities, which are compared on their own.
const ENTITIES_INSIDE: &[&str] = &["tasks", "executorSummary", "partitions"];

/// What Spark computes from tables for an answer: left to the REST tests.
const DISTRIBUTIONS: &[&str] = &["taskMetricsDistributions", "executorMetricsDistributions"];

/// REST fields that are Scala sets: any order.
const SETS: &[&str] = &["excludedInStages"];

/// A table of entities: how REST and SQL name its key, and what REST paths of its columns may begin with.
#[derive(Debug)]
pub(crate) struct Entity {
    pub(crate) table: &'static str,
    /// (REST field, column) besides `app_id` and `attempt_id`. A field with `#` is no field of REST: it says where the item stood.
    keys: &'static [(&'static str, &'static str)],
    prefixes: &'static [&'static str],
}

const APPLICATIONS: Entity = Entity {
    table: "applications",
    keys: &[],
    prefixes: &["attempts[].", "attempts[0].", "attempts."],
};
const ATTEMPTS: Entity = Entity {
    table: "application_attempts",
    keys: &[],
    prefixes: &["attempts[].", "attempts[0].", "attempts."],
};
const JOBS: Entity = Entity {
    table: "jobs",
    keys: &[("jobId", "job_id")],
    prefixes: &[],
};
const STAGES: Entity = Entity {
    table: "stages",
    keys: &[("stageId", "stage_id"), ("attemptId", "stage_attempt_id")],
    prefixes: &[],
};
const TASKS: Entity = Entity {
    table: "tasks",
    keys: &[("taskId", "task_id")],
    prefixes: &["tasks."],
};
const EXECUTORS: Entity = Entity {
    table: "executors",
    keys: &[("id", "executor_id")],
    prefixes: &[],
};
const STAGE_EXECUTORS: Entity = Entity {
    table: "stage_executors",
    keys: &[
        ("stageId", "stage_id"),
        ("attemptId", "stage_attempt_id"),
        ("#executorId", "executor_id"),
    ],
    prefixes: &[],
};
const PROCESSES: Entity = Entity {
    table: "miscellaneous_processes",
    keys: &[("id", "process_id")],
    prefixes: &[],
};
const RDDS: Entity = Entity {
    table: "rdds",
    keys: &[("id", "rdd_id")],
    prefixes: &[],
};
const RDD_PARTITIONS: Entity = Entity {
    table: "rdd_partitions",
    keys: &[("#rddId", "rdd_id"), ("#position", "position")],
    prefixes: &[],
};
const PROFILES: Entity = Entity {
    table: "resource_profiles",
    keys: &[("id", "resource_profile_id")],
    prefixes: &["resourceProfiles[].", "resourceProfiles."],
};

/// The tables whose rows are compared by their columns' REST paths.
pub(crate) const ENTITIES: &[&Entity] = &[
    &APPLICATIONS,
    &ATTEMPTS,
    &JOBS,
    &STAGES,
    &TASKS,
    &EXECUTORS,
    &STAGE_EXECUTORS,
    &PROCESSES,
    &RDDS,
    &RDD_PARTITIONS,
    &PROFILES,
];

/// Compared as a bag of properties: its rows are not fields of REST but items of lists.
pub(crate) const ENVIRONMENT: &str = "environment";

/// REST's lists of the environment, and the section of their rows.
const SECTIONS: &[(&str, &str)] = &[
    ("sparkProperties", "spark"),
    ("hadoopProperties", "hadoop"),
    ("systemProperties", "system"),
    ("metricsProperties", "metrics"),
    ("classpathEntries", "classpath"),
];

type Row = Map<String, Value>;

/// The rows of every table, as `sparkgate sql` printed them.
pub(crate) type Tables = BTreeMap<String, Vec<Row>>;

/// One table, its rows by attempt and key.
struct Indexed<'a> {
    entity: &'static Entity,
    /// Columns by REST path, prefixes taken off.
    columns: HashMap<&'static str, &'static Column>,
    rows: BTreeMap<(&'a str, &'a str), BTreeMap<String, &'a Row>>,
}

impl<'a> Indexed<'a> {
    fn new(entity: &'static Entity, columns: &'static [Column], rows: &'a [Row]) -> Self {
        let of_an_application = entity.keys.is_empty();
        let columns = columns
            .iter()
            .filter(|c| !c.rest.is_empty() && (of_an_application || !matches!(c.name, "app_id" | "attempt_id")))
            .map(|c| {
                (
                    entity
                        .prefixes
                        .iter()
                        .find_map(|prefix| c.rest.strip_prefix(prefix))
                        .unwrap_or(c.rest),
                    c,
                )
            })
            .collect();
        let mut index: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for row in rows {
            // `applications` has one row per application, whichever attempt it describes.
            let attempt_id = if entity.table == APPLICATIONS.table {
                ""
            } else {
                field_text(row, "attempt_id")
            };
            let key = entity
                .keys
                .iter()
                .map(|(_, column)| shown(&row[*column]))
                .collect::<Vec<_>>()
                .join("/");
            index
                .entry((field_text(row, "app_id"), attempt_id))
                .or_default()
                .insert(key, row);
        }
        Indexed {
            entity,
            columns,
            rows: index,
        }
    }

    /// The key of an answer's item, in the form of the index.
    fn key_of(&self, item: &Value) -> String {
        self.entity
            .keys
            .iter()
            .map(|(rest, _)| shown(&item[*rest]))
            .collect::<Vec<_>>()
            .join("/")
    }
}

#[derive(Debug, Default)]
struct Differences {
    count: usize,
    shown: Vec<String>,
}

/// What was compared so far, and what differed.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Compared values by table and column; an absent field held against NULL counts as well.
    compared: BTreeMap<(String, String), usize>,
    /// By table and field; `(row)` stands for whole rows.
    differences: BTreeMap<(String, String), Differences>,
    /// Values not compared, by reason.
    ignored: BTreeMap<&'static str, usize>,
    attempts: BTreeSet<Attempt>,
    /// Columns that a run has to compare at least once.
    owed: BTreeSet<(String, String)>,
}

impl Comparison {
    /// Compares `answers` with `tables`; `definitions` gives the columns of a table, `None` for a table that is not there.
    /// `empty` are the tables that none of the logs fills.
    pub(crate) fn run(
        answers: &[Answer],
        tables: &Tables,
        empty: &[&str],
        definitions: impl Fn(&str) -> Option<&'static [Column]>,
    ) -> Comparison {
        let mut comparison = Comparison::default();
        let unfinished = unfinished(answers);
        let no_rows = Vec::new();
        let mut indexed = HashMap::new();
        for entity in ENTITIES {
            let Some(columns) = definitions(entity.table) else {
                comparison.differ(entity.table, "(table)", || "no such table".to_owned());
                continue;
            };
            for column in columns
                .iter()
                .filter(|c| !c.rest.is_empty() && !is_distribution(c.rest))
                .filter(|c| !NOT_OF_THE_LOG.iter().any(|field| c.rest.ends_with(field)))
                .filter(|_| !empty.contains(&entity.table))
            {
                comparison
                    .owed
                    .insert((entity.table.to_owned(), column.name.to_owned()));
            }
            let rows = tables.get(entity.table).unwrap_or(&no_rows);
            if empty.contains(&entity.table) && !rows.is_empty() {
                comparison.differ(entity.table, "(table)", || "has rows, and should be empty".to_owned());
            }
            indexed.insert(entity.table, Indexed::new(entity, columns, rows));
        }
        comparison.owed.insert((ENVIRONMENT.to_owned(), "value".to_owned()));
        let environment = environment_rows(tables.get(ENVIRONMENT).unwrap_or(&no_rows));
        let mut context = Context {
            comparison: &mut comparison,
            indexed,
            unfinished,
            environment,
        };
        for answer in answers {
            context.answer(answer);
        }
        for (table, column) in comparison.owed.clone() {
            // A column of a table that has a difference as a whole is not named again.
            let missing_table = comparison
                .differences
                .contains_key(&(table.clone(), "(table)".to_owned()));
            if !missing_table && !comparison.compared.contains_key(&(table.clone(), column.clone())) {
                comparison.differ(&table, &column, || {
                    "never compared: no answer has a row of this table".to_owned()
                });
            }
        }
        comparison
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }

    /// What differs, at most [`SHOWN_PER_FIELD`] lines a field, and the closing line.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        for ((table, field), differences) in &self.differences {
            let _ = writeln!(text, "{table}.{field}: {} different", differences.count);
            for line in &differences.shown {
                let _ = writeln!(text, "    {line}");
            }
            if differences.count > differences.shown.len() {
                let _ = writeln!(text, "    … and {} more", differences.count - differences.shown.len());
            }
        }
        text + &self.summary()
    }

    /// `N values compared over M applications …`.
    pub(crate) fn summary(&self) -> String {
        let values: usize = self.compared.values().sum();
        let applications: BTreeSet<_> = self.attempts.iter().map(|attempt| &attempt.app_id).collect();
        let mut by_table: BTreeMap<&str, usize> = BTreeMap::new();
        for ((table, _), count) in &self.compared {
            *by_table.entry(table).or_default() += count;
        }
        let by_table: Vec<_> = by_table
            .iter()
            .map(|(table, count)| format!("{table} {count}"))
            .collect();
        let ignored: Vec<_> = self
            .ignored
            .iter()
            .map(|(reason, count)| format!("{count} ({reason})"))
            .collect();
        let different: usize = self.differences.values().map(|d| d.count).sum();
        format!(
            "{values} values compared over {} applications, {} columns: {}; {different} different; not compared: {}",
            applications.len(),
            self.compared.len(),
            by_table.join(", "),
            if ignored.is_empty() {
                "none".to_owned()
            } else {
                ignored.join(", ")
            },
        )
    }

    fn differ(&mut self, table: &str, field: &str, line: impl FnOnce() -> String) {
        let differences = self
            .differences
            .entry((table.to_owned(), field.to_owned()))
            .or_default();
        differences.count += 1;
        if differences.shown.len() < SHOWN_PER_FIELD {
            differences.shown.push(line());
        }
    }

    fn count(&mut self, table: &str, column: &str) {
        *self.compared.entry((table.to_owned(), column.to_owned())).or_default() += 1;
    }

    fn ignore(&mut self, reason: &'static str) {
        *self.ignored.entry(reason).or_default() += 1;
    }
}

struct Context<'a, 'c> {
    comparison: &'c mut Comparison,
    indexed: HashMap<&'static str, Indexed<'a>>,
    /// Attempts whose end Spark has not seen: it counts some durations there up to the time of the answer.
    unfinished: HashSet<Attempt>,
    environment: BTreeMap<(&'a str, &'a str), Properties>,
}

impl Context<'_, '_> {
    fn answer(&mut self, answer: &Answer) {
        let one = std::slice::from_ref(&answer.body);
        let items = answer.body.as_array().map_or(one, Vec::as_slice);
        match &answer.subject {
            Subject::Applications => {
                for item in items {
                    self.application(item, true);
                }
                if answer.complete {
                    let answered: BTreeSet<_> = items.iter().map(|item| field_of(item, "id")).collect();
                    for table in [APPLICATIONS.table, ATTEMPTS.table] {
                        self.unexpected_applications(table, &answered);
                    }
                }
            }
            Subject::Application => self.application(&answer.body, true),
            Subject::ApplicationAttempt => self.application(&answer.body, false),
            Subject::Jobs(attempt) => self.list(&JOBS, attempt, items, answer.complete),
            Subject::Stages(attempt) => {
                self.list(&STAGES, attempt, items, answer.complete);
                for item in items {
                    if let Some(tasks) = item["tasks"].as_object() {
                        let tasks: Vec<Value> = tasks.values().cloned().collect();
                        self.list(&TASKS, attempt, &tasks, false);
                    }
                    if let Some(summaries) = item["executorSummary"].as_object() {
                        let place = |id: &String| {
                            [
                                ("stageId", item["stageId"].clone()),
                                ("attemptId", item["attemptId"].clone()),
                                ("#executorId", json!(id)),
                            ]
                        };
                        let summaries: Vec<Value> = summaries.iter().map(|(id, s)| placed(s, place(id))).collect();
                        self.list(&STAGE_EXECUTORS, attempt, &summaries, false);
                        self.unexpected(&STAGE_EXECUTORS, attempt, &summaries, |row| {
                            row["stage_id"] == item["stageId"] && row["stage_attempt_id"] == item["attemptId"]
                        });
                    }
                }
            }
            Subject::Tasks(attempt, stage_id, stage_attempt_id) => {
                self.list(&TASKS, attempt, items, false);
                if answer.complete {
                    self.unexpected_tasks(attempt, *stage_id, *stage_attempt_id, items);
                }
            }
            Subject::Executors(attempt) => self.list(&EXECUTORS, attempt, items, answer.complete),
            Subject::Processes(attempt) => self.list(&PROCESSES, attempt, items, answer.complete),
            Subject::Rdds(attempt) => {
                self.list(&RDDS, attempt, items, false);
                if answer.complete {
                    self.unexpected(&RDDS, attempt, items, |row| row["num_cached_partitions"] != 0);
                }
                for item in items {
                    let Some(partitions) = item["partitions"].as_array() else {
                        continue;
                    };
                    let place = |position| [("#rddId", item["id"].clone()), ("#position", json!(position))];
                    let partitions = partitions.iter().enumerate().map(|(i, p)| placed(p, place(i)));
                    let partitions: Vec<Value> = partitions.collect();
                    self.list(&RDD_PARTITIONS, attempt, &partitions, false);
                    self.unexpected(&RDD_PARTITIONS, attempt, &partitions, |row| row["rdd_id"] == item["id"]);
                }
            }
            Subject::Environment(attempt) => {
                self.properties(attempt, &answer.body);
                if let Some(profiles) = answer.body["resourceProfiles"].as_array() {
                    self.list(&PROFILES, attempt, profiles, true);
                }
            }
        }
    }

    /// `applications` describes the newest attempt, which REST gives first; `application_attempts` has each.
    fn application(&mut self, item: &Value, has_all_attempts: bool) {
        let id = field_of(item, "id");
        let Some(attempts) = item["attempts"].as_array() else {
            return;
        };
        for (age, attempt) in attempts.iter().enumerate() {
            let mut fields = item.clone();
            let of_attempt = attempt.as_object().into_iter().flatten();
            if let Some(fields) = fields.as_object_mut() {
                fields.remove("attempts");
                fields.extend(of_attempt.map(|(name, value)| (name.clone(), value.clone())));
            }
            let attempt = Attempt::new(id, field_of(attempt, "attemptId"));
            // The name of an application is that of its newest attempt.
            if age == 0 && has_all_attempts {
                self.item(&APPLICATIONS, &attempt, &fields);
            } else if let Some(fields) = fields.as_object_mut() {
                fields.remove("name");
            }
            self.item(&ATTEMPTS, &attempt, &fields);
        }
    }

    fn list(&mut self, entity: &'static Entity, attempt: &Attempt, items: &[Value], complete: bool) {
        for item in items {
            self.item(entity, attempt, item);
        }
        if complete {
            self.unexpected(entity, attempt, items, |_| true);
        }
    }

    /// Rows that Spark's answer does not have, of those that `owed` says it should have.
    fn unexpected(&mut self, entity: &'static Entity, attempt: &Attempt, items: &[Value], owed: impl Fn(&Row) -> bool) {
        let Some(table) = self.indexed.get(entity.table) else {
            return;
        };
        let answered: HashSet<String> = items.iter().map(|item| table.key_of(item)).collect();
        let Some(rows) = table.rows.get(&(attempt.app_id.as_str(), attempt.attempt_id.as_str())) else {
            return;
        };
        let owed = rows.iter().filter(|(_, row)| owed(row)).map(|(key, _)| key);
        let unexpected: Vec<String> = owed.filter(|key| !answered.contains(*key)).cloned().collect();
        for key in unexpected {
            self.comparison.differ(entity.table, "(row)", || {
                format!("{} {key}: not in Spark's answer", show(attempt))
            });
        }
    }

    fn unexpected_applications(&mut self, table: &str, answered: &BTreeSet<&str>) {
        let Some(indexed) = self.indexed.get(table) else { return };
        let unexpected: BTreeSet<_> = indexed
            .rows
            .keys()
            .map(|(id, _)| *id)
            .filter(|id| !answered.contains(id))
            .collect();
        for id in unexpected {
            self.comparison
                .differ(table, "(row)", || format!("{id}: not in Spark's answer"));
        }
    }

    fn unexpected_tasks(&mut self, attempt: &Attempt, stage_id: i64, stage_attempt_id: i64, items: &[Value]) {
        let Some(table) = self.indexed.get(TASKS.table) else {
            return;
        };
        let Some(rows) = table.rows.get(&(attempt.app_id.as_str(), attempt.attempt_id.as_str())) else {
            return;
        };
        let answered: HashSet<String> = items.iter().map(|item| table.key_of(item)).collect();
        let in_stage = |row: &Row| row["stage_id"] == stage_id && row["stage_attempt_id"] == stage_attempt_id;
        let here: HashSet<&String> = rows
            .iter()
            .filter(|(_, row)| in_stage(row))
            .map(|(key, _)| key)
            .collect();
        let differing: BTreeSet<String> = answered
            .iter()
            .filter(|key| !here.contains(key))
            .chain(here.iter().copied().filter(|key| !answered.contains(*key)))
            .cloned()
            .collect();
        for key in differing {
            self.comparison.differ(TASKS.table, "(row)", || {
                format!(
                    "{} task {key}: table and Spark differ on whether it is of stage {stage_id}.{stage_attempt_id}",
                    show(attempt)
                )
            });
        }
    }

    /// One entity of an answer against its row.
    fn item(&mut self, entity: &'static Entity, attempt: &Attempt, item: &Value) {
        let Some(table) = self.indexed.get(entity.table) else {
            return;
        };
        self.comparison.attempts.insert(attempt.clone());
        let attempt_id = if entity.table == APPLICATIONS.table {
            ""
        } else {
            attempt.attempt_id.as_str()
        };
        let key = table.key_of(item);
        let row = table
            .rows
            .get(&(attempt.app_id.as_str(), attempt_id))
            .and_then(|rows| rows.get(&key));
        let Some(row) = row else {
            self.comparison.differ(entity.table, "(row)", || {
                format!("{} {key}: not in the table", show(attempt))
            });
            return;
        };
        let mut fields = BTreeMap::new();
        flatten("", item, &table.columns, &mut fields);
        let unfinished = self.unfinished.contains(attempt);
        for (path, expected) in &fields {
            if let Some(reason) = not_compared(entity, path, item, unfinished) {
                self.comparison.ignore(reason);
                continue;
            }
            let Some(column) = table.columns.get(path.as_str()) else {
                if is_distribution(path) {
                    self.comparison.ignore("distributions over tasks or executors");
                } else {
                    self.comparison.differ(entity.table, path, || {
                        format!(
                            "no column has this REST path; {} {key} has {}",
                            show(attempt),
                            short(expected)
                        )
                    });
                }
                continue;
            };
            let got = row.get(column.name);
            self.comparison.count(entity.table, column.name);
            if !got.is_some_and(|got| equal(column, path, Some(expected), got)) {
                self.comparison.differ(entity.table, column.name, || {
                    let got = got.map_or("no such column in the rows".to_owned(), short);
                    format!("{} {key}: expected {}, got {got}", show(attempt), short(expected))
                });
            }
        }
        // What REST leaves out has not happened: NULL.
        for (path, column) in &table.columns {
            if fields.contains_key(*path)
                || not_compared(entity, path, item, unfinished).is_some()
                || (entity.table == ATTEMPTS.table && *path == "name")
            {
                continue;
            }
            let got = row.get(column.name);
            self.comparison.count(entity.table, column.name);
            if !got.is_some_and(|got| equal(column, path, None, got)) {
                self.comparison.differ(entity.table, column.name, || {
                    let got = got.map_or("no such column in the rows".to_owned(), short);
                    format!("{} {key}: absent in Spark's answer, got {got}", show(attempt))
                });
            }
        }
    }

    fn properties(&mut self, attempt: &Attempt, answer: &Value) {
        self.comparison.attempts.insert(attempt.clone());
        let mut expected = Properties::new();
        for (name, value) in answer["runtime"].as_object().into_iter().flatten() {
            expected.add("runtime", name, value);
        }
        for (list, section) in SECTIONS {
            for pair in answer[*list].as_array().into_iter().flatten() {
                expected.add(section, pair[0].as_str().unwrap_or_default(), &pair[1]);
            }
        }
        let none = Properties::new();
        let got = self
            .environment
            .get(&(attempt.app_id.as_str(), attempt.attempt_id.as_str()))
            .unwrap_or(&none);
        let keys: BTreeSet<_> = expected.0.keys().chain(got.0.keys()).collect();
        for (section, name) in keys {
            let key = (section.clone(), name.clone());
            let (expected, got) = (expected.0.get(&key), got.0.get(&key));
            self.comparison.count(ENVIRONMENT, "value");
            if expected != got {
                self.comparison.differ(ENVIRONMENT, section, || {
                    format!("{} {name}: expected {expected:?}, got {got:?}", show(attempt))
                });
            }
        }
    }
}

/// Values by section and name; a class path may name a thing twice.
#[derive(Debug)]
struct Properties(BTreeMap<(String, String), Vec<String>>);

impl Properties {
    fn new() -> Self {
        Properties(BTreeMap::new())
    }

    fn add(&mut self, section: &str, name: &str, value: &Value) {
        // REST says `javaVersion` where the log says `Java Version` and a table may say `java_version`.
        let name = if section == "runtime" {
            name.to_lowercase().replace([' ', '_'], "")
        } else {
            name.to_owned()
        };
        let values = self.0.entry((section.to_owned(), name)).or_default();
        values.push(value.as_str().unwrap_or_default().to_owned());
        values.sort();
    }
}

fn environment_rows(rows: &[Row]) -> BTreeMap<(&str, &str), Properties> {
    let mut by_attempt = BTreeMap::new();
    for row in rows {
        let attempt = (field_text(row, "app_id"), field_text(row, "attempt_id"));
        let value = row.get("value").unwrap_or(&Value::Null);
        by_attempt.entry(attempt).or_insert_with(Properties::new).add(
            field_text(row, "section"),
            field_text(row, "name"),
            value,
        );
    }
    by_attempt
}

/// Attempts without an end, or with something still running in them.
fn unfinished(answers: &[Answer]) -> HashSet<Attempt> {
    let mut unfinished = HashSet::new();
    for answer in answers {
        let one = std::slice::from_ref(&answer.body);
        let items = answer.body.as_array().map_or(one, Vec::as_slice);
        match &answer.subject {
            Subject::Applications | Subject::Application | Subject::ApplicationAttempt => {
                for item in items {
                    for attempt in item["attempts"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter(|a| a["completed"] == false)
                    {
                        unfinished.insert(Attempt::new(field_of(item, "id"), field_of(attempt, "attemptId")));
                    }
                }
            }
            Subject::Jobs(attempt) if items.iter().any(|job| job["status"] == "RUNNING") => {
                unfinished.insert(attempt.clone());
            }
            _ => {}
        }
    }
    unfinished
}

/// Why a field is not compared, if it is not.
fn not_compared(entity: &Entity, path: &str, item: &Value, unfinished: bool) -> Option<&'static str> {
    if path.ends_with("Epoch") || TWINS.contains(&path) {
        return Some("twin of another field");
    }
    if NOT_OF_THE_LOG.contains(&path) {
        return Some("not of the log");
    }
    if path.starts_with("executorLogs") && entity.table == "tasks" {
        return Some("a copy of its executor's log URLs, which are in executors");
    }
    if path.starts_with("speculationSummary") && item.get("executorSummary").is_none() {
        return Some("only in answers with details");
    }
    let by_the_clock = match entity.table {
        "tasks" => path == "duration" && item["status"] == "RUNNING",
        "executors" => path == "totalDuration" && unfinished && item["id"] == "driver",
        "applications" | "application_attempts" => path == "duration" && unfinished,
        _ => false,
    };
    by_the_clock.then_some("Spark counts it up to the time of the answer")
}

fn is_distribution(path: &str) -> bool {
    DISTRIBUTIONS.iter().any(|w| {
        path.strip_prefix(w)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// A structure of REST with the names that SQL gives its fields: snake_case, the unit appended where the name lacks it. A field
/// that REST leaves out is null.
fn named_as_in_sql(ty: Type, value: &Value) -> Value {
    match (ty, value) {
        (Type::List(item), Value::Array(items)) => items.iter().map(|value| named_as_in_sql(*item, value)).collect(),
        (Type::Map(item), Value::Object(entries)) => entries
            .iter()
            .map(|(key, value)| (key.clone(), named_as_in_sql(*item, value)))
            .collect(),
        (Type::Struct(fields), Value::Object(object)) => {
            let mut named: Map<String, Value> = fields
                .iter()
                .map(|(name, _)| ((*name).to_owned(), Value::Null))
                .collect();
            for (name, value) in object {
                let snake = snake_case(name);
                let is_it = |field: &str| field == snake || field.strip_suffix("_bytes") == Some(&snake);
                match fields.iter().find(|(field, _)| is_it(field)) {
                    Some((field, ty)) => named.insert((*field).to_owned(), named_as_in_sql(*ty, value)),
                    // Without a field it stays a difference.
                    None => named.insert(name.clone(), value.clone()),
                };
            }
            Value::Object(named)
        }
        _ => value.clone(),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// An item of an answer with what it does not say itself.
fn placed<const N: usize>(item: &Value, place: [(&str, Value); N]) -> Value {
    let mut item = item.clone();
    for (field, value) in place {
        item[field] = value;
    }
    item
}

/// Scalars and lists by path; an object is taken apart unless a column holds it whole.
fn flatten(
    prefix: &str,
    value: &Value,
    columns: &HashMap<&'static str, &'static Column>,
    fields: &mut BTreeMap<String, Value>,
) {
    match value {
        Value::Object(object) if prefix.is_empty() || !columns.contains_key(prefix) => {
            // Nothing inside, nothing to compare: `"killedTasksSummary" : { }`.
            for (name, value) in object {
                let path = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                if path.starts_with('#') || ENTITIES_INSIDE.contains(&path.as_str()) {
                    continue;
                }
                flatten(&path, value, columns, fields);
            }
        }
        _ => {
            fields.insert(prefix.to_owned(), value.clone());
        }
    }
}

/// The rules of `docs/parity.md`. `expected` is `None` where REST leaves the field out.
fn equal(column: &Column, path: &str, expected: Option<&Value>, got: &Value) -> bool {
    let Some(expected) = expected else {
        // No attempt id is '' so that joins work.
        return got.is_null() || (!column.nullable && got == "");
    };
    if column.ty == Type::Timestamp {
        let expected = instant_ms(expected);
        return if got.is_null() {
            column.nullable && expected == Some(-1)
        } else {
            expected.is_some() && expected == instant_ms(got)
        };
    }
    if got.is_null() {
        let default = expected == 0 || expected == -1 || expected == "";
        return column.nullable && default;
    }
    match (&named_as_in_sql(column.ty, expected), got) {
        (Value::Number(expected), Value::Number(got)) => match (expected.as_i64(), got.as_i64()) {
            (Some(expected), Some(got)) => expected == got,
            _ => expected.as_f64() == got.as_f64(),
        },
        (Value::Array(expected), Value::Array(got)) if SETS.contains(&path) => {
            let sorted = |list: &[Value]| {
                let mut texts: Vec<String> = list.iter().map(shown).collect();
                texts.sort();
                texts
            };
            sorted(expected) == sorted(got)
        }
        (expected, got) => expected == got,
    }
}

/// `2015-02-03T16:42:40.000GMT` as REST writes it, `2015-02-03T16:42:40.000Z` as `sparkgate sql` does.
fn instant_ms(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    match text.strip_suffix("GMT") {
        Some(text) => Some(
            NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.3f")
                .ok()?
                .and_utc()
                .timestamp_millis(),
        ),
        None => Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()),
    }
}

fn field_text<'a>(row: &'a Row, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn field_of<'a>(item: &'a Value, field: &str) -> &'a str {
    item[field].as_str().unwrap_or_default()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn show(attempt: &Attempt) -> String {
    if attempt.attempt_id.is_empty() {
        attempt.app_id.clone()
    } else {
        format!("{}/{}", attempt.app_id, attempt.attempt_id)
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static APPLICATION: &[Column] = &[
        Column::new("app_id", Type::Text, "id", "", ""),
        Column::new("attempt_id", Type::Text, "attempts.attemptId", "", ""),
        Column::new("name", Type::Text, "name", "", ""),
        Column::new("start_time", Type::Timestamp, "attempts.startTime", "", ""),
        Column::null("end_time", Type::Timestamp, "attempts.endTime", "", ""),
        Column::null("duration_ms", Type::Int64, "attempts.duration", "", ""),
        Column::new("completed", Type::Bool, "attempts.completed", "", ""),
        Column::new("num_jobs", Type::Int64, "", "", ""),
    ];
    static JOB: &[Column] = &[
        Column::new("app_id", Type::Text, "", "", ""),
        Column::new("attempt_id", Type::Text, "", "", ""),
        Column::new("job_id", Type::Int32, "jobId", "", ""),
        Column::null("completion_time", Type::Timestamp, "completionTime", "", ""),
        Column::new("num_tasks", Type::Int32, "numTasks", "", ""),
        Column::null("num_seen", Type::Int32, "numSeen", "", ""),
        Column::new("stage_ids", Type::List(&Type::Int32), "stageIds", "", ""),
    ];
    static TASK: &[Column] = &[
        Column::new("task_id", Type::Int64, "taskId", "", ""),
        Column::new("stage_id", Type::Int32, "", "", ""),
        Column::new("stage_attempt_id", Type::Int32, "", "", ""),
        Column::null(
            "executor_run_time_ms",
            Type::Int64,
            "taskMetrics.executorRunTime",
            "",
            "",
        ),
        Column::null("duration_ms", Type::Int64, "duration", "", ""),
    ];
    static STAGE_EXECUTOR: &[Column] = &[
        Column::new("stage_id", Type::Int32, "stageId", "", ""),
        Column::new("stage_attempt_id", Type::Int32, "attemptId", "", ""),
        Column::new("succeeded_tasks", Type::Int32, "succeededTasks", "", ""),
    ];
    static RDD: &[Column] = &[
        Column::new("rdd_id", Type::Int32, "id", "", ""),
        Column::new("num_cached_partitions", Type::Int32, "numCachedPartitions", "", ""),
        Column::null(
            "data_distribution",
            Type::List(&Type::Struct(&[
                ("address", Type::Text),
                ("memory_used_bytes", Type::Int64),
                ("memory_remaining_bytes", Type::Int64),
                ("heap_bytes", Type::Int64),
            ])),
            "dataDistribution",
            "",
            "",
        ),
    ];
    static RDD_PARTITION: &[Column] = &[Column::new("block_name", Type::Text, "blockName", "", "")];
    static PLAIN: &[Column] = &[];

    fn definitions(table: &str) -> Option<&'static [Column]> {
        Some(match table {
            "applications" | "application_attempts" => APPLICATION,
            "jobs" => JOB,
            "tasks" => TASK,
            "stage_executors" => STAGE_EXECUTOR,
            "rdds" => RDD,
            "rdd_partitions" => RDD_PARTITION,
            _ => PLAIN,
        })
    }

    fn answer(subject: Subject, body: Value) -> Answer {
        Answer {
            path: String::new(),
            subject,
            complete: true,
            body,
        }
    }

    fn application_row(attempt_id: &str) -> Value {
        json!({"app_id": "a", "attempt_id": attempt_id, "name": "n", "start_time": "2026-11-21T06:00:00.000Z",
            "end_time": null, "duration_ms": null, "completed": false, "num_jobs": 1})
    }

    fn job_row() -> Value {
        json!({"app_id": "a", "attempt_id": "", "job_id": 7, "completion_time": "2026-11-21T06:00:01.500Z",
            "num_tasks": 3, "num_seen": null, "stage_ids": [1, 2]})
    }

    fn job() -> Value {
        json!({"jobId": 7, "completionTime": "2026-11-21T06:00:01.500GMT", "numTasks": 3, "numSeen": -1,
            "stageIds": [1, 2], "killedTasksSummary": {}})
    }

    fn tables(rows: &[(&str, Value)]) -> Tables {
        let mut tables = Tables::new();
        for (table, row) in rows {
            let row = row.as_object().expect("a row is an object").clone();
            tables.entry((*table).to_owned()).or_default().push(row);
        }
        tables
    }

    fn compare(answers: &[Answer], rows: &[(&str, Value)]) -> Comparison {
        let mut comparison = Comparison::run(answers, &tables(rows), &[], definitions);
        // These little fakes hold one table each.
        comparison
            .differences
            .retain(|_, d| !d.shown[0].starts_with("never compared"));
        comparison
    }

    fn jobs(body: Value) -> Answer {
        answer(Subject::Jobs(Attempt::new("a", "")), body)
    }

    #[test]
    fn equal_rows_are_counted_value_by_value() {
        let comparison = compare(&[jobs(json!([job()]))], &[("jobs", job_row())]);
        assert!(comparison.is_clean(), "{}", comparison.report());
        assert_eq!(comparison.compared.values().sum::<usize>(), 5);
        assert!(
            comparison
                .summary()
                .starts_with("5 values compared over 1 applications"),
            "{}",
            comparison.summary()
        );
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let mut wrong = job();
        wrong["numTasks"] = json!(4);
        wrong["completionTime"] = json!("2026-11-21T06:00:01.501GMT");
        wrong["stageIds"] = json!([2, 1]);
        wrong["numSeen"] = json!(2);
        wrong["brandNew"] = json!(true);
        let comparison = compare(&[jobs(json!([wrong]))], &[("jobs", job_row())]);
        let fields: Vec<_> = comparison.differences.keys().map(|(_, field)| field.as_str()).collect();
        assert_eq!(
            fields,
            ["brandNew", "completion_time", "num_seen", "num_tasks", "stage_ids"]
        );
        assert!(
            comparison.report().contains("a 7: expected 4, got 3"),
            "{}",
            comparison.report()
        );
    }

    #[test]
    fn rows_only_spark_has_and_rows_only_we_have_are_differences() {
        let mut other = job_row();
        other["job_id"] = json!(8);
        let comparison = compare(&[jobs(json!([job()]))], &[("jobs", other)]);
        let lines = &comparison.differences[&("jobs".to_owned(), "(row)".to_owned())].shown;
        assert_eq!(lines, &["a 7: not in the table", "a 8: not in Spark's answer"]);
    }

    #[test]
    fn null_stands_for_absence_and_for_defaults_of_nullable_columns_only() {
        let mut row = job_row();
        let mut absent = job();
        absent.as_object_mut().expect("an object").remove("completionTime");
        assert!(!compare(&[jobs(json!([absent]))], &[("jobs", row.clone())]).is_clean());
        row["completion_time"] = Value::Null;
        assert!(compare(&[jobs(json!([absent]))], &[("jobs", row.clone())]).is_clean());
        row["num_tasks"] = Value::Null;
        absent["numTasks"] = json!(0);
        assert!(!compare(&[jobs(json!([absent]))], &[("jobs", row)]).is_clean());
    }

    #[test]
    fn an_unfinished_application_has_no_end_and_applications_describe_the_newest_attempt() {
        let attempt = |id: &str, start: &str| {
            json!({"attemptId": id, "startTime": start, "endTime": "1969-12-31T23:59:59.999GMT", "duration": 0,
                "completed": false, "lastUpdated": "2026-11-21T06:00:09.000GMT", "startTimeEpoch": 1})
        };
        let list = json!([{"id": "a", "name": "n", "attempts": [
            attempt("2", "2026-11-21T06:00:00.000GMT"), attempt("1", "2026-11-21T05:00:00.000GMT")]}]);
        let mut first = application_row("1");
        first["start_time"] = json!("2026-11-21T05:00:00.000Z");
        first["name"] = json!("another name before");
        let rows = |application: Value| {
            [
                ("applications", application),
                ("application_attempts", application_row("2")),
                ("application_attempts", first.clone()),
            ]
        };
        let answers = [answer(Subject::Applications, list)];
        let comparison = compare(&answers, &rows(application_row("2")));
        assert!(comparison.is_clean(), "{}", comparison.report());
        assert!(!compare(&answers, &rows(first.clone())).is_clean());
    }

    #[test]
    fn tasks_must_be_in_the_stage_that_lists_them_and_a_running_one_has_no_duration() {
        let row = json!({"app_id": "a", "attempt_id": "", "task_id": 1, "stage_id": 0, "stage_attempt_id": 0,
            "executor_run_time_ms": null, "duration_ms": null});
        let list = json!([{"taskId": 1, "status": "RUNNING", "duration": 99}]);
        let stage = |id| answer(Subject::Tasks(Attempt::new("a", ""), id, 0), list.clone());
        let unmapped = |comparison: &Comparison| comparison.differences.keys().map(|k| k.1.clone()).collect::<Vec<_>>();
        assert_eq!(unmapped(&compare(&[stage(0)], &[("tasks", row.clone())])), ["status"]);
        assert_eq!(unmapped(&compare(&[stage(3)], &[("tasks", row)])), ["(row)", "status"]);
    }

    #[test]
    fn executors_of_a_stage_are_compared_where_the_answer_has_them_and_none_is_missing_or_too_many() {
        let row = |executor: &str, tasks: i32| {
            (
                "stage_executors",
                json!({"app_id": "a", "attempt_id": "", "stage_id": 3, "stage_attempt_id": 0,
                "executor_id": executor, "succeeded_tasks": tasks}),
            )
        };
        let stage = json!({"stageId": 3, "attemptId": 0, "executorSummary": {"1": {"succeededTasks": 2, "isBlacklistedForStage": false}}});
        let answers = [answer(Subject::Stages(Attempt::new("a", "")), stage)];
        let lines = |rows: &[(&str, Value)]| -> Vec<String> {
            let comparison = compare(&answers, rows);
            let of_executors = comparison
                .differences
                .iter()
                .filter(|((table, _), _)| table == "stage_executors");
            of_executors.flat_map(|(_, d)| d.shown.clone()).collect()
        };
        assert!(lines(&[row("1", 2)]).is_empty());
        assert_eq!(lines(&[row("1", 3)]), ["a 3/0/1: expected 2, got 3"]);
        assert_eq!(
            lines(&[row("2", 2)]),
            ["a 3/0/1: not in the table", "a 3/0/2: not in Spark's answer"]
        );
    }

    #[test]
    fn partitions_are_compared_by_place_and_structures_by_the_names_of_sql() {
        let rdd = |remaining: i64| {
            (
                "rdds",
                json!({"app_id": "a", "attempt_id": "", "rdd_id": 1, "num_cached_partitions": 1,
                "data_distribution": [{"address": "h:1", "memory_used_bytes": 5, "memory_remaining_bytes": remaining, "heap_bytes": null}]}),
            )
        };
        let partition = |position: i32| {
            (
                "rdd_partitions",
                json!({"app_id": "a", "attempt_id": "", "rdd_id": 1, "position": position, "block_name": "rdd_1_7"}),
            )
        };
        let list = json!([{"id": 1, "numCachedPartitions": 1, "dataDistribution": [{"address": "h:1", "memoryUsed": 5, "memoryRemaining": 6}],
            "partitions": [{"blockName": "rdd_1_7"}]}]);
        let answers = [answer(Subject::Rdds(Attempt::new("a", "")), list)];
        let clean = compare(&answers, &[rdd(6), partition(0)]);
        assert!(clean.is_clean(), "{}", clean.report());
        let fields = |rows: &[(&str, Value)]| {
            compare(&answers, rows)
                .differences
                .keys()
                .map(|(_, field)| field.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(fields(&[rdd(7), partition(0)]), ["data_distribution"]);
        assert_eq!(fields(&[rdd(6), partition(1)]), ["(row)"]);
        assert_eq!(fields(&[rdd(6), partition(0), partition(1)]), ["(row)"]);
    }

    #[test]
    fn environments_are_compared_as_bags_of_properties() {
        let body = json!({"runtime": {"javaVersion": "17"}, "sparkProperties": [["k", "v"]], "classpathEntries": [["j", "System"]]});
        let row = |section: &str, name: &str, value: &str| {
            (
                "environment",
                json!({"app_id": "a", "attempt_id": "", "section": section, "name": name, "value": value}),
            )
        };
        let answers = [answer(Subject::Environment(Attempt::new("a", "")), body)];
        let rows = [
            row("runtime", "java_version", "17"),
            row("spark", "k", "v"),
            row("classpath", "j", "System"),
        ];
        assert!(compare(&answers, &rows).is_clean());
        let comparison = compare(
            &answers,
            &[rows[0].clone(), row("spark", "k", "w"), row("spark", "x", "y")],
        );
        let counts: Vec<_> = comparison
            .differences
            .iter()
            .map(|((_, section), d)| (section.as_str(), d.count))
            .collect();
        assert_eq!(counts, [("classpath", 1), ("spark", 2)]);
    }

    #[test]
    fn what_was_never_compared_is_a_failure() {
        let comparison = Comparison::run(&[], &Tables::new(), &[], definitions);
        assert!(
            comparison
                .report()
                .contains("jobs.num_tasks: 1 different\n    never compared"),
            "{}",
            comparison.report()
        );
    }

    #[test]
    fn only_the_first_differences_of_a_field_are_shown() {
        let many: Vec<Value> = (0..30).map(|id| json!({"jobId": id})).collect();
        let comparison = compare(&[jobs(json!(many))], &[]);
        assert!(comparison.report().contains("… and 10 more"), "{}", comparison.report());
    }
}
