//! Listings as `alloclog fetch` keeps them: the bytes that Nomad served, and what only the moment of asking can tell.
//!
//! In a compressed file a skippable frame before each listing says it, so that `zstd -dc` gives the listing alone;
//! another holds the list of nodes. Beside a file that is not compressed, `.meta.json` says both.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tempfile::SpooledTempFile;

use super::{ObservedFrom, Options, Origin};
use crate::time;

/// Skippable frames have sixteen numbers for whoever wants them (RFC 8878, section 3.1.2).
const ABOUT: [u8; 4] = 0x184D_2A5A_u32.to_le_bytes();
const NODES: [u8; 4] = 0x184D_2A5B_u32.to_le_bytes();
/// What is skipped over may be as large as it likes; what is read into memory may not.
const LARGEST: u32 = 1 << 30;
/// The ending of the file beside one that is not compressed.
const BESIDE: &str = ".meta.json";
/// How much of a document stays in memory, compressed, before it has its place.
const IN_MEMORY: usize = 64 << 20;

/// What is known of a listing besides its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version of alloclog that asked.
    pub alloclog: String,
    /// The agent, without credentials; in a spool the name of the document, which for a stream has its path behind.
    pub address: String,
    /// The region that was asked for; empty for the agent's own. Says nothing when it is read.
    pub region: String,
    /// When it was observed, RFC 3339.
    pub observed_at: Option<String>,
    /// The namespace that was asked for.
    pub namespace: Option<String>,
    /// The namespace of which it lists every allocation, `*` for all.
    pub full_listing: Option<String>,
    /// X-Nomad-Index of the answer.
    pub nomad_index: Option<i64>,
}

/// What stands beside a listing that is not compressed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beside {
    /// Of the listing.
    #[serde(flatten)]
    pub about: About,
    /// The nodes, if they are known.
    pub nodes: Option<Nodes>,
}

/// A list of nodes and what is known of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Nodes {
    /// Of the list.
    pub about: About,
    /// As it was served.
    pub list: Box<RawValue>,
}

impl About {
    /// What is to be kept of where a document comes from.
    pub fn of(origin: &Origin, address: String, region: &str) -> About {
        About {
            alloclog: env!("CARGO_PKG_VERSION").to_owned(),
            address,
            region: region.to_owned(),
            observed_at: origin.observed.map(|(ns, _)| time::to_rfc3339(ns)),
            namespace: origin.namespace.clone(),
            full_listing: origin.full_listing.clone(),
            nomad_index: origin.nomad_index,
        }
    }

    /// Where a document comes from, now that this is known of it. What the user says comes first.
    pub(super) fn origin(self, origin: &Origin, options: &Options) -> Origin {
        let kept = self.observed_at.and_then(|text| time::rfc3339(&text).ok()?);
        let flag = options.observed_at.map(|ns| (ns, ObservedFrom::Flag));
        Origin {
            observed: flag.or(kept.map(|ns| (ns, ObservedFrom::Fetched))).or(origin.observed),
            namespace: self.namespace,
            full_listing: origin.full_listing.clone().filter(|_| !origin.is_nodes).or(self.full_listing),
            nomad_index: self.nomad_index,
            ..origin.clone()
        }
    }
}

impl Beside {
    pub(super) fn origin(&self, origin: &Origin, options: &Options) -> Origin {
        self.about.clone().origin(origin, options)
    }
}

/// A listing or a list of nodes, compressed, before it is written to its place.
#[derive(Debug)]
pub struct Fetched {
    /// What is known of it.
    pub about: About,
    /// Whether it lists nodes.
    pub is_nodes: bool,
    /// Size as served, in bytes.
    pub bytes: u64,
    compressed: SpooledTempFile,
}

impl Fetched {
    /// Compresses a document as far as it can be read, and says why it went no further.
    ///
    /// # Errors
    /// When the compressed bytes cannot be written.
    pub fn read(about: About, is_nodes: bool, stream: &mut dyn Read) -> io::Result<(Fetched, Option<io::Error>)> {
        let (bytes, compressed, broke) = compress(stream, tempfile::spooled_tempfile(IN_MEMORY))?;
        Ok((Fetched { about, is_nodes, bytes, compressed }, broke))
    }

    /// Writes the bytes as they were served.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_plain(mut self, out: &mut dyn Write) -> io::Result<()> {
        self.compressed.rewind()?;
        io::copy(&mut zstd::Decoder::new(self.compressed)?, out).map(drop)
    }
}

/// Writes documents as one compressed file.
///
/// # Errors
/// When they cannot be written.
pub fn write_packed(out: &mut dyn Write, documents: Vec<Fetched>) -> io::Result<()> {
    for mut document in documents {
        document.compressed.rewind()?;
        if document.is_nodes {
            let mut list = Vec::new();
            document.compressed.read_to_end(&mut list)?;
            write_nodes(out, &document.about, &list)?;
        } else {
            write_about(out, &document.about)?;
            io::copy(&mut document.compressed, out)?;
        }
    }
    Ok(())
}

/// The one listing among documents, which a file that is not compressed holds, and what stands beside it; `None` when
/// there are several.
///
/// # Errors
/// When the list of nodes cannot be read back.
pub fn plain(documents: Vec<Fetched>) -> io::Result<Option<(Beside, Fetched)>> {
    let (nodes, mut listings): (Vec<Fetched>, Vec<Fetched>) =
        documents.into_iter().partition(|document| document.is_nodes);
    let (Some(listing), true) = (listings.pop(), listings.is_empty()) else { return Ok(None) };
    let nodes = nodes.into_iter().next().map(|document| {
        let about = document.about.clone();
        let mut list = Vec::new();
        document.write_plain(&mut list)?;
        let list = String::from_utf8(list).map_err(|_| ErrorKind::InvalidData)?;
        io::Result::Ok(Nodes { about, list: RawValue::from_string(list)? })
    });
    Ok(Some((Beside { about: listing.about.clone(), nodes: nodes.transpose()? }, listing)))
}

/// Writes what is known of the listing whose frame comes next.
///
/// # Errors
/// When it cannot be written.
pub fn write_about(out: &mut dyn Write, about: &About) -> io::Result<()> {
    frame(out, ABOUT, &[&serde_json::to_vec(about)?])
}

/// Compresses a document as far as it can be read: how many bytes it has, where they went, and why it went no further.
///
/// # Errors
/// When the compressed bytes cannot be written.
pub fn compress<W: Write>(stream: &mut dyn Read, out: W) -> io::Result<(u64, W, Option<io::Error>)> {
    let mut coder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    let mut buffer = vec![0; 1 << 16];
    let (mut bytes, mut broke) = (0, None);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                coder.write_all(&buffer[..n])?;
                bytes += n as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => {
                broke = Some(e);
                break;
            }
        }
    }
    Ok((bytes, coder.finish()?, broke))
}

/// Writes a list of nodes, compressed already.
///
/// # Errors
/// When it cannot be written.
pub fn write_nodes(out: &mut dyn Write, about: &About, compressed: &[u8]) -> io::Result<()> {
    frame(out, NODES, &[&serde_json::to_vec(about)?, b"\n", compressed])
}

fn frame(out: &mut dyn Write, magic: [u8; 4], parts: &[&[u8]]) -> io::Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let len = u32::try_from(len).ok().filter(|len| *len <= LARGEST).ok_or(ErrorKind::InvalidInput)?;
    out.write_all(&magic)?;
    out.write_all(&len.to_le_bytes())?;
    parts.iter().try_for_each(|part| out.write_all(part))
}

/// The path beside that of a file which is not compressed.
pub fn path_beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(BESIDE);
    name.into()
}

/// What stands beside a file; nothing if there is no file for it.
///
/// # Errors
/// When there is one that cannot be read, or that is not ours.
pub(super) fn beside(file: &Path) -> io::Result<Option<Beside>> {
    match fs::read(path_beside(file)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        // A file with a longer name than there can be has none beside it.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether a file only says something of another that is there.
pub(super) fn is_about(file: &Path) -> bool {
    let text = file.to_string_lossy();
    text.strip_suffix(BESIDE).is_some_and(|listing| Path::new(listing).is_file())
}

/// Whether a file begins as one that was kept.
pub(super) fn begins(head: &[u8]) -> bool {
    head.starts_with(&ABOUT)
}

/// What comes next in a file that was kept.
pub(super) enum Next {
    /// Nothing.
    End,
    /// What is known of the listing that follows.
    About(About),
    /// The nodes, compressed.
    Nodes(About, Vec<u8>),
    /// A frame that is to be read, of which the first four bytes were.
    Frame([u8; 4]),
}

/// Reads what comes next.
pub(super) fn next(input: &mut dyn Read) -> io::Result<Next> {
    loop {
        let mut magic = Vec::with_capacity(4);
        input.take(4).read_to_end(&mut magic)?;
        let Ok(magic) = <[u8; 4]>::try_from(magic.as_slice()) else {
            return if magic.is_empty() { Ok(Next::End) } else { Err(ErrorKind::UnexpectedEof.into()) };
        };
        if !matches!(magic, [0x50..=0x5F, 0x2A, 0x4D, 0x18]) {
            return Ok(Next::Frame(magic));
        }
        let mut len = [0; 4];
        input.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len);
        if magic != ABOUT && magic != NODES {
            io::copy(&mut input.take(len.into()), &mut io::sink())?;
            continue;
        }
        if len > LARGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut content = Vec::new();
        if input.take(len.into()).read_to_end(&mut content)? < len as usize {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if magic == ABOUT {
            return Ok(Next::About(serde_json::from_slice(&content)?));
        }
        let line = memchr::memchr(b'\n', &content).ok_or(ErrorKind::InvalidData)?;
        let list = content.split_off(line + 1);
        return Ok(Next::Nodes(serde_json::from_slice(&content)?, list));
    }
}
