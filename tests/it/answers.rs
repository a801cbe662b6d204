//! What Spark's history server said: recorded answers (`make/rest_diff.py --record`) and the conformance suite's files,
//! each sorted by what it is about. Only answers that describe entities are kept; filters and errors are REST's matter.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

/// An attempt of an application, as REST paths name it; `attempt_id` is `''` where Spark has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Attempt {
    pub(crate) app_id: String,
    pub(crate) attempt_id: String,
}

impl Attempt {
    pub(crate) fn new(app_id: &str, attempt_id: &str) -> Self {
        Attempt {
            app_id: app_id.to_owned(),
            attempt_id: attempt_id.to_owned(),
        }
    }
}

/// What an answer describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Applications,
    /// One application with all its attempts.
    Application,
    /// One application with one of its attempts.
    ApplicationAttempt,
    Jobs(Attempt),
    Stages(Attempt),
    /// Tasks of a stage attempt.
    Tasks(Attempt, i64, i64),
    Executors(Attempt),
    Processes(Attempt),
    /// RDDs with their partitions; a list has those with cached partitions only.
    Rdds(Attempt),
    Environment(Attempt),
}

/// One answer of status 200.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) path: String,
    pub(crate) subject: Subject,
    /// Nothing is left out: a row that is not in the answer must not be in the table.
    pub(crate) complete: bool,
    pub(crate) body: Value,
}

/// Recorded answers of a server, without those about an application that `leave_out` names.
///
/// Only complete ones, and those about one application, RDD or stage with details: the filtered ones show the same again.
pub(crate) fn recorded(file: &Path, leave_out: &[&str]) -> Vec<Answer> {
    let packed = std::fs::File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let unpacked = BufReader::new(flate2::read::GzDecoder::new(packed));
    let lines: Vec<String> = unpacked
        .lines()
        .map(|line| line.expect("the recording is whole"))
        .collect();
    let record = |line: &str| -> Value { serde_json::from_str(line).expect("a recorded answer is JSON") };
    let mut answers = HashMap::new();
    for (number, line) in lines.iter().enumerate() {
        if !WANTED_KINDS
            .iter()
            .any(|kind| line.starts_with(&format!("{{\"kind\": \"{kind}\", \"method\": \"GET\"")))
        {
            continue;
        }
        let recorded = record(line);
        let path = recorded["path"].as_str().expect("an answer has its path");
        if recorded["a"]["status"] != 200 || leave_out.iter().any(|app| path.contains(app)) {
            continue;
        }
        let Some((subject, complete)) = classify(path) else {
            continue;
        };
        let shown_again = match subject {
            Subject::Application | Subject::ApplicationAttempt | Subject::Rdds(_) => false,
            Subject::Stages(_) => !path.ends_with("?details=true"),
            _ => true,
        };
        if !complete && shown_again {
            continue;
        }
        // The recorder writes a long text once, and then only says in which line it stands.
        let first = recorded["a"]["same"].as_u64().map(|line| record(&lines[line as usize]));
        let text = first.as_ref().unwrap_or(&recorded)["a"]["text"]
            .as_str()
            .expect("a JSON answer has a text");
        let body: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("answer {number}, {path}: {e}"));
        let body = match subject {
            Subject::Applications => without_applications(body, leave_out),
            _ => body,
        };
        answers.insert(
            path.to_owned(),
            Answer {
                path: path.to_owned(),
                subject,
                complete,
                body,
            },
        );
    }
    let mut answers: Vec<Answer> = answers.into_values().collect();
    answers.sort_by(|a, b| a.path.cmp(&b.path));
    answers
}

/// An answer that a test got itself; `None` for what is not about entities.
pub(crate) fn answered(path: &str, body: Value) -> Option<Answer> {
    let (subject, complete) = classify(path)?;
    Some(Answer {
        path: path.to_owned(),
        subject,
        complete,
        body,
    })
}

/// The recorder's kinds that describe entities as a whole.
const WANTED_KINDS: &[&str] = &[
    "applications",
    "app",
    "app attempt",
    "jobs",
    "stages",
    "stages details",
    "stage details",
    "stage attempt details",
    "taskList window",
    "taskList all",
    "allexecutors",
    "allmiscellaneousprocess",
    "storage/rdd",
    "storage/rdd/N",
    "environment",
];

fn without_applications(body: Value, leave_out: &[&str]) -> Value {
    let Value::Array(applications) = body else { return body };
    let keep = |app: &Value| {
        !leave_out
            .iter()
            .any(|id| app["id"].as_str().is_some_and(|app| app.contains(id)))
    };
    applications.into_iter().filter(keep).collect()
}

/// The cases of Spark's own suite that describe entities (`cases.json` and the expectations it names).
pub(crate) fn conformance(suite: &Path) -> Vec<Answer> {
    let read = |path: &Path| -> Value {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let cases = read(&suite.join("cases.json"));
    let mut answers = Vec::new();
    for case in cases.as_array().expect("cases are a list") {
        let (Some(path), Some(file)) = (case["path"].as_str(), case["expected"].as_str()) else {
            continue;
        };
        if case["group"] != "golden" {
            continue;
        }
        if let Some((subject, complete)) = classify(path) {
            let body = read(&suite.join("expected").join(file));
            answers.push(Answer {
                path: path.to_owned(),
                subject,
                complete,
                body,
            });
        }
    }
    answers
}

/// What a path below `/api/v1/` asks for, and whether its answer leaves nothing out; `None` for what is not about entities.
fn classify(path: &str) -> Option<(Subject, bool)> {
    let (path, parameters) = path.split_once('?').unwrap_or((path, ""));
    let segments: Vec<String> = path.trim_end_matches('/').split('/').map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let all = parameters.is_empty();
    let (app, rest) = match segments.as_slice() {
        ["applications"] => return Some((Subject::Applications, all)),
        ["applications", _] => return Some((Subject::Application, true)),
        ["applications", app, rest @ ..] => (app, rest),
        _ => return None,
    };
    let (attempt_id, resource) = match rest {
        [attempt, resource @ ..] if attempt.bytes().all(|b| b.is_ascii_digit()) => (*attempt, resource),
        resource => ("", resource),
    };
    let attempt = Attempt::new(app, attempt_id);
    let number = |text: &str| text.parse::<i64>().ok();
    Some(match resource {
        [] => (Subject::ApplicationAttempt, true),
        ["jobs"] => (Subject::Jobs(attempt), all),
        ["jobs", id] if number(id).is_some() => (Subject::Jobs(attempt), false),
        ["stages"] => (Subject::Stages(attempt), all || parameters == "details=true"),
        ["stages", id] | ["stages", id, _] if number(id).is_some() => (Subject::Stages(attempt), false),
        ["stages", id, stage_attempt, "taskList"] => (
            Subject::Tasks(attempt, number(id)?, number(stage_attempt)?),
            parameters == "length=100000",
        ),
        ["allexecutors"] => (Subject::Executors(attempt), all),
        ["executors"] => (Subject::Executors(attempt), false),
        ["allmiscellaneousprocess"] => (Subject::Processes(attempt), all),
        ["storage", "rdd"] => (Subject::Rdds(attempt), all),
        ["storage", "rdd", id] if number(id).is_some() => (Subject::Rdds(attempt), false),
        ["environment"] => (Subject::Environment(attempt), true),
        _ => return None,
    })
}

/// A path segment without its percent signs; `+` stands for itself there.
pub(crate) fn decoded(segment: &str) -> String {
    let pair = format!("s={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_its_answer_is_about() {
        let app = || Attempt::new("local-1", "");
        assert_eq!(classify("applications"), Some((Subject::Applications, true)));
        assert_eq!(classify("applications?limit=3"), Some((Subject::Applications, false)));
        assert_eq!(classify("applications/local-1"), Some((Subject::Application, true)));
        assert_eq!(
            classify("applications/app_7/2"),
            Some((Subject::ApplicationAttempt, true))
        );
        assert_eq!(
            classify("applications/local-1/jobs"),
            Some((Subject::Jobs(app()), true))
        );
        assert_eq!(
            classify("applications/app_7/2/jobs/0"),
            Some((Subject::Jobs(Attempt::new("app_7", "2")), false))
        );
        assert_eq!(
            classify("applications/local-1/stages/3/1/taskList?length=100000"),
            Some((Subject::Tasks(app(), 3, 1), true))
        );
        assert_eq!(
            classify("applications/a%3Ab/stages/3/1/taskList?offset=1"),
            Some((Subject::Tasks(Attempt::new("a:b", ""), 3, 1), false))
        );
        assert_eq!(
            classify("applications/local-1/stages?details=true"),
            Some((Subject::Stages(app()), true))
        );
        assert_eq!(
            classify("applications/local-1/storage/rdd"),
            Some((Subject::Rdds(app()), true))
        );
        assert_eq!(
            classify("applications/local-1/storage/rdd/7"),
            Some((Subject::Rdds(app()), false))
        );
        assert_eq!(classify("applications/local-1/stages/3/1/taskSummary"), None);
        assert_eq!(classify("applications/local-1/logs"), None);
        assert_eq!(classify("version"), None);
    }
}
