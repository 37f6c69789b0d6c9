//! Recordings of real agents. The event stream is the truth with which the list snapshots are compared.
//!
//! `samples/` is always available. It was cut from a recording. ALLOCLOG_RECORDINGS names the directory of this
//! recording; the default is `../shared/recordings/nomad-2.0` next to the repository. If the recording is missing,
//! tests that need it print that they were skipped.
//!
//! Every cell that the program produces for a document is compared with an expected cell. [`expected`] derives that
//! cell from the same bytes with serde_json, without the program's code.

mod api_page;
mod coverage;
mod documents;
mod expected;
mod samples;
mod secrets;
mod snapshots;
mod sources;
mod statistics;
mod whole_recording;

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A document of `samples/`.
fn sample(name: &str) -> PathBuf {
    root().join("samples").join(name)
}

/// The recording of Nomad 2.0.5. If it is missing, prints that the test was skipped. The message is written directly to
/// stderr, because the test harness captures output.
pub fn recording() -> Option<PathBuf> {
    let named = env::var_os("ALLOCLOG_RECORDINGS").map(PathBuf::from);
    if let Some(path) = &named {
        assert!(path.is_dir(), "ALLOCLOG_RECORDINGS is not a directory: {}", path.display());
    }
    let path = named.unwrap_or_else(|| root().join("../shared/recordings/nomad-2.0"));
    if path.is_dir() {
        return Some(path);
    }
    let test = std::thread::current().name().unwrap_or("a test on the recording").to_owned();
    let word = format!("\nNOT RUN: {test}: no recording at {} (see ALLOCLOG_RECORDINGS)\n", path.display());
    std::io::stderr().write_all(word.as_bytes()).expect("standard error that can be written");
    None
}

/// Unpacks an archive of the recording, once per run, and returns its directory. For tests on single documents.
pub fn unpacked(recording: &Path, archive: &str) -> PathBuf {
    static DONE: OnceLock<std::sync::Mutex<Vec<String>>> = OnceLock::new();
    let mut done = DONE.get_or_init(Default::default).lock().expect("no test has died in here");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recording").join(archive);
    if !done.iter().any(|name| name == archive) {
        for member in documents::unpack(&recording.join(archive)) {
            let path = directory.join(&member.name);
            fs::create_dir_all(path.parent().expect("a path below the directory")).expect("a directory");
            fs::write(path, member.bytes).expect("a file");
        }
        done.push(archive.to_owned());
    }
    directory
}
