//! REST of a log that grows: each job is there soon after it was written, with what it has done so far.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, fixtures};

const SCAN_INTERVAL: Duration = Duration::from_millis(200);
/// The promise beyond the scan interval.
const PROMISED: Duration = Duration::from_secs(1);
/// On a loaded machine any one look may be late; half of them must not be.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
const JOBS: usize = 7;

#[test]
fn a_new_job_is_shown_within_the_scan_interval_and_a_second() {
    let text = fs::read_to_string(fixtures().join("damaged/local-good")).expect("the good log is there");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let place = |event: &str| {
        let start = format!("{{\"Event\":\"{event}\"");
        lines
            .iter()
            .position(|line| line.starts_with(&start))
            .expect("the event is there")
    };
    let (first_job, end) = (place("SparkListenerJobStart"), place("SparkListenerApplicationEnd"));
    let logs = tempfile::tempdir().expect("a temporary directory");
    let path = logs.path().join("local-good.inprogress");
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .expect("a new file");
    let mut write = |text: &str| log.write_all(text.as_bytes()).expect("room for some lines");
    write(&lines[..first_job].concat());

    let server = Server::start_with(logs.path(), &["--scan-interval", "200ms"]);
    let mut client = Client::open(server.http);
    let jobs = "applications/local-good/jobs";
    assert_eq!(client.rest(jobs), json!([]));
    assert_eq!(
        client.rest("applications/local-good")["attempts"][0]["completed"],
        false
    );

    let mut waited = Vec::new();
    for id in 0..JOBS {
        let start = lines[first_job].replace("\"Job ID\":0,", &format!("\"Job ID\":{id},"));
        assert!(id == 0 || start != lines[first_job], "the job has another id");
        write(&start);
        let is_shown = |body: &Value| body[0]["jobId"] == id && body[0]["status"] == "RUNNING";
        waited.push(client.rest_within(VISIBLE_WITHIN, jobs, |answer| is_shown(&answer.json())));
        assert_eq!(client.rest(jobs).as_array().expect("a list").len(), id + 1);
    }
    waited.sort();
    let usual = waited[JOBS / 2];
    assert!(usual <= SCAN_INTERVAL + PROMISED, "shown after {usual:?}: {waited:?}");

    // Half a line is nothing yet.
    let (half, rest) = lines[first_job + 1].split_at(40);
    write(half);
    std::thread::sleep(2 * SCAN_INTERVAL);
    assert_eq!(client.rest("applications/local-good/stages?status=active"), json!([]));
    write(rest);
    let active = "applications/local-good/stages?status=active";
    client.rest_within(VISIBLE_WITHIN, active, |answer| answer.json()[0]["stageId"] == 0);
    write(&lines[first_job + 2..end].concat());
    client.rest_within(VISIBLE_WITHIN, "applications/local-good/jobs/0", |answer| {
        answer.json()["status"] == "SUCCEEDED"
    });

    // The end and the final name: what was counted by the clock is the log's now.
    write(lines[end]);
    let one = "applications/local-good";
    client.rest_within(VISIBLE_WITHIN, one, |answer| {
        answer.json()["attempts"][0]["completed"] == true
    });
    fs::rename(&path, logs.path().join("local-good")).expect("the same directory");
    let before = client.rest(jobs);
    std::thread::sleep(3 * SCAN_INTERVAL);
    assert_eq!(client.rest(jobs), before);
    let attempt = &client.rest(one)["attempts"][0];
    let epoch = |field: &str| attempt[field].as_i64().expect("a number");
    assert_eq!(epoch("duration"), epoch("endTimeEpoch") - epoch("startTimeEpoch"));
}
