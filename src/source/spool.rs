//! The spool stores documents of a live cluster on the local disk until a batch in the lake contains them.
//!
//! Each writer has its own locked directory. A listing is a file in the format of `alloclog fetch`. Stream frames are
//! appended to an open file as they arrive, so that a killed writer loses none. Each append is a small document of the
//! same format; sealing joins them into one document. The spool does not track commits: reading a document twice adds
//! no row, since rows are identified by their content.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Cursor, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::fetch_file::{self, FetchMetadata, Frame};
use super::{Input, Location, Origin, WillRetry};
use crate::error::{Context, Result};

/// Maximum size of a document of frames, in bytes as served.
const LARGEST: u64 = 8 << 20;
/// The name of the lock file.
const LOCK: &str = "lock";
/// The extension of complete documents.
const WHOLE: &str = ".json.zst";
/// The extension of the file to which frames are appended.
const OPEN: &str = ".open";
/// The extension of a file that is being written.
const UNFINISHED: &str = ".tmp";

/// The spool of one writer.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    /// The lock, held while the spool exists.
    _lock: File,
    state: Mutex<SpoolState>,
}

#[derive(Debug)]
struct SpoolState {
    /// The number of the next file.
    next: u64,
    /// The file to which frames are appended.
    open: Option<OpenFrames>,
}

#[derive(Debug)]
struct OpenFrames {
    number: u64,
    file: File,
    /// Its size in bytes as served.
    bytes: u64,
}

/// A document that waits for a batch.
#[derive(Debug, Clone)]
pub struct SpooledDocument {
    path: PathBuf,
    /// Its compressed size.
    pub bytes: u64,
}

impl Spool {
    /// Opens a spool in a directory that several writers share: the spool with the lowest number that no running writer
    /// has locked. Takes over the documents of writers that no longer run.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn open(base: &Path) -> Result<Spool> {
        let cannot = || format!("cannot open the spool in {}", base.display());
        fs::create_dir_all(base).with_context(cannot)?;
        let mut number = 1;
        let (directory, lock) = loop {
            let directory = base.join(number.to_string());
            fs::create_dir_all(&directory).with_context(cannot)?;
            if let Some(lock) = lock(&directory).with_context(cannot)? {
                break (directory, lock);
            }
            number += 1;
        };
        let mut next = 1;
        for (number, path) in files(&directory).with_context(cannot)? {
            next = next.max(number + 1);
            if has_ending(&path, UNFINISHED) {
                fs::remove_file(&path).with_context(cannot)?;
            }
        }
        let spool = Spool { directory, _lock: lock, state: Mutex::new(SpoolState { next, open: None }) };
        spool.take_over(base).with_context(cannot)?;
        for (number, path) in files(&spool.directory).with_context(cannot)? {
            if has_ending(&path, OPEN) {
                spool.join(number).with_context(cannot)?;
            }
        }
        Ok(spool)
    }

    /// Takes over the files of writers that no longer run.
    fn take_over(&self, base: &Path) -> io::Result<()> {
        for entry in fs::read_dir(base)? {
            let directory = entry?.path();
            if directory == self.directory || !directory.is_dir() {
                continue;
            }
            let Some(_lock) = lock(&directory)? else { continue };
            for (_, path) in files(&directory)? {
                let ending = [WHOLE, OPEN].into_iter().find(|ending| has_ending(&path, ending));
                match ending {
                    Some(ending) => fs::rename(&path, self.path(self.take_number(), ending))?,
                    None => fs::remove_file(&path)?,
                }
            }
        }
        Ok(())
    }

    /// The directory of the spool.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Adds a document. If its stream broke, returns the error. A document that will be requested again is dropped.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn put(&self, origin: &Origin, stream: &mut dyn Read) -> Result<Option<String>> {
        let mut put = || -> io::Result<Option<String>> {
            let about = FetchMetadata::from_origin(origin, origin.name.clone(), "");
            if origin.is_stream {
                let mut lines = Vec::new();
                stream.read_to_end(&mut lines)?;
                self.append(&about, &lines)?;
                return Ok(None);
            }
            self.write(about, origin.is_nodes, stream)
        };
        put().with_context(|| format!("cannot write a document to the spool {}", self.directory.display()))
    }

    fn write(&self, mut about: FetchMetadata, is_nodes: bool, stream: &mut dyn Read) -> io::Result<Option<String>> {
        let number = self.take_number();
        let unfinished = self.path(number, UNFINISHED);
        // The metadata comes first in the file, but whether a listing is complete is known only at its end. So write
        // the body to a temporary file first.
        let body = tempfile::tempfile_in(&self.directory)?;
        let (_, mut body, broke) = fetch_file::compress(stream, body)?;
        let will_retry = broke.as_ref().is_some_and(WillRetry::is_in);
        let failure = broke.map(|error| format!("cannot be read further: {error}"));
        if will_retry {
            return Ok(failure);
        }
        if failure.is_some() {
            about.full_listing = None;
        }
        io::Seek::rewind(&mut body)?;
        let mut out = BufWriter::new(File::create(&unfinished)?);
        fetch_file::write_metadata(&mut out, &about)?;
        if is_nodes {
            let mut list = Vec::new();
            body.read_to_end(&mut list)?;
            fetch_file::write_nodes(&mut out, &about, &list)?;
        } else {
            io::copy(&mut body, &mut out)?;
        }
        out.into_inner()?.sync_data()?;
        fs::rename(&unfinished, self.path(number, WHOLE))?;
        Ok(failure)
    }

    /// Appends frames to the open file.
    fn append(&self, about: &FetchMetadata, lines: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        fetch_file::write_metadata(&mut bytes, about)?;
        let (_, bytes, _) = fetch_file::compress(&mut &*lines, bytes)?;
        let mut state = self.state();
        let mut open = match state.open.take() {
            Some(open) => open,
            None => {
                let number = state.next;
                state.next += 1;
                let file = OpenOptions::new().append(true).create_new(true).open(self.path(number, OPEN))?;
                OpenFrames { number, file, bytes: 0 }
            }
        };
        // One write call, so that a kill leaves all of it or nothing.
        open.file.write_all(&bytes)?;
        open.bytes += lines.len() as u64;
        if open.bytes < LARGEST {
            state.open = Some(open);
            return Ok(());
        }
        self.join(open.number)
    }

    /// Joins the appended frames into one document.
    ///
    /// # Errors
    /// When the spool cannot be read or written.
    pub fn seal(&self) -> Result<()> {
        match self.state().open.take() {
            Some(open) => self
                .join(open.number)
                .with_context(|| format!("cannot join stream frames in the spool {}", self.directory.display())),
            None => Ok(()),
        }
    }

    fn join(&self, number: u64) -> io::Result<()> {
        let (open, whole, unfinished) =
            (self.path(number, OPEN), self.path(number, WHOLE), self.path(number, UNFINISHED));
        if !whole.exists() {
            let (about, lines) = appended(&open)?;
            if !lines.is_empty() {
                let mut out = BufWriter::new(File::create(&unfinished)?);
                fetch_file::write_metadata(&mut out, &about)?;
                let (_, out, _) = fetch_file::compress(&mut lines.as_slice(), out)?;
                out.into_inner()?.sync_data()?;
                fs::rename(&unfinished, &whole)?;
            }
        }
        fs::remove_file(&open)
    }

    /// The waiting documents, in order of arrival.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn pending(&self) -> Result<Vec<SpooledDocument>> {
        let list = || -> io::Result<Vec<SpooledDocument>> {
            let whole = files(&self.directory)?.into_iter().filter(|(_, path)| has_ending(path, WHOLE));
            whole.map(|(_, path)| Ok(SpooledDocument { bytes: fs::metadata(&path)?.len(), path })).collect()
        };
        list().with_context(|| format!("cannot read the spool {}", self.directory.display()))
    }

    /// Removes committed documents.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&self, documents: &[SpooledDocument]) -> Result<()> {
        documents.iter().try_for_each(|document| {
            fs::remove_file(&document.path).with_context(|| format!("cannot remove {}", document.path.display()))
        })
    }

    fn take_number(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next - 1
    }

    fn path(&self, number: u64, ending: &str) -> PathBuf {
        self.directory.join(format!("{number:012}{ending}"))
    }

    fn state(&self) -> MutexGuard<'_, SpoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpooledDocument {
    /// The document as an input, with its original name.
    pub fn input(&self) -> Input {
        let about = File::open(&self.path).and_then(|file| match fetch_file::read_frame(&mut BufReader::new(file))? {
            Frame::Metadata(about) => Ok(about.address),
            _ => Err(ErrorKind::InvalidData.into()),
        });
        let name = about.unwrap_or_else(|_| self.path.display().to_string());
        Input { name, location: Location::File(self.path.clone()), size: Some(self.bytes), ..Input::default() }
    }
}

/// Locks a directory; `None` if a running writer has the lock.
fn lock(directory: &Path) -> io::Result<Option<File>> {
    let file = File::create(directory.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// The numbered files of a directory, by number.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.split_once('.').and_then(|(digits, _)| digits.parse().ok());
        files.extend(number.map(|number| (number, path.clone())));
    }
    files.sort();
    Ok(files)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.to_string_lossy().ends_with(ending)
}

/// The frames appended to a file, with their metadata. A truncated last append is dropped.
fn appended(path: &Path) -> io::Result<(FetchMetadata, Vec<u8>)> {
    let mut input = BufReader::new(File::open(path)?);
    let (mut whole, mut lines) = (FetchMetadata::default(), Vec::new());
    let mut about = FetchMetadata::default();
    loop {
        match fetch_file::read_frame(&mut input) {
            Ok(Frame::Metadata(next)) => about = next,
            Ok(Frame::Listing(magic)) => {
                let mut frame = Vec::new();
                let decoder = zstd::Decoder::with_buffer(Cursor::new(magic).chain(&mut input))?;
                if decoder.single_frame().read_to_end(&mut frame).is_err() {
                    return Ok((whole, lines));
                }
                about.nomad_index = about.nomad_index.max(whole.nomad_index);
                whole = about.clone();
                lines.append(&mut frame);
            }
            Ok(Frame::Nodes(..) | Frame::End) | Err(_) => return Ok((whole, lines)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ObservedFrom;

    fn frames(at: i64, index: i64) -> Origin {
        let observed = Some((at * 1_000_000_000, ObservedFrom::Fetched));
        let name = "http://a/v1/event/stream".to_owned();
        Origin { name, observed, nomad_index: Some(index), is_stream: true, ..Origin::default() }
    }

    fn text(spool: &Spool) -> Vec<String> {
        let waiting = spool.pending().unwrap();
        waiting
            .iter()
            .map(|w| io::read_to_string(zstd::Decoder::new(File::open(&w.path).unwrap()).unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn a_killed_writer_loses_only_incomplete_appends() {
        let base = tempfile::tempdir().unwrap();
        let spool = Spool::open(base.path()).unwrap();
        for n in 1..=3 {
            spool.put(&frames(n, n), &mut format!("{{\"Index\":{n}}}\n").as_bytes()).unwrap();
        }
        let open = spool.path(1, OPEN);
        drop(spool);
        let bytes = fs::read(&open).unwrap();
        fs::write(&open, &bytes[..bytes.len() - 3]).unwrap();
        let spool = Spool::open(base.path()).unwrap();
        assert_eq!(text(&spool), ["{\"Index\":1}\n{\"Index\":2}\n"]);
        assert!(!open.exists());
        let input = spool.pending().unwrap()[0].input();
        assert_eq!(input.name, "http://a/v1/event/stream");
    }

    #[test]
    fn writers_lock_their_directory_and_adopt_abandoned_documents() {
        let base = tempfile::tempdir().unwrap();
        let first = Spool::open(base.path()).unwrap();
        let second = Spool::open(base.path()).unwrap();
        assert_ne!(first.directory(), second.directory());
        let listing = Origin { name: "http://a".into(), ..Origin::default() };
        first.put(&listing, &mut b"[]".as_slice()).unwrap();
        second.put(&frames(1, 1), &mut b"{\"Index\":1}\n".as_slice()).unwrap();
        drop(second);
        let third = Spool::open(base.path()).unwrap();
        assert_eq!(text(&third), ["{\"Index\":1}\n"]);
        drop((first, third));
        let last = Spool::open(base.path()).unwrap();
        assert_eq!(text(&last), ["[]", "{\"Index\":1}\n"]);
        last.remove(&last.pending().unwrap()).unwrap();
        assert!(last.pending().unwrap().is_empty());
    }

    #[test]
    fn a_listing_that_is_requested_again_is_omitted() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(if self.0 { io::Error::other(WillRetry("reset".into())) } else { io::Error::other("reset") })
            }
        }
        let base = tempfile::tempdir().unwrap();
        let spool = Spool::open(base.path()).unwrap();
        let listing = Origin { full_listing: Some("*".into()), ..Origin::default() };
        assert!(spool.put(&listing, &mut Broken(true)).unwrap().is_some());
        assert!(spool.pending().unwrap().is_empty());
        assert!(spool.put(&listing, &mut Broken(false)).unwrap().is_some());
        let path = spool.pending().unwrap()[0].path.clone();
        let Ok(Frame::Metadata(about)) = fetch_file::read_frame(&mut File::open(path).unwrap()) else {
            panic!("no metadata")
        };
        assert_eq!(about.full_listing, None);
    }
}
