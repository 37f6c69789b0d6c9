//! The file format of `alloclog fetch`: the bytes that Nomad served, with metadata of the request.
//!
//! In a compressed file the metadata is in a skippable frame before each listing, so that `zstd -dc` prints only the
//! listing; the list of nodes is in another such frame. For an uncompressed file both are in `.meta.json` next to it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tempfile::SpooledTempFile;

use super::{ObservedFrom, Origin, SourceOptions};
use crate::time;

/// Magic numbers of skippable frames; sixteen are available (RFC 8878, section 3.1.2).
const METADATA: [u8; 4] = 0x184D_2A5A_u32.to_le_bytes();
const NODES: [u8; 4] = 0x184D_2A5B_u32.to_le_bytes();
/// Maximum size of a frame that is read into memory; unknown frames of any size are skipped.
const LARGEST: u32 = 1 << 30;
/// Extension of the metadata file next to an uncompressed file.
const SIDECAR_SUFFIX: &str = ".meta.json";
/// How much of a document is buffered in memory, compressed, before it goes to a temporary file.
const IN_MEMORY: usize = 64 << 20;

/// Metadata of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchMetadata {
    /// The version of alloclog that fetched it.
    pub alloclog: String,
    /// The address of the agent, without credentials. In a spool, the name of the document, which for a stream includes
    /// the path of the request.
    pub address: String,
    /// The requested region; empty for the agent's own. Not used when reading.
    pub region: String,
    /// When it was observed, RFC 3339.
    pub observed_at: Option<String>,
    /// The requested namespace.
    pub namespace: Option<String>,
    /// The namespace of which it lists every allocation, `*` for all.
    pub full_listing: Option<String>,
    /// X-Nomad-Index of the answer.
    pub nomad_index: Option<i64>,
    /// The name of the key with which `fetch --redact` replaced names; missing if names were not replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted_with: Option<String>,
}

/// The content of the metadata file of an uncompressed listing.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sidecar {
    /// Metadata of the listing.
    #[serde(flatten)]
    pub about: FetchMetadata,
    /// The nodes, if known.
    pub nodes: Option<NodeList>,
}

/// A list of nodes with its metadata.
#[derive(Debug, Serialize, Deserialize)]
pub struct NodeList {
    /// Metadata of the list.
    pub about: FetchMetadata,
    /// The list as served.
    pub list: Box<RawValue>,
}

impl FetchMetadata {
    /// The metadata of a document's origin.
    pub fn from_origin(origin: &Origin, address: String, region: &str) -> FetchMetadata {
        FetchMetadata {
            alloclog: env!("CARGO_PKG_VERSION").to_owned(),
            address,
            region: region.to_owned(),
            observed_at: origin.observed.map(|(ns, _)| time::to_rfc3339(ns)),
            namespace: origin.namespace.clone(),
            full_listing: origin.full_listing.clone(),
            nomad_index: origin.nomad_index,
            redacted_with: None,
        }
    }

    /// The origin of a document with this metadata. Facts that the user states take precedence.
    pub(super) fn origin(self, origin: &Origin, options: &SourceOptions) -> Origin {
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

impl Sidecar {
    pub(super) fn origin(&self, origin: &Origin, options: &SourceOptions) -> Origin {
        self.about.clone().origin(origin, options)
    }
}

/// A fetched listing or list of nodes, compressed.
#[derive(Debug)]
pub struct Fetched {
    /// Its metadata.
    pub about: FetchMetadata,
    /// Whether it is a list of nodes.
    pub is_nodes: bool,
    /// Size as served or rewritten, in bytes.
    pub bytes: u64,
    compressed: SpooledTempFile,
}

impl Fetched {
    /// Compresses a document as far as it can be read, and returns the error that ended it.
    ///
    /// # Errors
    /// When the compressed bytes cannot be written.
    pub fn read(
        about: FetchMetadata,
        is_nodes: bool,
        stream: &mut dyn Read,
    ) -> io::Result<(Fetched, Option<io::Error>)> {
        let (bytes, compressed, broke) = compress(stream, tempfile::spooled_tempfile(IN_MEMORY))?;
        Ok((Fetched { about, is_nodes, bytes, compressed }, broke))
    }

    /// Passes the bytes of the document to `rewrite`. Returns the document that `rewrite` writes, and the value that it
    /// returns.
    ///
    /// # Errors
    /// When it cannot be read back or written.
    pub fn rewritten<T>(
        mut self,
        about: FetchMetadata,
        rewrite: impl FnOnce(&mut dyn Read, &mut dyn Write) -> io::Result<T>,
    ) -> io::Result<(Fetched, T)> {
        self.compressed.rewind()?;
        let mut coder = zstd::Encoder::new(tempfile::spooled_tempfile(IN_MEMORY), zstd::DEFAULT_COMPRESSION_LEVEL)?;
        let mut out = Counted { out: &mut coder, bytes: 0 };
        let returned = rewrite(&mut zstd::Decoder::new(self.compressed)?, &mut out)?;
        let bytes = out.bytes;
        Ok((Fetched { about, is_nodes: self.is_nodes, bytes, compressed: coder.finish()? }, returned))
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

/// Counts the bytes that are written.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
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
            write_metadata(out, &document.about)?;
            io::copy(&mut document.compressed, out)?;
        }
    }
    Ok(())
}

/// The only listing among the documents, to be written uncompressed, and the content of its metadata file; `None` if
/// there are several listings.
///
/// # Errors
/// When the list of nodes cannot be read back.
pub fn plain(documents: Vec<Fetched>) -> io::Result<Option<(Sidecar, Fetched)>> {
    let (nodes, mut listings): (Vec<Fetched>, Vec<Fetched>) =
        documents.into_iter().partition(|document| document.is_nodes);
    let (Some(listing), true) = (listings.pop(), listings.is_empty()) else { return Ok(None) };
    let nodes = nodes.into_iter().next().map(|document| {
        let about = document.about.clone();
        let mut list = Vec::new();
        document.write_plain(&mut list)?;
        let list = String::from_utf8(list).map_err(|_| ErrorKind::InvalidData)?;
        io::Result::Ok(NodeList { about, list: RawValue::from_string(list)? })
    });
    Ok(Some((Sidecar { about: listing.about.clone(), nodes: nodes.transpose()? }, listing)))
}

/// Writes the metadata of the next listing.
///
/// # Errors
/// When it cannot be written.
pub fn write_metadata(out: &mut dyn Write, about: &FetchMetadata) -> io::Result<()> {
    write_frame(out, METADATA, &[&serde_json::to_vec(about)?])
}

/// Compresses a document as far as it can be read, with a checksum. Returns its size, the output, and the error that
/// ended it.
///
/// # Errors
/// When the compressed bytes cannot be written.
pub fn compress<W: Write>(stream: &mut dyn Read, out: W) -> io::Result<(u64, W, Option<io::Error>)> {
    let mut coder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    coder.include_checksum(true)?;
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

/// Writes a compressed list of nodes.
///
/// # Errors
/// When it cannot be written.
pub fn write_nodes(out: &mut dyn Write, about: &FetchMetadata, compressed: &[u8]) -> io::Result<()> {
    write_frame(out, NODES, &[&serde_json::to_vec(about)?, b"\n", compressed])
}

fn write_frame(out: &mut dyn Write, magic: [u8; 4], parts: &[&[u8]]) -> io::Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let len = u32::try_from(len).ok().filter(|len| *len <= LARGEST).ok_or(ErrorKind::InvalidInput)?;
    out.write_all(&magic)?;
    out.write_all(&len.to_le_bytes())?;
    parts.iter().try_for_each(|part| out.write_all(part))
}

/// The path of the metadata file of an uncompressed file.
pub fn sidecar_path(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(SIDECAR_SUFFIX);
    name.into()
}

/// Reads the metadata file of a file; `None` if there is none.
///
/// # Errors
/// When it cannot be read, or has another format.
pub(super) fn read_sidecar(file: &Path) -> io::Result<Option<Sidecar>> {
    match fs::read(sidecar_path(file)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        // A path that is too long cannot exist.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Returns true if a file is the metadata file of an existing file.
pub(super) fn is_sidecar(file: &Path) -> bool {
    let text = file.to_string_lossy();
    text.strip_suffix(SIDECAR_SUFFIX).is_some_and(|listing| Path::new(listing).is_file())
}

/// Returns true if a file starts like a file of `alloclog fetch`.
pub(super) fn is_fetch_file(head: &[u8]) -> bool {
    head.starts_with(&METADATA)
}

/// The next frame of such a file.
pub(super) enum Frame {
    /// The end of the file.
    End,
    /// The metadata of the next listing.
    Metadata(FetchMetadata),
    /// The compressed nodes.
    Nodes(FetchMetadata, Vec<u8>),
    /// A data frame, whose first four bytes were read.
    Listing([u8; 4]),
}

/// Reads the next frame.
pub(super) fn read_frame(input: &mut dyn Read) -> io::Result<Frame> {
    loop {
        let mut magic = Vec::with_capacity(4);
        input.take(4).read_to_end(&mut magic)?;
        let Ok(magic) = <[u8; 4]>::try_from(magic.as_slice()) else {
            return if magic.is_empty() { Ok(Frame::End) } else { Err(ErrorKind::UnexpectedEof.into()) };
        };
        if !matches!(magic, [0x50..=0x5F, 0x2A, 0x4D, 0x18]) {
            return Ok(Frame::Listing(magic));
        }
        let mut len = [0; 4];
        input.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len);
        if magic != METADATA && magic != NODES {
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
        if magic == METADATA {
            return Ok(Frame::Metadata(serde_json::from_slice(&content)?));
        }
        let line = memchr::memchr(b'\n', &content).ok_or(ErrorKind::InvalidData)?;
        let list = content.split_off(line + 1);
        return Ok(Frame::Nodes(serde_json::from_slice(&content)?, list));
    }
}
