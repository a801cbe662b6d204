//! A process that is neither driver nor executor.

use std::collections::BTreeMap;

use super::executor::{owned, text_map};
use crate::event::executor::MiscellaneousProcessAdded;
use crate::table::{Rows, Value};

/// Spark's `LiveMiscellaneousProcess`; no event ends one.
#[derive(Debug)]
pub(super) struct MiscellaneousProcess {
    host_port: String,
    total_cores: i32,
    add_time: i64,
    logs: BTreeMap<String, Option<String>>,
}

impl MiscellaneousProcess {
    /// `known`: the process as an earlier event told of it.
    pub(super) fn of(event: &MiscellaneousProcessAdded<'_>, known: Option<&Self>) -> Self {
        MiscellaneousProcess {
            host_port: event.info.host_port.clone().into_owned(),
            total_cores: event.info.cores,
            add_time: known.map_or(event.time, |known| known.add_time),
            logs: owned(&event.info.log_urls),
        }
    }

    pub(super) fn push_row(&self, (app_id, attempt_id): (&str, &str), process_id: &str, rows: &mut Rows) {
        rows.push(app_id)
            .push(attempt_id)
            .push(process_id)
            .push(&self.host_port);
        rows.push(true)
            .push(self.total_cores)
            .push(Value::Millis(self.add_time))
            .push(Value::Null);
        rows.push(text_map(&self.logs));
        rows.end_row();
    }
}
