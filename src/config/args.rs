//! The command line. What it says is one layer of the configuration: see [`super::load`].
//!
//! Values are kept as text here, so that `--scan-interval soon` fails with the same sentence as the same word in a file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Apache Spark event logs as a SQL database.
#[derive(Debug, Parser)]
#[command(
    name = "sparkgate",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the tables over the PostgreSQL wire and Spark's REST API, and keep them in step with the logs.
    Serve(ServeArgs),
    /// Run statements without a server and print their results.
    Sql(SqlArgs),
    /// Fill the column cache, so that logs are not read when they are asked for.
    Ingest(IngestArgs),
    /// Read every log and say what it is, what could not be read, and why.
    Check(CheckArgs),
    /// Look after the column cache of some sources, or of --cache.
    Cache(CacheArgs),
    /// Say who may log in: users, their passwords and tokens.
    User(UserArgs),
}

impl Command {
    /// `None` for what reads no logs.
    pub fn common(&self) -> Option<&CommonArgs> {
        match self {
            Command::Serve(args) => Some(&args.common),
            Command::Sql(args) => Some(&args.common),
            Command::Ingest(args) => Some(&args.common),
            Command::Check(args) => Some(&args.common),
            Command::Cache(args) => match &args.action {
                CacheAction::Status(common) | CacheAction::Compact(common) | CacheAction::Clear(common) => Some(common),
            },
            Command::User(_) => None,
        }
    }

    /// What `--config` names.
    pub(super) fn config(&self) -> Option<&PathBuf> {
        match self {
            Command::User(args) => args.config.as_ref(),
            other => other.common().and_then(|common| common.config.as_ref()),
        }
    }

    pub(super) fn is_read_only(&self) -> bool {
        match self {
            Command::Serve(args) => args.read_only,
            Command::Sql(args) => args.read_only,
            _ => false,
        }
    }
}

#[derive(Debug, Args)]
pub struct CommonArgs {
    /// A directory of event logs, or one log: a path, or a URI that begins with file://, s3:// or hdfs://. Without one, `[sources] paths` of the configuration.
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Configuration file; without it, SPARKGATE_CONFIG names one. No file is read unless one is named.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Properties of a Spark history server (spark-defaults.conf); below the configuration file. SPARK_HISTORY_OPTS is read as well.
    #[arg(long, value_name = "FILE")]
    pub properties_file: Option<PathBuf>,
    /// Where the column cache lies: a directory, or `off` [default: one for each set of sources in the user's cache directory].
    #[arg(long, value_name = "DIR_OR_URI")]
    pub cache: Option<String>,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Where the PostgreSQL wire listens; `off` switches it off, port 0 takes a free one [default: 127.0.0.1:5433].
    #[arg(long, value_name = "ADDR")]
    pub pg: Option<String>,
    /// Where Arrow Flight SQL listens; port 0 takes a free one, `off` switches it off [default: 127.0.0.1:32010].
    #[arg(long, value_name = "ADDR")]
    pub flight: Option<String>,
    /// Where Spark's REST API listens; `off` switches it off, port 0 takes a free one [default: 127.0.0.1:18080].
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Time from one look at the sources to the next [default: 10s].
    #[arg(long, value_name = "SPAN")]
    pub scan_interval: Option<String>,
    /// Take rows from a column cache that another process writes, and write nothing.
    #[arg(long)]
    pub read_only: bool,
}

#[derive(Debug, Args)]
pub struct SqlArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Statements to run; may be given several times. Without -c and -f they are read from standard input.
    #[arg(short = 'c', long = "command", value_name = "SQL", conflicts_with = "file")]
    pub commands: Vec<String>,
    /// File with statements; `-` is standard input.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How results are written to standard output.
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Take rows from a column cache that another process writes, and write nothing.
    #[arg(long)]
    pub read_only: bool,
}

#[derive(Debug, Args)]
pub struct IngestArgs {
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    pub action: CacheAction,
}

#[derive(Debug, Subcommand)]
pub enum CacheAction {
    /// Say what is in the cache.
    Status(CommonArgs),
    /// Merge its files now, and delete those that nobody needs.
    Compact(CommonArgs),
    /// Empty it: the logs are read again.
    Clear(CommonArgs),
}

#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    pub action: UserAction,
    /// File of users; without it, `[auth] users_file` of the configuration.
    #[arg(long, value_name = "FILE", global = true)]
    pub users_file: Option<String>,
    /// Configuration file; without it, SPARKGATE_CONFIG names one.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// Make a user, or give one another password and role. The password is asked for, or read from standard input.
    Add {
        name: String,
        /// What the user may do.
        #[arg(long, value_enum, default_value_t)]
        role: UserRole,
        /// Log in with certificates and tokens only.
        #[arg(long)]
        no_password: bool,
    },
    /// Remove a user and their tokens.
    Remove { name: String },
    /// Say which users and tokens there are.
    List,
    /// Make a token, which stands for a password over HTTP, and print it: it cannot be shown again.
    Token {
        name: String,
        /// What the token is called, to remove it by; no two have the same.
        #[arg(long, value_name = "LABEL")]
        label: String,
        /// How long it holds, such as 90d [default: until it is removed].
        #[arg(long, value_name = "SPAN")]
        expires: Option<String>,
    },
    /// Remove a token.
    RemoveToken { label: String },
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum UserRole {
    /// Query everything
    #[default]
    Reader,
    /// Also look after the server
    Admin,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// How the lines are written to standard output.
    #[arg(long, value_enum, default_value_t)]
    pub format: CheckFormat,
    /// Exit with 1 if a log is damaged or cannot be read.
    #[arg(long)]
    pub strict: bool,
}

/// The form of a result on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns, for people
    #[default]
    Table,
    /// RFC 4180 with a header line; NULL is empty
    Csv,
    /// One array of objects
    Json,
    /// One object a line
    Ndjson,
    /// Arrow IPC stream
    Arrow,
    /// One Parquet file
    Parquet,
}

/// The form of `sparkgate check` on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum CheckFormat {
    /// Aligned columns, for people
    #[default]
    Text,
    /// One object a line
    Ndjson,
}
