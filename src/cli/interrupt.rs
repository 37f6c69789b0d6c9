//! What goes when the program is interrupted.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::nomad::Stop;

/// The directory of unfinished work, if there is one. Locked while it is made and while it becomes the result, so that
/// an interruption falls before or after, and never halfway.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// What to tell instead of stopping at once, if somebody listens.
static GENTLY: Mutex<Option<Stop>> = Mutex::new(None);

/// From now on, being told to stop removes the directory of unfinished work and then stops as usual.
///
/// # Errors
/// When signals cannot be listened to.
pub fn listen() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be listened to")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let gently = GENTLY.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(stop) = gently {
                // What was seen is written first; whoever cannot wait for it says so again.
                stop.set();
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

/// The first time the program is told to stop, it tells this instead.
pub fn stop_gently(stop: Stop) {
    *GENTLY.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
}

/// Does something that changes which directory holds unfinished work, without being interrupted.
pub fn undisturbed<T>(work: impl FnOnce(&mut Option<PathBuf>) -> T) -> T {
    work(&mut UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner))
}
