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
    /// Bytes before the next block.
    pub offset: u64,
    /// Lines before the next block.
    pub lines: u64,
    pub events: u64,
    pub rejected: u64,
    /// The time of the last line that reports a task event.
    last_at: i64,
    /// Each identity among the lines with that time, with the ordinal of its newest line.
    of_last_at: Vec<(u128, i32)>,
}

impl OpenLog {
    /// Returns the number of equal lines before this line, counted from the last line with another time. So if a file
    /// contains a log twice, both copies of a line have the same ordinal, and the event is stored once.
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
