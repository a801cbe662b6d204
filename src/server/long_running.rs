//! What tests of the doors ask for: sessions without tables, and statements that do not end by themselves.

use datafusion::prelude::{SessionConfig, SessionContext};

use crate::catalog::SessionVars;

/// Would run for minutes; produces nothing until its end.
pub(super) const SLOW_COUNT: &str =
    "SELECT sum(a.value * b.value % 7) FROM generate_series(1, 1000000) a(value), generate_series(1, 1000000) b(value)";
/// Gives rows for as long as anybody takes them.
pub(super) const ENDLESS: &str = "SELECT value, repeat('x', 100) AS pad FROM generate_series(1, 1000000000) t(value)";

/// What the catalog does, without tables.
pub(super) fn session(vars: &SessionVars) -> SessionContext {
    let mut config = SessionConfig::new();
    config.options_mut().execution.time_zone = Some(vars.time_zone.clone());
    SessionContext::new_with_config(config)
}
