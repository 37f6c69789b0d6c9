//! The state of the open log, and rows of logs that wait for a listing.

use std::fs::File;

use arrow::ipc::writer::StreamWriter;

/// The open log, and rows of all logs that wait for a listing.
#[derive(Default)]
pub struct Logs {
    pub open: OpenLog,
    /// Rows that wait until it is known which allocations the filter keeps.
    pub held: Option<StreamWriter<File>>,
}

/// The state of the open log.
#[derive(Default)]
pub struct OpenLog {
    /// Bytes and lines before the next block.
    pub offset: u64,
    pub lines: u64,
    pub events: u64,
    pub rejected: u64,
    /// The time of the last line of a task event, and how many lines with that time have each identity.
    last_at: i64,
    of_last_at: Vec<(u128, i32)>,
}

impl OpenLog {
    /// The number of equal lines with the same time directly before this one. Lines further back do not count, so
    /// that a file that contains a log twice does not show each event twice.
    pub fn ordinal(&mut self, at: i64, identity: u128) -> i32 {
        if at != self.last_at {
            self.last_at = at;
            self.of_last_at.clear();
        }
        match self.of_last_at.iter_mut().find(|(known, _)| *known == identity) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.of_last_at.push((identity, 0));
                0
            }
        }
    }
}
