//! Decides whether the times of a document passed through a float, and holds its parts until then.

use std::io::{Read, Seek, SeekFrom, Write};

use tempfile::SpooledTempFile;

use super::Note;
use super::chunker::Block;
use super::document_state::{HeldParts, Rounding};
use super::state::RunState;
use crate::decode::document::{Mode, ParsedPart, Reader};
use crate::error::Result;
use crate::merge::{self, Columns, PartRows, Versions};
use crate::tables::sink;

/// Minimum number of event times for this decision, because fewer times may end in zeros by chance.
const MIN_TIMES: u64 = 4;
/// Maximum number of bytes of held parts in memory. If there are more, all are in a temporary file.
const HELD_IN_MEMORY: usize = 32 << 20;

impl RunState<'_> {
    /// Decides whether the document's times are rounded, if this part shows it, and returns the rows of the parts held
    /// before. If the decision is still open, holds this part, too.
    pub(super) fn decide_rounding(
        &mut self,
        block: &Block,
        bytes: &[u8],
        part: &ParsedPart<'_>,
        rows: &PartRows<'_>,
        versions: &Versions,
    ) -> Result<Vec<sink::Rows>> {
        let held = match std::mem::take(&mut self.document.rounding) {
            Rounding::Known(known) => {
                self.document.rounding = Rounding::Known(known);
                return Ok(Vec::new());
            }
            Rounding::Open => None,
            Rounding::Held(held) => Some(held),
        };
        let facts = || rows.versions.iter().map(|v| v.facts);
        let (times, any_fine) = held.as_ref().map_or((0, false), |held| (held.times, held.any_fine));
        let times = times + facts().map(|f| u64::from(f.event_times)).sum::<u64>();
        let any_fine = any_fine || facts().any(|f| f.any_fine);
        let exact = facts().any(|f| f.any_exact);
        if exact || block.end.is_some() {
            let rounded = !exact && any_fine && times >= MIN_TIMES;
            self.document.rounding = Rounding::Known(rounded);
            if rounded {
                self.summary.rounded_documents += 1;
                let name = &self.document.origin.name;
                self.note(Note::Warning(format!(
                    "{name}: its times went through a float (an old jq, a script) and are rounded; its events are \
                     stored apart from exact events, and a task with such an event does not count as complete"
                )));
            }
            return held.map_or(Ok(Vec::new()), |held| self.release(*held, versions));
        }
        if times == 0 {
            return Ok(Vec::new());
        }
        let mut held = held.unwrap_or_else(|| {
            let bytes = SpooledTempFile::new(HELD_IN_MEMORY);
            Box::new(HeldParts { times: 0, any_fine: false, bytes, parts: Vec::new() })
        });
        (held.times, held.any_fine) = (times, any_fine);
        held.bytes.write_all(&bytes[..part.end])?;
        held.parts.push((self.document.position.clone(), part.end));
        self.document.rounding = Rounding::Held(held);
        Ok(Vec::new())
    }

    /// The new rows of the held parts. Faults were reported, and contents counted, when the parts arrived.
    fn release(&mut self, mut held: HeldParts, versions: &Versions) -> Result<Vec<sink::Rows>> {
        let options = self.options;
        let namespace = self.document.origin.listed_namespace().to_owned();
        let mut reader = Reader::new(Mode { strict: options.strict });
        let mut batches = Vec::new();
        held.bytes.seek(SeekFrom::Start(0))?;
        for (position, len) in held.parts {
            let mut bytes = vec![0; len];
            held.bytes.read_exact(&mut bytes)?;
            let part = reader.part(position, &bytes, false, None);
            let columns = Columns::new();
            let mut rows = merge::rows(&part.items, &options.region, &namespace, &options.filter, &columns);
            self.merge.number(&mut rows, versions);
            self.keep_new(&mut rows, &columns, versions);
            batches.extend(merge::batches(rows, &columns, self.snapshots + 1)?);
        }
        Ok(batches)
    }
}
