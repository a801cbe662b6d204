//! Spark's retention limits. Tables forget nothing; whoever needs the numbers of Spark's server gets its limits back in REST.

use std::borrow::Cow;

use crate::config::RestConfig;

/// For each table that Spark's server forgets of: its statement, and the limit.
#[derive(Debug, Clone)]
pub(super) struct Retention {
    limits: [(&'static str, &'static str, u32); 5],
}

impl Retention {
    pub(super) fn new(config: &RestConfig) -> Self {
        Retention {
            limits: [
                (
                    "jobs",
                    include_str!("../../../sql/rest/retained_jobs.sql"),
                    config.retained_jobs,
                ),
                (
                    "stages",
                    include_str!("../../../sql/rest/retained_stages.sql"),
                    config.retained_stages,
                ),
                (
                    "tasks",
                    include_str!("../../../sql/rest/retained_tasks.sql"),
                    config.retained_tasks,
                ),
                (
                    "executors",
                    include_str!("../../../sql/rest/retained_executors.sql"),
                    config.retained_dead_executors,
                ),
                (
                    "sql_executions",
                    include_str!("../../../sql/rest/retained_sql_executions.sql"),
                    config.retained_executions,
                ),
            ],
        }
    }

    /// Whether Spark would have kept all rows of a table.
    pub(super) fn keeps_all(&self, table: &str) -> bool {
        self.limits
            .iter()
            .all(|(limited, _, limit)| *limited != table || *limit == 0)
    }

    /// A statement of `sql/rest` over what Spark would have kept.
    pub(super) fn applied<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        let mut sql = Cow::Borrowed(sql);
        for (table, statement, limit) in self.limits.into_iter().filter(|(_, _, limit)| *limit > 0) {
            let from = format!("FROM {table}\n");
            if sql.contains(&from) {
                let kept = statement
                    .replace("{limit}", &limit.to_string())
                    .replace("{step}", &(limit / 10).max(1).to_string());
                sql = Cow::Owned(sql.replace(&from, &format!("FROM (\n{kept}) {table}\n")));
            }
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_with_a_limit_are_replaced() {
        let config = RestConfig {
            retained_jobs: 25,
            ..RestConfig::default()
        };
        let retention = Retention::new(&config);
        let jobs = retention.applied("SELECT job_id\nFROM jobs\nWHERE app_id = $1");
        assert!(jobs.contains("total - 25 - 1) / 2 + 1) * 2"), "{jobs}");
        assert!(jobs.ends_with(") jobs\nWHERE app_id = $1"), "{jobs}");
        assert!(!retention.keeps_all("jobs") && retention.keeps_all("tasks"));
        let stages = "SELECT stage_id\nFROM stages\nWHERE app_id = $1";
        assert!(matches!(retention.applied(stages), Cow::Borrowed(_)));
    }
}
