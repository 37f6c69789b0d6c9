//! Signal handling: cleanup on interruption, or a graceful stop.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::screen;
use crate::nomad::CancelToken;

/// Signals within this time after the first one count as a single signal, because `timeout` signals both the process
/// and its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// The directory of unfinished work, if any. The lock is held while the directory is created and while it is renamed to
/// the result, so that an interruption cannot come in the middle of either step.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The flag that the first signal sets, for commands that stop gracefully.
static GRACEFUL_STOP: Mutex<Option<CancelToken>> = Mutex::new(None);

/// Handles SIGINT, SIGTERM and SIGHUP from now on: removes the directory of unfinished work and ends the program. After
/// [`stop_gracefully`] the first signal only sets the flag.
///
/// # Errors
/// When signal handlers cannot be installed.
pub fn listen() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot install signal handlers")?;
    thread::spawn(move || {
        let mut stopped_at: Option<Instant> = None;
        for signal in signals.forever() {
            let graceful = GRACEFUL_STOP.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(stop) = graceful {
                stop.cancel();
                stopped_at = Some(Instant::now());
                continue;
            }
            if stopped_at.is_some_and(|at| at.elapsed() < SAME_SIGNAL) {
                continue;
            }
            let unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(directory) = &*unfinished {
                // Other threads may still create files in it, so retry a few times.
                let _ = (0..5).find(|_| fs::remove_dir_all(directory).is_ok());
            }
            screen::leave_for_signal();
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

/// Makes the first signal set this flag instead of ending the program.
pub fn stop_gracefully(stop: CancelToken) {
    *GRACEFUL_STOP.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
}

/// Runs `work`, which may change the directory of unfinished work. A signal waits until `work` is done.
pub fn with_cleanup_lock<T>(work: impl FnOnce(&mut Option<PathBuf>) -> T) -> T {
    work(&mut UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner))
}
