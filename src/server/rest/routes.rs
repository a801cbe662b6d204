//! Which resource a path is, as Jersey finds it in Spark's classes, including where it stops looking.

use axum::http::header::{ALLOW, HOST, LAST_MODIFIED};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::answer::{Failure, respond};
use super::request::{Request, decoded};

/// A resource and whom it is about.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) endpoint: Endpoint,
    /// `''` for what is about no application.
    pub(super) app_id: String,
    pub(super) attempt_id: Option<String>,
    /// `''` but for [`Endpoint::ExecutorThreads`].
    pub(super) executor_id: String,
}

/// A number in a path that Java cannot hold is found out only when the resource is called.
pub(super) type Number<T> = Result<T, OutOfRange>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutOfRange;

impl From<OutOfRange> for Failure {
    fn from(_: OutOfRange) -> Self {
        Failure::NO_RESOURCE
    }
}

/// A stage and its attempt.
pub(super) type StageKey = (i32, i32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Version,
    Applications,
    Application,
    ApplicationAttempt,
    Jobs,
    Job(Number<i32>),
    Executors,
    AllExecutors,
    ExecutorThreads,
    Threads,
    MiscellaneousProcesses,
    Stages,
    Stage(Number<i32>),
    StageAttempt(Number<StageKey>),
    TaskSummary(Number<StageKey>),
    TaskList(Number<StageKey>),
    TaskTable(Number<StageKey>),
    Rdds,
    Rdd(Number<i32>),
    Environment,
    Logs,
    SqlExecutions,
    SqlExecution(Number<i64>),
    /// All of them answer alike from history.
    Streaming,
}

impl Endpoint {
    pub(super) fn produces(self) -> &'static str {
        match self {
            Endpoint::Logs => "application/octet-stream",
            _ => "application/json",
        }
    }

    /// The method of Spark's class that answers.
    fn method_id(self) -> &'static str {
        match self {
            Endpoint::Version => "version",
            Endpoint::Applications => "appList",
            Endpoint::Application => "getApp",
            Endpoint::ApplicationAttempt => "getAttempt",
            Endpoint::Jobs => "jobsList",
            Endpoint::Job(_) => "oneJob",
            Endpoint::Executors => "executorList",
            Endpoint::AllExecutors => "allExecutorList",
            Endpoint::ExecutorThreads => "threadDump",
            Endpoint::Threads => "getTaskThreadDump",
            Endpoint::MiscellaneousProcesses => "allProcessList",
            Endpoint::Stages => "stageList",
            Endpoint::Stage(_) => "stageData",
            Endpoint::StageAttempt(_) => "oneAttemptData",
            Endpoint::TaskSummary(_) => "taskSummary",
            Endpoint::TaskList(_) => "taskList",
            Endpoint::TaskTable(_) => "taskTable",
            Endpoint::Rdds => "rddList",
            Endpoint::Rdd(_) => "rddData",
            Endpoint::Environment => "environmentInfo",
            Endpoint::Logs => "getEventLogs",
            Endpoint::SqlExecutions => "sqlList",
            Endpoint::SqlExecution(_) => "sql",
            Endpoint::Streaming => "streamingStatistics",
        }
    }
}

/// Why a path has no resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoute {
    Nothing,
    /// Below an attempt only an attempt would fit, and there the locator of attempts gives up, naming the path.
    SecondAttempt,
}

/// Finds the resource of the segments below `/api`.
pub(super) fn find(segments: &[&str]) -> Result<Route, NoRoute> {
    let ["v1", path @ ..] = segments else {
        return Err(NoRoute::Nothing);
    };
    let (app_id, path) = match path {
        ["version"] => return Ok(route(Endpoint::Version, "", None)),
        ["applications"] => return Ok(route(Endpoint::Applications, "", None)),
        ["applications", app_id, path @ ..] => (app_id, path),
        _ => return Err(NoRoute::Nothing),
    };
    if path.is_empty() {
        return Ok(route(Endpoint::Application, app_id, None));
    }
    if let Some(found) = of_application(path, app_id, None) {
        return found;
    }
    let [attempt_id, path @ ..] = path else {
        return Err(NoRoute::Nothing);
    };
    if path.is_empty() {
        return Ok(route(Endpoint::ApplicationAttempt, app_id, Some(attempt_id)));
    }
    of_application(path, app_id, Some(attempt_id)).unwrap_or(Err(NoRoute::SecondAttempt))
}

/// The resources of an application or of its attempt; `None` leaves the path to the locator of attempts.
fn of_application(path: &[&str], app_id: &str, attempt_id: Option<&str>) -> Option<Result<Route, NoRoute>> {
    let endpoint = match path {
        ["jobs"] => Endpoint::Jobs,
        ["jobs", id] if is_number(id) => Endpoint::Job(number(id)),
        ["executors"] => Endpoint::Executors,
        ["executors", executor_id, "threads"] => {
            return Some(Ok(Route {
                executor_id: decoded(executor_id).into_owned(),
                ..route(Endpoint::ExecutorThreads, app_id, attempt_id)
            }));
        }
        ["threads"] => Endpoint::Threads,
        ["allexecutors"] => Endpoint::AllExecutors,
        ["allmiscellaneousprocess"] => Endpoint::MiscellaneousProcesses,
        ["storage", "rdd"] => Endpoint::Rdds,
        ["storage", "rdd", id] if is_number(id) => Endpoint::Rdd(number(id)),
        ["environment"] => Endpoint::Environment,
        ["logs"] => Endpoint::Logs,
        // Locators: what does not fit below them fits nowhere.
        ["stages", path @ ..] => return Some(of_stages(path).map(|found| route(found, app_id, attempt_id))),
        ["sql", path @ ..] => {
            let found = match path {
                [] => Ok(Endpoint::SqlExecutions),
                [id] if is_number(id) => Ok(Endpoint::SqlExecution(number(id))),
                _ => Err(NoRoute::Nothing),
            };
            return Some(found.map(|found| route(found, app_id, attempt_id)));
        }
        ["streaming", path @ ..] => {
            let found = match path {
                ["statistics" | "receivers" | "batches"] => Ok(Endpoint::Streaming),
                ["receivers" | "batches", id] | ["batches", id, "operations"] if is_number(id) => {
                    Ok(Endpoint::Streaming)
                }
                ["batches", id, "operations", operation] if is_number(id) && is_number(operation) => {
                    Ok(Endpoint::Streaming)
                }
                _ => Err(NoRoute::Nothing),
            };
            return Some(found.map(|found| route(found, app_id, attempt_id)));
        }
        _ => return None,
    };
    Some(Ok(route(endpoint, app_id, attempt_id)))
}

fn of_stages(path: &[&str]) -> Result<Endpoint, NoRoute> {
    let (stage, attempt, below) = match path {
        [] => return Ok(Endpoint::Stages),
        [stage] if is_number(stage) => return Ok(Endpoint::Stage(number(stage))),
        [stage, attempt, below @ ..] if is_number(stage) && is_number(attempt) => (stage, attempt, below),
        _ => return Err(NoRoute::Nothing),
    };
    let key = number(stage).and_then(|stage| Ok((stage, number(attempt)?)));
    match below {
        [] => Ok(Endpoint::StageAttempt(key)),
        ["taskSummary"] => Ok(Endpoint::TaskSummary(key)),
        ["taskList"] => Ok(Endpoint::TaskList(key)),
        ["taskTable"] => Ok(Endpoint::TaskTable(key)),
        _ => Err(NoRoute::Nothing),
    }
}

fn route(endpoint: Endpoint, app_id: &str, attempt_id: Option<&str>) -> Route {
    Route {
        endpoint,
        app_id: decoded(app_id).into_owned(),
        attempt_id: attempt_id.map(|attempt_id| decoded(attempt_id).into_owned()),
        executor_id: String::new(),
    }
}

/// `\d+`
fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

fn number<T: std::str::FromStr>(segment: &str) -> Number<T> {
    segment.parse().map_err(|_| OutOfRange)
}

/// What Jersey says of a resource. Spark has no CORS: a browser that asks first gets this, without any permission.
pub(super) fn options(route: &Route, request: &Request, headers: &HeaderMap) -> Response {
    const METHODS: &str = "HEAD,GET,OPTIONS";
    let mut response = if request.takes("text/plain") {
        respond(StatusCode::OK, "text/plain", "HEAD, GET, OPTIONS")
    } else if request.takes("application/json") {
        respond(StatusCode::OK, "application/json", "")
    } else {
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("localhost");
        let path = super::answer::escape(request.raw_path.trim_start_matches("/api/"));
        let method = route.endpoint.method_id();
        let media_type = match route.endpoint {
            Endpoint::Version => "*/*",
            endpoint => endpoint.produces(),
        };
        let text = format!(
            r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<application xmlns="http://wadl.dev.java.net/2009/02">
    <doc xmlns:jersey="http://jersey.java.net/" jersey:generatedBy="Jersey: 3.0.18 2025-06-09 12:43:09"/>
    <grammars/>
    <resources base="http://{host}/api/">
        <resource path="{path}">
            <method id="{method}" name="GET">
                <response>
                    <representation mediaType="{media_type}"/>
                </response>
            </method>
        </resource>
    </resources>
</application>
"#
        );
        let mut response = respond(StatusCode::OK, "application/vnd.sun.wadl+xml", text);
        let now = std::time::SystemTime::now();
        if let Ok(now) = HeaderValue::from_str(&http_date(now)) {
            response.headers_mut().insert(LAST_MODIFIED, now);
        }
        response
    };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

fn http_date(time: std::time::SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time)
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Result<(Endpoint, String, Option<String>), NoRoute> {
        let segments = super::super::request::segments(path);
        find(&segments).map(|route| (route.endpoint, route.app_id, route.attempt_id))
    }

    #[test]
    fn paths_are_found_as_jersey_finds_them() {
        let of_app = |endpoint| Ok((endpoint, "X".to_owned(), None));
        let of_attempt = |endpoint| Ok((endpoint, "X".to_owned(), Some("1".to_owned())));
        let cases = [
            ("/v1/applications/X/jobs/01", of_app(Endpoint::Job(Ok(1)))),
            (
                "/v1/applications/X/jobs/2147483648",
                of_app(Endpoint::Job(Err(OutOfRange))),
            ),
            (
                "/v1/applications/X/1/stages/3/0/taskList/",
                of_attempt(Endpoint::TaskList(Ok((3, 0)))),
            ),
            ("/v1/applications/X/1", of_attempt(Endpoint::ApplicationAttempt)),
            ("/v1/applications/X/jobs/-1", Err(NoRoute::SecondAttempt)),
            ("/v1/applications/X/storage/rdd/x", Err(NoRoute::SecondAttempt)),
            ("/v1/applications/X/stages/x", Err(NoRoute::Nothing)),
            ("/v1/applications/X/sql/x", Err(NoRoute::Nothing)),
            ("/v1/applications/X/1/1/jobs", Err(NoRoute::SecondAttempt)),
            ("/v1/applications/X/streaming/operations", Err(NoRoute::Nothing)),
            ("/v1/Applications", Err(NoRoute::Nothing)),
            ("/v1", Err(NoRoute::Nothing)),
        ];
        for (path, expected) in cases {
            assert_eq!(found(path), expected, "{path}");
        }
        let jobs_as_attempt = found("/v1/applications/X/jobs/jobs").unwrap();
        assert_eq!(jobs_as_attempt, (Endpoint::Jobs, "X".into(), Some("jobs".into())));
    }
}
