//! The zip of event logs: what is in it, that it is sent while it is read, and that logs may grow and clients may go meanwhile.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::gated::{Gate, GatedServer};
use crate::support::http::Client;
use crate::support::{Server, fixtures};

const MEBIBYTE: u64 = 1 << 20;

/// A whole application with so many bytes of events that Spark has not invented yet; they do not shrink to nothing.
fn large_log(at_least: u64) -> Vec<u8> {
    let good = fs::read_to_string(fixtures().join("damaged/local-good")).expect("the good log is there");
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let (last, first) = lines.split_last().expect("lines");
    let mut text = first.concat();
    // xorshift64
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    while (text.len() as u64) < at_least {
        text.push_str("{\"Event\":\"org.example.Padding\",\"Bytes\":\"");
        for _ in 0..2048 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(&format!("{state:016x}"));
        }
        text.push_str("\"}\n");
    }
    text.push_str(last);
    text.into_bytes()
}

/// Names and contents; panics unless it is a whole zip.
fn unpacked(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(Cursor::new(zip)).expect("a zip");
    let names = 0..zip.len();
    names
        .map(|at| {
            let mut entry = zip.by_index(at).expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("its bytes and their checksum");
            (entry.name().expect("UTF-8").into_owned(), bytes)
        })
        .collect()
}

#[test]
fn zips_hold_what_sparks_server_packs_with_the_files_as_they_lie() {
    let logs = fixtures().join("logs");
    let server = Server::start(&logs);
    let mut client = Client::open(server.http);
    let file = fs::File::open(fixtures().join("answers/answers.jsonl.gz")).expect("the recorded answers");
    let (mut compared, mut folders, mut attempts) = (0, 0, 0);
    for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
        let line = line.expect("the recording is whole");
        if !line.starts_with("{\"kind\": \"logs\", \"method\": \"GET\"") {
            continue;
        }
        let recorded: Value = serde_json::from_str(&line).expect("JSON");
        let (path, spark) = (recorded["path"].as_str().expect("a path"), &recorded["a"]);
        let answer = client.get(&format!("/api/v1/{path}"));
        assert_eq!(spark["status"], answer.status(), "{path}");
        let Some(entries) = spark["zip"].as_array() else {
            continue;
        };
        assert_eq!(answer.header("content-type"), spark["ct"].as_str(), "{path}");
        assert_eq!(answer.header("content-disposition"), spark["cd"].as_str(), "{path}");
        assert!(answer.head.is_chunked(), "{path}: nobody knows its length before");
        let got = unpacked(&answer.body);
        for (name, bytes) in &got {
            if name.ends_with('/') {
                folders += 1;
                assert!(bytes.is_empty() && logs.join(name).is_dir(), "{path}: {name}");
            } else {
                assert!(*bytes == fs::read(logs.join(name)).expect("the log"), "{path}: {name}");
            }
        }
        // Spark lists the files of a folder in the order of the file system.
        let by_folder = |names: Vec<String>| {
            let mut names: Vec<String> = names;
            if names.first().is_some_and(|name| name.ends_with('/')) {
                names[1..].sort();
            }
            names
        };
        let theirs = entries
            .iter()
            .map(|entry| entry[0].as_str().expect("a name").to_owned());
        let ours: Vec<String> = got.into_iter().map(|(name, _)| name).collect();
        attempts = attempts.max(ours.iter().filter(|name| !name.contains('/')).count());
        assert_eq!(by_folder(ours), by_folder(theirs.collect()), "{path}");
        compared += 1;
    }
    assert!(
        compared >= 30 && folders >= 3 && attempts == 3,
        "{compared}, {folders}, {attempts}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_bytes_are_sent_before_the_rest_of_the_log_is_read() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let log = large_log(8 * MEBIBYTE);
    fs::write(logs.path().join("local-good"), &log).expect("room");
    let gate = Gate::at("local-good", 3 * MEBIBYTE);
    let server = GatedServer::start(logs.path(), &[&gate]).await;
    server.history.scan_once().await;
    gate.close();

    let mut client = Client::open(server.http);
    client.send("/api/v1/applications/local-good/logs");
    let head = client.head();
    assert!(head.status == 200 && head.is_chunked(), "{head:?}");
    let mut zip = Vec::new();
    while (zip.len() as u64) < MEBIBYTE {
        zip.append(&mut client.chunk().expect("more is to come"));
    }
    assert!((zip.len() as u64) < 3 * MEBIBYTE, "no more was read: {}", zip.len());
    gate.open();
    while let Some(mut chunk) = client.chunk() {
        zip.append(&mut chunk);
    }
    let entries = unpacked(&zip);
    assert!(entries.len() == 1 && entries[0].1 == log, "the whole log, as it lies");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_while_it_is_packed_gives_a_valid_zip_of_what_it_was() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let log = large_log(6 * MEBIBYTE);
    let path = logs.path().join("local-good.inprogress");
    fs::write(&path, &log).expect("room");
    let gate = Gate::at("local-good", 2 * MEBIBYTE);
    let server = GatedServer::start(logs.path(), &[&gate]).await;
    server.history.scan_once().await;
    gate.close();

    let mut client = Client::open(server.http);
    client.send("/api/v1/applications/local-good/logs");
    assert_eq!(client.head().status, 200);
    let mut zip = client.chunk().expect("the first piece");
    append(&path, &large_log(2 * MEBIBYTE));
    gate.open();
    while let Some(mut chunk) = client.chunk() {
        zip.append(&mut chunk);
    }
    let entries = unpacked(&zip);
    assert_eq!(entries[0].0, "local-good.inprogress");
    assert!(entries[0].1 == log, "{} bytes, not {}", entries[0].1.len(), log.len());
    let entries = unpacked(&client.get("/api/v1/applications/local-good/logs").body);
    assert!(
        entries[0].1 == fs::read(&path).expect("the log"),
        "the next one has what came later"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shrinks_while_it_is_packed_ends_the_answer_or_gives_a_valid_zip() {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let path = logs.path().join("local-good");
    fs::write(&path, large_log(4 * MEBIBYTE)).expect("room");
    let gate = Gate::at("local-good", 2 * MEBIBYTE);
    let server = GatedServer::start(logs.path(), &[&gate]).await;
    server.history.scan_once().await;
    gate.close();
    let mut client = Client::open(server.http);
    client.send("/api/v1/applications/local-good/logs");
    assert_eq!(client.head().status, 200);
    let mut zip = client.chunk().expect("the first piece");
    let shorter = 2 * MEBIBYTE + 17;
    let file = OpenOptions::new().write(true).open(&path).expect("the log");
    file.set_len(shorter).expect("a shorter log");
    gate.open();
    while let Some(mut chunk) = client.chunk() {
        zip.append(&mut chunk);
    }
    assert_eq!(unpacked(&zip)[0].1.len() as u64, shorter);
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("the log");
    file.write_all(bytes).expect("room");
}

#[test]
fn a_large_log_passes_through_little_memory_and_a_client_may_leave_at_any_time() {
    const SIZE: u64 = 64 * MEBIBYTE;
    let logs = tempfile::tempdir().expect("a temporary directory");
    fs::write(logs.path().join("local-good"), large_log(SIZE)).expect("room");
    let server = Server::start_with(logs.path(), &["--scan-interval", "1h"]);
    let path = "/api/v1/applications/local-good/logs";
    // What the first answer of all needs is not the log's.
    Client::open(server.http).rest("applications/local-good/jobs");
    let before = server.memory();

    let mut client = Client::open(server.http);
    client.send(path);
    assert_eq!(client.head().status, 200);
    let (mut received, mut largest) = (0, before);
    while let Some(chunk) = client.chunk() {
        received += chunk.len() as u64;
        largest = largest.max(server.memory());
    }
    assert!(received > SIZE / 3, "{received} bytes are no such log");
    let grown = largest - before;
    assert!(grown < SIZE / 2, "grew by {grown} bytes while {SIZE} were sent");

    for _ in 0..5 {
        let mut client = Client::open(server.http);
        client.send(path);
        assert_eq!(client.head().status, 200);
        client.chunk().expect("the first piece");
        // The connection ends here, with most of the log unsent.
    }
    assert_eq!(
        client.rest("applications/local-good/jobs")[0]["numTasks"],
        4,
        "the connection goes on"
    );
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(500) {
        let said = server.stderr();
        let bad = said
            .lines()
            .find(|line| line.contains("WARN") || line.contains("ERROR"));
        assert_eq!(bad, None, "clients that leave are nothing to warn of");
        std::thread::sleep(Duration::from_millis(100));
    }
}
