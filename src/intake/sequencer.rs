//! Commits steps in order of arrival, and delivers their rows in the same order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use super::state::{Delivery, RunState};
use super::{Absences, Error, IntakeOptions, Observer, Summary};
use crate::error;
use crate::presence;
use crate::tables::sink::Sink;

/// The state shared by the workers.
pub struct Sequencer<'r> {
    state: Mutex<RunState<'r>>,
    moved: Condvar,
    delivery: Mutex<RowOutput<'r>>,
    delivered: Condvar,
    stopped: AtomicBool,
}

struct RowOutput<'r> {
    number: u64,
    sink: &'r mut dyn Sink,
    problem: Option<error::Error>,
}

impl RowOutput<'_> {
    fn add(&mut self, delivery: Delivery) -> error::Result<()> {
        delivery.rows.into_iter().try_for_each(|rows| self.sink.rows(rows))?;
        delivery.end.map_or(Ok(()), |end| self.sink.end_document(end))
    }
}

impl<'r> Sequencer<'r> {
    /// The state at the start of a run.
    pub fn new(options: &'r IntakeOptions, observer: &'r dyn Observer, sink: &'r mut dyn Sink) -> Sequencer<'r> {
        Sequencer {
            state: Mutex::new(RunState::new(options, observer)),
            moved: Condvar::new(),
            delivery: Mutex::new(RowOutput { number: 0, sink, problem: None }),
            delivered: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Waits for the turn of a step; `None` when the run is over.
    pub fn wait_for_turn(&self, number: u64) -> Option<MutexGuard<'_, RunState<'r>>> {
        let turn = self.state.lock().ok()?;
        let turn = self.moved.wait_while(turn, |state| !self.is_stopped() && state.number != number).ok()?;
        (!self.is_stopped()).then_some(turn)
    }

    /// Passes the turn to the next step; `false` when the run is over.
    pub fn pass_turn(&self, mut turn: MutexGuard<'_, RunState<'r>>) -> bool {
        turn.number += 1;
        let is_over = turn.options.strict && turn.summary.rejected > 0;
        drop(turn);
        if is_over {
            self.stop();
        }
        self.moved.notify_all();
        !self.is_stopped()
    }

    /// Delivers the rows of a step after those of all previous steps; `false` when the run is over.
    pub fn deliver(&self, number: u64, rows: error::Result<Delivery>) -> bool {
        let Ok(delivery) = self.delivery.lock() else { return false };
        let waited = self.delivered.wait_while(delivery, |d| !self.is_stopped() && d.number != number);
        let Ok(mut delivery) = waited else { return false };
        if self.is_stopped() {
            return false;
        }
        delivery.number += 1;
        let result = rows.and_then(|rows| delivery.add(rows));
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

    /// Ends the run. Takes the lock, so that a thread that is about to wait cannot miss the notification.
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(self.state.lock());
        self.moved.notify_all();
        drop(self.delivery.lock());
        self.delivered.notify_all();
    }

    /// Returns a guard that ends the run if its thread panics.
    pub fn guard(&self) -> PanicGuard<'_, 'r> {
        PanicGuard(self)
    }

    /// Ends the intake: delivers the remaining rows, and returns the totals.
    ///
    /// # Errors
    /// When a batch could not be delivered.
    pub fn finish(self) -> Result<Summary, Error> {
        let mut delivery = self.delivery.into_inner().map_err(|_| Error::Stopped)?;
        if let Some(problem) = delivery.problem.take() {
            return Err(Error::Write(problem));
        }
        let mut state = self.state.into_inner().map_err(|_| Error::Stopped)?;
        state.warn_of_clocks();
        state.deliver_held_log_rows(delivery.sink).map_err(Error::Write)?;
        state.merge.forget_rows();
        let shown = state.shown_buffer.take(&state.merge);
        if state.options.absences == Absences::AtTheEnd {
            let region = &state.options.region;
            let rows = presence::batches(region, &presence::rows_at_the_end(&shown));
            let rows = rows.map_err(|error| Error::Write(error.into()))?;
            delivery.add(Delivery { rows, end: None }).map_err(Error::Write)?;
        } else {
            state.summary.shown = shown;
        }
        Ok(state.summary)
    }
}

/// See [`Sequencer::guard`].
pub struct PanicGuard<'t, 'r>(&'t Sequencer<'r>);

impl Drop for PanicGuard<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}
