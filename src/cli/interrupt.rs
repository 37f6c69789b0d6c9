//! Signals that tell the program to end, and what goes when it does.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::nomad::Stop;

/// Signals within this time of the first count as one: `timeout` sends SIGTERM to the process and to its group.
const ONE: Duration = Duration::from_secs(1);

/// The directory of unfinished work, if there is one. Locked while it is made and while it becomes the result, so that
/// an interruption falls before or after, and never halfway.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The flag that the first signal sets, where the command ends by itself then.
static GENTLY: Mutex<Option<Stop>> = Mutex::new(None);

/// Handles SIGINT, SIGTERM and SIGHUP from now on: removes the directory of unfinished work and ends the program. After
/// [`stop_gently`] the first of them only sets the flag.
///
/// # Errors
/// When signals cannot be listened to.
pub fn listen() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be listened to")?;
    thread::spawn(move || {
        let mut stopped_at: Option<Instant> = None;
        for signal in signals.forever() {
            let gently = GENTLY.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(stop) = gently {
                stop.set();
                stopped_at = Some(Instant::now());
                continue;
            }
            if stopped_at.is_some_and(|at| at.elapsed() < ONE) {
                continue;
            }
            let unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(directory) = &*unfinished {
                // Other threads may still make files in it: again, until it is gone or plainly cannot go.
                let _ = (0..5).find(|_| fs::remove_dir_all(directory).is_ok());
            }
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

/// Makes the first signal set this flag instead of ending the program.
pub fn stop_gently(stop: Stop) {
    *GENTLY.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
}

/// Does something that changes which directory holds unfinished work, without being interrupted.
pub fn undisturbed<T>(work: impl FnOnce(&mut Option<PathBuf>) -> T) -> T {
    work(&mut UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner))
}
