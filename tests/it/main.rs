//! The integration binary: the real program on real logs. One `mod` per subject.

/// Starting the program, finding fixtures.
mod support;

/// What Spark's history server said: recorded answers and the suite's expectations.
mod answers;
/// Tables against answers, field by field; what counts as equal.
mod comparison;
/// Every scalar of Spark's REST answers is in the tables, with the same value.
mod spark_parity;
/// So are SQL executions, the operators of their plans and the texts of their metrics.
mod sql_parity;

/// The fold on its own: cut anywhere, compacted lines.
mod replay;

/// Logs with something wrong: what `check` says, and that the good ones beside them are served.
mod damaged;
/// The server starts, says where it listens, answers and stops.
mod serving;
/// The repository itself: import rules, leftovers, sizes.
mod tidy;
