//! Rows of ended tasks leave the fold before the log is read to its end, so that memory does not grow with them.
//!
//! A log may later say otherwise: it tells of a task again (the last row holds), or of another application, attempt, start or owner.
//! Rows that were given away for the earlier word do not hold then. The fold says so ([`LiveApplication::is_retold`]); whoever took
//! them drops them, reads on to the end for [`LiveApplication::retold`], and reads the log again with it
//! ([`LiveApplication::knowing`]): the second fold gives away only rows that hold. Such logs are damaged, or several in one.
//!
//! Invariant: what was taken and what [`LiveApplication::rows`] has are together the rows of a fold of which nothing was taken, unless
//! the fold is retold. A second reading of the same log never is.

use std::collections::HashMap;

use arrow::array::RecordBatch;

use super::{Acl, LiveApplication};

/// Whose rows they are: what is stored beside each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub app_id: String,
    /// `''` where Spark has none.
    pub attempt_id: String,
    /// Milliseconds since the epoch.
    pub start_time_ms: i64,
    pub acl: Acl,
}

impl Attempt {
    pub(super) fn key(&self) -> (&str, &str) {
        (&self.app_id, &self.attempt_id)
    }
}

/// What a first reading of a log to its end found that a second one must know from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retold {
    /// `None` if the log's last word is that there is no application.
    attempt: Option<Attempt>,
    /// How many of the first rows of a task do not hold.
    superseded_rows: HashMap<i64, u32>,
}

impl Retold {
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }
}

impl LiveApplication {
    /// For a second reading of a log, from its start.
    pub fn knowing(retold: Retold) -> Self {
        let mut live = LiveApplication::new();
        live.tasks.leave_out(retold.superseded_rows.clone());
        live.known = Some(retold);
        live
    }

    /// Makes batches of ended tasks of `rows` rows, instead of as many as queries like best. For tests of small logs.
    #[must_use]
    pub fn with_task_batches_of(mut self, rows: usize) -> Self {
        self.tasks.set_batch_rows(rows);
        self
    }

    /// The access list as of now. Without an environment, or an owner, it names nobody there.
    pub fn acl(&self) -> Acl {
        Acl {
            owner: self.application.user().to_owned(),
            ..self.acl.clone().unwrap_or_default()
        }
    }

    /// Whose rows [`Self::take_tasks`] gives. In a first reading, what the log has said so far; `None` until it has named the application.
    pub fn attempt(&self) -> Option<Attempt> {
        match &self.known {
            Some(known) => known.attempt.clone(),
            None => self.attempt_as_of_now(),
        }
    }

    fn attempt_as_of_now(&self) -> Option<Attempt> {
        let (app_id, attempt_id) = self.application.id()?;
        Some(Attempt {
            app_id,
            attempt_id,
            start_time_ms: self.application.start_time(),
            acl: self.acl(),
        })
    }

    /// Gives away complete batches of ended tasks, which [`Self::rows`] will not have again; totals still count them. Nothing while
    /// it is not known whose they are ([`Self::attempt`]).
    pub fn take_tasks(&mut self) -> Vec<RecordBatch> {
        let Some(attempt) = self.attempt() else {
            return Vec::new();
        };
        let live = &self.live_tasks;
        self.tasks.take(&attempt, |task| live.contains_key(&task))
    }

    /// Rows of ended tasks in memory, complete batches or not.
    pub fn held_task_rows(&self) -> usize {
        self.tasks.held()
    }

    /// Whether the log has gone on so that rows which were given away do not hold. Cheap enough to ask with every block of lines.
    ///
    /// What is taken and shown from here on is of no use; taking still keeps memory small.
    pub fn is_retold(&self) -> bool {
        let for_another = || {
            let taken_for = self.tasks.taken_for();
            taken_for.is_some() && taken_for != self.attempt_as_of_now().as_ref()
        };
        self.tasks.taken_in_vain() || self.known.is_none() && for_another()
    }

    /// At the end of the log: what a second reading must know if one is due. Else the rows hold, those that were taken too.
    ///
    /// After a second reading it is there only if the log is another one by now, or has grown and [is retold](Self::is_retold) again.
    pub fn retold(&self) -> Option<Retold> {
        let attempt = self.attempt_as_of_now();
        let live = |task: i64| self.live_tasks.contains_key(&task);
        let ended = |task: i64| self.ended_tasks.contains(task.cast_unsigned());
        let known_holds = self.known.as_ref().is_none_or(|known| known.attempt == attempt);
        if !self.is_retold() && known_holds && !self.tasks.left_out_in_vain(ended, live) {
            return None;
        }
        Some(Retold {
            attempt,
            superseded_rows: self.tasks.superseded(live),
        })
    }
}
