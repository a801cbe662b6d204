//! Spark's own properties, as a history server has them, so that its binary can be swapped for this one: a layer of the configuration between
//! the defaults and our own file.
//!
//! They come from `--properties-file` (Java's properties, as `spark-defaults.conf`) and, over that, from `SPARK_HISTORY_OPTS`
//! (`-Dkey=value`, quoted as for a shell). [`ROWS`] says what each means here. What means nothing here is listed, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::{Dict, Tag, Value};

use super::ConfigError;
use super::keys::KEYS;

/// Spark's properties as a layer.
#[derive(Debug, Default)]
pub(super) struct SparkLayer {
    pub(super) dict: Dict,
    /// Which property gave each of our keys, and where it stands.
    pub(super) places: BTreeMap<String, String>,
    /// Properties without a meaning here.
    pub(super) ignored: Vec<String>,
    /// `spark.ssl.historyServer.enabled`: where that stands.
    pub(super) wants_tls: Option<String>,
}

/// A property and where it stands.
#[derive(Debug, Clone)]
struct Property {
    value: String,
    place: String,
}

type Properties = BTreeMap<String, Property>;

/// How a value of Spark's becomes one of ours. The error says what would have been right.
type Reading = fn(&str) -> Result<Value, String>;

/// What a property sets here. A row of a key that there is not is without effect.
const ROWS: &[(&str, &str, Reading)] = &[
    ("spark.history.fs.logDirectory", "sources.paths", one_text),
    ("spark.history.fs.update.interval", "sources.scan_interval", seconds),
    ("spark.history.ui.port", "http.addr", port),
    ("spark.ui.retainedJobs", "rest.retained_jobs", number),
    ("spark.ui.retainedStages", "rest.retained_stages", number),
    ("spark.ui.retainedTasks", "rest.retained_tasks", number),
    ("spark.ui.retainedDeadExecutors", "rest.retained_dead_executors", number),
    ("spark.sql.ui.retainedExecutions", "rest.retained_executions", number),
    (
        "spark.hadoop.fs.s3a.connection.establish.timeout",
        "storage.connect_timeout",
        milliseconds,
    ),
    (
        "spark.hadoop.fs.s3a.connection.timeout",
        "storage.request_timeout",
        milliseconds,
    ),
    // Kerberos.
    ("spark.history.kerberos.principal", "hdfs.kerberos_principal", text),
    ("spark.history.kerberos.keytab", "hdfs.kerberos_keytab", text),
];

/// The same of S3, behind `spark.hadoop.fs.s3a.` or `spark.hadoop.fs.s3a.bucket.NAME.`.
const S3_ROWS: &[(&str, &str, Reading)] = &[
    ("endpoint", "endpoint", text),
    ("endpoint.region", "region", text),
    ("access.key", "access_key_id", text),
    ("secret.key", "secret_access_key", text),
    ("session.token", "session_token", text),
    ("path.style.access", "path_style", boolean),
    ("aws.credentials.provider", "credentials", credentials),
];
const S3: &str = "spark.hadoop.fs.s3a.";
const S3_TLS: &str = "connection.ssl.enabled";

/// Properties that are understood together with others, or that say what is so here anyway.
const OTHERS: &[&str] = &[
    "spark.history.provider",
    "spark.history.fs.cleaner.enabled",
    "spark.history.fs.cleaner.maxAge",
    "spark.history.fs.cleaner.maxNum",
    "spark.history.fs.cleaner.interval",
    "spark.history.kerberos.enabled",
    "spark.ssl.historyServer.enabled",
    "spark.hadoop.fs.s3a.impl",
];
/// The class that reads logs from a file system, which is what is done here.
const FS_PROVIDER: &str = "org.apache.spark.deploy.history.FsHistoryProvider";
/// What a cleaner that is on removes by default.
const CLEANER_MAX_AGE: &str = "7d";

/// Reads both places. Properties that do not begin with `spark.` are not Spark's.
pub(super) fn read(file: Option<&Path>, options: Option<&str>) -> Result<SparkLayer, ConfigError> {
    let mut properties = Properties::new();
    if let Some(path) = file {
        let bytes = std::fs::read(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        for (key, value) in java_properties(&String::from_utf8_lossy(&bytes)) {
            let place = format!("{}: {key}", path.display());
            properties.insert(key, Property { value, place });
        }
    }
    for word in words(options.unwrap_or_default()) {
        if let Some((key, value)) = word
            .strip_prefix("-D")
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            let place = format!("SPARK_HISTORY_OPTS: {key}");
            let value = value.to_owned();
            properties.insert(key.to_owned(), Property { value, place });
        }
    }
    properties.retain(|key, _| key.starts_with("spark."));
    layer(properties)
}

fn layer(properties: Properties) -> Result<SparkLayer, ConfigError> {
    let mut layer = SparkLayer::default();
    for (key, property) in &properties {
        let value = property.value.trim();
        let known = ROWS.iter().find(|(name, ..)| name == key);
        if let Some((_, ours, reading)) = known.filter(|(_, ours, _)| KEYS.iter().any(|key| key.name == *ours)) {
            let (section, name) = ours.split_once('.').expect("every key has a section");
            layer.put(&[section, name], reading, value, property)?;
        } else if let Some(rest) = key.strip_prefix(S3) {
            layer.put_s3(key, rest, value, property, &properties)?;
        } else if !OTHERS.contains(&key.as_str()) {
            layer.ignored.push(key.clone());
        }
    }
    let value_of = |key: &str| properties.get(key).map(|property| property.value.trim());
    let is_on = |key: &str| value_of(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_on("spark.history.fs.cleaner.enabled") {
        let on = &properties["spark.history.fs.cleaner.enabled"];
        let age = properties.get("spark.history.fs.cleaner.maxAge");
        layer.put(
            &["retention", "max_age"],
            &(seconds as Reading),
            age.map_or(CLEANER_MAX_AGE, |age| age.value.trim()),
            age.unwrap_or(on),
        )?;
        // Without a limit Spark has the largest number there is.
        if let Some(most) = properties.get("spark.history.fs.cleaner.maxNum")
            && most.value.trim() != i32::MAX.to_string()
        {
            layer.put(
                &["retention", "max_logs"],
                &(number as Reading),
                most.value.trim(),
                most,
            )?;
        }
    }
    if let Some(property) = properties.get("spark.history.provider")
        && property.value.trim() != FS_PROVIDER
    {
        return Err(invalid(
            property,
            format!("only {FS_PROVIDER} is known here: it reads logs of a file system"),
        ));
    }
    if is_on("spark.ssl.historyServer.enabled") {
        layer.wants_tls = value_of("spark.ssl.historyServer.enabled")
            .and(properties.get("spark.ssl.historyServer.enabled"))
            .map(|property| property.place.clone());
    }
    Ok(layer)
}

impl SparkLayer {
    /// `rest` is what stands behind `spark.hadoop.fs.s3a.`.
    fn put_s3(
        &mut self,
        key: &str,
        rest: &str,
        value: &str,
        property: &Property,
        all: &Properties,
    ) -> Result<(), ConfigError> {
        // A bucket's name may have dots, so the end says where it ends.
        let of_bucket = |name: &str| {
            let inside = rest.strip_prefix("bucket.")?;
            inside
                .strip_suffix(name)?
                .strip_suffix('.')
                .filter(|bucket| !bucket.is_empty())
        };
        let is_of = |name: &str| rest == name || of_bucket(name).is_some();
        // The longest name, so that `endpoint.region` of a bucket is no region of a bucket named `….endpoint`.
        let row = S3_ROWS
            .iter()
            .filter(|(name, ..)| is_of(name))
            .max_by_key(|(name, ..)| name.len());
        let (name, ours, reading): (&str, &str, Reading) = match row {
            Some((name, ours, reading)) => (name, ours, *reading),
            None if is_of(S3_TLS) => (S3_TLS, "allow_http", negated),
            None => {
                if !OTHERS.contains(&key) {
                    self.ignored.push(key.to_owned());
                }
                return Ok(());
            }
        };
        let bucket = of_bucket(name).filter(|_| rest != name).map(str::to_owned);
        let path: Vec<&str> = match &bucket {
            Some(bucket) => vec!["s3", "bucket", bucket, ours],
            None => vec!["s3", ours],
        };
        if ours != "endpoint" {
            return self.put(&path, &reading, value, property);
        }
        // Hadoop's endpoint may lack the scheme, which another property says then.
        let sibling = key.strip_suffix(name).unwrap_or_default().to_owned() + S3_TLS;
        let tls = all.get(&sibling).or_else(|| all.get(&format!("{S3}{S3_TLS}")));
        let is_plain = tls.is_some_and(|tls| tls.value.trim().eq_ignore_ascii_case("false"));
        let endpoint = match value.contains("://") || value.is_empty() {
            true => value.to_owned(),
            false if is_plain => format!("http://{value}"),
            false => format!("https://{value}"),
        };
        self.put(&path, &reading, &endpoint, property)?;
        if endpoint.starts_with("http://") {
            let mut allow = path;
            let last = allow.len() - 1;
            allow[last] = "allow_http";
            self.put(&allow, &(boolean as Reading), "true", property)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &[&str], reading: &Reading, value: &str, property: &Property) -> Result<(), ConfigError> {
        let value = reading(value).map_err(|message| invalid(property, message))?;
        self.places.insert(path.join("."), property.place.clone());
        let (last, sections) = path.split_last().expect("a path has parts");
        let mut dict = &mut self.dict;
        for section in sections {
            let inner = dict
                .entry((*section).to_owned())
                .or_insert_with(|| Value::Dict(Tag::Default, Dict::new()));
            let Value::Dict(_, inner) = inner else { return Ok(()) };
            dict = inner;
        }
        // What an endpoint says of its scheme counts more than what another property says of all.
        let is_implied = *last == "allow_http" && dict.contains_key("allow_http") && value.to_bool() == Some(false);
        if !is_implied {
            dict.insert((*last).to_owned(), value);
        }
        Ok(())
    }
}

fn invalid(property: &Property, message: String) -> ConfigError {
    ConfigError::Invalid {
        place: property.place.clone(),
        message,
    }
}

fn text(value: &str) -> Result<Value, String> {
    Ok(Value::from(value))
}

fn one_text(value: &str) -> Result<Value, String> {
    Ok(Value::from(vec![value]))
}

fn boolean(value: &str) -> Result<Value, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(Value::from(true)),
        "false" => Ok(Value::from(false)),
        _ => Err(format!("{value:?} is neither true nor false")),
    }
}

fn negated(value: &str) -> Result<Value, String> {
    Ok(Value::from(boolean(value)?.to_bool() == Some(false)))
}

fn number(value: &str) -> Result<Value, String> {
    let number: u32 = value.parse().map_err(|_| format!("{value:?} is no number"))?;
    Ok(Value::from(number))
}

/// The history server's port; where it listens is for us to say, because nobody may come in from other machines without users.
fn port(value: &str) -> Result<Value, String> {
    let port: u16 = value.parse().map_err(|_| format!("{value:?} is no port"))?;
    Ok(Value::from(format!("127.0.0.1:{port}")))
}

fn seconds(value: &str) -> Result<Value, String> {
    span(value, 1_000)
}

fn milliseconds(value: &str) -> Result<Value, String> {
    span(value, 1)
}

/// A span as Spark reads it (`JavaUtils.timeStringAs`): a whole number with a unit, or without one in the property's own.
fn span(value: &str, own_unit_ms: u64) -> Result<Value, String> {
    let wrong = || format!("{value:?} is no span of time such as 10s, 5min, 12h or 7d");
    let lower = value.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (count, unit) = lower.split_at(digits);
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let unit_ms = match unit.trim() {
        "" => own_unit_ms,
        "us" => return Ok(Value::from(format!("{count}us"))),
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let ms = count.checked_mul(unit_ms).ok_or_else(wrong)?;
    Ok(Value::from(format!("{ms}ms")))
}

/// Where credentials come from, by the names of Java classes: Hadoop's, and those of both of Amazon's libraries.
fn credentials(value: &str) -> Result<Value, String> {
    let mut ways = Vec::new();
    for class in value.split(',').map(str::trim).filter(|class| !class.is_empty()) {
        ways.push(match class.rsplit(['.', '$']).next().unwrap_or(class) {
            "SimpleAWSCredentialsProvider" | "TemporaryAWSCredentialsProvider" => "keys",
            "AnonymousAWSCredentialsProvider" | "AnonymousCredentialsProvider" => "anonymous",
            "EnvironmentVariableCredentialsProvider" => "environment",
            "WebIdentityTokenCredentialsProvider" | "WebIdentityTokenFileCredentialsProvider" => "web-identity",
            "ContainerCredentialsProvider" => "container",
            "InstanceProfileCredentialsProvider" => "instance-profile",
            "IAMInstanceCredentialsProvider"
            | "EC2ContainerCredentialsProviderWrapper"
            | "DefaultAWSCredentialsProviderChain"
            | "DefaultCredentialsProvider" => "auto",
            _ => {
                return Err(format!(
                    "the class {class} is not known; give keys as spark.hadoop.fs.s3a.access.key and secret.key, or set [s3] credentials"
                ));
            }
        });
    }
    // Several are tried in order, and so does `auto`.
    Ok(Value::from(match ways.as_slice() {
        [one] => *one,
        _ => "auto",
    }))
}

/// Java's properties (`java.util.Properties.load`): comments, continued lines, escapes, and a key that ends at `=`, `:` or white space.
fn java_properties(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        // An odd number of backslashes at the end: the line goes on in the next.
        while logical.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1 {
            logical.pop();
            let Some(next) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let mut key_end = logical.len();
        let mut is_escaped = false;
        for (at, c) in logical.char_indices() {
            if !is_escaped && (c == '=' || c == ':' || c.is_ascii_whitespace()) {
                key_end = at;
                break;
            }
            is_escaped = c == '\\' && !is_escaped;
        }
        let (key, rest) = logical.split_at(key_end);
        let rest = rest.trim_start();
        let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
        pairs.push((unescaped(key), unescaped(rest)));
    }
    pairs
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.clone().take(4).collect();
                match u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                    Some(c) if digits.len() == 4 => {
                        plain.push(c);
                        chars.nth(3);
                    }
                    _ => plain.push('u'),
                }
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

/// Words of options, as Spark's launcher takes them apart: quotes of both kinds, and backslashes.
fn words(options: &str) -> Vec<String> {
    let (mut words, mut word, mut has_word) = (Vec::new(), String::new(), false);
    let mut quote: Option<char> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                if let Some(next) = chars.next() {
                    word.push(next);
                    has_word = true;
                }
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                has_word = true;
            }
            (c, None) if c.is_whitespace() => {
                if has_word {
                    words.push(std::mem::take(&mut word));
                }
                has_word = false;
            }
            (c, _) => {
                word.push(c);
                has_word = true;
            }
        }
    }
    if has_word {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_properties_file_is_read_as_java_reads_it() {
        let text = "# comment\n! another\n\nspark.a value with  spaces \nspark.b=1\nspark.c: 2\n  spark.d\t=\t3\nspark.e=one, \\\n   two\\\\\n\
                    spark.f\\ g=h\\u00e9\\:=\\n.\nspark.i\nspark.j ==\n";
        let expected = [
            ("spark.a", "value with  spaces "),
            ("spark.b", "1"),
            ("spark.c", "2"),
            ("spark.d", "3"),
            ("spark.e", "one, two\\"),
            ("spark.f g", "hé:=\n."),
            ("spark.i", ""),
            ("spark.j", "="),
        ];
        let got = java_properties(text);
        let got: Vec<(&str, &str)> = got.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn options_are_taken_apart_as_a_shell_does() {
        assert_eq!(
            words(r#" -Da=b "-Dc=d e"  -Df='g "h"'i -Dj=k\ l """#),
            ["-Da=b", "-Dc=d e", "-Df=g \"h\"i", "-Dj=k l", ""]
        );
    }

    fn set(pairs: &[(&str, &str)]) -> Result<SparkLayer, ConfigError> {
        let properties = pairs.iter().map(|(key, value)| {
            let property = Property {
                value: (*value).to_owned(),
                place: (*key).to_owned(),
            };
            ((*key).to_owned(), property)
        });
        layer(properties.collect())
    }

    fn found(layer: &SparkLayer, path: &str) -> Option<String> {
        let mut value = Value::Dict(Tag::Default, layer.dict.clone());
        for part in path.split('/') {
            value = value.into_dict()?.get(part)?.clone();
        }
        Some(match value {
            Value::String(_, text) => text,
            Value::Bool(_, flag) => flag.to_string(),
            Value::Num(_, number) => number.to_u128()?.to_string(),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn what_a_history_server_on_s3_has_becomes_our_own_settings() {
        let layer = set(&[
            ("spark.history.fs.update.interval", "5"),
            ("spark.history.ui.port", "18090"),
            ("spark.history.fs.cleaner.enabled", "true"),
            ("spark.history.fs.cleaner.maxNum", "500"),
            ("spark.hadoop.fs.s3a.endpoint", "minio:9000"),
            ("spark.hadoop.fs.s3a.connection.ssl.enabled", "false"),
            ("spark.hadoop.fs.s3a.path.style.access", "true"),
            ("spark.hadoop.fs.s3a.secret.key", "hush"),
            ("spark.hadoop.fs.s3a.bucket.my.logs.endpoint.region", "eu-west-1"),
            (
                "spark.hadoop.fs.s3a.bucket.my.logs.endpoint",
                "https://s3.eu-west-1.amazonaws.com",
            ),
            ("spark.hadoop.fs.s3a.fast.upload", "true"),
            (
                "spark.hadoop.fs.s3a.aws.credentials.provider",
                "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
            ),
            ("spark.executor.memory", "4g"),
        ])
        .unwrap();
        for (path, expected) in [
            ("sources/scan_interval", "5000ms"),
            ("http/addr", "127.0.0.1:18090"),
            ("retention/max_age", "604800000ms"),
            ("retention/max_logs", "500"),
            ("s3/endpoint", "http://minio:9000"),
            ("s3/allow_http", "true"),
            ("s3/path_style", "true"),
            ("s3/secret_access_key", "hush"),
            ("s3/credentials", "keys"),
            ("s3/bucket/my.logs/region", "eu-west-1"),
            ("s3/bucket/my.logs/endpoint", "https://s3.eu-west-1.amazonaws.com"),
        ] {
            assert_eq!(found(&layer, path).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(
            layer.ignored,
            ["spark.executor.memory", "spark.hadoop.fs.s3a.fast.upload"]
        );
        assert_eq!(layer.places["http.addr"], "spark.history.ui.port");
    }

    #[test]
    fn a_value_that_cannot_be_understood_names_its_property() {
        for (key, value, expected) in [
            ("spark.history.fs.update.interval", "soon", "no span of time"),
            ("spark.history.ui.port", "http", "no port"),
            ("spark.hadoop.fs.s3a.path.style.access", "yes", "neither true nor false"),
            (
                "spark.hadoop.fs.s3a.aws.credentials.provider",
                "com.example.Mine",
                "com.example.Mine is not known",
            ),
            ("spark.history.provider", "com.example.Mine", "FsHistoryProvider"),
        ] {
            let message = set(&[(key, value)]).unwrap_err().to_string();
            assert!(message.starts_with(key) && message.contains(expected), "{message}");
        }
    }
}
