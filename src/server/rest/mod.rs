//! Spark's REST API, `/api/v1`, as the history server of Spark 4.1.0 answers: fields, order, dates, errors.
//!
//! A handler is a file of `sql/rest` and a [`shape`]: data comes through SQL only. What is asked of [`History`] itself is about logs: which
//! attempts there are, when a log was last written, what is wrong with it, and its bytes for the zip.
//!
//! Where Spark's resources are written down: `org.apache.spark.status.api.v1` of spark-core, spark-sql and spark-streaming; how its
//! server behaves where those are silent: `docs/rest.md`.

mod answer;
mod applications;
mod dates;
mod environment;
mod executors;
mod jobs;
mod json;
mod logs;
mod request;
mod retention;
mod routes;
mod rows;
mod shape;
mod sql;
mod stages;
mod storage;
mod tasks;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::datatypes::DataType;
use axum::extract::State;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HOST, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use axum::response::Response;
use datafusion::scalar::ScalarValue;

use crate::catalog::activity::Door;
use crate::catalog::{SessionVars, SnapshotSource};
use crate::config::RestConfig;
use crate::history::{AttemptRows, History, Snapshot};
use crate::server::query::{QueryEngine, QueryError};
use answer::{Failure, JsonBody, empty, failed, respond, written};
use json::Json;
use request::Request;
use retention::Retention;
use routes::{Endpoint, Route};
use rows::Rows;
use shape::Shape;

/// What Spark's `/api/v1/version` says. Clients branch on it.
const SPARK_VERSION: &str = "4.1.0";

/// Says what is wrong with the log that an answer comes from. Spark's server has no such answers: it fails, or leaves them out.
const LOG_PROBLEM: HeaderName = HeaderName::from_static("x-sparkgate-log-problem");

/// What every handler needs.
#[derive(Debug)]
pub(super) struct Rest {
    engine: Arc<QueryEngine>,
    history: Arc<History>,
    retention: Retention,
    vars: SessionVars,
}

/// The attempt of an application that a request is about.
#[derive(Debug)]
struct Attempt {
    app_id: String,
    /// `''` where Spark has none.
    attempt_id: String,
    /// Milliseconds since the epoch.
    start_ms: i64,
    /// When its log was last written, milliseconds since the epoch.
    last_updated_ms: i64,
}

impl Attempt {
    /// The first parameters of nearly every statement.
    fn key(&self) -> Vec<ScalarValue> {
        vec![self.app_id.as_str().into(), self.attempt_id.as_str().into()]
    }

    /// [`Self::key`] and more.
    fn params<const N: usize>(&self, more: [ScalarValue; N]) -> Vec<ScalarValue> {
        let mut params = self.key();
        params.extend(more);
        params
    }
}

impl Rest {
    pub(super) fn new(engine: Arc<QueryEngine>, history: Arc<History>, config: &RestConfig) -> Self {
        let vars = SessionVars {
            application_name: "rest".into(),
            door: Door::Http,
            ..SessionVars::default()
        };
        Rest {
            engine,
            history,
            retention: Retention::new(config),
            vars,
        }
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.history.snapshot()
    }

    /// The attempt that a path names, or Spark's words for that there is none.
    fn attempt(&self, app_id: &str, attempt_id: Option<&str>) -> Result<Attempt, Failure> {
        attempt_in(&self.snapshot(), app_id, attempt_id).map(|rows| attempt_of(rows))
    }

    /// Runs a statement of `sql/rest`.
    async fn rows(&self, sql: &str, params: Vec<ScalarValue>) -> Result<Rows, Failure> {
        let stream = self
            .engine
            .run_own(&self.retention.applied(sql), params, &self.vars)
            .await?;
        Ok(Rows {
            shape: Shape::new(&stream.schema),
            batches: stream.batches,
        })
    }

    /// Runs a statement whose rows are an array of objects.
    async fn write_list(&self, body: &mut JsonBody, sql: &str, params: Vec<ScalarValue>) -> Result<(), Failure> {
        let mut rows = self.rows(sql, params).await?;
        body.json.begin_array();
        while let Some(batch) = rows.next().await? {
            for row in 0..batch.num_rows() {
                body.json.element();
                rows.shape.object(&mut body.json, &batch, row);
                body.flush().await?;
            }
        }
        body.json.end_array();
        Ok(())
    }

    /// Runs a statement whose first row is the answer; `missing` says what there is without one.
    async fn write_one(
        &self,
        body: &mut JsonBody,
        sql: &str,
        params: Vec<ScalarValue>,
        missing: impl FnOnce() -> Failure,
    ) -> Result<(), Failure> {
        let mut rows = self.rows(sql, params).await?;
        match rows.next().await? {
            Some(batch) => {
                rows.shape.object(&mut body.json, &batch, 0);
                Ok(())
            }
            None => Err(missing()),
        }
    }
}

fn attempt_in<'a>(
    snapshot: &'a Snapshot,
    app_id: &str,
    attempt_id: Option<&str>,
) -> Result<&'a Arc<AttemptRows>, Failure> {
    match snapshot.attempt(app_id, attempt_id.unwrap_or_default()) {
        // An empty attempt id in a path is not the one that Spark leaves out.
        Some(rows) if attempt_id != Some("") => Ok(rows),
        _ => Err(no_such_app(app_id, attempt_id)),
    }
}

fn attempt_of(rows: &AttemptRows) -> Attempt {
    Attempt {
        app_id: rows.app_id.to_string(),
        attempt_id: rows.attempt_id.to_string(),
        start_ms: rows.start_time_ms,
        last_updated_ms: rows.log.modified_ms,
    }
}

fn no_such_app(app_id: &str, attempt_id: Option<&str>) -> Failure {
    Failure::not_found(match attempt_id {
        Some(attempt_id) => format!("no such app: {app_id}/{attempt_id}"),
        None => format!("no such app: {app_id}"),
    })
}

/// REST filters and counts running times by the clock, as Spark does.
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// A list parameter; nothing asked for is null.
fn optional_texts(choices: &request::Choices) -> ScalarValue {
    if choices.is_empty() {
        return ScalarValue::new_null_list(DataType::Utf8, true, 1);
    }
    let items: Vec<ScalarValue> = choices.values.iter().map(|value| ScalarValue::from(*value)).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
}

/// The answer to somebody who is not let in, in the form of the other failures.
pub(super) fn refusal(status: StatusCode, text: String) -> Response {
    respond(status, "text/plain", text)
}

/// Everything below `/api`.
pub(super) async fn serve_api(State(rest): State<Arc<Rest>>, parts: Parts) -> Response {
    let request = Request::new(&parts);
    let method = parts.method;
    let path = match request.raw_path.strip_prefix("/api") {
        Some(path) if !path.starts_with(';') => path,
        _ => return failed(Failure::NO_RESOURCE, &request, &method, ""),
    };
    if path.is_empty() {
        let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return redirect(&format!("/api/{query}"), &parts.headers);
    }
    if request.has_malformed_query {
        return malformed_query(&request, &method);
    }
    let route = match routes::find(&request::segments(path)) {
        Ok(route) => route,
        // The locator of attempts knows the path as it was sent.
        Err(routes::NoRoute::SecondAttempt) => {
            return failed(Failure::not_found(request.raw_path.clone()), &request, &method, "");
        }
        Err(routes::NoRoute::Nothing) => return failed(Failure::NO_RESOURCE, &request, &method, ""),
    };
    match method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return routes::options(&route, &request, &parts.headers),
        _ => return failed(Failure::NOT_ALLOWED, &request, &method, ""),
    }
    // Jersey reads the type of a body that nobody wants.
    if request.has_malformed_type {
        return failed(Failure::BAD_REQUEST, &request, &method, "");
    }
    let content_type = match request.answer_type(route.endpoint.produces()) {
        Ok(content_type) => content_type,
        // Jersey finds out too late that it cannot write a version as text.
        Err(Failure::Page(StatusCode::NOT_ACCEPTABLE, _))
            if matches!(route.endpoint, Endpoint::Version)
                && (request.takes("text/plain") || request.takes("text/*")) =>
        {
            return failed(Failure::NO_WRITER, &request, &method, "");
        }
        Err(failure) => return failed(failure, &request, &method, ""),
    };
    let mut response = if let Endpoint::Logs = route.endpoint {
        match logs::zip(&rest, &route, method == Method::HEAD).await {
            Ok(response) => response,
            Err(failure) => return failed(failure, &request, &method, &content_type),
        }
    } else {
        let request = Arc::new(request);
        let (for_handler, asked) = (Arc::clone(&rest), Arc::clone(&request));
        let named = route.clone();
        let body = written(move |mut body| async move {
            for_handler.answer(&named, &asked, &mut body).await?;
            Ok(body)
        })
        .await;
        match body {
            Ok(body) => respond(StatusCode::OK, &content_type, body),
            Err(failure) => return failed(failure, &request, &method, &content_type),
        }
    };
    if let Some(problem) = rest.problem(&route) {
        response.headers_mut().insert(LOG_PROBLEM, problem);
    }
    response
}

impl Rest {
    async fn answer(&self, route: &Route, request: &Request, body: &mut JsonBody) -> Result<(), Failure> {
        if !route.app_id.is_empty() {
            let wait = self.engine.limits().wait_for_logs;
            let read = self
                .history
                .ensure_read(std::slice::from_ref(&route.app_id), wait)
                .await;
            read.map_err(|not_read| QueryError::from(&not_read))?;
        }
        let attempt = || self.attempt(&route.app_id, route.attempt_id.as_deref());
        match route.endpoint {
            Endpoint::Version => {
                version(&mut body.json);
                Ok(())
            }
            Endpoint::Applications => self.applications(request, body).await,
            Endpoint::Application => self.application(&route.app_id, body).await,
            Endpoint::ApplicationAttempt => {
                self.application_attempt(&route.app_id, route.attempt_id.as_deref().unwrap_or_default(), body)
                    .await
            }
            Endpoint::Jobs => {
                let statuses = request.choices("status", &jobs::STATUSES)?;
                self.jobs(&attempt()?, &statuses, body).await
            }
            Endpoint::Job(job_id) => {
                let job_id = job_id?;
                self.job(&attempt()?, job_id, body).await
            }
            Endpoint::Executors => self.executors(&attempt()?, false, body).await,
            Endpoint::AllExecutors => self.executors(&attempt()?, true, body).await,
            Endpoint::ExecutorThreads => {
                attempt()?;
                executors::threads(&route.executor_id)
            }
            Endpoint::Threads => {
                request.optional_long("taskId")?;
                let no_dumps = executors::threads(request.needed("executorId")?);
                match no_dumps {
                    Err(Failure::Text(StatusCode::SERVICE_UNAVAILABLE, _)) => {
                        attempt()?;
                        no_dumps
                    }
                    _ => no_dumps,
                }
            }
            Endpoint::MiscellaneousProcesses => self.miscellaneous_processes(&attempt()?, body).await,
            Endpoint::Stages => {
                let details = stages::Details::of_list(request)?;
                self.stages(&attempt()?, details, body).await
            }
            Endpoint::Stage(stage_id) => {
                let (stage_id, details) = (stage_id?, stages::Flags::of_stage(request)?);
                let attempt = attempt()?;
                self.stage(&attempt, stage_id, details.with_quantiles(request)?, body)
                    .await
            }
            Endpoint::StageAttempt(key) => {
                let (key, details) = (key?, stages::Flags::of_stage(request)?);
                let attempt = attempt()?;
                self.stage_attempt(&attempt, key, details.with_quantiles(request)?, body)
                    .await
            }
            Endpoint::TaskSummary(key) => {
                let (key, attempt) = (key?, attempt()?);
                let quantiles = stages::quantiles(request, stages::SUMMARY_QUANTILES)?;
                self.task_summary(&attempt, key, &quantiles, body).await
            }
            Endpoint::TaskList(key) => {
                let (key, window) = (key?, tasks::Window::of(request)?);
                self.task_list(&attempt()?, key, &window, body).await
            }
            Endpoint::TaskTable(key) => {
                let key = key?;
                self.task_table(&attempt()?, key, request, body).await
            }
            Endpoint::Rdds => self.rdds(&attempt()?, body).await,
            Endpoint::Rdd(rdd_id) => {
                let rdd_id = rdd_id?;
                self.rdd(&attempt()?, rdd_id, body).await
            }
            Endpoint::Environment => self.environment(&attempt()?, body).await,
            Endpoint::SqlExecutions => {
                let page = sql::Page::of(request)?;
                self.sql_executions(&attempt()?, &page, body).await
            }
            Endpoint::SqlExecution(execution_id) => {
                let (execution_id, shown) = (execution_id?, sql::Shown::of(request));
                self.sql_execution(&attempt()?, execution_id, shown, body).await
            }
            Endpoint::Streaming => {
                let attempt = attempt()?;
                self.streaming(&attempt).await
            }
            Endpoint::Logs => Err(Failure::NO_RESOURCE),
        }
    }

    /// What is wrong with the log behind an answer, as far as a header can say it.
    fn problem(&self, route: &Route) -> Option<HeaderValue> {
        if route.app_id.is_empty() {
            return None;
        }
        let snapshot = self.snapshot();
        let problem = match &route.attempt_id {
            Some(attempt_id) => snapshot
                .problems
                .get(&(route.app_id.as_str().into(), attempt_id.as_str().into()))?,
            None => snapshot.problem_of(&route.app_id)?,
        };
        let ascii: String = problem
            .chars()
            .map(|letter| if (' '..='~').contains(&letter) { letter } else { '?' })
            .take(500)
            .collect();
        HeaderValue::from_str(&ascii).ok()
    }
}

fn version(json: &mut Json) {
    json.begin_object();
    json.key("spark");
    json.string(SPARK_VERSION);
    json.end_object();
}

/// `/history`: Spark sends a browser on to the page of an attempt. There are no pages here yet, so the way ends with what there is instead.
pub(super) fn serve_history(rest: &Rest, parts: &Parts) -> Response {
    let path = parts.uri.path();
    let request = Request::new(parts);
    if request.has_malformed_query && path != "/history" {
        return malformed_query(&request, &parts.method);
    }
    match parts.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return methods_of_servlets(),
        _ => {
            let message = format!("HTTP method {} is not supported by this URL", parts.method);
            let mut response = answer::page(StatusCode::METHOD_NOT_ALLOWED, &message, &request, &parts.method);
            response.headers_mut().remove(ALLOW);
            return response;
        }
    }
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let segments = request::segments(path.trim_start_matches("/history"));
    let app_id = segments
        .first()
        .map(|segment| request::decoded(segment))
        .unwrap_or_default();
    if path == "/history" {
        return redirect(&format!("/history/{query}"), &parts.headers);
    }
    if app_id.is_empty() {
        return page_redirect("/", &parts.headers);
    }
    let snapshot = rest.snapshot();
    let attempt_id = segments.get(1).map(|segment| request::decoded(segment));
    // As Spark looks: an application without attempt ids whatever follows, else the attempt in the path, else the newest.
    let prefix = if snapshot.attempt(&app_id, "").is_some() {
        format!("/history/{}", segments[0])
    } else {
        match (&attempt_id, snapshot.attempts_of(&app_id).first()) {
            (Some(attempt_id), _) if snapshot.attempt(&app_id, attempt_id).is_some() => {
                format!("/history/{}/{}", segments[0], segments[1])
            }
            (None, Some(newest)) => {
                let path = path.strip_suffix('/').unwrap_or(path);
                return page_redirect(&format!("{path}/{}/{query}", newest.attempt_id), &parts.headers);
            }
            _ => return no_application(&app_id, &parts.method),
        }
    };
    let jobs = format!("{prefix}/jobs/");
    if path == prefix {
        page_redirect(&format!("{prefix}/{query}"), &parts.headers)
    } else if path == jobs {
        no_pages()
    } else {
        redirect_with_cache_control(&jobs, &parts.headers)
    }
}

/// A redirect of the servlet that loads applications.
fn page_redirect(location: &str, headers: &HeaderMap) -> Response {
    let mut response = redirect_with_cache_control(location, headers);
    let html = HeaderValue::from_static("text/html;charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

fn redirect_with_cache_control(location: &str, headers: &HeaderMap) -> Response {
    let mut response = redirect(location, headers);
    for (name, value) in empty(StatusCode::OK).headers() {
        response.headers_mut().insert(name, value.clone());
    }
    answer::forbid_caching(&mut response);
    response
}

fn no_application(app_id: &str, method: &Method) -> Response {
    let text = format!(
        "<html><head><title>Not Found</title></head><body><div class=\"row\">Application {} not found.</div></body></html>",
        answer::escape(app_id)
    );
    let body = if *method == Method::HEAD { String::new() } else { text };
    respond(StatusCode::NOT_FOUND, "text/html;charset=utf-8", body)
}

fn no_pages() -> Response {
    let text = "<html><head><title>Sparkgate</title></head><body>Sparkgate has no pages of applications yet; their data is \
                below /api/v1/applications and in SQL.</body></html>";
    respond(StatusCode::NOT_FOUND, "text/html;charset=utf-8", text)
}

/// What Jetty's servlets, which are no resources of Jersey's, say that they take.
pub(super) fn methods_of_servlets() -> Response {
    let mut response = empty(StatusCode::OK);
    answer::forbid_caching(&mut response);
    let methods = HeaderValue::from_static("GET, HEAD, TRACE, OPTIONS");
    response.headers_mut().insert(ALLOW, methods);
    response
}

/// Spark's filter reads the parameters before it sets its headers. Jetty's page shows a stack trace as well.
fn malformed_query(request: &Request, method: &Method) -> Response {
    let mut response = answer::page(StatusCode::BAD_REQUEST, "Unable to parse URI query", request, method);
    for (name, _) in answer::SECURITY {
        response.headers_mut().remove(name);
    }
    response
}

/// Jetty's answer to what it does not pass on to anybody.
pub(super) fn refused(parts: &Parts) -> Option<Response> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if host.is_none() && parts.version == Version::HTTP_11 {
        return Some(refuse(StatusCode::BAD_REQUEST, "No Host"));
    }
    if hosts.next().is_some() {
        return Some(refuse(StatusCode::BAD_REQUEST, "Duplicate Host Header"));
    }
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    if parts
        .uri
        .authority()
        .is_some_and(|authority| authority.as_str() != host)
    {
        return Some(refuse(StatusCode::BAD_REQUEST, "Mismatched Authority"));
    }
    let expects = parts.headers.get(EXPECT);
    if expects.is_some_and(|expects| !expects.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Some(refuse(StatusCode::EXPECTATION_FAILED, "Expectation Failed"));
    }
    request::refused_path(parts.uri.path()).map(|reason| refuse(StatusCode::BAD_REQUEST, reason))
}

fn refuse(status: StatusCode, reason: &str) -> Response {
    let text = format!("<h1>Bad Message {}</h1><pre>reason: {reason}</pre>", status.as_u16());
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html;charset=iso-8859-1"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A redirect of Jetty itself to a path of this server, under the name the client knows it by.
pub(super) fn redirect(location: &str, headers: &HeaderMap) -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let location = match host {
        Some(host) => format!("http://{}{location}", host.strip_suffix(":80").unwrap_or(host)),
        None => location.to_owned(),
    };
    match HeaderValue::from_str(&location) {
        Ok(location) => {
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => empty(StatusCode::BAD_REQUEST),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_statement_has_its_header() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/rest");
        let mut files = 0;
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let line = |word: &str| {
                let start = format!("-- {word}: ");
                let found = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
                found.unwrap_or_else(|| panic!("{name} has no line {word}"))
            };
            assert_eq!(line("name"), name);
            for word in ["grain", "freshness", "parameters"] {
                assert!(!line(word).is_empty(), "{name}: {word}");
            }
            for table in line("reads").split(", ") {
                assert!(
                    crate::table::all().iter().any(|def| def.sql_name() == table),
                    "{name} reads {table}, which has no stored rows"
                );
                let named = |word: &str| text.contains(&format!("{word} {table}"));
                assert!(named("FROM") || named("JOIN"), "{name} does not read {table}");
            }
            files += 1;
        }
        assert!(files > 20, "{files} statements");
    }
}
