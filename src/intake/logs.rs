//! Turns the "Task event" lines of agents' logs into rows of `log_events`.
//!
//! A log is not a document: it has no row in `snapshots`, lists no allocations, and does not say when it was read.

use std::io::{Seek, SeekFrom};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::chunker::LogBlock;
use super::log_state::OpenLog;
use super::sequencer::Sequencer;
use super::state::{Delivery, MAX_REPORTED, RunState};
use super::{IntakeOptions, Note};
use crate::decode::agent_log::{self, LogPart};
use crate::error;
use crate::source;
use crate::tables::sink::{Rows, Sink};
use crate::tables::{Table, column, log_events};

/// Reads a block of a log, waits for its turn, and delivers its new rows; `false` when the run is over.
pub fn process_block(options: &IntakeOptions, block: &LogBlock, sequencer: &Sequencer<'_>) -> bool {
    let part = agent_log::part(block.bytes(), block.is_last);
    let lines = memchr::memchr_iter(b'\n', block.bytes()).count() as u64;
    let node = source::client_node(&block.origin.name);
    let columns = log_events::columns();
    let mut known = log_events::KnownMessages::default();
    let mut rows = Vec::with_capacity(part.lines.len());
    let wanted = part.lines.iter().filter(|line| options.filter.has_prefix(&line.alloc_id));
    rows.extend(wanted.map(|line| log_events::row(&options.region, node, line, &mut known)));
    let mut buffer = Vec::with_capacity(512);
    let identities: Vec<u128> = rows.iter().map(|row| column::identity(&columns, row, &mut buffer)).collect();
    let Some(mut turn) = sequencer.wait_for_turn(block.number) else { return false };
    if block.is_first {
        turn.logs.open = OpenLog::default();
    }
    turn.report_log(block, &part, lines);
    let mut new = Vec::with_capacity(rows.len());
    for (row, mut identity) in rows.iter_mut().zip(identities) {
        row.ordinal = turn.logs.open.ordinal(row.logged_at(), identity);
        if row.ordinal > 0 {
            identity = column::identity(&columns, row, &mut buffer);
        }
        new.push(turn.merge.log_event(row.alloc_id(), identity).then_some(identity));
    }
    let mut kept = new.iter();
    rows.retain(|_| kept.next().is_some_and(Option::is_some));
    let identities: Vec<u128> = new.into_iter().flatten().collect();
    let batch = || column::batch(&columns, Table::LogEvents.schema(), rows.iter());
    if options.filter.needs_listing() {
        // Which allocations the filter keeps is known only at the end of the run.
        let held = batch().and_then(|batch| turn.hold_log_rows(&batch));
        let held = held.map(|()| Delivery::default()).map_err(Into::into);
        return sequencer.pass_turn(turn) && sequencer.deliver(block.number, held);
    }
    turn.summary.new_log_events += identities.len() as u64;
    if !sequencer.pass_turn(turn) {
        return false;
    }
    let rows = if identities.is_empty() {
        Ok(Vec::new())
    } else {
        batch().map(|batch| vec![Rows { table: Table::LogEvents, document: None, batch, identities }])
    };
    sequencer.deliver(block.number, rows.map(|rows| Delivery { rows, end: None }).map_err(Into::into))
}

impl RunState<'_> {
    /// Counts the lines of a block and reports those that cannot be read. At the end of a log without task events,
    /// reports that there are none.
    fn report_log(&mut self, block: &LogBlock, part: &LogPart<'_>, lines: u64) {
        let name = &block.origin.name;
        for fault in &part.faults {
            let before = &block.bytes()[..fault.at];
            let line = self.logs.open.lines + memchr::memchr_iter(b'\n', before).count() as u64 + 1;
            let what = format!("{name}: byte {}, line {line}: {}", self.logs.open.offset + fault.at as u64, fault.what);
            if fault.is_tail {
                self.note(Note::Warning(format!("{what}; it is the last line, which the agent may still be writing")));
                continue;
            }
            self.logs.open.rejected += 1;
            if self.logs.open.rejected <= MAX_REPORTED {
                self.note(Note::Rejected(what));
            } else {
                self.summary.rejected += 1;
            }
        }
        let events = part.lines.len() as u64;
        self.summary.log_lines += events;
        let open = &mut self.logs.open;
        open.events += events;
        open.offset += block.len as u64;
        open.lines += lines;
        let (events, rejected, bytes) = (open.events, open.rejected, open.offset);
        if let Some(problem) = &block.problem {
            self.note(problem.note(name, bytes));
        }
        if !block.is_last {
            return;
        }
        if rejected > MAX_REPORTED {
            let more = rejected - MAX_REPORTED;
            self.note(Note::Warning(format!("{name}: {more} more lines could not be read")));
        }
        if events > 0 {
            self.summary.logs += 1;
            self.summary.log_sources.insert(block.origin.source);
        } else if rejected == 0 && block.problem.is_none() {
            let why = "is the log of an agent without task events";
            self.note(Note::Skipped(format!("{name}: {why}"), block.origin.is_named));
        }
    }

    /// Writes rows to a temporary file until it is known which allocations the filter keeps.
    fn hold_log_rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.logs.held.is_none() {
            self.logs.held = Some(StreamWriter::try_new(tempfile::tempfile()?, &batch.schema())?);
        }
        self.logs.held.as_mut().map_or(Ok(()), |held| held.write(batch))
    }

    /// Delivers the held rows whose allocations the filter keeps. Such an allocation is shown by a document of the run,
    /// or by the data to which the rows are added ([`Sink::is_selected`]).
    pub(super) fn deliver_held_log_rows(&mut self, sink: &mut dyn Sink) -> error::Result<()> {
        let Some(held) = self.logs.held.take() else { return Ok(()) };
        let mut file = held.into_inner()?;
        file.seek(SeekFrom::Start(0))?;
        for batch in StreamReader::try_new(file, None)? {
            let batch = batch?;
            let ids = column::named("alloc_id", &batch)?;
            let mut is_kept = Vec::with_capacity(batch.num_rows());
            for id in ids.as_string::<i32>() {
                is_kept.push(match id {
                    Some(id) => self.merge.is_kept(id) || sink.is_selected(id)?,
                    None => false,
                });
            }
            let is_kept = BooleanArray::from(is_kept);
            let held = batch.num_rows();
            let batch = filter_record_batch(&batch, &is_kept)?;
            self.summary.new_log_events += batch.num_rows() as u64;
            self.summary.unlisted_log_events += (held - batch.num_rows()) as u64;
            if batch.num_rows() > 0 {
                sink.rows(Rows::identified(Table::LogEvents, batch)?)?;
            }
        }
        Ok(())
    }
}
