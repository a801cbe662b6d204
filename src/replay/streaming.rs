//! Structured streaming: runs of queries and their progress (Spark's `StreamingQueryStatusListener` and its pages).
//!
//! Spark keeps the newest progress of a run and forgets the rest; here all of it stays. A run whose start the log lacks, which
//! Spark's page leaves out, is shown as far as other events tell of it, so that every batch has a query.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::streaming::{
    Json, Long, Longs, Progress, QueryStarted, QueryTerminated, Rate, Source, StateOperator, StreamingEvent, Texts,
};
use crate::table::{Rows, Value};

/// The streaming queries of an application attempt.
#[derive(Debug, Default)]
pub(super) struct StreamingQueries {
    /// By run.
    queries: BTreeMap<Arc<str>, Query>,
    batches: BTreeMap<BatchKey, Progress>,
}

/// Spark's `StreamingQueryData`.
#[derive(Debug, Default)]
struct Query {
    query_id: String,
    name: Option<String>,
    start_time: Option<i64>,
    latest_idle_time: Option<i64>,
    job_tags: Option<BTreeSet<String>>,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    exception: Option<String>,
    error_class: Option<String>,
}

/// What tells progress apart for Spark, in the order of its pages.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BatchKey {
    run_id: Arc<str>,
    /// When the trigger began.
    time: i64,
    batch_id: i64,
}

/// What Spark's page computes from the progress of a run.
#[derive(Debug, Default)]
struct Totals {
    updates: i64,
    batch_ids: BTreeSet<i64>,
    /// Time and batch of the newest.
    latest: Option<(i64, i64)>,
    input_rows: i64,
    input_rate: f64,
    processed_rate: f64,
}

impl StreamingQueries {
    pub(super) fn apply(&mut self, event: StreamingEvent) {
        match event {
            StreamingEvent::Started(event) => self.started(event),
            StreamingEvent::Progress(progress) => self.progress(*progress),
            StreamingEvent::Idle(event) => {
                let (_, query) = self.query(&event.run_id, &event.id);
                query.latest_idle_time = query.latest_idle_time.max(Some(event.timestamp.0));
            }
            StreamingEvent::Terminated(event) => self.terminated(event),
        }
    }

    /// The run, whatever told of it first.
    fn query(&mut self, run_id: &str, query_id: &str) -> (Arc<str>, &mut Query) {
        let run_id = match self.queries.get_key_value(run_id) {
            Some((run_id, _)) => Arc::clone(run_id),
            None => Arc::from(run_id),
        };
        let query = self.queries.entry(Arc::clone(&run_id)).or_insert_with(|| Query {
            query_id: query_id.to_owned(),
            ..Query::default()
        });
        (run_id, query)
    }

    fn started(&mut self, event: QueryStarted) {
        let (_, query) = self.query(&event.run_id, &event.id);
        *query = Query {
            query_id: event.id,
            name: event.name,
            start_time: event.timestamp.map(|instant| instant.0),
            latest_idle_time: query.latest_idle_time,
            job_tags: event.job_tags.map(BTreeSet::from_iter),
            end: None,
        };
    }

    fn progress(&mut self, progress: Progress) {
        let (run_id, query) = self.query(&progress.run_id, &progress.id);
        if query.name.is_none() {
            query.name.clone_from(&progress.name);
        }
        let key = BatchKey {
            run_id,
            time: progress.timestamp.0,
            batch_id: progress.batch_id,
        };
        self.batches.insert(key, progress);
    }

    fn terminated(&mut self, event: QueryTerminated) {
        let (_, query) = self.query(&event.run_id, &event.id);
        query.end = Some(End {
            exception: event.exception,
            error_class: event.error_class,
        });
    }

    pub(super) fn push_queries(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        let mut totals: BTreeMap<&str, Totals> = BTreeMap::new();
        for (key, progress) in &self.batches {
            totals.entry(&key.run_id).or_default().add(key, progress);
        }
        for (run_id, query) in &self.queries {
            rows.push(app_id).push(attempt_id).push(&**run_id);
            query.push_rest(&totals.remove(&**run_id).unwrap_or_default(), rows);
        }
    }

    pub(super) fn push_batches(&self, app_id: &str, attempt_id: &str, rows: &mut Rows) {
        for (key, progress) in &self.batches {
            rows.push(app_id).push(attempt_id).push(&*key.run_id);
            push_progress(progress, rows);
        }
    }
}

impl Totals {
    /// In the order of time: sums of fractions depend on it.
    fn add(&mut self, key: &BatchKey, progress: &Progress) {
        let finite = |rate: Option<f64>| rate.filter(|rate| rate.is_finite()).unwrap_or(0.0);
        self.updates += 1;
        self.batch_ids.insert(key.batch_id);
        self.latest = Some((key.time, key.batch_id));
        self.input_rows = self.input_rows.wrapping_add(input_rows(progress).unwrap_or(0));
        self.input_rate += finite(input_rate(progress));
        self.processed_rate += finite(processed_rate(progress));
    }

    #[allow(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    fn average(&self, sum: f64) -> Option<f64> {
        (self.updates > 0).then(|| sum / self.updates as f64)
    }
}

impl Query {
    fn status(&self) -> &'static str {
        match &self.end {
            None => "RUNNING",
            Some(End { exception: Some(_), .. }) => "FAILED",
            Some(End { exception: None, .. }) => "FINISHED",
        }
    }

    /// The cells after the key.
    fn push_rest(&self, totals: &Totals, rows: &mut Rows) {
        let latest_time = totals.latest.map(|(time, _)| time);
        let end_time = self.end.as_ref().and(latest_time);
        let duration = end_time
            .zip(self.start_time)
            .map(|(end, start)| end.wrapping_sub(start));
        rows.push(&self.query_id)
            .push(self.name.as_ref())
            .push(self.status())
            .push(self.end.is_none());
        rows.push(Value::millis(self.start_time))
            .push(Value::millis(end_time))
            .push(duration);
        rows.push(self.end.as_ref().and_then(|end| end.exception.as_ref()))
            .push(self.end.as_ref().and_then(|end| end.error_class.as_ref()));
        rows.push(i64::try_from(totals.batch_ids.len()).expect("far fewer"))
            .push(totals.updates)
            .push(totals.latest.map(|(_, batch_id)| batch_id));
        rows.push(totals.input_rows)
            .push(float(totals.average(totals.input_rate)))
            .push(float(totals.average(totals.processed_rate)));
        rows.push(Value::millis(latest_time))
            .push(Value::millis(self.latest_idle_time))
            .push(self.job_tags.as_ref().map_or(Value::Null, Value::list));
        rows.end_row();
    }
}

/// The cells after the run.
fn push_progress(progress: &Progress, rows: &mut Rows) {
    let phase = |name: &str| {
        let durations = progress.duration_ms.as_ref();
        long(durations.and_then(|phases| phases.get(name).copied().flatten()))
    };
    rows.push(&progress.id)
        .push(progress.name.as_ref())
        .push(progress.batch_id);
    rows.push(Value::Millis(progress.timestamp.0))
        .push(long(progress.batch_duration));
    rows.push(input_rows(progress))
        .push(float(input_rate(progress)))
        .push(float(processed_rate(progress)));
    rows.push(phase("triggerExecution"))
        .push(phase("latestOffset"))
        .push(phase("walCommit"))
        .push(phase("getBatch"));
    rows.push(phase("queryPlanning"))
        .push(phase("addBatch"))
        .push(phase("commitOffsets"));
    rows.push(longs(progress.duration_ms.as_ref()));
    let event_time = progress.event_time.as_ref();
    rows.push(Value::millis(event_time.and_then(|times| times.min)))
        .push(Value::millis(event_time.and_then(|times| times.max)))
        .push(Value::millis(event_time.and_then(|times| times.avg)))
        .push(Value::millis(event_time.and_then(|times| times.watermark)));
    rows.push(progress.state_operators.as_ref().map_or(Value::Null, |operators| {
        Value::List(operators.iter().map(state_operator).collect())
    }));
    rows.push(
        progress
            .sources
            .as_ref()
            .map_or(Value::Null, |sources| Value::List(sources.iter().map(source).collect())),
    );
    let sink = progress.sink.as_ref();
    let counted = |rows: &Long| rows.0 != -1;
    rows.push(sink.and_then(|sink| sink.description.as_ref()))
        .push(long(sink.and_then(|sink| sink.num_output_rows.filter(counted))))
        .push(texts(sink.and_then(|sink| sink.metrics.as_ref())));
    rows.push(json(progress.observed_metrics.as_ref()));
    rows.end_row();
}

fn state_operator(operator: &StateOperator) -> Value<'_> {
    Value::Struct(vec![
        operator.operator_name.as_ref().into(),
        long(operator.num_rows_total),
        long(operator.num_rows_updated),
        long(operator.all_updates_time_ms),
        long(operator.num_rows_removed),
        long(operator.all_removals_time_ms),
        long(operator.commit_time_ms),
        long(operator.memory_used_bytes),
        long(operator.num_rows_dropped_by_watermark),
        long(operator.num_shuffle_partitions),
        long(operator.num_state_store_instances),
        longs(operator.custom_metrics.as_ref()),
    ])
}

fn source(source: &Source) -> Value<'_> {
    Value::Struct(vec![
        source.description.as_ref().into(),
        json(source.start_offset.as_ref()),
        json(source.end_offset.as_ref()),
        json(source.latest_offset.as_ref()),
        long(source.num_input_rows),
        float(source.input_rows_per_second.map(|rate| rate.0)),
        float(source.processed_rows_per_second.map(|rate| rate.0)),
        texts(source.metrics.as_ref()),
    ])
}

fn input_rows(progress: &Progress) -> Option<i64> {
    let counts = progress.sources.as_ref()?.iter();
    let counts = counts.filter_map(|source| source.num_input_rows);
    Some(counts.fold(0, |sum, count| i64::wrapping_add(sum, count.0)))
}

fn input_rate(progress: &Progress) -> Option<f64> {
    rate(progress, |source| source.input_rows_per_second)
}

fn processed_rate(progress: &Progress) -> Option<f64> {
    rate(progress, |source| source.processed_rows_per_second)
}

/// The sum over the sources, as Spark adds them: one that is no number makes the sum none.
fn rate(progress: &Progress, of: impl Fn(&Source) -> Option<Rate>) -> Option<f64> {
    let rates = progress.sources.as_ref()?.iter().filter_map(of);
    Some(rates.fold(0.0, |sum, rate| sum + rate.0))
}

fn long(number: Option<Long>) -> Value<'static> {
    number.map(|number| number.0).into()
}

/// A rate that is no number (nothing in no time) is not known.
fn float(number: Option<f64>) -> Value<'static> {
    number
        .filter(|number| number.is_finite())
        .map_or(Value::Null, Value::Float)
}

fn longs(numbers: Option<&Longs>) -> Value<'_> {
    numbers.map_or(Value::Null, |numbers| {
        let entries = numbers.iter().map(|(name, number)| (name.as_str(), long(*number)));
        Value::map(entries)
    })
}

fn texts(texts: Option<&Texts>) -> Value<'_> {
    texts.map_or(Value::Null, |texts| {
        Value::map(texts.iter().map(|(name, text)| (name.as_str(), text.as_ref())))
    })
}

fn json(json: Option<&Json>) -> Value<'_> {
    json.map(|json| json.0.as_str()).into()
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;
    use crate::replay::LiveApplication;
    use crate::table::{STREAMING_BATCHES, STREAMING_QUERIES, TableDef};

    fn event(name: &str, rest: &str) -> String {
        format!(r#"{{"Event":"org.apache.spark.sql.streaming.StreamingQueryListener$Query{name}Event",{rest}}}"#)
    }

    fn started(run: &str, second: u32) -> String {
        let rest = format!(
            r#""id":"q","runId":"{run}","name":"n","timestamp":"1970-01-01T00:00:{second:02}.000Z","jobTags":["b","a","b"]"#
        );
        event("Started", &rest)
    }

    fn progress(run: &str, second: u32, batch_id: i64, (rows, rate): (i64, &str)) -> String {
        let rest = format!(
            r#""progress":{{"id":"q","runId":"{run}","name":"p","timestamp":"1970-01-01T00:00:{second:02}.000Z","batchId":{batch_id},"sources":[{{"description":"s","numInputRows":{rows},"inputRowsPerSecond":{rate},"processedRowsPerSecond":1.5}}]}}"#
        );
        event("Progress", &rest)
    }

    fn terminated(run: &str, exception: &str) -> String {
        let rest = format!(r#""id":"q","runId":"{run}","exception":{exception},"errorClassOnException":null"#);
        event("Terminated", &rest)
    }

    fn replayed(lines: &[String]) -> LiveApplication {
        let mut live = LiveApplication::new();
        lines.iter().for_each(|line| live.apply_line(line.as_bytes()));
        assert_eq!(live.report().problems, []);
        live
    }

    /// The rows of a table as text, cells without their padding, of the columns named.
    fn rows(def: &'static TableDef, columns: &[&str], push: impl Fn(&mut Rows)) -> Vec<String> {
        let mut rows = Rows::new(def, 0);
        push(&mut rows);
        let batch = rows.finish();
        let at: Vec<usize> = columns
            .iter()
            .map(|name| batch.schema().index_of(name).expect("a column"))
            .collect();
        let batch = batch.project(&at).expect("columns of the batch");
        let text = pretty_format_batches(&[batch]).expect("text").to_string();
        let cells = |line: &str| {
            let cells = line.trim_matches('|').split('|').map(str::trim);
            cells.collect::<Vec<_>>().join(",")
        };
        let lines: Vec<String> = text.lines().filter(|line| line.starts_with("| ")).map(cells).collect();
        lines[1..].to_vec()
    }

    fn queries(live: &LiveApplication, columns: &[&str]) -> Vec<String> {
        rows(&STREAMING_QUERIES, columns, |rows| {
            live.streaming.push_queries("a", "", rows)
        })
    }

    fn batches(live: &LiveApplication, columns: &[&str]) -> Vec<String> {
        rows(&STREAMING_BATCHES, columns, |rows| {
            live.streaming.push_batches("a", "", rows)
        })
    }

    const STATE: [&str; 6] = ["run_id", "status", "is_active", "start_time", "end_time", "duration_ms"];

    #[test]
    fn a_run_ends_with_its_last_trigger_as_on_sparks_page() {
        let mut lines = vec![started("r", 1), progress("r", 5, 0, (1, "1.0"))];
        assert_eq!(
            queries(&replayed(&lines), &STATE),
            ["r,RUNNING,true,1970-01-01T00:00:01Z,,"]
        );
        lines.extend([progress("r", 9, 1, (1, "1.0")), terminated("r", "null")]);
        assert_eq!(
            queries(&replayed(&lines), &STATE),
            ["r,FINISHED,false,1970-01-01T00:00:01Z,1970-01-01T00:00:09Z,8000"]
        );
        let failed = [started("r", 1), terminated("r", "\"boom\"")];
        assert_eq!(
            queries(&replayed(&failed), &STATE),
            ["r,FAILED,false,1970-01-01T00:00:01Z,,"],
            "without progress Spark knows no end"
        );
        assert_eq!(queries(&replayed(&failed), &["exception", "job_tags"]), ["boom,[a, b]"]);
    }

    #[test]
    fn averages_take_every_trigger_and_no_number_as_nothing() {
        let lines = [
            started("r", 1),
            progress("r", 2, 0, (5, "\"Infinity\"")),
            progress("r", 3, 1, (7, "3.0")),
            progress("r", 4, 1, (0, "\"NaN\"")),
            progress("r", 5, 1, (0, "1.0")),
            started("without", 1),
        ];
        let live = replayed(&lines);
        let totals = [
            "run_id",
            "num_batches",
            "num_progress_updates",
            "latest_batch_id",
            "num_input_rows",
            "input_rows_per_second",
            "processed_rows_per_second",
        ];
        assert_eq!(queries(&live, &totals), ["r,2,4,1,12,1.0,1.5", "without,0,0,,0,,"]);
        let rates = batches(&live, &["batch_id", "num_input_rows", "input_rows_per_second"]);
        assert_eq!(rates, ["0,5,", "1,7,3.0", "1,0,", "1,0,1.0"]);
    }

    #[test]
    fn progress_counts_in_the_order_of_time_and_the_later_of_two_with_one_key_holds() {
        let lines = [
            started("r", 1),
            progress("r", 5, 1, (1, "1.0")),
            progress("r", 2, 0, (2, "1.0")),
            progress("r", 5, 1, (4, "1.0")),
            terminated("r", "null"),
            progress("r", 7, 2, (8, "1.0")),
        ];
        let live = replayed(&lines);
        assert_eq!(batches(&live, &["batch_id", "num_input_rows"]), ["0,2", "1,4", "2,8"]);
        assert_eq!(
            queries(&live, &["num_input_rows", "latest_batch_id", "duration_ms"]),
            ["14,2,6000"],
            "Spark's page also takes progress that comes after the end"
        );
    }

    #[test]
    fn a_run_without_its_start_is_shown_with_what_is_known() {
        let idle = event("Idle", r#""id":"q","runId":"i","timestamp":"1970-01-01T00:00:03.000Z""#);
        let lines = [progress("p", 5, 1, (1, "1.0")), terminated("t", "\"boom\""), idle];
        let live = replayed(&lines);
        let columns = ["run_id", "query_id", "name", "status", "start_time", "latest_idle_time"];
        assert_eq!(
            queries(&live, &columns),
            ["i,q,,RUNNING,,1970-01-01T00:00:03Z", "p,q,p,RUNNING,,", "t,q,,FAILED,,"]
        );
        let live = replayed(&[lines.to_vec(), vec![started("t", 1), started("i", 1)]].concat());
        assert_eq!(
            queries(&live, &columns),
            [
                "i,q,n,RUNNING,1970-01-01T00:00:01Z,1970-01-01T00:00:03Z",
                "p,q,p,RUNNING,,",
                "t,q,n,RUNNING,1970-01-01T00:00:01Z,"
            ],
            "a start begins anew, as with Spark"
        );
    }

    #[test]
    fn an_event_that_cannot_be_read_is_a_problem_of_its_line() {
        let mut live = LiveApplication::new();
        live.apply_line(started("r", 1).as_bytes());
        live.apply_line(event("Terminated", r#""id":"q""#).as_bytes());
        let report = live.report();
        assert_eq!((report.events, report.malformed_lines), (1, 1));
        let problem = report.problems[0].to_string();
        assert!(
            problem.starts_with("line 2: cannot read org.apache.spark.sql.streaming")
                && problem.contains("missing field `runId`"),
            "{problem}"
        );
    }

    #[test]
    fn rates_stay_fractions_in_a_line_that_is_read_as_jackson_reads_it() {
        let doubled = progress("r", 2, 0, (5, "2.5")).replace("\"batchId\":0", "\"batchId\":9,\"batchId\":0");
        let live = replayed(&[doubled]);
        assert_eq!(batches(&live, &["batch_id", "input_rows_per_second"]), ["0,2.5"]);
    }
}
