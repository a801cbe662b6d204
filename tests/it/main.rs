//! The integration binary: the real program on real logs. One `mod` per subject.

/// Starting the program, finding fixtures.
mod support;

/// What Spark's history server said: recorded answers and the suite's expectations.
mod answers;
/// Tables against answers, field by field; what counts as equal.
mod comparison;
/// The REST door against recorded answers of Spark's history server, and Spark's own suite.
mod rest;
/// Two answers of REST: what differs.
mod rest_comparison;
/// The HTTP door against recorded answers of Spark's history server: statuses, headers, odd requests; what differs, and why.
mod rest_http;
/// Every scalar of Spark's REST answers is in the tables, with the same value.
mod spark_parity;
/// So are SQL executions, the operators of their plans and the texts of their metrics.
mod sql_parity;
/// Streaming queries and batches say what the events of their logs say, field by field.
mod streaming;

/// The views of `advice`: numbers of made-up logs. Rollups: the same sums made again from the tables, in Rust.
mod advice;
/// Stored rollups are what their SQL gives.
mod rollups;

/// The fold on its own: cut anywhere, compacted lines.
mod replay;

/// `kill -9` at any moment of an ingest.
mod cache_crashes;
/// A cache that is full, damaged, of another release or of another process.
mod cache_faults;
/// A cache that may not grow beyond a size.
mod cache_limit;
/// What is asked for while the first scan still reads.
mod cache_on_demand;
/// Random histories of logs and of the cache.
mod cache_random;
/// Rows outlive the process: restarts, compaction, what changed meanwhile.
mod cache_restarts;

/// Real PostgreSQL clients in their own languages, and a PostgreSQL server with `postgres_fdw`.
mod clients;
/// Counts and sums of generated corpora.
mod corpus;
/// Logs with something wrong: what `check` says, and that the good ones beside them are served.
mod damaged;
/// Logs come, go, move and have odd names while the server runs.
mod discovery;
/// Pages made from the code.
mod docs;
/// The Flight SQL door with ADBC, pyarrow, pandas, polars and Arrow's JDBC driver.
mod flight;
/// Logs that grow while they are served.
mod growing_log;
/// HDFS: simple, with Kerberos, with two NameNodes; logs that grow there, and what goes wrong.
mod hdfs;
/// What statements may use, who may end them, and what `system.queries` says of them.
mod limits;
/// Clients that do not keep to PostgreSQL's protocol.
mod pg_abuse;
/// psql and tokio-postgres on every table: descriptions, errors, cancel, text and binary values.
mod psql;
/// Filters on the application, counts and limits touch no more than they must.
mod pushdown;
/// A client that others wrote, spark-history-cli, shows of REST what Spark's server answers.
mod rest_cli;
/// REST over damaged logs.
mod rest_damaged;
/// REST of a log that grows.
mod rest_growing;
/// Live, ready, and sources that go away.
mod rest_health;
/// The zip of event logs.
mod rest_logs;
/// SQL and REST of one server agree.
mod rest_sql;
/// Logs on S3, from a real server, with a proxy between that spoils answers.
mod s3;
/// Who comes in: passwords, tokens, certificates, TLS, limits and time-outs.
mod security;
/// The server starts, says where it listens, answers and stops.
mod serving;
/// The statements of `tests/slt`, whose answers a PostgreSQL gave, in process and over both protocols.
mod slt;

/// The repository itself: import rules, leftovers, sizes.
mod tidy;
/// The command line: exit codes, one sentence for what is wrong, output formats.
mod usage;
