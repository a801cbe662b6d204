//! Reads the layers of the configuration and puts them on top of each other.
//!
//! Each layer is checked for unknown keys before it is merged, so that an error names the place where the key stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::args::{Command, CommandLine};
use super::keys::{self, KEYS, KeyForm, OTHER_VARIABLES, PREFIX};
use super::spark;
use super::storage::STORE_VARIABLES;
use super::{ByteSize, CacheLocation, Config, DoorAddr, StorageConfig, StoreEnvironment};

/// Where a value comes from, the weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    Default,
    /// With the property that gave each key, and where it stands.
    Spark(BTreeMap<String, String>),
    File(PathBuf),
    Environment,
    Flag,
}

impl Layer {
    /// As `system.settings.source` names it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Layer::Default => "default",
            Layer::Spark(_) => "Spark property",
            Layer::File(_) => "file",
            Layer::Environment => "environment",
            Layer::Flag => "flag",
        }
    }

    /// The place of a key in this layer, for an error: `sparkgate.toml: [pg] addr`, `SPARKGATE_PG__ADDR`, `--pg`.
    fn place(&self, name: &str) -> String {
        match self {
            Layer::Default => format!("the default of {}", keys::in_file(name)),
            Layer::Spark(places) => places.get(name).cloned().unwrap_or_else(|| keys::in_file(name)),
            Layer::File(path) => format!("{}: {}", path.display(), keys::in_file(name)),
            Layer::Environment => keys::variable(name),
            Layer::Flag => flag(name).to_owned(),
        }
    }
}

fn flag(name: &str) -> &str {
    KEYS.iter()
        .find(|key| key.name == name)
        .and_then(|key| key.flag)
        .unwrap_or(name)
}

/// What is wrong with the configuration. All of these are for the operator to put right: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not TOML: {message}", path.display())]
    NotToml { path: PathBuf, message: String },
    #[error("{place} is no key of the configuration; did you mean {nearest}?")]
    UnknownKey { place: String, nearest: String },
    #[error("{place} is a section: its keys go under [{section}]")]
    Section { place: String, section: String },
    #[error("{place}: {message}")]
    Invalid { place: String, message: String },
    #[error(
        "{place}: {addr} can be reached from other machines, and nobody could log in: make users with `sparkgate user add NAME \
         --users-file FILE` and name the file in [auth] users_file, or use an address of this machine alone, such as \
         127.0.0.1:{port}", port = addr.port()
    )]
    NotLoopback { place: String, addr: SocketAddr },
    #[error(
        "no source is given: name a directory of event logs, as in `sparkgate {command} DIRECTORY`, set [sources] paths in \
         the configuration file, or spark.history.fs.logDirectory in --properties-file"
    )]
    NoSource { command: &'static str },
    #[error(
        "no file of users is given: name one with --users-file, or set [auth] users_file in the configuration file"
    )]
    NoUsersFile,
}

/// A configuration, and where each value came from.
#[derive(Debug)]
pub struct Loaded {
    /// Spark properties that mean nothing here.
    pub ignored_properties: Vec<String>,
    pub config: Config,
    /// What stores are opened with.
    pub storage: StorageConfig,
    pub settings: Vec<ResolvedSetting>,
}

impl Loaded {
    /// Whether somebody set a key, instead of leaving its default.
    pub fn is_set(&self, name: &str) -> bool {
        self.settings
            .iter()
            .any(|setting| setting.name == name && setting.source != Layer::Default)
    }
}

/// One key with its value: a row of `system.settings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSetting {
    pub name: Cow<'static, str>,
    pub value: String,
    pub source: Layer,
    pub description: &'static str,
}

/// Reads the configuration for a command line in an environment.
pub fn load(line: &CommandLine, environment: &[(OsString, OsString)]) -> Result<Loaded, ConfigError> {
    let mut layers = Vec::new();
    let options = environment.iter().find(|(name, _)| name == "SPARK_HISTORY_OPTS");
    let options = options.and_then(|(_, value)| value.to_str());
    let properties = line
        .command
        .common()
        .and_then(|common| common.properties_file.as_deref());
    let from_spark = spark::read(properties, options)?;
    if !from_spark.dict.is_empty() {
        layers.push((Layer::Spark(from_spark.places), from_spark.dict));
    }
    if let Some(path) = config_file(line, environment) {
        layers.push(file_layer(path)?);
    }
    layers.push((Layer::Environment, environment_layer(environment)?));
    layers.push((Layer::Flag, flag_layer(&line.command)?));

    let config = merge(&layers)?;
    let resolved = Figment::from(Serialized::defaults(&config));
    let mut settings: Vec<ResolvedSetting> = KEYS
        .iter()
        .map(|key| ResolvedSetting {
            name: key.name.into(),
            value: resolved
                .find_value(key.name)
                .map(|value| text(&value))
                .unwrap_or_default(),
            source: source_of(&layers, key.name),
            description: key.doc,
        })
        .collect();
    settings.extend(bucket_settings(&resolved, &layers));
    if let Some(place) = from_spark.wants_tls
        && config.tls.certificate.is_empty()
    {
        let message = "key stores of Java are not read; name PEM files in [tls] certificate and key, which serve TLS on the port of HTTP";
        return Err(ConfigError::Invalid {
            place,
            message: message.to_owned(),
        });
    }
    validate(&config, &layers, &line.command)?;
    let storage = StorageConfig {
        remote: config.storage.clone(),
        s3: config.s3.clone(),
        hdfs: config.hdfs.clone(),
        environment: store_environment(environment),
    };
    Ok(Loaded {
        ignored_properties: from_spark.ignored,
        config,
        storage,
        settings,
    })
}

/// Rows of `system.settings` for what is set in sections `[s3.bucket.NAME]`.
fn bucket_settings(resolved: &Figment, layers: &[(Layer, Dict)]) -> Vec<ResolvedSetting> {
    let Ok(Value::Dict(_, buckets)) = resolved.find_value(BUCKETS) else {
        return Vec::new();
    };
    let mut settings = Vec::new();
    for (bucket, keys) in &buckets {
        let Value::Dict(_, keys) = keys else { continue };
        for (key, value) in keys {
            let has = |dict: &Dict| {
                let inside = |dict: &Dict, name: &str| dict.get(name)?.as_dict().cloned();
                let keys = inside(dict, "s3").and_then(|s3| inside(&inside(&s3, "bucket")?, bucket));
                keys.is_some_and(|keys| keys.contains_key(key))
            };
            let layer = layers.iter().rev().find(|(_, dict)| has(dict));
            let known = format!("s3.{key}");
            settings.push(ResolvedSetting {
                name: format!("{BUCKETS}.{bucket}.{key}").into(),
                value: text(value),
                source: layer.map_or(Layer::Default, |(layer, _)| layer.clone()),
                description: KEYS.iter().find(|key| key.name == known).map_or("", |key| key.doc),
            });
        }
    }
    settings
}

/// What the stores' own tools read from the environment.
fn store_environment(environment: &[(OsString, OsString)]) -> StoreEnvironment {
    let of_stores = environment.iter().filter_map(|(name, value)| {
        let (name, value) = (name.to_str()?, value.to_str()?);
        let is_known = STORE_VARIABLES.iter().any(|begin| name.starts_with(begin)) && !value.is_empty();
        is_known.then(|| (name.to_owned(), value.to_owned()))
    });
    StoreEnvironment(of_stores.collect())
}

/// The default of a key, as it would be written.
pub(super) fn default_value(name: &str) -> String {
    let defaults = Figment::from(Serialized::defaults(Config::default()));
    defaults.find_value(name).map(|value| text(&value)).unwrap_or_default()
}

fn config_file(line: &CommandLine, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let named = || {
        environment
            .iter()
            .find(|(name, value)| name == "SPARKGATE_CONFIG" && !value.is_empty())
    };
    line.command
        .config()
        .cloned()
        .or_else(|| named().map(|(_, value)| PathBuf::from(value)))
}

fn file_layer(path: PathBuf) -> Result<(Layer, Dict), ConfigError> {
    let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let data = Toml::string(&text).data().map_err(|error| ConfigError::NotToml {
        path: path.clone(),
        message: one_line(&error.kind.to_string()),
    })?;
    let dict = data.into_values().next().unwrap_or_default();
    let layer = Layer::File(path);
    check_keys(&layer, &dict, "")?;
    Ok((layer, dict))
}

/// A TOML error is drawn over several lines; its first and last say where and what.
fn one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    match lines.next_back() {
        Some(last) => format!("{}: {last}", first.trim_start_matches("TOML parse error ")),
        None => first.to_owned(),
    }
}

/// Walks down to every value and compares its path with the known keys.
fn check_keys(layer: &Layer, dict: &Dict, above: &str) -> Result<(), ConfigError> {
    for (key, value) in dict {
        let name = if above.is_empty() {
            key.clone()
        } else {
            format!("{above}.{key}")
        };
        let is_section = KEYS.iter().any(|known| known.section() == name);
        match value {
            Value::Dict(_, buckets) if name == BUCKETS => {
                for (bucket, keys) in buckets {
                    check_bucket(layer, bucket, keys)?;
                }
            }
            Value::Dict(_, inner) if !inner.is_empty() => check_keys(layer, inner, &name)?,
            Value::Dict(..) if is_section => {}
            _ if is_section => {
                return Err(ConfigError::Section {
                    place: layer.place(&name),
                    section: name,
                });
            }
            _ if KEYS.iter().any(|known| known.name == name) => {}
            _ => return Err(unknown_key(layer, &name)),
        }
    }
    Ok(())
}

/// The section of sections for one bucket each.
const BUCKETS: &str = "s3.bucket";

/// A section `[s3.bucket.NAME]` has the keys of `[s3]`.
fn check_bucket(layer: &Layer, bucket: &str, keys: &Value) -> Result<(), ConfigError> {
    let Value::Dict(_, keys) = keys else {
        return Err(ConfigError::Section {
            place: format!("{}.{bucket}", layer.place(BUCKETS)),
            section: format!("{BUCKETS}.{bucket}"),
        });
    };
    for key in keys.keys() {
        let name = format!("s3.{key}");
        if !KEYS.iter().any(|known| known.name == name) {
            return Err(unknown_key(layer, &name));
        }
    }
    Ok(())
}

fn unknown_key(layer: &Layer, name: &str) -> ConfigError {
    let nearest = keys::nearest(name);
    let nearest = match layer {
        Layer::Environment => nearest.variable(),
        _ => keys::in_file(nearest.name),
    };
    ConfigError::UnknownKey {
        place: layer.place(name),
        nearest,
    }
}

fn environment_layer(environment: &[(OsString, OsString)]) -> Result<Dict, ConfigError> {
    let mut dict = Dict::new();
    for (variable, value) in environment {
        // A name that is not UTF-8 cannot be ours.
        let Some(variable) = variable.to_str() else { continue };
        let Some(written) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if OTHER_VARIABLES.iter().any(|(other, _)| *other == variable) {
            continue;
        }
        let name = written.to_lowercase().replace("__", ".");
        let Some(key) = KEYS.iter().find(|key| key.variable() == variable) else {
            let nearest = keys::nearest(&name).variable();
            return Err(ConfigError::UnknownKey {
                place: format!("the variable {variable}"),
                nearest,
            });
        };
        let Some(value) = value.to_str() else {
            let message = "its value is not UTF-8".to_owned();
            return Err(ConfigError::Invalid {
                place: variable.to_owned(),
                message,
            });
        };
        put(&mut dict, key.name, environment_value(key.form, value));
    }
    Ok(dict)
}

/// A variable is text: a key that wants text takes it as it is, whatever it looks like.
fn environment_value(form: KeyForm, value: &str) -> Value {
    let parsed = || value.parse::<Value>().unwrap_or_else(|never| match never {});
    match form {
        KeyForm::Text => Value::from(value),
        KeyForm::TextList if value.trim_start().starts_with('[') => parsed(),
        KeyForm::TextList => Value::from(vec![value]),
        KeyForm::Number | KeyForm::Bool => parsed(),
    }
}

fn flag_layer(command: &Command) -> Result<Dict, ConfigError> {
    let mut dict = Dict::new();
    if let Some(common) = command.common() {
        if let Some(location) = &common.cache {
            put(&mut dict, "cache.location", Value::from(location.as_str()));
        }
        if !common.sources.is_empty() {
            put(&mut dict, "sources.paths", Value::from(common.sources.clone()));
        }
    }
    if command.is_read_only() {
        put(&mut dict, "cache.read_only", Value::from(true));
    }
    if let Command::User(args) = command
        && let Some(file) = &args.users_file
    {
        put(&mut dict, "auth.users_file", Value::from(file.as_str()));
    }
    if let Command::Serve(args) = command {
        let flags = [
            ("pg.addr", &args.pg),
            ("flight.addr", &args.flight),
            ("http.addr", &args.http),
            ("sources.scan_interval", &args.scan_interval),
        ];
        for (name, value) in flags {
            if let Some(value) = value {
                put(&mut dict, name, Value::from(value.as_str()));
            }
        }
    }
    Ok(dict)
}

fn put(dict: &mut Dict, name: &str, value: Value) {
    let (section, key) = name.split_once('.').expect("every key has a section");
    let section = dict
        .entry(section.to_owned())
        .or_insert_with(|| Value::Dict(Tag::Default, Dict::new()));
    if let Value::Dict(_, keys) = section {
        keys.insert(key.to_owned(), value);
    }
}

/// One layer, as figment takes it.
struct LayerProvider<'a>(&'a Dict);

impl Provider for LayerProvider<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("layer")
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

fn merge(layers: &[(Layer, Dict)]) -> Result<Config, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    for (_, dict) in layers {
        figment = figment.merge(LayerProvider(dict));
    }
    figment.extract::<Config>().map_err(|error| {
        // The value that is in force is the one that could not be read, so its layer is the place to name. A path may go
        // on into a list: `sources.paths.0`.
        let name = error.path.iter().take(2).cloned().collect::<Vec<_>>().join(".");
        let message = error.kind.to_string().trim_start_matches("invalid type: ").to_owned();
        ConfigError::Invalid {
            place: source_of(layers, &name).place(&name),
            message,
        }
    })
}

/// The last layer that has a key.
fn source_of(layers: &[(Layer, Dict)], name: &str) -> Layer {
    let Some((section, key)) = name.split_once('.') else {
        return Layer::Default;
    };
    let has = |dict: &Dict| matches!(dict.get(section), Some(Value::Dict(_, keys)) if keys.contains_key(key));
    layers
        .iter()
        .rev()
        .find(|(_, dict)| has(dict))
        .map_or(Layer::Default, |(layer, _)| layer.clone())
}

/// A value as it would be written, a list with commas.
fn text(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number.to_u128().map(|n| n.to_string()).unwrap_or_default(),
        Value::Array(_, items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Char(_, c) => c.to_string(),
        Value::Empty(..) | Value::Dict(..) => String::new(),
    }
}

/// Below this a scan would do nothing but list directories.
const SHORTEST_SCAN_INTERVAL: Duration = Duration::from_millis(100);
/// A NameNode that collects garbage does not answer meanwhile.
const SHORTEST_HDFS_TIMEOUT: Duration = Duration::from_secs(1);
/// A client on a slow network has to be able to answer.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
/// Statements of tools are that long.
const SMALLEST_MESSAGE_LIMIT: ByteSize = ByteSize(64 << 10);
/// A statement needs some batches in memory to make any progress.
const SMALLEST_MEMORY_LIMIT: ByteSize = ByteSize(1 << 20);

fn validate(config: &Config, layers: &[(Layer, Dict)], command: &Command) -> Result<(), ConfigError> {
    let place = |name: &str| source_of(layers, name).place(name);
    let invalid = |name: &str, message: String| {
        Err(ConfigError::Invalid {
            place: place(name),
            message,
        })
    };

    for (name, addr) in [
        ("pg.addr", config.pg.addr),
        ("flight.addr", config.flight.addr),
        ("http.addr", config.http.addr),
    ] {
        if let DoorAddr::At(addr) = addr
            && !addr.ip().is_loopback()
            && config.auth.users_file.is_empty()
            && config.tls.client_ca.is_empty()
        {
            return Err(ConfigError::NotLoopback {
                place: place(name),
                addr,
            });
        }
    }
    if config.sources.scan_interval.0 < SHORTEST_SCAN_INTERVAL {
        return invalid(
            "sources.scan_interval",
            format!("{} is too short; at least 100ms", config.sources.scan_interval),
        );
    }
    if config.hdfs.timeout.0 < SHORTEST_HDFS_TIMEOUT {
        return invalid(
            "hdfs.timeout",
            format!("{} is too short; at least 1s", config.hdfs.timeout),
        );
    }
    if let Some(property) = config.hdfs.properties.iter().find(|property| !property.contains('=')) {
        return invalid("hdfs.properties", format!("{property:?} is not of the form name=value"));
    }
    if config.query.memory_limit.0 > 0 && config.query.memory_limit < SMALLEST_MEMORY_LIMIT {
        return invalid(
            "query.memory_limit",
            format!("{} is too little; at least 1MiB, or 0", config.query.memory_limit),
        );
    }
    if config.query.max_concurrent == 0 {
        return invalid("query.max_concurrent", "no statement could run; at least 1".into());
    }
    if config.query.timeout.0 == Some(Duration::ZERO) {
        return invalid(
            "query.timeout",
            "no statement ends in no time; \"off\" is without limit".into(),
        );
    }
    if config.pg.max_connections == 0 {
        return invalid("pg.max_connections", "nobody could connect; at least 1".into());
    }
    if config.flight.max_connections == 0 {
        return invalid("flight.max_connections", "nobody could connect; at least 1".into());
    }
    if config.flight.max_message_bytes < SMALLEST_MESSAGE_LIMIT {
        return invalid(
            "flight.max_message_bytes",
            format!(
                "{} is too little for a statement; at least 64KiB",
                config.flight.max_message_bytes
            ),
        );
    }
    if config.http.max_connections == 0 {
        return invalid("http.max_connections", "nobody could connect; at least 1".into());
    }
    for (name, span) in [
        ("auth.timeout", config.auth.timeout),
        ("flight.stall_timeout", config.flight.stall_timeout),
        ("flight.token_lifetime", config.flight.token_lifetime),
        ("flight.ticket_lifetime", config.flight.ticket_lifetime),
        ("http.idle_timeout", config.http.idle_timeout),
    ] {
        if span.0 < SHORTEST_TIMEOUT {
            return invalid(name, format!("{span} is too short for anybody; at least 100ms"));
        }
    }
    for (name, limit) in [
        ("pg.idle_timeout", config.pg.idle_timeout),
        ("flight.idle_timeout", config.flight.idle_timeout),
    ] {
        if limit.0.is_some_and(|limit| limit < SHORTEST_TIMEOUT) {
            let message = format!("{limit} is too short for anybody; at least 100ms, or \"off\"");
            return invalid(name, message);
        }
    }
    if let Command::User(_) = command {
        return match config.auth.users_file.is_empty() {
            true => Err(ConfigError::NoUsersFile),
            false => Ok(()),
        };
    }
    let has_cache_alone = matches!(command, Command::Cache(_)) && config.cache.location != CacheLocation::Default;
    if config.sources.paths.is_empty() && !has_cache_alone {
        let command = match command {
            Command::Serve(_) => "serve",
            Command::Sql(_) => "sql",
            Command::Ingest(_) => "ingest",
            Command::Check(_) => "check",
            Command::Cache(_) | Command::User(_) => "cache status",
        };
        return Err(ConfigError::NoSource { command });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn try_load(args: &[&str], environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let line = CommandLine::try_parse_from(std::iter::once(&"sparkgate").chain(args)).unwrap();
        let environment: Vec<_> = environment
            .iter()
            .map(|(n, v)| (OsString::from(n), OsString::from(v)))
            .collect();
        load(&line, &environment)
    }

    fn error(args: &[&str], environment: &[(&str, &str)]) -> String {
        try_load(args, environment).unwrap_err().to_string()
    }

    /// Loads with a configuration file of this text; the name of its directory is taken out of an error.
    fn with_file(text: &str, args: &[&str], environment: &[(&str, &str)]) -> Result<Loaded, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparkgate.toml");
        std::fs::write(&path, text).unwrap();
        let mut args = args.to_vec();
        args.extend(["--config", path.to_str().unwrap()]);
        try_load(&args, environment)
            .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn the_list_of_keys_is_the_structure_that_is_read() {
        let defaults = Serialized::defaults(Config::default()).data().unwrap();
        let mut names = Vec::new();
        for (section, keys) in defaults.into_values().next().unwrap() {
            let Value::Dict(_, keys) = keys else {
                panic!("{section} is no section")
            };
            names.extend(keys.keys().map(|key| format!("{section}.{key}")));
        }
        let mut known: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        known.sort();
        assert_eq!(known, names);
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file_over_defaults() {
        let file =
            "[pg]\naddr = \"127.0.0.1:1\"\nmax_connections = 7\n[sources]\npaths = [\"f\"]\nscan_interval = \"3s\"";
        let environment = [
            ("SPARKGATE_PG__ADDR", "127.0.0.1:2"),
            ("SPARKGATE_SOURCES__SCAN_INTERVAL", "4s"),
        ];
        let loaded = with_file(file, &["serve", "--pg", "127.0.0.1:3"], &environment).unwrap();
        assert_eq!(loaded.config.pg.addr.to_string(), "127.0.0.1:3");
        assert_eq!(loaded.config.sources.scan_interval.to_string(), "4s");
        assert_eq!(loaded.config.pg.max_connections, 7);
        assert_eq!(loaded.config.query.memory_limit, ByteSize(0));
        let shown: Vec<_> = loaded
            .settings
            .iter()
            .map(|s| format!("{}={} ({})", s.name, s.value, s.source.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                "sources.paths=f (file)",
                "sources.scan_interval=4s (environment)",
                "sources.follow_log_deletion=true (default)",
                "storage.connect_timeout=5s (default)",
                "storage.request_timeout=30s (default)",
                "storage.retry_timeout=20s (default)",
                "storage.longest_pause=1m (default)",
                "storage.read_ahead=16MiB (default)",
                "storage.ca_file= (default)",
                "s3.endpoint= (default)",
                "s3.region= (default)",
                "s3.path_style=true (default)",
                "s3.allow_http=false (default)",
                "s3.credentials=auto (default)",
                "s3.access_key_id= (default)",
                "s3.secret_access_key= (default)",
                "s3.session_token= (default)",
                "hdfs.hadoop_conf_dir= (default)",
                "hdfs.user= (default)",
                "hdfs.kerberos_principal= (default)",
                "hdfs.kerberos_keytab= (default)",
                "hdfs.kerberos_cache= (default)",
                "hdfs.webhdfs=auto (default)",
                "hdfs.timeout=10s (default)",
                "hdfs.properties= (default)",
                "ingest.threads=0 (default)",
                "cache.location=default (default)",
                "cache.read_only=false (default)",
                "cache.max_bytes=0 (default)",
                "retention.max_age=off (default)",
                "retention.max_logs=0 (default)",
                "query.timeout=5m (default)",
                "query.memory_limit=0 (default)",
                "query.max_concurrent=8 (default)",
                "query.queue_timeout=30s (default)",
                "query.spill_directory= (default)",
                "query.max_spill_bytes=10GiB (default)",
                "query.max_result_rows=0 (default)",
                "query.max_result_bytes=0 (default)",
                "query.wait_for_logs=10s (default)",
                "pg.addr=127.0.0.1:3 (flag)",
                "pg.max_connections=7 (file)",
                "pg.reserved_connections=3 (default)",
                "pg.idle_timeout=off (default)",
                "flight.addr=127.0.0.1:32010 (default)",
                "flight.max_connections=300 (default)",
                "flight.idle_timeout=off (default)",
                "flight.stall_timeout=5m (default)",
                "flight.token_lifetime=1h (default)",
                "flight.ticket_lifetime=10m (default)",
                "flight.max_message_bytes=16MiB (default)",
                "http.addr=127.0.0.1:18080 (default)",
                "http.max_connections=500 (default)",
                "http.idle_timeout=1m (default)",
                "auth.users_file= (default)",
                "auth.rules=host all all 127.0.0.0/8 trust, host all all ::1/128 trust, host all all all scram-sha-256 (default)",
                "auth.timeout=1m (default)",
                "tls.certificate= (default)",
                "tls.key= (default)",
                "tls.client_ca= (default)",
                "tls.require_tls=false (default)",
                "tls.min_version=1.2 (default)",
                "rest.retained_jobs=0 (default)",
                "rest.retained_stages=0 (default)",
                "rest.retained_tasks=0 (default)",
                "rest.retained_dead_executors=0 (default)",
                "rest.retained_executions=0 (default)",
            ]
        );
    }

    #[test]
    fn the_environment_names_the_file_and_single_and_several_sources() {
        let one = try_load(&["serve"], &[("SPARKGATE_SOURCES__PATHS", "/logs/with, comma")]).unwrap();
        assert_eq!(one.config.sources.paths, ["/logs/with, comma"]);
        let two = try_load(&["serve"], &[("SPARKGATE_SOURCES__PATHS", r#"["/a", "/b"]"#)]).unwrap();
        assert_eq!(two.config.sources.paths, ["/a", "/b"]);
        let message = error(&["serve"], &[("SPARKGATE_CONFIG", "nowhere/gate.toml")]);
        assert_eq!(message, "cannot read the configuration file nowhere/gate.toml");
    }

    #[test]
    fn an_unknown_key_names_its_file_and_the_nearest_key() {
        let message = with_file("[pg]\nadr = \"off\"", &["serve", "x"], &[]).unwrap_err();
        assert_eq!(
            message,
            "sparkgate.toml: [pg] adr is no key of the configuration; did you mean [pg] addr?"
        );
        let message = with_file("[qery]\ntimeout = \"1s\"", &["serve", "x"], &[]).unwrap_err();
        assert_eq!(
            message,
            "sparkgate.toml: [qery] timeout is no key of the configuration; did you mean [query] timeout?"
        );
        let message = with_file("pg = 5", &["serve", "x"], &[]).unwrap_err();
        assert_eq!(message, "sparkgate.toml: pg is a section: its keys go under [pg]");
    }

    #[test]
    fn an_unknown_variable_names_the_nearest_one() {
        let message = error(&["serve", "x"], &[("SPARKGATE_PG_ADDR", "off")]);
        assert_eq!(
            message,
            "the variable SPARKGATE_PG_ADDR is no key of the configuration; did you mean SPARKGATE_PG__ADDR?"
        );
        try_load(&["serve", "x"], &[("SPARKGATE_LOG", "debug"), ("OTHER_PG_ADDR", "x")]).unwrap();
    }

    #[test]
    fn a_wrong_type_names_key_and_place() {
        let message = with_file("[pg]\nmax_connections = \"many\"", &["serve", "x"], &[]).unwrap_err();
        assert_eq!(
            message,
            "sparkgate.toml: [pg] max_connections: found string \"many\", expected u32"
        );
        let message = with_file("[sources]\nscan_interval = 10", &["serve", "x"], &[]).unwrap_err();
        assert_eq!(
            message,
            "sparkgate.toml: [sources] scan_interval: found signed int `10`, expected a span of time with its unit, \
             such as \"10s\" or \"5m\""
        );
        let message = error(&["serve", "x"], &[("SPARKGATE_INGEST__THREADS", "few")]);
        assert!(
            message.starts_with("SPARKGATE_INGEST__THREADS: found string \"few\""),
            "{message}"
        );
        let message = error(&["serve", "x", "--pg", "here"], &[]);
        assert!(message.starts_with("--pg: \"here\" is not an address"), "{message}");
        let message = with_file("[pg\nx", &["serve", "x"], &[]).unwrap_err();
        assert!(
            message.starts_with("sparkgate.toml is not TOML: at line 1") && !message.contains('\n'),
            "{message}"
        );
    }

    #[test]
    fn what_is_not_built_or_not_safe_is_refused() {
        assert!(error(&["serve", "x", "--flight", "0.0.0.0:32010"], &[]).contains("nobody could log in"));
        assert!(error(&["serve", "x"], &[("SPARKGATE_HTTP__ADDR", "0.0.0.0:0")]).contains("nobody could log in"));
        assert_eq!(
            error(&["serve", "x", "--pg", "0.0.0.0:5433"], &[]),
            "--pg: 0.0.0.0:5433 can be reached from other machines, and nobody could log in: make users with `sparkgate user \
             add NAME --users-file FILE` and name the file in [auth] users_file, or use an address of this machine alone, such \
             as 127.0.0.1:5433"
        );
        try_load(
            &["serve", "x", "--pg", "0.0.0.0:5433"],
            &[("SPARKGATE_AUTH__USERS_FILE", "users")],
        )
        .unwrap();
        assert!(error(&["sql"], &[]).contains("sparkgate sql DIRECTORY"));
        try_load(&["serve", "x", "--flight", "off", "--http", "off", "--pg", "off"], &[]).unwrap();
    }

    #[test]
    fn sparks_properties_come_after_the_defaults_and_before_everything_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spark-defaults.conf");
        let properties = "spark.history.fs.logDirectory s3a://logs/x\nspark.history.ui.port 18090\n\
                          spark.hadoop.fs.s3a.secret.key hush\nspark.hadoop.fs.s3a.bucket.logs.session.token hush\n\
                          spark.history.fs.update.interval 5s\nspark.eventLog.enabled true\n";
        std::fs::write(&file, properties).unwrap();
        let file = file.to_str().unwrap();
        let loaded = try_load(
            &["serve", "--properties-file", file, "--scan-interval", "7s"],
            &[
                ("SPARK_HISTORY_OPTS", "-Xmx1g -Dspark.history.ui.port=18091"),
                ("AWS_REGION", "eu-west-1"),
            ],
        )
        .unwrap();
        assert_eq!(loaded.config.sources.paths, ["s3a://logs/x"]);
        assert_eq!(loaded.config.http.addr.to_string(), "127.0.0.1:18091");
        assert_eq!(loaded.config.sources.scan_interval.to_string(), "7s");
        assert_eq!(loaded.storage.s3.of_bucket("logs").session_token.reveal(), "hush");
        assert_eq!(loaded.storage.environment.0["AWS_REGION"], "eu-west-1");
        assert_eq!(loaded.ignored_properties, ["spark.eventLog.enabled"]);
        let shown = |name: &str| {
            let setting = loaded.settings.iter().find(|setting| setting.name == name).unwrap();
            format!("{} ({})", setting.value, setting.source.as_str())
        };
        assert_eq!(shown("s3.secret_access_key"), "******** (Spark property)");
        assert_eq!(shown("s3.bucket.logs.session_token"), "******** (Spark property)");
        assert_eq!(shown("sources.scan_interval"), "7s (flag)");
        assert!(!format!("{loaded:?}").contains("hush"));

        let message = error(
            &["serve", "x"],
            &[("SPARK_HISTORY_OPTS", "-Dspark.history.fs.update.interval=10ms")],
        );
        assert!(
            message.starts_with("SPARK_HISTORY_OPTS: spark.history.fs.update.interval: 10ms is too short"),
            "{message}"
        );
        let message = error(
            &["serve", "x"],
            &[("SPARK_HISTORY_OPTS", "-Dspark.ssl.historyServer.enabled=true")],
        );
        assert!(message.contains("[tls] certificate"), "{message}");
    }

    #[test]
    fn a_bucket_has_keys_of_its_own_and_no_others() {
        let loaded = with_file(
            "[s3]\nregion = \"a\"\n[s3.bucket.\"my.logs\"]\nregion = \"b\"\npath_style = false",
            &["serve", "x"],
            &[],
        )
        .unwrap();
        let mine = loaded.storage.s3.of_bucket("my.logs");
        assert_eq!((mine.region.as_str(), mine.path_style), ("b", false));
        assert_eq!(loaded.storage.s3.of_bucket("other").region, "a");
        let message = with_file("[s3.bucket.x]\nregoin = \"b\"", &["serve", "x"], &[]).unwrap_err();
        assert!(message.contains("did you mean [s3] region?"), "{message}");
    }

    #[test]
    fn the_example_in_the_repository_loads_and_has_every_key() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/sparkgate.toml");
        let loaded = try_load(&["serve", "--config", path], &[]).unwrap();
        for setting in &loaded.settings {
            assert_eq!(
                setting.source.as_str(),
                "file",
                "{} is not in sparkgate.toml",
                setting.name
            );
            if setting.name != "sources.paths" {
                assert_eq!(setting.value, default_value(&setting.name), "{}", setting.name);
            }
        }
    }
}
