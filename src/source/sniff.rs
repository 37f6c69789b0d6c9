//! Detects the format of a byte stream from its start, and finds the documents inside it.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::agent_log;
use super::budget::Budget;
use super::bundle::{self, PathRole};
use super::fetch_file::{self, FetchMetadata};
use super::{Counted, EMPTY, Found, Origin, SourceOptions, Visit};

/// Maximum nesting of archives. Deeper nesting is typical of zip bombs, not of backups.
const DEEPEST: u32 = 8;
/// How many bytes are inspected to detect the format; the length of a tar header.
const SNIFFED: usize = 512;
/// Why UTF-16 JSON cannot be read. PowerShell writes UTF-16 when output is redirected with `>`.
const UTF_16: &str = "is UTF-16, and JSON is UTF-8: convert it, for instance with iconv -f UTF-16 -t UTF-8";

/// The format, detected from the first bytes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamKind {
    Gzip,
    Zstd,
    Zip,
    Tar,
    Json,
    /// The log of an agent with `log_json`.
    JsonLog,
    /// JSON as UTF-16.
    Utf16,
    Empty,
    Other,
}

fn kind(head: &[u8]) -> StreamKind {
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    match head {
        [0x1F, 0x8B, ..] => StreamKind::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => StreamKind::Zstd,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => StreamKind::Zip,
        [0xFF, 0xFE, b'{' | b'[', 0, ..] | [0xFE, 0xFF, 0, b'{' | b'[', ..] => StreamKind::Utf16,
        _ if is_tar_header(head) => StreamKind::Tar,
        _ => match text.first() {
            Some(b'{') if agent_log::is_json(text) => StreamKind::JsonLog,
            Some(b'{' | b'[' | 0x1E) => StreamKind::Json,
            // A tar whose header is damaged or truncated.
            _ if head.get(257..262) == Some(b"ustar") => StreamKind::Tar,
            // Only white space so far: the rest of a long file may be JSON.
            None if head.len() == SNIFFED => StreamKind::Json,
            None => StreamKind::Empty,
            Some(_) => StreamKind::Other,
        },
    }
}

/// Returns true if the bytes are the header of a file in a tar. Verifies the checksum instead of the `ustar` magic,
/// because older tars lack the magic, and a text may have that word at the same offset.
fn is_tar_header(head: &[u8]) -> bool {
    let Some(header) = head.get(..SNIFFED).filter(|header| header[0] != 0) else { return false };
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    // The checksum field itself, bytes 148 to 155, counts as spaces.
    let expected = sum(&header[..148]) + 8 * u32::from(b' ') + sum(&header[156..]);
    tar::Header::from_byte_slice(header).cksum().is_ok_and(|found| found == expected)
}

/// A walk over one input. Its methods return whether to continue.
pub struct InputWalk<'w> {
    pub(super) options: &'w SourceOptions,
    pub(super) visit: &'w mut Visit<'w>,
    pub(super) flags: &'w mut bundle::Flags,
    pub(super) again: FlagSearch,
    pub(super) budget: Budget,
}

/// Whether the input can be searched for the flags of bundles, which determine the coverage of listings.
pub(super) enum FlagSearch {
    /// It is a stream that can be read only once.
    Never,
    /// It is a file with this path.
    File(PathBuf, Origin),
    /// The flags were searched, or are next to the listing. `is_whole` is true if everything could be read.
    Done { is_whole: bool },
}

impl<'w> InputWalk<'w> {
    /// Starts a walk with the known flags of bundles.
    pub fn new(options: &'w SourceOptions, visit: &'w mut Visit<'w>, flags: &'w mut bundle::Flags) -> InputWalk<'w> {
        InputWalk { options, visit, flags, again: FlagSearch::Never, budget: Budget::default() }
    }

    /// Reports something that could not be read. After an input exceeds its expansion limit, each enclosing archive
    /// fails for this same reason, so only the first of these failures is reported.
    pub(super) fn unreadable(&mut self, origin: &Origin, why: String) -> bool {
        self.budget.is_reported() || (self.visit)(Found::Unreadable(origin.clone(), why))
    }

    pub(super) fn skipped(&mut self, origin: &Origin, why: &str) -> bool {
        (self.visit)(Found::Skipped(origin.clone(), why.into()))
    }

    /// Walks over a stream of unknown length.
    pub fn input(&mut self, stream: impl Read, origin: &Origin) -> bool {
        let stream = self.budget.count_input(stream);
        self.stream(Box::new(stream), origin, 0)
    }

    /// Walks over a file. Unlike a stream, a file can be read from its end, which zip requires. Files next to it may
    /// contain its metadata.
    pub fn file(&mut self, mut file: Counted<'_, File>, path: &Path, origin: &Origin) -> bool {
        let mut head = Vec::with_capacity(SNIFFED);
        if let Err(e) = file.by_ref().take(SNIFFED as u64).read_to_end(&mut head) {
            return self.unreadable(origin, format!("cannot be read: {e}"));
        }
        // A pipe or device may be readable only once.
        let Some(len) = path.metadata().ok().filter(fs::Metadata::is_file).map(|found| found.len()) else {
            return self.input(Cursor::new(head).chain(file), origin);
        };
        self.budget.set_input(len);
        self.again = FlagSearch::File(path.to_owned(), origin.clone());
        if kind(&head) == StreamKind::Zip {
            return match file.rewind() {
                Ok(()) => self.zip(file, origin, 1),
                Err(e) => self.unreadable(origin, format!("cannot be read: {e}")),
            };
        }
        let mut origin = origin.clone();
        if fetch_file::is_sidecar(path) && !origin.is_named {
            return true;
        }
        let about = fetch_file::read_sidecar(path).unwrap_or_else(|e| {
            let beside = fetch_file::sidecar_path(path);
            (self.visit)(Found::Warning(
                origin.clone(),
                format!("{} is ignored, because it cannot be read: {e}", beside.display()),
            ));
            None
        });
        if let Some(about) = about {
            let of_listing = about.origin(&origin, self.options);
            return self.dispatch(&head, Box::new(file), &of_listing, 0)
                && about.nodes.is_none_or(|nodes| {
                    let of_nodes = nodes.about.origin(&nodes_of(&origin), self.options);
                    (self.visit)(Found::Document(of_nodes, &mut nodes.list.get().as_bytes()))
                });
        }
        match bundle::role(&path.to_string_lossy()) {
            PathRole::Allocations(root) => {
                // A missing flags file means `default`; an unreadable one leaves the namespace unknown.
                let flags = bundle::flags_path(&root);
                let is_whole = match fs::read(&flags) {
                    Ok(text) => {
                        self.flags.learn(root.clone(), &text);
                        true
                    }
                    Err(e) => !flags.is_symlink() && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
                };
                self.again = FlagSearch::Done { is_whole };
                self.set_full_listing(&mut origin, &root);
            }
            PathRole::Skipped(why) if !origin.is_named => return self.skipped(&origin, why),
            _ => {}
        }
        self.dispatch(&head, Box::new(file), &origin, 0)
    }

    /// Determines the namespace that a bundle's `allocations.json` lists completely. If the bundle's flags have not
    /// been read, the namespace is unknown, and no allocation counts as vanished.
    pub(super) fn set_full_listing(&mut self, origin: &mut Origin, bundle: &str) {
        if origin.full_listing.is_some() {
            return;
        }
        if self.flags.namespace(bundle).is_none()
            && let FlagSearch::File(path, of_file) = &self.again
        {
            let (found, is_whole) = find_flags(path, of_file, self.options);
            self.flags.learn_all(found);
            self.again = FlagSearch::Done { is_whole };
        }
        if let FlagSearch::Done { is_whole: true } = self.again {
            self.flags.learn_absence(bundle);
        }
        origin.full_listing = self.flags.namespace(bundle);
        if origin.full_listing.is_none() && self.flags.is_first_miss(bundle) {
            let what = match self.again {
                FlagSearch::Never => {
                    "comes before its bundle's cluster/cli-flags.json, so the namespace it lists is unknown, \
                     and it does not count as a full listing: give the archive as a file, which can be searched \
                     first"
                }
                _ => {
                    "the cluster/cli-flags.json of its bundle cannot be read, so the namespace it \
                     lists is unknown, and it does not count as a full listing: use --full-listing if it is one, and \
                     --namespace for its namespace"
                }
            };
            (self.visit)(Found::Warning(origin.clone(), what.into()));
        }
    }

    /// Walks over a stream nested in `depth` archives.
    pub fn stream(&mut self, mut stream: Box<dyn Read + '_>, origin: &Origin, depth: u32) -> bool {
        let mut head = Vec::with_capacity(SNIFFED);
        // If a format was detected, the error occurs again when the stream is read in that format, and is reported
        // there.
        if let Err(e) = stream.by_ref().take(SNIFFED as u64).read_to_end(&mut head)
            && matches!(kind(&head), StreamKind::Empty | StreamKind::Other)
        {
            return self.unreadable(origin, format!("cannot be read: {e}"));
        }
        self.dispatch(&head, stream, origin, depth)
    }

    /// Walks over a stream whose first bytes were already read.
    fn dispatch<'s>(&mut self, head: &'s [u8], rest: Box<dyn Read + 's>, origin: &Origin, depth: u32) -> bool {
        let kind = kind(head);
        let mut stream = Cursor::new(head).chain(rest);
        if depth > DEEPEST {
            return self.unreadable(origin, format!("is nested in more than {DEEPEST} archives"));
        }
        match kind {
            StreamKind::Json => {
                let goes_on = (self.visit)(Found::Document(origin.clone(), &mut stream));
                // If the document exceeded the expansion limit, that error is reported with the document, so mark it
                // as reported.
                self.budget.is_reported();
                goes_on
            }
            StreamKind::Utf16 => self.unreadable(origin, UTF_16.into()),
            StreamKind::Empty => self.skipped(origin, EMPTY),
            StreamKind::JsonLog => self.log(&mut stream, origin),
            StreamKind::Other => {
                let mut more = Vec::new();
                // An error here occurs again when the log is read further.
                let _ = stream.by_ref().take(agent_log::SEARCHED as u64).read_to_end(&mut more);
                if agent_log::is_log(&more) {
                    return self.log(&mut Cursor::new(more).chain(stream), origin);
                }
                self.skipped(origin, "is neither JSON nor an archive")
            }
            StreamKind::Gzip => {
                let inner = self.budget.metered(MultiGzDecoder::new(stream));
                self.stream(Box::new(inner), origin, depth + 1)
            }
            StreamKind::Zstd if fetch_file::is_fetch_file(head) => self.fetch_file(&mut stream, origin, depth + 1),
            StreamKind::Zstd => match zstd::stream::read::Decoder::new(stream) {
                Ok(inner) => {
                    let inner = self.budget.metered(inner);
                    self.stream(Box::new(inner), origin, depth + 1)
                }
                Err(e) => self.unreadable(origin, format!("is a damaged zstd file: {e}")),
            },
            StreamKind::Tar => self.tar(&mut stream, origin, depth + 1),
            StreamKind::Zip => {
                // The central directory is at the end, so the zip itself, not its content, is buffered.
                let spooled = tempfile::spooled_tempfile(16 << 20);
                match spool(&mut stream, spooled) {
                    Ok(file) => self.zip(file, origin, depth + 1),
                    Err(e) => self.unreadable(origin, format!("cannot be read: {e}")),
                }
            }
        }
    }

    fn log(&mut self, stream: &mut dyn Read, origin: &Origin) -> bool {
        let goes_on = (self.visit)(Found::Log(origin.clone(), stream));
        // If the log exceeded the expansion limit, that error is reported with the log, so mark it as reported.
        self.budget.is_reported();
        goes_on
    }

    /// Walks over a file of `alloclog fetch`: listings, each preceded by its metadata.
    fn fetch_file(&mut self, stream: &mut dyn Read, origin: &Origin, depth: u32) -> bool {
        let mut input = BufReader::new(stream);
        let mut about = FetchMetadata::default();
        let broken = |e: io::Error| format!("cannot be read further: {e}");
        loop {
            let goes_on = match fetch_file::read_frame(&mut input) {
                Ok(fetch_file::Frame::End) => return true,
                Ok(fetch_file::Frame::Metadata(found)) => {
                    about = found;
                    true
                }
                Ok(fetch_file::Frame::Nodes(of_nodes, list)) => {
                    let of_nodes = of_nodes.origin(&nodes_of(origin), self.options);
                    self.stream(Box::new(list.as_slice()), &of_nodes, depth)
                }
                Ok(fetch_file::Frame::Listing(magic)) => {
                    let of_listing = std::mem::take(&mut about).origin(origin, self.options);
                    let frame = zstd::stream::read::Decoder::with_buffer(Cursor::new(magic).chain(&mut input));
                    let mut frame = match frame {
                        Ok(frame) => self.budget.metered(frame.single_frame()),
                        Err(e) => return self.unreadable(origin, broken(e)),
                    };
                    let goes_on = self.stream(Box::new(&mut frame), &of_listing, depth);
                    if goes_on && io::copy(&mut frame, &mut io::sink()).is_err() {
                        // The error was already reported, and the start of the next frame is unknown.
                        return true;
                    }
                    goes_on
                }
                Err(e) => return self.unreadable(origin, broken(e)),
            };
            if !goes_on {
                return false;
            }
        }
    }
}

/// The origin of the node list stored with a listing.
fn nodes_of(listing: &Origin) -> Origin {
    Origin { name: format!("{}:nodes", listing.name), is_named: false, is_nodes: true, ..listing.clone() }
}

/// Reads the flags of all bundles in a file, and returns whether the whole file could be read.
fn find_flags(path: &Path, origin: &Origin, options: &SourceOptions) -> (bundle::Flags, bool) {
    let mut flags = bundle::Flags::default();
    let mut is_whole = true;
    let mut listen = |found: Found<'_>| {
        is_whole &= !matches!(found, Found::Unreadable(..));
        true
    };
    let mut walk = InputWalk::new(options, &mut listen, &mut flags);
    // Errors here were already reported when the file was first opened.
    let is_read = File::open(path).and_then(|mut file| {
        let mut head = Vec::with_capacity(SNIFFED);
        Read::by_ref(&mut file).take(SNIFFED as u64).read_to_end(&mut head)?;
        walk.budget.set_input(file.metadata()?.len());
        if kind(&head) == StreamKind::Zip {
            file.rewind()?;
            return Ok(walk.zip(file, origin, 1));
        }
        Ok(walk.dispatch(&head, Box::new(file), origin, 0))
    });
    (flags, is_whole && is_read.is_ok())
}

fn spool(stream: &mut dyn Read, mut file: tempfile::SpooledTempFile) -> io::Result<tempfile::SpooledTempFile> {
    io::copy(stream, &mut file)?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
}
