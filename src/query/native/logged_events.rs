//! Appends the rows of `recovered_events` to the rows of `task_events`, for the native twin of `timeline`.

use polars::prelude::{BooleanChunked, ChunkFull, ChunkFullNull, DataFrame, DataType, IntoColumn, StringChunked};

use super::ReadColumns;
use super::task_numbers::TaskKeys;
use crate::error::Result;

/// Facts about an event that only a log shows, in addition to the columns of `task_events`.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoggedEvent {
    /// The rank of the event in its task: the least attempt, the time, and whether other events at that time precede
    /// this one.
    pub rank: (Option<i64>, Option<i64>, bool),
    /// Whether events directly before this one may be missing.
    pub after_gap: bool,
    /// Whether other lines may be missing in the gap that contains this event.
    pub in_open_gap: bool,
    /// Whether lines of that gap are known to be missing in the middle of a log.
    pub is_torn: bool,
}

/// The events that only logs show; their rows follow those of `task_events`.
#[derive(Debug)]
pub(super) struct LoggedEvents {
    first_row: usize,
    events: Vec<LoggedEvent>,
}

/// The columns of `recovered_events` that `timeline` reads, besides the key columns.
const LINES: [&str; 19] = [
    "is_listed",
    "line_no",
    "attempt",
    "least_attempt",
    "place_ns",
    "logged_at",
    "logged_at_ns",
    "event_type",
    "fails_task",
    "exit_code",
    "signal",
    "oom_killed",
    "restart_reason",
    "start_delay_ns",
    "message",
    "after_gap",
    "in_open_gap",
    "is_torn",
    "is_late",
];

impl LoggedEvents {
    /// Appends the logged events of listed allocations to `events`, which has the columns `columns` of `task_events`.
    ///
    /// # Errors
    /// When `recovered_events` cannot be read.
    pub(super) fn append(read: &ReadColumns<'_>, columns: &[&str], events: &mut DataFrame) -> Result<LoggedEvents> {
        let first_row = events.height();
        let lines = read("recovered_events", &[TaskKeys::COLUMNS.as_slice(), &LINES].concat())?;
        let lines = lines.filter(lines.column("is_listed")?.bool()?)?;
        if lines.height() == 0 {
            return Ok(LoggedEvents { first_row, events: Vec::new() });
        }
        let mut shown = lines.select(TaskKeys::COLUMNS)?;
        for name in columns.iter().copied() {
            let column = match name {
                "event_at" => lines.column("logged_at")?.clone(),
                "event_at_ns" => lines.column("logged_at_ns")?.clone(),
                "ordinal" => lines.column("line_no")?.cast(&DataType::Int32)?,
                "details" => StringChunked::full_null(name.into(), lines.height()).into_column(),
                "times_rounded" => BooleanChunked::full(name.into(), false, lines.height()).into_column(),
                same => lines.column(same)?.clone(),
            };
            shown.hstack_mut(&[column.with_name(name.into())])?;
        }
        events.vstack_mut_owned(shown)?;
        Ok(LoggedEvents { first_row, events: facts(&lines)? })
    }

    /// The logged event of a row; `None` for a row of `task_events`.
    pub(super) fn get(&self, row: u32) -> Option<&LoggedEvent> {
        self.events.get((row as usize).checked_sub(self.first_row)?)
    }
}

fn facts(lines: &DataFrame) -> Result<Vec<LoggedEvent>> {
    let (attempts, times) = (lines.column("least_attempt")?.i64()?, lines.column("place_ns")?.i64()?);
    let (late, after_gap) = (lines.column("is_late")?.bool()?, lines.column("after_gap")?.bool()?);
    let (in_open_gap, is_torn) = (lines.column("in_open_gap")?.bool()?, lines.column("is_torn")?.bool()?);
    let fact = |row: usize| {
        let is = |values: &BooleanChunked| values.get(row) == Some(true);
        LoggedEvent {
            rank: (attempts.get(row), times.get(row), is(late)),
            after_gap: is(after_gap),
            in_open_gap: is(in_open_gap),
            is_torn: is(is_torn),
        }
    };
    Ok((0..lines.height()).map(fact).collect())
}
