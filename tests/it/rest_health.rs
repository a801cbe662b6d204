//! Health: live at once, ready when everything was read, and what it says of a source that goes away.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gated::{Gate, GatedServer};
use crate::support::http::{Client, Response};
use crate::support::{Server, fixtures};

/// Some scans of 200 ms, on a loaded machine.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// A short, whole application with another id.
fn write_log(dir: &Path, app_id: &str) -> u64 {
    let text = fs::read_to_string(fixtures().join("damaged/local-good")).expect("the good log is there");
    let text = text.replace("\"App ID\":\"local-good\"", &format!("\"App ID\":\"{app_id}\""));
    fs::write(dir.join(app_id), &text).expect("room in a temporary directory");
    text.len() as u64
}

/// Asks until the answer is as it should be.
fn ready_within(client: &mut Client, expected: impl Fn(&Response) -> bool) -> Response {
    let started = Instant::now();
    loop {
        let answer = client.get("/health/ready");
        if expected(&answer) {
            return answer;
        }
        assert!(started.elapsed() < SEEN_WITHIN, "{} {}", answer.status(), answer.text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_live_at_once_and_ready_when_the_first_scan_has_read_everything() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let sizes: u64 = ["quick", "slow", "slowest"]
        .map(|name| write_log(logs.path(), name))
        .iter()
        .sum();
    // `slowest` holds `slow` in its name.
    let (slow, slowest) = (Gate::at("slow", 0), Gate::at("slowest", 0));
    slow.close();
    slowest.close();
    let server = GatedServer::start(logs.path(), &[&slow, &slowest]).await;
    let mut client = Client::open(server.http);
    let progress = |answer: &Response| -> (u16, Value, Value) {
        let body = answer.json();
        assert_eq!(answer.header("content-type"), Some("application/json"));
        (answer.status(), body["logs_seen"].clone(), body["logs_read"].clone())
    };

    assert_eq!(client.get("/health/live").status(), 200);
    let before = client.get("/health/ready");
    assert_eq!(progress(&before), (503, json!(0), json!(0)));
    assert_eq!(before.json()["status"], "starting");

    let history = Arc::clone(&server.history);
    let scan = tokio::spawn(async move { history.scan_once().await });
    let listed = ready_within(&mut client, |answer| answer.json()["logs_seen"] == 3);
    assert_eq!(progress(&listed), (503, json!(3), json!(0)));
    assert_eq!(listed.json()["bytes_seen"], sizes);

    // What was read is published after a second at the earliest, and then with the next log that ends.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    slow.open();
    let half_way = ready_within(&mut client, |answer| answer.json()["logs_read"] == 2);
    assert_eq!(progress(&half_way), (503, json!(3), json!(2)));
    let bytes = half_way.json()["bytes_read"].as_u64().expect("a number");
    assert!(bytes > 0 && bytes < sizes, "{bytes} of {sizes}");
    assert_eq!(client.get("/health/live").status(), 200);
    // What was read is served before everything was.
    assert_eq!(client.rest("applications/quick/jobs")[0]["numTasks"], 4);
    assert_eq!(client.get("/api/v1/applications/slowest/jobs").status(), 404);

    slowest.open();
    let summary = scan.await.expect("no panic");
    assert_eq!(summary.logs, 3);
    let after = client.get("/health/ready");
    assert_eq!(progress(&after), (200, json!(3), json!(3)));
    let expected = json!({"status": "ready", "logs_seen": 3, "logs_read": 3, "bytes_seen": sizes, "bytes_read": sizes,
        "unreachable_sources": [], "stale_sources": [], "cache_error": null});
    assert_eq!(after.json(), expected);
    assert_eq!(client.rest("applications/slowest/jobs")[0]["numTasks"], 4);
}

#[test]
fn a_server_that_says_ready_is_ready_and_a_source_that_goes_away_is_named_until_it_is_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (logs, elsewhere) = (dir.path().join("logs"), dir.path().join("elsewhere"));
    fs::create_dir(&logs).expect("a new directory");
    write_log(&logs, "first");
    let server = Server::start_with(&logs, &["--scan-interval", "200ms"]);
    let mut client = Client::open(server.http);
    let live = client.get("/health/live");
    assert_eq!((live.status(), live.json()), (200, json!({"status": "live"})));
    let ready = client.get("/health/ready");
    assert_eq!(ready.status(), 200, "{}", ready.text());
    assert_eq!(ready.json()["unreachable_sources"], json!([]));
    assert_eq!(ready.header("cache-control"), Some("no-store"));

    fs::rename(&logs, &elsewhere).expect("the same directory");
    let is_named = |answer: &Response| {
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let body = answer.json();
        let named = body["unreachable_sources"].as_array().expect("a list");
        let path = logs.to_str().expect("UTF-8");
        let is_named = named.len() == 1 && named[0].as_str().expect("a text").contains(path);
        assert!(!is_named || body["stale_sources"] == json!([path]), "{body}");
        is_named
    };
    ready_within(&mut client, is_named);
    assert_eq!(
        client.rest("applications/first/jobs")[0]["numTasks"],
        4,
        "what was read stays"
    );
    let zip = client.get("/api/v1/applications/first/logs");
    assert_eq!(zip.status(), 500, "a log that is away cannot be sent");

    fs::rename(&elsewhere, &logs).expect("the same directory");
    write_log(&logs, "second");
    ready_within(&mut client, |answer| {
        answer.status() == 200 && answer.json()["unreachable_sources"] == json!([])
    });
    client.rest_within(SEEN_WITHIN, "applications/second/jobs", |answer| answer.status() == 200);
    assert_eq!(client.get("/api/v1/applications/first/logs").status(), 200);
}
