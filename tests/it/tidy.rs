//! The repository itself. Each rule is a sentence, and the failure repeats it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Larger files do not belong into git history.
const LARGEST_FILE: u64 = 2 * 1024 * 1024;

/// Who may import what of ours: (module, modules it may name after `crate::`). Arrows of the layout, pointing down.
///
/// For now `history` implements `catalog::SnapshotSource`, and `replay` names the log it reads and the rows it gives.
const IMPORTS: &[(&str, &[&str])] = &[
    ("telemetry", &[]),
    ("config", &["config"]),
    ("table", &["table"]),
    ("cache", &["cache", "table", "telemetry"]),
    ("rollup", &["rollup", "table"]),
    ("event_log", &["event_log"]),
    ("event", &["event"]),
    (
        "replay",
        &[
            "replay",
            "event",
            "table",
            "event_log::EventLog",
            "history::snapshot::AttemptRows",
            "history::AttemptRows",
        ],
    ),
    (
        "history",
        &[
            "history",
            "cache",
            "replay",
            "rollup",
            "event_log",
            "event",
            "table",
            "config",
            "telemetry",
            "catalog::SnapshotSource",
        ],
    ),
    (
        "catalog",
        &[
            "catalog",
            "cache",
            "history",
            "rollup",
            "table",
            "event_log",
            "event",
            "config",
            "telemetry",
        ],
    ),
    (
        "server",
        &["server", "catalog", "config", "telemetry", "output", "table", "history"],
    ),
    ("output", &["output", "server", "table", "history", "cache"]),
];

/// One door per large dependency: (crate, the files and folders of `src` that may name it, why).
const DOORS: &[(&str, &[&str], &str)] = &[
    (
        "datafusion",
        &["catalog", "server", "output"],
        "only the catalog and the server know the query engine",
    ),
    (
        "arrow_flight",
        &["server/flight"],
        "only the Flight SQL door knows its protocol",
    ),
    ("tonic", &["server/flight"], "only the Flight SQL door knows gRPC"),
    ("prost", &["server/flight"], "only the Flight SQL door knows gRPC"),
    (
        "axum",
        &["server/http", "server/health", "server/rest"],
        "only the HTTP door knows HTTP",
    ),
    ("rustls", &["server/tls"], "one place knows TLS"),
    ("tokio_rustls", &["server/tls"], "one place knows TLS"),
    ("x509_certificate", &["server/tls"], "one place knows certificates"),
    (
        "ring",
        &["server/auth", "server/tls", "event_log/store/hdfs/negotiate"],
        "cryptography is for log-ins and TLS",
    ),
    (
        "serde_json",
        &[
            "event",
            "replay",
            "cache/commit",
            "catalog",
            "server",
            "output",
            "config",
            "app",
            "event_log/store/hdfs/webhdfs",
        ],
        "event_log knows bytes, not JSON, but for the answers of WebHDFS; tables know Arrow",
    ),
    (
        "hdfs_native",
        &["event_log/store/hdfs"],
        "one place knows the client of HDFS",
    ),
    (
        "krb5_gss",
        &["event_log/store/hdfs/negotiate"],
        "Kerberos by ourselves is for WebHDFS alone; the client of HDFS has the system's",
    ),
    (
        "reqwest",
        &["event_log/store/hdfs/webhdfs"],
        "only WebHDFS is asked over HTTP; object_store asks for itself",
    ),
    (
        "object_store",
        &["event_log", "cache"],
        "logs have one door to storage, the column cache has another",
    ),
    (
        "clap",
        &["config", "app", "main"],
        "only the command line parses arguments",
    ),
    ("figment", &["config"], "only the configuration is read from files"),
    (
        "parquet",
        &["output", "cache"],
        "Parquet is written by the cache and by the command line's output",
    ),
];

/// (Module, crates and paths it must not name, why).
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    (
        "replay",
        &[
            "std::fs",
            "std::io",
            "std::net",
            "tokio",
            "std::time::SystemTime",
            "std::time::Instant",
        ],
        "replay has no I/O and no clock",
    ),
    (
        "event",
        &["std::fs", "std::io", "std::path", "tokio"],
        "events are parsed from bytes, whatever holds them",
    ),
    (
        "rollup",
        &[
            "std::fs",
            "std::io",
            "tokio",
            "std::time::SystemTime",
            "std::time::Instant",
        ],
        "rollup has no I/O and no clock",
    ),
    (
        "table",
        &["std::fs", "std::io", "std::path", "tokio", "chrono", "serde"],
        "table knows only Arrow",
    ),
];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files that git tracks, or would after `git add`.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(checkout())
        .output()
        .expect("git is installed");
    assert!(
        output.status.success(),
        "git: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = output.stdout.split(|b| *b == 0).filter(|name| !name.is_empty());
    let paths = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()));
    paths.filter(|path| checkout().join(path).is_file()).collect()
}

/// Rust files under `src`, by their path in it, with their text. Not files of tests: those may import more than the code beside them.
fn sources() -> Vec<(String, String)> {
    let in_src = |path: &PathBuf| Some(path.strip_prefix("src").ok()?.to_str()?.to_owned());
    let names = tracked()
        .iter()
        .filter_map(in_src)
        .filter(|name| name.ends_with(".rs") && !name.contains("/tests/"))
        .collect::<BTreeSet<_>>();
    names
        .into_iter()
        .map(|name| (name.clone(), read(&Path::new("src").join(name))))
        .collect()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(checkout().join(path)).expect("a tracked file can be read")).into_owned()
}

/// The module of a file of `src`: `replay` for `replay/stage.rs`, `app` for `app.rs`.
fn module(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap_or_default()
}

/// Every path after `use`, one for each leaf of a group: `crate::event_log::{a, b::c}` gives two.
fn imports(source: &str) -> Vec<String> {
    let lines = strip_tests(source)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut paths = Vec::new();
    let mut statements = code.split(';').flat_map(|statement| statement.split_inclusive('\n'));
    while let Some(line) = statements.next() {
        let line = line.trim();
        let Some(at) = line.find("use ") else { continue };
        if !(at == 0 || line.starts_with("pub") && line[..at].ends_with(' ')) {
            continue;
        }
        let mut tree = line[at + 4..].to_owned();
        // A group goes on over the next lines until its braces close.
        while tree.matches('{').count() > tree.matches('}').count() {
            let Some(more) = statements.next() else { break };
            tree.push_str(more.trim());
        }
        expand("", &tree, &mut paths);
    }
    paths
}

/// Tests may import more than the code beside them.
fn strip_tests(source: &str) -> &str {
    source.find("#[cfg(test)]\nmod ").map_or(source, |at| &source[..at])
}

fn expand(prefix: &str, text: &str, paths: &mut Vec<String>) {
    let text = text.trim();
    let Some((head, group)) = text.split_once('{') else {
        if !text.is_empty() {
            let name = text.split(" as ").next().unwrap_or(text);
            paths.push(format!("{prefix}{name}").trim_end_matches("::self").to_owned());
        }
        return;
    };
    let group = group.strip_suffix('}').unwrap_or(group);
    let (mut depth, mut start) = (0, 0);
    let prefix = format!("{prefix}{head}");
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &group[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand(&prefix, &group[start..], paths);
}

fn is_or_is_under(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn modules_import_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (name, source) in sources() {
        let Some((_, allowed)) = IMPORTS.iter().find(|(of, _)| *of == module(&name)) else {
            continue;
        };
        for path in imports(&source) {
            let Some(inside) = path.strip_prefix("crate::") else {
                continue;
            };
            let anyone_may = ["config", "telemetry"].iter().any(|all| is_or_is_under(inside, all));
            if !anyone_may && !allowed.iter().any(|may| is_or_is_under(inside, may)) {
                wrong.push(format!(
                    "src/{name} imports crate::{inside}; {} may import {allowed:?}",
                    module(&name)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_large_dependency_has_one_door() {
    let mut wrong = Vec::new();
    for (name, source) in sources() {
        let file = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let source = strip_tests(&source);
        for (dependency, doors, why) in DOORS {
            let may = doors
                .iter()
                .any(|door| file == *door || file.starts_with(&format!("{door}/")));
            if !may && names(source, dependency) {
                wrong.push(format!("src/{name} names {dependency}; {why} ({doors:?})"));
            }
        }
        for (of, forbidden, why) in FORBIDDEN {
            for path in forbidden
                .iter()
                .filter(|path| module(&name) == *of && names(source, path))
            {
                wrong.push(format!("src/{name} names {path}; {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether code (not a comment) has a path that begins with `path`.
fn names(source: &str, path: &str) -> bool {
    let path = format!("{path}::");
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.into_iter().any(|line| {
        line.match_indices(&path)
            .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
    })
}

#[test]
fn nothing_is_left_for_later_without_saying_so() {
    // Spelt in two parts, so that this file does not find itself.
    let word = ["TO", "DO"].concat();
    let wrong: Vec<_> = texts()
        .filter(|(_, text)| text.contains(&word))
        .map(|(path, _)| path)
        .collect();
    assert!(wrong.is_empty(), "{word} in {wrong:?}: do it, or write an issue");
}

#[test]
fn no_file_names_a_path_of_the_machine_it_was_written_on() {
    let mut wrong = Vec::new();
    for (path, text) in texts() {
        for machine in ["work", "root"].map(|folder| format!("/{folder}/")) {
            let begins_a_path =
                |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.~}/".contains(c));
            if let Some((at, _)) = text.match_indices(&machine).find(|(at, _)| begins_a_path(*at)) {
                let line = text[..at].matches('\n').count() + 1;
                wrong.push(format!("{}:{line} names {machine}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_large_for_git() {
    let size = |path: &Path| std::fs::metadata(checkout().join(path)).expect("a tracked file").len();
    let wrong: Vec<_> = tracked().into_iter().filter(|path| size(path) > LARGEST_FILE).collect();
    assert!(wrong.is_empty(), "larger than {LARGEST_FILE} bytes: {wrong:?}");
}

/// Tracked files that are text, with it.
fn texts() -> impl Iterator<Item = (PathBuf, String)> {
    tracked().into_iter().filter_map(|path| {
        let bytes = std::fs::read(checkout().join(&path)).expect("a tracked file can be read");
        Some((path, String::from_utf8(bytes).ok()?))
    })
}

#[test]
fn groups_of_imports_are_taken_apart() {
    let source = "use crate::a::{b, c::{d, self}};\npub use std::io;\n// because use x;\nfn f() {\n    use crate::g as h;\n}\n#[cfg(test)]\nmod tests {\n    use crate::z;\n}";
    assert_eq!(
        imports(source),
        ["crate::a::b", "crate::a::c::d", "crate::a::c", "std::io", "crate::g"]
    );
    assert!(names("fn f(x: tonic::Status)", "tonic") && !names("// tonic::x\nmy_tonic::x", "tonic"));
}
