//! What a stream of bytes holds, told by its beginning, and the documents inside it.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::Archive;
use zip::ZipArchive;

use super::bundle::{self, Role};
use super::kept::{self, About};
use super::{Counted, Found, Options, Origin, Visit, observed};

/// How many archives may lie inside each other; more is a bomb, not a backup.
const DEEPEST: u32 = 8;
/// How much is looked at to tell what a stream holds; a tar header is this long.
const SNIFFED: usize = 512;
/// `cli-flags.json` is a few kilobytes.
const LARGEST_FLAGS: u64 = 4 << 20;

/// Why such JSON cannot be read. PowerShell writes it where `>` keeps what a command prints.
const UTF_16: &str = "is UTF-16, and JSON is UTF-8: convert it, for instance with iconv -f UTF-16 -t UTF-8";

/// What the first bytes of a stream tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gzip,
    Zstd,
    Zip,
    Tar,
    Json,
    /// JSON as UTF-16.
    Utf16,
    Empty,
    Other,
}

fn kind(head: &[u8]) -> Kind {
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    match head {
        [0x1F, 0x8B, ..] => Kind::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Kind::Zstd,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Kind::Zip,
        [0xFF, 0xFE, b'{' | b'[', 0, ..] | [0xFE, 0xFF, 0, b'{' | b'[', ..] => Kind::Utf16,
        _ if head.get(257..262) == Some(b"ustar") => Kind::Tar,
        _ => match text.first() {
            Some(b'{' | b'[') => Kind::Json,
            Some(0x1E) => Kind::Json,
            // White space alone, as far as it was looked at: in a long file it may be followed by anything.
            None if head.len() == SNIFFED => Kind::Json,
            None => Kind::Empty,
            Some(_) => Kind::Other,
        },
    }
}

/// A walk through one input. Its functions say whether to go on.
pub struct Walk<'w> {
    options: &'w Options,
    visit: &'w mut Visit<'w>,
    flags: bundle::Flags,
}

impl<'w> Walk<'w> {
    /// Begins, with nothing known of bundles yet.
    pub fn new(options: &'w Options, visit: &'w mut Visit<'w>) -> Walk<'w> {
        Walk { options, visit, flags: bundle::Flags::default() }
    }

    fn unreadable(&mut self, origin: &Origin, why: String) -> bool {
        (self.visit)(Found::Unreadable(origin.clone(), why))
    }

    fn passed_over(&mut self, origin: &Origin, why: &str) -> bool {
        (self.visit)(Found::PassedOver(origin.clone(), why.into()))
    }

    /// Walks through a file. Unlike a stream it can be read from its end, as zip wants it, and it has neighbours.
    pub fn file(&mut self, mut file: Counted<'_, File>, path: &Path, origin: &Origin) -> bool {
        let mut head = Vec::with_capacity(SNIFFED);
        if let Err(e) = file.by_ref().take(SNIFFED as u64).read_to_end(&mut head) {
            return self.unreadable(origin, format!("cannot be read: {e}"));
        }
        if kind(&head) == Kind::Zip {
            return match file.rewind() {
                Ok(()) => self.zip(file, origin, 1),
                Err(e) => self.unreadable(origin, format!("cannot be read: {e}")),
            };
        }
        let mut origin = origin.clone();
        if kept::is_about(path) && !origin.is_named {
            return true;
        }
        let about = kept::beside(path).unwrap_or_else(|e| {
            let beside = kept::path_beside(path);
            (self.visit)(Found::Told(
                origin.clone(),
                format!("{} is left aside, since it cannot be read: {e}", beside.display()),
            ));
            None
        });
        if let Some(about) = about {
            let of_listing = about.origin(&origin, self.options);
            return self.known(&head, Box::new(file), &of_listing, 0)
                && about.nodes.is_none_or(|nodes| {
                    let of_nodes = nodes.about.origin(&nodes_of(&origin), self.options);
                    (self.visit)(Found::Document(of_nodes, &mut nodes.list.get().as_bytes()))
                });
        }
        match bundle::role(&path.to_string_lossy()) {
            Role::Allocations(root) => {
                if let Ok(text) = fs::read(Path::new(&root).join("cluster/cli-flags.json")) {
                    self.flags.learn(root.clone(), &text);
                }
                origin.full_listing.get_or_insert_with(|| self.flags.namespace(&root));
            }
            Role::PassedOver(why) if !origin.is_named => return self.passed_over(&origin, why),
            _ => {}
        }
        self.known(&head, Box::new(file), &origin, 0)
    }

    /// Walks through a stream that lies in `depth` archives.
    pub fn stream(&mut self, mut stream: Box<dyn Read + '_>, origin: &Origin, depth: u32) -> bool {
        let mut head = Vec::with_capacity(SNIFFED);
        // What tells what it holds goes on to be read, and fails there.
        if let Err(e) = stream.by_ref().take(SNIFFED as u64).read_to_end(&mut head)
            && matches!(kind(&head), Kind::Empty | Kind::Other)
        {
            return self.unreadable(origin, format!("cannot be read: {e}"));
        }
        self.known(&head, stream, origin, depth)
    }

    /// Walks through a stream of which the beginning was read already.
    fn known<'s>(&mut self, head: &'s [u8], rest: Box<dyn Read + 's>, origin: &Origin, depth: u32) -> bool {
        let kind = kind(head);
        let mut stream = Cursor::new(head).chain(rest);
        if depth > DEEPEST {
            return self.unreadable(origin, format!("lies in more than {DEEPEST} archives"));
        }
        match kind {
            Kind::Json => (self.visit)(Found::Document(origin.clone(), &mut stream)),
            Kind::Utf16 => self.unreadable(origin, UTF_16.into()),
            Kind::Empty => self.passed_over(origin, "is empty"),
            Kind::Other => self.passed_over(origin, "is neither JSON nor an archive of it"),
            Kind::Gzip => {
                let inner = MultiGzDecoder::new(stream);
                self.stream(Box::new(inner), origin, depth + 1)
            }
            Kind::Zstd if kept::begins(head) => self.kept(&mut stream, origin, depth + 1),
            Kind::Zstd => match zstd::stream::read::Decoder::new(stream) {
                Ok(inner) => self.stream(Box::new(inner), origin, depth + 1),
                Err(e) => self.unreadable(origin, format!("is no zstd that can be read: {e}")),
            },
            Kind::Tar => self.tar(&mut stream, origin, depth + 1),
            Kind::Zip => {
                // Its directory stands at its end, so the archive itself, not what it holds, is put aside.
                let spooled = tempfile::spooled_tempfile(16 << 20);
                match spool(&mut stream, spooled) {
                    Ok(file) => self.zip(file, origin, depth + 1),
                    Err(e) => self.unreadable(origin, format!("cannot be read: {e}")),
                }
            }
        }
    }

    /// Walks through what `alloclog fetch` wrote: listings, and what is known of each before it.
    fn kept(&mut self, stream: &mut dyn Read, origin: &Origin, depth: u32) -> bool {
        let mut input = BufReader::new(stream);
        let mut about = About::default();
        let broken = |e: io::Error| format!("cannot be read further: {e}");
        loop {
            let goes_on = match kept::next(&mut input) {
                Ok(kept::Next::End) => return true,
                Ok(kept::Next::About(found)) => {
                    about = found;
                    true
                }
                Ok(kept::Next::Nodes(of_nodes, list)) => {
                    let of_nodes = of_nodes.origin(&nodes_of(origin), self.options);
                    self.stream(Box::new(list.as_slice()), &of_nodes, depth)
                }
                Ok(kept::Next::Frame(magic)) => {
                    let of_listing = std::mem::take(&mut about).origin(origin, self.options);
                    let frame = zstd::stream::read::Decoder::with_buffer(Cursor::new(magic).chain(&mut input));
                    let mut frame = match frame {
                        Ok(frame) => frame.single_frame(),
                        Err(e) => return self.unreadable(origin, broken(e)),
                    };
                    let goes_on = self.stream(Box::new(&mut frame), &of_listing, depth);
                    if goes_on && io::copy(&mut frame, &mut io::sink()).is_err() {
                        // It was told of already, and where the next frame begins is not known.
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

    fn tar(&mut self, stream: &mut dyn Read, origin: &Origin, depth: u32) -> bool {
        let mut archive = Archive::new(stream);
        let broken = |e: io::Error| format!("is a tar that cannot be read further: {e}");
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(e) => return self.unreadable(origin, broken(e)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return self.unreadable(origin, broken(e)),
            };
            if !entry.header().entry_type().is_file() {
                continue;
            }
            // Only ever a name: nothing is written to where an archive says.
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !self.member(Box::new(entry), &path, origin, depth) {
                return false;
            }
        }
        true
    }

    fn zip<R: Read + Seek>(&mut self, file: R, origin: &Origin, depth: u32) -> bool {
        let mut archive = match ZipArchive::new(file) {
            Ok(archive) => archive,
            Err(e) => return self.unreadable(origin, format!("is no zip that can be read: {e}")),
        };
        for number in 0..archive.len() {
            let goes_on = match archive.by_index(number) {
                Ok(entry) if entry.is_file() => {
                    let path = String::from_utf8_lossy(entry.name_raw()).into_owned();
                    self.member(Box::new(entry), &path, origin, depth)
                }
                Ok(_) => true,
                Err(e) => self.unreadable(origin, format!("holds an entry that cannot be read: {e}")),
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// One file inside an archive.
    fn member(&mut self, stream: Box<dyn Read + '_>, path: &str, archive: &Origin, depth: u32) -> bool {
        let path = path.trim_start_matches("./");
        let file_name = path.rsplit('/').next();
        let mut origin = Origin {
            source: archive.source,
            name: format!("{}:{path}", archive.name),
            observed: observed(self.options, file_name),
            namespace: None,
            full_listing: self.options.full_listing.clone(),
            nomad_index: None,
            is_named: false,
            is_nodes: false,
        };
        match bundle::role(path) {
            Role::Allocations(root) => {
                origin.full_listing.get_or_insert_with(|| self.flags.namespace(&root));
            }
            Role::CliFlags(root) => {
                let mut text = Vec::new();
                // Whatever cannot be read of it tells nothing.
                if stream.take(LARGEST_FLAGS).read_to_end(&mut text).is_ok() {
                    self.flags.learn(root, &text);
                }
                return true;
            }
            Role::PassedOver(why) => return self.passed_over(&origin, why),
            Role::Other => {}
        }
        self.stream(stream, &origin, depth)
    }
}

/// The list of nodes that is kept with a listing.
fn nodes_of(listing: &Origin) -> Origin {
    Origin { name: format!("{}:nodes", listing.name), is_named: false, is_nodes: true, ..listing.clone() }
}

fn spool(stream: &mut dyn Read, mut file: tempfile::SpooledTempFile) -> io::Result<tempfile::SpooledTempFile> {
    io::copy(stream, &mut file)?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
}
