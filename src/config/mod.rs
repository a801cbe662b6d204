//! What an operator can set, and where a value came from.
//!
//! Defaults < Spark's own properties < configuration file < environment (`SPARKGATE_PG__ADDR` for `[pg] addr`) < flags. [`load`] reads the layers,
//! [`KEYS`] lists every key with its meaning. An unknown key is an error that names the place and the nearest key there is;
//! no file is read unless `--config` or `SPARKGATE_CONFIG` names it. `docs/configuration.md` is generated from here.
//!
//! This module uses nothing of ours and may be used by all.

pub mod args;
mod docs;
mod hdfs;
mod keys;
mod load;
mod spark;
mod storage;
mod units;

use serde::{Deserialize, Serialize};

pub use docs::render_docs;
pub use hdfs::{HdfsConfig, WebHdfsConfig};
pub use keys::{KEYS, Key, KeyForm};
pub use load::{ConfigError, Layer, Loaded, ResolvedSetting, load};
pub use storage::{RemoteConfig, S3BucketConfig, S3Config, S3Credentials, StorageConfig, StoreEnvironment};
pub use units::{ByteSize, CacheLocation, DoorAddr, Secret, Span, TimeLimit, TlsVersion};

/// Everything that can be set. What each key means stands beside its name in [`KEYS`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub sources: SourcesConfig,
    pub storage: RemoteConfig,
    pub s3: S3Config,
    pub hdfs: HdfsConfig,
    pub ingest: IngestConfig,
    pub cache: CacheConfig,
    pub retention: RetentionConfig,
    pub query: QueryConfig,
    pub pg: PgConfig,
    pub flight: FlightConfig,
    pub http: HttpConfig,
    pub auth: AuthConfig,
    pub tls: TlsConfig,
    pub rest: RestConfig,
}

/// `[sources]`: where event logs are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourcesConfig {
    pub paths: Vec<String>,
    pub scan_interval: Span,
    pub follow_log_deletion: bool,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        SourcesConfig {
            paths: Vec::new(),
            scan_interval: Span(std::time::Duration::from_secs(10)),
            follow_log_deletion: true,
        }
    }
}

/// `[ingest]`: reading logs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// 0 is the number of cores.
    pub threads: u16,
}

/// `[cache]`: rows of logs that were read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    pub location: CacheLocation,
    pub read_only: bool,
    /// 0 is without limit.
    pub max_bytes: ByteSize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig {
            location: CacheLocation::default(),
            read_only: false,
            max_bytes: ByteSize(0),
        }
    }
}

/// `[retention]`: which logs are shown. Logs themselves are never touched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    pub max_age: TimeLimit,
    /// 0 is without limit.
    pub max_logs: u32,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        RetentionConfig {
            max_age: TimeLimit(None),
            max_logs: 0,
        }
    }
}

/// `[query]`: what one statement may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    pub timeout: TimeLimit,
    /// 0 is a share of the machine's memory.
    pub memory_limit: ByteSize,
    pub max_concurrent: u32,
    pub queue_timeout: Span,
    /// Empty: the directory of the system for temporary files.
    pub spill_directory: String,
    /// 0 is none.
    pub max_spill_bytes: ByteSize,
    /// 0 is without limit.
    pub max_result_rows: u64,
    /// 0 is without limit.
    pub max_result_bytes: ByteSize,
    pub wait_for_logs: Span,
}

impl Default for QueryConfig {
    fn default() -> Self {
        QueryConfig {
            timeout: TimeLimit(Some(std::time::Duration::from_secs(300))),
            memory_limit: ByteSize(0),
            max_concurrent: 8,
            queue_timeout: Span(std::time::Duration::from_secs(30)),
            spill_directory: String::new(),
            max_spill_bytes: ByteSize(10 << 30),
            max_result_rows: 0,
            max_result_bytes: ByteSize(0),
            wait_for_logs: Span(std::time::Duration::from_secs(10)),
        }
    }
}

/// `[pg]`: the PostgreSQL wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PgConfig {
    pub addr: DoorAddr,
    pub max_connections: u32,
    pub reserved_connections: u32,
    pub idle_timeout: TimeLimit,
}

impl Default for PgConfig {
    fn default() -> Self {
        PgConfig {
            addr: DoorAddr::At(std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 5433))),
            max_connections: 100,
            reserved_connections: 3,
            idle_timeout: TimeLimit(None),
        }
    }
}

/// `[flight]`: Arrow Flight SQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlightConfig {
    pub addr: DoorAddr,
    pub max_connections: u32,
    pub idle_timeout: TimeLimit,
    pub stall_timeout: Span,
    pub token_lifetime: Span,
    pub ticket_lifetime: Span,
    pub max_message_bytes: ByteSize,
}

impl Default for FlightConfig {
    fn default() -> Self {
        let minutes = |minutes: u64| Span(std::time::Duration::from_secs(60 * minutes));
        FlightConfig {
            addr: DoorAddr::At(std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 32010))),
            max_connections: 300,
            idle_timeout: TimeLimit(None),
            stall_timeout: minutes(5),
            token_lifetime: minutes(60),
            ticket_lifetime: minutes(10),
            max_message_bytes: ByteSize(16 << 20),
        }
    }
}

/// `[http]`: Spark's REST API and health.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    pub addr: DoorAddr,
    pub max_connections: u32,
    pub idle_timeout: Span,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            addr: DoorAddr::At(std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 18080))),
            max_connections: 500,
            idle_timeout: Span(std::time::Duration::from_secs(60)),
        }
    }
}

/// `[auth]`: who may come in, at every door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Empty: there are no users.
    pub users_file: String,
    /// As `pg_hba.conf` writes them; the first that fits decides.
    pub rules: Vec<String>,
    pub timeout: Span,
}

impl Default for AuthConfig {
    fn default() -> Self {
        let rules = [
            "host all all 127.0.0.0/8 trust",
            "host all all ::1/128 trust",
            "host all all all scram-sha-256",
        ];
        AuthConfig {
            users_file: String::new(),
            rules: rules.map(str::to_owned).to_vec(),
            timeout: Span(std::time::Duration::from_secs(60)),
        }
    }
}

/// `[tls]`: encryption of every door. Paths are empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    pub certificate: String,
    pub key: String,
    pub client_ca: String,
    pub require_tls: bool,
    pub min_version: TlsVersion,
}

/// `[rest]`: limits of Spark's history server, for answers that must be equal to its own. 0 is without limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestConfig {
    pub retained_jobs: u32,
    pub retained_stages: u32,
    pub retained_tasks: u32,
    pub retained_dead_executors: u32,
    pub retained_executions: u32,
}
