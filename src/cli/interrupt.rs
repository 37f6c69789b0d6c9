//! What goes when the program is interrupted.

use std::path::Path;
use std::thread;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Removes a directory of unfinished work if the program is told to stop, and then stops as it would have.
///
/// # Errors
/// When signals cannot be listened to.
pub fn remove(directory: &Path) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be listened to")?;
    let directory = directory.to_owned();
    thread::spawn(move || {
        for signal in signals.forever() {
            // Other threads may still make files in it: again, until it is gone or plainly cannot go.
            let _ = (0..5).find(|_| std::fs::remove_dir_all(&directory).is_ok());
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}
