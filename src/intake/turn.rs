//! Blocks in order of arrival: whose turn it is, the document that is open, and what has been seen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use arrow::array::RecordBatch;
use hashbrown::HashSet;

use super::blocks::Block;
use super::document::Open;
use super::looked::Looked;
use super::{Absences, Deliver, Error, Note, Observer, Options, Summary};
use crate::decode::document::Part;
use crate::merge::{Columns, Merge, Rows, Versions};
use crate::presence::{self, Presence};
use crate::source::Origin;
use crate::tables::Table;

/// What the workers share.
pub struct Turns<'r> {
    state: Mutex<State<'r>>,
    moved: Condvar,
    delivery: Mutex<Delivery<'r>>,
    delivered: Condvar,
    stopped: AtomicBool,
}

/// What belongs to the worker whose turn it is.
pub struct State<'r> {
    /// The number of the step whose turn it is.
    number: u64,
    /// The document whose blocks are being taken.
    pub document: Open,
    pub(super) merge: Merge,
    pub(super) summary: Summary,
    pub(super) options: &'r Options,
    pub(super) observer: &'r dyn Observer,
    /// Documents with a row in the ledger so far.
    pub(super) snapshots: i64,
    /// What documents show of allocations, and when: of the run, or since rows were last made of it.
    pub(super) looked: Looked,
    /// What rows that were delivered tell, if absences are recorded document by document.
    pub(super) presence: Presence,
    /// Allocations with events that are later than their document.
    pub(super) ahead: HashSet<u32>,
}

struct Delivery<'r> {
    number: u64,
    deliver: &'r mut Deliver<'r>,
    problem: Option<anyhow::Error>,
}

/// The rows of a block that are new, and what the end of its document adds.
pub struct Taken<'a> {
    /// Rows that had to wait until the document showed whether its times are exact.
    pub before: Vec<(Table, RecordBatch)>,
    /// The block's own rows.
    pub rows: Rows<'a>,
    /// The document's sightings and its row in the ledger.
    pub after: Vec<(Table, RecordBatch)>,
}

impl<'r> Turns<'r> {
    /// At the beginning of a run.
    pub fn new(options: &'r Options, observer: &'r dyn Observer, deliver: &'r mut Deliver<'r>) -> Turns<'r> {
        Turns {
            state: Mutex::new(State {
                number: 0,
                document: Open::default(),
                merge: Merge::default(),
                summary: Summary::default(),
                options,
                observer,
                snapshots: 0,
                looked: Looked::default(),
                presence: Presence::default(),
                ahead: HashSet::default(),
            }),
            moved: Condvar::new(),
            delivery: Mutex::new(Delivery { number: 0, deliver, problem: None }),
            delivered: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Waits until it is a step's turn; `None` when the run is over.
    pub fn wait(&self, number: u64) -> Option<MutexGuard<'_, State<'r>>> {
        let turn = self.state.lock().ok()?;
        let turn = self.moved.wait_while(turn, |state| !self.is_stopped() && state.number != number).ok()?;
        (!self.is_stopped()).then_some(turn)
    }

    /// Gives the turn to the next step; `false` when the run is over.
    pub fn pass(&self, mut turn: MutexGuard<'_, State<'r>>) -> bool {
        turn.number += 1;
        let is_over = turn.options.strict && turn.summary.rejected > 0;
        drop(turn);
        if is_over {
            self.stop();
        }
        self.moved.notify_all();
        !self.is_stopped()
    }

    /// Delivers the batches of a step after those of all steps before it; `false` when the run is over.
    pub fn deliver(&self, number: u64, batches: anyhow::Result<Vec<(Table, RecordBatch)>>) -> bool {
        let Ok(delivery) = self.delivery.lock() else { return false };
        let waited = self.delivered.wait_while(delivery, |d| !self.is_stopped() && d.number != number);
        let Ok(mut delivery) = waited else { return false };
        if self.is_stopped() {
            return false;
        }
        delivery.number += 1;
        let result = batches
            .and_then(|batches| batches.into_iter().try_for_each(|(table, batch)| (delivery.deliver)(table, batch)));
        let failed = result.is_err();
        delivery.problem = result.err();
        drop(delivery);
        if failed {
            self.stop();
        }
        self.delivered.notify_all();
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Ends the run for all. Whoever is about to wait holds its lock while it looks, so the word cannot be missed.
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(self.state.lock());
        self.moved.notify_all();
        drop(self.delivery.lock());
        self.delivered.notify_all();
    }

    /// Ends the run for all when its thread panics.
    pub fn guard(&self) -> Guard<'_, 'r> {
        Guard(self)
    }

    /// What the run took in. Delivers what only its end tells.
    ///
    /// # Errors
    /// When a batch could not be delivered.
    pub fn finish(self) -> Result<Summary, Error> {
        let mut delivery = self.delivery.into_inner().map_err(|_| Error::Stopped)?;
        if let Some(problem) = delivery.problem.take() {
            return Err(Error::Write(problem.into()));
        }
        let mut state = self.state.into_inner().map_err(|_| Error::Stopped)?;
        state.warn_of_clocks();
        let shown = state.looked.take(&state.merge);
        if state.options.absences == Absences::AtTheEnd {
            let region = &state.options.region;
            let rows = Presence::default().add(region, &shown, true);
            let batches = presence::batches(region, &rows).map_err(|error| Error::Write(error.into()))?;
            let mut deliver = batches.into_iter();
            deliver
                .try_for_each(|(table, batch)| (delivery.deliver)(table, batch))
                .map_err(|error| Error::Write(error.into()))?;
        }
        state.summary.shown = shown;
        Ok(state.summary)
    }
}

/// See [`Turns::guard`].
pub struct Guard<'t, 'r>(&'t Turns<'r>);

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

impl State<'_> {
    /// Says something to the user, and counts it.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Rejected(_) => self.summary.rejected += 1,
            Note::PassedOver(..) => self.summary.passed_over += 1,
            Note::Warning(_) | Note::Recovered(_) | Note::Info(_) => {}
        }
        self.observer.note(note);
    }

    /// Says once that clients' clocks are ahead.
    fn warn_of_clocks(&self) {
        let n = self.ahead.len();
        if n > 0 {
            let (allocations, show) = if n == 1 { ("allocation", "shows") } else { ("allocations", "show") };
            self.observer.note(Note::Warning(format!(
                "{n} {allocations} {show} task events more than a minute after the observation: a client's clock is ahead, \
                 or the time of the document is wrong"
            )));
        }
    }

    /// Opens the document of a first block.
    pub fn begin(&mut self, origin: &Origin) {
        self.document = Open::new(origin.clone());
    }

    /// Takes the part that a block's bytes hold: reports its faults, keeps what is new of its rows and, at its end,
    /// closes the document.
    ///
    /// # Errors
    /// When rows that had to wait cannot be read again.
    pub fn take<'a>(
        &mut self,
        block: &Block,
        bytes: &[u8],
        part: &Part<'a>,
        mut rows: Rows<'a>,
        columns: &Columns<'a>,
        versions: &Versions,
    ) -> anyhow::Result<Taken<'a>> {
        self.merge.number(&mut rows, versions);
        self.report(bytes, part);
        self.count(part, &rows);
        let before = self.settle(block, bytes, part, &rows, versions)?;
        if self.document.is_held() {
            rows = Rows::default();
        } else {
            self.keep_new(&mut rows, columns, versions);
        }
        self.document.go_on(bytes, part);
        let after = match &block.end {
            Some(end) => self.close(end)?,
            None => Vec::new(),
        };
        Ok(Taken { before, rows, after })
    }

    /// Leaves the new ones among the rows, and counts them.
    pub(super) fn keep_new<'a>(&mut self, rows: &mut Rows<'a>, columns: &Columns<'a>, versions: &Versions) {
        let snapshot_id = self.snapshots + 1;
        let rounded = self.document.is_rounded();
        let new = self.merge.keep_new(rows, columns, snapshot_id, rounded);
        if !rounded {
            self.merge.remember(rows, versions, self.number);
        }
        self.document.count_new(new);
        self.summary.new_allocations += new.allocations;
        self.summary.new_task_states += new.task_states;
        self.summary.new_task_events += new.task_events;
    }
}
