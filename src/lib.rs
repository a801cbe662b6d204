//! Sparkgate turns Apache Spark event logs into a SQL database.
//!
//! The path of the data, one module a step:
//!
//! ```text
//! event_log   directories and files      -> complete lines      (codecs, rolling logs, logs that still grow)
//! event       one JSON line              -> one typed event     (borrowed, skips what nobody reads)
//! replay      one application's events   -> rows                (as Spark's AppStatusListener folds them)
//! table       what a row is              -> names, types, units, docs
//! rollup      rows of an attempt         -> rows of its sums and quantiles
//! cache       rows                        <-> column files (Parquet segments, numbered commits)
//! history     keeps rows and logs in step -> one immutable snapshot a statement
//! catalog     snapshots                  -> DataFusion tables
//! server      statements                 -> answers over the PostgreSQL wire
//! ```
//!
//! `config` and `telemetry` may be used by all and use nothing of ours; [`app`] wires the parts together.

pub mod app;
pub mod cache;
pub mod catalog;
pub mod config;
pub mod event;
pub mod event_log;
pub mod history;
pub mod output;
pub mod replay;
pub mod rollup;
pub mod server;
pub mod table;
pub mod telemetry;
