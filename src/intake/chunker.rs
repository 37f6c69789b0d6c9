//! Splits documents into blocks of about 1 MiB, at positions where an allocation most likely starts.

use std::io::{ErrorKind, Read};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use xxhash_rust::xxh3::Xxh3;

use super::Note;
use crate::decode::agent_log;
use crate::decode::document::Position;
use crate::decode::skip::after_space;
use crate::source::{self, Found, Input, KnownFiles, Origin, WillRetry};

/// The size of a block in bytes. It is large enough that the synchronisation per block is negligible. It is small
/// enough that its rows fit a core's cache. The rows are several times larger, and are filled column by column.
const BLOCK: usize = 1 << 20;

/// Maximum length in bytes of a log's line. A longer line is divided.
const LONGEST_LINE: usize = 16 << 20;

/// A message from the reader to the workers, numbered in order of arrival.
pub enum Step {
    /// A block of a document.
    Block(Block),
    /// A block of the log of an agent.
    Log(LogBlock),
    /// Something other than a document.
    Other {
        /// The number of this step.
        number: u64,
        /// The message for the user.
        note: Note,
        /// The number of the source, if it is an empty file.
        quiet_source: Option<usize>,
    },
    /// A file whose rows are known, or the end of a file that was read.
    File {
        /// The number of this step.
        number: u64,
        /// Its key in [`KnownFiles`].
        key: u128,
        /// The number of the source, if the rows of the file are known.
        known_in: Option<usize>,
    },
}

/// A block of a document.
pub struct Block {
    /// Its number among all steps.
    pub number: u64,
    /// The document.
    pub origin: Arc<Origin>,
    /// Whether it is the first block of its document.
    pub is_first: bool,
    /// The end of the document, if this is its last block.
    pub end: Option<End>,
    /// The guessed position in the document's structure.
    pub guess: Position,
    /// False in the first document. True in the others, because an earlier document may have shown the same
    /// allocations.
    pub may_be_seen: bool,
    /// The buffer, of which the first `len` bytes are used.
    pub buffer: Vec<u8>,
    /// How many bytes are used.
    pub len: usize,
}

impl Block {
    /// The used bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// A block of a log: whole lines.
pub struct LogBlock {
    /// Its number among all steps.
    pub number: u64,
    /// The log.
    pub origin: Arc<Origin>,
    /// Whether it is the first block of its log.
    pub is_first: bool,
    /// Whether it is the last block of its log.
    pub is_last: bool,
    /// Why the log could not be read to its end; `None` if it was.
    pub problem: Option<Problem>,
    /// The buffer, of which the first `len` bytes are used.
    pub buffer: Vec<u8>,
    /// How many bytes are used.
    pub len: usize,
}

impl LogBlock {
    /// The used bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// What is known at the end of a document.
pub struct End {
    /// XXH3-128 of all its bytes.
    pub content_hash: u128,
    /// Its size in bytes.
    pub bytes: u64,
    /// Why the document could not be read to its end; `None` if it was.
    pub problem: Option<Problem>,
}

/// Why a document could not be read to its end.
pub struct Problem {
    /// The error.
    pub what: String,
    /// True if the document will be requested again as a whole, so that nothing is lost.
    pub will_retry: bool,
}

impl Problem {
    /// The message about an input that could not be read beyond this byte.
    pub fn note(&self, name: &str, byte: u64) -> Note {
        let what = format!("{name}: byte {byte}: {}; everything before it is kept", self.what);
        if self.will_retry { Note::Warning(what) } else { Note::Rejected(what) }
    }
}

/// Reads all inputs and sends their blocks, until the receivers are gone.
pub fn read(
    inputs: &[Input],
    options: &source::SourceOptions,
    known: Option<&KnownFiles>,
    progress: &(dyn Fn(u64) + Sync),
    pool: &Mutex<Vec<Vec<u8>>>,
    send: SyncSender<Step>,
) {
    let mut number = 0;
    let mut documents = 0u64;
    let mut next = || {
        number += 1;
        number - 1
    };
    source::walk(inputs, options, known, progress, &mut |found| {
        let quiet_source = match &found {
            Found::Skipped(origin, why) if why == source::EMPTY => Some(origin.source),
            _ => None,
        };
        let note = match found {
            Found::Document(origin, stream) => {
                documents += 1;
                return cut(Arc::new(origin), stream, documents > 1, pool, &mut next, &send);
            }
            Found::Log(origin, stream) => return cut_log(Arc::new(origin), stream, pool, &mut next, &send),
            Found::Skipped(origin, why) => Note::Skipped(format!("{}: {why}", origin.name), origin.is_named),
            Found::Unreadable(origin, why) => Note::Rejected(format!("{}: {why}", origin.name)),
            Found::Warning(origin, what) => Note::Warning(format!("{}: {what}", origin.name)),
            Found::Recovered(origin, what) => Note::Recovered(format!("{}: {what}", origin.name)),
            Found::Known(origin, key) => {
                return send.send(Step::File { number: next(), key, known_in: Some(origin.source) }).is_ok();
            }
            Found::EndOfFile(key) => return send.send(Step::File { number: next(), key, known_in: None }).is_ok(),
        };
        send.send(Step::Other { number: next(), note, quiet_source }).is_ok()
    });
}

/// Sends one document block by block.
fn cut(
    origin: Arc<Origin>,
    stream: &mut dyn Read,
    may_be_seen: bool,
    pool: &Mutex<Vec<Vec<u8>>>,
    next: &mut dyn FnMut() -> u64,
    send: &SyncSender<Step>,
) -> bool {
    let mut hash = Xxh3::new();
    let mut total = 0u64;
    let mut carry: Vec<u8> = Vec::new();
    let mut head: Option<DocumentStart> = None;
    let mut guess = Position::default();
    let mut is_first = true;
    loop {
        let carried = carry.len();
        let (buffer, mut len, ended) = next_buffer(stream, &mut carry, pool);
        hash.update(&buffer[carried..len]);
        total += (len - carried) as u64;
        let end = ended.map(|problem| End { content_hash: hash.digest128(), bytes: total, problem });
        let is_last = end.is_some();
        let head = head.get_or_insert_with(|| DocumentStart::from_bytes(&buffer[..len]));
        if !is_last && let Some(split) = head.split(&buffer[..len]) {
            carry.extend_from_slice(&buffer[split..len]);
            len = split;
        }
        let guess = std::mem::replace(&mut guess, head.guess());
        let origin = Arc::clone(&origin);
        let block = Block { number: next(), origin, is_first, end, guess, may_be_seen, buffer, len };
        is_first = false;
        if send.send(Step::Block(block)).is_err() {
            return false;
        }
        if is_last {
            return true;
        }
    }
}

/// Sends one log block by block.
fn cut_log(
    origin: Arc<Origin>,
    stream: &mut dyn Read,
    pool: &Mutex<Vec<Vec<u8>>>,
    next: &mut dyn FnMut() -> u64,
    send: &SyncSender<Step>,
) -> bool {
    let mut carry: Vec<u8> = Vec::new();
    let mut is_first = true;
    loop {
        let (buffer, mut len, ended) = next_buffer(stream, &mut carry, pool);
        let is_last = ended.is_some();
        // A line longer than `LONGEST_LINE` is divided, and then rejected.
        if !is_last && let Some(split) = agent_log::split(&buffer[..len]).or((len > LONGEST_LINE).then_some(len)) {
            carry.extend_from_slice(&buffer[split..len]);
            len = split;
        } else if !is_last {
            carry.extend_from_slice(&buffer[..len]);
            len = 0;
        }
        let (origin, problem) = (Arc::clone(&origin), ended.flatten());
        let block = LogBlock { number: next(), origin, is_first, is_last, problem, buffer, len };
        is_first = false;
        if send.send(Step::Log(block)).is_err() {
            return false;
        }
        if is_last {
            return true;
        }
    }
}

/// Fills a buffer with the carried bytes and then the next bytes of a stream. Returns the buffer, its length, and the
/// end of the stream as in [`fill`]. Leaves `carry` empty.
#[allow(clippy::option_option)] // as in `fill`
fn next_buffer(
    stream: &mut dyn Read,
    carry: &mut Vec<u8>,
    pool: &Mutex<Vec<Vec<u8>>>,
) -> (Vec<u8>, usize, Option<Option<Problem>>) {
    let mut buffer = pool.lock().ok().and_then(|mut pool| pool.pop()).unwrap_or_default();
    // The buffer grows once and is reused, so that it is not filled with zeros for every block.
    if buffer.len() < carry.len() + BLOCK {
        buffer.resize(carry.len() + BLOCK, 0);
    }
    buffer[..carry.len()].copy_from_slice(carry);
    let (read, ended) = fill(stream, &mut buffer[carry.len()..]);
    let len = carry.len() + read;
    carry.clear();
    (buffer, len, ended)
}

/// Fills the buffer from the stream. Returns the length. At the end of the stream, also returns the error that ended
/// it, if any.
#[allow(clippy::option_option)] // `Some(None)` is a normal end
fn fill(stream: &mut dyn Read, buffer: &mut [u8]) -> (usize, Option<Option<Problem>>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return (filled, Some(None)),
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => {
                let will_retry = WillRetry::is_in(&e);
                let what = format!("cannot be read further: {e}");
                return (filled, Some(Some(Problem { what, will_retry })));
            }
        }
    }
    (filled, None)
}

/// The beginning of a document, which shows how the JSON of its allocations begins.
struct DocumentStart {
    is_array: bool,
    /// The bytes of an element from its opening bracket to the end of its first key; empty if unknown.
    pattern: Vec<u8>,
}

impl DocumentStart {
    fn from_bytes(bytes: &[u8]) -> DocumentStart {
        let mut at = after_space(bytes, if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 });
        let is_array = bytes.get(at) == Some(&b'[');
        if is_array {
            at = after_space(bytes, at + 1);
        }
        let quote = after_space(bytes, at + 1);
        let is_object = bytes.get(at) == Some(&b'{') && bytes.get(quote) == Some(&b'"');
        let key_end = bytes.get(quote + 1..).and_then(|rest| memchr::memchr(b'"', rest)).filter(|n| *n < 64);
        let pattern = match key_end {
            Some(n) if is_object => bytes[at..quote + n + 2].to_vec(),
            _ => Vec::new(),
        };
        DocumentStart { is_array, pattern }
    }

    /// The guessed position of every block except the first.
    fn guess(&self) -> Position {
        if self.is_array { Position::inside_array() } else { Position::default() }
    }

    /// Returns the last position that looks like the start of an element.
    fn split(&self, bytes: &[u8]) -> Option<usize> {
        if self.pattern.is_empty() {
            return None;
        }
        let wanted = if self.is_array { b',' } else { b'}' };
        let mut end = bytes.len();
        loop {
            let at = memchr::memmem::rfind(&bytes[..end], &self.pattern)?;
            if bytes[..at].trim_ascii_end().last() == Some(&wanted) {
                return Some(at);
            }
            end = at;
        }
    }
}
